//! A session, and its four halves: a writer or a reader at one end, which moves from task to task.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use netpoll_core::sync::Counter;
use netpoll_rt::net::TcpStream;
use netpoll_rt::time::timeout;

use super::world::World;

/// The most operations before a half moves to another task.
const STAY: usize = 40;

/// The longest message, and the most bytes in a direction.
const LONGEST: usize = 64 * 1024;
const MOST: u64 = 512 * 1024;

/// The numbers, of a thousand operations, that duplicate the end and that cut the session off.
const DUPLICATES: u32 = 20;
const CUTS: u32 = 2;

/// The kind of error that is a fault even in a session that was cut off.
const WRONG: ErrorKind = ErrorKind::InvalidData;

/// The bytes of the two directions, and whether one of the ends was cut off.
pub struct Session {
    pub number: u64,
    seed: u64,
    /// The number of bytes in each direction, set before its half-close.
    pub totals: [OnceLock<u64>; 2],
    /// Set before an end is closed or reset. From then on errors and early ends are no faults.
    cut: OnceLock<()>,
}

impl Session {
    pub fn new(number: u64, seed: u64) -> Arc<Self> {
        Arc::new(Self { number, seed, totals: Default::default(), cut: OnceLock::new() })
    }

    /// Returns byte `at` of a direction.
    pub fn byte(&self, direction: usize, at: u64) -> u8 {
        let mixed = (at ^ self.seed.rotate_left(32 * direction as u32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).to_be_bytes()[0]
    }

    /// Returns the numbers that one half draws.
    fn random(&self, direction: usize, role: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed ^ (2 * direction as u64 + role))
    }

    /// Fills the buffer with the bytes from `at` on.
    pub fn fill(&self, direction: usize, at: u64, buffer: &mut [u8]) {
        for (byte, at) in buffer.iter_mut().zip(at..) {
            *byte = self.byte(direction, at);
        }
    }

    /// Returns the position of the first wrong byte.
    pub fn first_wrong(&self, direction: usize, at: u64, bytes: &[u8]) -> Option<u64> {
        (at..).zip(bytes).find(|&(at, &byte)| byte != self.byte(direction, at)).map(|(at, _)| at)
    }

    /// Announces that an end is about to be closed or reset.
    pub fn cut(&self) {
        self.cut.get_or_init(|| ());
    }

    pub fn is_cut(&self) -> bool {
        self.cut.get().is_some()
    }
}

pub struct Half {
    stream: Arc<TcpStream>,
    session: Arc<Session>,
    direction: usize,
    role: Role,
    /// The number of bytes so far.
    at: u64,
    rng: fastrand::Rng,
}

#[derive(Clone, Copy)]
enum Role {
    /// Writes this many bytes.
    Writer(u64),
    Reader,
}

/// The result of an operation.
enum Step {
    Continue,
    End,
}

impl Half {
    pub fn writer(stream: Arc<TcpStream>, session: Arc<Session>, direction: usize) -> Self {
        let mut rng = session.random(direction, 1);
        let most = rng.u64(1..=MOST);
        let role = Role::Writer(rng.u64(0..=most));
        Self { stream, session, direction, role, at: 0, rng }
    }

    pub fn reader(stream: Arc<TcpStream>, session: Arc<Session>, direction: usize) -> Self {
        let rng = session.random(direction, 0);
        Self { stream, session, direction, role: Role::Reader, at: 0, rng }
    }

    /// Continues in a new task of a random runtime, which does the same after some operations. Reports the end.
    pub fn continue_elsewhere(mut self, world: Arc<World>) {
        let handle = world.handles[self.rng.usize(..world.handles.len())].clone();
        drop(handle.spawn(async move {
            let number = self.session.number;
            match self.run(&world).await {
                Ok(Step::Continue) => {
                    world.tally.moves.inc();
                    self.continue_elsewhere(world);
                }
                Ok(Step::End) => world.end(number, Ok(())),
                Err(error) if error.kind() != WRONG && self.session.is_cut() => world.end(number, Ok(())),
                Err(error) => {
                    let what = if matches!(self.role, Role::Reader) { "reader" } else { "writer" };
                    let fault =
                        format!("{what} of direction {} at byte {}: {error}", self.direction, self.at);
                    world.end(number, Err(fault));
                }
            }
        }));
    }

