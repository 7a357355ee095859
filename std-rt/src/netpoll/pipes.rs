//! Pipes for copies within the kernel. A pipe is taken for as long as bytes are in it, so that a copy that waits for its
//! source has none; and the few that are kept empty spare the making of a new one each time.

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use netpoll_core::sync::Counter;

use crate::sys::{ForkEpoch, pipe};

/// Most pipes that are kept for the next copy.
pub const MOST_IDLE: usize = 16;

/// What a pipe of ours should hold, in bytes: as much as the default of the kernel's socket buffers, times a few.
const WANTED: usize = 256 * 1024;

/// What a pipe holds unless the kernel says otherwise.
const DEFAULT: usize = 64 * 1024;

/// The pipes of one [`Netpoll`](super::Netpoll) that nobody uses, and how copies went.
pub struct Pipes {
    /// The process whose pipes they are. A child that was forked from it shares them, and leaves them alone.
    epoch: ForkEpoch,
    idle: Mutex<Vec<PipeEnds>>,
    /// Pipes made so far.
    pub made: Counter,
    /// Bytes that were copied through a pipe.
    pub spliced: Counter,
    /// Bytes that the kernel sent from a file.
    pub sent: Counter,
    /// Bytes that were copied through a buffer.
    pub buffered: Counter,
}

#[derive(Debug)]
struct PipeEnds {
    reader: OwnedFd,
    writer: OwnedFd,
    capacity: usize,
}

impl fmt::Debug for Pipes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipes")
            .field("idle", &self.idle())
            .field("made", &self.made.get())
            .finish_non_exhaustive()
    }
}

impl Pipes {
    /// None yet.
    pub(super) fn new(epoch: ForkEpoch) -> Self {
        let idle = Mutex::default();
        let [made, spliced, sent, buffered] = [(); 4].map(|()| Counter::new());
        Self { epoch, idle, made, spliced, sent, buffered }
    }

    /// How many are kept: at most [`MOST_IDLE`].
    pub fn idle(&self) -> usize {
        self.lock().len()
    }

    /// An empty pipe.
    ///
    /// # Errors
    ///
    /// The kernel's, if it needs a new one and there are no descriptors left.
    pub fn take(&self) -> io::Result<Pipe<'_>> {
        let idle = if self.epoch.is_current() { self.lock().pop() } else { None };
        let ends = idle.map_or_else(|| self.make(), Ok)?;
        Ok(Pipe { home: self, ends: Some(ends), held: 0 })
    }

    /// Takes a pipe back that was given to a thread with [`Pipe::detach`].
    pub fn attach(&self, detached: DetachedPipe) -> Pipe<'_> {
        Pipe { home: self, ends: Some(detached.ends), held: detached.held }
    }

    fn make(&self) -> io::Result<PipeEnds> {
        let (reader, writer) = pipe::pipe()?;
        self.made.inc();
        // One who has too many large pipes gets a smaller one, and a system without the call its own size.
        let capacity = pipe::set_capacity(writer.as_fd(), WANTED).or_else(|_| pipe::capacity(writer.as_fd()));
        Ok(PipeEnds { reader, writer, capacity: capacity.unwrap_or(DEFAULT) })
    }

    /// Keeps an empty pipe, or gives it back to be closed outside of the lock.
    fn keep(&self, ends: PipeEnds) -> Option<PipeEnds> {
        if !self.epoch.is_current() {
            return Some(ends);
        }
        let mut idle = self.lock();
        if idle.len() == MOST_IDLE {
            return Some(ends);
        }
        idle.push(ends);
        None
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PipeEnds>> {
        // A list is whole between its calls.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pipe that one copy has. Dropped empty it is kept for the next one; with bytes in it, it is closed.
#[derive(Debug)]
pub struct Pipe<'a> {
    home: &'a Pipes,
    /// There until the drop.
    ends: Option<PipeEnds>,
    held: usize,
}

/// A pipe on its way to a thread that cannot borrow [`Pipes`], or back. Dropped, it is closed.
#[derive(Debug)]
pub struct DetachedPipe {
    ends: PipeEnds,
    held: usize,
}

impl DetachedPipe {
    /// Returns how many bytes are in it.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Moves bytes in with `call`, which gets the end to write to and how many bytes the pipe may still take.
    ///
    /// # Errors
    ///
    /// Returns the error of the call, which then has moved nothing; `WouldBlock` if the pipe is full.
    pub fn fill(
        &mut self,
        call: impl FnOnce(BorrowedFd<'_>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let room = self.ends.capacity.saturating_sub(self.held);
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = call(self.ends.writer.as_fd(), room)?;
        self.held += n;
        Ok(n)
    }
}

impl Pipe<'_> {
    /// How many bytes are in it.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Gives the pipe to a thread that cannot borrow [`Pipes`]; [`Pipes::attach`] takes it back.
    pub fn detach(mut self) -> DetachedPipe {
        let held = mem::take(&mut self.held);
        let ends = self.ends.take().expect("a pipe keeps its ends until it is dropped");
        DetachedPipe { ends, held }
    }

    /// Moves bytes in with `call`, which gets the end to write to and how much to move at most. To be called while the
    /// pipe is empty.
    ///
    /// # Errors
    ///
    /// Those of the call, which then has moved nothing.
    pub fn fill(
        &mut self,
        call: impl FnOnce(BorrowedFd<'_>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let ends = ends(&self.ends);
        let n = call(ends.writer.as_fd(), ends.capacity)?;
        self.held += n;
        Ok(n)
    }

    /// Moves bytes out with `call`, which gets the end to read from and how many are there.
    ///
    /// # Errors
    ///
    /// Those of the call, which then has moved nothing.
    pub fn empty(
        &mut self,
        call: impl FnOnce(BorrowedFd<'_>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let n = call(ends(&self.ends).reader.as_fd(), self.held)?;
        self.held -= n;
        Ok(n)
    }
}

fn ends(ends: &Option<PipeEnds>) -> &PipeEnds {
    ends.as_ref().expect("a pipe keeps its ends until it is dropped")
}

impl Drop for Pipe<'_> {
    fn drop(&mut self) {
        // Whoever takes it next would find bytes that are not his own.
        if mem::take(&mut self.held) == 0 {
            let surplus = self.ends.take().and_then(|ends| self.home.keep(ends));
            drop(surplus);
        }
    }
}
