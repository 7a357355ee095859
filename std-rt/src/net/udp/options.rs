//! The options of UDP sockets: those that must be set before bind, and those that may be set at any time.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{UdpSocket, first_of};
use crate::net::addr::ToSocketAddrs;
use crate::net::methods::*;
use crate::net::options::option_methods;
use crate::sys::socket::{self, Domain, SocketKind};
use crate::sys::sockopt as sys;

/// A configuration for UDP sockets: the options that must be set before bind, and then
/// [`bind`](UdpConfig::bind), which may be called several times.
///
/// ```
/// use netpoll_rt::net::UdpConfig;
///
/// # netpoll_rt::block_on(async {
/// // One socket for each worker; the kernel spreads the senders over them.
/// let config = UdpConfig::new().reuseport(true).recv_buffer_size(1 << 20);
/// let first = config.bind("127.0.0.1:0").await?;
/// let second = config.bind(first.local_addr()?).await?;
/// assert_eq!(first.local_addr()?, second.local_addr()?);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a config does nothing until a socket is bound"]
pub struct UdpConfig {
    reuseaddr: bool,
    reuseport: bool,
    v6only: Option<bool>,
    recv_buffer_size: Option<usize>,
    send_buffer_size: Option<usize>,
}

impl UdpConfig {
    /// Returns a configuration with the kernel's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets several sockets that all allow it bind one address (`SO_REUSEADDR`). On Linux the last one
    /// receives, except at a group or broadcast address, where each does.
    pub fn reuseaddr(self, on: bool) -> Self {
        Self { reuseaddr: on, ..self }
    }

    /// Lets several sockets of one user that all allow it bind one address (`SO_REUSEPORT`). The kernel
    /// spreads the datagrams over them, by sender.
    pub fn reuseport(self, on: bool) -> Self {
        Self { reuseport: on, ..self }
    }

    /// Sets whether an IPv6 socket carries no IPv4 (`IPV6_V6ONLY`); without effect on an IPv4 socket. The
    /// default is the system's, usually that it carries both.
    pub fn v6only(self, on: bool) -> Self {
        Self { v6only: Some(on), ..self }
    }

    /// Requests a receive buffer of this many bytes (`SO_RCVBUF`). A larger burst is lost. Linux reserves
    /// twice as much, for its bookkeeping, at most `net.core.rmem_max`.
    pub fn recv_buffer_size(self, bytes: usize) -> Self {
        Self { recv_buffer_size: Some(bytes), ..self }
    }

    /// Requests a send buffer of this many bytes (`SO_SNDBUF`). Linux reserves twice as much, at most
    /// `net.core.wmem_max`.
    pub fn send_buffer_size(self, bytes: usize) -> Self {
        Self { send_buffer_size: Some(bytes), ..self }
    }

    /// Binds a socket to a local address; with port 0 the kernel chooses. Of several addresses the first that
    /// works is taken.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: there is no socket.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`UdpSocket::bind`].
    pub async fn bind(&self, addr: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        let name = addr.name();
        first_of("bind", name, addr.to_socket_addrs().await?, |address| self.bind_to(address))
    }

    fn bind_to(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        let failed = |op, error| io::Error::from(OpError::new(op, error).between(Some(address.into()), None));
        let fd = socket::socket(Domain::of(&address), SocketKind::Datagram)
            .map_err(|error| failed("socket", error))?;
        self.set(fd.as_fd(), &address).map_err(|(op, error)| failed(op, error))?;
        socket::bind(fd.as_fd(), &address).map_err(|error| failed("bind", error))?;
        Ok(UdpSocket::wrap(watch("bind", fd, FdKind::Other)?))
    }

    /// Sets the options. An error comes with the operation that failed.
    fn set(&self, fd: BorrowedFd<'_>, address: &SocketAddr) -> Result<(), (&'static str, io::Error)> {
        if self.reuseaddr {
            sys::set_reuseaddr(fd, true).map_err(|error| ("set_reuseaddr", error))?;
        }
        if self.reuseport {
            sys::set_reuseport(fd, true).map_err(|error| ("set_reuseport", error))?;
        }
        if let (Some(on), SocketAddr::V6(_)) = (self.v6only, address) {
            sys::set_v6only(fd, on).map_err(|error| ("set_v6only", error))?;
        }
        if let Some(bytes) = self.recv_buffer_size {
            sys::set_recv_buffer_size(fd, bytes).map_err(|error| ("set_recv_buffer_size", error))?;
        }
        if let Some(bytes) = self.send_buffer_size {
            sys::set_send_buffer_size(fd, bytes).map_err(|error| ("set_send_buffer_size", error))?;
        }
        Ok(())
    }
}

