//! An echo server: one task per connection, written like blocking code on a thread of its own.
//!
//! `cargo run --release -p netpoll-examples --bin echo -- 127.0.0.1:7000`, then `nc 127.0.0.1 7000`. Without an address
//! the program connects to itself once and ends.

use std::io;

use netpoll_rt::net::{TcpListener, TcpStream};

async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        netpoll_rt::spawn(async move {
            if let Err(error) = echo(stream).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

/// Starts the server and connects to it once.
async fn visit(listener: TcpListener) -> io::Result<()> {
    let address = listener.local_addr()?;
    netpoll_rt::spawn(serve(listener));
    let stream = TcpStream::connect(address).await?;
    stream.write_all(b"hello").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    println!("sent hello, got {}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn main() -> io::Result<()> {
    netpoll_rt::block_on(async {
        match std::env::args().nth(1) {
            None => visit(TcpListener::bind("127.0.0.1:0").await?).await,
            Some(address) => {
                let listener = TcpListener::bind(&address).await?;
                println!("listening on {}", listener.local_addr()?);
                serve(listener).await
            }
        }
    })
}
