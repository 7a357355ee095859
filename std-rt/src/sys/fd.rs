//! Descriptors that several tasks use and one closes, and the readiness of one descriptor without a poller.

#![expect(unsafe_code, reason = "several tasks use the number of a descriptor, and one closes it")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use netpoll_core::Mode;
use rustix::io::Errno;

use super::sim::event::{PollFd, PollFlags, Timespec, poll};
use super::{Address, Call, address, errno, inject, platform};
use crate::sys::call::retry;

/// The bit of poll(2) for the end of the peer's writing half; empty where the kernel has none and reports the
/// descriptor as readable.
pub(super) const RDHUP: PollFlags = PollFlags::from_bits_retain(platform::POLLRDHUP as _);

/// The owner of a descriptor under an fdMutex, which borrows it for one system call at a time under a reference (INV-7).
pub trait FdOwner: AsFd {
    /// Closes the descriptor, after the poller has deregistered it. An owner that closes it in its own drop does nothing.
    ///
    /// # Errors
    ///
    /// Returns the kernel's delayed errors of earlier writes, such as `EIO`, `ENOSPC` or `EDQUOT`.
    ///
    /// # Safety
    ///
    /// INV-7: the caller made the word of this descriptor's fdMutex final. So no borrow is alive, and the descriptor is neither
    /// borrowed nor closed again.
    unsafe fn close(&self) -> io::Result<()>;
}

/// A descriptor that tasks share through `&self`, closed exactly once by the last user.
///
/// It keeps no count of its own. The descriptor's fdMutex decides which user is the last, and guarantees **INV-7**: *a
/// descriptor is used only under a reference of its fdMutex, and closed only by the task that released the
/// last one.*
///
/// It has no `Drop`: a value that is dropped before [`close`](FdOwner::close) or
/// [`into_owned`](SharedFd::into_owned) leaves its descriptor open until the process ends. A leak is
/// preferred to closing a number that another thread still uses.
#[derive(Debug)]
#[must_use = "a SharedFd that is dropped unclosed leaks its descriptor"]
pub struct SharedFd {
    /// Open from `new` to `close`, and closed only through this value. Never written after `new`.
    raw: RawFd,
}

impl SharedFd {
    /// Takes ownership of a descriptor.
    pub fn new(fd: OwnedFd) -> Self {
        SharedFd { raw: fd.into_raw_fd() }
    }

    /// Returns the descriptor as one that closes itself.
    pub fn into_owned(self) -> OwnedFd {
        // SAFETY: `raw` is open, because `close` would have been the last use of `self` (INV-7). `self` is
        // its only owner and ends here without closing it, so the `OwnedFd` becomes the only owner.
        unsafe { OwnedFd::from_raw_fd(self.raw) }
    }

    /// Returns the descriptor as one that closes itself, through a shared reference; replaces
    /// [`close`](FdOwner::close).
    ///
    /// # Safety
    ///
    /// INV-7, as for [`close`](FdOwner::close), which must not be called after this.
    pub unsafe fn release(&self) -> OwnedFd {
        // SAFETY: `raw` is open, because the caller holds the last reference of the fdMutex (INV-7). No use
        // of `self` runs now or comes later, so the `OwnedFd` becomes the only owner.
        unsafe { OwnedFd::from_raw_fd(self.raw) }
    }
}

impl AsFd for SharedFd {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: `raw` is open and stays so while `self` is borrowed: the caller of `close` has promised that no use of
        // `self` runs at the same time or comes after it (INV-7). It is not -1, the only invalid value, because an
        // `OwnedFd` never is.
        unsafe { BorrowedFd::borrow_raw(self.raw) }
    }
}

