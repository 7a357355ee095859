//! Unix sockets, where the kernel has less than Linux: received descriptors become close-on-exec at once, but not in the
//! same moment (a process that another thread starts in between inherits them), and the peer's process is not told.
//! [`unix_linux.rs`](../unix_linux.rs) is the other one.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, FdFlags, fcntl_setfd, retry_on_intr};
use rustix::net::RecvFlags;

use super::peer_eid::peer_eid;
use super::unix::Credentials;
use super::{Call, door};

/// With which descriptors are received: what they need is set by [`received`].
pub(super) const RECEIVED: RecvFlags = RecvFlags::empty();

/// Nothing comes beside received descriptors.
pub(super) const ROOM_BESIDE: usize = 0;

/// Makes received descriptors close-on-exec.
pub(super) fn received(fds: &[OwnedFd]) -> Result<(), Errno> {
    fds.iter().try_for_each(|fd| fcntl_setfd(fd, FdFlags::CLOEXEC))
}

/// poll(2) here knows the end of both halves at once, so half an end is not seen.
pub(super) fn is_read_ended(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut look = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    poll(&mut look, Some(&AT_ONCE))?;
    Ok(look[0].revents().contains(PollFlags::HUP))
}

/// Who was at the other end when it connected, or listened, or made the pair.
///
/// # Errors
///
/// `ENOTCONN` if nobody is there; `Unsupported` where the system has no getpeereid.
pub fn peer_credentials(fd: BorrowedFd<'_>) -> io::Result<Credentials> {
    let (uid, gid) = retry_on_intr(|| {
        door::ask(Call::GetOption, fd)?;
        peer_eid(fd)
    })?;
    Ok(Credentials { pid: None, uid, gid })
}
