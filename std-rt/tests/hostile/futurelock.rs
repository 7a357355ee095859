//! Futures that are alive and not polled: which operations they may delay, and which they may not.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::mem;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::common::*;
use futures_core::Stream;
use futures_io::AsyncRead;
use netpoll_core::sync::Counter;
use netpoll_rt::internal::fd::{Fd, FdKind};
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::internal::sys::socket;
use netpoll_rt::net::{AsyncFd, Interest, RecvBatch, TcpStream, UdpSocket, UnixDatagram};
use netpoll_rt::task::{take_turn, with_budget};
use netpoll_rt::time::{sleep, timeout};
use netpoll_rt::{Handle, spawn, yield_now};

const LONG: Duration = Duration::from_secs(10);

/// A future, polled once with a probe of its own, and pending.
macro_rules! begun {
    ($future:expr) => {{
        let (probe, mut future) = (Probe::new(), Box::pin($future));
        assert!(probe.poll(future.as_mut()).is_pending());
        (probe, future)
    }};
}

#[test]
fn close_returns_beside_an_operation_that_is_not_polled() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (mut byte, mut other) = ([0], [0]);
        let (probe, mut read) = begun!(stream.read(&mut byte));
        let (_, queued) = begun!(stream.read(&mut other));
        timeout(LONG, stream.close()).await.expect("close returns").unwrap();
        assert_eq!(uninterrupted(|| peer.read(&mut [0])).unwrap(), 0, "the number is closed");
        assert_eq!(probe.wakes.get(), 1);
        let Poll::Ready(read) = probe.poll(read.as_mut()) else { panic!("it is closed") };
        assert_closed(read);
        drop(queued);
        assert_eq!(Handle::try_current().unwrap().waiters(), 0);
    });
}

#[test]
fn close_returns_beside_an_operation_that_has_been_given_its_turn() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (mut one, mut two) = ([0], [0]);
        let (first, read) = begun!(stream.read(&mut one));
        let (second, mut queued) = begun!(stream.read(&mut two));
        peer.write_all(b"x").unwrap();
        first.woken(1).await;
        assert_eq!(read.await.unwrap(), 1);
        second.woken(1).await;
        timeout(LONG, stream.close()).await.expect("close returns").unwrap();
        assert_eq!(uninterrupted(|| peer.read(&mut [0])).unwrap(), 0, "the number is closed");
        let Poll::Ready(read) = second.poll(queued.as_mut()) else { panic!("it is closed") };
        assert_closed(read);
    });
}

#[test]
fn close_returns_beside_every_kind_of_operation_that_is_not_polled() {
    each(async || {
        let listener = listener().await;
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (unix, _other) = UnixDatagram::pair().unwrap();
        let (pipe, _writer) = std::io::pipe().unwrap();
        let pipe = AsyncFd::new(pipe).unwrap();
        let (stream, _peer) = pair_with_std().await;
        fill(&stream).await;
        let (mut datagram, mut message) = ([0; 9], [0; 9]);
        let _waiting = (
            begun!(listener.accept()),
            begun!(udp.recv_from(&mut datagram)),
            begun!(unix.recv(&mut message)),
            begun!(pipe.readable()),
            begun!(async {
                // The kernel may have found room after it had said that there was none.
                while stream.write(&[0; 1024]).await.is_ok() {}
            }),
        );
        timeout(LONG, listener.close()).await.expect("close returns").unwrap();
        timeout(LONG, udp.close()).await.expect("close returns").unwrap();
        timeout(LONG, unix.close()).await.expect("close returns").unwrap();
        timeout(LONG, pipe.close()).await.expect("close returns").unwrap();
        timeout(LONG, stream.close()).await.expect("close returns").unwrap();
    });
}

