//! Pipes, and pipes with a name (FIFOs): bytes in one direction, between threads or between processes.
//!
//! [`pipe`] creates one; [`PipeReader::open_fifo`] and [`PipeWriter::open_fifo`] open one by name;
//! `from_owned` takes over one that was opened elsewhere. Both ends are non-blocking and close-on-exec.
//! `into_blocking` returns an end for a child process:
//!
//! ```
//! # use std::process::Command;
//! # use netpoll_rt::net::pipe::pipe;
//! # netpoll_rt::block_on(async {
//! let (reader, writer) = pipe()?;
//! let mut child = Command::new("echo").arg("hello").stdout(writer.into_blocking()?).spawn()?;
//! let mut line = [0; 6];
//! reader.read_exact(&mut line).await?;
//! assert_eq!(&line, b"hello\n");
//! child.wait()?;
//! # std::io::Result::Ok(()) }).unwrap();
//! ```

use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::bytes::byte_methods;
use super::methods::*;
use crate::error::{at_path, is_closed};
use crate::sys::pipe as sys;
pub use crate::sys::pipe::Access;
use crate::sys::socket::{Read, set_nonblocking, write, writev};

/// Creates a pipe: the end that reads, and the end that writes. Bytes come out in the order of the writes. It
/// holds 64 KiB on Linux unless [`PipeWriter::set_capacity`] changes that.
///
/// # Errors
///
/// Returns an error if no descriptor is free (`EMFILE`, `ENFILE`); the error of the registration.
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = sys::pipe().map_err(|error| OpError::new("pipe", error))?;
    // This crate writes bytes and not packets, so a short read has found the end of the queue. The ends are
    // paired, so the reader learns when other processes may write.
    let (reader, writer) =
        (watch("pipe", reader, FdKind::ByteStream)?, watch("pipe", writer, FdKind::Other)?);
    writer.pair_ends(&reader);
    Ok((PipeReader { fd: reader }, PipeWriter { fd: writer }))
}

/// Returns the directions in which the open file of a descriptor may be used.
///
/// # Errors
///
/// Returns the kernel's error, which a correct process does not meet.
pub fn access(fd: impl AsFd) -> io::Result<Access> {
    sys::access(fd.as_fd())
}

/// The reading end of a pipe or a FIFO.
///
/// All operations take `&self`. A read returns 0, the end, once every writer has closed its end and
/// everything was read. On a FIFO it also returns 0 if it has no writer yet, and after that end the FIFO can
/// be opened for writing again (see [`open_fifo_for_ever`](PipeReader::open_fifo_for_ever)).
///
/// A program that gets the writing end of a [`pipe`] may write in packets (`O_DIRECT`, as `dd oflag=direct`
/// does). From the moment that this end or its number is given away, a wait may cost one system call more.
/// Another process must not open the pipe through `/proc` and switch it to packets: reads are assumed to find
/// everything.
///
/// Dropping it closes it; writers then fail with `BrokenPipe`.
#[derive(Debug)]
pub struct PipeReader {
    fd: Fd,
}

/// The writing end of a pipe or a FIFO.
///
/// All operations take `&self`. Up to 4096 bytes (`PIPE_BUF` of Linux; 512 elsewhere) are written whole or
/// not at all, so several processes can write lines to one pipe.
///
/// A write to a pipe without a reader fails with `BrokenPipe`. The kernel raises `SIGPIPE` then, which Rust
/// programs ignore by default.
///
/// Dropping it closes it; the bytes that were written can still be read.
#[derive(Debug)]
pub struct PipeWriter {
    fd: Fd,
}

