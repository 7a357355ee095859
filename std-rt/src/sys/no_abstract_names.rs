//! Names of Unix sockets that are no paths: what a kernel without them says.

use std::io;
use std::os::unix::net::SocketAddr;

use rustix::net::SocketAddrUnix;

/// None: this kernel has no abstract names.
pub fn abstract_name(_address: &SocketAddr) -> Option<&[u8]> {
    None
}

/// Refused.
///
/// # Errors
///
/// `Unsupported`, always: this kernel has no abstract names.
pub fn from_abstract_name(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(unsupported())
}

/// Refused.
pub(super) fn to_kernel(_name: &[u8]) -> io::Result<SocketAddrUnix> {
    Err(unsupported())
}

/// None.
pub(super) fn of_kernel(_address: &SocketAddrUnix) -> Option<&[u8]> {
    None
}

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this system has no abstract names for Unix sockets")
}
