//! hyper's HTTP/1 client, one request at a time on each connection. It measures itself from the moment at which each connection
//! has had its first answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::rt::{self, *};
use crate::options::{BoxError, Options};
use crate::{pages, process, tls};

/// The work of each connection.
#[derive(Clone)]
struct Plan {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    large: bool,
    requests: usize,
    /// Becomes true when every connection has had its first answer.
    begun: watch::Receiver<bool>,
}

/// The channel on which each connection tells first that it has had an answer, then that it has had all.
type Told = mpsc::UnboundedSender<Result<(), BoxError>>;

/// Sends the requests, and fails unless each answer is the page, byte for byte. Prints the seconds of CPU and of the clock that
/// they took, without the first of each connection.
pub fn ask(options: &Options) -> Result<(), BoxError> {
    let (begin, begun) = watch::channel(false);
    let plan = Plan {
        address: (Ipv4Addr::LOCALHOST, options.port).into(),
        tls: if options.tls { Some(tls::connector(&options.folder)?) } else { None },
        large: options.large,
        requests: options.requests / options.connections,
        begun,
    };
    let connections = options.connections;
    rt::run(options.workers, async move {
        let (told, mut results) = mpsc::unbounded_channel();
        for _ in 0..connections {
            let (plan, told) = (plan.clone(), told.clone());
            rt::spawn(async move {
                let result = connection(&plan, &told).await;
                // The receiver is there until every sender is gone.
                drop(told.send(result));
            });
        }
        drop(told);
        all(&mut results, connections).await?;
        let (before, since) = (process::own_seconds()?, Instant::now());
        begin.send(true)?;
        all(&mut results, connections).await?;
        println!("{} {}", process::own_seconds()? - before, since.elapsed().as_secs_f64());
        Ok(())
    })?
}

/// Waits for a message of each connection.
async fn all(
    results: &mut mpsc::UnboundedReceiver<Result<(), BoxError>>,
    connections: usize,
) -> Result<(), BoxError> {
    for _ in 0..connections {
        results.recv().await.ok_or("a connection of the client was lost")??;
    }
    Ok(())
}

async fn connection(plan: &Plan, told: &Told) -> Result<(), BoxError> {
    let stream = TcpStream::connect(plan.address).await?;
    stream.set_nodelay(true)?;
    match &plan.tls {
        None => requests(rt::for_hyper(stream), plan, told).await,
        Some(tls) => {
            let stream = tls.connect(ServerName::try_from("localhost")?, stream).await?;
            requests(TokioIo::new(stream), plan, told).await
        }
    }
}

async fn requests<I>(stream: I, plan: &Plan, told: &Told) -> Result<(), BoxError>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await?;
    rt::spawn(connection);
    let expected = pages::bytes(plan.large);
    request(&mut sender, plan.large, &expected).await?;
    told.send(Ok(()))?;
    plan.begun.clone().wait_for(|begun| *begun).await?;
    for _ in 0..plan.requests {
        request(&mut sender, plan.large, &expected).await?;
    }
    Ok(())
}

/// Sends one request, and compares the answer with the page.
async fn request(
    sender: &mut http1::SendRequest<Empty<Bytes>>,
    large: bool,
    mut rest: &[u8],
) -> Result<(), BoxError> {
    sender.ready().await?;
    let request = Request::get(pages::path(large)).header("host", "localhost").body(Empty::<Bytes>::new())?;
    let mut body = sender.send_request(request).await?.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        rest = rest.strip_prefix(data).ok_or("an answer has other bytes")?;
    }
    match rest.len() {
        0 => Ok(()),
        lacking => Err(format!("an answer lacks {lacking} bytes").into()),
    }
}
