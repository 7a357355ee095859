//! Addresses, and names that are looked up.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::blocking;
use sealed::{Internal, Target, ToTarget};

/// An address, several, or a name with a port that is looked up, as tokio's. Sealed.
///
/// A name is looked up by the system's resolver on a thread for work that blocks.
pub trait ToSocketAddrs: ToTarget {}

pub(super) mod sealed {
    use std::net::SocketAddr;

    /// What is needed to get the addresses.
    #[derive(Debug)]
    pub enum Target {
        /// They are known.
        Known(std::vec::IntoIter<SocketAddr>),
        /// A text that the resolver takes apart and looks up.
        Text(String),
        /// A name that the resolver looks up.
        Name(String, u16),
    }

    /// Keeps users from calling [`ToTarget::to_target`].
    #[derive(Debug)]
    pub struct Internal;

    /// Converts without waiting.
    pub trait ToTarget {
        /// Returns what is needed to get the addresses.
        fn to_target(&self, internal: Internal) -> Target;
    }
}

/// Implements the traits for types that are one address.
macro_rules! one_address {
    ($($from:ty),+) => {$(
        impl ToSocketAddrs for $from {}

        impl ToTarget for $from {
            fn to_target(&self, _: Internal) -> Target {
                Target::Known(vec![SocketAddr::from(*self)].into_iter())
            }
        }
    )+};
}

one_address!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {}

impl<T: ToTarget + ?Sized> ToTarget for &T {
    fn to_target(&self, internal: Internal) -> Target {
        (**self).to_target(internal)
    }
}

impl ToSocketAddrs for &[SocketAddr] {}

impl ToTarget for &[SocketAddr] {
    fn to_target(&self, _: Internal) -> Target {
        Target::Known(Vec::from(*self).into_iter())
    }
}

impl ToSocketAddrs for str {}

impl ToTarget for str {
    fn to_target(&self, internal: Internal) -> Target {
        match self.parse::<SocketAddr>() {
            Ok(address) => address.to_target(internal),
            Err(_) => Target::Text(self.to_owned()),
        }
    }
}

impl ToSocketAddrs for String {}

impl ToTarget for String {
    fn to_target(&self, internal: Internal) -> Target {
        self.as_str().to_target(internal)
    }
}

impl ToSocketAddrs for (&str, u16) {}

impl ToTarget for (&str, u16) {
    fn to_target(&self, internal: Internal) -> Target {
        match self.0.parse::<IpAddr>() {
            Ok(ip) => (ip, self.1).to_target(internal),
            Err(_) => Target::Name(self.0.to_owned(), self.1),
        }
    }
}

impl ToSocketAddrs for (String, u16) {}

impl ToTarget for (String, u16) {
    fn to_target(&self, internal: Internal) -> Target {
        (self.0.as_str(), self.1).to_target(internal)
    }
}

/// Returns the addresses of a target.
pub(super) async fn resolve(target: impl ToSocketAddrs) -> io::Result<std::vec::IntoIter<SocketAddr>> {
    let target = target.to_target(Internal);
    let looked_up = match target {
        Target::Known(known) => return Ok(known),
        Target::Text(text) => blocking::spawn(move || std::net::ToSocketAddrs::to_socket_addrs(&text)).await,
        Target::Name(name, port) => {
            blocking::spawn(move || std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), port))).await
        }
    };
    looked_up.map_err(io::Error::other)?
}

/// Returns the error of the last address that was tried, or that there was none.
pub(super) fn last_error(last: Option<io::Error>) -> io::Error {
    last.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "could not resolve to any address"))
}

/// Looks a name up.
///
/// # Errors
///
/// Returns the resolver's error; `InvalidInput` for a text that is no name with a port.
///
/// # Panics
///
/// Panics outside of a runtime, if a name is to be looked up.
pub async fn lookup_host<T: ToSocketAddrs>(host: T) -> io::Result<impl Iterator<Item = SocketAddr>> {
    resolve(host).await
}