    /// Makes some operations.
    async fn run(&mut self, world: &World) -> io::Result<Step> {
        for _ in 0..self.rng.usize(1..STAY) {
            world.tally.operations.inc();
            let dice = self.rng.u32(..1000);
            if dice < DUPLICATES {
                self.stream = Arc::new(self.stream.dup()?);
                world.tally.duplicates.inc();
            } else if dice < DUPLICATES + CUTS {
                return self.cut(world).await;
            }
            let stepped = match self.role {
                Role::Writer(total) => self.write(total, world).await,
                Role::Reader => self.read(world).await,
            };
            match stepped {
                Ok(Step::Continue) => {}
                Ok(Step::End) => return Ok(Step::End),
                // A deadline expired before a byte was moved. A session that was cut off may never move again.
                Err(error) if error.kind() == ErrorKind::TimedOut && !self.session.is_cut() => {
                    world.tally.expired.inc();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Step::Continue)
    }

    /// Closes this end under the operations that use it, or resets the connection.
    async fn cut(&mut self, world: &World) -> io::Result<Step> {
        self.session.cut();
        if self.rng.bool() {
            self.stream.set_linger(Some(Duration::ZERO))?;
            world.tally.resets.inc();
        } else {
            world.tally.closes.inc();
        }
        self.stream.close().await?;
        Ok(Step::End)
    }

    fn deadline(&mut self) -> Duration {
        match self.rng.u8(..4) {
            0 => Duration::from_micros(self.rng.u64(..200)),
            1 => Duration::from_millis(self.rng.u64(..20)),
            _ => Duration::from_millis(self.rng.u64(100..400)),
        }
    }

    /// Draws the time after which an operation is cancelled. Mostly there is none.
    fn patience(&mut self) -> Option<Duration> {
        (self.rng.u8(..8) == 0).then(|| Duration::from_micros(self.rng.u64(..300)))
    }

    async fn write(&mut self, total: u64, world: &World) -> io::Result<Step> {
        if self.at == total {
            self.session.totals[self.direction].get_or_init(|| total);
            self.stream.shutdown(Shutdown::Write)?;
            world.tally.half_closes.inc();
            return Ok(Step::End);
        }
        let left = usize::try_from(total - self.at).unwrap_or(LONGEST);
        let longest = if self.rng.u8(..4) == 0 { LONGEST } else { 300 };
        let mut bytes = vec![0; self.rng.usize(1..=longest.min(left))];
        self.session.fill(self.direction, self.at, &mut bytes);
        if world.spoil && self.session.number == 0 {
            bytes[0] ^= 1;
        }
        let (limit, patience) = (self.deadline(), self.patience());
        self.stream.set_write_deadline_after(limit)?;
        let (kind, stream) = (self.rng.u8(..4), self.stream.clone());
        let (a, b) = bytes.split_at(bytes.len() / 2);
        let written = match kind {
            0 => {
                cancel_after(
                    patience,
                    &world.tally.cancelled,
                    stream.writev(&[IoSlice::new(a), IoSlice::new(b)]),
                )
                .await?
            }
            1 => {
                stream.writable().await?;
                Some(stream.try_write(&bytes)?)
            }
            _ => cancel_after(patience, &world.tally.cancelled, stream.write(&bytes)).await?,
        };
        self.at += written.unwrap_or(0) as u64;
        Ok(Step::Continue)
    }

    async fn read(&mut self, world: &World) -> io::Result<Step> {
        let longest = if self.rng.u8(..4) == 0 { LONGEST } else { 500 };
        let mut buffer = vec![0; self.rng.usize(1..=longest)];
        let (limit, patience) = (self.deadline(), self.patience());
        self.stream.set_read_deadline_after(limit)?;
        let (kind, stream) = (self.rng.u8(..5), self.stream.clone());
        let tally = &world.tally.cancelled;
        let read = match kind {
            0 => {
                let half = buffer.len() / 2;
                let (a, b) = buffer.split_at_mut(half);
                cancel_after(patience, tally, stream.readv(&mut [IoSliceMut::new(a), IoSliceMut::new(b)]))
                    .await?
            }
            1 => {
                stream.readable().await?;
                Some(stream.try_read(&mut buffer)?)
            }
            2 => {
                let n = stream.peek(&mut buffer).await?;
                self.compare(&buffer[..n])?;
                Some(stream.read(&mut buffer).await?)
            }
            _ => cancel_after(patience, tally, stream.read(&mut buffer)).await?,
        };
        let Some(n) = read else { return Ok(Step::Continue) };
        if n == 0 {
            return self.ended();
        }
        self.compare(&buffer[..n])?;
        self.at += n as u64;
        world.tally.bytes.add(n);
        Ok(Step::Continue)
    }

    fn compare(&self, bytes: &[u8]) -> io::Result<()> {
        let wrong = self.session.first_wrong(self.direction, self.at, bytes);
        wrong.map_or(Ok(()), |at| Err(io::Error::new(WRONG, format!("byte {at} is wrong"))))
    }

    /// Handles the end of the stream. Returns an error if bytes are missing and the session was not cut off.
    fn ended(&self) -> io::Result<Step> {
        let total = self.session.totals[self.direction].get();
        if total == Some(&self.at) || self.session.is_cut() {
            return Ok(Step::End);
        }
        Err(io::Error::other(format!("the stream ended, and {total:?} bytes were sent")))
    }
}

/// Awaits an operation for at most `patience`. Returns `None`, and counts that, if it was cancelled.
async fn cancel_after(
    patience: Option<Duration>,
    tally: &Counter,
    operation: impl Future<Output = io::Result<usize>>,
) -> io::Result<Option<usize>> {
    let Some(patience) = patience else { return operation.await.map(Some) };
    match timeout(patience, operation).await {
        Ok(result) => result.map(Some),
        Err(_) => {
            tally.inc();
            Ok(None)
        }
    }
}
