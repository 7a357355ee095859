//! Serves the pages and the service of gRPC until Ctrl-C or SIGTERM. The first line of its output has the two addresses.
//!
//! `serve --http 127.0.0.1:8080 --grpc 127.0.0.1:8081 --database postgres://postgres@localhost/postgres`, then
//! `curl http://127.0.0.1:8080/query`.

use std::process::ExitCode;

use lexopt::ValueExt;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_app::grpc::EchoServer;
use tokio_app::{BoxError, web};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

const USAGE: &str = "serve [--http IP:PORT] [--grpc IP:PORT] [--database URL] [--workers N]";

/// The connections to the database.
const POOL: u32 = 16;

fn main() -> Result<ExitCode, BoxError> {
    let (mut http, mut grpc, mut database) = ("127.0.0.1:8080".to_owned(), "127.0.0.1:8081".to_owned(), None);
    let mut runtime = Builder::new_multi_thread();
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            lexopt::Arg::Long("http") => http = parser.value()?.string()?,
            lexopt::Arg::Long("grpc") => grpc = parser.value()?.string()?,
            lexopt::Arg::Long("database") => database = Some(parser.value()?.string()?),
            lexopt::Arg::Long("workers") => {
                runtime.worker_threads(parser.value()?.parse()?);
            }
            lexopt::Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            _ => return Err(format!("{}\n{USAGE}", arg.unexpected()).into()),
        }
    }
    runtime.enable_all().build()?.block_on(serve(&http, &grpc, database.as_deref()))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(http: &str, grpc: &str, database: Option<&str>) -> Result<(), BoxError> {
    let pool = match database {
        None => None,
        Some(url) => Some(PgPoolOptions::new().max_connections(POOL).connect(url).await?),
    };
    let (stop, stopped) = watch::channel(());
    let until = |mut stopped: watch::Receiver<()>| async move {
        // A sender that was dropped stops it too.
        stopped.changed().await.unwrap_or_default();
    };
    let (pages, calls) = (TcpListener::bind(http).await?, TcpListener::bind(grpc).await?);
    println!("{} {}", pages.local_addr()?, calls.local_addr()?);
    let pages = axum::serve(pages, web::router(pool)).with_graceful_shutdown(until(stopped.clone()));
    let pages = tokio::spawn(pages.into_future());
    let calls = TcpIncoming::from(calls).with_nodelay(Some(true));
    let server = Server::builder().add_service(EchoServer);
    let calls = tokio::spawn(server.serve_with_incoming_shutdown(calls, until(stopped)));
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    stop.send_replace(());
    pages.await??;
    Ok(calls.await??)
}
