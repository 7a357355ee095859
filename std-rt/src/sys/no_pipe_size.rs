//! How much a pipe holds, where the kernel does not tell.

use std::io;
use std::os::fd::BorrowedFd;

/// Unsupported here.
pub fn capacity(_fd: BorrowedFd<'_>) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Unsupported here.
pub fn set_capacity(_fd: BorrowedFd<'_>, _bytes: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
