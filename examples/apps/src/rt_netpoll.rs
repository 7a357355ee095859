//! The names under which the programs use netpoll.

use std::io;

use netpoll_rt::net::{Datagram, RecvBatch};
pub use netpoll_rt::net::{TcpListener, TcpStream, UdpSocket};
use netpoll_rt::{Handle, Runtime};

use crate::dns::{MOST, answer};

/// The datagrams of a batch.
const BATCH: usize = 32;

/// Runs a future, and the tasks that it spawns, to the end of the future.
pub fn run<F>(workers: usize, future: F) -> io::Result<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    Ok(Runtime::builder().workers(workers).build()?.block_on(future))
}

/// Spawns a task that is not awaited.
pub fn spawn(future: impl Future<Output: Send + 'static> + Send + 'static) {
    drop(netpoll_rt::spawn(future));
}

/// Returns a stream with the traits of hyper.
pub fn for_hyper(stream: TcpStream) -> TcpStream {
    stream
}

/// Returns an executor for HTTP/2.
pub fn executor() -> Handle {
    Handle::current()
}

/// Copies both ways to the ends of both.
pub async fn copy_both(a: &mut TcpStream, b: &mut TcpStream) -> io::Result<()> {
    netpoll_rt::io::copy_bidirectional(a, b).await.map(drop)
}

/// Answers queries in batches.
pub async fn answer_many(socket: &UdpSocket) -> io::Result<()> {
    let mut batch = RecvBatch::new(BATCH, MOST);
    loop {
        socket.recv_batch(&mut batch).await?;
        let answers: Vec<_> =
            batch.iter().filter_map(|query| Some((answer(query.bytes())?, query.from()))).collect();
        let mut datagrams: Vec<_> = answers.iter().map(|(answer, to)| Datagram::to(answer, *to)).collect();
        while !datagrams.is_empty() {
            let sent = socket.send_batch(&datagrams).await?;
            datagrams.drain(..sent);
        }
    }
}
