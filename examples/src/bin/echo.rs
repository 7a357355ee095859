//! An echo server: one task per connection.
//!
//! `cargo run --release -p netpoll-examples --bin echo -- 127.0.0.1:7000`, then `nc 127.0.0.1 7000`. Without an address
//! it serves one connection of its own and ends.

use std::io;

use netpoll_rt::net::{TcpListener, TcpStream};

async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _peer) = listener.accept().await?;
        netpoll_rt::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                match stream.read(&mut buffer).await? {
                    0 => return io::Result::Ok(()),
                    n => stream.write_all(&buffer[..n]).await?,
                }
            }
        });
    }
}

fn main() -> io::Result<()> {
    netpoll_rt::block_on(async {
        if let Some(address) = std::env::args().nth(1) {
            let listener = TcpListener::bind(&address).await?;
            println!("listening on {}", listener.local_addr()?);
            return serve(listener).await;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        netpoll_rt::spawn(serve(listener));
        let stream = TcpStream::connect(address).await?;
        stream.write_all(b"hello").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        println!("sent hello, got {}", String::from_utf8_lossy(&answer));
        Ok(())
    })
}
