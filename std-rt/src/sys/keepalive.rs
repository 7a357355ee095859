//! TCP keepalive with times of each connection's own. [`no_keepalive.rs`](../no_keepalive.rs) is its twin for OpenBSD.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::net::sockopt;

use super::socket_options::{get, set};

/// Switches TCP keepalive on: the first probe after `idle` of silence, then one every `interval`, and the connection
/// is given up after `count` unanswered ones. Times are rounded up to whole seconds.
///
/// # Errors
///
/// `EINVAL` outside the kernel's ranges: 1..=32767 seconds, 1..=127 probes. The steps before the refused one hold;
/// the probes themselves are switched on last.
pub fn set_keepalive(fd: BorrowedFd<'_>, idle: Duration, interval: Duration, count: u32) -> io::Result<()> {
    set(fd, || sockopt::set_tcp_keepidle(fd, idle))?;
    set(fd, || sockopt::set_tcp_keepintvl(fd, interval))?;
    set(fd, || sockopt::set_tcp_keepcnt(fd, count))?;
    set(fd, || sockopt::set_socket_keepalive(fd, true))
}

/// Idle time, interval and count of TCP keepalive, or `None` where it is off.
pub fn keepalive(fd: BorrowedFd<'_>) -> io::Result<Option<(Duration, Duration, u32)>> {
    if !get(fd, || sockopt::socket_keepalive(fd))? {
        return Ok(None);
    }
    let idle = get(fd, || sockopt::tcp_keepidle(fd))?;
    let interval = get(fd, || sockopt::tcp_keepintvl(fd))?;
    Ok(Some((idle, interval, get(fd, || sockopt::tcp_keepcnt(fd))?)))
}
