//! The times of TCP keepalive, which each connection has of its own: all systems but OpenBSD.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::net::sockopt;

use crate::sys::Call;
use crate::sys::call::retry;

/// Sets idle time, interval and count, in this order.
pub fn set_keepalive_times(
    fd: BorrowedFd<'_>,
    idle: Duration,
    interval: Duration,
    count: u32,
) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_tcp_keepidle(fd, idle))?;
    retry(Call::SetOption, fd, || sockopt::set_tcp_keepintvl(fd, interval))?;
    retry(Call::SetOption, fd, || sockopt::set_tcp_keepcnt(fd, count))
}

/// Returns idle time, interval and count.
pub fn keepalive_times(fd: BorrowedFd<'_>) -> io::Result<(Duration, Duration, u32)> {
    let idle = retry(Call::GetOption, fd, || sockopt::tcp_keepidle(fd))?;
    let interval = retry(Call::GetOption, fd, || sockopt::tcp_keepintvl(fd))?;
    Ok((idle, interval, retry(Call::GetOption, fd, || sockopt::tcp_keepcnt(fd))?))
}
