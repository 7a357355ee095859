//! hyper's HTTP/1 client, one request at a time on each connection.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::rt::{self, *};
use crate::options::{BoxError, Options};
use crate::{pages, tls};

/// The work of each connection.
#[derive(Clone)]
struct Plan {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    large: bool,
    requests: usize,
}

/// Sends the requests, and fails unless each answer is the page, byte for byte.
pub fn ask(options: &Options) -> Result<(), BoxError> {
    let plan = Plan {
        address: (Ipv4Addr::LOCALHOST, options.port).into(),
        tls: if options.tls { Some(tls::connector(&options.folder)?) } else { None },
        large: options.large,
        requests: options.requests / options.connections,
    };
    let connections = options.connections;
    rt::run(options.workers, async move {
        let (done, mut results) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..connections {
            let (plan, done) = (plan.clone(), done.clone());
            // The receiver is there until every sender is gone.
            rt::spawn(async move { drop(done.send(connection(&plan).await)) });
        }
        drop(done);
        let mut ended = 0;
        while let Some(result) = results.recv().await {
            result?;
            ended += 1;
        }
        if ended == connections { Ok(()) } else { Err("a connection of the client was lost".into()) }
    })?
}

async fn connection(plan: &Plan) -> Result<(), BoxError> {
    let stream = TcpStream::connect(plan.address).await?;
    stream.set_nodelay(true)?;
    match &plan.tls {
        None => requests(rt::for_hyper(stream), plan).await,
        Some(tls) => {
            requests(TokioIo::new(tls.connect(ServerName::try_from("localhost")?, stream).await?), plan).await
        }
    }
}

async fn requests<I>(stream: I, plan: &Plan) -> Result<(), BoxError>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await?;
    rt::spawn(connection);
    let expected = if plan.large { pages::large() } else { pages::SMALL.to_vec() };
    let path = pages::path(plan.large);
    for _ in 0..plan.requests {
        sender.ready().await?;
        let request = Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new())?;
        let mut body = sender.send_request(request).await?.into_body();
        let mut rest = &expected[..];
        while let Some(frame) = body.frame().await {
            let frame = frame?;
            let data = frame.data_ref().map_or(&[][..], |data| data);
            rest = rest.strip_prefix(data).ok_or("an answer has other bytes")?;
        }
        if !rest.is_empty() {
            return Err(format!("an answer lacks {} bytes", rest.len()).into());
        }
    }
    Ok(())
}
