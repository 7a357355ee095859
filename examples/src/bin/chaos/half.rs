//! One of the four halves of a session: a writer or a reader at one end, and the tasks that it goes through.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use netpoll_core::sync::Counter;
use netpoll_rt::net::TcpStream;
use netpoll_rt::time::timeout;

use crate::World;
use crate::session::Session;

/// Operations until it goes on in another task, at most.
const STAY: usize = 40;

/// The longest message and the most bytes of a direction.
const LONGEST: usize = 64 * 1024;
const MOST: u64 = 512 * 1024;

/// In a thousand operations: so many duplicate the end, so many cut the session off.
const DUPLICATES: u32 = 20;
const CUTS: u32 = 2;

/// The kind of error that is a fault also in a session that was cut off.
const WRONG: ErrorKind = ErrorKind::InvalidData;

pub struct Half {
    stream: Arc<TcpStream>,
    session: Arc<Session>,
    direction: usize,
    role: Role,
    /// Bytes so far.
    at: u64,
    rng: fastrand::Rng,
}

#[derive(Clone, Copy)]
enum Role {
    /// Of so many bytes.
    Writer(u64),
    Reader,
}

/// How an operation went.
enum Step {
    On,
    End,
}

impl Half {
    pub fn writer(stream: Arc<TcpStream>, session: Arc<Session>, direction: usize) -> Self {
        let mut half = Self::reader(stream, session, direction);
        let most = half.rng.u64(1..=MOST);
        half.role = Role::Writer(half.rng.u64(0..=most));
        half
    }

    pub fn reader(stream: Arc<TcpStream>, session: Arc<Session>, direction: usize) -> Self {
        let rng = fastrand::Rng::new();
        Self { stream, session, direction, role: Role::Reader, at: 0, rng }
    }

    /// Goes on in a new task of some runtime, again and again, and says how it ended.
    pub fn go_on(mut self, world: Arc<World>) {
        let handle = world.handles[self.rng.usize(..world.handles.len())].clone();
        drop(handle.spawn(async move {
            let number = self.session.number;
            match self.some(&world).await {
                Ok(Step::On) => {
                    world.tally.moves.inc();
                    self.go_on(world);
                }
                Ok(Step::End) => end(&world, number, Ok(())),
                Err(error) if error.kind() != WRONG && self.session.is_cut() => end(&world, number, Ok(())),
                Err(error) => {
                    let what = if matches!(self.role, Role::Reader) { "reader" } else { "writer" };
                    let fault =
                        format!("{what} of direction {} at byte {}: {error}", self.direction, self.at);
                    end(&world, number, Err(fault));
                }
            }
        }));
    }

    /// A few operations.
    async fn some(&mut self, world: &World) -> io::Result<Step> {
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
                Ok(Step::On) => {}
                Ok(Step::End) => return Ok(Step::End),
                // The deadline: nothing was moved. A session that was cut off may never move again.
                Err(error) if error.kind() == ErrorKind::TimedOut && !self.session.is_cut() => {
                    world.tally.expired.inc();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Step::On)
    }

    /// Closes this end's number under whatever uses it, or resets the connection.
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

    /// For how long it is waited for; mostly as long as it takes.
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
                given_up(patience, &world.tally.given_up, stream.writev(&[IoSlice::new(a), IoSlice::new(b)]))
                    .await?
            }
            1 => {
                stream.writable().await?;
                Some(stream.try_write(&bytes)?)
            }
            _ => given_up(patience, &world.tally.given_up, stream.write(&bytes)).await?,
        };
        self.at += written.unwrap_or(0) as u64;
        Ok(Step::On)
    }

    async fn read(&mut self, world: &World) -> io::Result<Step> {
        let longest = if self.rng.u8(..4) == 0 { LONGEST } else { 500 };
        let mut buffer = vec![0; self.rng.usize(1..=longest)];
        let (limit, patience) = (self.deadline(), self.patience());
        self.stream.set_read_deadline_after(limit)?;
        let (kind, stream) = (self.rng.u8(..5), self.stream.clone());
        let tally = &world.tally.given_up;
        let read = match kind {
            0 => {
                let half = buffer.len() / 2;
                let (a, b) = buffer.split_at_mut(half);
                given_up(patience, tally, stream.readv(&mut [IoSliceMut::new(a), IoSliceMut::new(b)])).await?
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
            _ => given_up(patience, tally, stream.read(&mut buffer)).await?,
        };
        let Some(n) = read else { return Ok(Step::On) };
        if n == 0 {
            return self.ended();
        }
        self.compare(&buffer[..n])?;
        self.at += n as u64;
        world.tally.bytes.add(n);
        Ok(Step::On)
    }

    fn compare(&self, bytes: &[u8]) -> io::Result<()> {
        let wrong = self.session.wrong(self.direction, self.at, bytes);
        wrong.map_or(Ok(()), |at| Err(io::Error::new(WRONG, format!("byte {at} is wrong"))))
    }

    /// The end of the stream: all has come, unless the session was cut off.
    fn ended(&self) -> io::Result<Step> {
        let total = self.session.totals[self.direction].get();
        if total == Some(&self.at) || self.session.is_cut() {
            return Ok(Step::End);
        }
        Err(io::Error::other(format!("the stream ended, and {total:?} bytes were sent")))
    }
}

fn end(world: &World, number: u64, result: Result<(), String>) {
    // Once the coordinator has given up nobody listens any more.
    let _ = world.ends.try_send((number, result));
}

/// The operation's result; none, and counted, if it was given up.
async fn given_up(
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
