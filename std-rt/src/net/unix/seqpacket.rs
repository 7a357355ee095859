//! Connections of messages.

use std::os::unix::net::SocketAddr;
use std::path::Path;

use super::methods::{EofCheck, recv_as_is, unix_methods};
use super::{connect, pair_of, path_address};
use crate::net::methods::*;
use crate::sys::{ancillary, socket, unix};

/// A connection of messages to a process of this machine: each arrives whole, in order, apart from the
/// others.
///
/// macOS does not support it: every function that creates one fails there with the kernel's
/// `EPROTONOSUPPORT`.
///
/// # The end and the empty message
///
/// A receive of 0 is the end of the connection or an empty message, and the kernel does not say which. It is
/// the end in a protocol without empty messages; a protocol with empty messages asks
/// [`is_at_end`](Self::is_at_end):
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
/// All operations take `&self`. Dropping it closes it: the peer can still receive the messages that were
/// sent, but messages that were not received here make its next receive fail with `ConnectionReset`.
#[derive(Debug)]
pub struct UnixSeqpacket {
    fd: Fd,
}

impl UnixSeqpacket {
    /// Returns true once the peer has ended its half, or [`shutdown`](Self::shutdown) has ended this one, and
    /// no byte is left. Then a receive of 0 was the end, or an empty message that only empty messages follow.
    /// False after a receive of 0 means for certain that it was a message.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed.
    pub fn is_at_end(&self) -> io::Result<bool> {
        // In this order: after the end no message is queued.
        self.call("is_at_end", |fd| Ok(unix::is_read_ended(fd)? && unix::queued(fd)? == 0))
    }

    /// Takes over a connected socket, for instance one that was received, and makes it non-blocking, with all
    /// its duplicates. std has no type for it.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if it is no socket of this kind; the error of the registration. It is closed
    /// then.
    pub fn from_owned_fd(fd: OwnedFd) -> io::Result<Self> {
        adopt_seqpacket(fd).map(Self::wrap)
    }

    /// Returns the socket, which stays non-blocking. Its deadlines end. No operation can be in flight,
    /// because it would borrow this value.
    ///
    /// # Errors
    ///
    /// Returns an error if it was closed before.
    pub fn into_owned_fd(self) -> io::Result<OwnedFd> {
        give_away("into_owned_fd", self.into_fd())
    }
}

unix_methods!(
    UnixSeqpacket: connection(socket::SocketKind::Seqpacket),
    messages(
        recv_as_is,
        "0 is the end of the connection or an empty message: [`is_at_end`](Self::is_at_end) tells them apart."
    ),
);

/// Adopts a socket of this kind, be it a connection or a listener.
pub(super) fn adopt_seqpacket(fd: OwnedFd) -> io::Result<Fd> {
    const OP: &str = "from_owned_fd";
    if !unix::is_kind(fd.as_fd(), socket::SocketKind::Seqpacket).map_err(|error| OpError::new(OP, error))? {
        let other = io::Error::new(io::ErrorKind::InvalidInput, "the socket is not of kind SOCK_SEQPACKET");
        return Err(OpError::new(OP, other).into());
    }
    adopt(OP, fd)
}
