//! How much a pipe holds: Linux. [`no_pipe_size.rs`](../no_pipe_size.rs) is for the other systems.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::retry_on_intr;
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

use super::{Call, door};

/// The capacity in bytes.
pub fn capacity(fd: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(retry_on_intr(|| {
        door::ask(Call::GetOption, fd)?;
        fcntl_getpipe_size(fd)
    })?)
}

/// Asks for a capacity; returns the one that the kernel made of it, which is no less.
///
/// # Errors
///
/// `EPERM` beyond the system's limit, `EBUSY` if what is in the pipe would not fit.
pub fn set_capacity(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    Ok(retry_on_intr(|| {
        door::ask(Call::SetOption, fd)?;
        fcntl_setpipe_size(fd, bytes)
    })?)
}
