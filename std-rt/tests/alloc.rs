//! Allocations: reads, writes and deadlines of an established connection make none.
//!
//! This program has one test, because it counts the allocations of the whole process.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use netpoll_rt::net::{Datagram, Evented, RecvBatch, TcpStream, UdpSocket};
use netpoll_rt::time::sleep;
use netpoll_rt::{Handle, spawn};
use test_support::counting::{Counting, ROUNDS, allocations, bytes, count};
use test_support::*;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// Case F20.
#[test]
fn what_is_allocated() {
    // Not `each`: its watching thread allocates too.
    for workers in [1, 4] {
        runtime(workers).block_on(async {
            assert_eq!(counted_for_a_box(), 1, "the counter counts");
            read_and_write().await;
            read_that_parks().await;
            polls_that_park().await;
            first_poll_that_parks().await;
            deadlines().await;
            deadlines_that_fire().await;
            accepts().await;
            datagrams().await;
            batches_of_datagrams().await;
            sleepers_that_are_cancelled().await;
        });
    }
}

/// Returns the count for one box: the fewest of some attempts, since workers that start allocate too.
fn counted_for_a_box() -> usize {
    let attempt = |_| {
        let before = count();
        drop(std::hint::black_box(Box::new(7_u64)));
        count() - before
    };
    (0..100).map(attempt).min().unwrap_or(0)
}

async fn read_and_write() {
    let (stream, mut peer) = pair_with_std().await;
    let mut buffer = [0; 64];
    let n = allocations(async || {
        peer.write_all(b"ping").unwrap();
        stream.read_exact(&mut buffer[..4]).await.unwrap();
        stream.write_all(b"pong").await.unwrap();
        peer.read_exact(&mut buffer[..4]).unwrap();
    });
    assert_eq!(n.await, 0, "reads and writes");
}

async fn read_that_parks() {
    let (a, b) = pair().await;
    let echo = spawn(async move {
        let mut buffer = [0; 64];
        while let Ok(n @ 1..) = b.read(&mut buffer).await {
            b.write_all(&buffer[..n]).await.unwrap();
        }
    });
    let mut buffer = [0; 4];
    let n = allocations(async || {
        a.write_all(b"ping").await.unwrap();
        a.read_exact(&mut buffer).await.unwrap();
    });
    assert_eq!(n.await, 0, "a task that parks, is polled for and woken");
    a.close().await.unwrap();
    echo.await.unwrap();
}

/// Reads and writes by the traits, each read after a poll that was pending.
async fn polls_that_park() {
    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    let (one, other) = pair().await;
    let (mut reader, mut writer) = Arc::into_inner(other).unwrap().into_split();
    let echo = spawn(async move {
        let mut buffer = [0; 64];
        while let Ok(n @ 1..) = AsyncReadExt::read(&mut reader, &mut buffer).await {
            AsyncWriteExt::write_all(&mut writer, &buffer[..n]).await.unwrap();
        }
    });
    let (mut one, mut buffer) = (&*one, [0; 4]);
    let n = allocations(async || {
        AsyncWriteExt::write_all(&mut one, b"ping").await.unwrap();
        AsyncReadExt::read_exact(&mut one, &mut buffer).await.unwrap();
    });
    assert_eq!(n.await, 0, "a task that polls, is polled for and woken");
    TcpStream::close(one).await.unwrap();
    echo.await.unwrap();
}

