//! A task whose socket always has something to give leaves the others their turns.

mod common;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use common::*;
use netpoll_core::counter::Counter;
use netpoll_rt::net::{TcpStream, UdpSocket};
use netpoll_rt::task::{unconstrained, with_budget};
use netpoll_rt::time::sleep;
use netpoll_rt::{Runtime, spawn, yield_now};

/// So many reads, of a byte each, find something at once.
const READS: usize = 10_000;

/// Runs on one worker with that budget.
fn with<T>(budget: u32, body: impl Future<Output = T>) -> T {
    let _alone = alone();
    let runtime = Runtime::builder().workers(1).budget(budget).build().unwrap();
    let _watch = Watch::over(runtime.handle().clone());
    runtime.block_on(body)
}

/// A socket in which so many bytes lie, and the writing end.
async fn full(bytes: usize) -> (Arc<TcpStream>, Arc<TcpStream>) {
    let (a, b) = pair().await;
    b.write_all(&vec![0; bytes]).await.unwrap();
    while a.peek(&mut vec![0; bytes]).await.unwrap() < bytes {
        yield_now().await;
    }
    (a, b)
}

async fn read_bytes(stream: &TcpStream, n: usize) {
    for _ in 0..n {
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 1);
    }
}

/// How many turns another task has had when `busy` ends.
async fn turns_beside(busy: impl Future<Output = ()> + Send + 'static) -> usize {
    let turns = Arc::new(Counter::new());
    let counted = turns.clone();
    let busy = spawn(async move {
        busy.await;
        counted.get()
    });
    let other = spawn({
        let turns = turns.clone();
        async move {
            loop {
                turns.inc();
                yield_now().await;
            }
        }
    });
    let turns = busy.await.unwrap();
    other.abort();
    turns
}

#[test]
fn a_reader_gives_way_after_its_budget() {
    let turns = |budget| {
        with(budget, async {
            let (a, _b) = full(READS).await;
            turns_beside(async move { read_bytes(&a, READS).await }).await
        })
    };
    assert!(turns(0) <= 1, "the control: without a budget it keeps the worker");
    let turns = turns(100);
    assert!((READS / 100 - 2..=READS / 100 + 2).contains(&turns), "{turns}");
}

#[test]
fn a_budget_of_its_own_counts_before_the_runtimes() {
    with(100, async {
        let (a, _b) = full(3 * READS).await;
        let stream = a.clone();
        let free = turns_beside(unconstrained(async move { read_bytes(&stream, READS).await })).await;
        assert!(free <= 1, "{free}");
        let stream = a.clone();
        let small = turns_beside(with_budget(10, async move { read_bytes(&stream, READS).await })).await;
        assert!((READS / 10 - 2..=READS / 10 + 2).contains(&small), "{small}");
        // What is around it has its own again.
        let stream = a.clone();
        let around = turns_beside(async move {
            unconstrained(read_bytes(&stream, READS / 2)).await;
            read_bytes(&stream, READS / 2).await;
        });
        let around = around.await;
        assert!((READS / 200 - 2..=READS / 200 + 2).contains(&around), "{around}");
    });
}

/// Timers and connections of others, on a worker whose queue is never empty.
#[test]
fn a_timer_and_an_echo_are_served_beside_a_socket_that_is_never_empty() {
    each(async || {
        let (a, b) = pair().await;
        let filling = spawn(async move { while b.write_all(&[0; 4096]).await.is_ok() {} });
        let never_empty = spawn(async move { while a.read(&mut [0; 64]).await.is_ok() {} });
        let (server, client) = pair().await;
        let echo = spawn(async move {
            let mut byte = [0];
            while let Ok(1) = server.read(&mut byte).await {
                server.write_all(&byte).await.unwrap();
            }
        });
        for _ in 0..20 {
            sleep(Duration::from_millis(1)).await; // time is what is tested
            client.write_all(b"x").await.unwrap();
            assert_eq!(client.read(&mut [0]).await.unwrap(), 1);
        }
        never_empty.abort();
        drop(never_empty.await);
        filling.await.unwrap();
        drop(client);
        echo.await.unwrap();
    });
}

#[test]
fn the_future_of_block_on_gives_way_too() {
    with(100, async {
        let (a, _b) = full(READS).await;
        let turns = Arc::new(Counter::new());
        let other = spawn({
            let turns = turns.clone();
            async move {
                loop {
                    turns.inc();
                    yield_now().await;
                }
            }
        });
        read_bytes(&a, READS).await;
        other.abort();
        let turns = turns.get();
        assert!((READS / 100 - 2..=READS / 100 + 2).contains(&turns), "{turns}");
    });
}

#[test]
fn every_way_to_read_counts() {
    with(10, async {
        let (a, _b) = full(READS).await;
        let stream = a.clone();
        let readable = turns_beside(async move {
            for _ in 0..100 {
                stream.readable().await.unwrap();
                assert_eq!(stream.try_read(&mut [0]).unwrap(), 1);
            }
        });
        assert!((8..=12).contains(&readable.await));
        let stream = a.clone();
        let futures = turns_beside(async move {
            for _ in 0..100 {
                futures_lite::AsyncReadExt::read_exact(&mut &*stream, &mut [0]).await.unwrap();
            }
        });
        assert!((8..=12).contains(&futures.await));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = socket.local_addr().unwrap();
        let datagrams = turns_beside(async move {
            for _ in 0..100 {
                socket.send_to(b"x", to).await.unwrap();
            }
        });
        assert!((8..=12).contains(&datagrams.await));
    });
}

#[test]
fn handles_timers_and_attempts_cost_nothing() {
    with(10, async {
        let (a, _b) = full(200).await;
        let turns = turns_beside(async move {
            for _ in 0..100 {
                sleep(Duration::ZERO).await; // time is what is tested
                assert_eq!(a.try_read(&mut [0]).unwrap(), 1);
            }
        });
        assert!(turns.await <= 1);
        let ended: Vec<_> = (0..100).map(|_| spawn(async {})).collect();
        until("they have ended", || ended.iter().all(|task| task.is_finished())).await;
        let turns = turns_beside(async move {
            for task in ended {
                task.await.unwrap();
            }
        });
        assert!(turns.await <= 1);
    });
}

#[test]
fn an_operation_that_was_sent_away_has_lost_nothing() {
    each(async || {
        let (a, b) = full(1).await;
        let probe = Probe::new();
        let spent = with_budget(1, async {
            let mut buffer = [0];
            let mut first = pin!(a.peek(&mut buffer));
            assert!(matches!(probe.poll(first.as_mut()), Poll::Ready(Ok(1))));
            {
                let mut buffer = [0];
                let mut dropped = pin!(a.read(&mut buffer));
                assert!(probe.poll(dropped.as_mut()).is_pending(), "the turn is over");
            }
            assert_eq!(probe.wakes.get(), 1, "and it was woken for the next");
        });
        spent.await;
        assert_eq!(a.read(&mut [0]).await.unwrap(), 1, "the byte is still there");
        drop(b);
    });
}

/// An executor within a task polls again and again, and nobody begins a new turn for it.
#[test]
fn a_foreign_block_on_within_a_task_gets_on() {
    each(async || {
        let (a, _b) = full(READS).await;
        spawn(async move { futures_lite::future::block_on(read_bytes(&a, READS)) }).await.unwrap();
    });
}

#[test]
fn another_runtime_within_a_task_gets_on() {
    each(async || {
        let (a, _b) = full(READS).await;
        let other = runtime(2);
        spawn(async move { other.block_on(read_bytes(&a, READS)) }).await.unwrap();
    });
}
