//! Waiting for readiness without a buffer, and attempts that do not wait. Readiness may have been reported long ago and its
//! report used up: no task may park while there are bytes.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};

use crate::common::*;
use futures_io::AsyncRead;
use netpoll_core::Mode;
use netpoll_core::sync::{Counter, Flag};
use netpoll_rt::internal::fd::{Fd, FdKind};
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::internal::sys::{OwnedBy, socket};
use netpoll_rt::net::TcpStream;
use netpoll_rt::{Handle, spawn};

/// Lets the poller take what has happened, and returns once it has.
async fn event(act: impl FnOnce()) {
    let before = Handle::try_current().unwrap().metrics().events;
    act();
    reported(before).await;
}

#[track_caller]
fn assert_would_block<T: std::fmt::Debug>(result: io::Result<T>) {
    assert_eq!(result.expect_err("nothing can be done").kind(), ErrorKind::WouldBlock);
}

/// A wait for readiness that was polled once, and its probe.
macro_rules! parked_on {
    ($future:expr) => {{
        let (probe, mut future) = (Probe::new(), Box::pin($future));
        assert!(probe.poll(future.as_mut()).is_pending(), "nothing is there");
        (probe, future)
    }};
}

#[test]
fn it_waits_for_bytes_and_leaves_them() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        for _ in 0..20 {
            let (probe, readable) = parked_on!(stream.readable());
            peer.write_all(b"bytes").unwrap();
            probe.woken(1).await;
            readable.await.unwrap();
            assert_eq!(read_once(&stream).await.unwrap(), b"bytes");
        }
    });
}

#[test]
fn bytes_whose_report_was_used_up() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        event(|| peer.write_all(b"abc").unwrap()).await;
        // Takes the report and leaves bytes behind; so does every readable.
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).await.unwrap(), 1);
        for _ in 0..3 {
            stream.readable().await.unwrap();
        }
        assert_eq!(stream.peek(&mut [0; 8]).await.unwrap(), 2);
        stream.readable().await.unwrap();
        assert_eq!(read_once(&stream).await.unwrap(), b"bc");
    });
}

#[test]
fn bytes_behind_a_short_read() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        for _ in 0..50 {
            event(|| peer.write_all(b"first").unwrap()).await;
            assert_eq!(read_once(&stream).await.unwrap(), b"first");
            // The short read says that nothing is there; this comes after it, with a report of its own.
            peer.write_all(b"second").unwrap();
            stream.readable().await.unwrap();
            // It came, or the report was of the first: then it is still to be waited for.
            assert_eq!(read_once(&stream).await.unwrap(), b"second");
        }
    });
}

#[test]
fn the_read_that_follows_does_not_park() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (probe, readable) = parked_on!(stream.readable());
        peer.write_all(b"bytes").unwrap();
        probe.woken(1).await;
        readable.await.unwrap();
        let (probe, mut read) = (Probe::new(), Box::pin(read_once(&stream)));
        assert!(probe.poll(read.as_mut()).is_ready());
    });
}

#[test]
fn dropped_it_leaves_the_report() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        for _ in 0..20 {
            let (probe, readable) = parked_on!(stream.readable());
            peer.write_all(b"bytes").unwrap();
            probe.woken(1).await;
            drop(readable);
            stream.readable().await.unwrap();
            assert_eq!(read_once(&stream).await.unwrap(), b"bytes");
            // And dropped before anything came. With a level-triggered backend the wait above, which found its bytes at once,
            // has requested an event; if that comes only now, it ends one more wait.
            while Probe::new().poll(pin!(stream.readable()).as_mut()).is_ready() {}
            // The count falls after those that were woken are in their queues.
            parked(0).await;
        }
    });
}

#[test]
fn the_end_of_the_stream_is_worth_a_read() {
    each(async || {
        for shut_first in [false, true] {
            let (stream, mut peer) = pair_with_std().await;
            event(|| peer.write_all(b"last").unwrap()).await;
            if shut_first {
                event(|| peer.shutdown(Shutdown::Write).unwrap()).await;
                assert_eq!(read_once(&stream).await.unwrap(), b"last");
            } else {
                assert_eq!(read_once(&stream).await.unwrap(), b"last");
                peer.shutdown(Shutdown::Write).unwrap();
            }
            for _ in 0..3 {
                stream.readable().await.unwrap();
            }
            assert_eq!(read_once(&stream).await.unwrap(), b"");
            stream.readable().await.unwrap();
            assert_eq!(stream.try_read(&mut [0; 8]).unwrap(), 0);
        }
    });
}

