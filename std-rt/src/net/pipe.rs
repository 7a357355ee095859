//! Pipes, and named ones (FIFOs): bytes one way, between threads or between processes.
//!
//! [`pipe`] makes one; [`PipeReader::open_fifo`] and [`PipeWriter::open_fifo`] open one by name; `from_owned` takes one
//! over that another program left open. Both ends are non-blocking and close-on-exec. An end that a child process is to
//! have is given away with `into_blocking`:
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

mod fifo;

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::methods::*;
use crate::error::{self, OpError};
use crate::fd::{Fd, FdKind};
use crate::netpoll::Netpoll;
use crate::sys::pipe::{self as sys, Access};
use crate::sys::socket::{read, read_buf, recvv as readv, set_nonblocking, write, writev};

/// A new pipe: the end that reads, the end that writes. What is written comes out in order; it holds 64 KiB on Linux
/// unless [`PipeWriter::set_capacity`] changes that.
///
/// # Errors
///
/// The kernel's: no descriptors left (`EMFILE`, `ENFILE`).
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = sys::pipe().map_err(|error| OpError::new("pipe", error))?;
    // What this crate writes is bytes, not packets: a short read has found the end of them. The reader is told when others
    // may write.
    let (reader, writer) =
        (watch("pipe", reader, FdKind::ByteStream)?, watch("pipe", writer, FdKind::Other)?);
    writer.pair_ends(&reader);
    Ok((PipeReader { fd: reader }, PipeWriter { fd: writer }))
}

/// The reading end of a pipe or a FIFO.
///
/// All operations take `&self`. A read returns 0, the end, once every writer has closed its end and everything was
/// read; of a FIFO also when nobody has it open for writing yet, and after that end it can be opened for writing again
/// (see [`open_fifo_for_ever`](PipeReader::open_fifo_for_ever)).
///
/// A program that is given the writing end of a [`pipe`] may write in packets (`O_DIRECT`, as `dd oflag=direct` does);
/// from the moment that end is given away, or its number is, a wait may cost one system call more. What must not be switched
/// to packets is a pipe that another process has opened by way of `/proc`, unasked: reads are taken to find everything.
///
/// Dropped: it is closed; writers are told by `BrokenPipe`.
#[derive(Debug)]
pub struct PipeReader {
    fd: Fd,
}

/// The writing end of a pipe or a FIFO.
///
/// All operations take `&self`. Up to 4096 bytes (`PIPE_BUF` of Linux; 512 elsewhere) are written whole or not at all,
/// so that several processes can write lines to one pipe.
///
/// A write to a pipe that nobody reads is `BrokenPipe`. The kernel raises `SIGPIPE` then, which Rust programs ignore
/// unless they have been told not to.
///
/// Dropped: it is closed; what was written is still read.
#[derive(Debug)]
pub struct PipeWriter {
    fd: Fd,
}

