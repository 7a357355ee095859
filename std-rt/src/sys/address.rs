//! Addresses of sockets, from the kernel's form into std's.

use std::fmt;
use std::io;
use std::mem::offset_of;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrAny, SocketAddrUnix};

use super::abstract_names;

/// Where a socket is: an address of IP, or a name on this machine.
#[derive(Clone)]
pub enum Address {
    /// TCP or UDP.
    Ip(SocketAddr),
    /// A Unix socket: a path, an abstract name, or none. In a box, for it is four times as long as the other.
    Unix(Box<UnixAddr>),
}

impl Address {
    /// The address of IP, if it is one.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Address::Ip(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }

    /// The name on this machine, if it is one.
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

/// `127.0.0.1:80`, a path, `@name` for an abstract name, `(unnamed)`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Unix(address) => match (address.as_pathname(), abstract_names::abstract_name(address)) {
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

/// The address of the other end, of whatever family.
///
/// # Errors
///
/// `ENOTCONN` if there is none (yet); `EAFNOSUPPORT` if it is neither of IP nor of this machine.
pub fn peer_address(fd: BorrowedFd<'_>) -> io::Result<Address> {
    from_kernel(net::getpeername(fd)?)
}

/// The local address, of whatever family.
///
/// # Errors
///
/// `EAFNOSUPPORT` if it is neither of IP nor of this machine.
pub fn local_address(fd: BorrowedFd<'_>) -> io::Result<Address> {
    from_kernel(Some(net::getsockname(fd)?))
}

/// A Unix socket without a name has no address in the kernel's answer, or an empty one.
pub(super) fn from_kernel(address: Option<SocketAddrAny>) -> io::Result<Address> {
    let Some(address) = address else { return Ok(unnamed()?.into()) };
    if address.address_family() == AddressFamily::UNIX {
        // rustix would make an abstract name of no bytes of it.
        if address.addr_len() as usize <= offset_of!(libc::sockaddr_un, sun_path) {
            return Ok(unnamed()?.into());
        }
        return Ok(unix(&SocketAddrUnix::try_from(address)?)?.into());
    }
    Ok(Address::Ip(SocketAddr::try_from(address).map_err(|_| Errno::AFNOSUPPORT)?))
}

/// As std has it.
pub(super) fn unix(address: &SocketAddrUnix) -> io::Result<UnixAddr> {
    if let Some(path) = address.path_bytes() {
        // Where the longest path leaves no room behind it rustix takes the zero at its end for a part of it.
        let path = path.strip_suffix(&[0]).unwrap_or(path);
        return UnixAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(path)));
    }
    match abstract_names::of_kernel(address) {
        Some(name) => abstract_names::from_abstract_name(name),
        None => unnamed(),
    }
}

/// The other way.
pub(super) fn unix_to_kernel(address: &UnixAddr) -> io::Result<SocketAddrUnix> {
    match (address.as_pathname(), abstract_names::abstract_name(address)) {
        (Some(path), _) => Ok(SocketAddrUnix::new(path)?),
        (None, Some(name)) => abstract_names::to_kernel(name),
        (None, None) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "the address of a Unix socket is empty"))
        }
    }
}

fn unnamed() -> io::Result<UnixAddr> {
    UnixAddr::from_pathname("")
}
