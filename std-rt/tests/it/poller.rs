//! The poller behind real sockets: edges, generations, breaks and batches, and no task is forgotten.

use std::cell::Cell;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream as StdStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_core::Mode;
use netpoll_rt::internal::fd::{Fd, FdKind};
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::internal::sys::socket;
use netpoll_rt::net::TcpStream;
use netpoll_rt::time::{sleep, timeout};
use netpoll_rt::{Handle, spawn};

/// Returns a socket pair, one end of it watched and known to be writable.
async fn watched() -> (Fd, UnixStream) {
    let events = Handle::try_current().unwrap().metrics().events;
    let (ours, peer) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let fd = Fd::new(Netpoll::current().unwrap(), OwnedFd::from(ours), FdKind::Other).unwrap();
    until("it is watched", || Handle::try_current().unwrap().metrics().events > events).await;
    (fd, peer)
}

async fn read_fd(fd: &Fd) -> Vec<u8> {
    let mut buffer = vec![0; 64];
    let n = fd.read(false, |fd| socket::read(fd, &mut buffer)).await.unwrap();
    buffer.truncate(n);
    buffer
}

// Case F02.
#[test]
fn readiness_of_the_last_owner_is_not_the_next_owners() {
    each(async || {
        for _ in 0..200 {
            // An event is on its way when the descriptor goes, and its number and its slot are used again.
            let (stream, mut peer) = pair_with_std().await;
            peer.write_all(b"stale").unwrap();
            drop(stream);
            let (stream, mut peer) = pair_with_std().await;
            let read = reader(&stream);
            parked(1).await;
            peer.write_all(b"fresh").unwrap();
            assert_eq!(read.await.unwrap().unwrap(), b"fresh");
            parked(0).await;
        }
    });
}

// Case F05.
#[test]
fn a_duplicate_that_lives_on_does_no_harm() {
    each(async || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let duplicate = socket.try_clone().unwrap();
        let netpoll = Netpoll::current().unwrap();
        let fd = Fd::new(netpoll.clone(), OwnedFd::from(socket), FdKind::ByteStream).unwrap();
        until("it is watched", || netpoll.counts().events.get() > 0).await;
        fd.close().await.unwrap();
        drop(fd);
        // The open file lives: an interest left behind would report this again and again, and no task would take it.
        let events = netpoll.counts().events.get();
        peer.write_all(b"for the duplicate").unwrap();
        let fd = Fd::new(netpoll.clone(), OwnedFd::from(duplicate), FdKind::ByteStream).unwrap();
        assert_eq!(read_fd(&fd).await, b"for the duplicate");
        sleep(Duration::from_millis(20)).await; // time is tested
        assert!(netpoll.counts().events.get() - events < 10, "no busy loop");
        assert_eq!(netpoll.counts().stale_events.get(), 0, "nothing is watched under the old key");
    });
}

// Case F08.
#[test]
fn what_cannot_be_polled_is_refused_and_leaves_nothing() {
    each(async || {
        let netpoll = Netpoll::current().unwrap();
        let file = std::env::current_exe().unwrap();
        let paths = [file.as_path(), "/proc/self/stat".as_ref(), "/dev/null".as_ref(), "/".as_ref()];
        for path in kernel::existing(paths) {
            let before = open_descriptors();
            let opened = File::open(path).unwrap();
            match netpoll.open(opened.as_fd()) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{path:?}"),
                Ok(slot) => {
                    // Some kernels poll some files of /proc.
                    slot.evict();
                    slot.deregister(opened.as_fd());
                    drop(slot);
                }
            }
            assert!(Fd::new(netpoll.clone(), File::open(&file).unwrap().into(), FdKind::Other).is_err());
            drop(opened);
            assert_eq!((netpoll.descriptors(), open_descriptors()), (0, before), "{path:?}");
        }
    });
}

