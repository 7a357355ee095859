//! The system calls of a stream of bytes, as two traits. The traits of other crates ([`compat`](crate::compat)) are written
//! on them, once for every type and every kind of buffer.

use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::task::{Context, Poll};

use super::methods::*;
use crate::error::is_closed;
use crate::sys::socket::{self, Read};

/// A buffer that a read fills from its front on.
pub trait ReadBuffer {
    /// The name of the operation in an error.
    const OP: &'static str = "read";

    /// Returns whether no byte fits into it.
    fn is_full(&self) -> bool;

    /// Reads from a socket. The bytes that the result counts are initialized.
    fn recv(&mut self, fd: BorrowedFd<'_>) -> io::Result<Read>;

    /// Reads from any descriptor. The bytes that the result counts are initialized.
    fn read(&mut self, fd: BorrowedFd<'_>) -> io::Result<Read>;
}

impl ReadBuffer for [u8] {
    fn is_full(&self) -> bool {
        self.is_empty()
    }

    #[inline]
    fn recv(&mut self, fd: BorrowedFd<'_>) -> io::Result<Read> {
        socket::recv(fd, self)
    }

    #[inline]
    fn read(&mut self, fd: BorrowedFd<'_>) -> io::Result<Read> {
        socket::read(fd, self)
    }
}

impl ReadBuffer for [MaybeUninit<u8>] {
    fn is_full(&self) -> bool {
        self.is_empty()
    }

    #[inline]
    fn recv(&mut self, fd: BorrowedFd<'_>) -> io::Result<Read> {
        socket::recv_uninit(fd, self)
    }

    #[inline]
    fn read(&mut self, fd: BorrowedFd<'_>) -> io::Result<Read> {
        socket::read_uninit(fd, self)
    }
}

impl ReadBuffer for [IoSliceMut<'_>] {
    const OP: &'static str = "readv";

    fn is_full(&self) -> bool {
        self.iter().all(|buffer| buffer.is_empty())
    }

    fn recv(&mut self, fd: BorrowedFd<'_>) -> io::Result<Read> {
        socket::recvv(fd, self)
    }

    fn read(&mut self, fd: BorrowedFd<'_>) -> io::Result<Read> {
        socket::recvv(fd, self)
    }
}

/// Appends to the vector; a full one grows first.
impl ReadBuffer for Vec<u8> {
    fn is_full(&self) -> bool {
        false
    }

    #[inline]
    fn recv(&mut self, fd: BorrowedFd<'_>) -> io::Result<Read> {
        socket::recv_buf(fd, self)
    }

    #[inline]
    fn read(&mut self, fd: BorrowedFd<'_>) -> io::Result<Read> {
        socket::read_buf(fd, self)
    }
}

/// A stream whose bytes can be read.
pub trait ByteRead: Descriptor {
    /// Makes the system call of a read.
    fn fill<B: ReadBuffer + ?Sized>(fd: BorrowedFd<'_>, buffer: &mut B) -> io::Result<Read>;

    /// Reads the bytes that are there, or registers the task of `cx`. Returns the number of bytes at the front of `buffer` that
    /// the kernel has initialized; 0 is the end, unless the buffer is full.
    #[inline]
    fn poll_fill<B: ReadBuffer + ?Sized>(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut B,
    ) -> Poll<io::Result<usize>> {
        let read = self.fd().read(buffer.is_full(), |fd| Self::fill(fd, buffer)).poll_once(cx);
        read.map_err(|error| self.error(B::OP, error))
    }
}

/// A stream that takes bytes.
pub trait ByteWrite: Descriptor {
    /// Makes the system call of a write.
    fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize>;

    /// Makes the system call of a write of several buffers.
    fn sendv(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Ends the stream, so that the peer reads the end. A stream that has ended already is no error, as the traits'
    /// users close such streams too.
    fn end(&self) -> io::Result<()>;

    /// Writes as many bytes as the kernel takes, or registers the task of `cx`.
    #[inline]
    fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.fd().write(|fd| Self::send(fd, bytes)).poll_once(cx);
        written.map_err(|error| self.error("write", error))
    }

    /// Writes as [`ByteWrite::poll_send`] does, from several buffers.
    #[inline]
    fn poll_sendv(&self, cx: &mut Context<'_>, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = self.fd().write(|fd| Self::sendv(fd, buffers)).poll_once(cx);
        written.map_err(|error| self.error("writev", error))
    }

    /// Counts a flush, which has nothing to do: bytes go to the kernel at once.
    #[inline]
    fn poll_flushed(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        coop::poll_proceed(cx).map(Ok)
    }

    /// Ends the stream as an operation that counts.
    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        coop::poll_proceed(cx).map(|()| self.end())
    }
}

/// Shuts down the writing half of a connection. One that has ended already, or was reset, is no error.
pub(crate) fn end_writing<D: Descriptor>(of: &D) -> io::Result<()> {
    use io::ErrorKind::{ConnectionReset, NotConnected};
    match of.fd().shutdown(Shutdown::Write) {
        Err(error) if matches!(error.kind(), NotConnected | ConnectionReset) && !is_closed(&error) => Ok(()),
        ended => ended.map_err(|error| of.error("shutdown", error)),
    }
}
