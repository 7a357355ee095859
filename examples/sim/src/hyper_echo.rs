//! An echo server and a client by hyper alone.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::{Handle, spawn};

use crate::{BoxError, PORT};

/// The time that a connection may take for the head of a request, from the last one.
pub const HEAD: Duration = Duration::from_secs(5);

/// Serves for ever: each answer is the body of its request.
///
/// # Errors
///
/// Returns an error if the listener fails.
pub async fn serve() -> Result<Infallible, BoxError> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let mut http = server::conn::http1::Builder::new();
        http.timer(Handle::current()).header_read_timeout(HEAD);
        // A client that is cut off ends its own connection alone.
        spawn(http.serve_connection(stream, service_fn(answer)));
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    Ok(Response::new(Full::new(body)))
}

/// A connection to the server.
#[derive(Debug)]
pub struct Client {
    sender: client::conn::http1::SendRequest<Full<Bytes>>,
}

impl Client {
    /// Connects to the server of a host.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection fails.
    pub async fn connect(host: &str) -> Result<Self, BoxError> {
        let stream = TcpStream::connect((host, PORT)).await?;
        let (sender, connection) = client::conn::http1::handshake(stream).await?;
        spawn(connection);
        Ok(Self { sender })
    }

    /// Sends a body and returns that of the answer.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection has ended.
    pub async fn echo(&mut self, body: Bytes) -> Result<Bytes, BoxError> {
        self.sender.ready().await?;
        let request = Request::post("/").header("host", "here").body(Full::new(body))?;
        Ok(self.sender.send_request(request).await?.into_body().collect().await?.to_bytes())
    }
}
