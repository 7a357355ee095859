//! UDP: messages that may be lost, doubled and reordered.
//!
//! A datagram is sent or received whole by one system call, so tasks that share a socket do not wait for each other: each
//! makes its call at once, and only who finds nothing (or no room) queues, in order.

mod batch;
mod config;
mod options;
mod segments;
mod std_conversion;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use netpoll_core::Mode;

use super::addr::ToSocketAddrs;
use super::connect::errors::AddressErrors;
use super::methods::*;
use crate::error::OpError;
use crate::fd::{Fd, FdKind};
use crate::netpoll::Netpoll;
use crate::sys::{socket, udp as sys};
pub use batch::{Received, ReceivedIter, RecvBatch};
pub use config::UdpConfig;
pub use sys::Datagram;

/// A UDP socket.
///
/// All operations take `&self`; any number of tasks may send and receive at the same time. Each datagram goes to one of
/// those who receive. Dropped: it is closed; datagrams that were not received are lost.
///
/// An error of a datagram that was sent may come later, and from another operation: see [`UdpSocket::connect`]. What the
/// kernel has no room for (`ENOBUFS`) is an error at once; nothing here tries again, so wait a little before you do.
///
/// ```
/// use netpoll_rt::net::UdpSocket;
///
/// # netpoll_rt::block_on(async {
/// let echo = UdpSocket::bind("127.0.0.1:0").await?;
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
/// client.send_to(b"message", echo.local_addr()?).await?;
///
/// let mut buffer = [0; 1500];
/// let (n, from) = echo.recv_from(&mut buffer).await?;
/// echo.send_to(&buffer[..n], from).await?;
///
/// let (n, from) = client.recv_from(&mut buffer).await?;
/// assert_eq!((&buffer[..n], from), (&b"message"[..], echo.local_addr()?));
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct UdpSocket {
    fd: Fd,
    /// Set once a way was met on which datagrams cannot be cut; see `segments`.
    cannot_cut: OnceLock<()>,
}

