//! Several tasks on one direction of one stream: served in order, also if one gives up, and woken with an error by close.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::common::*;
use netpoll_core::Mode;
use netpoll_core::sync::Counter;
use netpoll_rt::internal::fd::{Fd, FdKind};
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::internal::sys::socket;
use netpoll_rt::net::TcpStream;
use netpoll_rt::{spawn, yield_now};

type Read<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<u8>>> + 'a>>;

/// Creates this many reads of one byte, each polled once, so that they are parked or queued in this order.
fn queue(stream: &TcpStream, n: usize) -> (Vec<Arc<Probe>>, Vec<Read<'_>>) {
    let probes: Vec<_> = (0..n).map(|_| Probe::new()).collect();
    let mut reads: Vec<Read<'_>> = (0..n).map(|_| Box::pin(one_byte(stream)) as Read<'_>).collect();
    for (probe, read) in probes.iter().zip(&mut reads) {
        assert!(probe.poll(read.as_mut()).is_pending());
    }
    (probes, reads)
}

async fn one_byte(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut byte = [0];
    stream.read(&mut byte).await?;
    Ok(byte.to_vec())
}

#[track_caller]
fn ready(polled: Poll<io::Result<Vec<u8>>>) -> u8 {
    let Poll::Ready(Ok(bytes)) = polled else { panic!("{polled:?}") };
    bytes[0]
}

#[test]
fn queued_readers_are_served_in_order() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (probes, mut reads) = queue(&stream, 5);
        peer.write_all(b"abcde").unwrap();
        for (i, byte) in (b'a'..=b'e').enumerate() {
            probes[i].woken(1).await;
            assert!(probes[i + 1..].iter().all(|probe| probe.wakes.get() == 0), "nobody barges in");
            assert_eq!(ready(probes[i].poll(reads[i].as_mut())), byte);
        }
    });
}

#[test]
fn queued_tasks_are_served_in_order() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        // One that is parked first, so that the others queue in the order in which they are started.
        for who in 0..8 {
            let (stream, served, started) = (stream.clone(), served.clone(), Gate::new());
            let (gate, mut read) = (started.clone(), false);
            tasks.push(spawn(async move {
                let mut future = Box::pin(one_byte(&stream));
                let byte = std::future::poll_fn(|cx| {
                    let polled = future.as_mut().poll(cx);
                    if !std::mem::replace(&mut read, true) {
                        started.open();
                    }
                    polled
                });
                let byte = byte.await.unwrap()[0];
                served.lock().unwrap().push((who, byte));
            }));
            gate.wait().await;
        }
        peer.write_all(b"01234567").unwrap();
        for task in tasks {
            task.await.unwrap();
        }
        let mut served = served.lock().unwrap().clone();
        served.sort_unstable();
        assert!(served.iter().all(|(who, byte)| *byte == b'0' + who), "{served:?}");
    });
}

#[test]
fn a_queued_reader_that_is_dropped_is_passed_over() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (probes, mut reads) = queue(&stream, 4);
        drop(reads.remove(1));
        assert_eq!(Arc::strong_count(&probes[1]), 1, "its waker is gone with it");
        peer.write_all(b"abc").unwrap();
        for (read, (i, byte)) in reads.iter_mut().zip([(0, b'a'), (2, b'b'), (3, b'c')]) {
            probes[i].woken(1).await;
            assert_eq!(ready(probes[i].poll(read.as_mut())), byte);
        }
        assert_eq!(probes[1].wakes.get(), 0);
    });
}

#[test]
fn one_that_is_dropped_after_it_was_handed_the_lock_passes_it_on() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (probes, mut reads) = queue(&stream, 3);
        peer.write_all(b"ab").unwrap();
        probes[0].woken(1).await;
        assert_eq!(ready(probes[0].poll(reads[0].as_mut())), b'a');
        assert_eq!([probes[1].wakes.get(), probes[2].wakes.get()], [1, 0], "handed to the second");
        drop(reads.remove(1));
        assert_eq!(probes[2].wakes.get(), 1, "who passes it on");
        assert_eq!(ready(probes[2].poll(reads[1].as_mut())), b'b');
        assert_eq!(one_byte_now(&stream), None, "the lock is free again, and nothing is left");
    });
}