#[test]
fn close_and_deadline_end_it() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        stream.set_read_deadline(in_ms(10)).unwrap();
        assert_timed_out(stream.readable().await);
        assert_timed_out(stream.readable().await);
        assert_timed_out(stream.try_read(&mut [0; 8]));
        stream.set_read_deadline(None).unwrap();
        let waiting = spawn({
            let stream = stream.clone();
            async move { stream.readable().await }
        });
        parked(1).await;
        stream.close().await.unwrap();
        assert_closed(waiting.await.unwrap());
        assert_closed(stream.readable().await);
        assert_closed(stream.writable().await);
        assert_closed(stream.try_read(&mut [0; 8]));
        assert_closed(stream.try_write(b"bytes"));
    });
}

#[test]
fn it_waits_its_turn_among_the_reads() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (first, read) = parked_on!(read_once(&stream));
        let (second, readable) = parked_on!(stream.readable());
        assert_would_block(stream.try_read(&mut [0; 8]));
        peer.write_all(b"bytes").unwrap();
        first.woken(1).await;
        assert_would_block(stream.try_read(&mut [0; 8]));
        assert_eq!(second.wakes.get(), 0);
        assert_eq!(read.await.unwrap(), b"bytes");
        second.woken(1).await;
        drop(readable);
        assert_would_block(stream.try_read(&mut [0; 8]));
    });
}

#[test]
fn try_read_takes_what_is_there() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let mut buffer = [0; 4];
        assert_would_block(stream.try_read(&mut buffer));
        assert_eq!(stream.try_read(&mut []).unwrap(), 0);
        peer.write_all(b"six by").unwrap();
        stream.readable().await.unwrap();
        assert_eq!(stream.try_read(&mut buffer).unwrap(), 4);
        assert_eq!(&buffer, b"six ");
        stream.readable().await.unwrap();
        assert_eq!(stream.try_read(&mut buffer).unwrap(), 2);
        assert_would_block(stream.try_read(&mut buffer));
    });
}

/// A descriptor below the level of a stream, with its system calls counted, as far as they are reads.
struct Counted {
    fd: Fd,
    calls: Cell<usize>,
}

impl Counted {
    fn pair() -> (Self, StdStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let fd = Fd::new(Netpoll::current().unwrap(), OwnedFd::from(stream), FdKind::ByteStream).unwrap();
        (Self { fd, calls: Cell::new(0) }, peer)
    }

    fn try_read(&self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 64];
        let n = self
            .fd
            .read(false, |fd| {
                self.calls.set(self.calls.get() + 1);
                socket::recv(fd, &mut buffer)
            })
            .try_once()?;
        buffer.truncate(n);
        Ok(buffer)
    }
}

#[test]
fn a_message_costs_one_read() {
    each(async || {
        let (stream, mut peer) = Counted::pair();
        // Parked before the bytes are sent: so it is their report that wakes, and none is on its way when they are read.
        for _ in 0..100 {
            stream.calls.set(0);
            let (probe, readable) = parked_on!(stream.fd.readiness(Mode::Read));
            peer.write_all(b"message").unwrap();
            probe.woken(1).await;
            readable.await.unwrap();
            assert_eq!(stream.try_read().unwrap(), b"message");
            assert_eq!(stream.calls.get(), 1);
        }
    });
}

#[test]
fn an_attempt_that_fails_forgets_that_nothing_was_there() {
    each(async || {
        let (stream, mut peer) = Counted::pair();
        event(|| peer.write_all(b"first").unwrap()).await;
        assert_eq!(stream.try_read().unwrap(), b"first");
        event(|| peer.write_all(b"second").unwrap()).await;
        // It uses the report up and reads nothing.
        let failed = stream.fd.read(false, |_| Err(ErrorKind::OutOfMemory.into())).try_once();
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::OutOfMemory);
        stream.fd.readiness(Mode::Read).await.unwrap();
        assert_eq!(stream.try_read().unwrap(), b"second");
    });
}

