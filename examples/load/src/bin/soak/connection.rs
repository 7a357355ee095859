//! The life of one connection of the client.

use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use netpoll_load::{BUFFER, MessagePool};
use netpoll_rt::net::TcpStream;
use netpoll_rt::time::{sleep, timeout};
use netpoll_rt::{is_closed, spawn, yield_now};

use crate::tally::Tally;
use crate::work::{Work, wait_for_descriptor};

/// The time without progress after which a connection counts as hung.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The numbers, of a hundred messages, that are followed by the end of the connection, by a message whose reads are
/// cancelled, and by a deadline that expires.
const CLOSES: u8 = 1;
const CANCELS: u8 = 1;
const EXPIRES: u8 = 1;

/// The state that all connections share.
pub struct Load {
    pub pool: MessagePool,
    pub tally: Tally,
    /// The additional work with `--limits`.
    pub work: Option<Work>,
    pub pause: Duration,
    /// The end of the run, known once all are connected.
    pub end: OnceLock<Instant>,
}

/// Lives one connection after the other until the time is over.
pub async fn live(number: usize, addr: SocketAddr, load: Arc<Load>) -> Result<(), String> {
    let mut rng = fastrand::Rng::with_seed(number as u64);
    let mut buffer = vec![0; BUFFER];
    let mut last = false;
    while !last {
        let of = |error: io::Error| format!("connection {number}: {error}");
        let stream = match timeout(PATIENCE, TcpStream::connect(addr)).await.map_err(of)? {
            Ok(stream) => stream,
            Err(error) if wait_for_descriptor(&error, &load.tally).await => continue,
            Err(error) => return Err(of(error)),
        };
        load.tally.opened.inc();
        let stream = Arc::new(stream);
        let mut connection = Connection { stream, load: load.clone(), rng, buffer, sent: 0 };
        let lived = connection.live().await;
        last = lived.map_err(|error| format!("connection {number}, message {}: {error}", connection.sent))?;
        (rng, buffer) = (connection.rng, connection.buffer);
        load.tally.gone.inc();
    }
    Ok(())
}

struct Connection {
    stream: Arc<TcpStream>,
    load: Arc<Load>,
    /// Draws everything. Its seed is the connection's number.
    rng: fastrand::Rng,
    buffer: Vec<u8>,
    sent: usize,
}

impl Connection {
    /// Exchanges messages until the connection is closed. Returns whether the time is over.
    async fn live(&mut self) -> Result<bool, String> {
        loop {
            self.exchange(false).await?;
            let load = self.load.clone();
            if let Some(work) = &load.work {
                work.one(self.rng.u8(..3), &load.tally).await?;
            }
            if self.load.end.get().is_some_and(|&end| Instant::now() >= end) {
                self.end().await?;
                return Ok(true);
            }
            let most = self.load.pause.as_micros() as u64;
            sleep(Duration::from_micros(self.rng.u64(..=most))).await;
            let dice = self.rng.u8(..100);
            if dice < CLOSES {
                self.close().await?;
                return Ok(false);
            } else if dice < CLOSES + CANCELS {
                self.cancel_read_without_data().await?;
                self.exchange(true).await?;
            } else if dice < CLOSES + CANCELS + EXPIRES {
                self.expire().await?;
            }
        }
    }

    /// Sends a message and compares the bytes that come back. With `cancel`, reads are cancelled again and again.
    async fn exchange(&mut self, cancel: bool) -> Result<(), String> {
        let (load, stream) = (self.load.clone(), self.stream.clone());
        let message = load.pool.draw(&mut self.rng);
        self.sent += 1;
        stream.set_write_deadline_after(PATIENCE).map_err(describe)?;
        stream.write_all(message).await.map_err(describe)?;
        let mut got = 0;
        while got < message.len() {
            let expected = &message[got..];
            let length = expected.len().min(BUFFER);
            stream.set_read_deadline_after(PATIENCE).map_err(describe)?;
            let read = stream.read(&mut self.buffer[..length]);
            let n = match cancel {
                true => {
                    let limit = Duration::from_micros(self.rng.u64(..500));
                    cancel_after(limit, read, &load.tally).await
                }
                false => Some(read.await),
            };
            let Some(n) = n else { continue };
            let n = n.map_err(|error| format!("byte {got} of {}: {}", message.len(), describe(error)))?;
            if n == 0 || self.buffer[..n] != expected[..n] {
                let why = if n == 0 { "the server ended the stream" } else { "wrong bytes" };
                return Err(format!("byte {got} of {} and after: {why}", message.len()));
            }
            got += n;
        }
        load.tally.messages.inc();
        load.tally.bytes.add(got);
        Ok(())
    }

