//! The endless loop of accepts: as a loop and as a stream, with and without free descriptors.

use std::collections::BTreeSet;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::common::own_process::with_few_descriptors;
use crate::common::*;
use futures_lite::StreamExt;
use netpoll_core::sync::Counter;
use netpoll_rt::internal::netpoll::fd_limit::FdWaiter;
use netpoll_rt::internal::sys::Poller;
use netpoll_rt::net::{AsyncFd, Incoming, TcpListener, TcpSocket, TcpStream};
use netpoll_rt::{JoinHandle, OpError, is_closed, spawn};

const EMFILE: i32 = 24;

/// Takes all descriptors that are left.
fn fill() -> Vec<File> {
    let mut files = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(EMFILE));
                return files;
            }
        }
    }
}

/// Polls the stream once.
fn poll(incoming: &mut Incoming<'_, TcpListener>, probe: &Arc<Probe>) -> Poll<Option<Accepted>> {
    probe.poll(pin!(poll_fn(|cx| incoming.poll_next(cx))))
}

type Accepted = io::Result<(TcpStream, SocketAddr)>;

/// Returns the connection of one poll.
#[track_caller]
fn now(incoming: &mut Incoming<'_, TcpListener>, probe: &Arc<Probe>) -> Accepted {
    match poll(incoming, probe) {
        Poll::Ready(Some(accepted)) => accepted,
        Poll::Ready(None) => panic!("the stream has ended"),
        Poll::Pending => panic!("pending, after {} attempts in vain", incoming.exhausted_count()),
    }
}

/// Polls whenever it is woken, until the given number of further attempts has failed.
async fn starve(incoming: &mut Incoming<'_, TcpListener>, probe: &Arc<Probe>, attempts: usize) {
    let reached = incoming.exhausted_count() + attempts;
    loop {
        let woken = probe.wakes.get();
        assert!(poll(incoming, probe).is_pending());
        if incoming.exhausted_count() >= reached {
            return assert_eq!(incoming.exhausted_count(), reached);
        }
        until("the timer wakes", || probe.wakes.get() > woken).await;
    }
}

// Case E03.
#[test]
fn a_connection_that_is_closed_is_room_for_the_next() {
    with_few_descriptors(async || {
        let (listener, (ours, _theirs)) = (listener().await, pair_with_std().await);
        let address = listener.local_addr().unwrap();
        let _clients: Vec<_> = (0..2).map(|_| StdStream::connect(address).unwrap()).collect();
        let late = TcpSocket::new_v4().unwrap();
        let (mut incoming, probe) = (listener.incoming(), Probe::new());
        let mut files = fill();
        let start = Instant::now();
        // Two at once, since something may have been freed before it was entered in the list; then the timer's.
        starve(&mut incoming, &probe, 10).await;
        // time is tested
        assert!(start.elapsed() >= Duration::from_millis(5 + 10 + 20 + 40 + 80 + 160 + 320 + 640));
        // The next attempt is a second away, if the machine is not late. A connection that comes is no reason for one.
        let tenth = Instant::now();
        let late_machine = || tenth.elapsed() > Duration::from_millis(900);
        let woken = probe.wakes.get();
        let _late = late.connect(address).await.unwrap();
        until("the connection wakes", || !Poller::EDGES || probe.wakes.get() > woken).await;
        assert!(poll(&mut incoming, &probe).is_pending());
        let attempts = incoming.exhausted_count();
        assert!(attempts == 10 || late_machine(), "{attempts}");
        let timers_fired = || netpoll_rt::Handle::try_current().unwrap().metrics().timers_fired;
        let (fired, woken) = (timers_fired(), probe.wakes.get());
        drop(ours);
        until("the close wakes", || probe.wakes.get() > woken).await;
        assert!(
            timers_fired() == fired || late_machine(),
            "it was the close, and not the timer a second later"
        );
        let first = now(&mut incoming, &probe).unwrap();
        assert_eq!(incoming.exhausted_count(), attempts, "the first attempt after it");
        // The timer finds a descriptor that other code has closed.
        starve(&mut incoming, &probe, 2).await;
        files.truncate(files.len() - 2);
        let second = loop {
            if let Poll::Ready(accepted) = poll(&mut incoming, &probe) {
                break accepted.unwrap().unwrap();
            }
            netpoll_rt::yield_now().await;
        };
        assert_eq!(incoming.exhausted_count(), attempts + 2);
        assert_ne!(first.1, second.1);
        // Plain accept says it once for each call.
        let _last = listener.accept().await.unwrap();
        files.extend(fill());
        for _ in 0..3 {
            let error = listener.accept().await.unwrap_err();
            let op = error.get_ref().unwrap().downcast_ref::<OpError>().unwrap();
            assert_eq!((op.op(), op.raw_os_error()), ("accept", Some(EMFILE)));
        }
    });
}