/// Returns the byte of a read that is ready at its first poll.
fn one_byte_now(stream: &TcpStream) -> Option<u8> {
    let mut read = Box::pin(one_byte(stream));
    match Probe::new().poll(read.as_mut()) {
        Poll::Ready(result) => Some(result.unwrap()[0]),
        Poll::Pending => None,
    }
}

#[test]
fn the_parked_reader_that_is_dropped_hands_the_lock_on() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (probes, mut reads) = queue(&stream, 3);
        drop(reads.remove(0));
        assert_eq!([probes[1].wakes.get(), probes[2].wakes.get()], [1, 0]);
        assert!(probes[1].poll(reads[0].as_mut()).is_pending());
        peer.write_all(b"a").unwrap();
        probes[1].woken(2).await;
        assert_eq!(ready(probes[1].poll(reads[0].as_mut())), b'a');
    });
}

#[test]
fn close_throws_all_out_once() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        let (probes, mut reads) = queue(&stream, 6);
        let mut close = Box::pin(stream.close());
        let closing = Probe::new();
        assert!(closing.poll(close.as_mut()).is_pending(), "the parked one still holds the number");
        assert!(probes.iter().all(|probe| probe.wakes.get() == 1));
        for (probe, read) in probes.iter().zip(&mut reads).rev() {
            let Poll::Ready(result) = probe.poll(read.as_mut()) else { panic!("still pending") };
            assert_closed(result);
        }
        assert!(matches!(closing.poll(close.as_mut()), Poll::Ready(Ok(()))));
        assert!(probes.iter().all(|probe| probe.wakes.get() == 1));
    });
}

#[test]
fn a_deadline_throws_all_out_one_after_the_other() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        let tasks: Vec<_> = (0..6).map(|_| reader(&stream)).collect();
        parked(1).await;
        stream.set_read_deadline(past()).unwrap();
        for task in tasks {
            assert_timed_out(task.await.unwrap());
        }
        parked(0).await;
    });
}

#[test]
fn a_queued_reader_moves_to_another_task() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (probes, mut reads) = queue(&stream, 2);
        // Polled again from elsewhere: the new waker counts, the old one is forgotten.
        let elsewhere = Probe::new();
        assert!(elsewhere.poll(reads[1].as_mut()).is_pending());
        assert_eq!(Arc::strong_count(&probes[1]), 1);
        peer.write_all(b"ab").unwrap();
        probes[0].woken(1).await;
        assert_eq!(ready(probes[0].poll(reads[0].as_mut())), b'a');
        assert_eq!((probes[1].wakes.get(), elsewhere.wakes.get()), (0, 1));
        assert_eq!(ready(elsewhere.poll(reads[1].as_mut())), b'b');
    });
}

