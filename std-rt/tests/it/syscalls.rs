//! The number of system calls per echoed message: one read, one write, and a share of a poll.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use crate::common::*;
use netpoll_core::Mode;
use netpoll_core::sync::Counter;
use netpoll_rt::internal::fd::{Fd, FdKind};
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
    let calls = Rc::new(Cell::new((0, 0, 0)));
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
        for round in 1..=ROUNDS {
            // The clients are on the server's own thread, so it sees all of a round at once.
            clients.iter_mut().for_each(|client| client.write_all(&[7; LENGTH]).unwrap());
            served.messages(round * CONNECTIONS).await;
            clients.iter_mut().for_each(|client| client.read_exact(&mut [0; LENGTH]).unwrap());
        }
        let after = (served.reads.get(), served.writes.get(), handle.metrics().polls);
        calls.set((after.0 - before.0, after.1 - before.1, after.2 - before.2));
        drop(clients);
        parked(0).await;
    });
    let (reads, writes, polls) = calls.get();
    let messages = CONNECTIONS * ROUNDS;
    let each = (reads + writes + polls) as f64 / messages as f64;
    println!(
        "{each:.3} calls a message: {reads} reads, {writes} writes, {polls} polls of {messages} messages"
    );
    // The first read of each connection after it was opened is not short yet.
    let bound = if Poller::SHORT_IS_ALL { 2.1 } else { 3.1 };
    assert!(each <= bound, "{each:.3} calls a message: {reads} reads, {writes} writes, {polls} polls");
}
