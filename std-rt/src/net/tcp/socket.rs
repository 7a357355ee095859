//! A TCP socket before it listens or connects.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use netpoll_core::Mode;

use super::peer::Peer;
use super::{TcpListener, TcpStream};
use crate::coop;
use crate::error::OpError;
use crate::fd::{Fd, FdKind};
use crate::net::Keepalive;
use crate::net::options::*;
use crate::netpoll::Netpoll;
use crate::sys::socket::{self, Connect, Domain};
use crate::sys::{Address, sockopt};

/// A TCP socket that is neither listening nor connected yet, to set what must be set before.
///
/// `TCP_NODELAY` and the default [`Keepalive`] are set on it; what it becomes, and the connections that a listener
/// accepts, have them from it.
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
/// Dropped: it is closed.
///
/// # Options
///
/// What a connection starts with. Options of a listener are handed on to its connections by the kernel, so what is set
/// there costs no call for each of them; set it before connections come. What must be set before a socket is bound or
/// connected is set on a [`TcpSocket`].
///
/// | option | default | who sets it | handed on by a listener |
/// |---|---|---|---|
/// | `nodelay` | on | this crate, once for each listener and for each connect | yes |
/// | `keepalive` | 15 s, 15 s, 9 ([`Keepalive`]) | the same | yes |
/// | `reuseaddr` | on for [`TcpListener::bind`], off for [`TcpSocket`] | this crate | it does not matter there |
/// | backlog | the longest that the kernel allows | [`TcpListener::bind`]; [`listen`](TcpSocket::listen) asks for it | - |
/// | `reuseport`, `v6only` | off (`net.ipv6.bindv6only`) | - | it does not matter there |
/// | `linger` | `None`: sent in the background | - | yes |
/// | `user_timeout` (Linux) | `None`: about 15 minutes | - | yes |
/// | `recv_buffer_size`, `send_buffer_size` | grow by themselves (`net.ipv4.tcp_rmem`, `tcp_wmem`) | - | yes |
/// | `ttl` | `net.ipv4.ip_default_ttl`, 64 | - | yes |
/// | `traffic_class` | 0 | - | yes |
/// | `bind_device` (Linux) | `None` | - | yes |
/// | `fastopen`, `fastopen_connect` (Linux) | off | - | - |
/// | `quickack` (Linux) | the kernel's choice | - | - |
#[derive(Debug)]
pub struct TcpSocket {
    fd: OwnedFd,
    /// What a short read will mean.
    kind: FdKind,
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

    /// A socket for IPv6, and for IPv4 as well unless [`v6only`](TcpSocket::set_v6only).
    ///
    /// # Errors
    ///
    /// As [`TcpSocket::new_v4`], and `EAFNOSUPPORT` on a host without IPv6.
    pub fn new_v6() -> io::Result<Self> {
        Self::new(Domain::V6)
    }

    /// Takes over a socket that was made elsewhere, for instance of another protocol that behaves as TCP does, and makes
    /// it non-blocking. Its options stay as they are.
    ///
    /// # Errors
    ///
    /// None that a sound process meets; the socket is closed then.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let socket = Self { fd, kind: FdKind::Other };
        socket.option("from_fd", |fd| socket::set_nonblocking(fd, true))?;
        Ok(socket)
    }

    fn new(domain: Domain) -> io::Result<Self> {
        let fd = socket::socket(domain, socket::SocketKind::Stream)
            .map_err(|error| OpError::new("socket", error))?;
        let socket = Self { fd, kind: FdKind::ByteStream };
        // The kernel hands both on from a listener to its connections.
        socket.set_nodelay(true)?;
        match socket.set_keepalive(Some(Keepalive::default())) {
            // Where a connection cannot have times of its own it does without, as it would have before.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(socket),
            set => set.map(|()| socket),
        }
    }

    pub(in crate::net) fn of(address: &SocketAddr) -> io::Result<Self> {
        Self::new(Domain::of(address))
    }

    fn option<T>(
        &self,
        op: &'static str,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        call(self.fd.as_fd()).map_err(|error| self.error(op, error).between(self.bound(), None).into())
    }

    fn error(&self, op: &'static str, error: io::Error) -> OpError {
        OpError::new(op, error).on(self.fd.as_raw_fd())
    }

    /// The local address, once it has one.
    fn bound(&self) -> Option<Address> {
        let name = socket::sock_name(self.fd.as_fd()).ok()?;
        (name.port() != 0).then(|| name.into())
    }

    /// Gives it a local address; port 0 lets the kernel choose.
    ///
    /// # Errors
    ///
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`, with the address.
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        socket::bind(self.fd.as_fd(), &address)
            .map_err(|error| self.error("bind", error).between(Some(address.into()), None).into())
    }

    /// The address that it was bound to; without a port before that.
    ///
    /// # Errors
    ///
    /// None that a sound process meets.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.option("local_addr", socket::sock_name)
    }

    /// Turns it to a listener whose queue holds up to `backlog` connections, at most the kernel's own limit
    /// (`net.core.somaxconn`). When it is full, handshakes go unanswered and peers try again for a while.
    ///
    /// # Errors
    ///
    /// `AddrInUse`, and those of watching a descriptor.
    pub fn listen(self, backlog: i32) -> io::Result<TcpListener> {
        self.option("listen", |fd| socket::listen(fd, backlog))?;
        let bound = self.bound();
        let fd = watch("listen", self.fd, FdKind::Other).map_err(|error| error.between(bound, None))?;
        Ok(TcpListener { fd })
    }

    /// Connects it.
    ///
    /// Dropped: the attempt is given up and the socket closed.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::connect`]; `EISCONN` if it was made elsewhere and listens, or is connected to another address.
    pub async fn connect(self, address: SocketAddr) -> io::Result<TcpStream> {
        coop::proceed().await;
        self.connect_to(&address).await
    }

    pub(in crate::net) async fn connect_to(self, address: &SocketAddr) -> io::Result<TcpStream> {
        let (number, adopted) = (self.fd.as_raw_fd(), self.kind == FdKind::Other);
        let failed = |error| OpError::new("connect", error).on(number).between(None, Some((*address).into()));
        let (fd, peer) = self.start(address)?;
        let peer = match peer {
            Some(peer) => peer,
            None => fd.run(Mode::Write, connected).await.map_err(failed)?,
        };
        if adopted {
            fd.with(|fd| is_asked_for(fd, &peer, address)).map_err(failed)?;
        }
        Ok(TcpStream { fd, peer: Peer::from(peer) })
    }

    /// The first call: the peer, if it is known then.
    fn start(self, address: &SocketAddr) -> io::Result<(Fd, Option<SocketAddr>)> {
        // First the call and then the poller: a socket that is not connecting yet would report a hang-up.
        let connect = socket::connect(self.fd.as_fd(), address)
            .map_err(|error| self.error("connect", error).between(None, Some((*address).into())))?;
        let adopted = self.kind == FdKind::Other;
        let fd = watch("connect", self.fd, self.kind)
            .map_err(|error| error.between(None, Some((*address).into())))?;
        let peer = match connect {
            // What the kernel takes for "this host" has a name of its own, and a socket that was made elsewhere may have been
            // connected before. With a fast open there is no peer yet.
            Connect::Done if adopted || address.ip().is_unspecified() => {
                Some(fd.with(socket::peer_name).unwrap_or(*address))
            }
            Connect::Done => Some(*address),
            Connect::InProgress => None,
        };
        Ok((fd, peer))
    }
}

