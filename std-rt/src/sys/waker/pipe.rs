//! A waker made of a pipe, for kernels without a better one: readable while a break is pending.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, read, retry_on_intr, write};

use crate::sys::call::{retry_errno, retry_new};
use crate::sys::{Call, pipe};

/// A pipe whose two ends are non-blocking.
#[derive(Debug)]
pub struct Waker {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Waker {
    /// Creates a waker without a pending break.
    pub fn new() -> io::Result<Self> {
        retry_new(Call::PollerInit, || Ok(()))?;
        let (reader, writer) = pipe::pipe()?;
        Ok(Self { reader, writer })
    }

    /// Makes the pipe readable.
    pub fn wake(&self) -> Result<(), Errno> {
        match retry_on_intr(|| write(&self.writer, &[0])) {
            // A full pipe is readable already.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Drains the pipe. Returns false if it was empty.
    pub fn drain(&self) -> io::Result<bool> {
        let mut bytes = [0; 64];
        let mut some = false;
        loop {
            let drained = retry_errno(Call::Drain, self.reader.as_fd(), || read(&self.reader, &mut bytes));
            match drained {
                Ok(n) if n == bytes.len() => some = true,
                Ok(n) => return Ok(some || n > 0),
                Err(Errno::AGAIN) => return Ok(some),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Returns the end to write to.
    pub fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }
}

/// Borrows the end that is watched.
impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
