//! What may be set at any time: broadcast, groups, and what every socket of IP has.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::options::*;
use super::UdpSocket;
use crate::sys::{socket, sockopt as sys};

fd_options!(UdpSocket);
socket_options!(UdpSocket);
ip_options!(UdpSocket);
device_options!(UdpSocket);
v6only_option!(UdpSocket);

option! {
    UdpSocket, bool;
    /// Lets it send to a broadcast address (`SO_BROADCAST`, off by default); without it the kernel says
    /// `PermissionDenied`.
    set_broadcast = sys::set_broadcast;
    /// Whether it may send to a broadcast address.
    broadcast = sys::broadcast;
}

option! {
    UdpSocket, u32;
    /// How many routers a packet to an IPv4 group may pass (`IP_MULTICAST_TTL`), 0 to 255; 1 by default, which is no
    /// router, and 0 keeps it on this host.
    set_multicast_ttl_v4 = sys::set_multicast_ttl_v4;
    /// How many routers a packet to an IPv4 group may pass.
    multicast_ttl_v4 = sys::multicast_ttl_v4;
}

option! {
    UdpSocket, u32;
    /// How many routers a packet to an IPv6 group may pass (`IPV6_MULTICAST_HOPS`), 0 to 255; 1 by default, which is no
    /// router, and 0 keeps it on this host.
    set_multicast_hops_v6 = sys::set_multicast_hops_v6;
    /// How many routers a packet to an IPv6 group may pass.
    multicast_hops_v6 = sys::multicast_hops_v6;
}

option! {
    UdpSocket, bool;
    /// Whether members on this host get what it sends to an IPv4 group (`IP_MULTICAST_LOOP`, on by default).
    set_multicast_loop_v4 = sys::set_multicast_loop_v4;
    /// Whether members on this host get what it sends to an IPv4 group.
    multicast_loop_v4 = sys::multicast_loop_v4;
}

option! {
    UdpSocket, bool;
    /// Whether members on this host get what it sends to an IPv6 group (`IPV6_MULTICAST_LOOP`, on by default).
    set_multicast_loop_v6 = sys::set_multicast_loop_v6;
    /// Whether members on this host get what it sends to an IPv6 group.
    multicast_loop_v6 = sys::multicast_loop_v6;
}

option! {
    UdpSocket, Ipv4Addr;
    /// The interface, by its address, through which packets to an IPv4 group leave (`IP_MULTICAST_IF`); `0.0.0.0` for the
    /// kernel's choice.
    set_multicast_if_v4 = sys::set_multicast_if_v4;
    /// The interface through which packets to an IPv4 group leave.
    multicast_if_v4 = sys::multicast_if_v4;
}

option! {
    UdpSocket, u32;
    /// The interface, by its number, through which packets to an IPv6 group leave (`IPV6_MULTICAST_IF`); 0 for the
    /// kernel's choice.
    set_multicast_if_v6 = sys::set_multicast_if_v6;
    /// The interface through which packets to an IPv6 group leave.
    multicast_if_v6 = sys::multicast_if_v6;
}

impl UdpSocket {
    /// Joins an IPv4 group on the interface with an address; `0.0.0.0` for the kernel's choice. Bind it to the group or to
    /// all addresses; several sockets on one host need [`UdpConfig::reuseaddr`](super::UdpConfig::reuseaddr).
    ///
    /// # Errors
    ///
    /// Closed; `InvalidInput` if it is no group, `ENODEV` if there is no such interface, `AddrInUse` if it is a member
    /// already.
    pub fn join_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.option("join_multicast_v4", |fd| sys::join_v4(fd, group, interface))
    }

    /// Leaves a group, with the arguments with which it was joined.
    ///
    /// # Errors
    ///
    /// Closed; `AddrNotAvailable` if it is no member.
    pub fn leave_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.option("leave_multicast_v4", |fd| sys::leave_v4(fd, group, interface))
    }

    /// Joins an IPv6 group on the interface with a number; 0 for the kernel's choice. As
    /// [`join_multicast_v4`](Self::join_multicast_v4).
    ///
    /// # Errors
    ///
    /// As [`join_multicast_v4`](Self::join_multicast_v4).
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.option("join_multicast_v6", |fd| sys::join_v6(fd, group, interface))
    }

    /// Leaves a group, with the arguments with which it was joined.
    ///
    /// # Errors
    ///
    /// As [`leave_multicast_v4`](Self::leave_multicast_v4).
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.option("leave_multicast_v6", |fd| sys::leave_v6(fd, group, interface))
    }

    /// The error that waits on the socket for the next operation, such as `ConnectionRefused` for a datagram that found
    /// nobody (`SO_ERROR`); it is taken off.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.option("take_error", socket::socket_error)
    }
}