impl PipeReader {
    /// Opens a FIFO for reading. Until it has a writer, a read returns 0 at once.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, with the path: `NotFound`, `PermissionDenied`; `InvalidInput` for a file
    /// that is no FIFO, with its kind.
    pub fn open_fifo(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { fd: open(path.as_ref(), Access::READ)? })
    }

    /// Opens a FIFO for reading, and for writing as well, so that its end never comes: writers may come and
    /// go, and a read waits for the next. POSIX does not promise this; Linux and the BSDs support it.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`PipeReader::open_fifo`]; `PermissionDenied` also if it may not be written.
    pub fn open_fifo_for_ever(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { fd: open(path.as_ref(), Access::BOTH)? })
    }

    /// Returns true once the poller has seen that every writer has closed its end. This is one load and no
    /// system call. Bytes that were written before may still be unread. It stays true if a FIFO is opened for
    /// writing again.
    pub fn peer_closed(&self) -> bool {
        self.fd.peer_closed()
    }
}

impl PipeWriter {
    /// Opens a FIFO for writing.
    ///
    /// # Errors
    ///
    /// Returns `ENXIO` (which has no `ErrorKind`) if it has no reader. The kernel reports no change of that,
    /// so try again later, or open it with [`open_fifo_for_ever`](PipeWriter::open_fifo_for_ever). Returns
    /// the other errors of [`PipeReader::open_fifo`].
    pub fn open_fifo(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { fd: open(path.as_ref(), Access::WRITE)? })
    }

    /// Opens a FIFO for writing, and for reading as well, so that it needs no other reader: bytes stay in it,
    /// as far as it has space, until a reader comes, and a write never fails with `BrokenPipe`. POSIX does
    /// not promise this; Linux and the BSDs support it.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`PipeReader::open_fifo_for_ever`].
    pub fn open_fifo_for_ever(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { fd: open(path.as_ref(), Access::BOTH)? })
    }

    /// Returns true once the poller has seen that every reader has closed its end. This is one load and no
    /// system call.
    pub fn peer_closed(&self) -> bool {
        self.fd.peer_closed()
    }

    /// Closes it without a wait.
    pub(crate) fn close_now(&self) -> io::Result<()> {
        // After its first poll the close continues although its future is dropped.
        match pin!(self.fd.close()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) if !is_closed(&error) => Err(self.error("close", error)),
            _ => Ok(()),
        }
    }
}

methods!(PipeReader: fd, descriptor, try_io(false));
byte_methods!(PipeReader: read, pipe_end(read, "read"));
methods!(PipeWriter: fd, descriptor, try_io(false));
byte_methods!(PipeWriter: write, pipe_end(write, "written"));

impl ByteRead for PipeReader {
    #[inline]
    fn fill<B: ReadBuffer + ?Sized>(fd: BorrowedFd<'_>, buffer: &mut B) -> io::Result<Read> {
        buffer.read(fd)
    }
}

impl ByteWrite for PipeWriter {
    #[inline]
    fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        write(fd, bytes)
    }

    #[inline]
    fn sendv(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        writev(fd, buffers)
    }

    fn end(&self) -> io::Result<()> {
        self.close_now()
    }
}

/// Returns an error unless the descriptor is a pipe or a FIFO.
fn check(fd: &OwnedFd) -> io::Result<()> {
    sys::check_is_fifo(fd.as_fd())?.map_or(Ok(()), |what| {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a pipe or a FIFO")))
    })
}

/// Opens a FIFO. Other processes may write to it in packets, so its short reads say nothing.
fn open(path: &Path, access: Access) -> io::Result<Fd> {
    let failed = |source| OpError::new("open_fifo", at_path(path, source));
    let fd = sys::open_path(path, access).map_err(failed)?;
    check(&fd).map_err(failed)?;
    Ok(watch("open_fifo", fd, FdKind::Other)?)
}

/// Adopts an end of a pipe that has the access; `wrong` is the error of the other end.
fn adopt_end(fd: OwnedFd, has_access: impl FnOnce(Access) -> bool, wrong: &'static str) -> io::Result<Fd> {
    let failed = |error| OpError::new("from_owned", error).on(fd.as_raw_fd());
    check(&fd).map_err(failed)?;
    if !has_access(sys::access(fd.as_fd()).map_err(failed)?) {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, wrong)).into());
    }
    adopt("from_owned", fd)
}
