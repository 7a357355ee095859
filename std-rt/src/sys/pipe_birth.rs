//! A new pipe, where pipe2(2) makes it close-on-exec and non-blocking from its first moment.
//! [`pipe_dressed.rs`](../pipe_dressed.rs) is for the systems without.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::retry_on_intr;
use rustix::pipe::{PipeFlags, pipe_with};

use super::{Call, door};

/// A new pipe of bytes: the end that is read, the end that is written. Both are close-on-exec and non-blocking.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(retry_on_intr(|| {
        door::ask_new(Call::Pipe)?;
        pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
    })?)
}