/// Serves one of many idle connections, with one buffer for all of them.
async fn echo(stream: Arc<TcpStream>, buffer: Arc<std::sync::Mutex<Vec<u8>>>) -> io::Result<()> {
    loop {
        stream.readable().await?;
        let bytes = {
            let mut buffer = buffer.lock().unwrap();
            match stream.try_read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => buffer[..n].to_vec(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
        };
        stream.write_all(&bytes).await?;
    }
}

#[test]
fn a_server_with_one_buffer() {
    each(async || {
        let buffer = Arc::new(std::sync::Mutex::new(vec![0; 100]));
        let mut servers = Vec::new();
        let mut clients = Vec::new();
        for seed in 0..20 {
            let (server, client) = pair().await;
            servers.push(spawn(echo(server, buffer.clone())));
            clients.push(spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..50 {
                    let sent: Vec<u8> = (0..random.usize(1..400)).map(|_| random.u8(..)).collect();
                    client.write_all(&sent).await.unwrap();
                    let mut back = vec![0; sent.len()];
                    client.read_exact(&mut back).await.unwrap();
                    assert_eq!(back, sent);
                }
            }));
        }
        for client in clients {
            client.await.unwrap();
        }
        for server in servers {
            server.await.unwrap().unwrap();
        }
    });
}

#[test]
fn room_to_write() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        stream.writable().await.unwrap();
        assert_eq!(stream.try_write(b"bytes").unwrap(), 5);
        let mut buffer = [0; 5];
        peer.read_exact(&mut buffer).unwrap();
        fill(&stream).await;
        // The kernel may have found room after it had said that there was none.
        let full = loop {
            match stream.try_write(&[0; 1024]) {
                Ok(_) => {}
                full => break full,
            }
        };
        assert_would_block(full);
        let (probe, writable) = parked_on!(stream.writable());
        let reading = std::thread::spawn(move || io::copy(&mut peer, &mut io::sink()).unwrap());
        probe.woken(1).await;
        writable.await.unwrap();
        assert!(stream.try_write(&[0; 1024]).unwrap() > 0);
        stream.shutdown(Shutdown::Write).unwrap();
        reading.join().unwrap();
    });
}

#[test]
fn a_write_waits_while_another_writes() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        fill(&stream).await;
        let writing = spawn({
            let stream = stream.clone();
            async move { stream.write_all(&[1; 1 << 20]).await }
        });
        parked(1).await;
        assert_would_block(stream.try_write(b"in between"));
        let reading = std::thread::spawn(move || io::copy(&mut peer, &mut io::sink()).unwrap());
        writing.await.unwrap().unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        reading.join().unwrap();
    });
}

#[test]
fn several_buffers() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let parts = [&b"one "[..], b"", b"two ", b"three"];
        let slices = parts.map(IoSlice::new);
        assert_eq!(stream.writev(&slices).await.unwrap(), 13);
        assert_eq!(stream.writev(&[]).await.unwrap(), 0);
        let mut back = [0; 13];
        peer.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"one two three");

        let (mut first, mut second) = ([0; 4], [0; 20]);
        assert_eq!(stream.readv(&mut [IoSliceMut::new(&mut [])]).await.unwrap(), 0, "no room, no wait");
        for round in 0..20 {
            peer.write_all(b"one two three").unwrap();
            let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
            assert_eq!(stream.readv(&mut buffers).await.unwrap(), 13, "round {round}");
            assert_eq!((&first, &second[..9]), (b"one ", &b"two three"[..]));
        }
        drop(peer);
        assert_eq!(stream.readv(&mut [IoSliceMut::new(&mut first)]).await.unwrap(), 0);
    });
}

/// A stream that tries to read, through the `Fd` around it, whenever its descriptor is borrowed.
struct Intruder {
    stream: StdStream,
    around: OnceLock<Weak<Fd<OwnedBy<Intruder>>>>,
    inside: Flag,
    /// The number of attempts that found the lock free.
    found_free: Counter,
}

impl AsFd for Intruder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        if let Some(fd) = self.around.get().and_then(Weak::upgrade).filter(|_| self.inside.set()) {
            let attempt = fd.run(Mode::Read, |_| {
                self.found_free.inc();
                Ok(())
            });
            let _ = attempt.try_once();
            self.inside.clear();
        }
        self.stream.as_fd()
    }
}

