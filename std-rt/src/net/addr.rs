//! Addresses as users write them.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::error::OpError;

/// What can be turned into socket addresses. Numbers are read where they are; a name is looked up on a thread that may
/// block.
///
/// Dropped: the look-up of a name goes on, unheard.
pub trait ToSocketAddrs {
    /// The addresses, in the resolver's order; never none.
    fn to_socket_addrs(self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

macro_rules! ready {
    ($($from:ty),*) => {$(
        impl ToSocketAddrs for $from {
            fn to_socket_addrs(self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
                std::future::ready(Ok(vec![self.into()]))
            }
        }
    )*};
}

ready!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

/// `host:port`; the host may be a name.
impl ToSocketAddrs for &str {
    fn to_socket_addrs(self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        resolve(self.to_owned(), self.parse().ok())
    }
}

/// As `&str`.
impl ToSocketAddrs for &String {
    fn to_socket_addrs(self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        self.as_str().to_socket_addrs()
    }
}

/// As `&str`.
impl ToSocketAddrs for String {
    fn to_socket_addrs(self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        let number = self.parse().ok();
        resolve(self, number)
    }
}

/// A host, which may be a name, and a port.
impl ToSocketAddrs for (&str, u16) {
    fn to_socket_addrs(self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        let number = self.0.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, self.1));
        resolve(format!("{}:{}", self.0, self.1), number)
    }
}

/// The number, if it is one, else what the system's resolver says of `host:port`.
async fn resolve(name: String, number: Option<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    if let Some(address) = number {
        return Ok(vec![address]);
    }
    let asked = name.clone();
    let found = blocking::unblock(move || {
        std::net::ToSocketAddrs::to_socket_addrs(asked.as_str()).map(Vec::from_iter)
    })
    .await;
    let why = match found {
        Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
        Ok(_) => io::Error::new(io::ErrorKind::NotFound, format!("{name} has no address")),
        Err(error) => io::Error::new(error.kind(), format!("{name}: {error}")),
    };
    Err(OpError::new("resolve", why).into())
}
