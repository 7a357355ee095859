//! Messages of UDP, one at a time, and the options that only their sockets have.
//!
//! A message is sent whole or not at all, and what a buffer has no room for is lost: so no length is ever shortened
//! here, neither by a cap nor at the door.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    self, RecvAncillaryBuffer, RecvFlags, ReturnFlags, SocketAddrAny, connect as connect_to, sockopt,
};

use super::socket_birth::SENT;
use super::{Call, door};

/// The most messages that one call of [`mmsg`](super::mmsg) passes to the kernel.
pub const MAX_BATCH: usize = 64;

/// A datagram to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) to: Option<SocketAddr>,
}

impl<'a> Datagram<'a> {
    /// To the peer that the socket is connected to.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, to: None }
    }

    /// To an address.
    pub fn to(bytes: &'a [u8], to: SocketAddr) -> Self {
        Self { bytes, to: Some(to) }
    }

    /// What is sent.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where to; the peer that the socket is connected to, if nothing else was said.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.to
    }
}

/// Why datagrams could not be cut from one piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotCut {
    /// Because of these sizes, or of something that has nothing to do with cutting.
    Sizes,
    /// Nothing on the way to the address can do it, or the kernel cannot.
    Way,
}

/// What was received into one place of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Bytes in the buffer.
    pub length: usize,
    /// Where it came from.
    pub from: SocketAddr,
    /// The buffer was too short, and the rest is lost.
    pub truncated: bool,
    /// Several datagrams of this length, the last one possibly shorter, that the kernel joined.
    pub segment: Option<usize>,
}

impl Arrival {
    /// Before anything was received.
    pub const NONE: Arrival = Arrival {
        length: 0,
        from: SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        truncated: false,
        segment: None,
    };
}

/// Makes `peer` the only one that is heard and the one that [`send`] sends to. Nothing is sent, so nothing is waited
/// for.
pub fn connect(fd: BorrowedFd<'_>, peer: &SocketAddr) -> io::Result<()> {
    Ok(retry_on_intr(|| {
        door::ask(Call::ConnectLocal, fd)?;
        connect_to(fd, peer)
    })?)
}

/// Sends a message to the peer that the socket is connected to.
///
/// # Errors
///
/// `EDESTADDRREQ` if it is connected to none.
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(retry_on_intr(|| {
        door::ask(Call::Send, fd)?;
        net::send(fd, bytes, SENT)
    })?)
}

/// Sends a message to an address.
pub fn send_to(fd: BorrowedFd<'_>, bytes: &[u8], to: &SocketAddr) -> io::Result<usize> {
    Ok(retry_on_intr(|| {
        door::ask(Call::Send, fd)?;
        net::sendto(fd, bytes, SENT, to)
    })?)
}

/// Receives a message; returns how many bytes of it are in the buffer.
pub fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    recv_with(fd, buffer, RecvFlags::empty())
}

/// As [`recv`], and leaves the message in the queue.
pub fn peek(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    recv_with(fd, buffer, RecvFlags::PEEK)
}

fn recv_with(fd: BorrowedFd<'_>, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    let (n, _) = retry_on_intr(|| {
        door::ask(Call::Recv, fd)?;
        net::recv(fd, &mut *buffer, flags)
    })?;
    Ok(n)
}

/// As [`recv`], with the sender's address.
///
/// # Errors
///
/// `EAFNOSUPPORT` if that address is not of IP; the message is lost then.
pub fn recv_from(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    recv_from_with(fd, buffer, RecvFlags::empty())
}

/// As [`recv_from`], and leaves the message in the queue.
pub fn peek_from(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    recv_from_with(fd, buffer, RecvFlags::PEEK)
}

fn recv_from_with(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: RecvFlags,
) -> io::Result<(usize, SocketAddr)> {
    let (n, _, from) = retry_on_intr(|| {
        door::ask(Call::Recv, fd)?;
        net::recvfrom(fd, &mut *buffer, flags)
    })?;
    Ok((n, sender(from)?))
}

