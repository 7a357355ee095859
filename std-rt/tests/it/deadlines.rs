//! Deadlines on the connection: sticky, independent for each direction, and stronger than data that are ready.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_rt::Handle;
use netpoll_rt::net::TcpStream;
use netpoll_rt::spawn;
use netpoll_rt::time::sleep;

/// The largest delay of a deadline on a busy machine.
const LATE: Duration = Duration::from_secs(5);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Lets the time pass in which something must not happen.
async fn pass(n: u64) {
    sleep(ms(n)).await; // time is tested
}

// Case B01.
#[test]
fn accept_past_deadline_beats_a_waiting_client() {
    each(async || {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        listener.set_deadline(past()).unwrap();
        for _ in 0..3 {
            assert_timed_out(listener.accept().await);
        }
        listener.set_deadline(None).unwrap();
        let (_stream, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    });
}

// Case B02.
#[test]
fn accept_times_out_and_not_early() {
    each(async || {
        let listener = listener().await;
        let start = Instant::now();
        listener.set_deadline(Some(start + ms(10))).unwrap();
        assert_timed_out(listener.accept().await);
        assert!(start.elapsed() >= ms(10) && start.elapsed() < LATE, "{:?}", start.elapsed());
    });
}

// Case B03.
#[test]
fn accept_deadline_cleared_then_set() {
    each(async || {
        let listener = listener().await;
        listener.set_deadline(None).unwrap();
        listener.set_deadline(in_ms(10)).unwrap();
        assert_timed_out(listener.accept().await);
    });
}

// Case B04.
#[test]
fn accept_deadline_past_then_cleared() {
    each(async || {
        let listener = std::sync::Arc::new(listener().await);
        listener.set_deadline(past()).unwrap();
        listener.set_deadline(None).unwrap();
        let acceptor = spawn({
            let listener = listener.clone();
            async move { listener.accept().await }
        });
        parked(1).await;
        pass(100).await;
        assert!(!acceptor.is_finished());
        listener.close().await.unwrap();
        assert_closed(acceptor.await.unwrap());
    });
}

// Case B05.
#[test]
fn read_past_deadline_beats_ready_data() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"ready").unwrap();
        let mut buffer = [0; 5];
        assert_eq!(stream.peek(&mut buffer).await.unwrap(), 5, "the bytes are there");
        stream.set_read_deadline(past()).unwrap();
        for _ in 0..2 {
            assert_timed_out(read_once(&stream).await);
            assert_timed_out(stream.peek(&mut buffer).await);
        }
        stream.set_read_deadline(None).unwrap();
        assert_eq!(read_once(&stream).await.unwrap(), b"ready");
    });
}

// Case B05.
#[test]
fn so_does_one_that_has_passed_by_itself() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        stream.set_read_deadline(in_ms(5)).unwrap();
        pass(20).await;
        peer.write_all(b"late").unwrap();
        let handle = Handle::try_current().unwrap();
        until("the timer has fired", || handle.metrics().timers == 0).await;
        assert_timed_out(read_once(&stream).await);
        stream.set_read_deadline(in_ms(60_000)).unwrap();
        assert_eq!(read_once(&stream).await.unwrap(), b"late");
    });
}

/// Neither has fired when the second is set, because no thread has polled.
// Case B05.
#[test]
fn and_one_that_is_moved_from_the_past_to_the_past() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"ready").unwrap();
        let start = Instant::now();
        stream.set_read_deadline(Some(start + ms(1))).unwrap();
        until_blocking("both have passed", || start.elapsed() > ms(4));
        stream.set_read_deadline(Some(start + ms(2))).unwrap();
        assert_timed_out(read_once(&stream).await);
    });
}

