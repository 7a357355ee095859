//! A TCP socket before it listens or connects.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netpoll_core::poll_key::Mode;

use super::{TcpListener, TcpStream};
use crate::error::OpError;
use crate::fd::{Fd, Kind};
use crate::netpoll::Netpoll;
use crate::sys::socket::{self, Connect, Domain};

/// A TCP socket that is neither listening nor connected yet, to set what must be set before.
#[derive(Debug)]
pub struct TcpSocket {
    fd: OwnedFd,
}

impl TcpSocket {
    /// A socket for IPv4.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOBUFS`.
    pub fn new_v4() -> io::Result<Self> {
        Self::new(Domain::V4)
    }

    /// A socket for IPv6.
    ///
    /// # Errors
    ///
    /// As [`TcpSocket::new_v4`], and `EAFNOSUPPORT` on a host without IPv6.
    pub fn new_v6() -> io::Result<Self> {
        Self::new(Domain::V6)
    }

    fn new(domain: Domain) -> io::Result<Self> {
        let fd =
            socket::socket(domain, socket::Kind::Stream).map_err(|error| OpError::new("socket", error))?;
        let socket = Self { fd };
        // Linux hands it on from a listener to its connections.
        socket.fallible("set_nodelay", None, |fd| socket::set_nodelay(fd, true))?;
        Ok(socket)
    }

    pub(super) fn of(address: &SocketAddr) -> io::Result<Self> {
        Self::new(Domain::of(address))
    }

    fn fallible<T>(
        &self,
        op: &'static str,
        address: Option<SocketAddr>,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        call(self.fd.as_fd())
            .map_err(|error| OpError::new(op, error).between(address.map(Into::into), None).into())
    }

    /// Lets a listener bind while old connections of its port are in TIME_WAIT.
    ///
    /// # Errors
    ///
    /// None that a sound process meets.
    pub fn set_reuseaddr(&self, on: bool) -> io::Result<()> {
        self.fallible("set_reuseaddr", None, |fd| socket::set_reuseaddr(fd, on))
    }

    /// Lets several listeners share a port, among which the kernel spreads connections.
    ///
    /// # Errors
    ///
    /// What a kernel without it says.
    pub fn set_reuseport(&self, on: bool) -> io::Result<()> {
        self.fallible("set_reuseport", None, |fd| socket::set_reuseport(fd, on))
    }

    /// Gives it a local address; port 0 lets the kernel choose.
    ///
    /// # Errors
    ///
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`, with the address.
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        self.fallible("bind", Some(address), |fd| socket::bind(fd, &address))
    }

    /// Turns it to a listener whose queue holds up to `backlog` connections, at most the kernel's own limit.
    ///
    /// # Errors
    ///
    /// `AddrInUse`, and those of watching a descriptor.
    pub fn listen(self, backlog: i32) -> io::Result<TcpListener> {
        self.fallible("listen", None, |fd| socket::listen(fd, backlog))?;
        Ok(TcpListener { fd: watch("listen", self.fd, Kind::Other)? })
    }

    /// Connects it.
    ///
    /// Dropped: the attempt is given up and the socket closed.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::connect`].
    pub async fn connect(self, address: SocketAddr) -> io::Result<TcpStream> {
        let failed =
            |error| io::Error::from(OpError::new("connect", error).between(None, Some(address.into())));
        // First the call and then the poller: a socket that is not connecting yet would report a hang-up.
        let connect = socket::connect(self.fd.as_fd(), &address).map_err(failed)?;
        let fd = watch("connect", self.fd, Kind::Stream)?;
        if connect == Connect::InProgress {
            // Ready is a hint: connected is what has neither an error nor no peer.
            let connected = fd.run(Mode::Write, |fd| match socket::socket_error(fd)? {
                Some(error) => Err(error),
                None => socket::peer_name(fd).map(drop).map_err(|error| match error.kind() {
                    io::ErrorKind::NotConnected => io::ErrorKind::WouldBlock.into(),
                    _ => error,
                }),
            });
            connected.await.map_err(failed)?;
        }
        Ok(TcpStream { fd })
    }
}

/// Gives a socket to the poller of this thread's runtime.
pub(super) fn watch(op: &'static str, fd: OwnedFd, kind: Kind) -> io::Result<Fd> {
    let watched = Netpoll::current().and_then(|netpoll| Fd::new(netpoll, fd, kind));
    watched.map_err(|error| OpError::new(op, error).into())
}