#[test]
fn a_leaked_operation_does_not_keep_the_number_open() {
    each(async || {
        // Closed and waited for; closed and the wait given up; the same, and its future leaked; only dropped.
        for ending in 0..4 {
            let (stream, mut peer) = pair_with_std().await;
            let (_, read) = begun!(stream.read(Box::leak(Box::new([0]))));
            // The borrow checker sees a borrow of the stream as long as that of the buffer.
            mem::forget(read);
            match ending {
                0 => timeout(LONG, stream.close()).await.expect("close returns").unwrap(),
                1 => drop(begun!(stream.close())),
                2 => mem::forget(begun!(stream.close())),
                _ => {}
            }
            drop(stream);
            assert_eq!(
                uninterrupted(|| peer.read(&mut [0])).unwrap(),
                0,
                "ending {ending}: the number is closed"
            );
        }
    });
}

#[test]
fn an_operation_that_panicked_and_was_leaked_does_not_keep_the_number_open() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let called = stream.with_io(Interest::Read, |_| -> std::io::Result<()> { panic!("on purpose") });
        let mut called = Box::pin(called);
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Probe::new().poll(called.as_mut()).is_pending()
        }));
        assert!(polled.is_err());
        mem::forget(called);
        timeout(LONG, stream.close()).await.expect("close returns").unwrap();
        assert_eq!(uninterrupted(|| peer.read(&mut [0])).unwrap(), 0, "the number is closed");
    });
}

#[test]
fn a_queued_operation_ends_at_its_deadline() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let mut byte = [0];
        let (first, read) = begun!(stream.read(&mut byte));
        // Before it queues, while it does, moved later while it does, over at once.
        stream.set_read_deadline(in_ms(5)).unwrap();
        assert_timed_out(timeout(LONG, read_once(&stream)).await.expect("it ends"));
        stream.set_read_deadline(None).unwrap();
        let queued = reader(&stream);
        yield_now().await;
        stream.set_read_deadline(in_ms(5)).unwrap();
        stream.set_read_deadline(in_ms(20)).unwrap();
        assert_timed_out(timeout(LONG, queued).await.expect("it ends").unwrap());
        assert_timed_out(timeout(LONG, read_once(&stream)).await.expect("it ends"));
        stream.set_read_deadline(None).unwrap();
        let polled = spawn({
            let stream = stream.clone();
            async move { poll_fn(|cx| Pin::new(&mut &*stream).poll_read(cx, &mut [0])).await }
        });
        let readable = spawn({
            let stream = stream.clone();
            async move { stream.readable().await }
        });
        yield_now().await;
        stream.set_read_deadline(in_ms(5)).unwrap();
        assert_timed_out(timeout(LONG, polled).await.expect("it ends").unwrap());
        assert_timed_out(timeout(LONG, readable).await.expect("it ends").unwrap());
        // The first event woke the reader in front, and it still finds its bytes.
        stream.set_read_deadline(None).unwrap();
        peer.write_all(b"x").unwrap();
        assert!(first.wakes.get() > 0);
        assert_eq!(read.await.unwrap(), 1);
    });
}

#[test]
fn readable_and_try_read_by_two_tasks_get_on() {
    each(async || {
        const BYTES: usize = 200;
        let (stream, mut peer) = pair_with_std().await;
        let (tries, got) = (Arc::new(Counter::new()), Arc::new(Counter::new()));
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (stream, tries, got) = (stream.clone(), tries.clone(), got.clone());
                spawn(async move {
                    loop {
                        stream.readable().await.unwrap();
                        tries.inc();
                        match stream.try_read(&mut [0]) {
                            Ok(0) => return,
                            Ok(_) => got.inc(),
                            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                        }
                    }
                })
            })
            .collect();
        for n in 1..=BYTES {
            peer.write_all(b"x").unwrap();
            until("somebody gets the byte", || got.get() == n).await;
        }
        drop(peer);
        for task in tasks {
            timeout(LONG, task).await.expect("it sees the end").unwrap();
        }
        // Each byte may wake all of them.
        assert!(tries.get() <= 8 * BYTES, "{} attempts for {BYTES} bytes", tries.get());
    });
}

