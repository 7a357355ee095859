//! The waker of an epoll: an eventfd.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, read, write};

use crate::sys::Call;
use crate::sys::call::{retry_errno, retry_new};

/// A non-blocking eventfd that is readable while a break is pending.
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

    /// Makes a break pending. A full counter means that one is pending already.
    pub fn wake(&self) -> io::Result<()> {
        let written =
            retry_errno(Call::Break, self.eventfd.as_fd(), || write(&self.eventfd, &1_u64.to_ne_bytes()));
        match written {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Consumes the break. Returns false if another wait has consumed it before and reports it.
    pub fn drain(&self) -> io::Result<bool> {
        let mut count = [0; size_of::<u64>()];
        let drained = retry_errno(Call::Drain, self.eventfd.as_fd(), || read(&self.eventfd, &mut count));
        match drained {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Borrows the eventfd.
impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}
