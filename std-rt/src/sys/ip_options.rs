//! Options of IP, each under one name for both families. An IPv6 socket that carries IPv4 too has both sets.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::retry_on_intr;
use rustix::net::{AddressFamily, getsockname, sockopt};

use super::socket_options::{get, set};
use super::{Call, door};

/// Asked by the name, which every system gives, bound or not.
fn is_v6(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let name = retry_on_intr(|| {
        door::ask(Call::SockName, fd)?;
        getsockname(fd)
    })?;
    Ok(name.address_family() == AddressFamily::INET6)
}

/// How many routers a packet may pass: `IP_TTL`, or `IPV6_UNICAST_HOPS`.
pub fn set_hops(fd: BorrowedFd<'_>, hops: u8) -> io::Result<()> {
    let v4 = || set(fd, || sockopt::set_ip_ttl(fd, hops.into()));
    if !is_v6(fd)? {
        return v4();
    }
    set(fd, || sockopt::set_ipv6_unicast_hops(fd, Some(hops)))?;
    // For IPv4 through this socket. A system that refuses it there carries none, or has no such option for it.
    let _ = v4();
    Ok(())
}

/// How many routers a packet may pass.
pub fn hops(fd: BorrowedFd<'_>) -> io::Result<u32> {
    if is_v6(fd)? {
        return get(fd, || sockopt::ipv6_unicast_hops(fd)).map(u32::from);
    }
    get(fd, || sockopt::ip_ttl(fd))
}

/// The byte by which routers tell traffic apart: `IP_TOS`, or `IPV6_TCLASS`.
pub fn set_traffic_class(fd: BorrowedFd<'_>, class: u8) -> io::Result<()> {
    let v4 = || set(fd, || sockopt::set_ip_tos(fd, class));
    if !is_v6(fd)? {
        return v4();
    }
    set(fd, || sockopt::set_ipv6_tclass(fd, class.into()))?;
    // As in `set_hops`.
    let _ = v4();
    Ok(())
}

/// The byte by which routers tell traffic apart.
pub fn traffic_class(fd: BorrowedFd<'_>) -> io::Result<u8> {
    if is_v6(fd)? {
        // One byte of the header, which the kernel hands over as an int.
        let class = get(fd, || sockopt::ipv6_tclass(fd))?;
        return Ok(u8::try_from(class).unwrap_or(u8::MAX));
    }
    get(fd, || sockopt::ip_tos(fd))
}
