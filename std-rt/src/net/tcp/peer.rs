//! The address of the other end, in two words.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

/// Where the other end is, known since the connection stands: the kernel forgets it when the peer resets.
///
/// Small, for a server has many: an address of IPv6 is in a box.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Peer {
    /// Adopted, and not connected then.
    Unknown,
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
}

const _: () = assert!(size_of::<Peer>() <= 16);

impl Peer {
    pub(super) fn get(&self) -> Option<SocketAddr> {
        match self {
            Peer::Unknown => None,
            Peer::V4(address) => Some((*address).into()),
            Peer::V6(address) => Some((**address).into()),
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Peer::V4(address),
            SocketAddr::V6(address) => Peer::V6(Box::new(address)),
        }
    }
}
