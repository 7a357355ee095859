//! `peer_closed` reports the end of the peer, no matter which half this side has shut down, and `peer_gone` waits for it.

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::time::Duration;

use crate::common::*;
use futures_io::AsyncRead;
use netpoll_rt::internal::sys::{Poller, sockopt};
use netpoll_rt::net::{TcpListener, TcpStream, UnixSeqpacket, UnixStream};
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

macro_rules! assert_gone {
    ($future:expr) => {
        match $future.await {
            Err(error) if !Poller::EDGES => assert_eq!(error.kind(), ErrorKind::Unsupported),
            gone => gone.unwrap(),
        }
    };
}

#[test]
fn peer_gone_waits_for_the_end_behind_unread_bytes() {
    each(async || {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let (probe, mut gone) = (Probe::new(), pin!(stream.peer_gone()));
            if Poller::EDGES {
                assert!(probe.poll(gone.as_mut()).is_pending());
            }
            for _ in 0..3 {
                let before = events();
                client.write_all(b"bytes").await.unwrap();
                if Poller::EDGES {
                    reported(before).await;
                    assert!(probe.poll(gone.as_mut()).is_pending(), "bytes are no end");
                }
            }
            client.shutdown(Shutdown::Write).unwrap();
            assert_gone!(gone);
            let mut all = [0; 15];
            stream.read_exact(&mut all).await.unwrap();
            assert_eq!(stream.read(&mut all).await.unwrap(), 0);
            assert_gone!(stream.peer_gone());
        }
        let (one, other) = UnixStream::pair().unwrap();
        other.write_all(b"bytes").await.unwrap();
        drop(other);
        assert_gone!(one.peer_gone());
        let (one, other) = UnixSeqpacket::pair().unwrap();
        other.send(b"bytes").await.unwrap();
        drop(other);
        assert_gone!(one.peer_gone());
        let (stream, peer) = pair_with_std().await;
        sockopt::set_linger(peer.as_fd(), Some(Duration::ZERO)).unwrap();
        drop(peer);
        assert_gone!(stream.peer_gone());
    });
}

#[test]
fn peer_gone_takes_no_event_from_reads() {
    each(async || {
        for polled in [false, true] {
            let (stream, mut peer) = pair_with_std().await;
            let watched = {
                let stream = stream.clone();
                spawn(async move { stream.peer_gone().await })
            };
            let reader = {
                let stream = stream.clone();
                spawn(async move {
                    let mut count = 0;
                    loop {
                        let n = if polled {
                            std::future::poll_fn(|cx| Pin::new(&mut &*stream).poll_read(cx, &mut [0; 7]))
                                .await
                        } else {
                            stream.read(&mut [0; 7]).await
                        };
                        match n.unwrap() {
                            0 => return count,
                            n => count += n,
                        }
                    }
                })
            };
            for _ in 0..300 {
                peer.write_all(&[1; 10]).unwrap();
                netpoll_rt::yield_now().await;
            }
            drop(peer);
            assert_eq!(reader.await.unwrap(), 3000);
            assert_gone!(async { watched.await.unwrap() });
        }
    });
}

#[test]
fn peer_gone_beside_a_read_is_told_by_its_end() {
    each(async || {
        let (stream, peer) = pair_with_std().await;
        let (probe, mut read) = (Probe::new(), pin!(stream.read(&mut [])));
        assert!(probe.poll(read.as_mut()).is_ready(), "an empty read does not wait");
        let reading = read_end(&stream);
        parked(1).await;
        let (probe, mut gone) = (Probe::new(), pin!(stream.peer_gone()));
        if Poller::EDGES {
            assert!(probe.poll(gone.as_mut()).is_pending());
        }
        drop(peer);
        reading.await.unwrap();
        assert_gone!(gone);
        // Dropped while it waits, it leaves nothing that a read misses.
        let (stream, mut peer) = pair_with_std().await;
        drop(Probe::new().poll(pin!(stream.peer_gone()).as_mut()));
        peer.write_all(b"x").unwrap();
        assert_eq!(read_once(&stream).await.unwrap(), b"x");
    });
}

#[test]
fn the_errors_of_peer_gone() {
    each(async || {
        if !Poller::EDGES {
            return;
        }
        let (stream, _peer) = pair_with_std().await;
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert_timed_out(stream.read(&mut [0]).await);
        let (probe, mut gone) = (Probe::new(), Box::pin(stream.peer_gone()));
        assert!(probe.poll(gone.as_mut()).is_pending());
        assert_timed_out(stream.read(&mut [0]).await);
        assert!(probe.poll(gone.as_mut()).is_pending(), "a timeout is of reads");
        stream.set_read_deadline(past()).unwrap();
        assert_timed_out(gone.await);
        stream.set_read_deadline(None).unwrap();
        // A shutdown of this side is not the peer's.
        stream.shutdown(Shutdown::Write).unwrap();
        let gone = {
            let stream = stream.clone();
            spawn(async move { stream.peer_gone().await })
        };
        parked(1).await;
        stream.close().await.unwrap();
        assert_closed(gone.await.unwrap());
    });
}

#[test]
fn no_timeout_of_reads_ends_peer_gone() {
    const TIMEOUT: Duration = Duration::from_millis(20);
    each(async || {
        if !Poller::EDGES {
            return;
        }
        let (stream, mut peer) = pair_with_std().await;
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let reader = {
            let stream = stream.clone();
            spawn(async move {
                loop {
                    match stream.read(&mut [0; 8]).await {
                        Ok(0) => return,
                        Ok(_) => {}
                        Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}"),
                    }
                }
            })
        };
        parked(1).await;
        let gone = {
            let stream = stream.clone();
            spawn(async move { stream.peer_gone().await })
        };
        for _ in 0..12 {
            netpoll_rt::time::sleep(TIMEOUT / 4).await; // time is tested
            peer.write_all(b"x").unwrap();
        }
        assert!(!gone.is_finished(), "the peer is there");
        drop(peer);
        gone.await.unwrap().unwrap();
        reader.await.unwrap();
    });
}
