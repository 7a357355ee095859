//! The number of system calls per echoed message: one read, one write, and a share of a poll.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::TcpStream as StdStream;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_core::{Mode, Modes};
use netpoll_rt::internal::fd::{Fd, FdKind, ReadMode};
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::internal::sys::{Poller, socket};
use netpoll_rt::{Handle, spawn};

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 50;
const LENGTH: usize = 64;

/// The calls and messages of the server, and the waker of the task that waits for them.
#[derive(Default)]
struct Served {
    reads: Counter,
    writes: Counter,
    messages: Counter,
    waiting: Mutex<Option<Waker>>,
}

impl Served {
    async fn echo(self: Arc<Self>, fd: Fd) {
        let mut buffer = [0; 4096];
        loop {
            let read = fd.read(false, |fd| {
                self.reads.inc();
                socket::recv(fd, &mut buffer)
            });
            let n = read.await.unwrap();
            if n == 0 {
                return;
            }
            let write = fd.run(Mode::Write, |fd| {
                self.writes.inc();
                socket::send(fd, &buffer[..n])
            });
            assert_eq!(write.await.unwrap(), n);
            self.messages.inc();
            if self.messages.get().is_multiple_of(CONNECTIONS)
                && let Some(waker) = self.waiting.lock().unwrap().take()
            {
                waker.wake();
            }
        }
    }

    /// Waits without a system call of its own until this number of messages has been sent back.
    async fn messages(&self, n: usize) {
        std::future::poll_fn(|cx| {
            *self.waiting.lock().unwrap() = Some(cx.waker().clone());
            if self.messages.get() >= n { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

fn connection() -> (Fd, StdStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    (Fd::new(Netpoll::current().unwrap(), OwnedFd::from(stream), FdKind::ByteStream).unwrap(), client)
}

#[test]
fn an_echoed_message_costs_at_most_two_and_a_tenth() {
    let calls = Rc::new(Cell::new((0, 0, 0, 0)));
    on(&[1], async || {
        let served = Arc::new(Served::default());
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let (fd, client) = connection();
            drop(spawn(served.clone().echo(fd)));
            clients.push(client);
        }
        parked(CONNECTIONS).await;
        let handle = Handle::try_current().unwrap();
        let before = (served.reads.get(), served.writes.get(), handle.metrics().polls);
        let began = Instant::now();
        for round in 1..=ROUNDS {
            // The clients are on the server's own thread, so it sees all of a round at once.
            clients.iter_mut().for_each(|client| client.write_all(&[7; LENGTH]).unwrap());
            served.messages(round * CONNECTIONS).await;
            clients.iter_mut().for_each(|client| client.read_exact(&mut [0; LENGTH]).unwrap());
        }
        let after = (served.reads.get(), served.writes.get(), handle.metrics().polls);
        // On a slow machine a worker polls by the time, after 200 us of its tasks.
        let by_time = (began.elapsed().as_micros() / 100) as usize;
        calls.set((after.0 - before.0, after.1 - before.1, after.2 - before.2, by_time));
        drop(clients);
        parked(0).await;
    });
    let (reads, writes, polls, by_time) = calls.get();
    let messages = CONNECTIONS * ROUNDS;
    let each = (reads + writes + polls) as f64 / messages as f64;
    println!(
        "{each:.3} calls a message: {reads} reads, {writes} writes, {polls} polls of {messages} messages"
    );
    // The first read of each connection after it was opened is not short yet.
    let bound = if Poller::SHORT_IS_ALL { 2 } else { 3 };
    let (first, share) = (2 * CONNECTIONS, messages / 10);
    let costs_more = reads + writes > bound * messages + first || polls > share + by_time;
    assert!(!costs_more, "{each:.3} calls a message: {reads} reads, {writes} writes, {polls} polls");
}

/// Polls a read once; `calls` counts its system calls.
fn poll_read(fd: &Fd, calls: &Counter, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let read = fd.read(false, |fd| {
        calls.inc();
        socket::recv(fd, buffer)
    });
    read.poll_once(cx)
}

#[test]
fn a_thousand_polls_without_bytes_make_one_call() {
    each(async || {
        let (fd, mut client) = connection();
        let (calls, mut buffer) = (Counter::new(), [0; 64]);
        // Only a poll that is ready spends the budget, so all of them run in one turn.
        poll_fn(|cx| {
            for _ in 0..1000 {
                assert!(poll_read(&fd, &calls, &mut buffer, cx).is_pending());
            }
            Poll::Ready(())
        })
        .await;
        assert_eq!(calls.get(), 1);
        for round in 1..=10 {
            client.write_all(b"ten bytes!").unwrap();
            let read = poll_fn(|cx| poll_read(&fd, &calls, &mut buffer, cx)).await.unwrap();
            assert_eq!(&buffer[..read], b"ten bytes!");
            // A task that is woken for something else polls again and again.
            for _ in 0..10 {
                let is_pending =
                    poll_fn(|cx| Poll::Ready(poll_read(&fd, &calls, &mut buffer, cx).is_pending()));
                assert!(is_pending.await);
            }
            let bound = if Poller::SHORT_IS_ALL { 2 } else { 3 };
            // The first read of a connection after it was opened is not short yet; an event may come late.
            assert!(calls.get() <= 2 + bound * round, "{} calls in {round} rounds", calls.get());
        }
    });
}

#[test]
fn a_poll_behind_readable_that_found_bytes_reads_them() {
    each(async || {
        let (fd, mut client) = connection();
        let (calls, mut buffer) = (Counter::new(), [0; 4]);
        client.write_all(b"eight by").unwrap();
        // Its event is consumed, and bytes are left.
        assert_eq!(poll_fn(|cx| poll_read(&fd, &calls, &mut buffer, cx)).await.unwrap(), 4);
        let mut readable = pin!(fd.readiness(ReadMode));
        // It parks before it finds the bytes, and its parking stays while it lives.
        poll_fn(|cx| readable.as_mut().poll(cx)).await.unwrap();
        let read = poll_fn(|cx| Poll::Ready(poll_read(&fd, &calls, &mut buffer, cx))).await;
        assert!(matches!(read, Poll::Ready(Ok(4))), "{read:?}");
    });
}

#[test]
fn a_poll_that_joins_a_parking_is_woken_with_it() {
    each(async || {
        let (fd, mut client) = connection();
        let fd = Arc::new(fd);
        let poll = |n: usize| {
            let fd = fd.clone();
            spawn(async move {
                let (calls, mut buffer) = (Counter::new(), [0; 1]);
                let read = poll_fn(|cx| poll_read(&fd, &calls, &mut buffer, cx)).await;
                (n, read.unwrap())
            })
        };
        let tasks: Vec<_> = (0..8).map(poll).collect();
        parked(1).await;
        client.write_all(&[0; 8]).unwrap();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), (n, 1));
        }
    });
}

/// An end of a wait.
#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    Bytes,
    Close,
    Deadline,
    Taken,
}