impl FdOwner for SharedFd {
    /// Calls close(2) once. The number is free afterwards whatever is returned, and another thread may already have it, so a
    /// close is never repeated. An interrupted one has closed the descriptor on Linux and counts as success.
    unsafe fn close(&self) -> io::Result<()> {
        // SAFETY: `raw` is open and owned by `self`, and by the caller's promise no use of `self` runs now or comes later, so
        // the number is closed once and under no other user (INV-7).
        let closed = match unsafe { libc::close(self.raw) } {
            0 => Ok(()),
            _ => Err(errno::last()),
        };
        match inject::after(Call::Close, self.raw, closed) {
            Ok(()) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Returns the local and the peer's address of a socket by its number, without a reference to it: for
/// reports. The caller checks afterwards whether the number was that socket's all the time, and discards the
/// result otherwise.
pub fn ends_of(raw: RawFd) -> (Option<Address>, Option<Address>) {
    if raw < 0 {
        return (None, None);
    }
    // SAFETY: the number is not -1. It may be closed or reused, which is the one exception to INV-7: the two
    // calls below then fail or return another socket's addresses, and change no state of any descriptor.
    let fd = unsafe { BorrowedFd::borrow_raw(raw) };
    (address::local_address(fd).ok(), address::peer_address(fd).ok())
}

/// Returns whether a call in this direction would complete now, by a number without a reference to it: for
/// reports, as [`ends_of`].
pub fn is_ready_now(raw: RawFd, mode: Mode) -> bool {
    if raw < 0 {
        return false;
    }
    // SAFETY: the number is not -1. It may be closed or reused, as in `ends_of`: poll(2) changes no state of
    // any descriptor.
    is_ready(unsafe { BorrowedFd::borrow_raw(raw) }, mode).unwrap_or(false)
}

/// A descriptor inside a value of the user, which closes it when it is dropped.
#[derive(Debug)]
pub struct OwnedBy<T> {
    /// Present until it is taken out at the end.
    value: Option<T>,
}

impl<T> OwnedBy<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        OwnedBy { value: Some(value) }
    }

    /// Returns the value.
    ///
    /// # Panics
    ///
    /// Panics after [`OwnedBy::take`].
    pub fn get(&self) -> &T {
        self.value.as_ref().expect("the value of a descriptor was taken out before its last use")
    }

    /// Returns the value to be changed.
    ///
    /// # Panics
    ///
    /// Panics after [`OwnedBy::take`].
    pub fn get_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("the value of a descriptor was taken out before its last use")
    }

    /// Takes the value out, once.
    ///
    /// # Panics
    ///
    /// Panics if it was taken already.
    pub fn take(&mut self) -> T {
        self.value.take().expect("the value of a descriptor was taken out twice")
    }
}

impl<T: AsFd> AsFd for OwnedBy<T> {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get().as_fd()
    }
}

impl<T: AsFd> FdOwner for OwnedBy<T> {
    /// Does nothing: the value closes the descriptor when it is dropped.
    unsafe fn close(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The conditions for which a descriptor is registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    /// Reads and writes.
    Both,
    /// Exceptional conditions (`POLLPRI`), reported as its read side. Errors and hang-ups are always
    /// reported.
    Priority,
    /// Errors and hang-ups alone, reported as its read side.
    Error,
}

/// Returns whether a call in this direction would complete now: with bytes, a connection, buffer space, the
/// end of the stream, or an error. Calls poll(2) with a zero timeout, which reads nothing and never waits.
///
/// A kernel that returns false here sends an edge for each later change: this check is equivalent to the call
/// that returns `EAGAIN` (for a full TCP socket it even requests the edge in the same way).
///
/// # Errors
///
/// Returns `ENOMEM`.
pub fn is_ready(fd: BorrowedFd<'_>, mode: Mode) -> io::Result<bool> {
    look(fd, if mode == Mode::Read { PollFlags::IN | RDHUP } else { PollFlags::OUT })
}

/// Returns whether a descriptor that is registered for `watch` is ready.
///
/// # Errors
///
/// Returns `ENOMEM`.
pub fn is_ready_for(fd: BorrowedFd<'_>, watch: Watch, mode: Mode) -> io::Result<bool> {
    match watch {
        Watch::Both => is_ready(fd, mode),
        Watch::Priority => look(fd, PollFlags::PRI),
        Watch::Error => look(fd, PollFlags::empty()),
    }
}

fn look(fd: BorrowedFd<'_>, asked: PollFlags) -> io::Result<bool> {
    let found = retry(Call::Look, fd, || poll_now(fd, asked))?;
    Ok(!found.is_empty())
}

/// Returns whether the peer has ended the connection, as far as the kernel tells it apart from this side.
/// This side has shut down its own reading half, and its writing half as well if `wrote_end`.
///
/// TCP on Linux tells exactly. Elsewhere a hang-up means that both halves are down: that is the peer's close
/// unless `wrote_end`. An error is always the peer's.
///
/// # Errors
///
/// Returns `ENOMEM`.
pub fn has_peer_ended(fd: BorrowedFd<'_>, wrote_end: bool) -> io::Result<bool> {
    if let Some(ended) = platform::has_tcp_peer_ended(fd) {
        return Ok(ended);
    }
    let found = retry(Call::Look, fd, || poll_now(fd, PollFlags::empty()))?;
    Ok(found.contains(PollFlags::ERR) || (found.contains(PollFlags::HUP) && !wrote_end))
}

/// Calls poll(2) with a zero timeout and returns what it found. Errors and hang-ups are always reported.
pub(super) fn poll_now(fd: BorrowedFd<'_>, asked: PollFlags) -> Result<PollFlags, Errno> {
    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut entry = [PollFd::from_borrowed_fd(fd, asked)];
    poll(&mut entry, Some(&AT_ONCE))?;
    Ok(entry[0].revents())
}
