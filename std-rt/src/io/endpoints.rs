//! The sources and sinks of a copy.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use netpoll_core::Mode;

use super::error::CopyFault;
use super::options::Copied;
use crate::fd::Fd;
use crate::fs::File;
use crate::net::methods::Descriptor;
use crate::net::pipe::{PipeReader, PipeWriter};
use crate::net::stream::end_writing;
use crate::net::{OwnedReadHalf, OwnedWriteHalf, Split, TcpStream, UnixStream};
use crate::sys::socket::{self, Read};
use crate::sys::{SharedFd, splice};

/// A value that [`copy`](super::copy) can read: `TcpStream`, `UnixStream`, `OwnedReadHalf`, `PipeReader`, `File`, and a
/// reference or an `Arc` of one. Sealed.
pub trait CopyFrom: Endpoint {}

/// A value that [`copy`](super::copy) can write: `TcpStream`, `UnixStream`, `OwnedWriteHalf`, `PipeWriter`, `File`, and a
/// reference or an `Arc` of one. Sealed.
pub trait CopyTo: Endpoint {}

/// A value that [`copy_bidirectional`](super::copy_bidirectional) can connect: `TcpStream`, `UnixStream`, and
/// a reference or an `Arc` of one. Sealed.
pub trait CopyBoth: CopyFrom + CopyTo {}

/// The common part of the three, which seals them: its module is private.
pub trait Endpoint: Sync {
    /// Returns the descriptor or the file.
    fn end(&self) -> CopyEnd<'_>;

    /// Shuts down the writing half of a [`CopyBoth`]. A peer that is gone is no error: the reads report it.
    fn end_writing(&self) -> io::Result<()> {
        Ok(())
    }
}

/// One end of a copy.
#[derive(Clone, Copy, Debug)]
pub enum CopyEnd<'a> {
    Stream(Stream<'a>),
    File(&'a File),
}

/// The kind of a stream, which decides by which calls its bytes are read and written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamKind {
    Socket,
    Pipe,
}

impl StreamKind {
    /// Reads as the type's own `read` does.
    pub(super) fn read(self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Read> {
        match self {
            StreamKind::Socket => socket::recv(fd, buffer),
            StreamKind::Pipe => socket::read(fd, buffer),
        }
    }

    /// Writes as the type's own `write` does.
    pub(super) fn write(self, fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        match self {
            // This is TCP's. It differs from that of a Unix stream in an error that the latter never has.
            StreamKind::Socket => socket::send_tcp(fd, bytes),
            StreamKind::Pipe => socket::write(fd, bytes),
        }
    }

    /// Moves bytes from a pipe as [`StreamKind::write`] writes them.
    pub(super) fn splice(self, pipe: BorrowedFd<'_>, fd: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
        match self {
            StreamKind::Socket => splice::splice_to_socket(pipe, fd, length),
            StreamKind::Pipe => splice::splice_to_pipe(pipe, fd, length),
        }
    }
}

/// A descriptor that the poller watches.
#[derive(Clone, Copy, Debug)]
pub struct Stream<'a> {
    pub(super) fd: &'a Fd,
    pub(super) kind: StreamKind,
}

impl Stream<'_> {
    /// Returns the error of an operation on the side that is read.
    pub(super) fn read_error(&self, error: io::Error) -> CopyFault {
        CopyFault::first(self.fd.error("copy from", error))
    }

    /// Returns the error of an operation on the side that is written.
    pub(super) fn write_error(&self, error: io::Error) -> CopyFault {
        CopyFault::second(self.fd.error("copy to", error))
    }

    /// Reads into a buffer.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> Result<usize, CopyFault> {
        let read = self.fd.read(buffer.is_empty(), |fd| self.kind.read(fd, buffer));
        read.await.map_err(|error| self.read_error(error))
    }

    /// Writes all of a buffer, and counts the bytes that were taken in `copied` and by `on_taken`, piece by
    /// piece.
    pub(super) async fn write_all(
        &self,
        mut bytes: &[u8],
        copied: &mut Copied<'_>,
        mut on_taken: impl FnMut(usize),
    ) -> Result<(), CopyFault> {
        while !bytes.is_empty() {
            let written = self.fd.run(Mode::Write, |fd| self.kind.write(fd, bytes)).await;
            let n = nonzero(written).map_err(|error| self.write_error(error))?;
            // First: the hook of `copied` may panic.
            on_taken(n);
            copied.add(n);
            bytes = &bytes[n..];
        }
        Ok(())
    }
}

