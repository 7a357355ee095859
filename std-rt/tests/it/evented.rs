//! `Evented`: readiness that stays until a call finds nothing.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener as StdListener, TcpStream as StdTcp};
use std::os::unix::net::UnixStream as StdStream;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::common::*;
use netpoll_rt::net::{Evented, ReadyEvent, ReadySet};
use netpoll_rt::task::with_budget;
use netpoll_rt::{Handle, Runtime, runtime_ended, spawn};

const READ: ReadySet = ReadySet::READABLE;
const WRITE: ReadySet = ReadySet::WRITABLE;

fn watched<T: std::os::fd::AsFd>(value: T) -> Evented<T> {
    Evented::new(value).map_err(|(_, error)| error).unwrap()
}

/// Returns a stream that is watched, and its peer; both are non-blocking.
fn pair() -> (Arc<Evented<StdStream>>, StdStream) {
    let (one, other) = StdStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    other.set_nonblocking(true).unwrap();
    (Arc::new(watched(one)), other)
}

/// Returns a TCP stream that is watched as one of this process, and its peer.
fn tcp_pair() -> (Evented<StdTcp>, StdTcp) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let peer = StdTcp::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    (Evented::tcp_stream(stream).map_err(|(_, error)| error).unwrap(), peer)
}

/// Reads once, if the stream is readable.
fn attempt(stream: &Evented<StdStream>, buffer: &mut [u8]) -> io::Result<usize> {
    stream.try_io(READ, || uninterrupted(|| stream.get_ref().read(buffer)))
}

fn refuse() -> io::Result<()> {
    Err(ErrorKind::WouldBlock.into())
}

fn once<T>(probe: &Arc<Probe>, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    let waker = Waker::from(probe.clone());
    poll(&mut Context::from_waker(&waker))
}

