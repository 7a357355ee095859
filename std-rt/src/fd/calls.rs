//! The operations that wait, each a system call in the skeleton of [`Op`]; and [`Fd::shared`] for calls without an order among
//! themselves, which send or receive a whole datagram.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use netpoll_core::Mode;

use super::op::{Direction, Op, ReadMode, WriteMode};
use super::{Fd, FdKind};
use crate::coop::{self, Moved};
use crate::sys::{FdOwner, Poller, SharedFd, socket};

impl<S: FdOwner> Fd<S> {
    /// Reads with `call`, which returns how many bytes it read and whether that emptied the queue. `empty` means that the
    /// buffer has length 0: then it neither reads nor waits.
    ///
    /// Dropped: nothing has been read, and a readiness that came stays for the next read.
    #[inline]
    pub fn read<F>(
        &self,
        empty: bool,
        mut call: F,
    ) -> Op<'_, ReadMode, impl FnMut(&Self) -> io::Result<Option<usize>>, S>
    where
        F: FnMut(BorrowedFd<'_>) -> io::Result<socket::Read>,
    {
        Op::new(self, ReadMode, move |fd: &Self| {
            if empty {
                return Ok(Some(0));
            }
            let read = call(fd.io.as_fd())?;
            coop::count_bytes(read.n);
            fd.drained.set(read.drained && fd.kind == FdKind::ByteStream && Poller::SHORT_IS_ALL);
            Ok(Some(read.n))
        })
        .zero_len(empty)
        .trusting_hint()
    }

    /// Writes with `call`, which returns how many bytes the kernel took.
    ///
    /// Dropped: as [`Fd::run`].
    #[inline]
    pub fn write(
        &self,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Op<'_, WriteMode, impl FnMut(&Self) -> io::Result<Option<usize>>, S> {
        self.run(WriteMode, move |fd| coop::counted(call(fd)))
    }

    /// Makes a call that is not a read of bytes until it does not return `WouldBlock`: write, accept, the end of a connect, a
    /// closure of the user. It calls at least once before it waits.
    ///
    /// Dropped: the call has not succeeded, and a readiness that came stays for the next one.
    #[inline]
    pub fn run<W: Direction, T>(
        &self,
        direction: W,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Op<'_, W, impl FnMut(&Self) -> io::Result<Option<T>>, S> {
        Op::new(self, direction, move |fd: &Self| call(fd.io.as_fd()).map(Some))
    }

    /// Writes all of `bytes` under one lock, so that they do not mix with another task's bytes.
    ///
    /// Dropped: any part of the bytes may have been written.
    #[inline]
    pub fn write_all(
        &self,
        mut bytes: &[u8],
        mut call: impl FnMut(BorrowedFd<'_>, &[u8]) -> io::Result<usize>,
    ) -> Op<'_, WriteMode, impl FnMut(&Self) -> io::Result<Option<()>>, S> {
        Op::new(self, WriteMode, move |fd: &Self| {
            if !bytes.is_empty() {
                match call(fd.io.as_fd(), bytes)? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    n => {
                        coop::count_bytes(n);
                        bytes = &bytes[n..];
                    }
                }
            }
            Ok(bytes.is_empty().then_some(()))
        })
    }

    /// Makes a call under a reference only, so that several tasks can make it at the same time. If it returns `WouldBlock`, takes
    /// the direction's lock, calls again and waits, as [`Fd::run`] does.
    ///
    /// Dropped: the call has not succeeded, and a readiness that came stays for the next one.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor is closed, `TimedOut` if the deadline passes, and the errors of the call.
    pub async fn shared<T: Moved>(
        &self,
        mode: Mode,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        coop::proceed().await;
        match self.try_shared(mode, &mut call) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.run(mode, |fd| coop::counted(call(fd))).await
            }
            result => result,
        }
    }

    /// Makes one attempt of [`Fd::shared`].
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if the call does; and the errors of [`Fd::shared`].
    pub fn try_shared<T: Moved>(
        &self,
        mode: Mode,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.with(|fd| {
            self.check_unlocked(mode)?;
            coop::counted(call(fd))
        })
    }

    /// Returns a second number for the same open file, close-on-exec.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor is closed, and `EMFILE`.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.with(socket::duplicate)
    }
}

impl Fd<SharedFd> {
    /// Returns a second handle on the same open file: registered with the same poller, with its own deadlines and locks.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor is closed, `EMFILE`, and the errors of [`Fd::new`].
    pub fn dup(&self) -> io::Result<Self> {
        // The same kind: a short read empties the queue of the open file, and the kernel reports each edge to both handles, so
        // a read through one takes no event from the other.
        let second = Fd::new(self.netpoll().clone(), self.duplicate()?, self.kind)?;
        self.share_shutdown_with(&second);
        Ok(second)
    }
}