#[test]
fn messages_of_several_writers_do_not_mix() {
    const WRITERS: u8 = 6;
    const LENGTH: usize = 300_000;
    each(async || {
        let (stream, peer) = pair().await;
        let tasks: Vec<_> = (0..WRITERS)
            .map(|who| {
                let stream = stream.clone();
                spawn(async move {
                    for _ in 0..2 {
                        stream.write_all(&vec![who; LENGTH]).await.unwrap();
                    }
                })
            })
            .collect();
        for _ in 0..2 * WRITERS {
            let mut message = vec![0; LENGTH];
            peer.read_exact(&mut message).await.unwrap();
            assert!(message.iter().all(|byte| *byte == message[0]), "whole messages");
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn readers_that_come_and_go_lose_neither_lock_nor_byte() {
    each(async || {
        let (stream, peer) = pair().await;
        let got = Arc::new(Counter::new());
        let tasks: Vec<_> = (0..8_u64)
            .map(|seed| {
                let (stream, got) = (stream.clone(), got.clone());
                spawn(async move {
                    let mut random = fastrand::Rng::with_seed(seed);
                    loop {
                        let mut read = Box::pin(one_byte(&stream));
                        let patience = random.u32(0..4);
                        match give_up_after(patience, &mut read).await {
                            Some(Ok(byte)) if byte == b"." => return,
                            Some(result) => drop((result.unwrap(), got.inc())),
                            None => {}
                        }
                    }
                })
            })
            .collect();
        for _ in 0..100 {
            peer.write_all(b"xx").await.unwrap();
            yield_now().await;
        }
        peer.write_all(b"........").await.unwrap();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(got.get(), 200);
    });
}

/// Polls a future a few times, with a turn for the other tasks in between; returns `None` if it is still pending.
async fn give_up_after<F: Future>(polls: u32, future: &mut Pin<Box<F>>) -> Option<F::Output> {
    for _ in 0..=polls {
        if let Poll::Ready(value) = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return Some(value);
        }
        yield_now().await;
    }
    None
}

/// Does something to the stream that it was woken for.
struct Reenters {
    stream: Arc<TcpStream>,
    act: fn(&TcpStream),
    wakes: Counter,
}

impl Wake for Reenters {
    fn wake(self: Arc<Self>) {
        self.wakes.inc();
        (self.act)(&self.stream);
    }
}

#[test]
fn a_waker_may_use_the_stream_that_wakes_it() {
    let acts: [fn(&TcpStream); 5] = [
        |stream| stream.set_deadline(None).unwrap_or(()),
        |stream| stream.set_deadline(past()).unwrap_or(()),
        |stream| drop(Probe::new().poll(Box::pin(stream.close()).as_mut())),
        |stream| drop(Probe::new().poll(Box::pin(one_byte(stream)).as_mut())),
        |stream| drop(stream.shutdown(std::net::Shutdown::Both)),
    ];
    each(async || {
        for act in acts {
            for cause in 0..4 {
                let (stream, mut peer) = pair_with_std().await;
                let waker = Arc::new(Reenters { stream: stream.clone(), act, wakes: Counter::new() });
                let as_waker = Waker::from(waker.clone());
                // The first is woken by the cause, the second by being handed the lock, or by close.
                let mut reads = [Box::pin(one_byte(&stream)), Box::pin(one_byte(&stream))];
                for read in &mut reads {
                    assert!(read.as_mut().poll(&mut Context::from_waker(&as_waker)).is_pending());
                }
                match cause {
                    0 => peer.write_all(b"x").unwrap(),
                    1 => stream.set_read_deadline(past()).unwrap(),
                    2 => stream.set_read_deadline(in_ms(1)).unwrap(),
                    _ => drop(Probe::new().poll(Box::pin(stream.close()).as_mut())),
                }
                until("the waker has run", || waker.wakes.get() > 0).await;
                drop(reads);
            }
        }
    });
}

#[test]
fn one_connection_costs_ten_acceptors_three_calls() {
    each(async || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let netpoll = Netpoll::current().unwrap();
        let (fd, calls) = (Fd::new(netpoll, OwnedFd::from(listener), FdKind::Other).unwrap(), Cell::new(0));
        let accept = || {
            fd.run(Mode::Read, |fd| {
                calls.set(calls.get() + 1);
                socket::accept(fd)
            })
        };
        let probes: Vec<_> = (0..10).map(|_| Probe::new()).collect();
        let mut accepts: Vec<_> = (0..10).map(|_| Box::pin(accept())).collect();
        for (probe, accept) in probes.iter().zip(&mut accepts) {
            assert!(probe.poll(accept.as_mut()).is_pending());
        }
        assert_eq!(calls.get(), 1, "nine queue without asking the kernel");
        let _client = std::net::TcpStream::connect(address).unwrap();
        probes[0].woken(1).await;
        assert!(matches!(probes[0].poll(accepts[0].as_mut()), Poll::Ready(Ok(_))));
        assert!(probes[1].poll(accepts[1].as_mut()).is_pending());
        assert_eq!(calls.get(), 3, "the one that got it, and the next that looks");
    });
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker of others");
    }
}

/// Queued tasks are told of a new deadline by their wakers, which leave the queue for that.
#[test]
fn a_waker_that_panics_at_a_new_deadline_delays_no_other_waiter() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (probes, mut reads) = queue(&stream, 1);
        let mut silent = pin!(one_byte(&stream));
        let hostile = Waker::from(Arc::new(Panics));
        assert!(silent.as_mut().poll(&mut Context::from_waker(&hostile)).is_pending());
        let (behind, mut others) = queue(&stream, 1);

        stream.set_read_deadline(in_ms(3_600_000)).unwrap();
        behind[0].woken(1).await;
        assert!(behind[0].poll(others[0].as_mut()).is_pending());
        peer.write_all(b"abc").unwrap();
        probes[0].woken(1).await;
        assert_eq!(ready(probes[0].poll(reads[0].as_mut())), b'a');
        behind[0].woken(2).await;
        assert_eq!(ready(behind[0].poll(others[0].as_mut())), b'b');
        // It still comes, and queues again.
        assert_eq!(ready(Probe::new().poll(silent)), b'c');
    });
}
