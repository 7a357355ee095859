//! The waker of an epoll: an eventfd.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, read, retry_on_intr, write};

use crate::sys::Call;
use crate::sys::call::{retry_errno, retry_new};

/// A non-blocking eventfd, registered edge-triggered: each addition to its counter is one event, so nobody reads it.
#[derive(Debug)]
pub struct Waker {
    eventfd: OwnedFd,
}

impl Waker {
    /// Creates a waker without a pending break.
    pub fn new() -> io::Result<Self> {
        let eventfd =
            retry_new(Call::PollerInit, || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK))?;
        Ok(Self { eventfd })
    }

    /// Makes a break pending, which the next wait of the epoll takes.
    pub fn wake(&self) -> io::Result<()> {
        let add = || write(&self.eventfd, &1_u64.to_ne_bytes());
        let added = match retry_errno(Call::Break, self.eventfd.as_fd(), add) {
            // The counter is full, so nothing was added. To empty it is no event, the addition behind it is.
            Err(Errno::AGAIN) => self.empty().and_then(|()| retry_on_intr(add)),
            added => added,
        };
        Ok(added.map(drop)?)
    }

    fn empty(&self) -> Result<(), Errno> {
        let mut count = [0; size_of::<u64>()];
        match retry_errno(Call::Drain, self.eventfd.as_fd(), || read(&self.eventfd, &mut count)) {
            // Another thread has emptied it.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// Borrows the eventfd.
impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}
