//! Postgres and Redis, against servers of Debian that a test starts for itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ::redis::RedisConnectionInfo;
use netpoll_rt::JoinHandle;
use netpoll_rt::time::sleep;
use netpoll_web::BoxError;
use netpoll_web::database::{postgres, redis};
use tokio_postgres::{Client, Config};

use crate::tools::{Folder, find};
use crate::{block_on, stop};

/// The time in which a server must let clients in.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A server that ends with the test.
struct Service {
    child: Child,
    address: SocketAddr,
    _folder: Folder,
}

impl Service {
    /// Starts a server on a port that was free a moment ago, and connects as soon as it lets clients in.
    async fn start<C>(
        folder: Folder,
        command: impl FnOnce(u16) -> Command,
        connect: impl AsyncFn(SocketAddr) -> Result<C, BoxError>,
    ) -> Result<(Self, C), BoxError> {
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let child = command(port).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?;
        let service = Self { child, address: (Ipv4Addr::LOCALHOST, port).into(), _folder: folder };
        let end = Instant::now() + START_LIMIT;
        loop {
            match connect(service.address).await {
                Ok(client) => return Ok((service, client)),
                Err(error) if Instant::now() > end => return Err(error),
                // Neither server tells its parent when it is ready.
                // A foreign server makes no event for this process when it listens.
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

#[test]
fn postgres_answers_queries() {
    let (Some(initdb), Some(server)) = (find("initdb"), find("postgres")) else { return };
    block_on(async || {
        let (_service, (mut client, connection)) = start_postgres(&initdb, &server).await?;
        client.batch_execute("CREATE TABLE words (n INT PRIMARY KEY, word TEXT NOT NULL)").await?;
        let transaction = client.transaction().await?;
        let insert = transaction.prepare("INSERT INTO words SELECT $1, $2").await?;
        // Pipelined: all are sent before the first answer is read.
        let rows: Vec<(i32, String)> = (0..1000).map(|n| (n, "w".repeat(n as usize))).collect();
        let inserts = rows.iter().map(async |(n, word)| transaction.execute(&insert, &[n, word]).await);
        futures_util::future::try_join_all(inserts).await?;
        transaction.commit().await?;
        let found = client.query("SELECT n, word FROM words ORDER BY n", &[]).await?;
        assert_eq!(found.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<_>>(), rows);
        let error = client.query("SELECT nothing", &[]).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42703");
        drop(client);
        connection.await??;
        Ok(())
    });
}

/// A client, and the task of its connection.
type Session = (Client, JoinHandle<Result<(), tokio_postgres::Error>>);

/// Starts a server whose data is gone with it. It refuses to run as root, so root runs it as the user `postgres`.
async fn start_postgres(initdb: &Path, server: &Path) -> Result<(Service, Session), BoxError> {
    let folder = Folder::new()?;
    let data = folder.path().join("data");
    let mut init = as_postgres(initdb);
    init.args(["--no-sync", "--auth=trust", "--username=postgres", "--pgdata"]).arg(&data);
    let made = init.current_dir(folder.path()).output()?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let sockets = folder.path().to_owned();
    let command = |port: u16| {
        let mut command = as_postgres(server);
        command.arg("-D").arg(data).arg("-k").arg(&sockets).args([
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
        ]);
        command.args(["-c", "fsync=off", "-c", "log_min_messages=panic"]).current_dir(&sockets);
        command
    };
    let mut config = Config::new();
    config.user("postgres").dbname("postgres");
    Service::start(folder, command, async |address| postgres(address, &config).await).await
}

fn as_postgres(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

#[test]
fn redis_answers_commands() {
    let Some(server) = find("redis-server") else { return };
    block_on(async || {
        let folder = Folder::new()?;
        let path: PathBuf = folder.path().to_owned();
        let command = |port: u16| {
            let mut command = Command::new(&server);
            command
                .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
                .current_dir(path);
            command
        };
        let info = RedisConnectionInfo::default();
        let connect = async |address| redis(address, &info).await;
        let (_service, (connection, driver)) = Service::start(folder, command, connect).await?;
        let value = "v".repeat(100_000);
        let tasks = (0..100).map(|n| {
            let (mut connection, value) = (connection.clone(), value.clone());
            netpoll_rt::spawn(async move {
                let key = format!("key {n}");
                let () = ::redis::cmd("SET").arg(&key).arg(&value).query_async(&mut connection).await?;
                ::redis::cmd("GET").arg(&key).query_async::<String>(&mut connection).await
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            assert_eq!(task.await??, value);
        }
        drop(connection);
        driver.await?;
        Ok(())
    });
}
