//! A sum on a server of axum, and requests by hyper.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request, server};
use hyper_util::service::TowerToHyperService;
use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::spawn;
use netpoll_rt::task::JoinSet;
use netpoll_rt::time::{sleep, timeout};

use crate::{BoxError, PORT};

/// The time that a client gives a request, its connection included.
pub const LIMIT: Duration = Duration::from_secs(2);

/// Returns the pages.
///
/// | path | answer |
/// |---|---|
/// | `POST /add/{n}` | the sum of all numbers so far |
/// | `POST /echo` | the body |
/// | `GET /slow/{ms}` | an empty body, after that time |
fn router() -> Router {
    let add = async |State(sum): State<Arc<Mutex<u64>>>, Path(n): Path<u64>| {
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        *sum += n;
        sum.to_string()
    };
    Router::new()
        .route("/add/{n}", post(add))
        .route("/echo", post(async |body: Bytes| body))
        .route("/slow/{ms}", get(async |Path(ms): Path<u64>| sleep(Duration::from_millis(ms)).await))
        .with_state(Arc::default())
}

/// Serves the pages for ever.
///
/// # Errors
///
/// Returns an error if the listener fails.
pub async fn serve() -> Result<Infallible, BoxError> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let pages = TowerToHyperService::new(router());
    loop {
        let (stream, _) = listener.accept().await?;
        // A client that is cut off ends its own connection alone.
        spawn(server::conn::http1::Builder::new().serve_connection(stream, pages.clone()));
    }
}

/// Sends a request on a connection of its own, and returns the body of the answer.
///
/// # Errors
///
/// Returns an error if the connection or the request fails, or both take longer than [`LIMIT`].
pub async fn request(host: &str, method: Method, path: &str, body: Bytes) -> Result<Bytes, BoxError> {
    timeout(LIMIT, async {
        let stream = TcpStream::connect((host, PORT)).await?;
        let (mut sender, connection) = http1::handshake(stream).await?;
        let connection = spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", host);
        let response = sender.send_request(request.body(Full::new(body))?).await?;
        let body = response.into_body().collect().await?.to_bytes();
        drop(sender);
        connection.await??;
        Ok(body)
    })
    .await?
}

/// Adds the numbers 1 to `n` by requests of as many tasks, and returns the largest sum that was answered.
///
/// # Errors
///
/// Returns the error of a request.
pub async fn add_at_once(host: &'static str, n: u64) -> Result<u64, BoxError> {
    let mut tasks = JoinSet::new();
    for number in 1..=n {
        tasks
            .spawn(async move { request(host, Method::POST, &format!("/add/{number}"), Bytes::new()).await });
    }
    let mut largest = 0;
    while let Some(answer) = tasks.join_next().await {
        largest = largest.max(std::str::from_utf8(&answer??)?.parse()?);
    }
    Ok(largest)
}
