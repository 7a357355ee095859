//! The faults of datagrams: the result of each for the user, the number of calls of a batch, and pieces that cannot be cut.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use crate::common::*;
use crate::support::*;
use netpoll_rt::internal::sys::inject::{Errno, Rule, Table};
use netpoll_rt::internal::sys::{Call, Poller, mmsg};
use netpoll_rt::net::{Datagram, RecvBatch, UdpConfig, UdpSocket};
use netpoll_rt::{spawn, yield_now};

async fn sockets() -> (Arc<UdpSocket>, Arc<UdpSocket>, SocketAddr) {
    let here = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let there = UdpConfig::new().recv_buffer_size(1 << 20).bind("127.0.0.1:0").await.unwrap();
    let to = there.local_addr().unwrap();
    (Arc::new(here), Arc::new(there), to)
}

/// Receives this many datagrams. Returns them, and the number of places that had several.
async fn collect(there: &UdpSocket, count: usize) -> (Vec<Vec<u8>>, usize) {
    let (mut batch, mut came, mut joined) = (RecvBatch::new(RecvBatch::MAX, 65_535), Vec::new(), 0);
    while came.len() < count {
        there.recv_batch(&mut batch).await.unwrap();
        joined += batch.iter().filter(|one| one.segments().count() > 1).count();
        came.extend(batch.iter().flat_map(|one| one.segments()).map(<[u8]>::to_vec));
    }
    (came, joined)
}

// Case B11.
#[test]
fn no_buffers_is_told_each_time() {
    each(async || {
        let (here, there, to) = sockets().await;
        let fd = here.as_fd().as_raw_fd();
        let installed =
            Table::new(0).rule(Rule::error(Call::Send, Errno::NOBUFS).on(fd).first(2)).log().install();
        let mut told = 0;
        while let Err(error) = here.send_to(b"in the end", to).await {
            assert_eq!(errno(&error), Some(Errno::NOBUFS.raw_os_error()));
            told += 1;
            yield_now().await;
        }
        assert_eq!((told, count(&installed.log(), Call::Send, fd)), (2, 3), "one call for each attempt");
        assert_eq!(there.recv(&mut [0; 64]).await.unwrap(), 10);
    });
}

/// Returns whether a call is one for each message, as with poll(2), whose build uses the calls that every system has.
fn is_made(call: Call) -> bool {
    Poller::NAME == "epoll" || !matches!(call, Call::SendBatch | Call::RecvBatch)
}

#[test]
fn a_send_to_a_full_buffer_waits_and_then_sends() {
    each(async || {
        let (here, there, to) = sockets().await;
        for k in [1, 3] {
            let calls = [Call::Send, Call::SendBatch, Call::Recv, Call::RecvBatch];
            let rules = calls.into_iter().filter(|call| is_made(*call));
            let rules = rules.map(|call| Rule::error(call, Errno::AGAIN).repeat(k));
            let installed = rules.fold(Table::new(0), Table::rule).install();
            here.send_to(b"one", to).await.unwrap();
            assert_eq!(there.recv(&mut [0; 64]).await.unwrap(), 3);
            assert_eq!(here.send_batch(&[Datagram::to(b"two", to)]).await.unwrap(), 1);
            assert_eq!(collect(&there, 1).await.0, [b"two"]);
            here.send_segments(b"threefour", 5, Some(to)).await.unwrap();
            assert_eq!(collect(&there, 2).await.0, [&b"three"[..], b"four"]);
            drop(installed);
        }
    });
}

#[test]
fn a_batch_is_one_call() {
    each(async || {
        let (here, there, to) = sockets().await;
        if !mmsg::can_cut(here.as_fd()) {
            return println!("skipped: this build sends one by one");
        }
        let installed = Table::new(0).log().install();
        let datagrams = [Datagram::to(b"x", to); RecvBatch::MAX];
        assert_eq!(here.send_batch(&datagrams).await.unwrap(), RecvBatch::MAX);
        assert_eq!(collect(&there, RecvBatch::MAX).await.0.len(), RecvBatch::MAX);
        let log = installed.log();
        let (sender, receiver) = (here.as_fd().as_raw_fd(), there.as_fd().as_raw_fd());
        let calls = (count(&log, Call::SendBatch, sender), count(&log, Call::RecvBatch, receiver));
        assert_eq!(calls, (1, 1), "for {} datagrams", RecvBatch::MAX);
        assert_eq!((count(&log, Call::Send, sender), count(&log, Call::Recv, receiver)), (0, 0));
    });
}

