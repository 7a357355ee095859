//! Short reads: fewer bytes than requested mean that there are no more, so the next read waits without a system call. The
//! tests also cover every condition behind the bytes for which that is wrong.

use std::cell::Cell;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::common::*;
use netpoll_core::Mode;
use netpoll_rt::Handle;
use netpoll_rt::internal::fd::{Fd, FdKind};
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::internal::sys::{Poller, socket, sockopt};

/// An end of a connection in the layer below `TcpStream`, which counts its system calls.
struct Counted {
    fd: Fd,
    calls: Cell<usize>,
}

impl Counted {
    async fn pair(kind: FdKind) -> (Self, StdStream) {
        let events = Handle::try_current().unwrap().metrics().events;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_nodelay(true).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let fd = Fd::new(Netpoll::current().unwrap(), OwnedFd::from(stream), kind).unwrap();
        // The first event says that it is writable; the test counts the later ones.
        until("it is watched", || Handle::try_current().unwrap().metrics().events > events).await;
        (Self { fd, calls: Cell::new(0) }, peer)
    }

    async fn read(&self, room: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; room];
        let read = self.fd.read(buffer.is_empty(), |fd| {
            self.calls.set(self.calls.get() + 1);
            socket::recv(fd, &mut buffer)
        });
        let n = read.await?;
        buffer.truncate(n);
        Ok(buffer)
    }

    /// Returns the bytes of a read that has parked before `act` sends them, so that no event of them is still to come.
    async fn read_parked(&self, room: usize, act: impl FnOnce()) -> Vec<u8> {
        let probe = Probe::new();
        let mut read = Box::pin(self.read(room));
        assert!(probe.poll(read.as_mut()).is_pending());
        self.calls();
        act();
        probe.woken(1).await;
        read.await.unwrap()
    }

    /// Returns the number of system calls since the last call of this.
    fn calls(&self) -> usize {
        self.calls.take()
    }
}

/// Lets the poller take what has happened, and returns once it has.
async fn event(act: impl FnOnce()) {
    let before = Handle::try_current().unwrap().metrics().events;
    act();
    reported(before).await;
}

#[test]
fn a_stream_pays_one_call_for_each_message() {
    each(async || {
        let (stream, mut peer) = Counted::pair(FdKind::ByteStream).await;
        assert_eq!(stream.read_parked(64, || peer.write_all(b"first").unwrap()).await, b"first");
        stream.calls();
        for _ in 0..100 {
            let probe = Probe::new();
            let mut read = Box::pin(stream.read(64));
            assert!(probe.poll(read.as_mut()).is_pending());
            let asked = if Poller::SHORT_IS_ALL { 0 } else { 1 };
            assert_eq!(stream.calls(), asked, "it parks without asking");
            peer.write_all(b"message").unwrap();
            probe.woken(1).await;
            assert_eq!(read.await.unwrap(), b"message");
            assert_eq!(stream.calls(), 1);
        }
    });
}

#[test]
fn anything_else_pays_two() {
    each(async || {
        let (stream, mut peer) = Counted::pair(FdKind::Other).await;
        assert_eq!(stream.read_parked(64, || peer.write_all(b"first").unwrap()).await, b"first");
        stream.calls();
        let probe = Probe::new();
        let mut read = Box::pin(stream.read(64));
        assert!(probe.poll(read.as_mut()).is_pending());
        assert_eq!(stream.calls(), 1);
        peer.write_all(b"message").unwrap();
        probe.woken(1).await;
        assert_eq!(read.await.unwrap(), b"message");
        assert_eq!(stream.calls(), 1);
    });
}

#[test]
fn an_end_of_stream_behind_the_bytes_in_one_event() {
    each(async || {
        let (stream, mut peer) = Counted::pair(FdKind::ByteStream).await;
        event(|| {
            peer.write_all(b"bytes").unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
        })
        .await;
        until("the end is known", || stream.fd.peer_closed()).await;
        assert_eq!(stream.read(64).await.unwrap(), b"bytes");
        assert_eq!(stream.read(64).await.unwrap(), b"");
        assert_eq!(stream.read(64).await.unwrap(), b"", "and for ever");
    });
}

