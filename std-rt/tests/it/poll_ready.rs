//! `poll_readable`, `poll_writable`, `try_io`, `poll_accept` and the polls of `UdpSocket`: nothing is held between two polls,
//! and no event is lost between an attempt and the poll that follows it.

use std::fmt::Debug;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::internal::sys::{Poller, socket, udp};
use netpoll_rt::net::{AsyncFd, Interest, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixStream};
use netpoll_rt::{Handle, spawn, task};

const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// Polls once with the waker of `probe`.
fn once<T>(probe: &Arc<Probe>, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    let waker = Waker::from(probe.clone());
    poll(&mut Context::from_waker(&waker))
}

#[track_caller]
fn assert_kind<T: Debug>(kind: ErrorKind, result: io::Result<T>) {
    assert_eq!(result.expect_err("it cannot be done").kind(), kind);
}

fn recv(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 64];
    let read = socket::recv(fd, &mut buffer)?;
    buffer.truncate(read.n);
    Ok(buffer)
}

/// Reads as the users of tokio's `poll_read_ready` and `try_io` do.
async fn read_by_attempts(stream: &TcpStream) -> io::Result<Vec<u8>> {
    poll_fn(|cx| {
        loop {
            std::task::ready!(stream.poll_readable(cx))?;
            match stream.try_io(Interest::Read, recv) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    })
    .await
}

#[test]
fn poll_readable_is_ready_as_long_as_bytes_are_unread() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        for _ in 0..20 {
            let probe = Probe::new();
            assert!(once(&probe, |cx| stream.poll_readable(cx)).is_pending());
            peer.write_all(b"ab").unwrap();
            probe.woken(1).await;
            for _ in 0..3 {
                assert!(matches!(once(&probe, |cx| stream.poll_readable(cx)), Poll::Ready(Ok(()))));
            }
            // A part is left, whose event was consumed.
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 1);
            assert!(matches!(once(&probe, |cx| stream.poll_readable(cx)), Poll::Ready(Ok(()))));
            assert_eq!(read_once(&stream).await.unwrap(), b"b");
        }
        peer.shutdown(Shutdown::Write).unwrap();
        poll_fn(|cx| stream.poll_readable(cx)).await.unwrap();
        assert_eq!(stream.try_read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn no_event_is_lost_between_an_attempt_and_the_next_poll() {
    each(async || {
        for adopted in [false, true] {
            let (stream, mut peer) = pair_with_std().await;
            let stream = match Arc::try_unwrap(stream) {
                Ok(stream) if adopted => TcpStream::from_std(stream.into_std().unwrap()).unwrap(),
                Ok(stream) => stream,
                Err(_) => unreachable!("the pair is not shared yet"),
            };
            let reader = spawn(async move {
                let mut all = Vec::new();
                loop {
                    match read_by_attempts(&stream).await.unwrap() {
                        bytes if bytes.is_empty() => return all,
                        bytes => all.extend(bytes),
                    }
                }
            });
            let sent: Vec<u8> = (0..20_000_u32).map(|n| n as u8).collect();
            for (n, piece) in sent.chunks(40).enumerate() {
                peer.write_all(piece).unwrap();
                if n % 3 == 0 {
                    netpoll_rt::yield_now().await;
                }
            }
            drop(peer);
            assert!(reader.await.unwrap() == sent, "adopted: {adopted}");
        }
    });
}

#[test]
fn an_attempt_that_finds_nothing_keeps_the_event_that_follows_it() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        for _ in 0..50 {
            let before = Handle::try_current().unwrap().metrics().events;
            assert_kind(ErrorKind::WouldBlock, stream.try_io(Interest::Read, recv));
            peer.write_all(b"x").unwrap();
            reported(before).await;
            // The event came after the hint, so the poll does not wait for another one. A level-triggered backend reports it
            // once it is asked.
            if Poller::EDGES {
                assert!(once(&Probe::new(), |cx| stream.poll_readable(cx)).is_ready());
            } else {
                poll_fn(|cx| stream.poll_readable(cx)).await.unwrap();
            }
            assert_eq!(stream.try_io(Interest::Read, recv).unwrap(), b"x");
        }
    });
}

