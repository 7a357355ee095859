//! The budget of a task: a socket that is always ready does not keep the other tasks from their turns.

use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::common::*;
use futures_lite::future::or;
use netpoll_core::sync::{Counter, Flag, RelaxedUsize};
use netpoll_rt::internal::fd::{Fd, FdKind};
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::io::copy;
use netpoll_rt::net::pipe::{PipeReader, PipeWriter, pipe};
use netpoll_rt::net::{TcpStream, UdpSocket};
use netpoll_rt::task::{cooperative, take_turn, unconstrained, with_budget};
use netpoll_rt::time::{sleep, timeout};
use netpoll_rt::{JoinHandle, Runtime, spawn, yield_now};

/// The number of reads of one byte that find a byte at once.
const READS: usize = 10_000;

/// Runs on one worker with that budget.
fn with<T>(budget: u32, body: impl Future<Output = T>) -> T {
    let _alone = alone();
    let runtime = Runtime::builder().workers(1).budget(budget).build().unwrap();
    let _watch = Watch::over(runtime.handle().clone());
    runtime.block_on(body)
}

/// Returns a socket with this many unread bytes, and the writing end.
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
        // The code around it has its own budget again.
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
            sleep(Duration::from_millis(1)).await; // time is tested
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

/// They are no futures, and cannot yield. The bytes that they move count, and so does the future between them.
#[test]
fn attempts_cost_nothing() {
    with(10, async {
        let (a, _b) = full(200).await;
        let turns = turns_beside(async move {
            for _ in 0..100 {
                assert_eq!(a.try_read(&mut [0]).unwrap(), 1);
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
            assert!(matches!(probe.poll_in_turn(first.as_mut()), Poll::Ready(Ok(1))));
            {
                let mut buffer = [0];
                let mut dropped = pin!(a.read(&mut buffer));
                assert!(probe.poll_in_turn(dropped.as_mut()).is_pending(), "the turn is over");
            }
            assert_eq!(probe.wakes.get(), 1, "and it was woken for the next");
        });
        spent.await;
        assert_eq!(a.read(&mut [0]).await.unwrap(), 1, "the byte is still there");
        drop(b);
    });
}

/// An executor within a task polls again and again, and no new turn begins for it.
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

/// A future that is always ready, as the byte stays where it is.
async fn peek_for_ever(stream: &TcpStream) {
    while stream.peek(&mut [0]).await.is_ok() {}
}

const SOON: Duration = Duration::from_millis(5);

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_timeout_in_block_on_ends_while_input_stays_ready() {
    each(async || {
        let (a, _b) = full(1).await;
        let late = timeout(SOON, peek_for_ever(&a)).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_timeout_ends_without_a_bound_and_on_a_foreign_executor() {
    each(async || {
        let (a, _b) = full(1).await;
        timeout(LIMIT, unconstrained(timeout(SOON, peek_for_ever(&a)))).await.unwrap().unwrap_err();
    });
    let _alone = alone();
    let runtime = runtime(1);
    let _watch = Watch::over(runtime.handle().clone());
    let (a, _b) = runtime.block_on(full(1));
    // The thread is no worker, so nothing else bounds what it does in one poll.
    futures_lite::future::block_on(timeout(SOON, peek_for_ever(&a))).unwrap_err();
}

#[test]
fn what_stands_behind_a_future_that_is_always_ready_has_its_turn() {
    each(async || {
        let (a, _b) = full(1).await;
        let (other, _c) = full(1).await;
        let ended = spawn(async {});
        until("it has ended", || ended.is_finished()).await;
        or(peek_for_ever(&a), sleep(SOON)).await; // time is tested
        or(peek_for_ever(&a), sleep(Duration::ZERO)).await; // time is tested
        or(peek_for_ever(&a), async { drop(other.peek(&mut [0]).await) }).await;
        or(peek_for_ever(&a), async { other.readable().await.unwrap() }).await;
        or(peek_for_ever(&a), async { ended.await.unwrap() }).await;
        or(peek_for_ever(&a), take_turn()).await;
        or(peek_for_ever(&a), cooperative(std::future::ready(()))).await;
    });
}

/// Returns a pipe that holds a mebibyte, and is full or empty.
async fn wide_pipe(is_full: bool) -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe().unwrap();
    assert_eq!(writer.set_capacity(MIB).unwrap(), MIB);
    if is_full {
        unconstrained(writer.write_all(&vec![1; MIB])).await.unwrap();
    }
    (reader, writer)
}

const MIB: usize = 1 << 20;

/// A turn moves 256 KiB by default, and the bytes of one more call: a mebibyte takes at least four turns.
#[test]
fn a_turn_is_bounded_in_bytes() {
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return;
    }
    with(128, async {
        let (reader, _writer) = wide_pipe(true).await;
        let reads = turns_beside(async move {
            for _ in 0..MIB >> 16 {
                assert_eq!(reader.read(&mut vec![0; 1 << 16]).await.unwrap(), 1 << 16);
            }
        });
        let reads = reads.await;
        let (_reader, writer) = wide_pipe(false).await;
        let writes = turns_beside(async move {
            for _ in 0..MIB >> 16 {
                assert_eq!(writer.write(&vec![0; 1 << 16]).await.unwrap(), 1 << 16);
            }
        });
        let writes = writes.await;
        let (reader, writer) = wide_pipe(true).await;
        drop(writer);
        let (_sink_end, sink) = wide_pipe(false).await;
        let copied = turns_beside(async move {
            assert_eq!(copy(&reader, &sink).await.unwrap(), MIB as u64);
        });
        let copied = copied.await;
        let all = [reads, writes, copied];
        assert!(all.iter().all(|turns| (3..=8).contains(turns)), "{all:?}");
    });
}

/// The kernel takes one `write_all` in many parts.
#[test]
fn a_long_write_gives_way_between_its_parts_and_keeps_its_lock() {
    with(100, async {
        let (reader, writer) = netpoll_rt::internal::sys::pipe::pipe().unwrap();
        let fd = Arc::new(Fd::new(Netpoll::current().unwrap(), writer, FdKind::Other).unwrap());
        let parts = Arc::new(Counter::new());
        let (counted, long, behind) = (parts.clone(), fd.clone(), fd.clone());
        let behind = spawn(async move {
            until("the long one has begun", || parts.get() > 0).await;
            assert!(parts.get() < 1000, "it has given way");
            behind.write_all(b"x", |_, _| Ok(1)).await.unwrap();
            parts.get()
        });
        let long = turns_beside(async move {
            let part = |_: BorrowedFd<'_>, bytes: &[u8]| {
                counted.inc();
                Ok(bytes.len().min(1))
            };
            long.write_all(&[0; 1000], part).await.unwrap();
        });
        let (turns, parts) = (long.await, behind.await.unwrap());
        assert_eq!(parts, 1000);
        assert!((8..=12).contains(&turns), "{turns}");
        drop(reader);
    });
}

/// Tasks that spend the budget of each of their turns, more than fit into the ring of a worker.
struct Spenders {
    turns: Arc<Counter>,
    over: Arc<Flag>,
    tasks: Vec<JoinHandle<usize>>,
}

/// The budget of the tests of [`Spenders`].
const SPENT: u32 = 16;

impl Spenders {
    fn start() -> Self {
        let (turns, over) = (Arc::new(Counter::new()), Arc::new(Flag::new()));
        let spend = |_| {
            let (turns, over) = (turns.clone(), over.clone());
            spawn(async move {
                let mut own = 0;
                while !over.is_set() {
                    turns.inc();
                    own += 1;
                    take_whole_turn().await;
                }
                own
            })
        };
        let tasks = (0..600).map(spend).collect();
        Self { turns, over, tasks }
    }

    /// Ends the tasks. Returns the fewest and the most turns that one of them has had.
    async fn end(self) -> (usize, usize) {
        self.over.set();
        let mut turns = Vec::new();
        for task in self.tasks {
            turns.push(task.await.unwrap());
        }
        (*turns.iter().min().unwrap(), *turns.iter().max().unwrap())
    }
}

async fn take_whole_turn() {
    for _ in 0..SPENT {
        take_turn().await;
    }
}

/// The event comes in a turn of one of them, and is served before the turns of all the others.
#[test]
fn an_event_waits_for_one_spent_turn_and_not_for_one_of_each_task() {
    const EVENTS: usize = 10;
    with(SPENT, async {
        let (a, b) = pair().await;
        let spenders = Spenders::start();
        let (turns, sent) = (spenders.turns.clone(), Arc::new(RelaxedUsize::new()));
        let served = Arc::new(Counter::new());
        let reader = spawn({
            let (turns, sent, served) = (turns.clone(), sent.clone(), served.clone());
            async move {
                let mut waited = Vec::new();
                for _ in 0..EVENTS {
                    a.read(&mut [0]).await.unwrap();
                    waited.push(turns.get() - sent.get());
                    served.inc();
                }
                waited
            }
        });
        for event in 0..EVENTS {
            until("the queues are full", || turns.get() >= (event + 1) * 1000 && served.get() == event).await;
            sent.set(turns.get());
            spawn({
                let b = b.clone();
                async move {
                    b.write_all(b"x").await.unwrap();
                    take_whole_turn().await;
                }
            })
            .await
            .unwrap();
        }
        let waited = reader.await.unwrap();
        spenders.end().await;
        assert!(waited.iter().all(|turns| *turns < 10), "{waited:?}");
    });
}

/// The tasks compute for long and yield, and spend no budget. The event comes in a turn of one of them, and is served before
/// the turns of all the others.
#[test]
fn an_event_waits_for_one_long_turn_and_not_for_one_of_each_task() {
    const EVENTS: usize = 5;
    const TASKS: usize = 20;
    with(SPENT, async {
        let (a, b) = pair().await;
        let (turns, served, over) =
            (Arc::new(Counter::new()), Arc::new(Counter::new()), Arc::new(Flag::new()));
        let compute = |_| {
            let (turns, over) = (turns.clone(), over.clone());
            spawn(async move {
                while !over.is_set() {
                    turns.inc();
                    compute_for(Duration::from_micros(300));
                    yield_now().await;
                }
            })
        };
        let tasks: Vec<_> = (0..TASKS).map(compute).collect();
        let reader = spawn({
            let (turns, served) = (turns.clone(), served.clone());
            async move {
                let mut waited = Vec::new();
                let mut sent = [0; size_of::<usize>()];
                for _ in 0..EVENTS {
                    a.read_exact(&mut sent).await.unwrap();
                    waited.push(turns.get() - usize::from_ne_bytes(sent));
                    served.inc();
                }
                waited
            }
        });
        let writer = spawn({
            let (turns, served) = (turns.clone(), served.clone());
            async move {
                for event in 0..EVENTS {
                    // The worker learns from some turns how long they are.
                    until("turns have passed", || turns.get() > 1_000 + 50 * event && served.get() == event)
                        .await;
                    b.write_all(&turns.get().to_ne_bytes()).await.unwrap();
                    compute_for(Duration::from_micros(300));
                    yield_now().await;
                }
            }
        });
        let waited = reader.await.unwrap();
        writer.await.unwrap();
        over.set();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(waited.iter().all(|turns| *turns < TASKS / 2), "{waited:?}");
    });
}

/// Works on the processor for that time.
fn compute_for(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Two tasks have an event in nearly every poll.
#[test]
fn events_that_go_first_take_no_turn_from_any_of_the_others() {
    with(SPENT, async {
        let (a, b) = pair().await;
        let spenders = Spenders::start();
        let turns = spenders.turns.clone();
        let echo = spawn(async move {
            while b.read(&mut [0]).await.unwrap() == 1 {
                b.write_all(b"y").await.unwrap();
            }
        });
        let client = spawn(async move {
            let mut echoed = 0;
            while turns.get() < 9_000 {
                a.write_all(b"x").await.unwrap();
                a.read(&mut [0]).await.unwrap();
                echoed += 1;
            }
            echoed
        });
        let echoed = client.await.unwrap();
        echo.await.unwrap();
        let (fewest, most) = spenders.end().await;
        assert!(fewest * 2 >= most, "{fewest} and {most} turns");
        assert!(echoed >= 500, "{echoed}");
    });
}
