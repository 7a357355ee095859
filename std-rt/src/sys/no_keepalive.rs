//! TCP keepalive where its times are the whole system's: it cannot be switched on with times of a connection's own.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::net::sockopt;

use super::socket_options::get;

fn unsupported<T>() -> io::Result<T> {
    let what = "this system has no times of keepalive for a connection, only for all (sysctl net.inet.tcp)";
    Err(io::Error::new(io::ErrorKind::Unsupported, what))
}

/// As elsewhere, if it could.
pub fn set_keepalive(
    _fd: BorrowedFd<'_>,
    _idle: Duration,
    _interval: Duration,
    _count: u32,
) -> io::Result<()> {
    unsupported()
}

/// `None` where it is off; else the times are not to be had.
pub fn keepalive(fd: BorrowedFd<'_>) -> io::Result<Option<(Duration, Duration, u32)>> {
    if get(fd, || sockopt::socket_keepalive(fd))? { unsupported() } else { Ok(None) }
}
