//! The traits of futures-io. Nothing is held between two polls: a task that polls, forgets or drops an operation blocks no
//! other one, and every waiting task is woken.

use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::common::*;
use futures_io::{AsyncRead, AsyncWrite};
use netpoll_rt::net::TcpStream;
use netpoll_rt::{Handle, JoinHandle, spawn};

/// Polls once with the waker of `probe`.
fn poll_read(stream: &TcpStream, probe: &Arc<Probe>) -> Poll<io::Result<Vec<u8>>> {
    let waker = Waker::from(probe.clone());
    poll_once(stream, &mut Context::from_waker(&waker), 64)
}

fn poll_once(mut stream: &TcpStream, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<Vec<u8>>> {
    let mut buffer = vec![0; room];
    Pin::new(&mut stream).poll_read(cx, &mut buffer).map_ok(|n| {
        buffer.truncate(n);
        buffer
    })
}

async fn read_polled(stream: &TcpStream, room: usize) -> io::Result<Vec<u8>> {
    poll_fn(|cx| poll_once(stream, cx, room)).await
}

async fn write_polled(mut stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, bytes)).await?;
        bytes = &bytes[n..];
    }
    poll_fn(|cx| Pin::new(&mut stream).poll_flush(cx)).await
}

fn waiters() -> usize {
    Handle::try_current().unwrap().waiters()
}

#[track_caller]
fn ready(polled: Poll<io::Result<Vec<u8>>>) -> Vec<u8> {
    match polled {
        Poll::Ready(Ok(bytes)) => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_there_and_back() {
    each(async || {
        let (server, client) = pair().await;
        let echo = spawn(async move {
            loop {
                let bytes = read_polled(&server, 100).await.unwrap();
                if bytes.is_empty() {
                    let mut server: &TcpStream = &server;
                    return poll_fn(|cx| Pin::new(&mut server).poll_close(cx)).await.unwrap();
                }
                write_polled(&server, &bytes).await.unwrap();
            }
        });
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let sent: Vec<u8> = (0..random.usize(1..400)).map(|_| random.u8(..)).collect();
            write_polled(&client, &sent).await.unwrap();
            let mut back = Vec::new();
            while back.len() < sent.len() {
                back.extend(read_polled(&client, 1024).await.unwrap());
            }
            assert_eq!(back, sent);
        }
        let mut client: &TcpStream = &client;
        poll_fn(|cx| Pin::new(&mut client).poll_close(cx)).await.unwrap();
        assert_eq!(read_polled(client, 8).await.unwrap(), b"", "half is closed, the other half reads on");
        echo.await.unwrap();
    });
}

#[test]
fn the_stream_itself_and_several_buffers() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let mut stream = Arc::into_inner(stream).unwrap();
        let slices = [IoSlice::new(b"one "), IoSlice::new(b"two")];
        let n = poll_fn(|cx| Pin::new(&mut stream).poll_write_vectored(cx, &slices)).await.unwrap();
        assert_eq!(n, 7);
        let mut back = [0; 7];
        peer.read_exact(&mut back).unwrap();
        peer.write_all(&back).unwrap();
        let (mut first, mut second) = ([0; 4], [0; 8]);
        let n = poll_fn(|cx| {
            let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
            Pin::new(&mut stream).poll_read_vectored(cx, &mut buffers)
        });
        assert_eq!(n.await.unwrap(), 7);
        assert_eq!((&first, &second[..3]), (b"one ", &b"two"[..]));
        let empty = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut [])).await;
        assert_eq!(empty.unwrap(), 0, "no room, no wait");
    });
}

#[test]
fn forgotten_it_does_not_keep_a_read_out() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        for _ in 0..20 {
            let forgetful = Probe::new();
            assert!(poll_read(&stream, &forgetful).is_pending());
            assert_eq!(waiters(), 1);
            let read = reader(&stream);
            // The read takes the parking over, and the other is told once.
            forgetful.woken(1).await;
            parked(1).await;
            peer.write_all(b"bytes").unwrap();
            assert_eq!(read.await.unwrap().unwrap(), b"bytes");
            assert_eq!(forgetful.wakes.get(), 1);
        }
    });
}

#[test]
fn forgotten_while_bytes_come_before_the_read() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        for _ in 0..20 {
            let forgetful = Probe::new();
            assert!(poll_read(&stream, &forgetful).is_pending());
            peer.write_all(b"bytes").unwrap();
            forgetful.woken(1).await;
            assert_eq!(reader(&stream).await.unwrap().unwrap(), b"bytes");
        }
    });
}

