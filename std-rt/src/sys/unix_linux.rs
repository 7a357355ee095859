//! Unix sockets, what only Linux and Android have: received descriptors are close-on-exec from their first moment, and the
//! peer's process is told. [`unix_other.rs`](../unix_other.rs) is the other one.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::RecvFlags;

use super::unix::Credentials;
use super::{Call, door, libc_room};

/// With which descriptors are received: close-on-exec.
pub(super) const RECEIVED: RecvFlags = RecvFlags::CMSG_CLOEXEC;

/// Room for what the kernel adds to received descriptors if the socket was asked for it (`SO_PASSCRED`).
pub(super) const ROOM_BESIDE: usize = rustix::cmsg_space!(ScmCredentials(1));

/// Nothing is left to be done for descriptors that came with [`RECEIVED`].
pub(super) fn received(_fds: &[OwnedFd]) -> Result<(), Errno> {
    Ok(())
}

pub(super) fn is_read_ended(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut look = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
    poll(&mut look, Some(&AT_ONCE))?;
    Ok(look[0].revents().contains(PollFlags::RDHUP))
}

/// Who was at the other end when it connected, or listened, or made the pair (`SO_PEERCRED`). rustix's type has no
/// place for the 0 that stands for a process out of sight.
///
/// # Errors
///
/// `ENOTCONN` if nobody is there.
pub fn peer_credentials(fd: BorrowedFd<'_>) -> io::Result<Credentials> {
    let mut found = [0; size_of::<libc::ucred>()];
    retry_on_intr(|| {
        door::ask(Call::GetOption, fd)?;
        libc_room::option(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, &mut found)
    })?;
    // Three numbers of four bytes: process, user, group.
    let number =
        |place: usize| found[4 * place..].first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    let (pid, uid, gid) = (number(0).cast_signed(), number(1), number(2));
    // What a socket without a peer is told.
    if (pid, uid) == (0, u32::MAX) {
        return Err(Errno::NOTCONN.into());
    }
    Ok(Credentials { pid: (pid != 0).then_some(pid), uid, gid })
}
