//! The servers of this package in this process, driven by its own clients and by programs of Debian.

mod client;
mod database;
mod dns;
mod grpc;
mod http;
mod quic;
mod slow;
mod tools;

use std::net::SocketAddr;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netpoll_rt::time::timeout;
use netpoll_rt::{JoinHandle, Runtime, net::TcpListener};
use netpoll_web::server::{Limits, OnError, Server};
use netpoll_web::tls::Identity;
use netpoll_web::{BoxError, app};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;
use tokio_rustls::rustls::ClientConfig;

/// The time that one test may take.
const PATIENCE: Duration = Duration::from_secs(100);

/// Runs a test on one worker and on four.
fn each<F: Future<Output = Result<(), BoxError>>>(test: impl Fn() -> F) {
    run(1, &test);
    run(4, &test);
}

/// Runs a test on four workers.
fn block_on<F: Future<Output = Result<(), BoxError>>>(test: impl Fn() -> F) {
    run(4, &test);
}

fn run<F: Future<Output = Result<(), BoxError>>>(workers: usize, test: &impl Fn() -> F) {
    let runtime = Runtime::builder().workers(workers).build().unwrap();
    let result = runtime.block_on(timeout(PATIENCE, test())).expect("the test takes too long");
    result.unwrap_or_else(|error| panic!("{workers} workers: {error:?}"));
}

/// Ends a program that this one has started, in the way that its user would.
fn stop(child: &mut Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
    child.wait().unwrap();
}

/// A server in this process.
struct Site {
    address: SocketAddr,
    identity: Identity,
    /// The number of connections that failed.
    failed: Arc<Mutex<usize>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<bool>>,
}

impl Site {
    /// Starts a server.
    async fn start(tls: bool, limits: Limits) -> Result<Self, BoxError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, identity) = (listener.local_addr()?, Identity::generate()?);
        let tls = if tls { Some(identity.server(&["h2", "http/1.1"])?.into()) } else { None };
        let failed = Arc::new(Mutex::new(0));
        let count = failed.clone();
        let on_error: OnError = Arc::new(move |peer, error| {
            println!("{peer}: {error}");
            *count.lock().unwrap() += 1;
        });
        let server = Server { listener, tls, limits, on_error };
        let (stop, stopped) = oneshot::channel();
        let task = netpoll_rt::spawn(server.serve(app::router(limits.handler), async {
            // A sender that was dropped stops it too.
            stopped.await.unwrap_or_default();
        }));
        Ok(Self { address, identity, failed, stop, task })
    }

    /// Returns the address of a page.
    fn url(&self, scheme: &str, path: &str) -> hyper::Uri {
        format!("{scheme}://localhost:{}{path}", self.address.port()).parse().unwrap()
    }

    /// Returns the configuration of a client that trusts this server.
    fn trust(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        self.identity.client(protocols).unwrap()
    }

    /// Stops the server; returns whether every connection ended within the time of grace.
    async fn stop(self) -> Result<bool, BoxError> {
        drop(self.stop);
        Ok(self.task.await??)
    }
}