impl UdpSocket {
    /// A socket with a local address; port 0 lets the kernel choose. Of several addresses the first that works is taken.
    /// [`UdpConfig`] sets what must be set before.
    ///
    /// Dropped: there is no socket.
    ///
    /// # Errors
    ///
    /// The kernel's, with the address: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`; of several addresses
    /// [`AddressErrors`](super::AddressErrors).
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        UdpConfig::new().bind(addr).await
    }

    fn of(op: &'static str, fd: OwnedFd) -> io::Result<Self> {
        let watched = Netpoll::current().and_then(|netpoll| Self::watched(netpoll, fd));
        watched.map_err(|error| OpError::new(op, error).into())
    }

    fn watched(netpoll: std::sync::Arc<Netpoll>, fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: Fd::new(netpoll, fd, FdKind::Other)?, cannot_cut: OnceLock::new() })
    }

    /// Chooses a peer, for [`send`](Self::send): from now on nobody else is heard. It may be called again. Of several
    /// addresses the first is taken that the kernel finds a way to; nothing is sent, so nobody need be there.
    ///
    /// If a datagram finds nobody at the peer's port, the peer's host may say so; then one operation that comes after that,
    /// whichever it is, fails with `ConnectionRefused`, and the socket goes on. One that waits to receive fails at once.
    ///
    /// Dropped: the peer is that of before.
    ///
    /// # Errors
    ///
    /// Closed; the kernel's, with the address: `NetworkUnreachable`, another family than the socket's (`EAFNOSUPPORT`); of
    /// several addresses [`AddressErrors`](super::AddressErrors).
    pub async fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        let name = addr.name();
        let connect =
            |to| self.fd.with(|fd| sys::connect(fd, &to)).map_err(|e| self.error_to("connect", e, to));
        first_of("connect", name, addr.to_socket_addrs().await?, connect)
    }

    /// Sends a datagram to the peer, which [`connect`](Self::connect) chose, and returns its length. Waits while the kernel
    /// has no room.
    ///
    /// Dropped: nothing has been sent.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Closed, `TimedOut` for the write deadline, `ConnectionRefused` for an earlier datagram. `EDESTADDRREQ` without a
    /// peer, `EMSGSIZE` if it is too long, `EPERM` of a firewall, `ENOBUFS`.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.fd.shared(Mode::Write, |fd| sys::send(fd, bytes));
        sent.await.map_err(|error| self.error("send", error))
    }

    /// Sends a datagram to an address and returns its length. Waits while the kernel has no room. An address in numbers is
    /// used as it is; a name is looked up, and its first address of the socket's family is taken.
    ///
    /// Dropped: nothing has been sent.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), with the address; those of looking the name up. `InvalidInput` for port 0.
    pub async fn send_to(&self, bytes: &[u8], to: impl ToSocketAddrs) -> io::Result<usize> {
        let to = match to.number() {
            Some(to) => to,
            None => self.choose(to.name(), to.to_socket_addrs().await?)?,
        };
        let sent = self.fd.shared(Mode::Write, |fd| sys::send_to(fd, bytes, &to));
        sent.await.map_err(|error| self.error_to("send_to", error, to))
    }

    fn choose(&self, name: Option<String>, found: Vec<SocketAddr>) -> io::Result<SocketAddr> {
        let v4 = self.local_addr()?.is_ipv4();
        let fitting = found.iter().find(|to| to.is_ipv4() == v4).or(found.first());
        // Without one there is no error either; what is told then is that none was given.
        fitting.copied().ok_or_else(|| AddressErrors::error("send_to", name, Vec::new(), false))
    }

    /// Receives a datagram and returns its length; waits if none has come. Of one that is longer than the buffer the rest
    /// is lost, without a sign of it ([`recv_batch`](Self::recv_batch) gives one). 0 is a datagram without bytes, or one for
    /// which there was no room: never the end of anything.
    ///
    /// Dropped: nothing has been received.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Closed, `TimedOut` for the read deadline, `ConnectionRefused` for an earlier datagram.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = self.fd.shared(Mode::Read, |fd| sys::recv(fd, buffer));
        received.await.map_err(|error| self.error("recv", error))
    }

    /// As [`recv`](Self::recv), with the sender's address.
    ///
    /// Dropped: nothing has been received.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.fd.shared(Mode::Read, |fd| sys::recv_from(fd, buffer));
        received.await.map_err(|error| self.error("recv_from", error))
    }

    /// As [`recv`](Self::recv), and leaves the datagram where it is, for whoever receives next.
    ///
    /// Dropped: nothing has happened.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let peeked = self.fd.shared(Mode::Read, |fd| sys::peek(fd, buffer));
        peeked.await.map_err(|error| self.error("peek", error))
    }

    /// As [`peek`](Self::peek), with the sender's address.
    ///
    /// Dropped: nothing has happened.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let peeked = self.fd.shared(Mode::Read, |fd| sys::peek_from(fd, buffer));
        peeked.await.map_err(|error| self.error("peek_from", error))
    }

    /// Sends a datagram to the peer, and never waits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the kernel has no room; others as [`send`](Self::send).
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.fd.try_shared(Mode::Write, |fd| sys::send(fd, bytes));
        sent.map_err(|error| map_err_unless_would_block(error, |error| self.error("send", error)))
    }

    /// Sends a datagram to an address, and never waits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the kernel has no room; others as [`send_to`](Self::send_to).
    pub fn try_send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        let sent = self.fd.try_shared(Mode::Write, |fd| sys::send_to(fd, bytes, &to));
        sent.map_err(|error| map_err_unless_would_block(error, |error| self.error_to("send_to", error, to)))
    }

    /// Receives a datagram that has come, and never waits; other tasks that wait for one do not matter.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if none has come; others as [`recv`](Self::recv).
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = self.fd.try_shared(Mode::Read, |fd| sys::recv(fd, buffer));
        received.map_err(|error| map_err_unless_would_block(error, |error| self.error("recv", error)))
    }

    /// As [`try_recv`](Self::try_recv), with the sender's address.
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv).
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.fd.try_shared(Mode::Read, |fd| sys::recv_from(fd, buffer));
        received.map_err(|error| map_err_unless_would_block(error, |error| self.error("recv_from", error)))
    }

    /// Waits until a datagram or an error is there to be received. With [`try_recv`](Self::try_recv) this is the way to
    /// wait on many sockets, none of which holds a buffer. A hint: another task may be faster. It waits its turn among those
    /// who wait to receive.
    ///
    /// Dropped: nothing has happened.
    ///
    /// Not polled: it is in nobody's way, see [turns](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Closed, `TimedOut` for the read deadline. What else has gone wrong is for the call that follows to say.
    pub async fn readable(&self) -> io::Result<()> {
        self.fd.readiness(Mode::Read).await.map_err(|error| self.error("readable", error))
    }

    /// Waits until there is room to send a datagram, or an error. A hint; it waits its turn among those who wait to send.
    ///
    /// Dropped: nothing has happened.
    ///
    /// Not polled: it is in nobody's way, see [turns](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Closed, `TimedOut` for the write deadline. What else has gone wrong is for the call that follows to say.
    pub async fn writable(&self) -> io::Result<()> {
        self.fd.readiness(Mode::Write).await.map_err(|error| self.error("writable", error))
    }

    /// The address on this side.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.fd.with(socket::sock_name).map_err(|error| self.error("local_addr", error))
    }

    /// The peer that [`connect`](Self::connect) chose.
    ///
    /// # Errors
    ///
    /// Closed, `NotConnected` if none was chosen.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.fd.with(socket::peer_name).map_err(|error| self.error("peer_addr", error))
    }

    fn error(&self, op: &'static str, error: io::Error) -> io::Error {
        self.fd.error(op, error)
    }

    fn error_to(&self, op: &'static str, error: io::Error, to: SocketAddr) -> io::Error {
        self.fd.error_to(op, error, Some(to.into()))
    }
}

read_deadline!(UdpSocket);
write_deadline!(UdpSocket);
both_deadlines!(UdpSocket);
descriptor_methods!(UdpSocket);

/// The first address for which `attempt` succeeds.
fn first_of<T>(
    op: &'static str,
    name: Option<String>,
    addresses: Vec<SocketAddr>,
    mut attempt: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut errors = Vec::new();
    for address in addresses {
        match attempt(address) {
            Ok(value) => return Ok(value),
            Err(error) => errors.push((address, error)),
        }
    }
    Err(AddressErrors::error(op, name, errors, false))
}