#[test]
fn a_read_in_between_leaves_bytes_that_a_poll_finds() {
    each(async || {
        let (here, there) = UnixStream::pair().unwrap();
        for _ in 0..50 {
            assert_kind(ErrorKind::WouldBlock, here.try_io(Interest::Read, recv));
            there.write_all(b"ab").await.unwrap();
            assert_eq!(here.read(&mut [0]).await.unwrap(), 1);
            poll_fn(|cx| here.poll_readable(cx)).await.unwrap();
            assert_eq!(here.read(&mut [0]).await.unwrap(), 1);
        }
    });
}

#[test]
fn an_attempt_waits_behind_a_read_but_not_behind_a_receive() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (probe, mut read) = (Probe::new(), pin!(read_once(&stream)));
        assert!(probe.poll(read.as_mut()).is_pending());
        assert_kind(ErrorKind::WouldBlock, stream.try_io(Interest::Read, |_| Ok(())));
        stream.try_io(Interest::Write, |_| Ok(())).unwrap();
        // A poll behind it is woken once the read has ended.
        let poller = Probe::new();
        assert!(once(&poller, |cx| stream.poll_readable(cx)).is_pending());
        peer.write_all(b"x").unwrap();
        assert_eq!(read.await.unwrap(), b"x");
        poller.woken(1).await;

        let socket = UdpSocket::bind(LOOPBACKS[0]).await.unwrap();
        let mut buffer = [0; 8];
        let mut receive = pin!(socket.recv(&mut buffer));
        assert!(probe.poll(receive.as_mut()).is_pending());
        assert_kind(ErrorKind::WouldBlock, socket.try_io(Interest::Read, |fd| udp::recv(fd, &mut [0; 8])));
        let calls = Counter::new();
        let attempt = socket.try_io(Interest::Read, |_| {
            calls.inc();
            Ok(())
        });
        attempt.unwrap();
        assert_eq!(calls.get(), 1);
    });
}

#[test]
fn a_panic_in_an_attempt_gives_the_turn_back() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let attempt = std::panic::AssertUnwindSafe(|| {
            stream.try_io(Interest::Read, |_| -> io::Result<()> { panic!("on purpose") })
        });
        assert!(std::panic::catch_unwind(attempt).is_err());
        peer.write_all(b"x").unwrap();
        assert_eq!(read_once(&stream).await.unwrap(), b"x");
    });
}

/// The event is dropped before the call, so the hint of the read before it must not outlast it.
#[test]
fn a_panic_in_an_attempt_hides_no_bytes() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"a").unwrap();
        assert_eq!(read_once(&stream).await.unwrap(), b"a");
        let before = Handle::current().metrics().events;
        peer.write_all(b"b").unwrap();
        reported(before).await;
        let attempt = || stream.try_io(Interest::Read, |_| -> io::Result<()> { panic!("by intent") });
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(attempt)).is_err());
        assert!(Probe::new().poll(pin!(read_once(&stream))).is_ready());
    });
}

#[test]
fn the_errors_of_polls_and_attempts() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        let probe = Probe::new();
        assert_kind(ErrorKind::InvalidInput, stream.try_io(Interest::Priority, |_| Ok(())));
        let asked = io::Error::other("the closure's own");
        let own = stream.try_io(Interest::Read, |_| io::Result::<()>::Err(asked)).unwrap_err();
        assert!(own.to_string().contains("the closure's own"), "{own}");

        stream.set_deadline(past()).unwrap();
        for _ in 0..2 {
            assert_kind(ErrorKind::TimedOut, stream.try_io(Interest::Read, recv));
            assert_kind(ErrorKind::TimedOut, stream.try_io(Interest::Write, |_| Ok(())));
            for polled in
                [once(&probe, |cx| stream.poll_readable(cx)), once(&probe, |cx| stream.poll_writable(cx))]
            {
                assert!(matches!(polled, Poll::Ready(Err(error)) if error.kind() == ErrorKind::TimedOut));
            }
        }
        stream.set_deadline(None).unwrap();
        assert!(once(&probe, |cx| stream.poll_readable(cx)).is_pending());
        stream.close().await.unwrap();
        probe.woken(1).await;
        assert_closed(stream.try_io(Interest::Read, recv));
        assert_closed(poll_fn(|cx| stream.poll_readable(cx)).await);
        assert_closed(poll_fn(|cx| stream.poll_writable(cx)).await);
    });
}