#[test]
fn writable_and_try_write_by_two_tasks_get_on() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let stream = stream.clone();
                spawn(async move {
                    loop {
                        stream.writable().await.unwrap();
                        match stream.try_write(b"message") {
                            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                            written => return written.unwrap(),
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(timeout(LONG, task).await.expect("it writes").unwrap(), 7);
        }
        peer.read_exact(&mut [0; 28]).unwrap();
    });
}

#[test]
fn a_readable_that_is_not_polled_blocks_no_other_task() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (probe, readable) = begun!(stream.readable());
        peer.write_all(b"abc").unwrap();
        probe.woken(1).await;
        // It has been woken, and is neither polled nor dropped.
        assert_eq!(stream.try_read(&mut [0]).unwrap(), 1);
        assert_eq!(timeout(LONG, stream.read(&mut [0])).await.unwrap().unwrap(), 1);
        readable.await.unwrap();
        assert_eq!(stream.try_read(&mut [0]).unwrap(), 1);
        // Nor does one that waits, and it takes its waker along.
        let (probe, readable) = begun!(stream.readable());
        assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(Arc::strong_count(&probe), 2);
        drop(readable);
        assert_eq!(Arc::strong_count(&probe), 1);
        parked(0).await;
    });
}

#[test]
fn one_readable_of_several_that_is_dropped_leaves_the_others_parked() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (_, first) = begun!(stream.readable());
        let (second, other) = begun!(stream.readable());
        drop(first);
        parked(1).await;
        peer.write_all(b"x").unwrap();
        second.woken(1).await;
        other.await.unwrap();
    });
}

#[test]
fn many_that_poll_one_direction_sleep() {
    each(async || {
        for tasks in [33, 64, 150] {
            let listener = Arc::new(listener().await);
            let (polls, accepted) = (Arc::new(Counter::new()), Arc::new(Counter::new()));
            let handles: Vec<_> = (0..tasks)
                .map(|_| {
                    let (listener, polls, accepted) = (listener.clone(), polls.clone(), accepted.clone());
                    spawn(async move {
                        let mut incoming = listener.incoming();
                        let next = poll_fn(|cx| {
                            polls.inc();
                            Pin::new(&mut incoming).poll_next(cx)
                        });
                        if next.await.expect("a listener has no end").is_ok() {
                            accepted.inc();
                        }
                    })
                })
                .collect();
            until("all of them wait", || polls.get() >= tasks).await;
            // Some wakes in vain while the list grows, about seven for each of 150 tasks, and then none. A task that finds the
            // lock held by another worker comes once more, which is often under strace.
            let mut before = 0;
            while mem::replace(&mut before, polls.get()) != polls.get() || before < tasks {
                // time is tested
                sleep(Duration::from_millis(20)).await;
                assert!(polls.get() < 20 * tasks * tasks, "{} polls of {tasks} tasks", polls.get());
            }
            let address = listener.local_addr().unwrap();
            let _clients: Vec<_> =
                (0..tasks).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            for handle in handles {
                timeout(LONG, handle).await.expect("each gets one").unwrap();
            }
            assert_eq!(accepted.get(), tasks);
        }
    });
}

#[test]
fn with_io_calls_its_closure_after_a_short_read() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"short").unwrap();
        assert_eq!(read_once(&stream).await.unwrap(), b"short");
        let mut calls = 0;
        let called = stream.with_io(Interest::Read, |_| {
            calls += 1;
            Ok(calls)
        });
        assert_eq!(timeout(LONG, called).await.expect("nothing is waited for").unwrap(), 1);
        // It may have taken some of the bytes that came since, so the next read makes its call.
        peer.write_all(b"more").unwrap();
        let part = stream.with_io(Interest::Read, |fd| socket::recv(fd, &mut [0; 2]));
        assert_eq!(timeout(LONG, part).await.unwrap().unwrap().n, 2);
        assert_eq!(timeout(LONG, read_once(&stream)).await.unwrap().unwrap(), b"re");
    });
}

