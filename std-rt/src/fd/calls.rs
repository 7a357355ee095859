//! The operations that wait, each a system call in the one skeleton of [`Op`].

use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;

use super::op::{Direction, Op, ReadMode, WriteMode};
use super::{Fd, FdKind};
use crate::coop;
use crate::sys::{FdOwner, Poller, socket};

impl<S: FdOwner> Fd<S> {
    /// Reads with `call`, which says how much came and whether that was all there was. `empty` says that there is no
    /// room for any byte: then nothing is read and nothing is waited for.
    ///
    /// Dropped: nothing has been read, and a readiness that came stays for the next read.
    #[inline]
    pub fn read(
        &self,
        empty: bool,
        call: impl FnMut(BorrowedFd<'_>) -> io::Result<socket::Read>,
    ) -> impl Future<Output = io::Result<usize>> + Unpin {
        self.read_op(empty, call)
    }

    #[inline]
    pub(super) fn read_op<F>(
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
            let read = call(fd.io.borrow())?;
            coop::count_bytes(read.n);
            fd.drained.set(read.drained && fd.kind == FdKind::ByteStream && Poller::SHORT_IS_ALL);
            Ok(Some(read.n))
        })
        .zero_len(empty)
        .trusting_hint()
    }

    /// Writes with `call`, which says how many bytes the kernel took.
    ///
    /// Dropped: as [`Fd::run`].
    #[inline]
    pub fn write(
        &self,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> impl Future<Output = io::Result<usize>> + Unpin {
        self.run(WriteMode, move |fd| coop::counted(call(fd)))
    }

    /// Makes a call that is not a read of bytes until it does not say `WouldBlock`: write, accept, the end of a
    /// connect, a closure of the user's. It is made once at least before anything is waited for.
    ///
    /// Dropped: the call has not succeeded, and a readiness that came stays for the next one.
    #[inline]
    pub fn run<T>(
        &self,
        direction: impl Direction,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> impl Future<Output = io::Result<T>> + Unpin {
        Op::new(self, direction, move |fd: &Self| call(fd.io.borrow()).map(Some))
    }

    /// Writes all of `bytes` under one lock, so that another task's bytes do not come in between.
    ///
    /// Dropped: any part of the bytes may have been written.
    #[inline]
    pub fn write_all(
        &self,
        mut bytes: &[u8],
        mut call: impl FnMut(BorrowedFd<'_>, &[u8]) -> io::Result<usize>,
    ) -> impl Future<Output = io::Result<()>> + Unpin {
        Op::new(self, WriteMode, move |fd: &Self| {
            if !bytes.is_empty() {
                match call(fd.io.borrow(), bytes)? {
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
}
