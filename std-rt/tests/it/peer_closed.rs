//! `peer_closed` reports the end of the peer, no matter which half this side has shut down.

use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::common::*;
use netpoll_rt::internal::sys::{Poller, sockopt};
use netpoll_rt::net::{UnixSeqpacket, UnixStream};
use netpoll_rt::{Handle, JoinHandle, spawn};

fn events() -> usize {
    Handle::try_current().unwrap().metrics().events
}

/// Returns once the end of the peer is seen; at once with a backend that reports it only to a task that waits.
async fn seen(peer_closed: impl Fn() -> bool) {
    until("the peer's end is seen", || !Poller::EDGES || peer_closed()).await;
}

macro_rules! own_shutdown {
    ($one:expr, $other:expr) => {
        let (one, other) = ($one, $other);
        let before = events();
        one.shutdown(Shutdown::Read).unwrap();
        reported(before).await;
        assert!(!one.peer_closed(), "it was this side");
        one.write_all_of(b"on").await;
        other.read_all_of(2).await;
        assert!(!one.peer_closed());
        drop(other);
        seen(|| one.peer_closed()).await;
    };
}

/// The kinds of connections, with the operations that this test needs.
trait Talks {
    async fn write_all_of(&self, bytes: &[u8]);
    async fn read_all_of(&self, n: usize);
}

macro_rules! talks {
    ($type:ty, $write:ident, $read:ident) => {
        impl Talks for $type {
            async fn write_all_of(&self, bytes: &[u8]) {
                self.$write(bytes).await.unwrap();
            }

            async fn read_all_of(&self, n: usize) {
                self.$read(&mut vec![0; n]).await.unwrap();
            }
        }
    };
}

talks!(netpoll_rt::net::TcpStream, write_all, read_exact);
talks!(UnixStream, write_all, read_exact);
talks!(UnixSeqpacket, send, recv);

#[test]
fn peer_closed_is_not_said_of_an_own_shutdown() {
    each(async || {
        let (one, other) = pair().await;
        own_shutdown!(one, other);
        let (one, other) = UnixStream::pair().unwrap();
        own_shutdown!(one, other);
        let (one, other) = UnixSeqpacket::pair().unwrap();
        own_shutdown!(one, other);
    });
}

#[test]
fn peer_closed_is_not_said_of_an_own_shutdown_of_both_halves() {
    each(async || {
        let (one, other) = pair().await;
        let before = events();
        one.shutdown(Shutdown::Both).unwrap();
        reported(before).await;
        assert!(!one.peer_closed());
        drop(other);
        seen(|| one.peer_closed()).await;

        let (one, _other) = UnixStream::pair().unwrap();
        let before = events();
        one.shutdown(Shutdown::Write).unwrap();
        one.shutdown(Shutdown::Read).unwrap();
        reported(before).await;
        assert!(!one.peer_closed());
    });
}

/// Starts a read that the peer's end or a shutdown of this end completes.
fn read_end(stream: &std::sync::Arc<netpoll_rt::net::TcpStream>) -> JoinHandle<()> {
    let stream = stream.clone();
    spawn(async move { assert_eq!(stream.read(&mut [0]).await.unwrap(), 0) })
}

#[test]
fn peer_closed_stays_said_after_an_own_shutdown() {
    each(async || {
        let (one, other) = pair().await;
        let reading = read_end(&one);
        other.shutdown(Shutdown::Write).unwrap();
        reading.await.unwrap();
        until("the end is seen", || one.peer_closed()).await;
        one.shutdown(Shutdown::Read).unwrap();
        assert!(one.peer_closed());

        let (one, other) = UnixStream::pair().unwrap();
        other.shutdown(Shutdown::Write).unwrap();
        seen(|| one.peer_closed()).await;
        let was_seen = one.peer_closed();
        one.shutdown(Shutdown::Both).unwrap();
        assert_eq!(one.peer_closed(), was_seen);
    });
}

#[test]
fn peer_closed_is_said_of_a_reset_after_an_own_shutdown() {
    each(async || {
        let (one, peer) = pair_with_std().await;
        one.shutdown(Shutdown::Read).unwrap();
        sockopt::set_linger(peer.as_fd(), Some(Duration::ZERO)).unwrap();
        drop(peer);
        seen(|| one.peer_closed()).await;
    });
}

#[test]
fn peer_closed_is_not_said_of_an_own_shutdown_through_another_handle() {
    each(async || {
        for asks_first in [false, true] {
            let (one, other) = pair().await;
            let second = one.dup().unwrap();
            let (asks, shuts) = if asks_first { (&*one, &second) } else { (&second, &*one) };
            let before = events();
            shuts.shutdown(Shutdown::Read).unwrap();
            reported(before + 1).await;
            assert!(!asks.peer_closed() && !shuts.peer_closed());
            drop(other);
            seen(|| asks.peer_closed() && shuts.peer_closed()).await;
        }
    });
}
