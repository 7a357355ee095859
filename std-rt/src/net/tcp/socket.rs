//! A TCP socket before it listens or connects.

use std::net::SocketAddr;

use super::{Peer, TcpListener, TcpStream};
use crate::net::Keepalive;
use crate::net::methods::*;
use crate::net::options::option_methods;
use crate::sys::socket::{self, Connect, Domain};
use crate::sys::{Address, sockopt};

/// A TCP socket that neither listens nor is connected yet, for options that must be set before.
///
/// `TCP_NODELAY` and the default [`Keepalive`] are set on it. The listener or stream that it becomes has
/// them, and so do the connections that the listener accepts.
///
/// ```
/// # use std::time::Duration;
/// # use netpoll_rt::net::TcpSocket;
/// let socket = TcpSocket::new_v4()?;
/// socket.set_reuseaddr(true)?;
/// socket.set_user_timeout(Some(Duration::from_secs(30)))?;
/// socket.bind("127.0.0.1:0".parse().unwrap())?;
/// let listener = socket.listen(128)?;
/// # std::io::Result::Ok(())
/// ```
///
/// Dropping it closes it.
///
/// # Options
///
/// These are the options that a connection starts with. The kernel copies the options of a listener to its
/// connections, so an option of the listener costs no call for each of them; set it before connections come.
/// An option that must be set before bind or connect is set on a [`TcpSocket`].
///
/// | option | default | set by | copied by a listener |
/// |---|---|---|---|
/// | `nodelay` | on | this crate, once for each listener and for each connect | yes |
/// | `keepalive` | 15 s, 15 s, 9 ([`Keepalive`]) | the same | yes |
/// | `reuseaddr` | on for [`TcpListener::bind`], off for [`TcpSocket`] | this crate | without effect there |
/// | backlog | the longest that the kernel allows | [`TcpListener::bind`]; an argument of [`listen`](TcpSocket::listen) | - |
/// | `reuseport`, `v6only` | off (`net.ipv6.bindv6only`) | - | without effect there |
/// | `linger` | `None`: sent in the background | - | yes |
/// | `user_timeout` (Linux) | `None`: about 15 minutes | - | yes |
/// | `recv_buffer_size`, `send_buffer_size` | grow as needed (`net.ipv4.tcp_rmem`, `tcp_wmem`) | - | yes |
/// | `ttl` | `net.ipv4.ip_default_ttl`, 64 | - | yes |
/// | `traffic_class` | 0 | - | yes |
/// | `bind_device` (Linux) | `None` | - | yes |
/// | `fastopen`, `fastopen_connect` (Linux) | off | - | - |
/// | `bind_address_no_port` (Linux) | off for [`TcpSocket`], on for [`ConnectConfig`](crate::net::ConnectConfig) | - | - |
/// | `quickack` (Linux) | the kernel's choice | - | - |
#[derive(Debug)]
pub struct TcpSocket {
    fd: OwnedFd,
    /// Decides what a short read of the stream will mean.
    kind: FdKind,
    /// Set if this crate has created it, so that it was not connected before.
    is_own: bool,
}

impl TcpSocket {
    /// Creates a socket for IPv4.
    ///
    /// # Errors
    ///
    /// Returns an error if no descriptor or memory is free: `EMFILE`, `ENFILE`, `ENOBUFS`.
    pub fn new_v4() -> io::Result<Self> {
        Self::new(Domain::V4)
    }

    /// Creates a socket for IPv6, and for IPv4 as well unless [`v6only`](TcpSocket::set_v6only).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`TcpSocket::new_v4`]; `EAFNOSUPPORT` on a host without IPv6.
    pub fn new_v6() -> io::Result<Self> {
        Self::new(Domain::V6)
    }

    /// Creates a socket for IPv4 that uses Multipath TCP (RFC 8684) if the kernel and the peer have it, and TCP otherwise. Its
    /// stream and its listener behave as those of TCP; [`TcpStream::is_mptcp`] tells which it became. Linux has it, since
    /// 5.6; elsewhere the socket is one of TCP. Some options of TCP are not available on it, depending on the kernel.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`TcpSocket::new_v4`].
    pub fn new_v4_mptcp() -> io::Result<Self> {
        Self::new_mptcp(Domain::V4)
    }

    /// Creates a socket for IPv6, and for IPv4 as well unless [`v6only`](TcpSocket::set_v6only), that uses Multipath TCP as
    /// [`TcpSocket::new_v4_mptcp`] does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`TcpSocket::new_v6`].
    pub fn new_v6_mptcp() -> io::Result<Self> {
        Self::new_mptcp(Domain::V6)
    }

