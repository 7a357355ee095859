//! Echoes on connections that stay open.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::pattern::{Pattern, connect_all, other_bytes};
use crate::window::Window;
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
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    let mut connections = open(load, &poll)?;
    let mut window = Window::new(load)?;
    window.is_over(Instant::now());
    connections.iter_mut().try_for_each(|connection| connection.send(&pattern))?;
    let (mut buffer, mut busy) = (vec![0; 64 * 1024], connections.len());
    loop {
        poll.poll(&mut events, Some(PATIENCE))?;
        if events.is_empty() {
            return Err(io::Error::other(format!("no answer for {PATIENCE:?}")));
        }
        for event in &events {
            let connection = &mut connections[event.token().0];
            if connection.answered(&pattern, &mut buffer)? {
                let now = Instant::now();
                window.record(connection.sent, now);
                connection.left -= 1;
                match connection.left {
                    0 => busy -= 1,
                    _ => connection.send(&pattern)?,
                }
            }
        }
        if window.is_over(Instant::now()) || busy == 0 {
            return window.report("echo", load.pipeline as u64);
        }
    }
}

/// Opens all connections, each of which has had one answer.
fn open(load: &Load, poll: &Poll) -> io::Result<Vec<Connection>> {
    let batches = load.count.map(|count| count / (load.pipeline * load.connections) as u64);
    let left = batches.unwrap_or(u64::MAX).max(1);
    let streams = connect_all(load.address, load.connections, load.size)?;
    let mut connections = Vec::with_capacity(streams.len());
    for stream in streams {
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let number = connections.len();
        poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
        connections.push(Connection {
            stream,
            batch: number as u64,
            received: 0,
            sent: Instant::now(),
            left,
        });
    }
    Ok(connections)
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
