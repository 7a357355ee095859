//! A counter behind `axum::serve`, and requests by hyper's client with a pool of connections.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::{BoxError, PORT};

/// The time that a client gives a request, its connection included.
pub const LIMIT: Duration = Duration::from_secs(2);

/// Serves for ever.
///
/// | path | answer |
/// |---|---|
/// | `POST /add/{n}` | the sum of all numbers so far |
/// | `POST /echo` | the body |
/// | `GET /slow/{ms}` | an empty body, after that time |
///
/// # Errors
///
/// Returns an error if the listener fails.
pub async fn serve() -> Result<(), BoxError> {
    let add = async |State(sum): State<Arc<Mutex<u64>>>, Path(n): Path<u64>| {
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        *sum += n;
        sum.to_string()
    };
    let pages = Router::new()
        .route("/add/{n}", post(add))
        .route("/echo", post(async |body: Bytes| body))
        .route("/slow/{ms}", get(async |Path(ms): Path<u64>| sleep(Duration::from_millis(ms)).await))
        .with_state(Arc::default());
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    axum::serve(listener, pages).await?;
    Ok(())
}

/// A client of the counter, which keeps connections that are idle.
#[derive(Clone, Debug)]
pub struct Client(HttpClient<HttpConnector, Full<Bytes>>);

impl Default for Client {
    fn default() -> Self {
        Self(HttpClient::builder(TokioExecutor::new()).build_http())
    }
}

impl Client {
    /// Sends a request, and returns the body of the answer.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection or the request fails, or both take longer than [`LIMIT`].
    pub async fn request(
        &self,
        host: &str,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, BoxError> {
        let request = Request::builder().method(method).uri(format!("http://{host}:{PORT}{path}"));
        let request = request.body(Full::new(body))?;
        timeout(LIMIT, async {
            let response = self.0.request(request).await?;
            Ok(response.into_body().collect().await?.to_bytes())
        })
        .await?
    }
}
