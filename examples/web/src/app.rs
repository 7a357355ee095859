//! An axum `Router`. Without axum's feature `tokio` it is a service of tower, and nothing in it knows a runtime.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::BodyExt;
use netpoll_rt::time::{sleep, timeout};

use crate::grpc;

/// The most bytes that `/bytes/{n}` returns.
const MOST: usize = 64 << 20;

/// Returns the routes. A request that is not answered within `limit` gets status 408, and its connection is closed unless
/// its body has come completely.
///
/// | path | answer |
/// |---|---|
/// | `GET /` | `Hello, world!` |
/// | `GET /bytes/{n}` | `n` bytes, see [`pattern`] |
/// | `GET /sleep/{ms}` | an empty body, after that time |
/// | `POST /count` | the number of bytes of the body, and their sum |
/// | `POST /echo` | the body |
/// | `POST /netpoll.Echo/..` | the service of gRPC |
pub fn router(limit: Duration) -> Router {
    Router::new()
        .route("/", get(|| async { "Hello, world!" }))
        .route("/bytes/{n}", get(bytes))
        .route("/sleep/{ms}", get(|Path(ms): Path<u64>| sleep(Duration::from_millis(ms))))
        .route("/count", post(count))
        .route("/echo", post(|body: Body| async { body }))
        .route_service("/netpoll.Echo/{method}", grpc::EchoServer)
        .layer(middleware::from_fn(move |request, next| within(limit, request, next)))
}

/// Returns `n` bytes that tell their places.
pub fn pattern(n: usize) -> Bytes {
    let period: Vec<u8> = (0..251).collect();
    let mut bytes = period.repeat(n.div_ceil(period.len()));
    bytes.truncate(n);
    bytes.into()
}

async fn within(limit: Duration, request: Request, next: Next) -> Response {
    match timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
    }
}

async fn bytes(Path(n): Path<usize>) -> Response {
    if n > MOST { StatusCode::PAYLOAD_TOO_LARGE.into_response() } else { pattern(n).into_response() }
}

/// Reads the body as it comes, without keeping it.
async fn count(mut body: Body) -> Result<String, StatusCode> {
    let (mut count, mut sum) = (0, 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        if let Some(bytes) = frame.data_ref() {
            count += bytes.len();
            sum += bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        }
    }
    Ok(format!("{count} {sum}"))
}
