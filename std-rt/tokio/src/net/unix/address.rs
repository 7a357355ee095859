//! Addresses of Unix sockets.

use std::ffi::OsStr;
use std::fmt;
use std::io;
#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr as StdAddr;
use std::path::Path;

use socket2::SockAddr;

/// An address of a Unix socket, as tokio's.
#[derive(Clone)]
pub struct SocketAddr(pub(super) StdAddr);

impl SocketAddr {
    /// Returns whether it has no name.
    pub fn is_unnamed(&self) -> bool {
        self.0.is_unnamed()
    }

    /// Returns the path, if it is one.
    pub fn as_pathname(&self) -> Option<&Path> {
        self.0.as_pathname()
    }

    /// Returns the abstract name, if it is one.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn as_abstract_name(&self) -> Option<&[u8]> {
        self.0.as_abstract_name()
    }

    /// Returns the address of a path; on Linux a path that begins with a zero is an abstract name.
    pub(super) fn of_path(path: &Path) -> io::Result<Self> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(name) = path.as_os_str().as_bytes().strip_prefix(b"\0") {
            return StdAddr::from_abstract_name(name).map(Self);
        }
        StdAddr::from_pathname(path).map(Self)
    }

    /// Returns the address as socket2 takes it.
    pub(super) fn to_socket2(&self) -> io::Result<SockAddr> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(name) = self.as_abstract_name() {
            return SockAddr::unix(OsStr::from_bytes(&[b"\0", name].concat()));
        }
        SockAddr::unix(self.as_pathname().map_or(OsStr::from_bytes(b""), Path::as_os_str))
    }

    /// Returns the address that socket2 has received.
    pub(super) fn from_socket2(address: &SockAddr) -> io::Result<Self> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(name) = address.as_abstract_namespace() {
            return StdAddr::from_abstract_name(name).map(Self);
        }
        StdAddr::from_pathname(address.as_pathname().unwrap_or(Path::new(""))).map(Self)
    }
}

impl fmt::Debug for SocketAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<StdAddr> for SocketAddr {
    fn from(value: StdAddr) -> Self {
        SocketAddr(value)
    }
}

impl From<SocketAddr> for StdAddr {
    fn from(value: SocketAddr) -> Self {
        value.0
    }
}
