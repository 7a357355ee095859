//! Connections of bytes and of messages, and their listeners.

use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::path::Path;

use super::methods::{EofCheck, recv_as_is, unix_methods};
use super::{UnlinkOnDrop, bound, connect, pair_of, path_address};
use crate::net::bytes::byte_methods;
use crate::net::methods::*;
use crate::net::stream::end_writing;
use crate::sys::{ancillary, socket, unix};

/// A listener for connections of bytes, at a path or an abstract name.
///
/// ```
/// # use netpoll_rt::net::{UnixListener, UnixStream};
/// # netpoll_rt::block_on(async {
/// # let path = std::env::temp_dir().join(format!("netpoll-doc-{}", std::process::id()));
/// let listener = UnixListener::bind(&path)?.unlink_on_drop(true);
/// let client = UnixStream::connect(&path).await?;
/// let (server, _) = listener.accept().await?;
/// assert_eq!(server.peer_cred()?.pid(), Some(std::process::id() as i32));
/// client.write_all(b"hello").await?;
/// # let mut buffer = [0; 5];
/// server.read_exact(&mut buffer).await?;
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
///
/// Dropping it closes it; connections that wait in the kernel's queue are reset.
#[derive(Debug)]
pub struct UnixListener {
    // Dropped before the descriptor, so that no client connects to the name of a socket that is closing.
    file: UnlinkOnDrop,
    fd: Fd,
}

unix_methods!(UnixListener: listener(UnixStream, socket::SocketKind::Stream));
methods!(UnixListener: std(StdListener));

/// A connection of bytes to a process of this machine.
///
/// All operations take `&self`. Dropping it closes it.
///
/// # Closing
///
/// The peer can still read everything that was written before a drop or a [`close`](Self::close): unlike TCP,
/// a close loses no bytes. If bytes of the peer were not read here, the peer reads `ConnectionReset` once,
/// after the last byte and in place of the end, on Linux; a write of the peer takes that error as well.
#[derive(Debug)]
pub struct UnixStream {
    fd: Fd,
}

impl UnixStream {
    /// Writes what the kernel takes, at least one byte, and passes the descriptors with the first of these
    /// bytes. Returns how many bytes were taken. All descriptors have been sent then: write the rest of the
    /// bytes with [`write_all`](Self::write_all). The descriptors stay open on this side.
    ///
    /// It takes its turn among the writes.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future wrote and passed nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`write`](Self::write); `InvalidInput` for descriptors without a byte, or for
    /// more than [`MAX_FDS`](crate::net::unix::MAX_FDS); `ETOOMANYREFS` if more are in flight than this
    /// process may have open.
    pub async fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let sent = self.fd.write(|fd| ancillary::send_some(fd, bytes, fds));
        sent.await.map_err(|error| self.error("send_fds", error))
    }

    /// Reads as [`read`](Self::read) does, and takes up to `max` descriptors that come with the bytes (at
    /// most [`MAX_FDS`](crate::net::unix::MAX_FDS)). They are close-on-exec.
    ///
    /// A read ends with the bytes that brought descriptors, so the descriptors of two sends never mix; bytes
    /// that were written before may be in front of them. Any other method of reading closes descriptors that
    /// come.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future read nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`read`](Self::read); `InvalidData` if more descriptors came than `max`, or than
    /// this process may have open. All of them are closed then, the bytes are lost, and the stream is
    /// unusable.
    pub async fn recv_fds(&self, buffer: &mut [u8], max: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut fds = Vec::new();
        let read = self.fd.read(buffer.is_empty(), |fd| {
            let received = ancillary::recv_some(fd, buffer, max)?;
            fds = received.fds;
            Ok(socket::Read { n: received.n, drained: false })
        });
        let n = read.await.map_err(|error| self.error("recv_fds", error))?;
        Ok((n, fds))
    }
}

unix_methods!(UnixStream: connection(socket::SocketKind::Stream));
byte_methods!(UnixStream: read, write, peek);
methods!(UnixStream: try_io(false), std(StdStream));

impl ByteRead for UnixStream {
    #[inline]
    fn fill<B: ReadBuffer + ?Sized>(fd: BorrowedFd<'_>, buffer: &mut B) -> io::Result<socket::Read> {
        buffer.recv(fd)
    }
}

impl ByteWrite for UnixStream {
    #[inline]
    fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        socket::send(fd, bytes)
    }

    #[inline]
    fn sendv(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        socket::sendv(fd, buffers)
    }

    fn end(&self) -> io::Result<()> {
        end_writing(self)
    }
}

/// A listener for connections of messages, at a path or an abstract name. macOS does not support it.
///
/// Dropping it closes it; connections that wait in the kernel's queue are reset.
#[derive(Debug)]
pub struct UnixSeqpacketListener {
    // Dropped before the descriptor, as above.
    file: UnlinkOnDrop,
    fd: Fd,
}

unix_methods!(UnixSeqpacketListener: listener(UnixSeqpacket, socket::SocketKind::Seqpacket));

impl UnixSeqpacketListener {
    /// Takes over a listening socket, for instance one that the process was started with, and makes it
    /// non-blocking. std has no type for it.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if it is no socket of this kind; the error of the registration. It is closed
    /// then.
    pub fn from_owned_fd(fd: OwnedFd) -> io::Result<Self> {
        adopt_seqpacket(fd).map(Self::wrap)
    }

    /// Returns the listener's socket. Its file stays, and it stays non-blocking.
    ///
    /// # Errors
    ///
    /// Returns an error if it was closed before.
    pub fn into_owned_fd(self) -> io::Result<OwnedFd> {
        give_away("into_owned_fd", self.into_fd())
    }
}

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
fn adopt_seqpacket(fd: OwnedFd) -> io::Result<Fd> {
    const OP: &str = "from_owned_fd";
    if !unix::is_kind(fd.as_fd(), socket::SocketKind::Seqpacket).map_err(|error| OpError::new(OP, error))? {
        let other = io::Error::new(io::ErrorKind::InvalidInput, "the socket is not of kind SOCK_SEQPACKET");
        return Err(OpError::new(OP, other).into());
    }
    adopt(OP, fd)
}
