//! The break of kernels without a better one: a pipe to oneself, readable while a break is pending.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, read, retry_on_intr, write};

use crate::sys::{Call, door, pipe};

/// Neither end ever waits.
#[derive(Debug)]
pub(super) struct SelfPipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl SelfPipe {
    pub(super) fn new() -> io::Result<Self> {
        retry_on_intr(|| door::ask_new(Call::PollerInit))?;
        let (reader, writer) = pipe::pipe()?;
        Ok(Self { reader, writer })
    }

    /// Becomes readable; stays so if it is.
    pub(super) fn write(&self) -> Result<(), Errno> {
        match retry_on_intr(|| write(&self.writer, &[0])) {
            // A full pipe is readable.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Reads it empty. False if it was.
    pub(super) fn drain(&self) -> io::Result<bool> {
        let mut bytes = [0; 64];
        let mut some = false;
        loop {
            let drained = retry_on_intr(|| {
                door::ask(Call::Drain, self.reader.as_fd())?;
                read(&self.reader, &mut bytes)
            });
            match drained {
                Ok(n) if n == bytes.len() => some = true,
                Ok(n) => return Ok(some || n > 0),
                Err(Errno::AGAIN) => return Ok(some),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The end to write to.
    pub(super) fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }
}

/// What is watched.
impl AsFd for SelfPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