#[test]
fn while_a_read_waits_it_is_told_when_that_has_ended() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let read = reader(&stream);
        parked(1).await;
        let poller = Probe::new();
        for _ in 0..100 {
            assert!(poll_read(&stream, &poller).is_pending());
        }
        assert_eq!((poller.wakes.get(), waiters()), (0, 1), "it hails, and is in nobody's way");
        peer.write_all(b"first").unwrap();
        assert_eq!(read.await.unwrap().unwrap(), b"first");
        poller.woken(1).await;
        assert!(poll_read(&stream, &poller).is_pending());
        peer.write_all(b"second").unwrap();
        poller.woken(2).await;
        assert_eq!(ready(poll_read(&stream, &poller)), b"second");
        // A dropped operation is not counted any more: nothing is left to wait for.
        stream.close().await.unwrap();
    });
}

#[test]
fn a_read_that_is_dropped_lets_it_in() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let mut read = Box::pin(read_once(&stream));
        assert!(Probe::new().poll(read.as_mut()).is_pending());
        let poller = Probe::new();
        assert!(poll_read(&stream, &poller).is_pending());
        drop(read);
        poller.woken(1).await;
        assert!(poll_read(&stream, &poller).is_pending());
        peer.write_all(b"bytes").unwrap();
        poller.woken(2).await;
        assert_eq!(ready(poll_read(&stream, &poller)), b"bytes");
    });
}

#[test]
fn queued_reads_go_first() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (first, second) = (Probe::new(), Probe::new());
        let (mut one, mut two) = (Box::pin(read_once(&stream)), Box::pin(read_once(&stream)));
        assert!(first.poll(one.as_mut()).is_pending());
        let poller = Probe::new();
        assert!(poll_read(&stream, &poller).is_pending());
        assert!(second.poll(two.as_mut()).is_pending());
        peer.write_all(b"first").unwrap();
        first.woken(1).await;
        assert_eq!(one.await.unwrap(), b"first");
        second.woken(1).await;
        assert_eq!(poller.wakes.get(), 0);
        drop(two);
        poller.woken(1).await;
    });
}

#[test]
fn two_that_poll_do_not_wake_each_other() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (one, two) = (Probe::new(), Probe::new());
        for _ in 0..10 {
            assert!(poll_read(&stream, &one).is_pending());
            assert!(poll_read(&stream, &two).is_pending());
        }
        assert_eq!((one.wakes.get(), two.wakes.get(), waiters()), (0, 0, 1));
        peer.write_all(b"bytes").unwrap();
        // Either may have lost interest, so both are told.
        one.woken(1).await;
        two.woken(1).await;
        assert_eq!(ready(poll_read(&stream, &two)), b"bytes");
        assert!(poll_read(&stream, &one).is_pending());
        peer.write_all(b"more").unwrap();
        one.woken(2).await;
        assert_eq!(two.wakes.get(), 1);
    });
}

#[test]
fn a_new_waker_for_each_poll() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let probes: Vec<_> = (0..100).map(|_| Probe::new()).collect();
        for probe in &probes {
            assert!(poll_read(&stream, probe).is_pending());
        }
        let kept = probes.iter().filter(|probe| Arc::strong_count(probe) > 1).count();
        assert_eq!(kept, 32, "the others had to make room");
        peer.write_all(b"bytes").unwrap();
        for probe in &probes {
            probe.woken(1).await;
        }
    });
}

#[test]
fn deadline_and_close_end_it() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        stream.set_read_deadline(in_ms(10)).unwrap();
        assert_timed_out(read_polled(&stream, 8).await);
        stream.set_read_deadline(None).unwrap();
        let waiting = spawn({
            let stream = stream.clone();
            async move { read_polled(&stream, 8).await }
        });
        parked(1).await;
        stream.close().await.unwrap();
        assert_closed(waiting.await.unwrap());
        assert_closed(read_polled(&stream, 8).await);
        assert_closed(write_polled(&stream, b"bytes").await);
    });
}

#[test]
fn close_while_it_hails() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        let read = reader(&stream);
        parked(1).await;
        let poller = Probe::new();
        assert!(poll_read(&stream, &poller).is_pending());
        stream.close().await.unwrap();
        assert_closed(read.await.unwrap());
        poller.woken(1).await;
        let Poll::Ready(result) = poll_read(&stream, &poller) else { panic!("pending") };
        assert_closed(result);
    });
}

#[test]
fn dropped_with_a_parking_that_was_forgotten() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        let poller = Probe::new();
        assert!(poll_read(&stream, &poller).is_pending());
        drop(stream);
        poller.woken(1).await;
        assert_eq!((waiters(), Arc::strong_count(&poller)), (0, 1));
    });
}

