//! A store of lines behind tokio's streams, split into halves, with channels between tasks.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{BoxError, PORT};

/// The time that a connection may be silent.
pub const SILENCE: Duration = Duration::from_secs(30);

/// A line to keep; the reply is the number of lines.
type Order = (String, oneshot::Sender<usize>);

/// Keeps the lines of all connections, for ever; answers each with their number.
///
/// # Errors
///
/// Returns an error if the listener fails.
pub async fn serve() -> Result<(), BoxError> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let (orders, mut queue) = mpsc::channel::<Order>(4);
    tokio::spawn(async move {
        let mut lines = Vec::new();
        while let Some((line, reply)) = queue.recv().await {
            lines.push(line);
            // The connection may have ended meanwhile.
            let _ = reply.send(lines.len());
        }
    });
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that is cut off ends its own connection alone.
        connections.spawn(answer(stream, orders.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(mut stream: TcpStream, orders: mpsc::Sender<Order>) -> Result<(), BoxError> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = timeout(SILENCE, lines.next_line()).await?? {
        let (reply, count) = oneshot::channel();
        orders.send((line, reply)).await?;
        write.write_all(format!("{}\n", count.await?).as_bytes()).await?;
    }
    Ok(())
}

/// Stores `n` lines on a connection, and returns the number in the last answer.
///
/// # Errors
///
/// Returns an error if the connection fails or ends.
pub async fn store(host: &str, n: usize) -> Result<usize, BoxError> {
    let to = tokio::net::lookup_host((host, PORT)).await?.next().ok_or("the name has no address")?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(16 << 10)?;
    let (read, mut write) = socket.connect(to).await?.into_split();
    let mut answers = BufReader::new(read).lines();
    let mut last = 0;
    for number in 0..n {
        write.write_all(format!("line {number}\n").as_bytes()).await?;
        let answer = answers.next_line().await?.ok_or("the server has ended the connection")?;
        let count = answer.parse()?;
        if count <= last {
            return Err(format!("line {number} is number {count}, after {last}").into());
        }
        last = count;
    }
    write.shutdown().await?;
    match answers.next_line().await? {
        None => Ok(last),
        Some(line) => Err(format!("{line} after the last answer").into()),
    }
}