#[test]
fn a_lent_number_ends_the_hint_of_the_short_read() {
    each(async || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let fd = Fd::new(Netpoll::current().unwrap(), OwnedFd::from(stream), FdKind::ByteStream).unwrap();
        let calls = Cell::new(0);
        let read = || {
            let calls = &calls;
            fd.read(false, move |fd| {
                calls.set(calls.get() + 1);
                socket::recv(fd, &mut [0; 64])
            })
        };
        for lent in [false, true] {
            if lent {
                fd.pin_fd();
            }
            // It parks first: an event that came behind its bytes would be a reason to look.
            let (probe, waiting) = begun!(read());
            peer.write_all(b"short").unwrap();
            probe.woken(1).await;
            waiting.await.unwrap();
            calls.set(0);
            let (_, waiting) = begun!(read());
            drop(waiting);
            assert_eq!(
                calls.get() > 0,
                lent || !netpoll_rt::internal::sys::Poller::SHORT_IS_ALL,
                "lent {lent}"
            );
        }
    });
}

#[test]
fn a_batch_that_no_buffer_can_hold_says_so() {
    let _alone = alone();
    for (datagrams, length) in [(2, 1 << (usize::BITS - 1)), (1024, usize::MAX / 2), (3, usize::MAX)] {
        let made = std::panic::catch_unwind(|| RecvBatch::new(datagrams, length));
        let payload = made.expect_err("there is no such buffer");
        let message = payload.downcast_ref::<String>().expect("a message of its own");
        assert!(message.starts_with("RecvBatch::new: "), "{message}");
    }
}

#[test]
fn a_close_that_is_polled_once_lets_operations_go_by_themselves() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (probe, mut read) = begun!(stream_read(&stream));
        let (closing, mut close) = begun!(stream.close());
        assert!(matches!(probe.poll(read.as_mut()), Poll::Ready(Err(_))));
        assert_eq!(
            uninterrupted(|| peer.read(&mut [0])).unwrap(),
            0,
            "the last operation has closed the number"
        );
        assert!(matches!(closing.poll(close.as_mut()), Poll::Ready(Ok(()))));
    });
}

fn stream_read(stream: &TcpStream) -> impl Future<Output = std::io::Result<Vec<u8>>> {
    read_once(stream)
}

#[test]
fn an_operation_that_is_refused_for_its_turns_budget_holds_nothing() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"x").unwrap();
        stream.readable().await.unwrap();
        let (probe, mut byte) = (Probe::new(), [0]);
        let (mut read, mut readable) = (Box::pin(stream.read(&mut byte)), Box::pin(stream.readable()));
        with_budget(1, async {
            take_turn().await;
            assert!(probe.poll_in_turn(read.as_mut()).is_pending());
            assert!(probe.poll_in_turn(readable.as_mut()).is_pending());
        })
        .await;
        assert_eq!(probe.wakes.get(), 2, "each is woken for another turn");
        assert_eq!(stream.try_read(&mut [0]).unwrap(), 1, "the turn is free");
        assert!(Probe::new().poll(Box::pin(stream.close()).as_mut()).is_ready(), "nothing is waited for");
        let Poll::Ready(closed) = probe.poll(read.as_mut()) else { panic!("it is closed") };
        assert_closed(closed);
        let Poll::Ready(closed) = probe.poll(readable.as_mut()) else { panic!("it is closed") };
        assert_closed(closed);
    });
}

#[test]
fn a_write_in_parts_whose_turn_is_over_keeps_its_place_and_no_number() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        let bytes = vec![0; 32 * 1024 * 1024];
        let (probe, mut write) = (Probe::new(), Box::pin(stream.write_all(&bytes)));
        with_budget(1, async { assert!(probe.poll_in_turn(write.as_mut()).is_pending()) }).await;
        assert_eq!(probe.wakes.get(), 1, "it is woken for another turn");
        assert_eq!(stream.try_write(b"x").unwrap_err().kind(), ErrorKind::WouldBlock);
        timeout(LONG, stream.close()).await.expect("close returns").unwrap();
        let Poll::Ready(closed) = probe.poll(write.as_mut()) else { panic!("it is closed") };
        assert_closed(closed);
    });
}
