//! A descriptor that many use and one closes: one of the two rooms of `sys` with `unsafe` in them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use netpoll_core::poll_key::Mode;
use rustix::io::Errno;

use super::{Address, Call, address, door, is_ready};

/// A descriptor under an fdMutex, and what becomes of its number at the end.
pub trait Source {
    /// The descriptor, for one call of the kernel under a reference of its fdMutex (INV-7).
    fn borrow(&self) -> BorrowedFd<'_>;

    /// The number, for messages and tables; do no work through it.
    fn raw(&self) -> RawFd;

    /// The poller has forgotten the descriptor: ends it, if that is this value's to do.
    ///
    /// # Errors
    ///
    /// Those of [`SharedFd::close`].
    ///
    /// # Safety
    ///
    /// INV-7, as for [`SharedFd::close`]; called at most once.
    unsafe fn close(&self) -> io::Result<()>;
}

/// A descriptor shared by `&self` between tasks, closed exactly once by whoever is last.
///
/// It keeps no count of its own. Who is last is decided one floor up, by the descriptor's fdMutex, and **INV-7** is
/// what that floor promises: *a descriptor number is used only under a reference of its fdMutex, and closed only by
/// who took the last one.*
///
/// There is no `Drop`: a value that is dropped before [`close`](SharedFd::close) or
/// [`into_owned`](SharedFd::into_owned) leaves its descriptor open until the process ends. That is a leak, and never
/// a number closed under another's feet.
#[derive(Debug)]
#[must_use = "a SharedFd that is dropped unclosed leaks its descriptor"]
pub struct SharedFd {
    /// Open from `new` to `close`, and ours alone to close. Never written after `new`.
    raw: RawFd,
}

impl SharedFd {
    /// Takes a descriptor over.
    pub fn new(fd: OwnedFd) -> Self {
        SharedFd { raw: fd.into_raw_fd() }
    }

    /// The descriptor, for one call of the kernel.
    #[inline]
    pub fn borrow(&self) -> BorrowedFd<'_> {
        // SAFETY: INV-7: `raw` is open and stays so while `self` is borrowed, because who calls `close` has promised
        // that no use of `self` comes after it or runs beside it. -1, the one value with a meaning of its own, cannot
        // come out of an `OwnedFd`.
        unsafe { BorrowedFd::borrow_raw(self.raw) }
    }

    /// The number, for messages and tables; do no work through it.
    pub fn raw(&self) -> RawFd {
        self.raw
    }

    /// Gives the descriptor away as one that closes itself.
    pub fn into_owned(self) -> OwnedFd {
        // SAFETY: INV-7: `raw` is open, and `self`, its only owner, ends here without closing it.
        unsafe { OwnedFd::from_raw_fd(self.raw) }
    }

    /// Gives the descriptor away through a shared reference, in place of closing it.
    ///
    /// # Safety
    ///
    /// INV-7, as for [`close`](SharedFd::close), which is not called after this.
    pub unsafe fn release(&self) -> OwnedFd {
        // SAFETY: INV-7, passed on by the caller: `raw` is open, ours, and nobody uses it now or later but the result.
        unsafe { OwnedFd::from_raw_fd(self.raw) }
    }

    /// close(2), called once: the number is free afterwards whatever is returned, and another thread may already
    /// have it. An interrupted close has closed on Linux and counts as done; it is never tried again.
    ///
    /// # Errors
    ///
    /// What the kernel had still to say of earlier writes, such as `EIO`, `ENOSPC` or `EDQUOT`.
    ///
    /// # Safety
    ///
    /// INV-7: the caller took the last reference of this descriptor's fdMutex. So no [`borrow`](SharedFd::borrow)
    /// is alive, and neither `borrow`, `into_owned` nor `close` is called on this value again.
    pub unsafe fn close(&self) -> io::Result<()> {
        // SAFETY: INV-7, passed on by the caller: `raw` is open, ours, and nobody uses it now or later.
        let closed = match unsafe { libc::close(self.raw) } {
            0 => Ok(()),
            _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)),
        };
        match door::told(Call::Close, self.raw, closed) {
            Ok(()) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Source for SharedFd {
    #[inline]
    fn borrow(&self) -> BorrowedFd<'_> {
        SharedFd::borrow(self)
    }

    fn raw(&self) -> RawFd {
        self.raw
    }

    /// Closes the number.
    ///
    /// # Safety
    ///
    /// INV-7, as the trait says.
    unsafe fn close(&self) -> io::Result<()> {
        // SAFETY: INV-7, passed on by the caller.
        unsafe { SharedFd::close(self) }
    }
}

/// The addresses of a socket and of its peer, by a number that nobody holds: for reports. Who asks finds out afterwards
/// whether the number was the socket's all the time, and forgets the answer if not.
pub fn ends_of(raw: RawFd) -> (Option<Address>, Option<Address>) {
    if raw < 0 {
        return (None, None);
    }
    // SAFETY: the one exception to INV-7. The number is not -1; if it has been closed, or is somebody else's by now, the two
    // calls below say so or name another's addresses, and change nothing for anybody.
    let fd = unsafe { BorrowedFd::borrow_raw(raw) };
    (address::local_address(fd).ok(), address::peer_address(fd).ok())
}

/// Whether a call in this direction would find something now, by a number that nobody holds: for reports, as [`ends_of`].
pub fn is_ready_now(raw: RawFd, mode: Mode) -> bool {
    if raw < 0 {
        return false;
    }
    // SAFETY: the exception to INV-7 of `ends_of`: poll(2) changes nothing, whatever the number stands for by now.
    is_ready(unsafe { BorrowedFd::borrow_raw(raw) }, mode).unwrap_or(false)
}

/// A descriptor inside a value of the user's, which closes it when it is dropped, and not before.
#[derive(Debug)]
pub struct Kept<T> {
    /// There until it is taken out at the very end.
    value: Option<T>,
}

impl<T> Kept<T> {
    /// Keeps a value.
    pub fn new(value: T) -> Self {
        Kept { value: Some(value) }
    }

    /// The value.
    ///
    /// # Panics
    ///
    /// After [`Kept::take`].
    pub fn get(&self) -> &T {
        self.value.as_ref().expect("the value of a descriptor was taken out before its last use")
    }

    /// Takes the value out, once.
    ///
    /// # Panics
    ///
    /// If it was taken already.
    pub fn take(&mut self) -> T {
        self.value.take().expect("the value of a descriptor was taken out twice")
    }
}

impl<T: AsFd> Source for Kept<T> {
    #[inline]
    fn borrow(&self) -> BorrowedFd<'_> {
        self.get().as_fd()
    }

    fn raw(&self) -> RawFd {
        self.get().as_fd().as_raw_fd()
    }

    /// Nothing: the number is the value's to close.
    ///
    /// # Safety
    ///
    /// INV-7, as the trait says; here nothing depends on it.
    unsafe fn close(&self) -> io::Result<()> {
        Ok(())
    }
}
