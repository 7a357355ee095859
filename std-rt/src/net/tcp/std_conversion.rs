//! To and from the sockets of std, and the descriptor for those who call the kernel themselves.

use std::io;
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::peer::Peer;
use super::socket::watch;
use super::{TcpListener, TcpStream};
use crate::error::OpError;
use crate::fd::{Fd, FdKind};
use crate::sys::socket as sys;

impl TcpListener {
    /// Takes a listener of std over, for instance one that the process was started with, and makes it non-blocking.
    ///
    /// It belongs to the runtime that the calling thread runs for, or to the default one; see
    /// [the module](crate::net#to-which-runtime-a-socket-belongs).
    ///
    /// # Errors
    ///
    /// Those of watching a descriptor; the listener is closed then.
    pub fn from_std(listener: StdListener) -> io::Result<Self> {
        Ok(Self { fd: adopt(listener.into())? })
    }

    /// Gives the listener away. It stays non-blocking: `set_nonblocking(false)` is for who wants it blocking.
    ///
    /// Nobody can wait in accept, for that would borrow the listener.
    ///
    /// # Errors
    ///
    /// Closed, if it was already.
    pub fn into_std(self) -> io::Result<StdListener> {
        give_away(self.fd).map(StdListener::from)
    }
}

impl TcpStream {
    /// Takes a connected stream of std over and makes it non-blocking, with all its duplicates. A read may cost one system
    /// call more than on a stream of this crate: what was done to the socket before is unknown.
    ///
    /// It belongs to the runtime that the calling thread runs for, or to the default one; see
    /// [the module](crate::net#to-which-runtime-a-socket-belongs).
    ///
    /// # Errors
    ///
    /// Those of watching a descriptor; the stream is closed then.
    pub fn from_std(stream: StdStream) -> io::Result<Self> {
        let fd = adopt(stream.into())?;
        // Not connected (yet), or not any more: then `peer_addr` asks again.
        let peer = fd.with(sys::peer_name).map_or(Peer::Unknown, Peer::from);
        Ok(Self { fd, peer })
    }

    /// Gives the stream away. It stays non-blocking: `set_nonblocking(false)` is for who wants it blocking. Deadlines do
    /// not go with it.
    ///
    /// No operation can be in flight, for it would borrow the stream.
    ///
    /// # Errors
    ///
    /// Closed, if it was already.
    pub fn into_std(self) -> io::Result<StdStream> {
        give_away(self.fd).map(StdStream::from)
    }
}

fn adopt(fd: OwnedFd) -> io::Result<Fd> {
    let number = fd.as_raw_fd();
    sys::set_nonblocking(fd.as_fd(), true).map_err(|error| OpError::new("from_std", error).on(number))?;
    // Whether a short read says anything is known of sockets that were made here.
    Ok(watch("from_std", fd, FdKind::Other)?)
}

fn give_away(fd: Fd) -> io::Result<OwnedFd> {
    fd.into_owned().map_err(|error| OpError::new("into_std", error).into())
}
