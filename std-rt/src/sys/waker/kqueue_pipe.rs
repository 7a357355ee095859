//! The waker of a kqueue as a pipe with a level-triggered read filter: NetBSD, OpenBSD.
//! User filters are missing or recent there; [`user_event.rs`](../user_event.rs) is for the other systems.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::event::kqueue::{Event, EventFilter, EventFlags};
use rustix::io::Errno;

use super::pipe;
use crate::sys::Call;
use crate::sys::backend::{BREAK, change, udata};
use crate::sys::call::{retry, retry_errno};

/// A pipe that stays readable until a wait has drained it.
#[derive(Debug)]
pub struct Waker {
    pipe: pipe::Waker,
}

impl Waker {
    /// Creates the pipe and adds its filter to a kqueue.
    pub fn new(kqueue: BorrowedFd<'_>) -> io::Result<Self> {
        let pipe = pipe::Waker::new()?;
        let filter = EventFilter::Read(pipe.as_fd().as_raw_fd());
        retry(Call::PollerOpen, kqueue, || Ok(()))?;
        change(kqueue, &[Event::new(filter, EventFlags::ADD, udata(BREAK))])?;
        Ok(Waker { pipe })
    }

    /// Ends a wait.
    pub fn wake(&self, _kqueue: BorrowedFd<'_>) -> io::Result<()> {
        match retry_errno(Call::Break, self.pipe.writer(), || Ok(())) {
            Ok(()) => Ok(self.pipe.wake()?),
            // The injected error says that the pipe is full, and has filled it: a break is pending.
            Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Returns the end to which written bytes end a wait too.
    pub fn writer<'a>(&'a self, _kqueue: BorrowedFd<'a>) -> BorrowedFd<'a> {
        self.pipe.writer()
    }

    /// Consumes a break that a wait has seen. Returns false if another wait has consumed it before.
    pub fn consume(&self) -> io::Result<bool> {
        self.pipe.drain()
    }
}
