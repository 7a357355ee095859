//! Connections of bytes within this machine.

use std::io;
use std::os::unix::net;
use std::path::Path;

use socket2::{Domain, Socket, Type};

use super::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, SocketAddr, UCred, WriteHalf};
use crate::io::Interest;
use crate::io::buffer;
use crate::io::evented::Evented;
use crate::net::methods::methods;

/// A connection of bytes within this machine, as tokio's.
pub struct UnixStream {
    pub(super) io: Evented<net::UnixStream>,
}

impl UnixStream {
    /// Connects to the listener at a path; on Linux a path that begins with a zero is an abstract name.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; `WouldBlock` if the listener's queue is full.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    pub async fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        Self::connect_addr(&SocketAddr::of_path(path.as_ref())?).await
    }

    /// Connects to the listener at an address.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect).
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    pub async fn connect_addr(socket_addr: &SocketAddr) -> io::Result<UnixStream> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        Self::connect_socket(socket, &socket_addr.to_socket2()?).await
    }

    pub(super) async fn connect_socket(socket: Socket, to: &socket2::SockAddr) -> io::Result<UnixStream> {
        match socket.connect(to) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let io = Evented::new(net::UnixStream::from(socket))?;
        io.ready(Interest::WRITABLE).await?;
        match io.get_ref().take_error()? {
            Some(error) => Err(error),
            None => Ok(UnixStream { io }),
        }
    }

    /// Creates two ends of one connection, without names.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    #[track_caller]
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = net::UnixStream::pair()?;
        Ok((Self::of_pair(one)?, Self::of_pair(other)?))
    }

    #[track_caller]
    fn of_pair(end: net::UnixStream) -> io::Result<UnixStream> {
        end.set_nonblocking(true)?;
        let end = Self::from_std(end)?;
        end.io.assume_writable();
        Ok(end)
    }

    /// Returns the name of this side.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr().map(SocketAddr)
    }

    /// Returns the name of the other side.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().peer_addr().map(SocketAddr)
    }

    /// Returns the process and the user that made the other end.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn peer_cred(&self) -> io::Result<UCred> {
        UCred::of(self.io.get_ref())
    }
}

methods!(
    UnixStream: descriptor, std(net::UnixStream), take_error, ready, readable(poll_read_ready),
    writable(poll_write_ready), any_io, try_read(buffer::try_recv), try_write, stream(SocketAddr),
);
