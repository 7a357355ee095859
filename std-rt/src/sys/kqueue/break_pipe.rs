//! The break of a kqueue as a pipe, level-triggered, where a filter for it is missing or young: NetBSD, OpenBSD.
//! [`break_user.rs`](../break_user.rs) is for the others.

#[path = "../self_pipe.rs"]
mod self_pipe;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::event::kqueue::{Event, EventFilter, EventFlags};
use rustix::io::{Errno, retry_on_intr};

use super::backend::{BREAK, change, udata};
use super::{Call, door};
use self_pipe::SelfPipe;

/// Stays in sight until a blocking wait has read the pipe empty.
#[derive(Debug)]
pub(super) struct Break {
    pipe: SelfPipe,
}

impl Break {
    pub(super) fn new(kqueue: BorrowedFd<'_>) -> io::Result<Self> {
        let pipe = SelfPipe::new()?;
        let filter = EventFilter::Read(pipe.as_fd().as_raw_fd());
        retry_on_intr(|| door::ask(Call::PollerOpen, kqueue))?;
        change(kqueue, &[Event::new(filter, EventFlags::ADD, udata(BREAK))])?;
        Ok(Break { pipe })
    }

    /// Ends a wait.
    pub(super) fn trigger(&self, _kqueue: BorrowedFd<'_>) -> io::Result<()> {
        match retry_on_intr(|| door::ask(Call::Break, self.pipe.writer())) {
            Ok(()) => Ok(self.pipe.write()?),
            // Full, the door says, and has seen to it: a break is pending.
            Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Bytes written to it end a wait, too.
    pub(super) fn writer<'a>(&'a self, _kqueue: BorrowedFd<'a>) -> BorrowedFd<'a> {
        self.pipe.writer()
    }

    /// A wait was shown the break. True if it is consumed; one that does not block leaves it, and so does one that comes
    /// after another.
    pub(super) fn seen(&self, _kqueue: BorrowedFd<'_>, blocking: bool) -> io::Result<bool> {
        if blocking { self.pipe.drain() } else { Ok(false) }
    }
}
