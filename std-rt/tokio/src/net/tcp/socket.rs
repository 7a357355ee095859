//! TCP sockets before they listen or connect.

#![expect(unsafe_code, reason = "tokio's type is made from a bare number")]

use std::fmt;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::{TcpListener, TcpStream};
use crate::io::evented::Evented;

/// A TCP socket that neither listens nor is connected, as tokio's.
pub struct TcpSocket {
    inner: Socket,
}

/// Writes options of the socket.
macro_rules! options {
    ($($(#[$doc:meta])* $value:ty: $set:ident = $setter:ident, $get:ident = $getter:ident;)+) => {$(
        impl TcpSocket {
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// Returns the kernel's error.
            pub fn $set(&self, value: $value) -> io::Result<()> {
                self.inner.$setter(value)
            }

            #[doc = concat!("Returns what [`", stringify!($set), "`](Self::", stringify!($set), ") sets.")]
            ///
            /// # Errors
            ///
            /// Returns the kernel's error.
            pub fn $get(&self) -> io::Result<$value> {
                self.inner.$getter()
            }
        }
    )+};
}

options! {
    /// Sets whether the kernel probes a silent connection (`SO_KEEPALIVE`); off by default.
    bool: set_keepalive = set_keepalive, keepalive = keepalive;
    /// Lets it bind a port with former connections (`SO_REUSEADDR`); off by default.
    bool: set_reuseaddr = set_reuse_address, reuseaddr = reuse_address;
    /// Lets several sockets bind one port (`SO_REUSEPORT`); off by default.
    bool: set_reuseport = set_reuse_port, reuseport = reuse_port;
    /// Sets whether small writes are sent at once (`TCP_NODELAY`); off by default.
    bool: set_nodelay = set_tcp_nodelay, nodelay = tcp_nodelay;
    /// Sets the traffic class of IPv6 packets (`IPV6_TCLASS`).
    u32: set_tclass_v6 = set_tclass_v6, tclass_v6 = tclass_v6;
    /// Sets the type of service of IPv4 packets (`IP_TOS`).
    u32: set_tos_v4 = set_tos_v4, tos_v4 = tos_v4;
}

impl TcpSocket {
    /// Creates a socket for IPv4.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn new_v4() -> io::Result<TcpSocket> {
        Self::new(Domain::IPV4)
    }

    /// Creates a socket for IPv6.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn new_v6() -> io::Result<TcpSocket> {
        Self::new(Domain::IPV6)
    }

    /// Creates a socket for an address.
    pub(super) fn of(address: &SocketAddr) -> io::Result<TcpSocket> {
        Self::new(Domain::for_address(*address))
    }

    fn new(domain: Domain) -> io::Result<TcpSocket> {
        let inner = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        Ok(TcpSocket { inner })
    }

    /// Takes over a stream of std, which must be non-blocking, for instance one that is not connected yet.
    pub fn from_std_stream(std_stream: net::TcpStream) -> TcpSocket {
        TcpSocket { inner: std_stream.into() }
    }

    /// Requests a send buffer of this many bytes (`SO_SNDBUF`).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn set_send_buffer_size(&self, size: u32) -> io::Result<()> {
        self.inner.set_send_buffer_size(size as usize)
    }

    /// Returns the size of the send buffer in bytes.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn send_buffer_size(&self) -> io::Result<u32> {
        self.inner.send_buffer_size().map(|size| size as u32)
    }

    /// Requests a receive buffer of this many bytes (`SO_RCVBUF`).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn set_recv_buffer_size(&self, size: u32) -> io::Result<()> {
        self.inner.set_recv_buffer_size(size as usize)
    }

    /// Returns the size of the receive buffer in bytes.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn recv_buffer_size(&self) -> io::Result<u32> {
        self.inner.recv_buffer_size().map(|size| size as u32)
    }

    /// Sets what a close does with bytes that are not sent yet (`SO_LINGER`).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    #[deprecated = "`SO_LINGER` causes the socket to block the thread on drop"]
    pub fn set_linger(&self, dur: Option<Duration>) -> io::Result<()> {
        self.inner.set_linger(dur)
    }

    /// Makes a close discard bytes that are not sent yet, and reset the connection.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        self.inner.set_linger(Some(Duration::ZERO))
    }

    /// Returns what a close does with bytes that are not sent yet.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.inner.linger()
    }

    /// The former name of [`tos_v4`](Self::tos_v4).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    #[deprecated(note = "`tos` related methods have been renamed `tos_v4` since they are IPv4-specific.")]
    #[doc(hidden)]
    pub fn tos(&self) -> io::Result<u32> {
        self.tos_v4()
    }

    /// The former name of [`set_tos_v4`](Self::set_tos_v4).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    #[deprecated(note = "`tos` related methods have been renamed `tos_v4` since they are IPv4-specific.")]
    #[doc(hidden)]
    pub fn set_tos(&self, tos: u32) -> io::Result<()> {
        self.set_tos_v4(tos)
    }

    /// Returns the local address.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.inner.local_addr()?.as_socket();
        address.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "invalid address family (not IPv4 or IPv6)")
        })
    }

    /// Takes the error that is queued on the socket (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner.take_error()
    }

    /// Binds it to a local address.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn bind(&self, addr: SocketAddr) -> io::Result<()> {
        self.inner.bind(&addr.into())
    }

    /// Connects it.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the attempt ends.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; an error if the runtime has ended.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    pub async fn connect(self, addr: SocketAddr) -> io::Result<TcpStream> {
        match self.inner.connect(&addr.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => TcpStream::connected(self.inner.into()).await,
        }
    }

    /// Makes it a listener with a queue for `backlog` connections.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    #[track_caller]
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        self.inner.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(TcpListener { io: Evented::new(self.inner.into())? })
    }
}

/// Options of Linux.
#[cfg(any(target_os = "linux", target_os = "android"))]
impl TcpSocket {
    /// Returns the interface that it is restricted to (`SO_BINDTODEVICE`).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn device(&self) -> io::Result<Option<Vec<u8>>> {
        self.inner.device()
    }

    /// Restricts it to one network interface (`SO_BINDTODEVICE`); `None` ends that.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn bind_device(&self, interface: Option<&[u8]>) -> io::Result<()> {
        self.inner.bind_device(interface)
    }
}

impl fmt::Debug for TcpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl AsRawFd for TcpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl FromRawFd for TcpSocket {
    unsafe fn from_raw_fd(fd: RawFd) -> TcpSocket {
        // SAFETY: the caller promises that `fd` is open and owned by nothing else.
        TcpSocket { inner: unsafe { Socket::from_raw_fd(fd) } }
    }
}

impl IntoRawFd for TcpSocket {
    fn into_raw_fd(self) -> RawFd {
        self.inner.into_raw_fd()
    }
}
