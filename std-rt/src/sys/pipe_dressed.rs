//! A new pipe, where there is no pipe2(2): it is made close-on-exec and non-blocking at once, but not in the same moment.
//! A process that another thread starts in between inherits both ends.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio, retry_on_intr};

use super::{Call, door};

/// A new pipe of bytes: the end that is read, the end that is written. Both are close-on-exec and non-blocking.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let ends = retry_on_intr(|| {
        door::ask_new(Call::Pipe)?;
        rustix::pipe::pipe()
    })?;
    for end in [&ends.0, &ends.1] {
        fcntl_setfd(end, FdFlags::CLOEXEC)?;
        ioctl_fionbio(end, true)?;
    }
    Ok(ends)
}
