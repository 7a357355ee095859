//! Unix sockets before they listen, connect or become datagram sockets.

#![expect(unsafe_code, reason = "tokio's type is made from a bare number")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, RawFd};
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use super::{UnixDatagram, UnixListener, UnixStream};

/// A Unix socket that neither listens nor is connected, as tokio's.
#[derive(Debug)]
pub struct UnixSocket {
    inner: Socket,
}

impl UnixSocket {
    /// Creates a socket for messages.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn new_datagram() -> io::Result<UnixSocket> {
        Self::new(Type::DGRAM)
    }

    /// Creates a socket for a connection of bytes.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn new_stream() -> io::Result<UnixSocket> {
        Self::new(Type::STREAM)
    }

    fn new(kind: Type) -> io::Result<UnixSocket> {
        Ok(UnixSocket { inner: Socket::new(Domain::UNIX, kind.nonblocking(), None)? })
    }

    /// Fails if the socket is of a kind, for which it has no operation of that name.
    fn refuse(&self, kind: Type, message: &'static str) -> io::Result<()> {
        if self.inner.r#type()? == kind { Err(io::Error::other(message)) } else { Ok(()) }
    }

    /// Binds it to a path.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn bind(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.inner.bind(&SockAddr::unix(path)?)
    }

    /// Makes it a listener with a queue for `backlog` connections.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; an error on a socket for messages.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    #[track_caller]
    pub fn listen(self, backlog: u32) -> io::Result<UnixListener> {
        self.refuse(Type::DGRAM, "listen cannot be called on a datagram socket")?;
        self.inner.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        UnixListener::from_std(self.inner.into())
    }

    /// Connects it to the listener at a path.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; an error on a socket for messages.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    pub async fn connect(self, path: impl AsRef<Path>) -> io::Result<UnixStream> {
        self.refuse(Type::DGRAM, "connect cannot be called on a datagram socket")?;
        UnixStream::connect_socket(self.inner, &SockAddr::unix(path)?).await
    }

    /// Makes it a socket for messages.
    ///
    /// # Errors
    ///
    /// Returns an error on a socket for connections; the error of the registration.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    #[track_caller]
    pub fn datagram(self) -> io::Result<UnixDatagram> {
        self.refuse(Type::STREAM, "datagram cannot be called on a stream socket")?;
        UnixDatagram::from_std(self.inner.into())
    }
}

impl AsRawFd for UnixSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl AsFd for UnixSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl FromRawFd for UnixSocket {
    unsafe fn from_raw_fd(fd: RawFd) -> UnixSocket {
        // SAFETY: the caller promises that `fd` is open and owned by nothing else.
        UnixSocket { inner: unsafe { Socket::from_raw_fd(fd) } }
    }
}

impl IntoRawFd for UnixSocket {
    fn into_raw_fd(self) -> RawFd {
        self.inner.into_raw_fd()
    }
}
