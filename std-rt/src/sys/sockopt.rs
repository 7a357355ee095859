//! Socket options: one function to set each, and one to read it where that is needed.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub use super::platform::{
    bind_address_no_port, device, fastopen, fastopen_connect, is_mptcp, quickack, set_bind_address_no_port,
    set_device, set_fastopen, set_fastopen_connect, set_quickack, set_user_timeout, user_timeout,
};
use super::sim::net::{AddressFamily, getsockname, sockopt};
use super::{Call, platform};
use crate::sys::call::retry;

/// Disables Nagle's algorithm (`TCP_NODELAY`).
pub fn set_nodelay(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_tcp_nodelay(fd, on))
}

/// Returns whether Nagle's algorithm is disabled.
pub fn nodelay(fd: BorrowedFd<'_>) -> io::Result<bool> {
    retry(Call::GetOption, fd, || sockopt::tcp_nodelay(fd))
}

/// Lets a listener bind a port that has connections in TIME-WAIT (`SO_REUSEADDR`). Set it before bind.
pub fn set_reuseaddr(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_socket_reuseaddr(fd, on))
}

/// Returns whether `SO_REUSEADDR` is set.
pub fn reuseaddr(fd: BorrowedFd<'_>) -> io::Result<bool> {
    retry(Call::GetOption, fd, || sockopt::socket_reuseaddr(fd))
}

/// Lets several sockets bind one port and share its connections (`SO_REUSEPORT`). Set it on each before bind.
pub fn set_reuseport(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_socket_reuseport(fd, on))
}

/// Returns whether `SO_REUSEPORT` is set.
pub fn reuseport(fd: BorrowedFd<'_>) -> io::Result<bool> {
    retry(Call::GetOption, fd, || sockopt::socket_reuseport(fd))
}

/// Enables TCP keepalive (`SO_KEEPALIVE`): the first probe follows `idle` of silence, the next ones come
/// every `interval`, and the connection is given up after `count` unanswered ones. Times are rounded up to
/// whole seconds.
///
/// # Errors
///
/// Returns `EINVAL` outside the kernel's ranges: 1..=32767 seconds, 1..=127 probes. The steps before the
/// refused one remain in force; the probes themselves are enabled last. Returns `Unsupported` where the times
/// are the whole system's (OpenBSD).
pub fn set_keepalive(fd: BorrowedFd<'_>, idle: Duration, interval: Duration, count: u32) -> io::Result<()> {
    platform::set_keepalive_times(fd, idle, interval, count)?;
    retry(Call::SetOption, fd, || sockopt::set_socket_keepalive(fd, true))
}

/// Returns idle time, interval and count of TCP keepalive, or `None` if it is disabled.
///
/// # Errors
///
/// Returns `Unsupported` if it is enabled where the times are the whole system's (OpenBSD).
pub fn keepalive(fd: BorrowedFd<'_>) -> io::Result<Option<(Duration, Duration, u32)>> {
    if retry(Call::GetOption, fd, || sockopt::socket_keepalive(fd))? {
        platform::keepalive_times(fd).map(Some)
    } else {
        Ok(None)
    }
}

/// Disables TCP keepalive (`SO_KEEPALIVE`).
pub fn clear_keepalive(fd: BorrowedFd<'_>) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_socket_keepalive(fd, false))
}

/// Sets how close treats unsent bytes (`SO_LINGER`). `None` sends them in the background; zero discards them
/// and resets the connection; a time, rounded up to seconds, makes **close(2) itself block** for that long,
/// even here.
pub fn set_linger(fd: BorrowedFd<'_>, time: Option<Duration>) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_socket_linger(fd, time))
}

/// Returns the linger time, or `None`.
pub fn linger(fd: BorrowedFd<'_>) -> io::Result<Option<Duration>> {
    retry(Call::GetOption, fd, || sockopt::socket_linger(fd))
}

