//! Pipes for copies within the kernel. A copy has one only while bytes are in it, so a copy that waits for its source has
//! none. A few empty ones are kept, which saves the creation of a new one each time.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use netpoll_core::sync::Counter;

use crate::sync::{Mutex, lock};
use crate::sys::{ForkEpoch, pipe};

/// The largest number of pipes that are kept for the next copy.
pub const MOST_IDLE: usize = 16;

/// The capacity in bytes that is requested for a pipe: a few times the default of the kernel's socket buffers.
const WANTED: usize = 256 * 1024;

/// The capacity of a pipe unless the kernel says otherwise.
const DEFAULT: usize = 64 * 1024;

/// The idle pipes of one [`Netpoll`](super::Netpoll), and how copies went.
pub struct Pipes {
    /// The process that made the pipes. A forked child shares them and leaves them alone.
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
    /// Creates a pool without pipes.
    pub(super) fn new(epoch: ForkEpoch) -> Arc<Self> {
        let idle = Mutex::default();
        let [made, spliced, sent, buffered] = [(); 4].map(|()| Counter::new());
        Arc::new(Self { epoch, idle, made, spliced, sent, buffered })
    }

    /// Returns the number of idle pipes, at most [`MOST_IDLE`].
    pub fn idle(&self) -> usize {
        lock(&self.idle).len()
    }

    /// Returns an empty pipe.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error if no pipe is idle and a new one cannot be made.
    pub fn take(self: &Arc<Self>) -> io::Result<Pipe> {
        let idle = if self.epoch.is_current() { lock(&self.idle).pop() } else { None };
        let ends = idle.map_or_else(|| self.make(), Ok)?;
        Ok(Pipe { pipes: self.clone(), ends: Some(ends), held: 0 })
    }

    fn make(&self) -> io::Result<PipeEnds> {
        let (reader, writer) = pipe::pipe()?;
        self.made.inc();
        // A user with too many large pipes gets a smaller one, and a system without the call its own size.
        let capacity = pipe::set_capacity(writer.as_fd(), WANTED).or_else(|_| pipe::capacity(writer.as_fd()));
        Ok(PipeEnds { reader, writer, capacity: capacity.unwrap_or(DEFAULT) })
    }

    /// Keeps an empty pipe, or returns it, to be closed outside the lock.
    fn keep(&self, ends: PipeEnds) -> Option<PipeEnds> {
        if !self.epoch.is_current() {
            return Some(ends);
        }
        let mut idle = lock(&self.idle);
        if idle.len() == MOST_IDLE {
            return Some(ends);
        }
        idle.push(ends);
        None
    }
}

/// A pipe that one copy has. Dropped empty it is kept for the next copy; with bytes in it, it is closed.
#[derive(Debug)]
pub struct Pipe {
    pipes: Arc<Pipes>,
    /// Taken out by the drop only.
    ends: Option<PipeEnds>,
    held: usize,
}

impl Pipe {
    /// Returns the number of bytes in it.
    pub fn held(&self) -> usize {
        self.held
    }

    fn ends(&self) -> &PipeEnds {
        self.ends.as_ref().expect("a pipe keeps its ends until it is dropped")
    }

    /// Moves bytes in with `call`, which gets the end to write to and the number of bytes that the pipe may still take.
    ///
    /// # Errors
    ///
    /// Returns the error of the call, which then has moved nothing; `WouldBlock` if the pipe is full.
    pub fn fill(
        &mut self,
        call: impl FnOnce(BorrowedFd<'_>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let room = self.ends().capacity.saturating_sub(self.held);
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = call(self.ends().writer.as_fd(), room)?;
        self.held += n;
        Ok(n)
    }

    /// Moves bytes out with `call`, which gets the end to read from and the number of bytes in the pipe.
    ///
    /// # Errors
    ///
    /// Returns the error of the call, which then has moved nothing.
    pub fn empty(
        &mut self,
        call: impl FnOnce(BorrowedFd<'_>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let n = call(self.ends().reader.as_fd(), self.held)?;
        self.held -= n;
        Ok(n)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // The next copy must not find the bytes of this one.
        if self.held == 0 {
            let surplus = self.ends.take().and_then(|ends| self.pipes.keep(ends));
            drop(surplus);
        }
    }
}
