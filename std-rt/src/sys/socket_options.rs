//! The options of a socket: one function to set each, one to ask for it where somebody does. Reached as
//! `sys::socket::...`.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::net::sockopt;

pub use super::keepalive::{keepalive, set_keepalive};
use super::{Call, door};

/// One setsockopt(2).
pub(super) fn set(fd: BorrowedFd<'_>, mut call: impl FnMut() -> rustix::io::Result<()>) -> io::Result<()> {
    Ok(retry_on_intr(|| {
        door::ask(Call::SetOption, fd)?;
        call()
    })?)
}

/// One getsockopt(2).
pub(super) fn get<T>(fd: BorrowedFd<'_>, mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    Ok(retry_on_intr(|| {
        door::ask(Call::GetOption, fd)?;
        call()
    })?)
}

/// Sends small segments at once (`TCP_NODELAY`).
pub fn set_nodelay(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set(fd, || sockopt::set_tcp_nodelay(fd, on))
}

/// Whether small segments are sent at once.
pub fn nodelay(fd: BorrowedFd<'_>) -> io::Result<bool> {
    get(fd, || sockopt::tcp_nodelay(fd))
}

/// Lets a listener bind a port whose old connections linger (`SO_REUSEADDR`). Before bind.
pub fn set_reuseaddr(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set(fd, || sockopt::set_socket_reuseaddr(fd, on))
}

/// Whether `SO_REUSEADDR` is set.
pub fn reuseaddr(fd: BorrowedFd<'_>) -> io::Result<bool> {
    get(fd, || sockopt::socket_reuseaddr(fd))
}

/// Lets several sockets bind one port and share its connections (`SO_REUSEPORT`). Before bind, on each.
pub fn set_reuseport(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set(fd, || sockopt::set_socket_reuseport(fd, on))
}

/// Whether `SO_REUSEPORT` is set.
pub fn reuseport(fd: BorrowedFd<'_>) -> io::Result<bool> {
    get(fd, || sockopt::socket_reuseport(fd))
}

/// Switches TCP keepalive off.
pub fn clear_keepalive(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, || sockopt::set_socket_keepalive(fd, false))
}

/// What close does with unsent bytes (`SO_LINGER`): `None` sends them in the background; zero throws them away and
/// resets the connection; a time, rounded up to seconds, makes **close(2) itself block** so long, even here.
pub fn set_linger(fd: BorrowedFd<'_>, time: Option<Duration>) -> io::Result<()> {
    set(fd, || sockopt::set_socket_linger(fd, time))
}

/// The linger time, or `None`.
pub fn linger(fd: BorrowedFd<'_>) -> io::Result<Option<Duration>> {
    get(fd, || sockopt::socket_linger(fd))
}

/// Asks for a receive buffer of `bytes`; Linux reserves twice as much and has limits of its own.
pub fn set_recv_buffer_size(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    set(fd, || sockopt::set_socket_recv_buffer_size(fd, bytes))
}

/// The size of the receive buffer in bytes, the kernel's bookkeeping included.
pub fn recv_buffer_size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    get(fd, || sockopt::socket_recv_buffer_size(fd))
}

/// Asks for a send buffer of `bytes`; Linux reserves twice as much and has limits of its own.
pub fn set_send_buffer_size(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    set(fd, || sockopt::set_socket_send_buffer_size(fd, bytes))
}

/// The size of the send buffer in bytes, the kernel's bookkeeping included.
pub fn send_buffer_size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    get(fd, || sockopt::socket_send_buffer_size(fd))
}

/// The time to live of IPv4 packets, 1..=255 hops.
pub fn set_ttl(fd: BorrowedFd<'_>, hops: u32) -> io::Result<()> {
    set(fd, || sockopt::set_ip_ttl(fd, hops))
}

/// The time to live of IPv4 packets.
pub fn ttl(fd: BorrowedFd<'_>) -> io::Result<u32> {
    get(fd, || sockopt::ip_ttl(fd))
}

/// Keeps IPv4 off an IPv6 socket (`IPV6_V6ONLY`). Before bind.
pub fn set_v6only(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set(fd, || sockopt::set_ipv6_v6only(fd, on))
}

/// Whether IPv4 is kept off.
pub fn v6only(fd: BorrowedFd<'_>) -> io::Result<bool> {
    get(fd, || sockopt::ipv6_v6only(fd))
}