#[test]
fn an_end_of_stream_that_comes_between_event_and_read() {
    each(async || {
        for _ in 0..50 {
            let (stream, mut peer) = pair_with_std().await;
            let read = reader(&stream);
            parked(1).await;
            peer.write_all(b"bytes").unwrap();
            drop(peer);
            assert_eq!(read.await.unwrap().unwrap(), b"bytes");
            assert_eq!(read_once(&stream).await.unwrap(), b"");
        }
    });
}

#[test]
fn a_reset_behind_the_bytes() {
    each(async || {
        let (stream, mut peer) = Counted::pair(FdKind::ByteStream).await;
        // The peer has unread bytes of ours, so its close is a reset, behind the bytes that it wrote.
        stream.fd.run(Mode::Write, |fd| socket::send(fd, b"unread")).await.unwrap();
        event(|| peer.write_all(b"bytes").unwrap()).await;
        let mut half = [0; 5];
        let read = stream.fd.read(false, |fd| socket::peek(fd, &mut half)).await.unwrap();
        assert_eq!(read, 5);
        event(|| drop(peer)).await;
        until("the reset is known", || stream.fd.peer_closed()).await;
        let mut ends = 0;
        for _ in 0..3 {
            match stream.read(64).await {
                Ok(bytes) if bytes.is_empty() => ends += 1,
                Ok(bytes) => assert_eq!(bytes, b"bytes"),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                    ends += 1;
                }
            }
        }
        assert!(ends >= 2, "nothing waits for bytes that will not come");
    });
}

