//! Servers of Debian, which a test starts for itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, io};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_app::BoxError;

/// The folder of the servers of PostgreSQL, which are not on the path.
const POSTGRES: &str = "/usr/lib/postgresql";

/// The time in which a server must let clients in.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Returns a program, or says that its test is skipped.
fn find(program: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("PATH").iter().flat_map(env::split_paths).collect();
    folders
        .extend(fs::read_dir(POSTGRES).into_iter().flatten().flatten().map(|entry| entry.path().join("bin")));
    let found = folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: {program} is not installed");
    }
    found
}

/// A folder of its own for a server, for any user to write into, which is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        static FOLDERS: Mutex<usize> = Mutex::new(0);
        let mut number = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
        *number += 1;
        let path = env::temp_dir().join(format!("tokio-app-{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

/// A server that ends with the test.
pub struct Service {
    child: Child,
    address: SocketAddr,
    // Dropped last: the server writes into it until its end.
    _folder: Folder,
}

impl Service {
    /// Starts a server on a port that was free a moment ago, and waits until `ready` finds it open for clients.
    async fn start(
        folder: Folder,
        command: impl FnOnce(u16, &Path) -> Command,
        ready: impl AsyncFn(SocketAddr) -> Result<(), BoxError>,
    ) -> Result<Self, BoxError> {
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = command(port, &folder.0);
        let child = command.current_dir(&folder.0).stdout(Stdio::null()).spawn()?;
        let service = Self { child, address: (Ipv4Addr::LOCALHOST, port).into(), _folder: folder };
        let end = Instant::now() + START_LIMIT;
        while let Err(error) = ready(service.address).await {
            if Instant::now() > end {
                return Err(error);
            }
            // Neither server tells its parent when it is ready.
            sleep(Duration::from_millis(20)).await;
        }
        Ok(service)
    }

    /// Returns the address in the form of the configuration of a client.
    pub fn url(&self, scheme_and_user: &str) -> String {
        format!("{scheme_and_user}{}", self.address)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.child.wait().unwrap();
    }
}

/// Starts a server of PostgreSQL whose data is gone with it, if it is installed; its user and database are `postgres`.
pub async fn postgres() -> Result<Option<Service>, BoxError> {
    let (Some(initdb), Some(server)) = (find("initdb"), find("postgres")) else { return Ok(None) };
    let folder = Folder::new()?;
    let mut init = as_postgres(&initdb);
    init.args(["--no-sync", "--auth=trust", "--username=postgres", "--pgdata=data"]).current_dir(&folder.0);
    let made = tokio::process::Command::from(init).output().await?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let command = |port: u16, folder: &Path| {
        let mut command = as_postgres(&server);
        command.args(["-D", "data", "-h", "127.0.0.1", "-p", &port.to_string(), "-k"]).arg(folder);
        command.args(["-c", "fsync=off", "-c", "log_min_messages=panic"]);
        command
    };
    let ready = async |address: SocketAddr| {
        let (_, connection) =
            tokio_postgres::connect(&format!("postgres://postgres@{address}"), tokio_postgres::NoTls).await?;
        drop(connection);
        Ok(())
    };
    Ok(Some(Service::start(folder, command, ready).await?))
}

/// Returns the command of a program that refuses to run as root, so that root runs it as the user `postgres`.
fn as_postgres(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

/// Starts a server of Redis, if it is installed.
pub async fn redis() -> Result<Option<Service>, BoxError> {
    let Some(server) = find("redis-server") else { return Ok(None) };
    let command = |port: u16, _: &Path| {
        let mut command = Command::new(server);
        command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]);
        command
    };
    let ready = async |address| match TcpStream::connect(address).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    };
    Ok(Some(Service::start(Folder::new()?, command, ready).await?))
}