// Case B06.
#[test]
fn data_then_expiry_and_it_is_sticky() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"abcdef").unwrap();
        stream.set_read_deadline(in_ms(200)).unwrap();
        let mut got = Vec::new();
        let error = loop {
            let mut buffer = [0; 4];
            match stream.read(&mut buffer).await {
                Ok(n) => got.extend_from_slice(&buffer[..n]),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(got, b"abcdef");
        peer.write_all(b"more").unwrap();
        for _ in 0..3 {
            assert_timed_out(read_once(&stream).await);
        }
    });
}

// Case B07.
#[test]
fn read_deadline_is_independent_of_the_write_deadline() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        stream.set_deadline(past()).unwrap();
        stream.set_write_deadline(past()).unwrap();
        stream.set_read_deadline(None).unwrap();
        let read = reader(&stream);
        parked(1).await;
        pass(100).await;
        assert!(!read.is_finished());
        stream.close().await.unwrap();
        assert_closed(read.await.unwrap());
    });
}

// Case B08.
#[test]
fn write_deadline_is_independent_of_the_read_deadline() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        stream.set_deadline(past()).unwrap();
        stream.set_read_deadline(past()).unwrap();
        stream.set_write_deadline(None).unwrap();
        let write = writer(&stream);
        parked(1).await;
        pass(100).await;
        assert!(!write.is_finished());
        stream.close().await.unwrap();
        let (written, error) = write.await.unwrap();
        assert!(written > 0);
        assert_closed(Err::<(), _>(error));
    });
}

// Case B13.
#[test]
fn deadlines_of_every_length() {
    const NANOS: [u64; 8] = [1, 2, 5, 50, 100, 200, 500, 750];
    const MICROS: [u64; 5] = [1, 5, 25, 250, 500];
    const MILLIS: [u64; 6] = [1, 5, 100, 250, 500, 1000];
    each(async || {
        let all = NANOS.map(Duration::from_nanos).into_iter();
        let all = all.chain(MICROS.map(Duration::from_micros)).chain(MILLIS.map(ms));
        let (stream, mut peer) = pair_with_std().await;
        // A peer that never stops sending.
        let feeder = std::thread::spawn(move || while peer.write_all(&[7; 512]).is_ok() {});
        for length in all {
            let start = Instant::now();
            stream.set_read_deadline(Some(start + length)).unwrap();
            let error = sink(&stream).await;
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "after {length:?}");
            assert!(start.elapsed() >= length && start.elapsed() < length + LATE, "{length:?}");
        }
        stream.close().await.unwrap();
        feeder.join().unwrap();
    });
}

/// Reads and forgets until a read fails.
async fn sink(stream: &TcpStream) -> io::Error {
    let mut buffer = [0; 4096];
    loop {
        if let Err(error) = stream.read(&mut buffer).await {
            return error;
        }
    }
}

// Case B14.
#[test]
fn a_deadline_prolonged_before_every_byte() {
    const HOUR: u64 = 3_600_000;
    const ROUNDS: usize = 1000;
    each(async || {
        let (a, b) = pair().await;
        let echo = spawn(async move {
            for _ in 0..ROUNDS {
                let mut byte = [0];
                b.set_read_deadline(in_ms(HOUR)).unwrap();
                b.read_exact(&mut byte).await.unwrap();
                b.set_write_deadline(in_ms(HOUR)).unwrap();
                b.write_all(&byte).await.unwrap();
            }
        });
        for round in 0..ROUNDS {
            let mut byte = [0];
            a.set_write_deadline(in_ms(HOUR)).unwrap();
            a.write_all(&[round as u8]).await.unwrap();
            a.set_read_deadline(in_ms(HOUR)).unwrap();
            a.read_exact(&mut byte).await.unwrap();
            assert_eq!(byte[0], round as u8);
        }
        echo.await.unwrap();
        let metrics = Handle::try_current().unwrap().metrics();
        assert_eq!(metrics.timers, 1, "one entry for each descriptor, {metrics:?}");
        assert!(metrics.timers_armed < 10, "a later deadline is a store, {metrics:?}");
    });
}