#[test]
fn readiness_stays_until_a_call_finds_nothing() {
    each(async || {
        let (stream, mut peer) = pair();
        let probe = Probe::new();
        assert!(once(&probe, |cx| stream.poll_readable(cx)).is_pending());
        peer.write_all(b"ab").unwrap();
        probe.woken(1).await;
        for _ in 0..3 {
            assert_eq!(stream.ready(READ).await.unwrap().ready, READ);
        }
        let mut buffer = [0; 2];
        assert_eq!(attempt(&stream, &mut buffer).unwrap(), 2);
        assert_eq!(stream.ready(READ).await.unwrap().ready, READ, "no call has found nothing");
        assert_eq!(attempt(&stream, &mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(probe.poll(pin!(stream.ready(READ))).is_pending());
        let mut next = pin!(stream.ready(READ));
        assert!(probe.poll(next.as_mut()).is_pending());
        peer.write_all(b"c").unwrap();
        assert_eq!(next.await.unwrap().ready, READ);
    });
}

#[test]
fn a_call_is_made_only_after_an_event() {
    each(async || {
        let (stream, mut peer) = pair();
        let probe = Probe::new();
        assert!(probe.poll(pin!(stream.ready(READ))).is_pending());
        let called = stream.try_io(READ, || -> io::Result<()> { unreachable!("there was no event") });
        assert_eq!(called.unwrap_err().kind(), ErrorKind::WouldBlock);
        peer.write_all(b"a").unwrap();
        stream.ready(READ).await.unwrap();
        assert_eq!(stream.try_io(READ, || Ok(7)).unwrap(), 7);
    });
}

#[test]
fn would_block_clears_although_the_kernel_has_bytes() {
    each(async || {
        let (stream, mut peer) = pair();
        peer.write_all(b"a").unwrap();
        stream.ready(READ).await.unwrap();
        stream.try_io(READ, refuse).unwrap_err();
        let probe = Probe::new();
        // With a level-triggered backend the next wait finds the byte.
        if netpoll_rt::internal::sys::Poller::EDGES {
            let waits = || probe.poll(pin!(stream.ready(READ))).is_pending();
            // The kernel may report the arrival once more, with the space to write that it found at the registration.
            assert!(waits() || stream.try_io(READ, refuse).is_err() && waits());
            assert_eq!(attempt(&stream, &mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        peer.write_all(b"b").unwrap();
        stream.ready(READ).await.unwrap();
        assert_eq!(attempt(&stream, &mut [0; 8]).unwrap(), 2);
    });
}

#[test]
fn an_old_event_does_not_clear_a_newer_one() {
    each(async || {
        let (stream, mut peer) = pair();
        peer.write_all(b"a").unwrap();
        let old: ReadyEvent = stream.ready(READ).await.unwrap();
        stream.clear(old);
        peer.write_all(b"b").unwrap();
        let new = stream.ready(READ).await.unwrap();
        assert_ne!(old, new);
        stream.clear(old);
        assert_eq!(stream.now(READ).ready, READ);
        stream.clear(new);
        assert_eq!(attempt(&stream, &mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn the_last_poll_is_woken_and_every_future() {
    each(async || {
        let (stream, mut peer) = pair();
        let (first, last, future) = (Probe::new(), Probe::new(), Probe::new());
        assert!(once(&first, |cx| stream.poll_readable(cx)).is_pending());
        assert!(once(&last, |cx| stream.poll_readable(cx)).is_pending());
        // More than the list of anonymous tasks holds.
        let mut waits: Vec<_> = (0..50).map(|_| Box::pin(stream.ready(READ))).collect();
        for wait in &mut waits {
            assert!(future.poll(wait.as_mut()).is_pending());
        }
        peer.write_all(b"a").unwrap();
        last.woken(1).await;
        future.woken(50).await;
        assert_eq!(first.wakes.get(), 0);
        // The first one clears it; the others were woken by the event all the same.
        let event = future.poll(waits[0].as_mut());
        let Poll::Ready(Ok(event)) = event else { panic!("{event:?}") };
        stream.clear(event);
        for wait in &mut waits[1..] {
            assert!(matches!(future.poll(wait.as_mut()), Poll::Ready(Ok(_))));
        }
    });
}

#[test]
fn dropped_futures_leave_no_waiter() {
    each(async || {
        let (stream, mut peer) = pair();
        let probe = Probe::new();
        {
            let mut wait = Box::pin(stream.ready(READ));
            let mut call = Box::pin(stream.async_io(READ, refuse));
            assert!(probe.poll(wait.as_mut()).is_pending());
            assert!(probe.poll(call.as_mut()).is_pending());
        }
        until("no task waits", || Handle::current().waiters() == 0).await;
        peer.write_all(b"a").unwrap();
        stream.ready(READ).await.unwrap();
        assert_eq!(probe.wakes.get(), 0);
    });
}

#[test]
fn a_poll_waits_on_beside_a_future_that_comes_and_goes() {
    each(async || {
        for polls_first in [false, true] {
            let (stream, mut peer) = pair();
            // Of one task, whose waker both have.
            let probe = Probe::new();
            let poll = || once(&probe, |cx| stream.poll_readable(cx));
            assert!(!polls_first || poll().is_pending());
            let mut dropped = Box::pin(stream.ready(READ));
            assert!(probe.poll(dropped.as_mut()).is_pending());
            assert!(polls_first || poll().is_pending());
            drop(dropped);
            peer.write_all(b"a").unwrap();
            until("the poll is woken", || probe.wakes.get() > 0).await;
            assert!(poll().is_ready());
            // It waits alone again.
            assert_eq!(attempt(&stream, &mut [0]).unwrap(), 1);
            assert_eq!(attempt(&stream, &mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
            let alone = Probe::new();
            while once(&alone, |cx| stream.poll_readable(cx)).is_ready() {
                assert!(stream.try_io(READ, refuse).is_err());
            }
            let before = alone.wakes.get();
            peer.write_all(b"b").unwrap();
            until("it is woken", || alone.wakes.get() > before).await;
        }
    });
}

#[test]
fn space_is_reported_once_it_was_used_up() {
    each(async || {
        let (stream, mut peer) = pair();
        assert_eq!(stream.ready(WRITE).await.unwrap().ready, WRITE);
        let fill =
            || while stream.try_io(WRITE, || uninterrupted(|| stream.get_ref().write(&[0; 4096]))).is_ok() {};
        fill();
        let probe = Probe::new();
        let mut space = Box::pin(stream.ready(WRITE));
        // A level-triggered backend may report once more what was true before the last write.
        while probe.poll(space.as_mut()).is_ready() {
            fill();
            space = Box::pin(stream.ready(WRITE));
        }
        let mut buffer = vec![0; 1 << 16];
        while uninterrupted(|| peer.read(&mut buffer)).is_ok() {}
        assert_eq!(space.await.unwrap().ready, WRITE);
    });
}

#[test]
fn both_directions_are_reported_together() {
    each(async || {
        let (stream, mut peer) = pair();
        peer.write_all(b"a").unwrap();
        stream.ready(READ).await.unwrap();
        assert_eq!(stream.ready(READ | WRITE).await.unwrap().ready, READ | WRITE);
        drop(peer);
        until("the end is known", || stream.now(READ).ready.contains(ReadySet::READ_CLOSED)).await;
        stream.clear(stream.now(READ));
        assert_eq!(stream.ready(READ).await.unwrap().ready, ReadySet::READ_CLOSED, "it stays");
    });
}

#[test]
fn reads_wait_and_find_bytes_and_the_end() {
    each(async || {
        let (stream, mut peer) = tcp_pair();
        let stream = Arc::new(stream);
        let reader = stream.clone();
        let read = spawn(async move {
            let mut lengths = Vec::new();
            loop {
                let mut buffer = [MaybeUninit::uninit(); 16];
                let n = std::future::poll_fn(|cx| reader.poll_recv(cx, &mut buffer)).await.unwrap();
                lengths.push(n);
                if n == 0 {
                    return lengths.iter().sum::<usize>();
                }
            }
        });
        for _ in 0..100 {
            peer.write_all(b"message").unwrap();
            netpoll_rt::yield_now().await;
        }
        // The end comes right behind bytes that fill no buffer.
        peer.write_all(b"last").unwrap();
        drop(peer);
        assert_eq!(read.await.unwrap(), 704);
    });
}

#[test]
fn two_tasks_read_the_bytes_of_one_stream() {
    each(async || {
        let (stream, mut peer) = pair();
        let count = |stream: Arc<Evented<StdStream>>| async move {
            let mut sum = 0;
            loop {
                let read = || uninterrupted(|| stream.get_ref().read(&mut [0]));
                match stream.async_io(READ, read).await.unwrap() {
                    0 => return sum,
                    n => sum += n,
                }
            }
        };
        let (one, other) = (spawn(count(stream.clone())), spawn(count(stream.clone())));
        for _ in 0..1000 {
            // It finds no space while the two have not read.
            while peer.write(b"a").is_err() {
                netpoll_rt::yield_now().await;
            }
        }
        drop(peer);
        assert_eq!(one.await.unwrap() + other.await.unwrap(), 1000);
    });
}

#[test]
fn errors_are_the_kernels_own() {
    each(async || {
        let (stream, peer) = pair();
        drop(peer);
        let written = std::future::poll_fn(|cx| stream.poll_send(cx, b"a")).await;
        assert_eq!(written.unwrap_err().raw_os_error(), Some(libc::EPIPE));
        // poll(2) takes any file.
        if netpoll_rt::internal::sys::Poller::EDGES {
            let (value, error) = Evented::new(std::fs::File::open("/dev/null").unwrap()).unwrap_err();
            assert!(error.raw_os_error().is_some());
            drop(value);
        }
    });
}

#[test]
fn waits_end_with_the_runtime() {
    let _alone = alone();
    for workers in [1, 4] {
        let runtime = Runtime::builder().workers(workers).build().unwrap();
        let (stream, mut peer) = runtime.block_on(async { pair() });
        peer.write_all(b"a").unwrap();
        runtime.block_on(async { stream.ready(READ).await }).unwrap();
        let (silent, _peer) = runtime.block_on(async { pair() });
        let (probe, polled) = (Probe::new(), Probe::new());
        let mut wait = pin!(silent.ready(READ));
        assert!(probe.poll(wait.as_mut()).is_pending());
        assert!(once(&polled, |cx| silent.poll_readable(cx)).is_pending());
        drop(runtime);
        assert_eq!((probe.wakes.get(), polled.wakes.get()), (1, 1));
        let Poll::Ready(Err(error)) = probe.poll(wait) else { panic!("it waits for ever") };
        assert!(runtime_ended(&error));
        let Poll::Ready(Err(error)) = once(&polled, |cx| silent.poll_readable(cx)) else {
            panic!("it waits for ever")
        };
        assert!(runtime_ended(&error));
        // A wait that need not wait fails as well; an attempt succeeds.
        let Poll::Ready(Err(error)) = probe.poll(pin!(stream.ready(READ))) else {
            panic!("it waits for ever")
        };
        assert!(runtime_ended(&error));
        assert_eq!(attempt(&stream, &mut [0]).unwrap(), 1);
    }
}

#[test]
fn polls_count_against_the_budget() {
    each(async || {
        let (stream, mut peer) = pair();
        peer.write_all(b"a").unwrap();
        stream.ready(READ).await.unwrap();
        let probe = Probe::new();
        let made = with_budget(10, async {
            (0..100).take_while(|_| once(&probe, |cx| stream.poll_read_io(cx, || Ok(()))).is_ready()).count()
        });
        assert_eq!(made.await, 10);
        assert_eq!(probe.wakes.get(), 1, "for another turn");
    });
}

#[test]
fn a_value_comes_back_and_can_be_watched_again() {
    each(async || {
        let (stream, mut peer) = pair();
        let again = Evented::new(stream.get_ref().try_clone().unwrap()).map_err(|(_, error)| error).unwrap();
        let value = Arc::into_inner(stream).unwrap().into_inner();
        drop(again);
        let stream = watched(value);
        peer.write_all(b"a").unwrap();
        stream.ready(READ).await.unwrap();
        assert_eq!(attempt(&stream, &mut [0]).unwrap(), 1);
    });
}

#[test]
fn a_wait_of_a_value_that_cannot_be_shared_can_go_to_another_thread() {
    /// A stream that is not `Sync`.
    struct Single(StdStream, std::cell::Cell<()>);
    impl std::os::fd::AsFd for Single {
        fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
    each(async || {
        let (stream, mut peer) = StdStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut stream = watched(Single(stream, Default::default()));
        // Dropped, a wait leaves nothing behind.
        let probe = Probe::new();
        assert!(probe.poll(pin!(stream.ready_mut(READ))).is_pending());
        let waiting = spawn(async move { stream.ready_mut(READ).await.map(|event| event.ready) });
        peer.write_all(b"a").unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), READ);
        assert_eq!(probe.wakes.get(), 0);
    });
}
