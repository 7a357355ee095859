//! Echoes on connections that stay open. The last answers, which come after the measured time, are compared as well.

use std::io::{self, ErrorKind, Read, Write};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::pattern::{Pattern, connect_all, other_bytes};
use crate::window::{Window, report};
use crate::{Load, PATIENCE};

struct Connection {
    stream: TcpStream,
    /// The number of the batch in flight, the bytes of it that came back, and the time at which it was sent.
    batch: u64,
    received: usize,
    sent: Instant,
    /// The number of batches that remain, with the one in flight.
    left: u64,
}

pub fn run(load: &Load) -> io::Result<()> {
    let pattern = Pattern::new(load.size * load.pipeline);
    // All connections are open before the first window, so that all threads measure the same time.
    let clients =
        (0..load.threads).map(|number| Client::open(load, number)).collect::<io::Result<Vec<_>>>()?;
    let windows = thread::scope(|scope| {
        let run = |(client, leads): (Client, bool)| {
            let (window, pattern) = (Window::new(load, leads), &pattern);
            scope.spawn(move || client.run(window?, pattern))
        };
        let leads = (0..load.threads).map(|number| number == 0);
        let threads: Vec<_> = clients.into_iter().zip(leads).map(run).collect();
        let join = |thread: ScopedJoinHandle<'_, io::Result<_>>| {
            thread.join().map_err(|_| io::Error::other("a thread of the load panicked"))?
        };
        threads.into_iter().map(join).collect::<io::Result<Vec<_>>>()
    })?;
    report(&windows, "echo", load.pipeline as u64)
}

/// One thread of the load: its connections, and the epoll that they are registered with.
struct Client {
    poll: Poll,
    connections: Vec<Connection>,
    pause: Duration,
}

impl Client {
    /// Opens the part of the connections that belongs to the thread of this number. Each has had one answer.
    fn open(load: &Load, number: usize) -> io::Result<Self> {
        let batches = load.count.map(|count| count / (load.pipeline * load.connections) as u64);
        let left = batches.unwrap_or(u64::MAX).max(1);
        let count = (load.connections + load.threads - 1 - number) / load.threads;
        let (poll, streams) = (Poll::new()?, connect_all(load.address, count, load.size)?);
        let mut connections = Vec::with_capacity(streams.len());
        for stream in streams {
            stream.set_nonblocking(true)?;
            let (mut stream, token) = (TcpStream::from_std(stream), connections.len());
            poll.registry().register(&mut stream, Token(token), Interest::READABLE)?;
            let (batch, received, sent) = (token as u64, 0, Instant::now());
            connections.push(Connection { stream, batch, received, sent, left });
        }
        Ok(Self { poll, connections, pause: load.pause })
    }

    /// Sends and receives until the measured time is over and every answer has come.
    fn run<'l>(mut self, mut window: Window<'l>, pattern: &Pattern) -> io::Result<Window<'l>> {
        let mut events = Events::with_capacity(1024);
        window.is_over(Instant::now())?;
        self.connections.iter_mut().try_for_each(|connection| connection.send(pattern))?;
        let (mut buffer, mut busy) = (vec![0; 64 * 1024], self.connections.len());
        let mut is_over = false;
        while busy > 0 {
            self.poll.poll(&mut events, Some(PATIENCE))?;
            if events.is_empty() {
                return Err(io::Error::other(format!("no answer for {PATIENCE:?}")));
            }
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                if connection.answered(pattern, &mut buffer)? {
                    window.record(connection.sent, Instant::now());
                    connection.left = if is_over { 0 } else { connection.left - 1 };
                    match connection.left {
                        0 => busy -= 1,
                        _ => {
                            if !self.pause.is_zero() {
                                thread::sleep(self.pause);
                            }
                            connection.send(pattern)?;
                        }
                    }
                }
            }
            is_over = window.is_over(Instant::now())?;
        }
        window.close()?;
        Ok(window)
    }
}

impl Connection {
    fn send(&mut self, pattern: &Pattern) -> io::Result<()> {
        (self.batch, self.received, self.sent) = (self.batch + 1, 0, Instant::now());
        let batch = pattern.batch(self.batch);
        if self.stream.write(batch)? == batch.len() {
            Ok(())
        } else {
            Err(io::Error::other("a batch does not fit into the socket's buffer"))
        }
    }

    /// Reads what has come. Returns whether the whole batch has.
    fn answered(&mut self, pattern: &Pattern, buffer: &mut [u8]) -> io::Result<bool> {
        let expected = pattern.batch(self.batch);
        while self.received < expected.len() {
            let n = match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::other("the server closed a connection")),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            if expected.get(self.received..self.received + n) != Some(&buffer[..n]) {
                return Err(other_bytes());
            }
            self.received += n;
        }
        // An event after the answer was read, or after the last batch, brings no answer.
        Ok(std::mem::take(&mut self.received) > 0 && self.left > 0)
    }
}