// Case F09.
#[test]
fn more_are_ready_than_fit_into_one_poll() {
    const N: usize = 400;
    each(async || {
        let (mut readers, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..N {
            let (fd, peer) = watched().await;
            readers.push(spawn(async move { read_fd(&fd).await }));
            peers.push(peer);
        }
        parked(N).await;
        for peer in &mut peers {
            peer.write_all(b"ready").unwrap();
        }
        for reader in readers {
            assert_eq!(reader.await.unwrap(), b"ready");
        }
        parked(0).await;
    });
}

// Case F15.
#[test]
fn bytes_that_are_there_before_the_first_read() {
    each(async || {
        let handle = Handle::try_current().unwrap();
        let (fd, mut peer) = watched().await;
        let events = handle.metrics().events;
        peer.write_all(b"early").unwrap();
        reported(events).await;
        let (probe, mut read) = (Probe::new(), Box::pin(read_fd(&fd)));
        let polled = probe.poll(read.as_mut());
        assert_eq!(polled, Poll::Ready(b"early".to_vec()), "it does not park");
        // The readiness that the edge left behind is no reason to lose the next one.
        let mut read = Box::pin(read_fd(&fd));
        assert!(probe.poll(read.as_mut()).is_pending());
        assert_eq!((handle.waiters(), probe.wakes.get()), (1, 0));
        peer.write_all(b"later").unwrap();
        probe.woken(1).await;
        assert_eq!(probe.poll(read.as_mut()), Poll::Ready(b"later".to_vec()));
    });
}

// Case F17.
#[test]
fn two_waiters_in_one_direction_are_served_one_after_the_other() {
    each(async || {
        let (fd, mut peer) = watched().await;
        let probes = [Probe::new(), Probe::new()];
        let mut reads = [Box::pin(read_fd(&fd)), Box::pin(read_fd(&fd))];
        for (probe, read) in probes.iter().zip(&mut reads) {
            assert!(probe.poll(read.as_mut()).is_pending());
        }
        assert_eq!(Handle::try_current().unwrap().waiters(), 1, "the other one queues for the lock");
        peer.write_all(b"one").unwrap();
        probes[0].woken(1).await;
        assert_eq!(probes[0].poll(reads[0].as_mut()), Poll::Ready(b"one".to_vec()));
        // With its end the lock goes to the next task, which finds nothing and parks.
        assert_eq!(probes[1].wakes.get(), 1);
        assert!(probes[1].poll(reads[1].as_mut()).is_pending());
        peer.write_all(b"two").unwrap();
        probes[1].woken(2).await;
        assert_eq!(probes[1].poll(reads[1].as_mut()), Poll::Ready(b"two".to_vec()));
    });
}

// Case F24.
#[test]
fn many_connections_and_random_sizes() {
    const CONNECTIONS: u64 = 40;
    each(async || {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        let server = spawn(async move {
            for _ in 0..CONNECTIONS {
                let (stream, _) = listener.accept().await.unwrap();
                drop(spawn(echo(stream)));
            }
        });
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|seed| {
                spawn(async move {
                    let (mut random, mut total) = (fastrand::Rng::with_seed(seed), 0);
                    let stream = TcpStream::connect(address).await.unwrap();
                    for _ in 0..20 {
                        let sent: Vec<u8> =
                            (0..random.usize(1..20_000)).map(|i| (i as u64 ^ seed) as u8).collect();
                        stream.write_all(&sent).await.unwrap();
                        let mut got = vec![0; sent.len()];
                        stream.read_exact(&mut got).await.unwrap();
                        assert!(got == sent);
                        total += sent.len();
                    }
                    total
                })
            })
            .collect();
        server.await.unwrap();
        for client in clients {
            assert!(client.await.unwrap() > 20);
        }
    });
}

async fn echo(stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        stream.write_all(&buffer[..n]).await.unwrap();
    }
}

// Case F25.
#[test]
fn both_directions_of_one_stream_at_full_speed() {
    const BYTES: usize = 8 << 20;
    on(&[1, 2, 4], async || {
        let (a, b) = pair().await;
        let send = |stream: &Arc<TcpStream>, seed: usize| {
            let stream = stream.clone();
            spawn(async move {
                let chunk: Vec<u8> = (0..1 << 16).map(|i| (i % 253 + seed) as u8).collect();
                for _ in 0..BYTES >> 16 {
                    stream.write_all(&chunk).await.unwrap();
                }
            })
        };
        let receive = |stream: &Arc<TcpStream>, seed: usize| {
            let stream = stream.clone();
            spawn(async move {
                let (mut buffer, mut at) = (vec![0; 50_000], 0);
                while at < BYTES {
                    let n = stream.read(&mut buffer).await.unwrap();
                    let wrong = (0..n).find(|i| buffer[*i] != ((at + i) % (1 << 16) % 253 + seed) as u8);
                    assert_eq!(wrong, None, "at {at}");
                    at += n;
                }
            })
        };
        for task in [send(&a, 1), send(&b, 2), receive(&a, 2), receive(&b, 1)] {
            task.await.unwrap();
        }
    });
}