// Case B17.
#[test]
fn a_past_deadline_wakes_a_parked_read() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        for _ in 0..50 {
            stream.set_read_deadline(None).unwrap();
            let read = reader(&stream);
            parked(1).await;
            stream.set_read_deadline(past()).unwrap();
            assert_timed_out(read.await.unwrap());
            parked(0).await;
        }
    });
}

// Case B19.
#[test]
fn the_directions_do_not_know_of_each_other() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        stream.set_read_deadline(past()).unwrap();
        assert_timed_out(read_once(&stream).await);
        stream.write_all(b"out").await.unwrap();
        let mut got = [0; 3];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"out");
        stream.set_read_deadline(None).unwrap();
        stream.set_write_deadline(past()).unwrap();
        assert_timed_out(stream.write(b"no").await);
        assert_timed_out(stream.write_all(b"no").await);
        peer.write_all(b"in").unwrap();
        assert_eq!(read_once(&stream).await.unwrap(), b"in");
    });
}

// Case B20.
#[test]
fn one_timer_serves_two_deadlines() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        fill(&stream).await;
        let start = Instant::now();
        stream.set_deadline(Some(start + ms(80))).unwrap();
        stream.set_write_deadline(Some(start + ms(300))).unwrap();
        let (read, write) = (reader(&stream), writer(&stream));
        parked(2).await;
        assert_timed_out(read.await.unwrap());
        let read_took = start.elapsed();
        assert!(!write.is_finished() || read_took >= ms(300));
        assert_eq!(write.await.unwrap().1.kind(), io::ErrorKind::TimedOut);
        let write_took = start.elapsed();
        assert!(read_took >= ms(80) && write_took >= ms(300), "{read_took:?} {write_took:?}");
        parked(0).await;
    });
}

// Case B23.
#[test]
fn a_write_that_times_out_half_way_says_how_much() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let pattern: Vec<u8> = (0..1 << 20).map(|i: u32| (i % 251) as u8).collect();
        stream.set_write_deadline(in_ms(200)).unwrap();
        let mut sent = 0;
        let error = loop {
            match stream.write(&pattern[sent % pattern.len()..]).await {
                Ok(n) => sent += n,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(sent > 0);
        stream.close().await.unwrap();
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), sent, "these bytes and no more");
        assert!(got.iter().enumerate().all(|(i, byte)| *byte == pattern[i % pattern.len()]));
    });
}

// Case B24.
#[test]
fn after_a_timeout_a_new_deadline_and_every_byte_in_order() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"before ").unwrap();
        let mut got = read_once(&stream).await.unwrap();
        stream.set_read_deadline(in_ms(5)).unwrap();
        let read = reader(&stream);
        assert_timed_out(read.await.unwrap());
        peer.write_all(b"during ").unwrap();
        assert_timed_out(read_once(&stream).await);
        stream.set_read_deadline(in_ms(60_000)).unwrap();
        got.extend(read_once(&stream).await.unwrap());
        let read = reader(&stream);
        parked(1).await;
        peer.write_all(b"after").unwrap();
        got.extend(read.await.unwrap().unwrap());
        assert_eq!(got, b"before during after");
    });
}

// Case B26.
#[test]
fn a_closed_stream_takes_no_deadline() {
    each(async || {
        let handle = Handle::try_current().unwrap();
        let (stream, _peer) = pair_with_std().await;
        stream.set_deadline(in_ms(60_000)).unwrap();
        assert_eq!(handle.metrics().timers, 1);
        stream.close().await.unwrap();
        assert_eq!(handle.metrics().timers, 0);
        for deadline in [in_ms(60_000), past(), None] {
            assert_closed(stream.set_deadline(deadline));
            assert_closed(stream.set_read_deadline(deadline));
            assert_closed(stream.set_write_deadline(deadline));
        }
        assert_eq!(handle.metrics().timers, 0);
    });
}
