//! A server of HTTP/1 and HTTP/2 by hyper, with or without TLS.
//!
//! A connection that makes no progress is ended:
//!
//! | the client | is cut off by | after |
//! |---|---|---|
//! | sends its TLS handshake in pieces | `timeout` around the handshake | `Limits::head` |
//! | sends the head of a request in pieces | hyper's `header_read_timeout` | `Limits::head` |
//! | sends the body of a request in pieces | the time limit of the handler, see [`app`](crate::app) | `Limits::handler` |
//! | does not send a next request | hyper's `header_read_timeout` | `Limits::head` |
//! | sends nothing at all | the read timeout of the socket | `Limits::idle` |
//! | does not read the response | the write timeout of the socket | `Limits::idle` |

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use futures_util::future::{Either, select};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use netpoll_rt::Handle;
use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::time::timeout;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::BoxError;

/// The limits of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The number of connections at a time. Further ones wait in the backlog of the listener.
    pub connections: usize,
    /// The time for a TLS handshake, and for the head of a request from its first byte.
    pub head: Duration,
    /// The time for a response; see [`app::router`](crate::app::router).
    pub handler: Duration,
    /// The time without any progress. It must be longer than `handler`: while a handler works, hyper waits for the end of the
    /// connection, and that is a read too.
    pub idle: Duration,
    /// The time that open connections have to end in after a shutdown has begun.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            head: Duration::from_secs(10),
            handler: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            grace: Duration::from_secs(10),
        }
    }
}

/// A function that is told of a connection that has failed: the address of the peer, and the error.
pub type OnError = Arc<dyn Fn(SocketAddr, BoxError) + Send + Sync>;

/// A server: its socket, its certificate and its limits.
pub struct Server {
    /// The socket.
    pub listener: TcpListener,
    /// The certificate, for TLS. Its protocols (ALPN) are those of [`tls::server`](crate::tls::server).
    pub tls: Option<TlsAcceptor>,
    /// The limits.
    pub limits: Limits,
    /// The function that is told of each connection that fails.
    pub on_error: OnError,
}

impl Server {
    /// Serves until `stop` is ready, then lets the open requests finish. Returns whether all did within the time of grace.
    ///
    /// # Errors
    ///
    /// Returns an error if the listener fails.
    pub async fn serve<S>(self, service: S, stop: impl Future<Output = ()>) -> io::Result<bool>
    where
        S: tower_service::Service<Request<Incoming>, Response = Response, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
    {
        let graceful = GracefulShutdown::new();
        match select(pin!(self.accept(service, &graceful)), pin!(stop)).await {
            Either::Left((result, _)) => result?,
            // From here on the kernel refuses clients, because the listener is closed.
            Either::Right(_) => self.listener.close().await?,
        }
        Ok(timeout(self.limits.grace, graceful.shutdown()).await.is_ok())
    }

    async fn accept<S>(&self, service: S, graceful: &GracefulShutdown) -> io::Result<()>
    where
        S: tower_service::Service<Request<Incoming>, Response = Response, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
    {
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        // It waits while the process has no free descriptor.
        let mut incoming = self.listener.incoming();
        loop {
            let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
            let (stream, peer) = incoming.next().await?;
            let connection =
                connection(stream, self.tls.clone(), self.limits, service.clone(), graceful.watcher());
            let on_error = self.on_error.clone();
            netpoll_rt::spawn(async move {
                if let Err(error) = connection.await {
                    on_error(peer, error);
                }
                drop(slot);
            });
        }
    }
}

/// Serves one connection until it ends.
async fn connection<S>(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    service: S,
    watcher: Watcher,
) -> Result<(), BoxError>
where
    S: tower_service::Service<Request<Incoming>, Response = Response, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    stream.set_nodelay(true)?;
    // Each operation that waits may wait that long.
    stream.set_read_timeout(Some(limits.idle))?;
    stream.set_write_timeout(Some(limits.idle))?;
    let runtime = Handle::current();
    let mut builder = auto::Builder::new(runtime.clone());
    builder.http1().timer(runtime.clone()).header_read_timeout(limits.head);
    builder.http2().timer(runtime).keep_alive_interval(limits.idle / 2).keep_alive_timeout(limits.head);
    let service = TowerToHyperService::new(service);
    match tls {
        None => watcher.watch(builder.serve_connection(stream, service)).await,
        Some(tls) => {
            let stream = timeout(limits.head, tls.accept(stream)).await??;
            watcher.watch(builder.serve_connection(TokioIo::new(stream), service)).await
        }
    }
}