// Case F26.
#[test]
fn a_readiness_outlives_the_future_that_it_woke() {
    each(async || {
        for _ in 0..50 {
            let (stream, mut peer) = pair_with_std().await;
            let (probe, mut buffer) = (Probe::new(), [0; 8]);
            let mut read = Box::pin(stream.read(&mut buffer));
            assert!(probe.poll(read.as_mut()).is_pending());
            peer.write_all(b"kept").unwrap();
            probe.woken(1).await;
            drop(read);
            let again = timeout(LIMIT / 4, read_once(&stream)).await;
            assert_eq!(again.unwrap().unwrap(), b"kept", "without a new edge");
        }
    });
}

// Case F26.
#[test]
fn so_it_does_after_a_short_read() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        for _ in 0..50 {
            peer.write_all(b"short").unwrap();
            assert_eq!(read_once(&stream).await.unwrap(), b"short");
            let (probe, mut buffer) = (Probe::new(), [0; 8]);
            // The first poll of this one makes no call, and the second never happens.
            let mut read = Box::pin(stream.read(&mut buffer));
            assert!(probe.poll(read.as_mut()).is_pending());
            peer.write_all(b"kept").unwrap();
            probe.woken(1).await;
            drop(read);
            let again = timeout(LIMIT / 4, read_once(&stream)).await;
            assert_eq!(again.unwrap().unwrap(), b"kept");
        }
    });
}

// Case F27.
#[test]
fn a_break_an_edge_and_a_timer_at_the_same_time() {
    each(async || {
        for _ in 0..50 {
            let (stream, mut peer) = pair_with_std().await;
            let read = reader(&stream);
            let slept = spawn(sleep(Duration::from_millis(2))); // time is tested
            parked(1).await;
            let handle = Handle::try_current().unwrap();
            let thread = std::thread::spawn(move || {
                // From outside of the runtime: both need a break if the poller sleeps.
                let at = Instant::now() + Duration::from_millis(1);
                until_blocking("it is time", || Instant::now() >= at);
                let task = handle.spawn(async { 1 });
                peer.write_all(b"edge").unwrap();
                (task, peer)
            });
            assert_eq!(read.await.unwrap().unwrap(), b"edge");
            slept.await.unwrap();
            let (task, _peer) = thread.join().unwrap();
            assert_eq!(task.await.unwrap(), 1);
        }
    });
}

// Case F28.
#[test]
fn fifty_clients_and_one_edge() {
    each(async || {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        let mut clients: Vec<_> = (0..50).map(|_| StdStream::connect(address).unwrap()).collect();
        let mut accepted = Vec::new();
        for _ in 0..50 {
            accepted.push(timeout(LIMIT / 4, listener.accept()).await.unwrap().unwrap());
        }
        for ((stream, peer), client) in accepted.iter().zip(&mut clients) {
            assert_eq!(*peer, client.local_addr().unwrap());
            stream.write_all(b"hello").await.unwrap();
            client.read_exact(&mut [0; 5]).unwrap();
        }
    });
}

// Case F29.
#[test]
fn a_writer_goes_on_where_the_peer_makes_room() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let write = writer(&stream);
        parked(1).await;
        let thread = std::thread::spawn(move || {
            // More than both buffers hold.
            let mut got = vec![0; 16 << 20];
            peer.read_exact(&mut got).unwrap();
            peer
        });
        until("the peer has read", || thread.is_finished()).await;
        let _peer = thread.join().unwrap();
        parked(1).await;
        stream.close().await.unwrap();
        assert!(write.await.unwrap().0 >= 16 << 20);
    });
}

// Case F30.
#[test]
fn a_write_readiness_of_long_ago_costs_one_more_call() {
    each(async || {
        let (fd, _peer) = watched().await;
        // Past the poller, which remembers the room that there was.
        fd.with(|fd| {
            while socket::send(fd, &[0; 4096]).is_ok() {}
            Ok(())
        })
        .unwrap();
        let (probe, calls) = (Probe::new(), Cell::new(0));
        let mut write = Box::pin(fd.run(Mode::Write, |fd| {
            calls.set(calls.get() + 1);
            socket::send(fd, b"more")
        }));
        assert!(probe.poll(write.as_mut()).is_pending());
        assert_eq!(calls.get(), 2);
        assert!(probe.poll(write.as_mut()).is_pending());
        assert_eq!((calls.get(), probe.wakes.get()), (2, 0), "parked, and no spin");
    });
}
