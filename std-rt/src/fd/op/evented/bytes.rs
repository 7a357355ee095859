//! Operations that are polled: any call, and the calls that read and write bytes. Memory that is read into need not be
//! initialized.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};

use netpoll_core::Mode;

use super::Evented;
use super::waiter::Waiter;
use crate::coop;
use crate::fd::{FdKind, ReadySet};
use crate::sys::Poller;
use crate::sys::socket::{self, Read};

impl<T: AsFd> Evented<T> {
    /// Polls a call of the read side until it returns something other than `WouldBlock`. It is made when the side is ready;
    /// the last task that polls is woken.
    ///
    /// # Errors
    ///
    /// Returns the error of `call`, and the errors of [`ready`](Self::ready).
    pub fn poll_read_io<R>(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_counted(Mode::Read, &mut Waiter::slot(), cx, |_| call().map(|value| (value, false)))
    }

    /// Polls a call of the write side, as [`poll_read_io`](Self::poll_read_io) does.
    ///
    /// # Errors
    ///
    /// Returns the error of `call`, and the errors of [`ready`](Self::ready).
    pub fn poll_write_io<R>(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_counted(Mode::Write, &mut Waiter::slot(), cx, |_| call().map(|value| (value, false)))
    }

    /// Polls to read by recv(2). Returns the number of bytes at the front of `buffer` that are initialized now; 0 is the end,
    /// unless the buffer is empty.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, and the errors of [`ready`](Self::ready).
    #[inline]
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [MaybeUninit<u8>]) -> Poll<io::Result<usize>> {
        self.poll_fill(cx, |fd| socket::recv_uninit(fd, buffer))
    }

    /// Polls to read by read(2), as [`poll_recv`](Self::poll_recv) does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`poll_recv`](Self::poll_recv).
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [MaybeUninit<u8>]) -> Poll<io::Result<usize>> {
        self.poll_fill(cx, |fd| socket::read_uninit(fd, buffer))
    }

    #[inline]
    fn poll_fill(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<Read>,
    ) -> Poll<io::Result<usize>> {
        let short_is_all = self.fd.kind == FdKind::ByteStream && Poller::SHORT_IS_ALL;
        self.poll_counted(Mode::Read, &mut Waiter::slot(), cx, |fd| {
            let read = call(fd)?;
            coop::count_bytes(read.n);
            Ok((read.n, read.drained && short_is_all))
        })
    }

    /// Polls to write by send(2), without `SIGPIPE`. Returns how many bytes the kernel took.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, and the errors of [`ready`](Self::ready).
    #[inline]
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_put(cx, |fd| socket::send(fd, bytes))
    }

    /// Polls to write several buffers by sendmsg(2), as [`poll_send`](Self::poll_send) does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`poll_send`](Self::poll_send).
    pub fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_put(cx, |fd| socket::sendv(fd, buffers))
    }

    /// Polls to write by write(2). Returns how many bytes the kernel took.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, and the errors of [`ready`](Self::ready).
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_put(cx, |fd| socket::write(fd, bytes))
    }

    /// Polls to write several buffers by writev(2), as [`poll_write`](Self::poll_write) does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`poll_write`](Self::poll_write).
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_put(cx, |fd| socket::writev(fd, buffers))
    }

    #[inline]
    fn poll_put(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.poll_counted(Mode::Write, &mut Waiter::slot(), cx, |fd| {
            let n = call(fd)?;
            coop::count_bytes(n);
            Ok((n, false))
        })
    }

    /// Reads by recv(2) if it is readable, and never waits. Returns the number of bytes at the front of `buffer` that are
    /// initialized now.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if it is not readable, and the kernel's error.
    pub fn try_recv(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        self.try_io(ReadySet::READABLE, || Ok(socket::recv_uninit(self.get_ref().as_fd(), buffer)?.n))
    }

    /// Reads by read(2), as [`try_recv`](Self::try_recv) does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`try_recv`](Self::try_recv).
    pub fn try_read(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        self.try_io(ReadySet::READABLE, || Ok(socket::read_uninit(self.get_ref().as_fd(), buffer)?.n))
    }
}
