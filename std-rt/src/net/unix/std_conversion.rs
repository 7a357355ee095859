//! To and from the sockets of std.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net as std_unix;

use super::{UnixDatagram, UnixListener, UnixStream, UnlinkOnDrop, watch};
use crate::error::OpError;
use crate::fd::Fd;
use crate::sys::socket;

impl UnixListener {
    /// Takes a listener of std over, for instance one that the process was started with, and makes it non-blocking.
    ///
    /// It belongs to the runtime that the calling thread runs for, or to the default one; see
    /// [the module](crate::net#to-which-runtime-a-socket-belongs).
    ///
    /// # Errors
    ///
    /// Those of watching a descriptor; the listener is closed then.
    pub fn from_std(listener: std_unix::UnixListener) -> io::Result<Self> {
        Ok(Self { file: UnlinkOnDrop::default(), fd: adopt(listener.into())? })
    }

    /// Gives the listener away, with its file. It stays non-blocking: `set_nonblocking(false)` is for who wants it
    /// blocking.
    ///
    /// Nobody can wait in accept, for that would borrow the listener.
    ///
    /// # Errors
    ///
    /// Closed, if it was already.
    pub fn into_std(self) -> io::Result<std_unix::UnixListener> {
        give_away(self.file, self.fd).map(Into::into)
    }
}

impl UnixStream {
    /// Takes a connected stream of std over and makes it non-blocking, with all its duplicates.
    ///
    /// It belongs to the runtime that the calling thread runs for, or to the default one; see
    /// [the module](crate::net#to-which-runtime-a-socket-belongs).
    ///
    /// # Errors
    ///
    /// Those of watching a descriptor; the stream is closed then.
    pub fn from_std(stream: std_unix::UnixStream) -> io::Result<Self> {
        Ok(Self { fd: adopt(stream.into())? })
    }

    /// Gives the stream away. It stays non-blocking: `set_nonblocking(false)` is for who wants it blocking. Deadlines do
    /// not go with it.
    ///
    /// No operation can be in flight, for it would borrow the stream.
    ///
    /// # Errors
    ///
    /// Closed, if it was already.
    pub fn into_std(self) -> io::Result<std_unix::UnixStream> {
        give_away(UnlinkOnDrop::default(), self.fd).map(Into::into)
    }
}

impl UnixDatagram {
    /// Takes a datagram socket of std over and makes it non-blocking, with all its duplicates.
    ///
    /// It belongs to the runtime that the calling thread runs for, or to the default one; see
    /// [the module](crate::net#to-which-runtime-a-socket-belongs).
    ///
    /// # Errors
    ///
    /// Those of watching a descriptor; the socket is closed then.
    pub fn from_std(socket: std_unix::UnixDatagram) -> io::Result<Self> {
        Ok(Self { file: UnlinkOnDrop::default(), fd: adopt(socket.into())? })
    }

    /// Gives the socket away, with its file. It stays non-blocking: `set_nonblocking(false)` is for who wants it
    /// blocking. Deadlines do not go with it.
    ///
    /// No operation can be in flight, for it would borrow the socket.
    ///
    /// # Errors
    ///
    /// Closed, if it was already.
    pub fn into_std(self) -> io::Result<std_unix::UnixDatagram> {
        give_away(self.file, self.fd).map(Into::into)
    }
}

fn adopt(fd: OwnedFd) -> io::Result<Fd> {
    socket::set_nonblocking(fd.as_fd(), true).map_err(|error| OpError::new("from_std", error))?;
    watch("from_std", fd)
}

fn give_away(mut file: UnlinkOnDrop, fd: Fd) -> io::Result<OwnedFd> {
    file.keep();
    fd.into_owned().map_err(|error| OpError::new("into_std", error).into())
}
