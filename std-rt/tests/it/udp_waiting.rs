//! UDP: deadlines, closing, and many tasks on one socket.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_core::Mode;
use netpoll_core::sync::Counter;
use netpoll_rt::internal::fd::{Fd, FdKind};
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::net::{Datagram, Interest, RecvBatch, UdpSocket};
use netpoll_rt::{JoinHandle, spawn, yield_now};

/// A deadline within which any machine has sent a few datagrams.
const LONG_ENOUGH: Duration = Duration::from_millis(300);

async fn socket() -> Arc<UdpSocket> {
    Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap())
}

/// Returns a task that receives one datagram of at most 64 bytes.
fn receiver(socket: &Arc<UdpSocket>) -> JoinHandle<io::Result<Vec<u8>>> {
    let socket = socket.clone();
    spawn(async move { received(&socket).await })
}

async fn received(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 64];
    let (n, _) = socket.recv_from(&mut buffer).await?;
    Ok(buffer[..n].to_vec())
}

// Case B10.
#[test]
fn past_deadline_beats_a_datagram() {
    each(async || {
        let (here, there) = (socket().await, socket().await);
        here.send_to(b"ready", there.local_addr().unwrap()).await.unwrap();
        there.readable().await.unwrap();
        there.set_read_deadline(past()).unwrap();
        for _ in 0..2 {
            assert_timed_out(there.recv_from(&mut [0; 64]).await);
            assert_timed_out(there.recv(&mut [0; 64]).await);
            assert_timed_out(there.peek(&mut [0; 64]).await);
            assert_timed_out(there.recv_batch(&mut RecvBatch::new(4, 64)).await);
            assert_timed_out(there.try_recv(&mut [0; 64]));
            assert_timed_out(there.readable().await);
        }
        // The other direction does not know of it.
        there.send_to(b"out", here.local_addr().unwrap()).await.unwrap();
        there.set_read_deadline(None).unwrap();
        assert_eq!(received(&there).await.unwrap(), b"ready");
    });
}

// Case B10.
#[test]
fn datagrams_then_expiry() {
    each(async || {
        let (here, there) = (socket().await, socket().await);
        let start = Instant::now();
        there.set_read_deadline(Some(start + LONG_ENOUGH)).unwrap();
        for _ in 0..3 {
            here.send_to(b"some", there.local_addr().unwrap()).await.unwrap();
        }
        let mut came = 0;
        let error = loop {
            match received(&there).await {
                Ok(bytes) => came += usize::from(bytes == b"some"),
                Err(error) => break error,
            }
        };
        assert_timed_out(Err::<(), _>(error));
        // time is tested
        assert!(start.elapsed() >= LONG_ENOUGH);
        assert_eq!(came, 3);
        here.send_to(b"late", there.local_addr().unwrap()).await.unwrap();
        assert_timed_out(received(&there).await);
        assert_timed_out(received(&there).await);
        there.set_read_deadline(in_ms(60_000)).unwrap();
        assert_eq!(received(&there).await.unwrap(), b"late");
        // One that waits is told when the deadline is moved to the past.
        let waits = receiver(&there);
        parked(1).await;
        there.set_read_deadline(past()).unwrap();
        assert_timed_out(waits.await.unwrap());
    });
}

// Case B11.
#[test]
fn past_deadline_sends_nothing() {
    each(async || {
        let (here, there) = (socket().await, socket().await);
        let to = there.local_addr().unwrap();
        here.connect(to).await.unwrap();
        here.set_write_deadline(past()).unwrap();
        assert_timed_out(here.send_to(b"not sent", to).await);
        assert_timed_out(here.send(b"not sent").await);
        assert_timed_out(here.try_send(b"not sent"));
        assert_timed_out(here.send_batch(&[Datagram::new(b"not sent")]).await);
        assert_timed_out(here.send_segments(b"not sent", 3, None).await);
        assert_timed_out(here.writable().await);
        here.set_deadline(None).unwrap();
        here.send_to(b"sent", to).await.unwrap();
        assert_eq!(received(&there).await.unwrap(), b"sent", "and nothing before it");
    });
}

// Case B11.
#[test]
fn sends_until_expiry() {
    each(async || {
        let (here, there) = (socket().await, socket().await);
        let start = Instant::now();
        here.set_write_deadline(Some(start + LONG_ENOUGH)).unwrap();
        let mut sent = 0;
        let error = loop {
            match here.send_to(b"x", there.local_addr().unwrap()).await {
                Ok(n) => sent += n,
                Err(error) => break error,
            }
            // There is always room, so the loop itself would never let the only worker look at the clock.
            yield_now().await;
        };
        assert_timed_out(Err::<(), _>(error));
        // time is tested
        assert!(start.elapsed() >= LONG_ENOUGH);
        assert!(sent > 0);
        assert_timed_out(here.send_to(b"x", there.local_addr().unwrap()).await);
    });
}

/// Linux and BSD agree on nothing but the name.
const ENOBUFS: i32 = 105;

// Case B11.
#[test]
fn no_buffers_is_told_and_not_tried_again() {
    each(async || {
        let std = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        std.set_nonblocking(true).unwrap();
        let fd = Fd::new(Netpoll::current().unwrap(), OwnedFd::from(std), FdKind::Other).unwrap();
        let calls = Counter::new();
        let sent = fd.shared(Mode::Write, |_| {
            calls.inc();
            // A full interface says so twice.
            if calls.get() <= 2 { Err(io::Error::from_raw_os_error(ENOBUFS)) } else { Ok(()) }
        });
        assert_eq!(sent.await.unwrap_err().raw_os_error(), Some(ENOBUFS));
        assert_eq!(calls.get(), 1);
    });
}

