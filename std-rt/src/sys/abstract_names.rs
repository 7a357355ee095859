//! Names of Unix sockets that are no paths: Linux and Android have them.

use std::io;
use std::os::unix::net::SocketAddr;

use rustix::net::SocketAddrUnix;

use super::SocketAddrExt;

/// The abstract name of an address, if it has one.
pub fn abstract_name(address: &SocketAddr) -> Option<&[u8]> {
    address.as_abstract_name()
}

/// The address of an abstract name.
///
/// # Errors
///
/// `InvalidInput` for more than 107 bytes.
pub fn from_abstract_name(name: &[u8]) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name)
}

/// An abstract name for the kernel.
pub(super) fn to_kernel(name: &[u8]) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new_abstract_name(name)?)
}

/// An abstract name from the kernel.
pub(super) fn of_kernel(address: &SocketAddrUnix) -> Option<&[u8]> {
    address.abstract_name()
}
