//! What cannot be waited for, on kernels that do not say so themselves.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, retry_on_intr};

use crate::sys::{Call, door};

/// Refuses what epoll refuses: a regular file, a directory, a disk. poll(2) calls them ready at all times, and kqueue
/// tells of a file only how far its end is.
///
/// # Errors
///
/// `EPERM`; `EBADF` for a number that is not open.
pub(super) fn refuse_files(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    retry_on_intr(|| door::ask(Call::PollerOpen, fd))?;
    match FileType::from_raw_mode(fstat(fd)?.st_mode) {
        FileType::RegularFile | FileType::Directory | FileType::BlockDevice => Err(Errno::PERM),
        _ => Ok(()),
    }
}
