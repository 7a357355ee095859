//! Close: every waiting task is woken with an error, the number is free when close returns, and the peer's close is seen.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, TcpListener as StdListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::internal::sys::sockopt;
use netpoll_rt::net::{TcpListener, TcpSocket, TcpStream};
use netpoll_rt::{Handle, is_closed, spawn, yield_now};

// Case C01.
#[test]
fn a_closed_stream_says_so() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        stream.close().await.unwrap();
        assert_closed(stream.close().await);
        assert_closed(stream.read(&mut [0]).await);
        assert_closed(stream.read(&mut []).await);
        assert_closed(stream.peek(&mut [0]).await);
        assert_closed(stream.read_exact(&mut [0]).await);
        assert_closed(stream.write(b"x").await);
        assert_closed(stream.write_all(b"x").await);
        assert_closed(stream.set_deadline(in_ms(5)));
        assert_closed(stream.shutdown(Shutdown::Write));
        assert_closed(stream.set_nodelay(true));
        assert_closed(stream.local_addr());
        assert_closed(stream.peer_addr());
    });
}

// Case C02.
#[test]
fn a_closed_listener_says_so() {
    each(async || {
        let listener = listener().await;
        listener.close().await.unwrap();
        assert_closed(listener.close().await);
        assert_closed(listener.accept().await);
        assert_closed(listener.set_deadline(None));
        assert_closed(listener.local_addr());
    });
}

// Case C04.
#[test]
fn the_peers_close_wakes_a_reader() {
    each(async || {
        let (stream, peer) = pair_with_std().await;
        let read = reader(&stream);
        parked(1).await;
        drop(peer);
        assert_eq!(read.await.unwrap().unwrap(), b"");
        assert!(stream.peer_closed());
        assert_eq!(read_once(&stream).await.unwrap(), b"", "and again");
    });
}

// Case C05.
#[test]
fn close_wakes_a_reader_within_a_turn() {
    each(async || {
        for _ in 0..50 {
            let (stream, _peer) = pair_with_std().await;
            let read = reader(&stream);
            parked(1).await;
            let start = Instant::now();
            stream.close().await.unwrap();
            // The number is free, so the reader has let go of it: it has had its turn.
            assert_closed(read.await.unwrap());
            assert!(start.elapsed() < Duration::from_secs(5));
        }
    });
}

// Case C05.
#[test]
fn a_drop_of_the_other_handles_is_no_close() {
    each(async || {
        let (stream, peer) = pair().await;
        let read = reader(&stream);
        parked(1).await;
        drop(stream);
        peer.write_all(b"the task's own").await.unwrap();
        assert_eq!(read.await.unwrap().unwrap(), b"the task's own");
    });
}

// Case C07.
#[test]
fn ten_acceptors_a_hundred_clients() {
    each(async || {
        let listener = Arc::new(listener().await);
        let address = listener.local_addr().unwrap();
        let acceptors: Vec<_> = (0..10)
            .map(|_| {
                let listener = listener.clone();
                spawn(async move {
                    let mut accepted = 0;
                    loop {
                        match listener.accept().await {
                            Ok(_) => accepted += 1,
                            Err(error) => return (accepted, is_closed(&error)),
                        }
                    }
                })
            })
            .collect();
        let clients: Vec<_> = (0..100).map(|_| spawn(TcpStream::connect(address))).collect();
        for client in clients {
            // Accepted and closed by the other side: a byte that never comes.
            assert_eq!(client.await.unwrap().unwrap().read(&mut [0]).await.unwrap(), 0);
        }
        listener.close().await.unwrap();
        let mut total = 0;
        for acceptor in acceptors {
            let (accepted, closed) = acceptor.await.unwrap();
            assert!(closed);
            total += accepted;
        }
        assert_eq!(total, 100);
    });
}

// Case C08.
#[test]
fn closed_means_that_the_port_is_free() {
    each(async || {
        for _ in 0..30 {
            let listener = Arc::new(TcpListener::bind(own_address()).await.unwrap());
            let address = listener.local_addr().unwrap();
            let acceptor = spawn({
                let listener = listener.clone();
                async move { listener.accept().await }
            });
            parked(1).await;
            listener.close().await.unwrap();
            // Without SO_REUSEADDR: a port that is still bound would refuse.
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(address).unwrap();
            drop(socket.listen(1).unwrap());
            assert_closed(acceptor.await.unwrap());
        }
    });
}

// Case C08.
#[test]
fn close_waits_until_the_last_operation_has_let_go() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let probe = Probe::new();
        let mut buffer = [0; 8];
        let mut read = Box::pin(stream.read(&mut buffer));
        assert!(probe.poll(read.as_mut()).is_pending());
        let closing = Probe::new();
        let mut close = Box::pin(stream.close());
        assert!(closing.poll(close.as_mut()).is_pending(), "the read holds the number");
        assert_eq!(probe.wakes.get(), 1, "it is told at once");
        assert_closed(stream.close().await);
        drop(read);
        assert_eq!(closing.wakes.get(), 1);
        assert!(matches!(closing.poll(close.as_mut()), Poll::Ready(Ok(()))));
        assert_eq!(uninterrupted(|| peer.read(&mut [0; 8])).unwrap(), 0, "the socket itself is closed");
    });
}

// Case C08.
#[test]
fn a_close_that_is_dropped_goes_on() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let read = reader(&stream);
        parked(1).await;
        let probe = Probe::new();
        {
            let mut close = Box::pin(stream.close());
            // With several workers the reader may be gone before the close asks.
            let _ = probe.poll(close.as_mut());
        }
        assert_closed(read.await.unwrap());
        assert_eq!(uninterrupted(|| peer.read(&mut [0; 8])).unwrap(), 0);
    });
}

