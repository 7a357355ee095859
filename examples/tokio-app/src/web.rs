//! The pages: a text, bytes, an upload, and a query to the database.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use sqlx::postgres::PgPool;

/// The query of the page `/query`.
pub const QUERY: &str = "SELECT n, 'row ' || n FROM generate_series(1, $1) AS n";

/// The largest number of bytes of the page `/bytes`.
const LIMIT: usize = 16 << 20;

/// Returns the pages. `/query` needs a pool of connections, and is missing without it.
pub fn router(pool: Option<PgPool>) -> Router {
    let pages = Router::new()
        .route("/", get(async || "Hello, world!"))
        .route("/bytes/{size}", get(bytes))
        .route("/count", post(async |body: Bytes| body.len().to_string()));
    match pool {
        None => pages,
        Some(pool) => pages.merge(Router::new().route("/query", get(query)).with_state(pool)),
    }
}

async fn bytes(Path(size): Path<usize>) -> Result<Vec<u8>, StatusCode> {
    if size > LIMIT { Err(StatusCode::PAYLOAD_TOO_LARGE) } else { Ok(vec![b'x'; size]) }
}

async fn query(State(pool): State<PgPool>) -> Result<String, (StatusCode, String)> {
    let rows: Vec<(i32, String)> = sqlx::query_as(QUERY)
        .bind(10)
        .fetch_all(&pool)
        .await
        .map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))?;
    Ok(rows.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n"))
}
