//! UDP: messages one at a time, and the types of a batch.
//!
//! A message is sent whole or not at all, and the part that does not fit into a buffer is lost. So no length
//! is shortened here, neither by a cap nor by fault injection.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::Call;
use super::platform::SEND_FLAGS;
use super::sim::net::{
    self, RecvAncillaryBuffer, RecvFlags, ReturnFlags, SocketAddrAny, connect as connect_to,
};
use crate::sys::call::retry;

/// The largest number of messages that one call of [`mmsg`](super::mmsg) passes to the kernel.
pub const MAX_BATCH: usize = 64;

/// A datagram to send.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) to: Option<SocketAddr>,
    pub(super) source: Source,
}

/// The values of a packet's header that one message may have instead of the socket's.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Source {
    /// The address of this host from which it is sent.
    pub address: Option<IpAddr>,
    /// The index of the interface through which it leaves; 0 for the kernel's choice.
    pub interface: u32,
    /// The traffic class.
    pub class: Option<u8>,
}

impl Source {
    /// Returns whether it is the socket's.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl<'a> Datagram<'a> {
    /// Creates a datagram for the connected peer.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, to: None, source: Source::default() }
    }

    /// Creates a datagram for an address.
    pub fn to(bytes: &'a [u8], to: SocketAddr) -> Self {
        Self { to: Some(to), ..Self::new(bytes) }
    }

    /// Sends it from this address of the host (`IP_PKTINFO`, `IPV6_PKTINFO`), instead of the one that the socket is bound to
    /// or that the route chooses: for an answer, the [`destination`](crate::net::Received::destination) of the request. On Linux
    /// only; the send fails with `Unsupported` elsewhere.
    #[must_use]
    pub fn from_address(self, address: IpAddr) -> Self {
        Self { source: Source { address: Some(address), ..self.source }, ..self }
    }

    /// Sends it through the interface with this index; 0 is the kernel's choice. On Linux only; the send fails with
    /// `Unsupported` elsewhere.
    #[must_use]
    pub fn from_interface(self, index: u32) -> Self {
        Self { source: Source { interface: index, ..self.source }, ..self }
    }

    /// Sends it with this traffic class (`IP_TOS`, `IPV6_TCLASS`), instead of the socket's. Its lower two bits are ECN, the
    /// upper six the DSCP. On Linux only; the send fails with `Unsupported` elsewhere.
    #[must_use]
    pub fn traffic_class(self, class: u8) -> Self {
        Self { source: Source { class: Some(class), ..self.source }, ..self }
    }

    /// Returns the payload.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the destination, or `None` for the connected peer.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.to
    }
}

/// The reason why the kernel could not split a buffer into datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(dead_code, reason = "only Linux cuts")]
pub enum NotCut {
    /// These sizes are the reason, or something unrelated to segmentation.
    Sizes,
    /// The route to the address, or the kernel, does not support segmentation.
    Route,
}

/// The description of a message that was received into one slot of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Number of bytes in the buffer.
    pub length: usize,
    /// The sender's address.
    pub from: SocketAddr,
    /// Whether the buffer was too short, so that the rest of the message is lost.
    pub truncated: bool,
    /// The length of each datagram if the kernel joined several; the last may be shorter.
    pub segment: Option<usize>,
    /// The address of this host to which it was sent, if that was requested.
    pub destination: Option<IpAddr>,
    /// The index of the interface through which it came, if that was requested.
    pub interface: Option<u32>,
    /// The traffic class, if that was requested.
    pub class: Option<u8>,
}

impl Arrival {
    /// The value of a slot before anything was received into it.
    pub const NONE: Arrival = Arrival {
        length: 0,
        from: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        truncated: false,
        segment: None,
        destination: None,
        interface: None,
        class: None,
    };
}

/// Sets the peer: [`send`] sends to it, and only its messages are received. Sends nothing, so it completes at
/// once.
pub fn connect(fd: BorrowedFd<'_>, peer: &SocketAddr) -> io::Result<()> {
    retry(Call::ConnectLocal, fd, || connect_to(fd, peer))
}

/// Sends a message to the connected peer.
///
/// # Errors
///
/// Returns `EDESTADDRREQ` if the socket is not connected.
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    retry(Call::Send, fd, || net::send(fd, bytes, SEND_FLAGS))
}

/// Sends a message to an address.
pub fn send_to(fd: BorrowedFd<'_>, bytes: &[u8], to: &SocketAddr) -> io::Result<usize> {
    retry(Call::Send, fd, || net::sendto(fd, bytes, SEND_FLAGS, to))
}

/// Receives a message and returns how many of its bytes are in the buffer.
pub fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    recv_with(fd, buffer, RecvFlags::empty())
}

/// Receives a message as [`recv`] does, and leaves it in the queue.
pub fn peek(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    recv_with(fd, buffer, RecvFlags::PEEK)
}

fn recv_with(fd: BorrowedFd<'_>, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    let (n, _) = retry(Call::Recv, fd, || net::recv(fd, &mut *buffer, flags))?;
    Ok(n)
}

/// Receives a message as [`recv`] does, with the sender's address.
///
/// # Errors
///
/// Returns `EAFNOSUPPORT` if the sender's address is not an IP address; the message is then lost.
pub fn recv_from(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    recv_from_with(fd, buffer, RecvFlags::empty())
}

/// Receives a message as [`recv_from`] does, and leaves it in the queue.
pub fn peek_from(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    recv_from_with(fd, buffer, RecvFlags::PEEK)
}

fn recv_from_with(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: RecvFlags,
) -> io::Result<(usize, SocketAddr)> {
    let (n, _, from) = retry(Call::Recv, fd, || net::recvfrom(fd, &mut *buffer, flags))?;
    Ok((n, sender(from)?))
}

/// Receives a message as [`recv_from`] does, and reports whether the buffer was too short.
pub fn recv_whole(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Arrival> {
    let message = retry(Call::Recv, fd, || {
        let mut nothing = RecvAncillaryBuffer::default();
        net::recvmsg(fd, &mut [IoSliceMut::new(&mut *buffer)], &mut nothing, RecvFlags::empty())
    })?;
    Ok(Arrival {
        length: message.bytes,
        from: sender(message.address)?,
        truncated: message.flags.contains(ReturnFlags::TRUNC),
        ..Arrival::NONE
    })
}

fn sender(address: Option<SocketAddrAny>) -> io::Result<SocketAddr> {
    Ok(SocketAddr::try_from(address.ok_or(Errno::AFNOSUPPORT)?)?)
}