    /// Waits in a read that no data can end, and cancels it.
    async fn cancel_read_without_data(&mut self) -> Result<(), String> {
        self.stream.set_read_deadline_after(PATIENCE).map_err(describe)?;
        let limit = Duration::from_micros(self.rng.u64(500..5000));
        let read = self.stream.read(&mut self.buffer);
        match cancel_after(limit, read, &self.load.tally).await {
            None => Ok(()),
            Some(read) => Err(unexpected(read)),
        }
    }

    /// Waits in a read that no data can end, until its deadline.
    async fn expire(&mut self) -> Result<(), String> {
        let after = Duration::from_micros(self.rng.u64(..5000));
        self.stream.set_read_deadline_after(after).map_err(describe)?;
        match self.stream.read(&mut self.buffer).await {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                self.load.tally.expired.inc();
                Ok(())
            }
            read => Err(unexpected(read)),
        }
    }

    /// Ends the connection in one of three ways.
    async fn close(&mut self) -> Result<(), String> {
        match self.rng.u8(..3) {
            0 => self.end().await,
            1 => {
                let message = self.load.pool.draw(&mut self.rng);
                self.stream.set_write_deadline_after(PATIENCE).map_err(describe)?;
                self.stream.write_all(message).await.map_err(describe)?;
                self.load.tally.dropped.inc();
                Ok(())
            }
            _ => self.close_under_a_read().await,
        }
    }

    /// Ends the stream and waits for its other end, which would bring a byte that was never sent to light.
    async fn end(&mut self) -> Result<(), String> {
        self.stream.shutdown(Shutdown::Write).map_err(describe)?;
        self.stream.set_read_deadline_after(PATIENCE).map_err(describe)?;
        match self.stream.read(&mut self.buffer).await {
            Ok(0) => {
                self.load.tally.ended.inc();
                Ok(())
            }
            read => Err(unexpected(read)),
        }
    }

    async fn close_under_a_read(&mut self) -> Result<(), String> {
        self.stream.set_read_deadline_after(PATIENCE).map_err(describe)?;
        let (stream, mut buffer) = (self.stream.clone(), std::mem::take(&mut self.buffer));
        let reader = spawn(async move { (stream.read(&mut buffer).await, buffer) });
        // The reader has parked by the close, or has not begun.
        for _ in 0..self.rng.u8(..3) {
            yield_now().await;
        }
        self.stream.close().await.map_err(describe)?;
        let (read, buffer) = reader.await.map_err(|error| error.to_string())?;
        self.buffer = buffer;
        match read {
            Err(error) if is_closed(&error) => {
                self.load.tally.closed.inc();
                Ok(())
            }
            read => Err(format!("the read under a close: {}", unexpected(read))),
        }
    }
}

/// Awaits a read for at most `limit`. Returns `None`, and counts that, if the read was cancelled.
pub async fn cancel_after(
    limit: Duration,
    read: impl Future<Output = io::Result<usize>>,
    tally: &Tally,
) -> Option<io::Result<usize>> {
    let result = timeout(limit, read).await.ok();
    if result.is_none() {
        tally.cancelled.inc();
    }
    result
}

fn unexpected(read: io::Result<usize>) -> String {
    match read {
        Ok(n) => format!("{n} bytes came that were never sent"),
        Err(error) => describe(error),
    }
}

fn describe(error: io::Error) -> String {
    if error.kind() == io::ErrorKind::TimedOut {
        format!("no progress for {PATIENCE:?}: {error}")
    } else {
        error.to_string()
    }
}