option_methods!(UdpSocket: buffers, ip, v6only, device);

option_methods! {
    UdpSocket, bool;
    /// Lets it send to a broadcast address (`SO_BROADCAST`, off by default); without it such a send is
    /// `PermissionDenied`.
    set_broadcast = sys::set_broadcast;
    /// Returns whether it may send to a broadcast address.
    broadcast = sys::broadcast;
}

option_methods! {
    UdpSocket, u32;
    /// Sets how many routers a packet to an IPv4 group may pass (`IP_MULTICAST_TTL`), 0 to 255. The default
    /// is 1, which passes no router; 0 keeps it on this host.
    set_multicast_ttl_v4 = sys::set_multicast_ttl_v4;
    /// Returns how many routers a packet to an IPv4 group may pass.
    multicast_ttl_v4 = sys::multicast_ttl_v4;
}

option_methods! {
    UdpSocket, u32;
    /// Sets how many routers a packet to an IPv6 group may pass (`IPV6_MULTICAST_HOPS`), 0 to 255. The
    /// default is 1, which passes no router; 0 keeps it on this host.
    set_multicast_hops_v6 = sys::set_multicast_hops_v6;
    /// Returns how many routers a packet to an IPv6 group may pass.
    multicast_hops_v6 = sys::multicast_hops_v6;
}

option_methods! {
    UdpSocket, bool;
    /// Sets whether members on this host receive what it sends to an IPv4 group (`IP_MULTICAST_LOOP`, on by
    /// default).
    set_multicast_loop_v4 = sys::set_multicast_loop_v4;
    /// Returns whether members on this host receive what it sends to an IPv4 group.
    multicast_loop_v4 = sys::multicast_loop_v4;
}

option_methods! {
    UdpSocket, bool;
    /// Sets whether members on this host receive what it sends to an IPv6 group (`IPV6_MULTICAST_LOOP`, on by
    /// default).
    set_multicast_loop_v6 = sys::set_multicast_loop_v6;
    /// Returns whether members on this host receive what it sends to an IPv6 group.
    multicast_loop_v6 = sys::multicast_loop_v6;
}

option_methods! {
    UdpSocket, Ipv4Addr;
    /// Sets the interface, by its address, through which packets to an IPv4 group leave (`IP_MULTICAST_IF`).
    /// With `0.0.0.0` the kernel chooses.
    set_multicast_if_v4 = sys::set_multicast_if_v4;
    /// Returns the interface through which packets to an IPv4 group leave.
    multicast_if_v4 = sys::multicast_if_v4;
}

option_methods! {
    UdpSocket, u32;
    /// Sets the interface, by its index, through which packets to an IPv6 group leave (`IPV6_MULTICAST_IF`).
    /// With 0 the kernel chooses.
    set_multicast_if_v6 = sys::set_multicast_if_v6;
    /// Returns the interface through which packets to an IPv6 group leave.
    multicast_if_v6 = sys::multicast_if_v6;
}

impl UdpSocket {
    /// Joins an IPv4 group on the interface with an address; with `0.0.0.0` the kernel chooses. Bind it to
    /// the group or to all addresses. Several sockets on one host need [`UdpConfig::reuseaddr`].
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed; `InvalidInput` for an address that is no group; `ENODEV` if there is
    /// no such interface; `AddrInUse` if it is a member already.
    pub fn join_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.call("join_multicast_v4", |fd| sys::join_v4(fd, group, interface))
    }

    /// Leaves a group, with the arguments of the join.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed; `AddrNotAvailable` if it is no member.
    pub fn leave_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.call("leave_multicast_v4", |fd| sys::leave_v4(fd, group, interface))
    }

    /// Joins an IPv6 group on the interface with an index, as [`join_multicast_v4`](Self::join_multicast_v4)
    /// does; with 0 the kernel chooses.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`join_multicast_v4`](Self::join_multicast_v4).
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.call("join_multicast_v6", |fd| sys::join_v6(fd, group, interface))
    }

    /// Leaves a group, with the arguments of the join.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`leave_multicast_v4`](Self::leave_multicast_v4).
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.call("leave_multicast_v6", |fd| sys::leave_v6(fd, group, interface))
    }

    /// Takes the error that is queued on the socket for the next operation (`SO_ERROR`), such as
    /// `ConnectionRefused` for a datagram that found no socket.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.call("take_error", socket::socket_error)
    }
}
