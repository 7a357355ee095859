//! Moving bytes between two descriptors within the kernel, where there is no splice(2), nor sendfile(2) as Linux has it:
//! everything is refused, and bytes go through a buffer.

use std::io;
use std::os::fd::BorrowedFd;

/// Refused.
pub fn splice_in(_from: BorrowedFd<'_>, _pipe: BorrowedFd<'_>, _length: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Refused.
pub fn splice_to_pipe(_pipe: BorrowedFd<'_>, _to: BorrowedFd<'_>, _length: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Refused.
pub fn splice_to_socket(_pipe: BorrowedFd<'_>, _to: BorrowedFd<'_>, _length: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Refused.
pub fn send_file(_file: BorrowedFd<'_>, _pipe: BorrowedFd<'_>, _length: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// True for what the functions of this file say.
pub fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}
