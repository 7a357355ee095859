//! Addresses of sockets, and their conversion between the kernel's form and std's.

use std::fmt;
use std::io;
use std::mem::offset_of;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::path::Path;

use rustix::io::Errno;

use super::platform;
use super::sim::net::{self, AddressFamily, SocketAddrAny, SocketAddrUnix};

/// The address of a socket: an IP address and port, or a Unix socket's name.
#[derive(Clone)]
pub enum Address {
    /// An address of TCP or UDP.
    Ip(SocketAddr),
    /// An address of a Unix socket: a path, an abstract name, or none. Boxed, because it is four times as
    /// large as `Ip`.
    Unix(Box<UnixAddr>),
}

impl Address {
    /// Returns the IP address and port, if it is one.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Address::Ip(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }

    /// Returns the Unix socket's address, if it is one.
    pub fn unix(&self) -> Option<&UnixAddr> {
        match self {
            Address::Ip(_) => None,
            Address::Unix(address) => Some(address),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Ip(address)
    }
}

impl From<UnixAddr> for Address {
    fn from(address: UnixAddr) -> Self {
        Address::Unix(Box::new(address))
    }
}

/// Writes `127.0.0.1:80`, a path, `@name` for an abstract name, or `(unnamed)`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Unix(address) => match (address.as_pathname(), platform::abstract_name(address)) {
                (Some(path), _) => path.display().fmt(f),
                (None, Some(name)) => write!(f, "@{}", name.escape_ascii()),
                (None, None) => f.write_str("(unnamed)"),
            },
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Returns the address of the peer, of any family.
///
/// # Errors
///
/// Returns `ENOTCONN` if the socket has no peer, or none yet; `EAFNOSUPPORT` if the family is neither IP nor
/// Unix.
pub fn peer_address(fd: BorrowedFd<'_>) -> io::Result<Address> {
    from_kernel(net::getpeername(fd)?)
}

/// Returns the local address, of any family.
///
/// # Errors
///
/// Returns `EAFNOSUPPORT` if the family is neither IP nor Unix.
pub fn local_address(fd: BorrowedFd<'_>) -> io::Result<Address> {
    from_kernel(Some(net::getsockname(fd)?))
}

/// Converts the kernel's address. For an unnamed Unix socket the kernel returns no address, or an empty one.
pub(super) fn from_kernel(address: Option<SocketAddrAny>) -> io::Result<Address> {
    let Some(address) = address else { return Ok(unnamed()?.into()) };
    if address.address_family() == AddressFamily::UNIX {
        // rustix would read an empty address as an abstract name of no bytes.
        if address.addr_len() as usize <= offset_of!(libc::sockaddr_un, sun_path) {
            return Ok(unnamed()?.into());
        }
        return Ok(unix(&SocketAddrUnix::try_from(address)?)?.into());
    }
    Ok(Address::Ip(SocketAddr::try_from(address).map_err(|_| Errno::AFNOSUPPORT)?))
}

/// Converts a Unix socket's address from rustix's form to std's.
pub(super) fn unix(address: &SocketAddrUnix) -> io::Result<UnixAddr> {
    if let Some(path) = address.path_bytes() {
        // Where the longest path fills `sun_path`, rustix counts the terminating zero as part of the path.
        let path = path.strip_suffix(&[0]).unwrap_or(path);
        return UnixAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(path)));
    }
    match platform::abstract_name_from_kernel(address) {
        Some(name) => platform::from_abstract_name(name),
        None => unnamed(),
    }
}

/// Converts a Unix socket's address from std's form to rustix's.
pub(super) fn unix_to_kernel(address: &UnixAddr) -> io::Result<SocketAddrUnix> {
    match (address.as_pathname(), platform::abstract_name(address)) {
        (Some(path), _) => Ok(SocketAddrUnix::new(path)?),
        (None, Some(name)) => platform::abstract_name_to_kernel(name),
        (None, None) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "the address of a Unix socket is empty"))
        }
    }
}

fn unnamed() -> io::Result<UnixAddr> {
    UnixAddr::from_pathname("")
}
