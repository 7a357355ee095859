//! Who is at the other end of a Unix socket, on macOS and the BSDs: getpeereid, which rustix does not have.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// The effective user and group of the peer.
pub(super) fn peer_eid(fd: BorrowedFd<'_>) -> Result<(u32, u32), Errno> {
    let (mut uid, mut gid) = (0, 0);
    // SAFETY: INV-7 keeps `fd` open through the borrow; the kernel writes the two places, which are ours and outlive the
    // call.
    match unsafe { libc::getpeereid(fd.as_raw_fd(), &raw mut uid, &raw mut gid) } {
        0 => Ok((uid, gid)),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}