// Case C10.
#[test]
fn close_throws_both_directions_out_once() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        let (read, write) = (reader(&stream), writer(&stream));
        parked(2).await;
        stream.close().await.unwrap();
        assert_closed(read.await.unwrap());
        let (written, error) = write.await.unwrap();
        assert!(written > 0);
        assert_closed(Err::<(), _>(error));
        parked(0).await;
    });
}

// Case C10.
#[test]
fn each_waker_is_woken_exactly_once() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        fill(&stream).await;
        // A turn of its own: to wait since the turn's operations are spent is not to be parked.
        yield_now().await;
        let (probes, mut buffer) = ([Probe::new(), Probe::new()], [0; 8]);
        let mut read = Box::pin(stream.read(&mut buffer));
        let mut write = Box::pin(stream.write(b"x"));
        assert!(probes[0].poll(read.as_mut()).is_pending());
        // The kernel may have found room after it had said that there was none.
        while let Poll::Ready(written) = probes[1].poll(write.as_mut()) {
            written.unwrap();
            yield_now().await;
            write = Box::pin(stream.write(&[0; 1024]));
        }
        let mut close = Box::pin(stream.close());
        let closing = Probe::new();
        assert!(closing.poll(close.as_mut()).is_pending());
        let Poll::Ready(read) = probes[0].poll(read.as_mut()) else { panic!("still pending") };
        let Poll::Ready(write) = probes[1].poll(write.as_mut()) else { panic!("still pending") };
        assert_closed(read);
        assert_closed(write);
        assert!(closing.poll(close.as_mut()).is_ready());
        assert_eq!(probes.map(|probe| probe.wakes.get()), [1, 1]);
        assert_eq!(Handle::try_current().unwrap().waiters(), 0);
    });
}

// Case C13.
#[test]
fn a_dropped_future_takes_its_waker_along() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (probe, mut buffer) = (Probe::new(), [0; 8]);
        let mut read = Box::pin(stream.read(&mut buffer));
        assert!(probe.poll(read.as_mut()).is_pending());
        assert_eq!((Arc::strong_count(&probe), Handle::try_current().unwrap().waiters()), (2, 1));
        drop(read);
        assert_eq!((Arc::strong_count(&probe), Handle::try_current().unwrap().waiters()), (1, 0));
        std::io::Write::write_all(&mut peer, b"x").unwrap();
        assert_eq!(read_once(&stream).await.unwrap(), b"x");
        stream.close().await.unwrap();
        assert_eq!(probe.wakes.get(), 0, "nobody woke it");
    });
}

/// Returns a connection whose peer resets it.
async fn reset() -> Arc<TcpStream> {
    let (stream, peer) = pair_with_std().await;
    let read = reader(&stream);
    parked(1).await;
    sockopt::set_linger(peer.as_fd(), Some(Duration::ZERO)).unwrap();
    drop(peer);
    let error = read.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    assert!(!is_closed(&error));
    stream
}

// Case C17.
#[test]
fn a_reset_is_no_end_of_stream() {
    each(async || {
        let stream = reset().await;
        assert!(stream.peer_closed());
    });
}

// Case C18.
#[test]
fn writing_to_a_peer_that_is_gone_fails_without_a_signal() {
    each(async || {
        for reset in [true, false] {
            let (stream, peer) = pair_with_std().await;
            if reset {
                sockopt::set_linger(peer.as_fd(), Some(Duration::ZERO)).unwrap();
            }
            drop(peer);
            let (_, error) = writer(&stream).await.unwrap();
            let kind = error.kind();
            assert!(matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
            let (_, error) = writer(&stream).await.unwrap();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe, "from then on: {error}");
        }
    });
}

// Case C20.
#[test]
fn close_unblocks_a_writer_and_what_it_wrote_arrives() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let write = writer(&stream);
        parked(1).await;
        stream.close().await.unwrap();
        let (written, error) = write.await.unwrap();
        assert_closed(Err::<(), _>(error));
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), written);
    });
}

// Case C20.
#[test]
fn close_races_with_reads_writes_and_deadlines() {
    each(async || {
        for round in 0..200 {
            let (a, b) = pair().await;
            let turns = Arc::new(Counter::new());
            let (reads, writes) = ([reader(&a), reader(&a)], [writer(&a), writer(&b)]);
            let setter = spawn({
                let (a, turns) = (a.clone(), turns.clone());
                async move {
                    while a.set_deadline(in_ms(60_000)).is_ok() {
                        turns.inc();
                        yield_now().await;
                    }
                }
            });
            for _ in 0..round % 5 {
                yield_now().await;
            }
            let (first, second) = (a.close().await, b.close().await);
            assert!(first.is_ok() && second.is_ok());
            for read in reads {
                match read.await.unwrap() {
                    Ok(bytes) => assert!(!bytes.is_empty(), "closed here, not there"),
                    closed => assert_closed(closed),
                }
            }
            for write in writes {
                let (_, error) = write.await.unwrap();
                let gone = matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
                assert!(gone || is_closed(&error), "{error}");
            }
            setter.await.unwrap();
        }
    });
}

// Case C21.
#[test]
fn a_listener_that_is_dropped_frees_its_port() {
    each(async || {
        let address = {
            let listener = TcpListener::bind(own_address()).await.unwrap();
            listener.local_addr().unwrap()
        };
        drop(StdListener::bind(address).unwrap());
        drop(TcpListener::bind(address).await.unwrap());
    });
}
