//! The addresses that a user may write, and the look-up of names.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::blocking;
use crate::coop;
use crate::error::OpError;
use crate::protocol::pool::Class;
use crate::sys;

/// A value that can be converted to socket addresses. Numeric addresses are parsed at once; a name is looked
/// up on a thread that may block.
///
/// | written as | means |
/// |---|---|
/// | `"127.0.0.1:80"`, `"[::1]:80"`, `"example.org:80"` | a host, which may be a name, and a port |
/// | `("::1", 80)`, `(String::from("example.org"), 80)` | the same in two parts, without brackets |
/// | [`SocketAddr`], [`SocketAddrV4`], [`SocketAddrV6`], ([`IpAddr`], port) | one address |
/// | `[a, b]`, `&[a, b][..]`, `vec![a, b]` of [`SocketAddr`] | several, in this order |
///
/// A host may end in the scope of a link-local address, which is kept: `"[fe80::1%eth0]:80"`,
/// `("fe80::1%2", 80)`.
///
/// # Cancel safety
///
/// Dropped before it is ready: the look-up of a name continues, and its result is discarded.
pub trait ToSocketAddrs {
    /// Returns the addresses, in the resolver's order.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` for a text that is no address, with the part that is missing; the resolver's
    /// error, with the name.
    fn to_socket_addrs(self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Returns the name that is looked up, for errors; `None` if the addresses are numeric.
    fn name(&self) -> Option<String> {
        None
    }

    /// Returns the address if it is a single numeric one. This needs neither a future nor an allocation.
    fn number(&self) -> Option<SocketAddr> {
        None
    }
}

/// Implements the trait for the types that convert to one address. A blanket implementation for
/// `Into<SocketAddr>` would overlap with those for texts and references.
macro_rules! one_address {
    ($($from:ty),*) => {$(
        /// One address.
        impl ToSocketAddrs for $from {
            fn to_socket_addrs(self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
                known(vec![self.into()])
            }

            fn number(&self) -> Option<SocketAddr> {
                Some((*self).into())
            }
        }
    )*};
}

one_address!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

/// Several addresses.
impl ToSocketAddrs for Vec<SocketAddr> {
    fn to_socket_addrs(self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        known(self)
    }
}

/// Several addresses.
impl ToSocketAddrs for &[SocketAddr] {
    fn to_socket_addrs(self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        known(self.to_vec())
    }
}

/// Several addresses.
impl<const N: usize> ToSocketAddrs for [SocketAddr; N] {
    fn to_socket_addrs(self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        known(self.into())
    }
}

/// `host:port`; the host may be a name.
impl ToSocketAddrs for &str {
    fn to_socket_addrs(self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        resolve(Target::of_text(self))
    }

    fn name(&self) -> Option<String> {
        self.parse::<SocketAddr>().is_err().then(|| (*self).to_owned())
    }

    fn number(&self) -> Option<SocketAddr> {
        self.parse().ok()
    }
}

/// `host:port`; the host may be a name.
impl ToSocketAddrs for String {
    fn to_socket_addrs(self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        resolve(Target::of_text(&self))
    }

    fn name(&self) -> Option<String> {
        self.as_str().name()
    }

    fn number(&self) -> Option<SocketAddr> {
        self.parse().ok()
    }
}

/// A host, which may be a name, and a port.
impl ToSocketAddrs for (&str, u16) {
    fn to_socket_addrs(self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        resolve(Ok(Target::of_parts(self.0, self.1)))
    }

    fn name(&self) -> Option<String> {
        self.0.parse::<IpAddr>().is_err().then(|| format!("{}:{}", self.0, self.1))
    }

    fn number(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.0.parse().ok()?, self.1))
    }
}

/// A host, which may be a name, and a port.
impl ToSocketAddrs for (String, u16) {
    fn to_socket_addrs(self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        resolve(Ok(Target::of_parts(&self.0, self.1)))
    }

    fn name(&self) -> Option<String> {
        (self.0.as_str(), self.1).name()
    }

    fn number(&self) -> Option<SocketAddr> {
        (self.0.as_str(), self.1).number()
    }
}

/// Converts as the value itself.
impl<T: ToSocketAddrs + Clone> ToSocketAddrs for &T {
    fn to_socket_addrs(self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        self.clone().to_socket_addrs()
    }

    fn name(&self) -> Option<String> {
        (**self).name()
    }

    fn number(&self) -> Option<SocketAddr> {
        (**self).number()
    }
}

/// A text that was parsed.
enum Target {
    Number(SocketAddr),
    Name(String, u16),
}

impl Target {
    fn of_parts(host: &str, port: u16) -> Self {
        match host.parse() {
            Ok(ip) => Target::Number(SocketAddr::new(ip, port)),
            Err(_) => Target::Name(host.to_owned(), port),
        }
    }

    fn of_text(text: &str) -> io::Result<Self> {
        if let Ok(number) = text.parse() {
            return Ok(Target::Number(number));
        }
        let invalid = |why: &str| invalid(text, why);
        // The last colon of an address in brackets may be part of the address.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => return Err(invalid("the port is missing: write host:port")),
        };
        let port = port.parse().map_err(|_| invalid("the port is not a number from 0 to 65535"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bare.unwrap_or(host) {
            "" => Err(invalid("the host is missing: write host:port")),
            host if bare.is_none() && host.contains(':') => {
                Err(invalid("the host has colons: write [address]:port"))
            }
            host => Ok(Target::of_parts(host, port)),
        }
    }
}

fn invalid(text: &str, why: &str) -> io::Error {
    let why = format!("{text:?} is no address: {why}");
    OpError::new("resolve", io::Error::new(io::ErrorKind::InvalidInput, why)).into()
}

/// Returns addresses that need no look-up.
async fn known(addresses: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    coop::proceed().await;
    Ok(addresses)
}

/// Returns the numeric address, or the result of the system's resolver.
async fn resolve(target: io::Result<Target>) -> io::Result<Vec<SocketAddr>> {
    let (host, port) = match target {
        Err(error) => return coop::refuse(error).await,
        Ok(Target::Number(address)) => return known(vec![address]).await,
        Ok(Target::Name(host, port)) => (host, port),
    };
    let look_up = move || {
        let found = sys::look_up(&host, port);
        (host, found)
    };
    let (host, found) =
        blocking::run(Class::Name, look_up).await.map_err(|error| OpError::new("resolve", error))?;
    let why = match found {
        Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
        Ok(_) => io::Error::new(io::ErrorKind::NotFound, format!("{host}:{port} has no address")),
        Err(error) => io::Error::new(error.kind(), format!("{host}:{port}: {error}")),
    };
    Err(OpError::new("resolve", why).into())
}
