//! Second handles on one connection and on one listening socket.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::common::*;
use netpoll_rt::net::TcpStream;
use netpoll_rt::{Handle, OpError, is_closed, spawn, time};

/// Returns two handles on our end, and the other end.
async fn twins() -> (Arc<TcpStream>, Arc<TcpStream>, StdStream) {
    let (one, peer) = pair_with_std().await;
    let two = Arc::new(one.dup().unwrap());
    (one, two, peer)
}

#[test]
fn both_handles_read_and_write_the_same_connection() {
    each(async || {
        let (one, two, mut peer) = twins().await;
        assert_eq!(one.local_addr().unwrap(), two.local_addr().unwrap());
        assert_eq!(two.peer_addr().unwrap(), peer.local_addr().unwrap());
        for (handle, bytes) in [(&one, b"one"), (&two, b"two"), (&two, b"two"), (&one, b"one")] {
            handle.write_all(bytes).await.unwrap();
            let mut buffer = [0; 3];
            peer.read_exact(&mut buffer).unwrap();
            assert_eq!(&buffer, bytes);
            peer.write_all(&buffer).unwrap();
            assert_eq!(read_once(handle).await.unwrap(), bytes);
        }
    });
}

#[test]
fn bytes_come_to_one_of_two_that_wait() {
    each(async || {
        let (one, two, mut peer) = twins().await;
        let probes = [Probe::new(), Probe::new()];
        let mut reads = [Box::pin(read_once(&one)), Box::pin(read_once(&two))];
        for (probe, read) in probes.iter().zip(&mut reads) {
            assert!(probe.poll(read.as_mut()).is_pending());
        }
        parked(2).await;
        // Each task is woken, through whichever handle it waits: the bytes go to the first that reads.
        peer.write_all(b"first").unwrap();
        for probe in &probes {
            probe.woken(1).await;
        }
        let Poll::Ready(first) = probes[1].poll(reads[1].as_mut()) else { panic!("the bytes are there") };
        assert_eq!(first.unwrap(), b"first");
        assert!(probes[0].poll(reads[0].as_mut()).is_pending(), "the other goes on waiting");
        peer.write_all(b"second").unwrap();
        probes[0].woken(2).await;
        let Poll::Ready(second) = probes[0].poll(reads[0].as_mut()) else { panic!("the bytes are there") };
        assert_eq!(second.unwrap(), b"second");
    });
}

#[test]
fn a_short_read_of_one_hides_nothing_from_the_other() {
    each(async || {
        let (one, two, mut peer) = twins().await;
        let mut buffer = [0; 64];
        for round in 0..50_u8 {
            // Both have had their short read, so each next one waits before it asks the kernel.
            for handle in [&one, &two] {
                peer.write_all(&[round; 3]).unwrap();
                assert_eq!(handle.read(&mut buffer).await.unwrap(), 3);
            }
            peer.write_all(&[round; 6]).unwrap();
            two.read_exact(&mut buffer[..4]).await.unwrap();
            assert_eq!(one.read(&mut buffer).await.unwrap(), 2, "what the other left");
        }
    });
}

#[test]
fn closing_one_leaves_the_connection_to_the_other() {
    each(async || {
        let (one, two, mut peer) = twins().await;
        let waiting = [reader(&one), reader(&two)];
        parked(2).await;
        one.close().await.unwrap();
        let [thrown_out, waiting] = waiting;
        assert_closed(thrown_out.await.unwrap());
        parked(1).await;
        peer.write_all(b"still here").unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), b"still here");
        two.write_all(b"yes").await.unwrap();
        let mut buffer = [0; 3];
        peer.read_exact(&mut buffer).unwrap();
        assert_closed(one.dup());
        two.close().await.unwrap();
        assert_eq!(
            uninterrupted(|| peer.read(&mut buffer)).unwrap(),
            0,
            "the end comes with the last handle"
        );
    });
}

#[test]
fn deadlines_are_each_handles_own_and_halves_are_the_connections() {
    each(async || {
        let (one, two, mut peer) = twins().await;
        one.set_deadline(past()).unwrap();
        assert_timed_out(one.read(&mut [0]).await);
        assert_timed_out(one.write(b"x").await);
        peer.write_all(b"no deadline").unwrap();
        assert_eq!(read_once(&two).await.unwrap(), b"no deadline");
        let fresh = one.dup().unwrap();
        peer.write_all(b"nor here").unwrap();
        assert_eq!(read_once(&fresh).await.unwrap(), b"nor here", "a deadline is not handed on");
        two.shutdown(Shutdown::Write).unwrap();
        assert_eq!(uninterrupted(|| peer.read(&mut [0])).unwrap(), 0, "though the other handles are open");
        assert!(fresh.write(b"x").await.is_err());
    });
}

// Case F05.
#[test]
fn a_second_handle_outlives_the_first_and_its_number() {
    each(async || {
        let (one, two, mut peer) = twins().await;
        let metrics = || Handle::try_current().unwrap().metrics();
        one.close().await.unwrap();
        drop(one);
        // The number of the first is free: one of these has it, and is watched for itself.
        let (fresh, mut fresh_peer) = pair_with_std().await;
        let before = metrics();
        peer.write_all(b"for the second handle").unwrap();
        fresh_peer.write_all(b"for the new one").unwrap();
        assert_eq!(read_once(&two).await.unwrap(), b"for the second handle");
        assert_eq!(read_once(&fresh).await.unwrap(), b"for the new one");
        peer.write_all(b"unread").unwrap();
        time::sleep(Duration::from_millis(20)).await; // time is tested
        let after = metrics();
        assert!(after.events - before.events < 10, "a busy loop: {before:?} {after:?}");
        assert_eq!(after.stale_events, before.stale_events, "an interest was left behind");
    });
}

#[test]
fn a_listener_accepts_through_both_handles() {
    each(async || {
        let one = Arc::new(listener().await);
        let two = Arc::new(one.dup().unwrap());
        let address = one.local_addr().unwrap();
        assert_eq!(two.local_addr().unwrap(), address);
        for handle in [&one, &two] {
            let client = StdStream::connect(address).unwrap();
            assert_eq!(handle.accept().await.unwrap().1, client.local_addr().unwrap());
        }
        let waiting = [&one, &two].map(|listener| {
            let listener = listener.clone();
            spawn(async move { listener.accept().await.map(|(_, peer)| peer) })
        });
        parked(2).await;
        one.close().await.unwrap();
        let [thrown_out, waiting] = waiting;
        assert_closed(thrown_out.await.unwrap());
        let client = StdStream::connect(address).unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), client.local_addr().unwrap());
        let error = one.dup().unwrap_err();
        assert!(is_closed(&error));
        let inner = error.get_ref().unwrap().downcast_ref::<OpError>().unwrap();
        assert_eq!(inner.op(), "dup");
        two.close().await.unwrap();
        assert!(StdStream::connect(address).is_err(), "nobody listens any more");
    });
}