// Case E03.
#[test]
fn several_listeners_starve_and_go_on() {
    with_few_descriptors(async || {
        let room = [pair().await, pair().await];
        let listeners = [listener().await, listener().await];
        let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let _clients = addresses.map(|address| StdStream::connect(address).unwrap());
        let files = fill();
        let tasks = listeners.map(|listener| {
            spawn(async move {
                let mut incoming = listener.incoming();
                let accepted = incoming.next().await.map(|(_, peer)| peer);
                (accepted, incoming.exhausted_count())
            })
        });
        // They wait for the end of their listeners, for a descriptor and for the timer.
        parked(2).await;
        drop(room);
        for task in tasks {
            let (accepted, starved) = task.await.unwrap();
            assert!(accepted.is_ok() && (2..20).contains(&starved), "{accepted:?}, {starved} times");
        }
        drop(files);
    });
}

// Case E03.
#[test]
fn close_ends_a_loop_that_starves() {
    with_few_descriptors(async || {
        let (listener, other) = (listener().await, listener().await);
        let (mut incoming, mut waiting) = (listener.incoming(), other.incoming());
        let (probe, next) = (Probe::new(), Probe::new());
        let _files = fill();
        starve(&mut incoming, &probe, 9).await;
        {
            let mut waits = pin!(waiting.next());
            assert!(next.poll(waits.as_mut()).is_pending());
            let woken = probe.wakes.get();
            listener.close().await.unwrap();
            until("the close wakes", || probe.wakes.get() > woken).await;
            assert!(is_closed(&now(&mut incoming, &probe).unwrap_err()));
            assert!(matches!(poll(&mut incoming, &probe), Poll::Ready(None)), "once");
            assert!(matches!(poll(&mut incoming, &probe), Poll::Ready(None)));
            other.close().await.unwrap();
            let Poll::Ready(Err(error)) = next.poll(waits.as_mut()) else { panic!("no error") };
            assert!(is_closed(&error), "{error}");
        }
        assert_closed(waiting.next().await.map(drop));
    });
}

// Case E03.
#[test]
fn the_deadline_holds_for_a_loop_that_starves() {
    with_few_descriptors(async || {
        let (listener, room) = (listener().await, pair().await);
        let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut incoming, probe) = (listener.incoming(), Probe::new());
        let _files = fill();
        starve(&mut incoming, &probe, 9).await;
        let woken = probe.wakes.get();
        listener.set_deadline(past()).unwrap();
        until("the deadline wakes", || probe.wakes.get() > woken).await;
        assert_timed_out(now(&mut incoming, &probe).map(drop));
        assert_timed_out(incoming.next().await.map(drop));
        listener.set_deadline(None).unwrap();
        drop(room);
        assert_eq!(incoming.next().await.unwrap().1, client.local_addr().unwrap());
    });
}

#[test]
fn the_stream_of_connections_has_its_adapters() {
    each(async || {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..3).map(|_| StdStream::connect(address).unwrap()).collect();
        let accepted: Vec<_> = listener.incoming().take(3).try_collect().await.unwrap();
        for ((stream, peer), client) in accepted.iter().zip(&clients) {
            assert_eq!((*peer, stream.peer_addr().unwrap()), (client.local_addr().unwrap(), *peer));
        }
        let mut incoming = listener.incoming();
        assert_eq!(incoming.exhausted_count(), 0);
        assert!(format!("{incoming:?}").contains("exhausted_count: 0"), "{incoming:?}");
        listener.set_deadline(past()).unwrap();
        assert_timed_out(StreamExt::next(&mut incoming).await.unwrap().map(drop));
        listener.set_deadline(None).unwrap();
        let _client = StdStream::connect(address).unwrap();
        assert!(StreamExt::next(&mut incoming).await.unwrap().is_ok(), "it goes on after that");
    });
}