#[test]
fn what_cannot_be_cut_is_sent_piece_by_piece() {
    each(async || {
        let bytes: Vec<u8> = (0..1_050).map(|place| place as u8).collect();
        // Whether the socket tries again to have them cut.
        for (errno, again) in
            [(Errno::IO, false), (Errno::OPNOTSUPP, false), (Errno::INVAL, true), (Errno::MSGSIZE, true)]
        {
            let (here, there, to) = sockets().await;
            if !mmsg::can_cut(here.as_fd()) || there.set_gro(true).is_err() {
                return println!("skipped: this build neither cuts nor joins");
            }
            let rule = Rule::error(Call::SendBatch, errno).on(here.as_fd().as_raw_fd()).nth(1);
            let installed = Table::new(0).rule(rule).install();
            for (round, joined) in [false, again].into_iter().enumerate() {
                here.send_segments(&bytes, 100, Some(to)).await.unwrap();
                let (came, places) = collect(&there, 11).await;
                assert!(came.iter().eq(bytes.chunks(100)), "{errno:?}, round {round}");
                assert_eq!(places > 0, joined, "{errno:?}, round {round}");
            }
            drop(installed);
        }
    });
}

#[test]
fn the_rest_of_the_pieces_waits_for_room() {
    each(async || {
        let (here, there, to) = sockets().await;
        let bytes = [7; 200 * 10];
        let fd = here.as_fd().as_raw_fd();
        let rules = [
            Rule::error(Call::SendBatch, Errno::IO).on(fd).nth(1),
            Rule::error(Call::SendBatch, Errno::AGAIN).on(fd).nth(3),
        ];
        let installed = rules.into_iter().fold(Table::new(0), Table::rule).install();
        let sent = spawn({
            let here = here.clone();
            async move { here.send_segments(&bytes, 10, Some(to)).await }
        });
        assert_eq!(collect(&there, 200).await.0.concat(), bytes);
        sent.await.unwrap().unwrap();
        drop(installed.end());
    });
}

/// Uses a socket from its creation to its close, with every system call of it.
async fn life() -> io::Result<()> {
    let config = UdpConfig::new().reuseaddr(true).reuseport(true).recv_buffer_size(1 << 16);
    let there = config.bind("127.0.0.1:0").await?;
    let here = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
    let to = there.local_addr()?;
    here.connect(to).await?;
    let second = here.dup()?;
    second.set_broadcast(true)?;
    here.send(b"a").await?;
    here.send_to(b"b", to).await?;
    let (both, mut sent) = ([Datagram::new(b"c"), Datagram::new(b"d")], 0);
    while sent < both.len() {
        sent += second.send_batch(&both[sent..]).await?;
    }
    there.peek_from(&mut [0]).await?;
    there.recv(&mut [0]).await?;
    there.recv_from(&mut [0]).await?;
    let (mut batch, mut came) = (RecvBatch::new(4, 8), 0);
    while came < 2 {
        came += there.recv_batch(&mut batch).await?;
    }
    second.close().await?;
    drop(here.into_std()?);
    there.close().await
}

// Case E02.
#[test]
fn interrupted_before_each_call() {
    each(async || {
        let installed = Table::new(0).rule(Rule::any(Errno::INTR).before_each()).install();
        for _ in 0..5 {
            life().await.unwrap();
        }
        drop(installed);
    });
}

#[test]
fn every_call_fails_once_and_nothing_is_left() {
    const CALLS: &[(Call, Errno)] = &[
        (Call::Socket, Errno::MFILE),
        (Call::SetOption, Errno::NOMEM),
        (Call::Bind, Errno::ADDRINUSE),
        (Call::PollerOpen, Errno::NOSPC),
        (Call::SetNonblocking, Errno::NOMEM),
        (Call::ConnectLocal, Errno::NETUNREACH),
        (Call::Duplicate, Errno::MFILE),
        (Call::Send, Errno::NOBUFS),
        (Call::SendBatch, Errno::NOBUFS),
        (Call::Recv, Errno::CONNREFUSED),
        (Call::RecvBatch, Errno::CONNREFUSED),
    ];
    each(async || {
        life().await.unwrap();
        let before = Held::now();
        for (call, errno) in CALLS.iter().filter(|(call, _)| is_made(*call)) {
            for n in 1.. {
                let what = format!("{call:?} with {errno:?}, number {n}");
                let installed = Table::new(0).rule(Rule::error(*call, *errno).nth(n)).install();
                let result = life().await;
                let hits = installed.end()[0];
                before.again(&what).await;
                if hits == 0 {
                    assert!(n > 1, "a life without {call:?}");
                    result.unwrap();
                    break;
                }
                // One after the other, a batch keeps an error of a later message to itself.
                if result.is_err() || Poller::NAME == "epoll" {
                    assert_errno(result, *errno);
                }
            }
        }
    });
}
