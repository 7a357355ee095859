//! Apple systems and the BSDs: the credentials of a Unix socket's peer.

#![expect(unsafe_code, reason = "rustix lacks getpeereid")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::sys::call::retry;
use crate::sys::unix::Credentials;
use crate::sys::{Call, errno};

/// Returns the credentials of the peer at the time it connected, listened, or created the pair, without its
/// process. Calls getpeereid(3), which rustix does not have.
///
/// # Errors
///
/// Returns `ENOTCONN` if there is no peer.
pub fn peer_credentials(fd: BorrowedFd<'_>) -> io::Result<Credentials> {
    let (mut uid, mut gid) = (0, 0);
    retry(Call::GetOption, fd, || {
        // SAFETY: `fd` is open for as long as it is borrowed (INV-7). The call writes only to the two
        // pointers, which are those of live locals of the right type, borrowed exclusively.
        match unsafe { libc::getpeereid(fd.as_raw_fd(), &raw mut uid, &raw mut gid) } {
            0 => Ok(()),
            _ => Err(errno::last()),
        }
    })?;
    Ok(Credentials { pid: None, uid, gid })
}
