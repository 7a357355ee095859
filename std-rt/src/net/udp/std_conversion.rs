//! To and from the sockets of std, and a second socket for the same port.

use std::io;
use std::net::UdpSocket as StdSocket;
use std::os::fd::{AsFd, OwnedFd};

use super::UdpSocket;
use crate::error::OpError;
use crate::sys::socket;

impl UdpSocket {
    /// Takes a socket of std over and makes it non-blocking, with all its duplicates.
    ///
    /// It belongs to the runtime that the calling thread runs for, or to the default one; see
    /// [the module](crate::net#to-which-runtime-a-socket-belongs).
    ///
    /// # Errors
    ///
    /// Those of watching a descriptor; the socket is closed then.
    pub fn from_std(socket: StdSocket) -> io::Result<Self> {
        let fd = OwnedFd::from(socket);
        socket::set_nonblocking(fd.as_fd(), true).map_err(|error| OpError::new("from_std", error))?;
        Self::of("from_std", fd)
    }

    /// Gives the socket away. It stays non-blocking: `set_nonblocking(false)` is for who wants it blocking. Deadlines do
    /// not go with it.
    ///
    /// No operation can be in flight, for it would borrow the socket.
    ///
    /// # Errors
    ///
    /// Closed, if it was already.
    pub fn into_std(self) -> io::Result<StdSocket> {
        let given = self.fd.into_owned().map(StdSocket::from);
        given.map_err(|error| OpError::new("into_std", error).into())
    }

    /// A second descriptor for the same socket, with deadlines of its own; to close one does not close the other. Address,
    /// options and what comes are shared: each datagram goes to one of those who receive on either.
    ///
    /// # Errors
    ///
    /// Closed; `EMFILE`; those of watching a descriptor.
    pub fn dup(&self) -> io::Result<Self> {
        let second = self.fd.duplicate().and_then(|fd| Self::watched(self.fd.netpoll().clone(), fd));
        second.map_err(|error| self.error("dup", error))
    }
}
