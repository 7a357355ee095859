//! Connections of messages.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netpoll_core::Mode;

use super::connecting::connection_methods;
use super::messages::{EofCheck, message_methods, recv_as_is};
use super::{UnixSeqpacketListener, watch};
use crate::error::OpError;
use crate::fd::Fd;
use crate::net::methods::map_err_unless_would_block;
use crate::sys::{ancillary, socket, unix};

/// A connection of messages to a process of this machine: each arrives whole, in order, apart from the others.
///
/// macOS has none: there everything that makes one fails with the kernel's `EPROTONOSUPPORT`.
///
/// # The end and the empty message
///
/// A receive of 0 is the end of the connection or an empty message, and the kernel does not say which. A protocol that
/// sends no empty messages has no question; one that does asks [`is_at_end`](Self::is_at_end):
///
/// ```
/// # use netpoll_rt::net::UnixSeqpacket;
/// # netpoll_rt::block_on(async {
/// let (server, client) = UnixSeqpacket::pair()?;
/// client.send(b"").await?;
/// client.send(b"last words").await?;
/// drop(client);
/// let mut buffer = [0; 64];
/// let mut got = Vec::new();
/// loop {
///     match server.recv(&mut buffer).await? {
///         0 if server.is_at_end()? => break,
///         n => got.push(buffer[..n].to_vec()),
///     }
/// }
/// assert_eq!(got, [b"".to_vec(), b"last words".to_vec()]);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
///
/// All operations take `&self`. Dropped: it is closed; messages that were sent can still be received by the peer, but
/// messages that were not received here make its next receive fail with `ConnectionReset`.
#[derive(Debug)]
pub struct UnixSeqpacket {
    pub(super) fd: Fd,
}

impl UnixSeqpacket {
    /// True once the peer has ended its half, or [`shutdown`](Self::shutdown) this one, and no byte is left to be
    /// received. A receive of 0 was the end then, or an empty message behind which come, at most, more empty ones. False
    /// after a receive of 0 says for certain that it was a message.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn is_at_end(&self) -> io::Result<bool> {
        // In this order: after the end nothing more is queued.
        self.option("is_at_end", |fd| Ok(unix::is_read_ended(fd)? && unix::queued(fd)? == 0))
    }

    /// Takes a connected socket over, for instance one that was received, and makes it non-blocking, with all its
    /// duplicates. std has no type for it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is no socket of this kind; those of watching a descriptor. It is closed then.
    pub fn from_owned_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: adopt(fd)? })
    }

    /// Gives the socket away. It stays non-blocking. Deadlines do not go with it.
    ///
    /// No operation can be in flight, for it would borrow the socket.
    ///
    /// # Errors
    ///
    /// Closed, if it was already.
    pub fn into_owned_fd(self) -> io::Result<OwnedFd> {
        self.fd.into_owned().map_err(|error| OpError::new("into_owned_fd", error).into())
    }
}

connection_methods!(UnixSeqpacket, socket::SocketKind::Seqpacket);
message_methods!(
    UnixSeqpacket,
    recv_as_is,
    "0 is the end of the connection or an empty message: [`is_at_end`](Self::is_at_end) tells them apart."
);

impl UnixSeqpacketListener {
    /// Takes a listening socket over, for instance one that the process was started with, and makes it non-blocking. std
    /// has no type for it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is no socket of this kind; those of watching a descriptor. It is closed then.
    pub fn from_owned_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { file: Default::default(), fd: adopt(fd)? })
    }

    /// Gives the listener away, with its file. It stays non-blocking.
    ///
    /// # Errors
    ///
    /// Closed, if it was already.
    pub fn into_owned_fd(self) -> io::Result<OwnedFd> {
        let Self { mut file, fd } = self;
        file.keep();
        fd.into_owned().map_err(|error| OpError::new("into_owned_fd", error).into())
    }
}

fn adopt(fd: OwnedFd) -> io::Result<Fd> {
    const OP: &str = "from_owned_fd";
    if !unix::is_kind(fd.as_fd(), socket::SocketKind::Seqpacket).map_err(|error| OpError::new(OP, error))? {
        let other = io::Error::new(io::ErrorKind::InvalidInput, "the socket is not of kind SOCK_SEQPACKET");
        return Err(OpError::new(OP, other).into());
    }
    socket::set_nonblocking(fd.as_fd(), true).map_err(|error| OpError::new(OP, error))?;
    watch(OP, fd)
}