// Case C07.
#[test]
fn close_ends_the_loop_and_the_stream() {
    each(async || {
        let listener = Arc::new(listener().await);
        let looping = spawn({
            let listener = listener.clone();
            async move { listener.incoming().next().await.map(drop) }
        });
        let streaming = spawn({
            let listener = listener.clone();
            async move { listener.incoming().collect::<Vec<_>>().await }
        });
        // The loop's future holds the lock and is parked, or the stream is parked and the loop comes.
        parked(1).await;
        listener.close().await.unwrap();
        assert_closed(looping.await.unwrap());
        let mut ended = streaming.await.unwrap();
        assert_eq!(ended.len(), 1);
        assert_closed(ended.remove(0).map(drop));
    });
}

#[test]
fn an_incoming_that_is_dropped_loses_no_connection() {
    each(async || {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        for round in 0..20 {
            let probe = Probe::new();
            let mut incoming = listener.incoming();
            let client = if round % 2 == 0 {
                assert!(poll(&mut incoming, &probe).is_pending());
                let client = StdStream::connect(address).unwrap();
                probe.woken(1).await;
                client
            } else {
                let mut next = pin!(incoming.next());
                assert!(probe.poll(next.as_mut()).is_pending());
                let client = StdStream::connect(address).unwrap();
                probe.woken(1).await;
                client
            };
            drop(incoming);
            let (_stream, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
    });
}

#[test]
fn only_what_was_in_use_makes_room() {
    each(async || {
        let (room, probe) = (pair().await, Probe::new());
        let waker = Waker::from(probe.clone());
        let mut wish = FdWaiter::default();
        assert!(wish.register(&waker), "it comes anew");
        assert!(!wish.register(&waker));
        // A descriptor that could not be watched: were that room, an accept that fails so would go on at once.
        AsyncFd::new(File::open("/etc/passwd").unwrap()).unwrap_err();
        assert!(!wish.register(&waker) && probe.wakes.get() == 0);
        room.0.close().await.unwrap();
        assert_eq!(probe.wakes.get(), 1);
        drop(room);
        assert_eq!(probe.wakes.get(), 1, "told once");
        assert!(wish.register(&waker), "and entered anew");
        let other = Probe::new();
        assert!(!wish.register(&Waker::from(other.clone())), "the last waker counts");
        drop(pair().await);
        assert!(other.wakes.get() == 1 && probe.wakes.get() == 1);
        assert!(wish.register(&waker));
        drop(wish);
        drop(pair().await);
        assert_eq!(probe.wakes.get(), 1, "withdrawn");
    });
}

/// Accepts in one of three ways until the listener is closed; gives the peers.
fn acceptor(listener: &Arc<TcpListener>, way: usize, taken: &Arc<Counter>) -> JoinHandle<Vec<SocketAddr>> {
    let (listener, taken) = (listener.clone(), taken.clone());
    spawn(async move {
        let (mut incoming, mut peers) = (listener.incoming(), Vec::new());
        loop {
            let accepted = match way % 3 {
                0 => listener.accept().await,
                1 => incoming.next().await,
                _ => StreamExt::next(&mut incoming).await.unwrap(),
            };
            match accepted {
                Ok((_, peer)) => peers.push(peer),
                Err(error) if is_closed(&error) => return peers,
                Err(error) => panic!("{error}"),
            }
            taken.inc();
        }
    })
}

#[test]
fn loops_streams_and_plain_accepts_share_a_listener() {
    each(async || {
        const CLIENTS: usize = 300;
        let listener = Arc::new(listener().await);
        let address = listener.local_addr().unwrap();
        let taken = Arc::new(Counter::new());
        let acceptors: Vec<_> = (0..6).map(|way| acceptor(&listener, way, &taken)).collect();
        let mut expected = BTreeSet::new();
        for burst in 0..CLIENTS / 10 {
            let clients: Vec<_> = (0..10).map(|_| StdStream::connect(address).unwrap()).collect();
            expected.extend(clients.iter().map(|client| client.local_addr().unwrap()));
            until("all are accepted", || taken.get() == (burst + 1) * 10).await;
        }
        listener.close().await.unwrap();
        let mut peers = Vec::new();
        for acceptor in acceptors {
            peers.extend(acceptor.await.unwrap());
        }
        assert_eq!(peers.len(), CLIENTS);
        assert!(peers.iter().all(|peer| expected.contains(peer)));
    });
}
