//! Signals as bytes in a pipe, written by a handler. The kqueue backend has its own source instead.

use std::ffi::c_int;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::process::{Pid, getpid};

use super::{pipe, socket};

/// The handler's end of a signal source: it writes a byte to the pipe.
#[derive(Debug)]
pub struct SignalWriter {
    writer: OwnedFd,
    /// The process that listens. A forked child has the handler too, and shares the pipe.
    listener: Pid,
}

impl AsRawFd for SignalWriter {
    fn as_raw_fd(&self) -> RawFd {
        self.writer.as_raw_fd()
    }
}

impl SignalWriter {
    /// Notifies the listener; runs in the handler.
    pub fn notify(&self) {
        // Asks the kernel each time, because the handler that counts forks may not have run yet when a signal
        // arrives.
        if getpid() == self.listener {
            // A handler cannot report an error, and the only one possible is a full pipe, which is readable
            // already.
            let _ = rustix::io::write(&self.writer, &[0]);
        }
    }
}

/// Creates the descriptor that becomes readable when a signal arrives, a non-blocking pipe, and the handler's
/// end of it.
///
/// # Errors
///
/// Returns `EMFILE` or `ENFILE`.
pub fn new_source() -> io::Result<(OwnedFd, SignalWriter)> {
    let (reader, writer) = pipe::pipe()?;
    Ok((reader, SignalWriter { writer, listener: getpid() }))
}

/// Does nothing: the handler needs no help from the kernel.
pub fn watch(_source: BorrowedFd<'_>, _number: c_int) -> io::Result<()> {
    Ok(())
}

/// Drains the pipe; any number of signals that arrived count as one.
///
/// # Errors
///
/// Returns `WouldBlock` if no signal has arrived; `UnexpectedEof` if other code has cleared the signal's list
/// of actions, so that none will arrive.
pub fn drain(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut bytes = [0; 64];
    let mut taken = socket::read(fd, &mut bytes)?.n;
    if taken == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    while taken == bytes.len() {
        // The first bytes are a success. An error here, usually that the pipe is empty, is left for the next
        // call.
        taken = socket::read(fd, &mut bytes).map_or(0, |read| read.n);
    }
    Ok(())
}