/// Reads single bytes until the end, by turns of both ways; some attempts are given up half-way.
fn mixed_reader(stream: &Arc<TcpStream>, seed: u64) -> JoinHandle<Vec<u8>> {
    let stream = stream.clone();
    spawn(async move {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = Vec::new();
        loop {
            let read = match random.u8(..4) {
                0 => read_polled(&stream, 1).await,
                1 => {
                    let mut byte = vec![0];
                    let n = stream.read(&mut byte).await;
                    n.map(|n| byte[..n].to_vec())
                }
                // One poll by either way, and forgotten or dropped.
                2 => {
                    let polled = poll_fn(|cx| Poll::Ready(poll_once(&stream, cx, 1))).await;
                    if polled.is_pending() {
                        continue;
                    }
                    let Poll::Ready(read) = polled else { continue };
                    read
                }
                _ => {
                    stream.readable().await.unwrap();
                    continue;
                }
            };
            match read.unwrap()[..] {
                [] => return bytes,
                ref more => bytes.extend_from_slice(more),
            }
        }
    })
}

#[test]
fn every_byte_reaches_one_of_many() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let readers: Vec<_> = (0..6).map(|seed| mixed_reader(&stream, seed)).collect();
        let sending = std::thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(99);
            let mut sent: Vec<u8> = (0..3000).map(|i| i as u8).collect();
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(random.usize(1..=rest.len().min(40)));
                peer.write_all(now).unwrap();
                std::thread::yield_now();
                rest = later;
            }
            sent.sort_unstable();
            sent
        });
        let mut got = Vec::new();
        for reader in readers {
            got.extend(reader.await.unwrap());
        }
        got.sort_unstable();
        assert_eq!(got, sending.join().unwrap());
    });
}

#[test]
fn writes_that_wait() {
    // More than the kernel finds room for at both ends, however full it said that it was.
    const LENGTH: usize = 12 << 20;
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        fill(&stream).await;
        let writer = |byte: u8| {
            let stream = stream.clone();
            spawn(async move { write_polled(&stream, &vec![byte; LENGTH]).await })
        };
        let writers = [writer(1), writer(2)];
        parked(1).await;
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all
        });
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
        drop(stream);
        let all = reading.join().unwrap();
        for byte in [1, 2] {
            assert_eq!(all.iter().filter(|&&found| found == byte).count(), LENGTH);
        }
    });
}

#[test]
fn the_second_task_that_polls_makes_no_call_and_wakes_nobody() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        for round in 1..=20 {
            let (one, two, three) = (Probe::new(), Probe::new(), Probe::new());
            // The first parks its own waker, the second moves it into the list, the third joins them.
            for probe in [&one, &two, &three, &one, &two] {
                assert!(poll_read(&stream, probe).is_pending());
            }
            assert_eq!((one.wakes.get(), two.wakes.get(), three.wakes.get(), waiters()), (0, 0, 0, 1));
            peer.write_all(b"bytes").unwrap();
            for probe in [&one, &two, &three] {
                probe.woken(1).await;
            }
            assert_eq!(ready(poll_read(&stream, &three)), b"bytes", "round {round}");
        }
    });
}

#[test]
fn a_task_that_was_moved_is_woken_if_the_other_reads() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        for _ in 0..200 {
            let (one, two) = (Probe::new(), Probe::new());
            assert!(poll_read(&stream, &one).is_pending());
            // The event may come before, amid or after the poll of the second.
            let writing = std::thread::spawn({
                let mut peer = peer.try_clone().unwrap();
                move || peer.write_all(b"bytes").unwrap()
            });
            let polled = poll_read(&stream, &two);
            one.woken(1).await;
            if polled.is_pending() {
                two.woken(1).await;
                assert_eq!(ready(poll_read(&stream, &two)), b"bytes");
            }
            writing.join().unwrap();
        }
        peer.write_all(b"the end").unwrap();
    });
}

#[test]
fn readiness_beside_a_task_that_polls_wakes_both() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        for _ in 0..20 {
            let (poller, waiter) = (Probe::new(), Probe::new());
            assert!(poll_read(&stream, &poller).is_pending());
            let mut readable = Box::pin(stream.readable());
            assert!(waiter.poll(readable.as_mut()).is_pending());
            // It takes the parking over, and the task registers behind it.
            let woken = poller.wakes.get();
            assert!(poll_read(&stream, &poller).is_pending());
            peer.write_all(b"bytes").unwrap();
            waiter.woken(1).await;
            until("the task that polls is woken", || poller.wakes.get() > woken).await;
            drop(readable);
            assert_eq!(ready(poll_read(&stream, &poller)), b"bytes");
        }
    });
}
