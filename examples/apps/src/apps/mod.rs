//! The programs that are measured. This folder is compiled once for each runtime, whose names are in `rt`.

mod client;
mod http;
mod relay;
mod resp;

use std::io::{self, Read, Write};
use std::net::Ipv4Addr;

pub use client::ask;

use super::rt::{self, *};
use crate::dns::{MOST, answer};
use crate::options::{App, BoxError, Options};
use crate::tls;

/// Serves until the standard input ends. Prints the port.
pub fn serve(app: App, options: &Options) -> Result<(), BoxError> {
    let here = (Ipv4Addr::LOCALHOST, options.port);
    // The socket is the same for both, with the same backlog.
    let listener = std::net::TcpListener::bind(here)?;
    listener.set_nonblocking(true)?;
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, listener.local_addr()?.port()))?;
    socket.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()?;
    std::thread::spawn(|| {
        let ended = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(i32::from(ended.is_err()));
    });
    let tls = match app {
        App::Http { tls: true, h2 } => Some(tls::acceptor(&options.folder, h2)?),
        _ => None,
    };
    let target = options.target;
    rt::run(options.workers, async move {
        match app {
            App::Http { h2, .. } => http::serve(TcpListener::from_std(listener)?, tls, h2).await,
            App::Resp => resp::serve(TcpListener::from_std(listener)?).await,
            App::Relay => relay::serve(TcpListener::from_std(listener)?, target).await,
            App::Dns => answer_each(&UdpSocket::from_std(socket)?).await,
            App::DnsMany => answer_many(&UdpSocket::from_std(socket)?).await,
        }
    })??;
    Ok(())
}

/// Answers queries, each by a call of its own.
async fn answer_each(socket: &UdpSocket) -> io::Result<()> {
    let mut query = [0; MOST];
    loop {
        let (n, from) = socket.recv_from(&mut query).await?;
        if let Some(answer) = answer(&query[..n]) {
            socket.send_to(&answer, from).await?;
        }
    }
}