#[test]
fn it_asks_the_kernel_without_the_lock() {
    each(async || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let intruder =
            Intruder { stream, around: OnceLock::new(), inside: Flag::new(), found_free: Counter::new() };
        let fd = Arc::new(Fd::from_owner(Netpoll::current().unwrap(), intruder, FdKind::Other).unwrap());
        assert!(fd.get_ref().around.set(Arc::downgrade(&fd)).is_ok());
        for n in 1..4 {
            // The attempt comes between the parking and the system call, and takes nothing from either.
            let (probe, readable) = parked_on!(fd.readiness(Mode::Read));
            assert_eq!(fd.get_ref().found_free.get(), n);
            peer.write_all(b"x").unwrap();
            probe.woken(1).await;
            readable.await.unwrap();
            assert_eq!(uninterrupted(|| (&fd.get_ref().stream).read(&mut [0; 8])).unwrap(), 1);
        }
        // With bytes there it leaves nothing parked.
        peer.write_all(b"x").unwrap();
        fd.readiness(Mode::Read).await.unwrap();
        fd.readiness(Mode::Read).await.unwrap();
        parked(0).await;
    });
}

#[test]
fn a_future_that_is_dropped_leaves_another_of_its_task_waiting() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let probe = Probe::new();
        let mut dropped = Box::pin(stream.readable());
        let mut kept = Box::pin(stream.readable());
        assert!(probe.poll(dropped.as_mut()).is_pending());
        assert!(probe.poll(kept.as_mut()).is_pending());
        drop(dropped);
        peer.write_all(b"a").unwrap();
        until("the other one is woken", || probe.wakes.get() > 0).await;
        kept.await.unwrap();
    });
}

#[test]
fn a_future_that_is_dropped_leaves_another_of_its_task_waiting_for_the_lock() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let mut buffer = [0; 1];
        let mut read = Box::pin(stream.read(&mut buffer));
        assert!(Probe::new().poll(read.as_mut()).is_pending());
        let probe = Probe::new();
        let mut dropped = Box::pin(stream.readable());
        let mut kept = Box::pin(stream.readable());
        assert!(probe.poll(dropped.as_mut()).is_pending());
        assert!(probe.poll(kept.as_mut()).is_pending());
        drop(dropped);
        drop(read);
        until("the other one is woken", || probe.wakes.get() > 0).await;
        peer.write_all(b"a").unwrap();
        kept.await.unwrap();
    });
}

/// Polls to read, with the waker of a probe.
fn poll_read(stream: &TcpStream, probe: &Arc<Probe>) -> Poll<io::Result<usize>> {
    let waker = Waker::from(probe.clone());
    Pin::new(&mut &*stream).poll_read(&mut Context::from_waker(&waker), &mut [0; 1])
}

#[test]
fn a_future_that_is_dropped_leaves_a_poll_of_its_task_waiting() {
    each(async || {
        for polls_first in [false, true] {
            let (stream, mut peer) = pair_with_std().await;
            let probe = Probe::new();
            assert!(!polls_first || poll_read(&stream, &probe).is_pending());
            let mut dropped = Box::pin(stream.readable());
            assert!(probe.poll(dropped.as_mut()).is_pending());
            assert!(polls_first || poll_read(&stream, &probe).is_pending());
            drop(dropped);
            peer.write_all(b"a").unwrap();
            until("the poll is woken", || probe.wakes.get() > 0).await;
            assert!(matches!(poll_read(&stream, &probe), Poll::Ready(Ok(1))));
        }
    });
}

#[test]
fn a_future_that_is_dropped_leaves_a_poll_of_its_task_waiting_for_the_lock() {
    each(async || {
        for polls_first in [false, true] {
            let (stream, _peer) = pair_with_std().await;
            let mut buffer = [0; 1];
            let mut read = Box::pin(stream.read(&mut buffer));
            assert!(Probe::new().poll(read.as_mut()).is_pending());
            let probe = Probe::new();
            assert!(!polls_first || poll_read(&stream, &probe).is_pending());
            let mut dropped = Box::pin(stream.readable());
            assert!(probe.poll(dropped.as_mut()).is_pending());
            assert!(polls_first || poll_read(&stream, &probe).is_pending());
            drop(dropped);
            drop(read);
            until("the poll is woken", || probe.wakes.get() > 0).await;
        }
    });
}