// Case C03.
#[test]
fn a_closed_socket_says_so() {
    each(async || {
        let here = socket().await;
        let to = here.local_addr().unwrap();
        here.close().await.unwrap();
        assert_closed(here.close().await);
        assert_closed(here.send_to(b"x", to).await);
        assert_closed(here.send(b"x").await);
        assert_closed(here.recv_from(&mut [0]).await);
        assert_closed(here.recv(&mut []).await);
        assert_closed(here.peek(&mut [0]).await);
        assert_closed(here.try_recv(&mut [0]));
        assert_closed(here.try_send_to(b"x", to));
        assert_closed(here.send_batch(&[Datagram::to(b"x", to)]).await);
        assert_closed(here.recv_batch(&mut RecvBatch::new(4, 64)).await);
        assert_closed(here.send_segments(b"x", 1, Some(to)).await);
        assert_closed(here.readable().await);
        assert_closed(here.connect(to).await);
        assert_closed(here.set_deadline(in_ms(5)));
        assert_closed(here.set_broadcast(true));
        assert_closed(here.local_addr());
    });
}

// Case C03.
#[test]
fn close_wakes_every_receiver() {
    each(async || {
        let here = socket().await;
        let address = here.local_addr().unwrap();
        let one = receiver(&here);
        parked(1).await;
        let others: Vec<_> = (0..4).map(|_| receiver(&here)).collect();
        let start = Instant::now();
        here.close().await.unwrap();
        assert_closed(one.await.unwrap());
        for other in others {
            assert_closed(other.await.unwrap());
        }
        assert!(start.elapsed() < Duration::from_secs(5));
        parked(0).await;
        // The port is free.
        UdpSocket::bind(address).await.unwrap();
    });
}

// Case C13.
#[test]
fn a_dropped_receive_leaves_the_datagram() {
    each(async || {
        let (here, there) = (socket().await, socket().await);
        let probe = Probe::new();
        let mut first = Box::pin(received(&there));
        assert!(probe.poll(first.as_mut()).is_pending());
        parked(1).await;
        here.send_to(b"for the next", there.local_addr().unwrap()).await.unwrap();
        probe.woken(1).await;
        // Woken for it, but never polled again.
        drop(first);
        assert_eq!(received(&there).await.unwrap(), b"for the next");

        let mut second = Box::pin(received(&there));
        assert!(probe.poll(second.as_mut()).is_pending());
        drop(second);
        parked(0).await;
        there.close().await.unwrap();
        probe.woken(1).await;
    });
}

#[test]
fn each_datagram_goes_to_one_of_many_receivers() {
    const RECEIVERS: usize = 8;
    const BURST: usize = 40;
    const BURSTS: usize = 10;
    each(async || {
        let (here, there) = (socket().await, socket().await);
        let seen = Arc::new((Counter::new(), Mutex::new(BTreeSet::new())));
        let tasks: Vec<_> = (0..RECEIVERS)
            .map(|_| {
                let (there, seen) = (there.clone(), seen.clone());
                spawn(async move {
                    loop {
                        let Ok(bytes) = received(&there).await else { return };
                        assert!(seen.1.lock().unwrap().insert(bytes), "twice");
                        seen.0.inc();
                    }
                })
            })
            .collect();
        parked(1).await;
        for burst in 0..BURSTS {
            for number in 0..BURST {
                let name = (burst * BURST + number).to_string();
                here.send_to(name.as_bytes(), there.local_addr().unwrap()).await.unwrap();
            }
            // No more than the receive buffer holds.
            until("all of the burst came", || seen.0.get() == (burst + 1) * BURST).await;
        }
        there.close().await.unwrap();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(seen.1.lock().unwrap().len(), BURST * BURSTS);
    });
}

#[test]
fn a_receive_that_need_not_wait_overtakes_waiters() {
    each(async || {
        let (here, there) = (socket().await, socket().await);
        let to = there.local_addr().unwrap();
        // Holds the direction, and takes nothing.
        let holder = spawn({
            let there = there.clone();
            async move { there.with_io(Interest::Read, |_| Err::<(), _>(ErrorKind::WouldBlock.into())).await }
        });
        parked(1).await;
        let mut queued = Box::pin(received(&there));
        assert!(Probe::new().poll(queued.as_mut()).is_pending());
        for round in 0..20 {
            here.send_to(b"taken at once", to).await.unwrap();
            let came = received(&there).await.unwrap();
            assert_eq!(came, b"taken at once", "round {round}");
        }
        there.close().await.unwrap();
        assert_closed(holder.await.unwrap());
        assert_closed(queued.await);
    });
}

#[test]
fn senders_do_not_wait_for_one_that_is_parked() {
    each(async || {
        let (here, there) = (socket().await, socket().await);
        let to = there.local_addr().unwrap();
        // It is as if the kernel had no room for its datagram.
        let stuck = spawn({
            let here = here.clone();
            async move { here.with_io(Interest::Write, |_| Err::<(), _>(ErrorKind::WouldBlock.into())).await }
        });
        parked(1).await;
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let here = here.clone();
                spawn(async move {
                    for _ in 0..20 {
                        assert_eq!(here.send_to(b"x", to).await.unwrap(), 1);
                    }
                    assert_eq!(here.send_batch(&[Datagram::to(b"y", to)]).await.unwrap(), 1);
                })
            })
            .collect();
        for sender in senders {
            sender.await.unwrap();
        }
        for _ in 0..4 * 21 {
            received(&there).await.unwrap();
        }
        assert!(!stuck.is_finished());
        here.close().await.unwrap();
        assert_closed(stuck.await.unwrap());
    });
}