#[test]
fn a_deadline_wakes_a_poll() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        stream.set_read_deadline(in_ms(30)).unwrap();
        assert_timed_out(poll_fn(|cx| stream.poll_readable(cx)).await);
        let listener = listener().await;
        listener.set_deadline(in_ms(30)).unwrap();
        assert_timed_out(poll_fn(|cx| listener.poll_accept(cx)).await);
    });
}

#[test]
fn poll_writable_waits_while_there_is_no_space() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        poll_fn(|cx| stream.poll_writable(cx)).await.unwrap();
        fill(&stream).await;
        let probe = Probe::new();
        // One readiness may be remembered from before.
        while once(&probe, |cx| stream.poll_writable(cx)).is_ready() {
            assert_kind(ErrorKind::WouldBlock, stream.try_write(&[0; 1024]));
        }
        let drained = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while uninterrupted(|| peer.read(&mut buffer)).unwrap() > 0 {}
        });
        probe.woken(1).await;
        poll_fn(|cx| stream.poll_writable(cx)).await.unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        drained.join().unwrap();
    });
}

#[test]
fn a_poll_of_readiness_is_refused_by_a_spent_budget() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"x").unwrap();
        stream.readable().await.unwrap();
        let mut ready = 0;
        let counted = task::with_budget(5, async {
            let probe = Probe::new();
            while once(&probe, |cx| stream.poll_readable(cx)).is_ready() {
                ready += 1;
            }
            assert_eq!(probe.wakes.get(), 1, "a refused poll has woken its task");
        });
        counted.await;
        assert_eq!(ready, 5);
    });
}

#[test]
fn every_task_that_polls_a_listener_is_woken() {
    each(async || {
        for address in LOOPBACKS {
            let listener = TcpListener::bind(address).await.unwrap();
            let probes = [Probe::new(), Probe::new()];
            for probe in &probes {
                assert!(once(probe, |cx| listener.poll_accept(cx)).is_pending());
            }
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            for probe in &probes {
                probe.woken(1).await;
            }
            let (stream, peer) = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            client.write_all(b"x").await.unwrap();
            assert_eq!(read_once(&stream).await.unwrap(), b"x");
            assert!(once(&probes[0], |cx| listener.poll_accept(cx)).is_pending());
            listener.close().await.unwrap();
            assert_closed(poll_fn(|cx| listener.poll_accept(cx)).await);
        }
    });
}

#[test]
fn datagrams_by_polls() {
    each(async || {
        for address in LOOPBACKS {
            let (here, there) =
                (UdpSocket::bind(address).await.unwrap(), UdpSocket::bind(address).await.unwrap());
            let (from, to): (SocketAddr, SocketAddr) =
                (here.local_addr().unwrap(), there.local_addr().unwrap());
            let (probe, mut buffer) = (Probe::new(), [0; 16]);
            for _ in 0..10 {
                assert!(once(&probe, |cx| there.poll_recv_from(cx, &mut buffer)).is_pending());
                assert_eq!(poll_fn(|cx| here.poll_send_to(cx, b"first", to)).await.unwrap(), 5);
                let peeked = poll_fn(|cx| there.poll_peek_from(cx, &mut buffer)).await.unwrap();
                assert_eq!((peeked, &buffer[..5]), ((5, from), &b"first"[..]));
                assert_eq!(poll_fn(|cx| there.poll_recv_from(cx, &mut buffer)).await.unwrap(), (5, from));
            }
            assert!(probe.wakes.get() >= 10, "each poll that waited was woken");
            here.connect(to).await.unwrap();
            assert_eq!(poll_fn(|cx| here.poll_send(cx, b"")).await.unwrap(), 0);
            assert_eq!(poll_fn(|cx| there.poll_recv(cx, &mut buffer)).await.unwrap(), 0);
            let failed = poll_fn(|cx| here.poll_send_to(cx, &[0; 70_000], to)).await.unwrap_err();
            assert!(failed.to_string().contains(&to.to_string()), "{failed}");
            there.close().await.unwrap();
            assert_closed(poll_fn(|cx| there.poll_recv(cx, &mut buffer)).await);
        }
    });
}

