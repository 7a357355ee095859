//! Serves the `Router` and the service of gRPC until it is told to stop, by Ctrl-C or SIGTERM.
//!
//! `cargo run --release --bin serve -- --address 127.0.0.1:8080`, then `curl http://127.0.0.1:8080/`; with `--tls`,
//! `curl --insecure https://127.0.0.1:8080/`.

use std::process::ExitCode;
use std::sync::Arc;

use futures_util::future::select;
use lexopt::ValueExt;
use netpoll_rt::Runtime;
use netpoll_rt::net::TcpListener;
use netpoll_rt::signal;
use netpoll_web::server::{Limits, Server};
use netpoll_web::tls::Identity;
use netpoll_web::{BoxError, app};

const USAGE: &str = "serve [--address IP:PORT] [--tls] [--workers N] [--connections N]";

fn main() -> Result<ExitCode, BoxError> {
    let (mut address, mut tls, mut limits) = ("127.0.0.1:8080".to_owned(), None, Limits::default());
    let mut runtime = Runtime::builder();
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            lexopt::Arg::Long("address") => address = parser.value()?.parse()?,
            lexopt::Arg::Long("tls") => {
                tls = Some(Identity::generate()?.server(&["h2", "http/1.1"])?.into());
            }
            lexopt::Arg::Long("workers") => runtime = runtime.workers(parser.value()?.parse()?),
            lexopt::Arg::Long("connections") => limits.connections = parser.value()?.parse()?,
            lexopt::Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            _ => return Err(format!("{}\n{USAGE}", arg.unexpected()).into()),
        }
    }
    runtime.build()?.block_on(async {
        let listener = TcpListener::bind(&address).await?;
        println!("listening on {}", listener.local_addr()?);
        let server =
            Server { listener, tls, limits, on_error: Arc::new(|peer, error| eprintln!("{peer}: {error}")) };
        let stop = async {
            let (interrupt, terminate) = (signal::ctrl_c(), signal::terminate());
            select(std::pin::pin!(interrupt), std::pin::pin!(terminate)).await;
        };
        let ended = server.serve(app::router(limits.handler), stop).await?;
        Ok(if ended { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}
