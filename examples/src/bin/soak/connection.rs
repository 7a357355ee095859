//! What a connection of the client goes through.

use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use netpoll_rt::net::TcpStream;
use netpoll_rt::time::{sleep, timeout};
use netpoll_rt::{is_closed, spawn, yield_now};

use crate::tally::Tally;
use crate::work::{Work, waits_for_descriptors};

/// A connection on which nothing moves for so long hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// In a hundred messages: so many end the connection, so many have their reads cancelled, before so many a deadline
/// expires.
const CLOSES: u8 = 1;
const CANCELS: u8 = 1;
const EXPIRES: u8 = 1;

const LONGEST: usize = 16 * 1024;
pub const BUFFER: usize = 4096;

/// Random bytes of which every message is a piece.
pub const POOL: usize = 1024 * 1024;

/// What all connections share.
pub struct Load {
    pub pool: Vec<u8>,
    pub tally: Arc<Tally>,
    /// What else is done with `--limits`.
    pub work: Option<Work>,
    pub pause: Duration,
    /// When it is over: known once all are connected.
    pub end: OnceLock<Instant>,
}

/// One connection after the other until the time is over.
pub async fn live(number: usize, addr: SocketAddr, load: Arc<Load>) -> Result<(), String> {
    let mut rng = fastrand::Rng::with_seed(number as u64);
    let mut buffer = vec![0; BUFFER];
    let mut last = false;
    while !last {
        let of = |error: io::Error| format!("connection {number}: {error}");
        let stream = match timeout(PATIENCE, TcpStream::connect(addr)).await.map_err(of)? {
            Ok(stream) => stream,
            Err(error) if waits_for_descriptors(&error, &load.tally).await => continue,
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
    /// Draws everything; seeded with the number.
    rng: fastrand::Rng,
    buffer: Vec<u8>,
    sent: usize,
}

impl Connection {
    /// Until it is closed; true if the time is over.
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
                self.cancel_a_read_in_vain().await?;
                self.exchange(true).await?;
            } else if dice < CLOSES + CANCELS + EXPIRES {
                self.expire().await?;
            }
        }
    }

    /// Sends a message and compares what comes back. With `cancel` reads are given up again and again meanwhile.
    async fn exchange(&mut self, cancel: bool) -> Result<(), String> {
        let (load, stream) = (self.load.clone(), self.stream.clone());
        let message = piece(&load.pool, &mut self.rng);
        self.sent += 1;
        stream.set_write_deadline_after(PATIENCE).map_err(told)?;
        stream.write_all(message).await.map_err(told)?;
        let mut got = 0;
        while got < message.len() {
            let expected = &message[got..];
            let room = expected.len().min(BUFFER);
            stream.set_read_deadline_after(PATIENCE).map_err(told)?;
            let read = stream.read(&mut self.buffer[..room]);
            let n = match cancel {
                true => {
                    let limit = Duration::from_micros(self.rng.u64(..500));
                    given_up(limit, read, &load.tally).await
                }
                false => Some(read.await),
            };
            let Some(n) = n else { continue };
            let n = n.map_err(|error| format!("byte {got} of {}: {}", message.len(), told(error)))?;
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

    /// A read of which nothing can come waits, and is given up.
    async fn cancel_a_read_in_vain(&mut self) -> Result<(), String> {
        self.stream.set_read_deadline_after(PATIENCE).map_err(told)?;
        let limit = Duration::from_micros(self.rng.u64(500..5000));
        let read = self.stream.read(&mut self.buffer);
        match given_up(limit, read, &self.load.tally).await {
            None => Ok(()),
            Some(Ok(n)) => Err(format!("{n} bytes came that nobody sent")),
            Some(Err(error)) => Err(told(error)),
        }
    }

    /// A read of which nothing can come waits until its deadline.
    async fn expire(&mut self) -> Result<(), String> {
        let after = Duration::from_micros(self.rng.u64(..5000));
        self.stream.set_read_deadline_after(after).map_err(told)?;
        match self.stream.read(&mut self.buffer).await {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                self.load.tally.expired.inc();
                Ok(())
            }
            Err(error) => Err(told(error)),
            Ok(n) => Err(format!("{n} bytes came that nobody sent")),
        }
    }

    /// One of three ends.
    async fn close(&mut self) -> Result<(), String> {
        match self.rng.u8(..3) {
            0 => self.end().await,
            1 => {
                let message = piece(&self.load.pool, &mut self.rng);
                self.stream.set_write_deadline_after(PATIENCE).map_err(told)?;
                self.stream.write_all(message).await.map_err(told)?;
                self.load.tally.dropped.inc();
                Ok(())
            }
            _ => self.close_under_a_read().await,
        }
    }

    /// Says that no more will come and expects the same: bytes that nobody sent would turn up here.
    async fn end(&mut self) -> Result<(), String> {
        self.stream.shutdown(Shutdown::Write).map_err(told)?;
        self.stream.set_read_deadline_after(PATIENCE).map_err(told)?;
        match self.stream.read(&mut self.buffer).await {
            Ok(0) => {
                self.load.tally.ended.inc();
                Ok(())
            }
            Ok(n) => Err(format!("{n} bytes came that nobody sent")),
            Err(error) => Err(told(error)),
        }
    }

    async fn close_under_a_read(&mut self) -> Result<(), String> {
        self.stream.set_read_deadline_after(PATIENCE).map_err(told)?;
        let (stream, mut buffer) = (self.stream.clone(), std::mem::take(&mut self.buffer));
        let reader = spawn(async move { (stream.read(&mut buffer).await, buffer) });
        // It has begun to wait, or not yet.
        for _ in 0..self.rng.u8(..3) {
            yield_now().await;
        }
        self.stream.close().await.map_err(told)?;
        let (read, buffer) = reader.await.map_err(|error| error.to_string())?;
        self.buffer = buffer;
        match read {
            Err(error) if is_closed(&error) => {
                self.load.tally.closed.inc();
                Ok(())
            }
            Err(error) => Err(format!("the read under a close: {}", told(error))),
            Ok(n) => Err(format!("the read under a close: {n} bytes")),
        }
    }
}

/// The read's result; none, and counted, if it was given up.
pub async fn given_up(
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

/// A piece of the pool: 4 of 5 are up to 256 bytes long, 1 of 20 up to 16 KiB.
fn piece<'a>(pool: &'a [u8], rng: &mut fastrand::Rng) -> &'a [u8] {
    let longest = match rng.u8(..100) {
        0..80 => 256,
        80..95 => BUFFER,
        _ => LONGEST,
    };
    let length = rng.usize(1..=longest);
    let start = rng.usize(..=pool.len() - length);
    &pool[start..start + length]
}

fn told(error: io::Error) -> String {
    if error.kind() == io::ErrorKind::TimedOut {
        format!("nothing moved for {PATIENCE:?}: {error}")
    } else {
        error.to_string()
    }
}