/// Requests a receive buffer of `bytes`; Linux reserves twice as much and has limits of its own.
pub fn set_recv_buffer_size(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_socket_recv_buffer_size(fd, bytes))
}

/// Returns the size of the receive buffer in bytes, the kernel's bookkeeping included.
pub fn recv_buffer_size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    retry(Call::GetOption, fd, || sockopt::socket_recv_buffer_size(fd))
}

/// Requests a send buffer of `bytes`; Linux reserves twice as much and has limits of its own.
pub fn set_send_buffer_size(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_socket_send_buffer_size(fd, bytes))
}

/// Returns the size of the send buffer in bytes, the kernel's bookkeeping included.
pub fn send_buffer_size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    retry(Call::GetOption, fd, || sockopt::socket_send_buffer_size(fd))
}

/// Disables IPv4 on an IPv6 socket (`IPV6_V6ONLY`). Set it before bind.
pub fn set_v6only(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_ipv6_v6only(fd, on))
}

/// Returns whether IPv4 is disabled.
pub fn v6only(fd: BorrowedFd<'_>) -> io::Result<bool> {
    retry(Call::GetOption, fd, || sockopt::ipv6_v6only(fd))
}

/// Returns whether the socket is of IPv6, by its local name, which every system returns for bound and unbound
/// sockets.
pub fn is_v6(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let name = retry(Call::SockName, fd, || getsockname(fd))?;
    Ok(name.address_family() == AddressFamily::INET6)
}

/// Sets the maximum number of hops of a packet: `IP_TTL`, or `IPV6_UNICAST_HOPS`.
pub fn set_hops(fd: BorrowedFd<'_>, hops: u8) -> io::Result<()> {
    let v4 = || retry(Call::SetOption, fd, || sockopt::set_ip_ttl(fd, hops.into()));
    if !is_v6(fd)? {
        return v4();
    }
    retry(Call::SetOption, fd, || sockopt::set_ipv6_unicast_hops(fd, Some(hops)))?;
    // This covers IPv4 through an IPv6 socket. A system that refuses it carries no IPv4 there, or has no
    // option for it.
    let _ = v4();
    Ok(())
}

/// Returns the maximum number of hops of a packet.
pub fn hops(fd: BorrowedFd<'_>) -> io::Result<u32> {
    if is_v6(fd)? {
        return retry(Call::GetOption, fd, || sockopt::ipv6_unicast_hops(fd)).map(u32::from);
    }
    retry(Call::GetOption, fd, || sockopt::ip_ttl(fd))
}

/// Sets the traffic class byte: `IP_TOS`, or `IPV6_TCLASS`.
pub fn set_traffic_class(fd: BorrowedFd<'_>, class: u8) -> io::Result<()> {
    let v4 = || retry(Call::SetOption, fd, || sockopt::set_ip_tos(fd, class));
    if !is_v6(fd)? {
        return v4();
    }
    retry(Call::SetOption, fd, || sockopt::set_ipv6_tclass(fd, class.into()))?;
    // For the same reason as in `set_hops`.
    let _ = v4();
    Ok(())
}

/// Returns the traffic class byte.
pub fn traffic_class(fd: BorrowedFd<'_>) -> io::Result<u8> {
    if is_v6(fd)? {
        // The kernel returns the byte of the header as an int.
        let class = retry(Call::GetOption, fd, || sockopt::ipv6_tclass(fd))?;
        return Ok(u8::try_from(class).unwrap_or(u8::MAX));
    }
    retry(Call::GetOption, fd, || sockopt::ip_tos(fd))
}

/// Lets the socket send to a broadcast address (`SO_BROADCAST`).
pub fn set_broadcast(fd: BorrowedFd<'_>, value: bool) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_socket_broadcast(fd, value))
}

/// Returns whether the socket may send to a broadcast address.
pub fn broadcast(fd: BorrowedFd<'_>) -> io::Result<bool> {
    retry(Call::GetOption, fd, || sockopt::socket_broadcast(fd))
}

