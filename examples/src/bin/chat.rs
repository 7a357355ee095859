//! A chat: each line goes to all other clients, through a bounded channel for each. A client that reads slowly delays no
//! other: while its channel is full, it misses lines. Without an address the program is its own server and clients.
//!
//! `cargo run -p netpoll-examples --bin chat -- 127.0.0.1:7000`, then `nc 127.0.0.1 7000` in several terminals.

use std::{collections::HashMap, io, net::Shutdown, net::SocketAddr, sync::Arc, sync::Mutex};

use async_channel::{Sender, bounded};
use futures_lite::{future::or, io::AsyncBufReadExt, io::AsyncReadExt, io::BufReader};
use netpoll_rt::net::{TcpListener, TcpStream};

type Room = Arc<Mutex<HashMap<SocketAddr, Sender<Arc<str>>>>>;

fn tell_others(room: &Room, author: SocketAddr, text: &str) {
    let line: Arc<str> = format!("{author}: {}\n", text.trim_end()).into();
    for (_, queue) in room.lock().unwrap().iter().filter(|(peer, _)| **peer != author) {
        let _full = queue.try_send(line.clone());
    }
}

async fn client(room: Room, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    let (queue, lines) = bounded::<Arc<str>>(64);
    room.lock().unwrap().insert(peer, queue);
    let read = async {
        // `lines()` would have no limit of length.
        let (mut reader, mut line) = (BufReader::new(&stream).take(4096), String::new());
        while reader.read_line(&mut line).await? > 0 {
            tell_others(&room, peer, &std::mem::take(&mut line));
            reader.set_limit(4096);
        }
        Ok(())
    };
    let write = async {
        stream.write_all(b"welcome\n").await?;
        while let Ok(line) = lines.recv().await {
            stream.write_all(line.as_bytes()).await?;
        }
        Ok(())
    };
    let ended = or(read, write).await;
    room.lock().unwrap().remove(&peer);
    ended
}

async fn visit(address: SocketAddr) -> io::Result<()> {
    let join = async || {
        let stream = TcpStream::connect(address).await?;
        stream.read_exact(&mut [0; "welcome\n".len()]).await.map(|()| stream)
    };
    let (ann, bob, mut deaf) = (join().await?, join().await?, join().await?);
    let said = "blah".repeat(1000);
    let line = format!("{}: {said}\n", ann.local_addr()?);
    let mut heard = vec![0; line.len()];
    for _ in 0..4000 {
        ann.write_all(format!("{said}\n").as_bytes()).await?;
        bob.read_exact(&mut heard).await?;
        assert_eq!(heard, line.as_bytes());
    }
    deaf.shutdown(Shutdown::Write)?;
    let late = deaf.read_to_end(&mut heard).await? / line.len();
    assert!(late < 4000);
    println!("ann said 4000 lines, bob heard them all, a client that did not read heard {late}");
    Ok(())
}

fn main() -> io::Result<()> {
    netpoll_rt::block_on(async {
        let (address, room) = (std::env::args().nth(1), Room::default());
        let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
        let mut incoming = listener.incoming();
        let serve = async {
            loop {
                let (stream, peer) = incoming.next().await?;
                netpoll_rt::spawn(client(room.clone(), stream, peer));
            }
        };
        if address.is_some() { serve.await } else { or(visit(listener.local_addr()?), serve).await }
    })
}