/// What both ends have.
macro_rules! end_methods {
    ($type:ident, $needs:ident, $does:literal) => {
        impl $type {
            /// Takes over a descriptor that is this end of a pipe or a FIFO, and makes it non-blocking, with all its
            /// duplicates. A read may cost one system call more than on a pipe of this crate.
            ///
            /// # Errors
            ///
            #[doc = concat!("`InvalidInput` for what is no pipe, and for a pipe that cannot be ", $does, ". ")]
            /// Those of watching a descriptor. It is closed then.
            pub fn from_owned(fd: OwnedFd) -> io::Result<Self> {
                let failed = |error| OpError::new("from_owned", error).on(fd.as_raw_fd());
                check(&fd).map_err(failed)?;
                if !sys::access(fd.as_fd()).map_err(failed)?.$needs {
                    let why = concat!("this end of the pipe cannot be ", $does);
                    return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, why)).into());
                }
                set_nonblocking(fd.as_fd(), true).map_err(failed)?;
                Ok(Self { fd: watch("from_owned", fd, FdKind::Other)? })
            }

            /// Gives the descriptor away. It stays non-blocking. Nobody can wait on it, for that would borrow this.
            ///
            /// # Errors
            ///
            /// Closed, if it was already.
            pub fn into_owned(self) -> io::Result<OwnedFd> {
                self.fd.into_owned().map_err(|error| OpError::new("into_owned", error).into())
            }

            /// Gives the descriptor away as a blocking one, with all its duplicates: what a child process expects as its
            /// standard input or output. The other end is not changed by it.
            ///
            /// # Errors
            ///
            /// Closed, if it was already.
            pub fn into_blocking(self) -> io::Result<OwnedFd> {
                let fd = self.into_owned()?;
                set_nonblocking(fd.as_fd(), false).map_err(|error| OpError::new("into_blocking", error))?;
                Ok(fd)
            }

            /// How many bytes the pipe holds.
            ///
            /// # Errors
            ///
            /// Closed; `Unsupported` on systems other than Linux.
            pub fn capacity(&self) -> io::Result<usize> {
                self.fd.with(sys::capacity).map_err(|error| self.error("capacity", error))
            }

            /// Asks for a capacity, in bytes, of 1 to the system's limit (`/proc/sys/fs/pipe-max-size`, 1 MiB unless
            /// it was changed). Returns what the kernel made of it: a power of two, at least a page, and no less.
            ///
            /// # Errors
            ///
            /// Closed; `PermissionDenied` beyond the limit; `ResourceBusy` if what is in the pipe would not fit;
            /// `Unsupported` on systems other than Linux.
            pub fn set_capacity(&self, bytes: usize) -> io::Result<usize> {
                let set = self.fd.with(|fd| sys::set_capacity(fd, bytes));
                set.map_err(|error| self.error("set_capacity", error))
            }

            fn error(&self, op: &'static str, error: io::Error) -> io::Error {
                self.fd.error(op, error)
            }
        }

        descriptor_methods!($type);
    };
}

end_methods!(PipeReader, read, "read");
read_methods!(PipeReader, read, read_buf, readv);
futures_read!(PipeReader, read, readv);

end_methods!(PipeWriter, write, "written");
write_methods!(PipeWriter, write, writev);
futures_write!(
    PipeWriter,
    write,
    writev,
    PipeWriter::end,
    "`poll_close` closes this end, as `close` does: the reader reads the end once no other writer is left."
);

impl PipeReader {
    /// True once the poller has seen that every writer has closed its end; one load, no system call. What was written
    /// before may still be unread. A FIFO that has been opened for writing again is not told apart.
    pub fn peer_closed(&self) -> bool {
        self.fd.peer_closed()
    }
}

impl PipeWriter {
    /// True once the poller has seen that every reader has closed its end; one load, no system call.
    pub fn peer_closed(&self) -> bool {
        self.fd.peer_closed()
    }

    /// Closes it without a wait, for a trait that asks for it again and again.
    fn end(&self) -> io::Result<()> {
        // Dropped after its first poll the closing goes on.
        match pin!(self.fd.close()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) if !error::is_closed(&error) => Err(self.error("close", error)),
            _ => Ok(()),
        }
    }
}

/// Gives an end to the poller of this thread's runtime.
fn watch(op: &'static str, fd: OwnedFd, kind: FdKind) -> io::Result<Fd> {
    let number = fd.as_raw_fd();
    let watched = Netpoll::current().and_then(|netpoll| Fd::new(netpoll, fd, kind));
    watched.map_err(|error| OpError::new(op, error).on(number).into())
}

/// It is a pipe or a FIFO; if not, says what it is.
fn check(fd: &OwnedFd) -> io::Result<()> {
    match sys::check_is_fifo(fd.as_fd())? {
        None => Ok(()),
        Some(what) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a pipe or a FIFO")))
        }
    }
}