    fn new_mptcp(domain: Domain) -> io::Result<Self> {
        let fd = socket::mptcp_socket(domain).map_err(|error| OpError::new("socket", error))?;
        // A short read of it says nothing: the bytes come through several queues.
        fd.map_or_else(
            || Self::new(domain),
            |fd| Self::with_defaults(Self { fd, kind: FdKind::Other, is_own: true }),
        )
    }

    /// Takes over a socket that was created elsewhere, for instance of another protocol that behaves as TCP
    /// does, and makes it non-blocking. Its options do not change.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, which a correct process does not meet; the socket is closed then.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let socket = Self { fd, kind: FdKind::Other, is_own: false };
        socket.call("from_fd", |fd| socket::set_nonblocking(fd, true))?;
        Ok(socket)
    }

    fn new(domain: Domain) -> io::Result<Self> {
        let fd = socket::socket(domain, socket::SocketKind::Stream)
            .map_err(|error| OpError::new("socket", error))?;
        Self::with_defaults(Self { fd, kind: FdKind::ByteStream, is_own: true })
    }

    fn with_defaults(socket: Self) -> io::Result<Self> {
        // The kernel copies both from a listener to its connections.
        let set =
            socket.set_nodelay(true).and_then(|()| match socket.set_keepalive(Some(Keepalive::default())) {
                // On such a system a connection cannot have times of its own, and is without keepalive.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
                set => set,
            });
        match set {
            // Older kernels do not have these options for Multipath TCP.
            Err(_) if socket.kind == FdKind::Other => Ok(socket),
            set => set.map(|()| socket),
        }
    }

    pub(in crate::net) fn of(address: &SocketAddr) -> io::Result<Self> {
        Self::new(Domain::of(address))
    }

    pub(in crate::net) fn of_mptcp(address: &SocketAddr) -> io::Result<Self> {
        Self::new_mptcp(Domain::of(address))
    }

    fn call<T>(&self, op: &'static str, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        call(self.fd.as_fd()).map_err(|error| self.error(op, error).between(self.bound(), None).into())
    }

    fn error(&self, op: &'static str, error: io::Error) -> OpError {
        OpError::new(op, error).on(self.fd.as_raw_fd())
    }

    /// Returns the local address, if it is bound.
    fn bound(&self) -> Option<Address> {
        let name = socket::sock_name(self.fd.as_fd()).ok()?;
        (name.port() != 0).then(|| name.into())
    }

    /// Sets its local address. With port 0 the kernel chooses.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, with the address: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`.
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        socket::bind(self.fd.as_fd(), &address)
            .map_err(|error| self.error("bind", error).between(Some(address.into()), None).into())
    }

    /// Returns its local address, whose port is 0 before bind.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, which a correct process does not meet.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.call("local_addr", socket::sock_name)
    }

    /// Turns it into a listener whose queue holds up to `backlog` connections, at most the kernel's own limit
    /// (`net.core.somaxconn`). While the queue is full, handshakes go unanswered and peers try again for a
    /// while.
    ///
    /// # Errors
    ///
    /// Returns `AddrInUse` if another socket listens there; the error of the registration.
    pub fn listen(self, backlog: i32) -> io::Result<TcpListener> {
        self.call("listen", |fd| socket::listen(fd, backlog))?;
        let bound = self.bound();
        let fd = watch("listen", self.fd, FdKind::Other).map_err(|error| error.between(bound, None))?;
        Ok(TcpListener { fd })
    }

    /// Connects it.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the attempt ends and the socket is closed.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`TcpStream::connect`]; `EISCONN` if it was created elsewhere and listens, or is
    /// connected to another address.
    pub async fn connect(self, address: SocketAddr) -> io::Result<TcpStream> {
        coop::proceed().await;
        self.connect_to(&address).await
    }

    pub(in crate::net) async fn connect_to(self, address: &SocketAddr) -> io::Result<TcpStream> {
        let (number, adopted) = (self.fd.as_raw_fd(), !self.is_own);
        let failed = |error| OpError::new("connect", error).on(number).between(None, Some((*address).into()));
        let (fd, peer) = self.start(address)?;
        let peer = match peer {
            Some(peer) => peer,
            None => fd.run(Mode::Write, connected).await.map_err(failed)?,
        };
        if adopted {
            fd.with(|fd| check_peer(fd, &peer, address)).map_err(failed)?;
        }
        Ok(TcpStream { fd, peer: Peer::from(peer) })
    }

    /// Makes the first call. Returns the peer if it is known then.
    fn start(self, address: &SocketAddr) -> io::Result<(Fd, Option<SocketAddr>)> {
        // The call comes before the registration: a socket that does not connect yet would report a hang-up.
        let connect = socket::connect(self.fd.as_fd(), address)
            .map_err(|error| self.error("connect", error).between(None, Some((*address).into())))?;
        let adopted = !self.is_own;
        let fd = watch("connect", self.fd, self.kind)
            .map_err(|error| error.between(None, Some((*address).into())))?;
        let peer = match connect {
            // The kernel replaces an unspecified address by one of this host, and a socket that was created
            // elsewhere may have been connected before. With a fast open there is no peer yet.
            Connect::Done if adopted || address.ip().is_unspecified() => {
                Some(fd.with(socket::peer_name).unwrap_or(*address))
            }
            Connect::Done => Some(*address),
            Connect::InProgress => None,
        };
        Ok((fd, peer))
    }

    /// Disables IPv4 on an IPv6 socket (`IPV6_V6ONLY`). Set it before bind.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if it is bound; the kernel's error on an IPv4 socket.
    pub fn set_v6only(&self, on: bool) -> io::Result<()> {
        self.call("set_v6only", |fd| sockopt::set_v6only(fd, on))
    }

    /// Lets [`bind`](TcpSocket::bind) to port 0 choose no port (`IP_BIND_ADDRESS_NO_PORT`): connect chooses it then, by the
    /// addresses of both sides. So one local address has all its ports for each peer, instead of once. Set it before bind. On
    /// Linux only; `Unsupported` elsewhere.
    ///
    /// # Errors
    ///
    /// Returns the error of a kernel before 4.2.
    pub fn set_bind_address_no_port(&self, on: bool) -> io::Result<()> {
        self.call("set_bind_address_no_port", |fd| sockopt::set_bind_address_no_port(fd, on))
    }

    /// Returns whether bind to port 0 chooses no port. On Linux only.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` elsewhere.
    pub fn bind_address_no_port(&self) -> io::Result<bool> {
        self.call("bind_address_no_port", sockopt::bind_address_no_port)
    }

    /// Sends the first write along with the handshake (`TCP_FASTOPEN_CONNECT`), if the peer has allowed that
    /// before; otherwise it connects as usual, and requests the permission.
    ///
    /// [`connect`](TcpSocket::connect) then returns before anything is sent, and nothing is sent before the
    /// first write. So this is for protocols in which the client sends first, and an error of the connect
    /// comes from the first write or read. The peer may get the bytes of that write twice. On Linux only;
    /// `Unsupported` elsewhere.
    ///
    /// # Errors
    ///
    /// Returns the error of a kernel without it; `EOPNOTSUPP` without the 1 in `net.ipv4.tcp_fastopen`.
    pub fn set_fastopen_connect(&self, on: bool) -> io::Result<()> {
        self.call("set_fastopen_connect", |fd| sockopt::set_fastopen_connect(fd, on))
    }

    /// Returns whether the first write is sent along with the handshake. On Linux only.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` elsewhere.
    pub fn fastopen_connect(&self) -> io::Result<bool> {
        self.call("fastopen_connect", sockopt::fastopen_connect)
    }
}

option_methods!(TcpSocket: buffers, ip, v6only, reuse, tcp, fastopen, device);

/// Borrows the descriptor, for options that this crate does not offer.
impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Returns the socket, which stays non-blocking.
impl From<TcpSocket> for OwnedFd {
    fn from(socket: TcpSocket) -> Self {
        socket.fd
    }
}

/// Returns the peer. Writability is only a hint: the socket is connected once `SO_ERROR` is clear and it has
/// a peer.
fn connected(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    if let Some(error) = socket::socket_error(fd)? {
        return Err(error);
    }
    socket::peer_name(fd).map_err(|error| match error.kind() {
        io::ErrorKind::NotConnected => io::ErrorKind::WouldBlock.into(),
        _ => error,
    })
}

/// Returns an error unless a socket that was created elsewhere has the requested peer: connect(2) reports the
/// same of a socket that was connected before, or that listens, as of one that it has just connected.
fn check_peer(fd: BorrowedFd<'_>, peer: &SocketAddr, requested: &SocketAddr) -> io::Result<()> {
    let same = requested.ip().is_unspecified() || peer.ip() == requested.ip();
    if same && peer.port() == requested.port() && !socket::is_listening(fd)? {
        return Ok(());
    }
    Err(socket::already_connected())
}
