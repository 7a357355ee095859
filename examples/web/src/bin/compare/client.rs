//! The client that is measured: hyper's HTTP/1 on the sockets of either runtime, one request at a time on each connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use netpoll_web::BoxError;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::{Options, Peer};

/// The work of each connection.
#[derive(Clone)]
struct Plan {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    size: usize,
    requests: usize,
}

/// Sends the requests, and fails unless each answer has the right size.
pub fn run(peer: Peer, options: &Options) -> Result<(), BoxError> {
    let plan = Plan {
        address: (Ipv4Addr::LOCALHOST, options.port).into(),
        tls: options.trust.as_deref().map(config).transpose()?.map(TlsConnector::from),
        size: options.size,
        requests: options.requests / options.connections,
    };
    match peer {
        Peer::Netpoll => {
            let runtime = netpoll_rt::Runtime::builder().workers(options.workers).build()?;
            let tasks = (0..options.connections).map(|_| runtime.spawn(ask_netpoll(plan.clone())));
            let tasks: Vec<_> = tasks.collect();
            runtime.block_on(async {
                for task in tasks {
                    task.await??;
                }
                Ok(())
            })
        }
        Peer::Tokio => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let runtime = builder.worker_threads(options.workers).enable_all().build()?;
            let tasks = (0..options.connections).map(|_| runtime.spawn(ask_tokio(plan.clone())));
            let tasks: Vec<_> = tasks.collect();
            runtime.block_on(async {
                for task in tasks {
                    task.await??;
                }
                Ok(())
            })
        }
    }
}

/// Returns the configuration that trusts a certificate in hexadecimal digits.
pub fn config(trust: &str) -> Result<Arc<ClientConfig>, BoxError> {
    let digits = |at: usize| u8::from_str_radix(&trust[at..at + 2], 16);
    let certificate: Vec<u8> = (0..trust.len()).step_by(2).map(digits).collect::<Result<_, _>>()?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate))?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(config))
}

async fn ask_netpoll(plan: Plan) -> Result<(), BoxError> {
    let stream = netpoll_rt::net::TcpStream::connect(plan.address).await?;
    stream.set_nodelay(true)?;
    match &plan.tls {
        None => ask(stream, &plan, |connection| drop(netpoll_rt::spawn(connection))).await,
        Some(tls) => {
            let stream = tls.connect(ServerName::try_from("localhost")?, stream).await?;
            ask(TokioIo::new(stream), &plan, |connection| drop(netpoll_rt::spawn(connection))).await
        }
    }
}

async fn ask_tokio(plan: Plan) -> Result<(), BoxError> {
    let stream = tokio::net::TcpStream::connect(plan.address).await?;
    stream.set_nodelay(true)?;
    match &plan.tls {
        None => ask(TokioIo::new(stream), &plan, |connection| drop(tokio::spawn(connection))).await,
        Some(tls) => {
            let stream = tls.connect(ServerName::try_from("localhost")?, stream).await?;
            ask(TokioIo::new(stream), &plan, |connection| drop(tokio::spawn(connection))).await
        }
    }
}

async fn ask<I>(
    stream: I,
    plan: &Plan,
    spawn: impl FnOnce(http1::Connection<I, Empty<Bytes>>),
) -> Result<(), BoxError>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let (mut sender, connection) = http1::handshake(stream).await?;
    spawn(connection);
    let path = if plan.size == 13 { "/" } else { "/large" };
    for _ in 0..plan.requests {
        sender.ready().await?;
        let request = Request::get(path).header("host", "localhost").body(Empty::new())?;
        let mut body = sender.send_request(request).await?.into_body();
        let mut size = 0;
        while let Some(frame) = body.frame().await {
            size += frame?.data_ref().map_or(0, Bytes::len);
        }
        if size != plan.size {
            return Err(format!("{size} bytes instead of {}", plan.size).into());
        }
    }
    Ok(())
}
