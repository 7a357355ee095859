//! The sweep of `sweep.rs` for local sockets, datagrams and pipes.

use std::io;
use std::net::SocketAddr;

use crate::common::*;
use crate::support::*;
use futures_lite::future;
use netpoll_rt::internal::sys::Call;
use netpoll_rt::internal::sys::inject::{Errno, Rule};
use netpoll_rt::net::unix::abstract_address;
use netpoll_rt::net::{UdpSocket, UnixListener, UnixStream};

async fn unix_way() -> io::Result<()> {
    let name = abstract_address(format!("netpoll-door-{}", std::process::id()))?;
    let listener = UnixListener::bind_addr(&name)?;
    let connecting = UnixStream::connect_addr(&name);
    let ((server, _), client) = future::try_zip(listener.accept(), connecting).await?;
    let mut buffer = [0; 5];
    future::try_zip(server.read_exact(&mut buffer), client.write_all(b"hello")).await?;
    assert_eq!(&buffer, b"hello");
    server.close().await?;
    client.close().await?;
    listener.close().await
}

async fn udp_way() -> io::Result<()> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (a, b) = (UdpSocket::bind(any).await?, UdpSocket::bind(any).await?);
    a.connect(b.local_addr()?).await?;
    b.connect(a.local_addr()?).await?;
    let mut buffer = [0; 8];
    let (received, sent) = future::try_zip(b.recv(&mut buffer), a.send(b"hello")).await?;
    assert_eq!((received, sent), (5, 5));
    a.close().await?;
    b.close().await
}

const ROWS: &[Row] = &[
    (Call::Socket, FULL, Told::Error),
    (Call::Bind, &[Errno::ADDRINUSE, Errno::NOMEM], Told::Error),
    (Call::ConnectLocal, &[Errno::CONNREFUSED, Errno::NOENT, Errno::NOMEM], Told::Error),
    (Call::PollerOpen, &[Errno::NOSPC, Errno::NOMEM], Told::Error),
    (Call::PollerClose, &[Errno::NOENT, Errno::BADF], Told::Nothing),
    (Call::Recv, &[Errno::NOMEM, Errno::CONNREFUSED], Told::Error),
    (Call::Send, &[Errno::NOMEM, Errno::CONNREFUSED], Told::Error),
    (Call::Recv, &[Errno::INTR, Errno::AGAIN], Told::Nothing),
    (Call::Send, &[Errno::INTR, Errno::AGAIN], Told::Nothing),
    (Call::ConnectLocal, &[Errno::INTR], Told::Nothing),
    (Call::Close, &[Errno::INTR], Told::Nothing),
    (Call::Close, &[Errno::IO], Told::Error),
];

const STREAMS: &[Row] = &[
    (Call::Listen, &[Errno::ADDRINUSE, Errno::NOBUFS], Told::Error),
    (Call::Accept, FULL, Told::Error),
    (Call::Accept, &[Errno::CONNABORTED, Errno::INTR, Errno::AGAIN], Told::Nothing),
];

/// Injects each fault once at each place, and each lasting fault from each place on.
async fn all(rows: impl Iterator<Item = &Row>, way: impl AsyncFn() -> io::Result<()>) {
    for (call, errnos, told) in rows {
        for errno in *errnos {
            let what = format!("{call:?} with {errno:?}");
            let once = sweep(|n| Rule::error(*call, *errno).nth(n), &what, *told, &way).await;
            assert!(once > 0, "the way never makes {call:?}");
            if *told == Told::Error {
                sweep(|n| Rule::error(*call, *errno).from(n), &what, *told, &way).await;
            }
        }
    }
}

#[test]
fn local_streams() {
    each(async || all(ROWS.iter().chain(STREAMS), unix_way).await);
}

#[test]
fn datagrams() {
    each(async || all(ROWS.iter(), udp_way).await);
}
