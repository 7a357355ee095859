//! Postgres and Redis: both clients take any stream with tokio's traits, and return a future that drives the connection, which
//! is a task of ours.

use std::net::SocketAddr;

use netpoll_rt::JoinHandle;
use netpoll_rt::net::TcpStream;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo};
use tokio_postgres::{Client, Config, NoTls};

use crate::BoxError;

/// Connects to a Postgres server. The task ends when the client is dropped, or with the error of the connection.
///
/// # Errors
///
/// Returns an error if the server cannot be reached or refuses the login.
pub async fn postgres(
    address: SocketAddr,
    config: &Config,
) -> Result<(Client, JoinHandle<Result<(), tokio_postgres::Error>>), BoxError> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (client, connection) = config.connect_raw(stream, NoTls).await?;
    Ok((client, netpoll_rt::spawn(connection)))
}

/// Connects to a Redis server. The task ends when the last clone of the connection is dropped.
///
/// The time limits of the library are tokio's timers, so they are off: put [`timeout`](netpoll_rt::time::timeout) around a
/// request instead.
///
/// # Errors
///
/// Returns an error if the server cannot be reached or refuses the login.
pub async fn redis(
    address: SocketAddr,
    info: &RedisConnectionInfo,
) -> Result<(MultiplexedConnection, JoinHandle<()>), BoxError> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let (connection, driver) = MultiplexedConnection::new_with_config(info, stream, config).await?;
    Ok((connection, netpoll_rt::spawn(driver)))
}