/// Sets how many hops IPv4 multicast packets live (`IP_MULTICAST_TTL`), 0..=255.
pub fn set_multicast_ttl_v4(fd: BorrowedFd<'_>, value: u32) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_ip_multicast_ttl(fd, value))
}

/// Returns how many hops IPv4 multicast packets live.
pub fn multicast_ttl_v4(fd: BorrowedFd<'_>) -> io::Result<u32> {
    retry(Call::GetOption, fd, || sockopt::ip_multicast_ttl(fd))
}

/// Sets how many hops IPv6 multicast packets live (`IPV6_MULTICAST_HOPS`), 0..=255.
pub fn set_multicast_hops_v6(fd: BorrowedFd<'_>, value: u32) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_ipv6_multicast_hops(fd, value))
}

/// Returns how many hops IPv6 multicast packets live.
pub fn multicast_hops_v6(fd: BorrowedFd<'_>) -> io::Result<u32> {
    retry(Call::GetOption, fd, || sockopt::ipv6_multicast_hops(fd))
}

/// Sets whether this machine receives what it sends to an IPv4 group (`IP_MULTICAST_LOOP`).
pub fn set_multicast_loop_v4(fd: BorrowedFd<'_>, value: bool) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_ip_multicast_loop(fd, value))
}

/// Returns whether this machine receives what it sends to an IPv4 group.
pub fn multicast_loop_v4(fd: BorrowedFd<'_>) -> io::Result<bool> {
    retry(Call::GetOption, fd, || sockopt::ip_multicast_loop(fd))
}

/// Sets whether this machine receives what it sends to an IPv6 group (`IPV6_MULTICAST_LOOP`).
pub fn set_multicast_loop_v6(fd: BorrowedFd<'_>, value: bool) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_ipv6_multicast_loop(fd, value))
}

/// Returns whether this machine receives what it sends to an IPv6 group.
pub fn multicast_loop_v6(fd: BorrowedFd<'_>) -> io::Result<bool> {
    retry(Call::GetOption, fd, || sockopt::ipv6_multicast_loop(fd))
}

/// Sets the interface index for packets to an IPv6 group (`IPV6_MULTICAST_IF`); 0 lets the kernel choose.
pub fn set_multicast_if_v6(fd: BorrowedFd<'_>, value: u32) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_ipv6_multicast_if(fd, value))
}

/// Returns the interface index for packets to an IPv6 group.
pub fn multicast_if_v6(fd: BorrowedFd<'_>) -> io::Result<u32> {
    retry(Call::GetOption, fd, || sockopt::ipv6_multicast_if(fd))
}

/// Sets the interface for packets to an IPv4 group by its address (`IP_MULTICAST_IF`).
pub fn set_multicast_if_v4(fd: BorrowedFd<'_>, interface: Ipv4Addr) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_ip_multicast_if(fd, &interface))
}

/// Returns the address of the interface for packets to an IPv4 group.
pub fn multicast_if_v4(fd: BorrowedFd<'_>) -> io::Result<Ipv4Addr> {
    retry(Call::GetOption, fd, || sockopt::ip_multicast_if(fd))
}

/// Joins an IPv4 group on the interface with this address.
pub fn join_v4(fd: BorrowedFd<'_>, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_ip_add_membership(fd, group, interface))
}

/// Leaves a group that [`join_v4`] has joined.
pub fn leave_v4(fd: BorrowedFd<'_>, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_ip_drop_membership(fd, group, interface))
}

/// Joins an IPv6 group on the interface with this index.
pub fn join_v6(fd: BorrowedFd<'_>, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_ipv6_add_membership(fd, group, interface))
}

/// Leaves a group that [`join_v6`] has joined.
pub fn leave_v6(fd: BorrowedFd<'_>, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_ipv6_drop_membership(fd, group, interface))
}