/// As [`recv_from`], and says whether the buffer was too short.
pub fn recv_whole(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Arrival> {
    let message = retry_on_intr(|| {
        door::ask(Call::Recv, fd)?;
        let mut nothing = RecvAncillaryBuffer::default();
        net::recvmsg(fd, &mut [IoSliceMut::new(&mut *buffer)], &mut nothing, RecvFlags::empty())
    })?;
    Ok(Arrival {
        length: message.bytes,
        from: sender(message.address)?,
        truncated: message.flags.contains(ReturnFlags::TRUNC),
        segment: None,
    })
}

fn sender(address: Option<SocketAddrAny>) -> io::Result<SocketAddr> {
    Ok(SocketAddr::try_from(address.ok_or(Errno::AFNOSUPPORT)?)?)
}

/// The functions that set and tell an option of one value.
macro_rules! options {
    ($($(#[$doc:meta])* $set:ident $get:ident: $value:ty = $kernel_set:ident $kernel_get:ident;)*) => {$(
        $(#[$doc])*
        pub fn $set(fd: BorrowedFd<'_>, value: $value) -> io::Result<()> {
            Ok(retry_on_intr(|| {
                door::ask(Call::SetOption, fd)?;
                sockopt::$kernel_set(fd, value)
            })?)
        }

        #[doc = concat!("What [`", stringify!($set), "`] set.")]
        pub fn $get(fd: BorrowedFd<'_>) -> io::Result<$value> {
            Ok(retry_on_intr(|| {
                door::ask(Call::GetOption, fd)?;
                sockopt::$kernel_get(fd)
            })?)
        }
    )*};
}

options! {
    /// Lets it send to a broadcast address (`SO_BROADCAST`).
    set_broadcast broadcast: bool = set_socket_broadcast socket_broadcast;
    /// How many hops IPv4 packets to a group live (`IP_MULTICAST_TTL`), 0..=255.
    set_multicast_ttl_v4 multicast_ttl_v4: u32 = set_ip_multicast_ttl ip_multicast_ttl;
    /// How many hops IPv6 packets to a group live (`IPV6_MULTICAST_HOPS`), 0..=255.
    set_multicast_hops_v6 multicast_hops_v6: u32 = set_ipv6_multicast_hops ipv6_multicast_hops;
    /// Whether this machine hears what it sends to an IPv4 group (`IP_MULTICAST_LOOP`).
    set_multicast_loop_v4 multicast_loop_v4: bool = set_ip_multicast_loop ip_multicast_loop;
    /// Whether this machine hears what it sends to an IPv6 group (`IPV6_MULTICAST_LOOP`).
    set_multicast_loop_v6 multicast_loop_v6: bool = set_ipv6_multicast_loop ipv6_multicast_loop;
    /// By the number of which interface packets to an IPv6 group leave (`IPV6_MULTICAST_IF`); 0 for the kernel's choice.
    set_multicast_if_v6 multicast_if_v6: u32 = set_ipv6_multicast_if ipv6_multicast_if;
}

/// By the interface with which address packets to an IPv4 group leave (`IP_MULTICAST_IF`).
pub fn set_multicast_if_v4(fd: BorrowedFd<'_>, interface: Ipv4Addr) -> io::Result<()> {
    Ok(retry_on_intr(|| {
        door::ask(Call::SetOption, fd)?;
        sockopt::set_ip_multicast_if(fd, &interface)
    })?)
}

/// What [`set_multicast_if_v4`] set.
pub fn multicast_if_v4(fd: BorrowedFd<'_>) -> io::Result<Ipv4Addr> {
    Ok(retry_on_intr(|| {
        door::ask(Call::GetOption, fd)?;
        sockopt::ip_multicast_if(fd)
    })?)
}

/// Joins an IPv4 group on the interface with an address.
pub fn join_v4(fd: BorrowedFd<'_>, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
    Ok(retry_on_intr(|| {
        door::ask(Call::SetOption, fd)?;
        sockopt::set_ip_add_membership(fd, group, interface)
    })?)
}

/// Leaves a group that [`join_v4`] joined.
pub fn leave_v4(fd: BorrowedFd<'_>, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
    Ok(retry_on_intr(|| {
        door::ask(Call::SetOption, fd)?;
        sockopt::set_ip_drop_membership(fd, group, interface)
    })?)
}

/// Joins an IPv6 group on the interface with a number.
pub fn join_v6(fd: BorrowedFd<'_>, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
    Ok(retry_on_intr(|| {
        door::ask(Call::SetOption, fd)?;
        sockopt::set_ipv6_add_membership(fd, group, interface)
    })?)
}

/// Leaves a group that [`join_v6`] joined.
pub fn leave_v6(fd: BorrowedFd<'_>, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
    Ok(retry_on_intr(|| {
        door::ask(Call::SetOption, fd)?;
        sockopt::set_ipv6_drop_membership(fd, group, interface)
    })?)
}
