//! Deadlines that race with setters, data, close, and the next owner of a slot.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::net::TcpStream;
use netpoll_rt::time::{sleep, sleep_until};
use netpoll_rt::{Handle, spawn, yield_now};

fn in_us(us: u64) -> Option<Instant> {
    Some(Instant::now() + Duration::from_micros(us))
}

// Case B15.
#[test]
fn deadlines_that_pass_all_the_time() {
    const ROUNDS: usize = 1000;
    each(async || {
        let (a, b) = pair().await;
        let done = Arc::new(Counter::new());
        let read = spawn(attempts(a.clone(), done.clone(), async |a| a.read(&mut [0]).await));
        let write = spawn(attempts(a.clone(), done.clone(), async |a| a.write(&[1]).await));
        let peer = spawn(async move {
            let mut buffer = [0; 64];
            while let Ok(n @ 1..) = b.read(&mut buffer).await {
                if b.write_all(&buffer[..n]).await.is_err() {
                    return;
                }
            }
        });
        for _ in 0..ROUNDS {
            a.set_deadline(in_us(2)).unwrap();
            sleep(Duration::from_micros(2)).await; // time is tested
        }
        a.set_deadline(past()).unwrap();
        done.inc();
        let (reads, writes) = (read.await.unwrap(), write.await.unwrap());
        assert!(reads + writes > 0, "both sides got something done or timed out");
        a.close().await.unwrap();
        drop(a);
        peer.await.unwrap();
    });
}

/// Repeats an operation that may time out until told to stop; how often it ended.
async fn attempts(
    stream: Arc<TcpStream>,
    done: Arc<Counter>,
    mut op: impl AsyncFnMut(&TcpStream) -> io::Result<usize>,
) -> usize {
    let mut ended = 0;
    while done.get() == 0 {
        match op(&stream).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            Err(error) => panic!("{error}"),
        }
        ended += 1;
        // A socket that is always ready is no reason to keep the worker for ever.
        yield_now().await;
    }
    ended
}

// Case B15.
#[test]
fn a_deadline_moved_while_it_fires() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        for round in 0..500_u64 {
            // One that fires in the middle of being replaced by a later and then by an earlier one.
            stream.set_read_deadline(in_us(round % 50)).unwrap();
            let read = reader(&stream);
            stream.set_read_deadline(in_us(10_000_000)).unwrap();
            let at = Instant::now() + Duration::from_micros(100);
            stream.set_read_deadline(Some(at)).unwrap();
            assert_timed_out(read.await.unwrap());
            assert!(Instant::now() < at + Duration::from_secs(5), "not the one of 10 s");
        }
    });
}

// Case B16.
#[test]
fn a_deadline_that_was_cleared_does_not_fire() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        for _ in 0..50 {
            stream.set_read_deadline(in_us(500)).unwrap();
            let (read, handle) = (reader(&stream), Handle::try_current().unwrap());
            until("it is parked or over", || handle.waiters() == 1 || read.is_finished()).await;
            stream.set_read_deadline(None).unwrap();
            if read.is_finished() {
                // The deadline was faster than we.
                assert_timed_out(read.await.unwrap());
                continue;
            }
            sleep(Duration::from_millis(1)).await; // time is tested
            io::Write::write_all(&mut peer, b"x").unwrap();
            match read.await.unwrap() {
                Ok(bytes) => assert_eq!(bytes, b"x"),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    assert_eq!(read_once(&stream).await.unwrap(), b"x");
                }
            }
        }
    });
}

// Case B18.
#[test]
fn a_deadline_in_the_middle_of_many_reads_loses_no_byte() {
    each(async || {
        let (a, b) = pair().await;
        let feed = spawn(async move {
            for i in 0..2000_u32 {
                b.write_all(&i.to_be_bytes()).await.unwrap();
                if i.is_multiple_of(16) {
                    yield_now().await;
                }
            }
        });
        let (mut got, mut timeouts) = (Vec::new(), 0);
        while got.len() < 8000 {
            a.set_read_deadline(in_us(20)).unwrap();
            match read_once(&a).await {
                Ok(bytes) => got.extend(bytes),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => timeouts += 1,
                Err(error) => panic!("{error}"),
            }
        }
        feed.await.unwrap();
        let numbers = got.chunks(4).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
        assert!(numbers.eq(0..2000), "after {timeouts} timeouts");
    });
}

// Case B20.
#[test]
fn each_parked_task_is_woken_exactly_once() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        let mut buffer = [0; 8];
        let probe = Probe::new();
        let mut read = Box::pin(stream.read(&mut buffer));
        assert!(probe.poll(read.as_mut()).is_pending());
        stream.set_deadline(in_ms(5)).unwrap();
        stream.set_write_deadline(in_ms(20)).unwrap();
        let handle = Handle::try_current().unwrap();
        until("both have fired", || handle.metrics().timers == 0).await;
        probe.woken(1).await;
        let std::task::Poll::Ready(result) = probe.poll(read.as_mut()) else { panic!("still pending") };
        assert_timed_out(result);
        assert_timed_out(stream.write(b"x").await);
    });
}

// Case B27.
#[test]
fn a_stale_timer_does_not_reach_the_next_owner_of_the_slot() {
    each(async || {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        for round in 0..300_u64 {
            let at = Instant::now() + Duration::from_micros(100 + round % 7 * 10);
            let first = TcpStream::connect(address).await.unwrap();
            first.set_deadline(Some(at)).unwrap();
            let (_first_peer, _) = listener.accept().await.unwrap();
            sleep_until(at - Duration::from_micros(round % 5)).await;
            first.close().await.unwrap();
            drop(first);
            let second = Arc::new(TcpStream::connect(address).await.unwrap());
            let (peer, _) = listener.accept().await.unwrap();
            let read = reader(&second);
            yield_now().await;
            peer.write_all(b"second").await.unwrap();
            assert_eq!(read.await.unwrap().unwrap(), b"second", "round {round}");
        }
    });
}

// Case B27.
#[test]
fn a_thousand_owners_of_a_slot_without_a_socket_between() {
    each(async || {
        let netpoll = netpoll_rt::internal::netpoll::Netpoll::current().unwrap();
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut slots = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            use netpoll_core::{Mode, Modes, When};
            let fd = std::os::fd::AsFd::as_fd(&socket);
            let slot = netpoll.open(fd).unwrap();
            slots.insert(slot.key().slot);
            assert_eq!(slot.desc().deadline(Mode::Read), When::Never);
            slot.set_deadline(Modes::BOTH, in_us(5)).unwrap();
            slot.evict();
            slot.deregister(fd);
            drop(slot);
        }
        assert_eq!(slots.len(), 1, "the slot is used again");
        assert_eq!(netpoll.timers(), 0);
    });
}
