//! The options of a socket: one function to set each, one to ask for it where somebody does. Reached as
//! `sys::socket::...`.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::net::sockopt;

/// Sends small segments at once (`TCP_NODELAY`).
pub fn set_nodelay(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    Ok(sockopt::set_tcp_nodelay(fd, on)?)
}

/// Whether small segments are sent at once.
pub fn nodelay(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::tcp_nodelay(fd)?)
}

/// Lets a listener bind a port whose old connections linger (`SO_REUSEADDR`). Before bind.
pub fn set_reuseaddr(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseaddr(fd, on)?)
}

/// Whether `SO_REUSEADDR` is set.
pub fn reuseaddr(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::socket_reuseaddr(fd)?)
}

/// Lets several sockets bind one port and share its connections (`SO_REUSEPORT`). Before bind, on each.
pub fn set_reuseport(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseport(fd, on)?)
}

/// Whether `SO_REUSEPORT` is set.
pub fn reuseport(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::socket_reuseport(fd)?)
}

/// Switches TCP keepalive on: the first probe after `idle` of silence, then one every `interval`, and the connection
/// is given up after `count` unanswered ones. Times are rounded up to whole seconds.
///
/// # Errors
///
/// `EINVAL` outside the kernel's ranges: 1..=32767 seconds, 1..=127 probes. The steps before the refused one hold;
/// the probes themselves are switched on last.
pub fn set_keepalive(fd: BorrowedFd<'_>, idle: Duration, interval: Duration, count: u32) -> io::Result<()> {
    sockopt::set_tcp_keepidle(fd, idle)?;
    sockopt::set_tcp_keepintvl(fd, interval)?;
    sockopt::set_tcp_keepcnt(fd, count)?;
    Ok(sockopt::set_socket_keepalive(fd, true)?)
}

/// Switches TCP keepalive off.
pub fn clear_keepalive(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(sockopt::set_socket_keepalive(fd, false)?)
}

/// Idle time, interval and count of TCP keepalive, or `None` where it is off.
pub fn keepalive(fd: BorrowedFd<'_>) -> io::Result<Option<(Duration, Duration, u32)>> {
    if !sockopt::socket_keepalive(fd)? {
        return Ok(None);
    }
    Ok(Some((sockopt::tcp_keepidle(fd)?, sockopt::tcp_keepintvl(fd)?, sockopt::tcp_keepcnt(fd)?)))
}

/// What close does with unsent bytes (`SO_LINGER`): `None` sends them in the background; zero throws them away and
/// resets the connection; a time, rounded up to seconds, makes **close(2) itself block** so long, even here.
pub fn set_linger(fd: BorrowedFd<'_>, time: Option<Duration>) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(fd, time)?)
}

/// The linger time, or `None`.
pub fn linger(fd: BorrowedFd<'_>) -> io::Result<Option<Duration>> {
    Ok(sockopt::socket_linger(fd)?)
}

/// Asks for a receive buffer of `bytes`; Linux reserves twice as much and has limits of its own.
pub fn set_recv_buffer_size(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_recv_buffer_size(fd, bytes)?)
}

/// The size of the receive buffer in bytes, the kernel's bookkeeping included.
pub fn recv_buffer_size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(sockopt::socket_recv_buffer_size(fd)?)
}

/// Asks for a send buffer of `bytes`; Linux reserves twice as much and has limits of its own.
pub fn set_send_buffer_size(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_send_buffer_size(fd, bytes)?)
}

/// The size of the send buffer in bytes, the kernel's bookkeeping included.
pub fn send_buffer_size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(sockopt::socket_send_buffer_size(fd)?)
}

/// The time to live of IPv4 packets, 1..=255 hops.
pub fn set_ttl(fd: BorrowedFd<'_>, hops: u32) -> io::Result<()> {
    Ok(sockopt::set_ip_ttl(fd, hops)?)
}

/// The time to live of IPv4 packets.
pub fn ttl(fd: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(sockopt::ip_ttl(fd)?)
}

/// Keeps IPv4 off an IPv6 socket (`IPV6_V6ONLY`). Before bind.
pub fn set_v6only(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    Ok(sockopt::set_ipv6_v6only(fd, on)?)
}

/// Whether IPv4 is kept off.
pub fn v6only(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::ipv6_v6only(fd)?)
}