socket_options!(TcpSocket);
ip_options!(TcpSocket);
reuse_options!(TcpSocket);
tcp_options!(TcpSocket);
fastopen_options!(TcpSocket);
device_options!(TcpSocket);
v6only_option!(TcpSocket);

impl TcpSocket {
    /// Keeps IPv4 off an IPv6 socket (`IPV6_V6ONLY`). Before bind.
    ///
    /// # Errors
    ///
    /// `InvalidInput` once it is bound; the kernel's on a socket of IPv4.
    pub fn set_v6only(&self, on: bool) -> io::Result<()> {
        self.option("set_v6only", |fd| socket::set_v6only(fd, on))
    }

    /// Sends the first write along with the handshake (`TCP_FASTOPEN_CONNECT`), if the peer has been seen to allow that;
    /// else the connection is made as ever, and the permission asked for.
    ///
    /// [`connect`](TcpSocket::connect) then returns before anything is sent, and nothing is sent before the first write.
    /// So this is for protocols in which the client speaks first, and a failure to connect comes from the first write or
    /// read. The peer may get the bytes of that write twice. On Linux only, `Unsupported` elsewhere.
    ///
    /// # Errors
    ///
    /// What a kernel without it says; `EOPNOTSUPP` without the 1 in `net.ipv4.tcp_fastopen`.
    pub fn set_fastopen_connect(&self, on: bool) -> io::Result<()> {
        self.option("set_fastopen_connect", |fd| sockopt::set_fastopen_connect(fd, on))
    }

    /// Whether the first write is sent along with the handshake. On Linux only.
    ///
    /// # Errors
    ///
    /// `Unsupported` elsewhere.
    pub fn fastopen_connect(&self) -> io::Result<bool> {
        self.option("fastopen_connect", sockopt::fastopen_connect)
    }
}

/// For options that this crate does not have.
impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Gives the socket away, non-blocking as it is.
impl From<TcpSocket> for OwnedFd {
    fn from(socket: TcpSocket) -> Self {
        socket.fd
    }
}

/// Ready is a hint: connected is what has no error, but a peer.
fn connected(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    if let Some(error) = socket::socket_error(fd)? {
        return Err(error);
    }
    socket::peer_name(fd).map_err(|error| match error.kind() {
        io::ErrorKind::NotConnected => io::ErrorKind::WouldBlock.into(),
        _ => error,
    })
}

/// Whether a socket that was made elsewhere has the peer that was asked for: connect(2) says of one that is connected, or
/// listens, what it says of one that has just been connected.
fn is_asked_for(fd: BorrowedFd<'_>, peer: &SocketAddr, asked: &SocketAddr) -> io::Result<()> {
    let same = asked.ip().is_unspecified() || peer.ip() == asked.ip();
    if same && peer.port() == asked.port() && !socket::is_listening(fd)? {
        return Ok(());
    }
    Err(socket::already_connected())
}

/// Gives a socket to the poller of this thread's runtime.
pub(super) fn watch(op: &'static str, fd: OwnedFd, kind: FdKind) -> Result<Fd, OpError> {
    let number = fd.as_raw_fd();
    let watched = Netpoll::current().and_then(|netpoll| Fd::new(netpoll, fd, kind));
    watched.map_err(|error| OpError::new(op, error).on(number))
}
