//! Signals as bytes in a pipe, which a handler writes. [`signals.rs`](../kqueue/signals.rs) is for kqueue.

use std::ffi::c_int;
use std::io::{self, ErrorKind};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::process::{Pid, getpid};

use super::{pipe, socket};

/// The end that the handler writes to.
#[derive(Debug)]
pub struct Teller {
    writer: OwnedFd,
    /// The process that listens. A child that was forked from it has the handler too, and shares the pipe.
    listener: Pid,
}

impl Teller {
    /// Tells the listener; runs in the handler.
    pub(super) fn tell(&self) {
        // Asked of the kernel each time: what counts the forks may not have run yet when a signal comes.
        if getpid() == self.listener {
            // Nobody can be told of an error here, and there is none but that the pipe is full.
            let _ = rustix::io::write(&self.writer, &[0]);
        }
    }
}

/// A pipe, whose two ends do not block: what becomes readable, and what makes it so.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`.
pub fn source() -> io::Result<(OwnedFd, Teller)> {
    let (reader, writer) = pipe::pipe()?;
    Ok((reader, Teller { writer, listener: getpid() }))
}

/// The kernel need not be asked for a signal that a handler waits for.
pub(super) fn watch(_source: BorrowedFd<'_>, _number: c_int) -> io::Result<()> {
    Ok(())
}

/// Takes all bytes out of the pipe: as many signals as have come count as one.
///
/// # Errors
///
/// `WouldBlock` if none has come; `UnexpectedEof` if another part of the program has cleared the signal's list of
/// listeners, so that none will come.
pub fn take(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut bytes = [0; 64];
    let mut taken = socket::read(fd, &mut bytes)?.n;
    if taken == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    while taken == bytes.len() {
        // Some have been taken, so an error, first of all that there are no more, is for the next call to find.
        taken = socket::read(fd, &mut bytes).map_or(0, |read| read.n);
    }
    Ok(())
}
