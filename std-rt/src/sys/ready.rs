//! A look at one descriptor, past the poller.

use std::io;
use std::os::fd::BorrowedFd;

use netpoll_core::poll_key::Mode;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

use super::rdhup::RDHUP;
use super::{Call, door, linux_options};

/// What a descriptor is watched for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    /// Reads and writes.
    Both,
    /// What is out of the ordinary (`POLLPRI`), as its read side. Errors and hang-ups are reported unasked.
    Priority,
    /// Errors and hang-ups alone, as its read side.
    Error,
}

/// Whether a call in this direction would find something now: bytes, a connection, room, the end of the stream, an
/// error. poll(2) with a zero timeout, which reads nothing and never waits.
///
/// A kernel that says no here sends an edge for what comes later: the look is no less than the call that returns
/// `EAGAIN` (for a full TCP socket it even asks for the edge in the same way).
///
/// # Errors
///
/// `ENOMEM`.
pub fn is_ready(fd: BorrowedFd<'_>, mode: Mode) -> io::Result<bool> {
    look(fd, if mode == Mode::Read { PollFlags::IN | RDHUP } else { PollFlags::OUT })
}

/// The same for what is watched for something else.
///
/// # Errors
///
/// `ENOMEM`.
pub fn is_ready_for(fd: BorrowedFd<'_>, watch: Watch, mode: Mode) -> io::Result<bool> {
    match watch {
        Watch::Both => is_ready(fd, mode),
        Watch::Priority => look(fd, PollFlags::PRI),
        Watch::Error => look(fd, PollFlags::empty()),
    }
}

fn look(fd: BorrowedFd<'_>, asked: PollFlags) -> io::Result<bool> {
    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    // Hang-ups and errors are reported unasked.
    let found = retry_on_intr(|| {
        door::ask(Call::Look, fd)?;
        poll(&mut [PollFd::from_borrowed_fd(fd, asked)], Some(&AT_ONCE))
    })?;
    Ok(found > 0)
}

/// Returns whether the peer of a connection has ended it, as far as the kernel knows apart from this side, which has shut
/// down its own reading half, and its writing half as well if `wrote_end`.
///
/// TCP on Linux tells exactly. Elsewhere a hang-up means that both halves are down: that is the peer's close unless
/// `wrote_end`; an error is always the peer's.
///
/// # Errors
///
/// `ENOMEM`.
pub fn has_peer_ended(fd: BorrowedFd<'_>, wrote_end: bool) -> io::Result<bool> {
    if let Some(ended) = linux_options::has_tcp_peer_ended(fd) {
        return Ok(ended);
    }
    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut look = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
    retry_on_intr(|| {
        door::ask(Call::Look, fd)?;
        poll(&mut look, Some(&AT_ONCE))
    })?;
    let found = look[0].revents();
    Ok(found.contains(PollFlags::ERR) || (found.contains(PollFlags::HUP) && !wrote_end))
}
