//! Listeners for streams and for connections of messages.

use std::os::unix::net::SocketAddr;
use std::path::Path;

use super::methods::unix_methods;
use super::{UnixSeqpacket, UnixStream, UnlinkOnDrop, bound, path_address};
use crate::net::methods::*;
use crate::sys::{socket, unix};

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
methods!(UnixListener: std(std::os::unix::net::UnixListener));

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
        super::seqpacket::adopt_seqpacket(fd).map(Self::wrap)
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
