//! The sources and sinks of a copy.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use netpoll_core::Mode;

use super::error::CopyFault;
use crate::fd::Fd;
use crate::fs::File;
use crate::net::methods::Descriptor;
use crate::net::pipe::{PipeReader, PipeWriter};
use crate::net::{TcpStream, UnixStream};
use crate::sys::socket::{self, Read};
use crate::sys::splice;

/// What [`copy`](super::copy) can read: `TcpStream`, `UnixStream`, `PipeReader`, `File`, and a reference or an `Arc` of
/// one. Nobody else can implement it.
pub trait CopyFrom: AsSource {}

/// What [`copy`](super::copy) can write: `TcpStream`, `UnixStream`, `PipeWriter`, `File`, and a reference or an `Arc` of
/// one. Nobody else can implement it.
pub trait CopyTo: AsSink {}

/// What [`copy_bidirectional`](super::copy_bidirectional) can connect: `TcpStream`, `UnixStream`, and a reference or an
/// `Arc` of one. Nobody else can implement it.
pub trait CopyBoth: CopyFrom + CopyTo + ShutdownWrite {}

/// Nameable only here.
pub trait AsSource: Sync {
    fn source(&self) -> CopySource<'_>;
}

/// Nameable only here.
pub trait AsSink: Sync {
    fn sink(&self) -> CopySink<'_>;
}

/// Nameable only here.
pub trait ShutdownWrite {
    /// Ends what this side writes, unless the peer is gone already: that is for its reads to say.
    fn end(&self) -> io::Result<()>;
}

/// The source of a copy.
#[derive(Clone, Copy, Debug)]
pub enum CopySource<'a> {
    Stream(Stream<'a>),
    File(&'a File),
}

/// The sink of a copy.
#[derive(Clone, Copy, Debug)]
pub enum CopySink<'a> {
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
            // TCP's; it differs from that of a Unix stream in an error that the latter never has.
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
    /// The error of an operation on the side that is read.
    pub(super) fn read_error(&self, error: io::Error) -> CopyFault {
        CopyFault::first(self.fd.error("copy from", error))
    }

    /// The error of an operation on the side that is written.
    pub(super) fn write_error(&self, error: io::Error) -> CopyFault {
        CopyFault::second(self.fd.error("copy to", error))
    }

    /// Reads into a buffer.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> Result<usize, CopyFault> {
        let read = self.fd.read(buffer.is_empty(), |fd| self.kind.read(fd, buffer));
        read.await.map_err(|error| self.read_error(error))
    }

    /// Writes all of a buffer, and counts what has been taken in `copied` and by `on_taken`, piece by piece.
    pub(super) async fn write_all(
        &self,
        mut bytes: &[u8],
        copied: &mut u64,
        mut on_taken: impl FnMut(usize),
    ) -> Result<(), CopyFault> {
        while !bytes.is_empty() {
            let written = self.fd.run(Mode::Write, |fd| self.kind.write(fd, bytes)).await;
            let n = nonzero(written).map_err(|error| self.write_error(error))?;
            *copied += n as u64;
            on_taken(n);
            bytes = &bytes[n..];
        }
        Ok(())
    }
}

/// Returns `WriteZero` for a write of 0 bytes: a kernel that takes nothing without an error would be asked for ever.
pub fn nonzero(written: io::Result<usize>) -> io::Result<usize> {
    written.and_then(|n| if n == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(n) })
}

macro_rules! source {
    ($type:ty, $kind:expr) => {
        impl AsSource for $type {
            fn source(&self) -> CopySource<'_> {
                CopySource::Stream(Stream { fd: self.fd(), kind: $kind })
            }
        }

        impl CopyFrom for $type {}
    };
}

macro_rules! sink {
    ($type:ty, $kind:expr) => {
        impl AsSink for $type {
            fn sink(&self) -> CopySink<'_> {
                CopySink::Stream(Stream { fd: self.fd(), kind: $kind })
            }
        }

        impl CopyTo for $type {}
    };
}

macro_rules! socket {
    ($type:ty) => {
        source!($type, StreamKind::Socket);
        sink!($type, StreamKind::Socket);

        impl ShutdownWrite for $type {
            fn end(&self) -> io::Result<()> {
                self.end_writing()
            }
        }

        impl CopyBoth for $type {}
    };
}

socket!(TcpStream);
socket!(UnixStream);
source!(PipeReader, StreamKind::Pipe);
sink!(PipeWriter, StreamKind::Pipe);

impl AsSource for File {
    fn source(&self) -> CopySource<'_> {
        CopySource::File(self)
    }
}

impl CopyFrom for File {}

impl AsSink for File {
    fn sink(&self) -> CopySink<'_> {
        CopySink::File(self)
    }
}

impl CopyTo for File {}

/// Implements the traits for a pointer to a type that has them.
macro_rules! pointer {
    ($pointer:ty, $($bound:tt)*) => {
        impl<T: AsSource + ?Sized $($bound)*> AsSource for $pointer {
            fn source(&self) -> CopySource<'_> {
                (**self).source()
            }
        }

        impl<T: AsSink + ?Sized $($bound)*> AsSink for $pointer {
            fn sink(&self) -> CopySink<'_> {
                (**self).sink()
            }
        }

        impl<T: ShutdownWrite + ?Sized> ShutdownWrite for $pointer {
            fn end(&self) -> io::Result<()> {
                (**self).end()
            }
        }

        impl<T: CopyFrom + ?Sized $($bound)*> CopyFrom for $pointer {}
        impl<T: CopyTo + ?Sized $($bound)*> CopyTo for $pointer {}
        impl<T: CopyBoth + ?Sized $($bound)*> CopyBoth for $pointer {}
    };
}

pointer!(&T,);
pointer!(Arc<T>, + Send);
