//! The servers of this package and of Debian in this process, driven by the clients of the ecosystem.

mod grpc;
mod http;
mod postgres;
mod redis;
mod servers;
mod ws;

use std::time::Duration;

use tokio::time::timeout;
use tokio_app::BoxError;

/// The time that one test may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a test to end; fails when it takes too long.
async fn within<T>(test: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    timeout(PATIENCE, test).await?
}