#[test]
fn attempts_on_one_socket_from_many_tasks() {
    each(async || {
        const TASKS: usize = 4;
        const EACH: usize = 200;
        let (here, there) = UnixDatagram::pair().unwrap();
        let there = Arc::new(there);
        let received = Arc::new(Counter::new());
        let receivers: Vec<_> = (0..TASKS)
            .map(|_| {
                let (there, received) = (there.clone(), received.clone());
                spawn(async move {
                    while received.get() < TASKS * EACH {
                        poll_fn(|cx| {
                            let polled = there.poll_readable(cx);
                            if received.get() < TASKS * EACH { polled } else { Poll::Ready(Ok(())) }
                        })
                        .await
                        .unwrap();
                        match there.try_io(Interest::Read, |fd| udp::recv(fd, &mut [0; 8])) {
                            Ok(_) => received.inc(),
                            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                        }
                    }
                })
            })
            .collect();
        for _ in 0..TASKS * EACH {
            here.send(b"x").await.unwrap();
        }
        until("all received", || received.get() == TASKS * EACH).await;
        // One datagram more ends the polls of the others.
        for receiver in receivers {
            while !receiver.is_finished() {
                here.try_send(b"end").ok();
                netpoll_rt::yield_now().await;
            }
            receiver.await.unwrap();
        }
    });
}

#[test]
fn an_urgent_byte_is_an_answer_once() {
    each(async || {
        let (stream, peer) = pair_with_std().await;
        let urgent = AsyncFd::with_interest(stream.as_fd().try_clone_to_owned().unwrap(), Interest::Priority);
        let urgent: AsyncFd<OwnedFd> = match urgent {
            Err(error) if error.kind() == ErrorKind::Unsupported => return,
            urgent => urgent.unwrap(),
        };
        let probe = Probe::new();
        assert!(once(&probe, |cx| urgent.poll_readable(cx)).is_pending());
        kernel::send_urgent(&peer, b'!').unwrap();
        probe.woken(1).await;
        assert!(once(&probe, |cx| urgent.poll_readable(cx)).is_ready());
        let refused = once(&probe, |cx| urgent.poll_writable(cx));
        assert!(matches!(refused, Poll::Ready(Err(error)) if error.kind() == ErrorKind::InvalidInput));
        assert_kind(ErrorKind::InvalidInput, urgent.try_io(Interest::Read, |_| Ok(())));
        urgent.try_io(Interest::Priority, |_| Ok(())).unwrap();
    });
}

#[test]
fn a_datagram_costs_one_call_that_finds_it_and_one_that_finds_none() {
    const ROUNDS: usize = 200;
    each(async || {
        let (here, there) =
            (UdpSocket::bind(LOOPBACKS[0]).await.unwrap(), UdpSocket::bind(LOOPBACKS[0]).await.unwrap());
        let to = there.local_addr().unwrap();
        let calls = Counter::new();
        let receive = |cx: &mut Context<'_>| loop {
            std::task::ready!(there.poll_readable(cx)).unwrap();
            calls.inc();
            match there.try_io(Interest::Read, |fd| udp::recv(fd, &mut [0; 8])) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                received => return Poll::Ready(received.unwrap()),
            }
        };
        let probe = Probe::new();
        for _ in 0..ROUNDS {
            assert!(once(&probe, receive).is_pending());
            here.send_to(b"x", to).await.unwrap();
            assert_eq!(poll_fn(receive).await, 1);
            // A task that is woken for something else polls again and again.
            for _ in 0..10 {
                assert!(once(&probe, receive).is_pending());
            }
        }
        println!("{} calls for {ROUNDS} datagrams", calls.get());
        // A level-triggered backend may report an event late, and once more.
        let bound = if Poller::EDGES { 2 * ROUNDS + 2 } else { 4 * ROUNDS };
        assert!(calls.get() <= bound, "{} calls for {ROUNDS} datagrams", calls.get());
    });
}
