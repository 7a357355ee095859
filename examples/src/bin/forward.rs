//! A port forwarder. `copy_bidirectional` lets the kernel move the bytes from socket to socket (splice on Linux) and
//! forwards the end of each direction separately, so that one side may have finished while the other still sends.
//!
//! `cargo run -p netpoll-examples --bin forward -- 127.0.0.1:7000 example.org:80`. Without addresses it forwards its
//! own client to its own echo server.

use std::{io, net::Shutdown, net::SocketAddr, sync::Arc};

use futures_lite::future::{or, try_zip};
use futures_lite::io::AsyncReadExt;
use netpoll_rt::io::{copy, copy_bidirectional};
use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::spawn;

async fn forward(client: TcpStream, target: &str) -> io::Result<(u64, u64)> {
    let server = TcpStream::connect(target).await?;
    copy_bidirectional(&client, &server).await
}

async fn serve(listener: TcpListener, target: String) -> io::Result<()> {
    let target = Arc::<str>::from(target);
    let mut incoming = listener.incoming();
    loop {
        let ((client, peer), target) = (incoming.next().await?, target.clone());
        spawn(async move {
            match forward(client, &target).await {
                Ok((sent, received)) => println!("{peer}: {sent} bytes sent, {received} received"),
                Err(error) => println!("{peer}: {error}"),
            }
        });
    }
}

/// Runs a server that sends all bytes back, and then the end of the stream.
async fn echo(listener: TcpListener) -> io::Result<()> {
    let mut incoming = listener.incoming();
    loop {
        let (stream, _) = incoming.next().await?;
        spawn(async move {
            copy(&stream, &stream).await?;
            stream.shutdown(Shutdown::Write)
        });
    }
}

async fn visit(forwarder: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect(forwarder).await?;
    let (mut sent, mut received) = (vec![0; 8 * 1024 * 1024], Vec::new());
    fastrand::fill(&mut sent);
    let write = async {
        stream.write_all(&sent).await?;
        stream.shutdown(Shutdown::Write)
    };
    let mut reader = &stream;
    try_zip(write, reader.read_to_end(&mut received)).await?;
    assert_eq!(received.len(), sent.len());
    assert!(received == sent, "the bytes are not the same");
    println!("{} bytes came back through the forwarder", received.len());
    Ok(())
}

fn main() -> io::Result<()> {
    let mut addresses = std::env::args().skip(1);
    netpoll_rt::block_on(async {
        match (addresses.next(), addresses.next()) {
            (Some(address), Some(target)) => serve(TcpListener::bind(&address).await?, target).await,
            (Some(_), None) => Err(io::Error::other("two addresses are needed: to listen on, to forward to")),
            (None, _) => {
                let target = TcpListener::bind("127.0.0.1:0").await?;
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let (forwarder, address) = (listener.local_addr()?, target.local_addr()?.to_string());
                or(visit(forwarder), or(serve(listener, address), echo(target))).await
            }
        }
    })
}