/// Polls a connection for the first time, by its only task.
async fn first_poll_that_parks() {
    let mut fewest = usize::MAX;
    for _ in 0..20 {
        let (stream, _peer) = pair_with_std().await;
        let before = count();
        poll_fn(|cx| {
            let mut stream: &TcpStream = &stream;
            let read = futures_io::AsyncRead::poll_read(Pin::new(&mut stream), cx, &mut [0; 64]);
            assert!(read.is_pending());
            Poll::Ready(())
        })
        .await;
        fewest = fewest.min(count() - before);
    }
    assert_eq!(fewest, 0, "a task that polls a connection alone");

    let mut fewest = usize::MAX;
    for _ in 0..20 {
        let (stream, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = Evented::new(stream).unwrap();
        let before = count();
        poll_fn(|cx| {
            assert!(stream.poll_recv(cx, &mut [MaybeUninit::uninit(); 64]).is_pending());
            Poll::Ready(())
        })
        .await;
        fewest = fewest.min(count() - before);
    }
    assert_eq!(fewest, 0, "a task that polls a descriptor with remembered readiness alone");
}

/// The memory of many tasks that have slept goes with them: their timers, and their places in queues and lists.
async fn sleepers_that_are_cancelled() {
    const TASKS: usize = 100_000;
    let timers = || Handle::current().metrics().timers;
    let before = bytes();
    let tasks: Vec<_> = (0..TASKS).map(|_| spawn(sleep(Duration::from_secs(3600)))).collect(); // time is tested
    until("all sleep", || timers() == TASKS).await;
    let asleep = bytes() - before;
    assert!(asleep > 100 * TASKS as isize, "the counter counts: {asleep} bytes");
    tasks.iter().for_each(|task| task.abort());
    for task in tasks {
        assert!(task.await.is_err());
    }
    until("all timers are gone", || timers() == 0).await;
    // A worker removes the last timers that it has dropped when it polls next.
    until("their memory is given back", || bytes() - before < 5 * TASKS as isize).await;
}

async fn deadlines() {
    let (stream, mut peer) = pair_with_std().await;
    let mut buffer = [0; 4];
    let n = allocations(async || {
        stream.set_read_deadline(in_ms(60_000)).unwrap();
        stream.set_write_deadline(in_ms(30_000)).unwrap();
        peer.write_all(b"ping").unwrap();
        stream.read_exact(&mut buffer).await.unwrap();
        stream.set_deadline(None).unwrap();
    });
    assert_eq!(n.await, 0, "deadlines");
}

async fn deadlines_that_fire() {
    let (stream, _peer) = pair_with_std().await;
    let mut timeouts = 0;
    let n = allocations(async || {
        stream.set_read_deadline(Some(std::time::Instant::now() + Duration::from_micros(20))).unwrap();
        let mut buffer = [0; 4];
        timeouts += usize::from(stream.read(&mut buffer).await.is_err());
    });
    let n = n.await;
    assert_eq!(timeouts, 10 * ROUNDS);
    // Of each error, ours and std's around it.
    assert!(n <= 2 * ROUNDS, "{n} allocations for {ROUNDS} errors");
}

async fn accepts() {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let mut kept: Vec<TcpStream> = Vec::with_capacity(ROUNDS);
    let n = allocations(async || {
        let client = std::net::TcpStream::connect(address).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        drop(client);
        kept.push(stream);
        if kept.len() == ROUNDS {
            kept.clear();
        }
    });
    // Blocks of descriptors, and no box for each.
    let n = n.await;
    assert!(n <= ROUNDS / 10, "{n} allocations for {ROUNDS} accepts");
}

async fn datagrams() {
    let (here, there) =
        (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let (from, to) = (here.local_addr().unwrap(), there.local_addr().unwrap());
    let (text, mut buffer) = (to.to_string(), [0; 64]);
    let n = allocations(async || {
        here.send_to(b"ping", to).await.unwrap();
        here.send_to(b"ping", &*text).await.unwrap();
        for _ in 0..2 {
            assert_eq!(there.recv_from(&mut buffer).await.unwrap(), (4, from));
        }
    });
    assert_eq!(n.await, 0, "datagrams to an address in numbers");
    let echo = spawn(async move {
        let mut buffer = [0; 64];
        while let Ok((n @ 1.., from)) = there.recv_from(&mut buffer).await {
            there.send_to(&buffer[..n], from).await.unwrap();
        }
    });
    let n = allocations(async || {
        here.send_to(b"ping", to).await.unwrap();
        here.recv(&mut buffer).await.unwrap();
    });
    assert_eq!(n.await, 0, "a task that waits for datagrams");
    here.send_to(b"", to).await.unwrap();
    echo.await.unwrap();
}

async fn batches_of_datagrams() {
    let (here, there) =
        (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let to = there.local_addr().unwrap();
    let (datagrams, mut batch) = ([Datagram::to(b"ping", to); 8], RecvBatch::new(8, 64));
    let n = allocations(async || {
        let mut due = here.send_batch(&datagrams).await.unwrap();
        here.send_segments(b"pingpingpong", 4, Some(to)).await.unwrap();
        due += 3;
        while due > 0 {
            due -= there.recv_batch(&mut batch).await.unwrap();
            assert!(batch.iter().all(|one| one.bytes().len() == 4));
        }
    });
    assert_eq!(n.await, 0, "batches and segments");
}
