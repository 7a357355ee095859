//! The calls that rustix lacks, each behind a safe function: one of the two rooms of `sys` with `unsafe` in them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_int;
use rustix::io::Errno;

/// setsockopt(2) of an option that rustix does not have.
pub(super) fn set_option(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &[u8]) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(value.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: INV-7 keeps `fd` open through the borrow. The kernel reads `length` bytes of `value`, which has as many,
    // and copies them, however they are aligned.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), length) };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

/// getsockopt(2) of an option that rustix does not have; returns how many bytes of `value` the kernel filled.
pub(super) fn option(
    fd: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: &mut [u8],
) -> Result<usize, Errno> {
    let mut length = libc::socklen_t::try_from(value.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: INV-7 keeps `fd` open through the borrow. The kernel writes at most `length` bytes into `value`, which is
    // borrowed exclusively and has as many, and their count into `length`.
    let result =
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length) };
    if result != 0 {
        return Err(last_errno());
    }
    Ok(usize::try_from(length).map_or(value.len(), |length| length.min(value.len())))
}

fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