#[test]
fn an_error_that_comes_after_a_short_read() {
    each(async || {
        let (stream, mut peer) = Counted::pair(FdKind::ByteStream).await;
        event(|| peer.write_all(b"bytes").unwrap()).await;
        assert_eq!(stream.read(64).await.unwrap(), b"bytes");
        sockopt::set_linger(peer.as_fd(), Some(Duration::ZERO)).unwrap();
        drop(peer);
        let error = stream.read(64).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn an_urgent_mark_with_bytes_behind_it() {
    each(async || {
        let (stream, mut peer) = Counted::pair(FdKind::ByteStream).await;
        event(|| {
            peer.write_all(b"before").unwrap();
            kernel::send_urgent(peer.as_fd(), b'!').unwrap();
            peer.write_all(b"behind").unwrap();
        })
        .await;
        // The kernel stops at the mark, with bytes behind it and no further edge.
        let all = netpoll_rt::time::timeout(LIMIT / 4, async {
            let mut got = Vec::new();
            while got.len() < 12 {
                got.extend(stream.read(64).await.unwrap());
            }
            got
        });
        assert_eq!(all.await.unwrap(), b"beforebehind");
    });
}

#[test]
fn an_urgent_mark_that_comes_between_event_and_read() {
    each(async || {
        for _ in 0..50 {
            let (stream, mut peer) = pair_with_std().await;
            let read = reader(&stream);
            parked(1).await;
            peer.write_all(b"before").unwrap();
            kernel::send_urgent(peer.as_fd(), b'!').unwrap();
            peer.write_all(b"behind").unwrap();
            let mut got = read.await.unwrap().unwrap();
            while got.len() < 12 {
                got.extend(read_once(&stream).await.unwrap());
            }
            assert_eq!(got, b"beforebehind");
        }
    });
}

#[test]
fn a_buffer_exactly_the_size_of_what_came() {
    each(async || {
        let (stream, mut peer) = Counted::pair(FdKind::ByteStream).await;
        assert_eq!(stream.read_parked(8, || peer.write_all(b"12345678").unwrap()).await, b"12345678");
        stream.calls();
        let probe = Probe::new();
        let mut read = Box::pin(stream.read(8));
        assert!(probe.poll(read.as_mut()).is_pending());
        assert_eq!(stream.calls(), 1, "a full buffer says nothing of what is behind it");
        peer.write_all(b"abcdefgh").unwrap();
        probe.woken(1).await;
        assert_eq!(read.await.unwrap(), b"abcdefgh");
    });
}

#[test]
fn two_messages_one_behind_the_other() {
    each(async || {
        let (stream, mut peer) = Counted::pair(FdKind::ByteStream).await;
        for _ in 0..50 {
            event(|| peer.write_all(b"one").unwrap()).await;
            event(|| peer.write_all(b"two").unwrap()).await;
            assert_eq!(stream.read(3).await.unwrap(), b"one");
            assert_eq!(stream.read(64).await.unwrap(), b"two");
            // And one that comes after the short read, whose edge must not be dropped.
            event(|| peer.write_all(b"three").unwrap()).await;
            stream.calls();
            assert_eq!(stream.read(64).await.unwrap(), b"three");
            assert_eq!(stream.calls(), 1);
        }
    });
}

#[test]
fn one_byte_at_a_time() {
    each(async || {
        let (stream, mut peer) = Counted::pair(FdKind::ByteStream).await;
        assert_eq!(stream.read_parked(1, || peer.write_all(b"bytes").unwrap()).await, b"b");
        for byte in b"ytes" {
            assert_eq!(stream.read(1).await.unwrap(), [*byte]);
        }
        assert_eq!(stream.calls(), 5);
        let probe = Probe::new();
        let mut read = Box::pin(stream.read(1));
        assert!(probe.poll(read.as_mut()).is_pending());
        assert_eq!(stream.calls(), 1);
    });
}

#[test]
fn a_peek_leaves_the_bytes_to_the_next_read() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        for _ in 0..20 {
            peer.write_all(b"peeked").unwrap();
            let mut buffer = [0; 64];
            for _ in 0..2 {
                assert_eq!(stream.peek(&mut buffer).await.unwrap(), 6);
                assert_eq!(&buffer[..6], b"peeked");
            }
            assert_eq!(read_once(&stream).await.unwrap(), b"peeked");
        }
    });
}

#[test]
fn a_deadline_is_seen_by_a_read_that_does_not_ask_the_kernel() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"bytes").unwrap();
        assert_eq!(read_once(&stream).await.unwrap(), b"bytes");
        stream.set_read_deadline(past()).unwrap();
        assert_timed_out(read_once(&stream).await);
        stream.set_read_deadline(None).unwrap();
        peer.write_all(b"more").unwrap();
        assert_eq!(read_once(&stream).await.unwrap(), b"more");
        stream.close().await.unwrap();
        assert_closed(read_once(&stream).await);
    });
}

#[test]
fn bytes_in_pieces_of_every_size_arrive_in_order() {
    on(&[1, 2, 4], async || {
        let (stream, mut peer) = pair_with_std().await;
        let pattern: Arc<Vec<u8>> = Arc::new((0..200_000_u32).map(|i| (i * 7 + i / 251) as u8).collect());
        let feed = std::thread::spawn({
            let pattern = pattern.clone();
            move || {
                let (mut random, mut rest) = (fastrand::Rng::with_seed(7), &pattern[..]);
                while !rest.is_empty() {
                    let n = random.usize(1..=rest.len().min(300));
                    peer.write_all(&rest[..n]).unwrap();
                    rest = &rest[n..];
                }
            }
        });
        let (mut random, mut got) = (fastrand::Rng::with_seed(8), Vec::new());
        loop {
            let mut buffer = vec![0; random.usize(1..=300)];
            match stream.read(&mut buffer).await.unwrap() {
                0 => break,
                n => got.extend_from_slice(&buffer[..n]),
            }
        }
        feed.join().unwrap();
        assert!(got == *pattern, "{} bytes of {}", got.len(), pattern.len());
    });
}
