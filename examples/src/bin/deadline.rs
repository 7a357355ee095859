//! A deadline belongs to the connection: it stays in force until it is changed, and needs no task and no timer.
//!
//! `cargo run --release -p netpoll-examples --bin deadline`

use std::io;
use std::time::{Duration, Instant};

use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::spawn;

/// The time for which the server waits for its peer.
const LIMIT: Duration = Duration::from_millis(100);

/// Greets, is silent for too long, answers a question, and returns the connection, which stays silent.
async fn slow_peer(stream: TcpStream) -> io::Result<TcpStream> {
    stream.write_all(b"hello").await?;
    let mut question = [0; 1];
    stream.read_exact(&mut question).await?;
    stream.write_all(b"late").await?;
    Ok(stream)
}

async fn show(what: &str, stream: &TcpStream) {
    let mut buffer = [0; 64];
    let began = Instant::now();
    let result = match stream.read(&mut buffer).await {
        Ok(n) => format!("{:?}", String::from_utf8_lossy(&buffer[..n])),
        Err(error) => format!("{:?}: {error}", error.kind()),
    };
    println!("{what:<42} after {:>3} ms: {result}", began.elapsed().as_millis());
}

async fn run() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let peer = spawn(slow_peer(TcpStream::connect(listener.local_addr()?).await?));
    let (stream, _) = listener.accept().await?;

    stream.set_read_deadline(Some(Instant::now() + LIMIT))?;
    show("in time", &stream).await;
    show("the peer is silent", &stream).await;

    // Writes have a deadline of their own, which is not set.
    stream.write_all(b"?").await?;
    let peer = peer.await.map_err(io::Error::other)??;
    show("bytes are there, the deadline stays", &stream).await;
    stream.set_read_deadline(None)?;
    show("the deadline is cleared", &stream).await;

    stream.set_read_deadline(Some(Instant::now() + LIMIT))?;
    show("a new deadline, a silent peer", &stream).await;
    drop(stream);
    show("the peer, cut off, reads the end", &peer).await;
    Ok(())
}

fn main() -> io::Result<()> {
    netpoll_rt::block_on(run())
}