#[test]
fn a_parked_task_that_is_polled_again_makes_no_call_and_is_woken() {
    each(async || {
        for end in [End::Bytes, End::Close, End::Deadline, End::Taken] {
            let (fd, mut client) = connection();
            let (fd, calls) = (Arc::new(fd), Arc::new(Counter::new()));
            let (turns, waker) = (Arc::new(Counter::new()), Arc::new(Mutex::new(None::<Waker>)));
            let task = spawn({
                let (fd, calls, turns, waker) = (fd.clone(), calls.clone(), turns.clone(), waker.clone());
                poll_fn(move |cx| {
                    turns.inc();
                    *waker.lock().unwrap() = Some(cx.waker().clone());
                    let mut buffer = [0; 8];
                    match poll_read(&fd, &calls, &mut buffer, cx) {
                        Poll::Pending => poll_read(&fd, &calls, &mut buffer, cx),
                        ready => ready,
                    }
                })
            });
            parked(1).await;
            for turn in 2..=5 {
                waker.lock().unwrap().clone().unwrap().wake();
                until("the task was polled again", || turns.get() >= turn).await;
            }
            assert_eq!((calls.get(), task.is_finished()), (1, false), "{end:?}");
            let ended = match end {
                End::Bytes => client.write_all(b"bytes").map(drop),
                End::Close => fd.close().await,
                End::Deadline => fd.set_deadline_after(Modes::READ, Duration::from_millis(1)),
                End::Taken => {
                    // It takes the parking over, and the task that is woken registers behind it.
                    let reader = spawn({
                        let fd = fd.clone();
                        async move { fd.read(false, |fd| socket::recv(fd, &mut [0; 2])).await }
                    });
                    until("the task was woken", || turns.get() >= 6).await;
                    client.write_all(b"by").unwrap();
                    assert_eq!(reader.await.unwrap().unwrap(), 2);
                    client.write_all(b"bytes").map(drop)
                }
            };
            ended.unwrap();
            let read = task.await.unwrap();
            match end {
                End::Bytes | End::Taken => assert_eq!(read.unwrap(), 5, "{end:?}"),
                End::Close => assert!(read.is_err()),
                End::Deadline => assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut),
            }
        }
    });
}
