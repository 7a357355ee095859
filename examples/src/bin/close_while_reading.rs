//! A close of a connection wakes the task that is parked in a read of it, and the read returns an error.
//!
//! `cargo run --release -p netpoll-examples --bin close_while_reading`

use std::io;
use std::sync::Arc;

use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::{Runtime, is_closed, spawn, yield_now};

async fn run(runtime: &Runtime) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let peer = TcpStream::connect(listener.local_addr()?).await?;
    let (stream, _) = listener.accept().await?;
    let stream = Arc::new(stream);

    let reader = spawn({
        let stream = stream.clone();
        async move { stream.read(&mut [0; 64]).await }
    });
    // A read that begins after the close returns the same error. Here the task is to be parked.
    while runtime.handle().waiters() == 0 {
        yield_now().await;
    }
    println!("one task is parked in a read of {}", stream.local_addr()?);

    // When this returns, the read has ended and the number of the descriptor is free.
    stream.close().await?;
    println!("another task has closed it");
    match reader.await.map_err(io::Error::other)? {
        Err(error) if is_closed(&error) => println!("the read returned: {error}"),
        other => {
            return Err(io::Error::other(format!("the read should have failed, but returned {other:?}")));
        }
    }

    // The connection stays closed, and the peer reads the end of the stream.
    let again = stream.write(b"more").await;
    println!("a later write: {}", again.err().map_or("no error".to_owned(), |error| error.to_string()));
    println!("the peer reads {} bytes", peer.read(&mut [0; 64]).await?);
    Ok(())
}

fn main() -> io::Result<()> {
    let runtime = Runtime::new()?;
    runtime.block_on(run(&runtime))
}
