//! The names under which the programs use tokio.

use std::io;

use hyper_util::rt::{TokioExecutor, TokioIo};
pub use tokio::io::{AsyncReadExt, AsyncWriteExt};
pub use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Builder;

use crate::dns::{MOST, answer};

/// Runs a future, and the tasks that it spawns, to the end of the future.
pub fn run<F>(workers: usize, future: F) -> io::Result<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let mut builder = match workers {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    Ok(builder.worker_threads(workers).enable_all().build()?.block_on(future))
}

/// Spawns a task that is not awaited.
pub fn spawn(future: impl Future<Output: Send + 'static> + Send + 'static) {
    drop(tokio::spawn(future));
}

/// Returns a stream with the traits of hyper.
pub fn for_hyper(stream: TcpStream) -> TokioIo<TcpStream> {
    TokioIo::new(stream)
}

/// Returns an executor for HTTP/2.
pub fn executor() -> TokioExecutor {
    TokioExecutor::new()
}

/// Copies both ways to the ends of both.
pub async fn copy_both(a: &mut TcpStream, b: &mut TcpStream) -> io::Result<()> {
    tokio::io::copy_bidirectional(a, b).await.map(drop)
}

/// Answers queries, each by a call of its own, as tokio has no batches. Those that are there are answered without a wait.
pub async fn answer_many(socket: &UdpSocket) -> io::Result<()> {
    let mut query = [0; MOST];
    loop {
        socket.readable().await?;
        loop {
            match socket.try_recv_from(&mut query) {
                Ok((n, from)) => {
                    if let Some(answer) = answer(&query[..n]) {
                        socket.send_to(&answer, from).await?;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
}