/// Returns `WriteZero` for a write of 0 bytes: a kernel that takes nothing without an error would be asked
/// for ever.
pub fn nonzero(written: io::Result<usize>) -> io::Result<usize> {
    written.and_then(|n| if n == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(n) })
}

fn stream<D: Descriptor<Owner = SharedFd>>(of: &D, kind: StreamKind) -> CopyEnd<'_> {
    CopyEnd::Stream(Stream { fd: of.fd(), kind })
}

impl Endpoint for TcpStream {
    fn end(&self) -> CopyEnd<'_> {
        stream(self, StreamKind::Socket)
    }

    fn end_writing(&self) -> io::Result<()> {
        end_writing(self)
    }
}

impl Endpoint for UnixStream {
    fn end(&self) -> CopyEnd<'_> {
        stream(self, StreamKind::Socket)
    }

    fn end_writing(&self) -> io::Result<()> {
        end_writing(self)
    }
}

impl<S: Split + Send + Sync> Endpoint for OwnedReadHalf<S> {
    fn end(&self) -> CopyEnd<'_> {
        stream(self, StreamKind::Socket)
    }
}

impl<S: Split + Send + Sync> Endpoint for OwnedWriteHalf<S> {
    fn end(&self) -> CopyEnd<'_> {
        stream(self, StreamKind::Socket)
    }
}

impl Endpoint for PipeReader {
    fn end(&self) -> CopyEnd<'_> {
        stream(self, StreamKind::Pipe)
    }
}

impl Endpoint for PipeWriter {
    fn end(&self) -> CopyEnd<'_> {
        stream(self, StreamKind::Pipe)
    }
}

impl Endpoint for File {
    fn end(&self) -> CopyEnd<'_> {
        CopyEnd::File(self)
    }
}

impl<T: Endpoint + ?Sized> Endpoint for &T {
    fn end(&self) -> CopyEnd<'_> {
        (**self).end()
    }

    fn end_writing(&self) -> io::Result<()> {
        (**self).end_writing()
    }
}

impl<T: Endpoint + Send + ?Sized> Endpoint for Arc<T> {
    fn end(&self) -> CopyEnd<'_> {
        (**self).end()
    }

    fn end_writing(&self) -> io::Result<()> {
        (**self).end_writing()
    }
}

impl CopyFrom for TcpStream {}
impl CopyFrom for UnixStream {}
impl<S: Split + Send + Sync> CopyFrom for OwnedReadHalf<S> {}
impl CopyFrom for PipeReader {}
impl CopyFrom for File {}
impl<T: CopyFrom + ?Sized> CopyFrom for &T {}
impl<T: CopyFrom + Send + ?Sized> CopyFrom for Arc<T> {}

impl CopyTo for TcpStream {}
impl CopyTo for UnixStream {}
impl<S: Split + Send + Sync> CopyTo for OwnedWriteHalf<S> {}
impl CopyTo for PipeWriter {}
impl CopyTo for File {}
impl<T: CopyTo + ?Sized> CopyTo for &T {}
impl<T: CopyTo + Send + ?Sized> CopyTo for Arc<T> {}

impl CopyBoth for TcpStream {}
impl CopyBoth for UnixStream {}
impl<T: CopyBoth + ?Sized> CopyBoth for &T {}
impl<T: CopyBoth + Send + ?Sized> CopyBoth for Arc<T> {}
