//! A UDP echo server. Several tasks share the socket, and each datagram goes to one of them. A datagram may be lost, so the
//! client asks again if no answer comes before the read deadline of its socket.
//!
//! `cargo run -p netpoll-examples --bin udp_echo -- 127.0.0.1:7000`, then `nc -u 127.0.0.1 7000`. Without an address the
//! program has four clients and loses one datagram in ten.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{io, sync::Arc};

use netpoll_rt::{net::UdpSocket, spawn};

/// The length of the longest datagram.
const LONGEST: usize = 65_535;

async fn serve(socket: Arc<UdpSocket>, percent_lost: u8) -> io::Result<()> {
    let mut buffer = vec![0; LONGEST];
    loop {
        let (n, from) = socket.recv_from(&mut buffer).await?;
        if fastrand::u8(..100) < percent_lost {
            continue;
        }
        // An error to send to one client does not concern the others.
        if let Err(error) = socket.send_to(&buffer[..n], from).await {
            eprintln!("{error}");
        }
    }
}

/// Asks until an answer comes. Returns how often it asked.
async fn ask(socket: &UdpSocket, question: &[u8]) -> io::Result<usize> {
    let mut answer = vec![0; LONGEST];
    for times in 1..=20 {
        socket.send(question).await?;
        socket.set_read_deadline(Some(Instant::now() + Duration::from_millis(20)))?;
        loop {
            match socket.recv(&mut answer).await {
                Ok(n) if &answer[..n] == question => return Ok(times),
                // A second answer to an earlier question, which was asked twice.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
                Err(error) => return Err(error),
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "no answer came"))
}

async fn visit(server: SocketAddr, client: usize) -> io::Result<usize> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(server).await?;
    let mut asked = 0;
    for number in 0..100 {
        asked += ask(&socket, format!("question {number} of client {client}").as_bytes()).await?;
    }
    Ok(asked)
}

fn main() -> io::Result<()> {
    netpoll_rt::block_on(async {
        let address = std::env::args().nth(1);
        let socket = Arc::new(UdpSocket::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?);
        let server = socket.local_addr()?;
        let percent_lost = if address.is_some() { 0 } else { 10 };
        let servers: Vec<_> = (0..4).map(|_| spawn(serve(socket.clone(), percent_lost))).collect();
        if address.is_some() {
            for server in servers {
                server.await??;
            }
            return Ok(());
        }
        let mut asked = 0;
        for client in (0..4).map(|client| spawn(visit(server, client))).collect::<Vec<_>>() {
            asked += client.await??;
        }
        println!("400 questions were answered; they were asked {asked} times");
        Ok(())
    })
}
