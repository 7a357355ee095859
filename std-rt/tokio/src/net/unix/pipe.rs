//! Pipes, and pipes with a name (FIFOs).

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use netpoll_rt::net::pipe::{Access, access};
use socket2::SockRef;

use crate::io::evented::Evented;
use crate::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, buffer};
use crate::net::methods::methods;

/// Creates a pipe.
///
/// # Errors
///
/// Returns the kernel's error.
///
/// # Panics
///
/// Panics outside of a runtime.
#[track_caller]
pub fn pipe() -> io::Result<(Sender, Receiver)> {
    let (reader, writer) = io::pipe()?;
    let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
    set_nonblocking(&reader, true)?;
    set_nonblocking(&writer, true)?;
    Ok((Sender::from_owned_fd_unchecked(writer)?, Receiver::from_owned_fd_unchecked(reader)?))
}

/// How a FIFO is opened, as tokio's.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    read_write: bool,
    unchecked: bool,
}

impl OpenOptions {
    /// Creates the options: one direction, and a check that the file is a FIFO.
    pub fn new() -> OpenOptions {
        OpenOptions::default()
    }

    /// Sets whether the FIFO is opened in both directions, so that it needs no other end.
    pub fn read_write(&mut self, value: bool) -> &mut Self {
        self.read_write = value;
        self
    }

    /// Sets whether any file may be opened.
    pub fn unchecked(&mut self, value: bool) -> &mut Self {
        self.unchecked = value;
        self
    }

    /// Opens the reading end.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; `InvalidInput` for a file that is no FIFO.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    #[track_caller]
    pub fn open_receiver<P: AsRef<Path>>(&self, path: P) -> io::Result<Receiver> {
        Receiver::from_file_unchecked(self.open(path.as_ref(), Access::READ)?)
    }

    /// Opens the writing end.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, `ENXIO` if it has no reader; `InvalidInput` for a file that is no FIFO.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    #[track_caller]
    pub fn open_sender<P: AsRef<Path>>(&self, path: P) -> io::Result<Sender> {
        Sender::from_file_unchecked(self.open(path.as_ref(), Access::WRITE)?)
    }

    fn open(&self, path: &Path, end: Access) -> io::Result<File> {
        let file = std::fs::OpenOptions::new()
            .read(end.read || self.read_write)
            .write(end.write || self.read_write)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        if !self.unchecked {
            check_is_pipe(&file)?;
        }
        Ok(file)
    }
}

/// The writing end of a pipe, as tokio's.
pub struct Sender {
    io: Evented<File>,
}

/// The reading end of a pipe, as tokio's.
pub struct Receiver {
    io: Evented<File>,
}

/// Writes the conversions of an end.
macro_rules! end {
    ($type:ident, $interest:expr, |$access:ident| $has_access:expr, $refusal:literal) => {
        impl $type {
            /// Takes over an end of a pipe, and makes it non-blocking.
            ///
            /// # Errors
            ///
            /// Returns `InvalidInput` if it is no pipe, or the other end; the error of the registration.
            ///
            /// # Panics
            ///
            /// Panics outside of a runtime.
            #[track_caller]
            pub fn from_file(file: File) -> io::Result<Self> {
                check_is_pipe(&file)?;
                let $access = access(&file)?;
                if !$has_access {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, $refusal));
                }
                set_nonblocking(&file, true)?;
                Self::from_file_unchecked(file)
            }

            /// Takes over an end of a pipe, as [`from_file`](Self::from_file) does.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`from_file`](Self::from_file).
            ///
            /// # Panics
            ///
            /// Panics outside of a runtime.
            #[track_caller]
            pub fn from_owned_fd(owned_fd: OwnedFd) -> io::Result<Self> {
                Self::from_file(File::from(owned_fd))
            }

            /// Takes over a non-blocking end of a pipe without a check.
            ///
            /// # Errors
            ///
            /// Returns the error of the registration.
            ///
            /// # Panics
            ///
            /// Panics outside of a runtime.
            #[track_caller]
            pub fn from_file_unchecked(file: File) -> io::Result<Self> {
                let made = Evented::with_interest(file, $interest);
                made.map(|io| Self { io }).map_err(|(_, error)| error)
            }

            /// Takes over a non-blocking end of a pipe without a check.
            ///
            /// # Errors
            ///
            /// Returns the error of the registration.
            ///
            /// # Panics
            ///
            /// Panics outside of a runtime.
            #[track_caller]
            pub fn from_owned_fd_unchecked(owned_fd: OwnedFd) -> io::Result<Self> {
                Self::from_file_unchecked(File::from(owned_fd))
            }

            /// Calls `f` once if it is ready. `WouldBlock` clears that.
            ///
            /// # Errors
            ///
            /// Returns the error of `f`; `WouldBlock` without a call if it is not ready.
            pub fn try_io<R>(&self, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
                self.io.try_io($interest, f)
            }

            /// Returns the descriptor, made blocking.
            ///
            /// # Errors
            ///
            /// Returns the kernel's error.
            pub fn into_blocking_fd(self) -> io::Result<OwnedFd> {
                let fd = self.into_nonblocking_fd()?;
                set_nonblocking(&fd, false)?;
                Ok(fd)
            }

            /// Returns the descriptor, which stays non-blocking.
            ///
            /// # Errors
            ///
            /// Returns no error; tokio's signature has one.
            pub fn into_nonblocking_fd(self) -> io::Result<OwnedFd> {
                Ok(self.io.into_inner().into())
            }
        }
    };
}

end!(Sender, Interest::WRITABLE, |access| access.write, "not in O_WRONLY or O_RDWR access mode");
end!(Receiver, Interest::READABLE, |access| access.read, "not in O_RDONLY or O_RDWR access mode");
methods!(Sender: descriptor, ready, writable(poll_write_ready), try_write);
methods!(Receiver: descriptor, ready, readable(poll_read_ready), try_read(buffer::try_read));

impl AsyncRead for Receiver {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        buffer::poll_read(&self.io, cx, buf)
    }
}

/// `poll_shutdown` does nothing: the pipe ends when it is dropped.
impl AsyncWrite for Sender {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.io.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn check_is_pipe(file: &File) -> io::Result<()> {
    let is_pipe = file.metadata()?.file_type().is_fifo();
    if is_pipe { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "not a pipe")) }
}

fn set_nonblocking(fd: impl AsFd, on: bool) -> io::Result<()> {
    // The flag of the open file is changed in the same way for any kind of file.
    SockRef::from(&fd).set_nonblocking(on)
}
