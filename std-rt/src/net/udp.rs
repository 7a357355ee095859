//! UDP: messages that may be lost, duplicated and reordered.
//!
//! One system call sends or receives a datagram whole, so tasks that share a socket do not wait for each
//! other: each makes its call at once. Only a task that finds no datagram, or no space, queues, and the queue
//! is served in order.

mod batch;
mod options;

use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::sync::OnceLock;

use super::addr::ToSocketAddrs;
use super::connect::errors::AddressErrors;
use super::connect::first_of;
use super::methods::*;
use crate::coop::Moved;
use crate::sys::{socket, udp as sys};
pub use batch::{Received, ReceivedIter, RecvBatch};
pub use options::UdpConfig;
pub use sys::Datagram;

/// A UDP socket.
///
/// All operations take `&self`; any number of tasks may send and receive at the same time, and each datagram
/// goes to one of the tasks that receive. Dropping it closes it; datagrams that were not received are lost.
///
/// An error that an earlier datagram has caused may come from a later operation: see [`UdpSocket::connect`].
/// If the kernel has no space for a datagram and says `ENOBUFS`, the operation fails at once and is not
/// repeated, so wait a little before the next attempt.
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
    /// Set once the kernel refused to cut datagrams on the route; see `send_segments`.
    cannot_cut: OnceLock<()>,
}

impl UdpSocket {
    /// Binds a socket to a local address; with port 0 the kernel chooses. Of several addresses the first that
    /// works is taken. [`UdpConfig`] sets options that must be set before.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: there is no socket.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, with the address: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`; of
    /// several addresses [`AddressErrors`](super::AddressErrors).
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        UdpConfig::new().bind(addr).await
    }

    /// Chooses a peer for [`send`](Self::send). From now on datagrams of other senders are not received. It
    /// may be called again. Of several addresses, the first to which the kernel has a route is taken. Nothing
    /// is sent, so the peer need not exist.
    ///
    /// If a datagram finds no socket at the peer's port, the peer's host may report that. Then one operation
    /// that comes later, of any kind, fails with `ConnectionRefused`, and the socket continues. An operation
    /// that waits to receive fails at once.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the peer has not changed.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed; the kernel's error, with the address: `NetworkUnreachable`,
    /// `EAFNOSUPPORT` for another family than the socket's; of several addresses
    /// [`AddressErrors`](super::AddressErrors).
    pub async fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        let name = addr.name();
        let connect =
            |to| self.fd.with(|fd| sys::connect(fd, &to)).map_err(|e| self.error_to("connect", e, to));
        first_of("connect", name, addr.to_socket_addrs().await?, connect)
    }

    /// Sends a datagram to the peer that [`connect`](Self::connect) chose, and returns its length. Waits
    /// while the kernel has no space.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future sent nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed; `TimedOut` if the write deadline passes; `ConnectionRefused` for an
    /// earlier datagram; `EDESTADDRREQ` without a peer; `EMSGSIZE` if it is too long; `EPERM` of a firewall;
    /// `ENOBUFS`.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.fd.shared(Mode::Write, |fd| sys::send(fd, bytes));
        sent.await.map_err(|error| self.error("send", error))
    }

    /// Sends a datagram to an address and returns its length. Waits while the kernel has no space. A numeric
    /// address is used as it is. A name is looked up, and its first address of the socket's family is taken.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future sent nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send`](Self::send), with the address; the errors of the look-up;
    /// `InvalidInput` for port 0.
    pub async fn send_to(&self, bytes: &[u8], to: impl ToSocketAddrs) -> io::Result<usize> {
        let to = match to.number() {
            Some(to) => to,
            None => self.choose(to.name(), to.to_socket_addrs().await?)?,
        };
        let sent = self.fd.shared(Mode::Write, |fd| sys::send_to(fd, bytes, &to));
        sent.await.map_err(|error| self.error_to("send_to", error, to))
    }

    /// Returns the first address of the socket's family, or else the first.
    fn choose(&self, name: Option<String>, found: Vec<SocketAddr>) -> io::Result<SocketAddr> {
        let v4 = self.local_addr()?.is_ipv4();
        let fitting = found.iter().find(|to| to.is_ipv4() == v4).or(found.first());
        // Without an address there is no address's error either: the error says that none was given.
        fitting.copied().ok_or_else(|| AddressErrors::error("send_to", name, Vec::new(), false))
    }

    /// Receives a datagram and returns its length; waits if there is none. The rest of a datagram that is
    /// longer than `buffer` is lost without notice ([`recv_batch`](Self::recv_batch) gives notice). 0 is an
    /// empty datagram, or one for an empty buffer, and never an end.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future received nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed; `TimedOut` if the read deadline passes; `ConnectionRefused` for an
    /// earlier datagram.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = self.fd.shared(Mode::Read, |fd| sys::recv(fd, buffer));
        received.await.map_err(|error| self.error("recv", error))
    }

    /// Receives a datagram as [`recv`](Self::recv) does, with the sender's address.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future received nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.fd.shared(Mode::Read, |fd| sys::recv_from(fd, buffer));
        received.await.map_err(|error| self.error("recv_from", error))
    }

    /// Receives a datagram as [`recv`](Self::recv) does, and leaves it in the queue.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future did nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let peeked = self.fd.shared(Mode::Read, |fd| sys::peek(fd, buffer));
        peeked.await.map_err(|error| self.error("peek", error))
    }

    /// Receives a datagram as [`peek`](Self::peek) does, with the sender's address.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future did nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let peeked = self.fd.shared(Mode::Read, |fd| sys::peek_from(fd, buffer));
        peeked.await.map_err(|error| self.error("peek_from", error))
    }

    /// Sends a datagram to the peer, and never waits.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if the kernel has no space; the other errors of [`send`](Self::send).
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.attempted("send", self.fd.try_shared(Mode::Write, |fd| sys::send(fd, bytes)))
    }

    /// Sends a datagram to an address, and never waits.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if the kernel has no space; the other errors of [`send_to`](Self::send_to).
    pub fn try_send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        let sent = self.fd.try_shared(Mode::Write, |fd| sys::send_to(fd, bytes, &to));
        sent.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => error,
            _ => self.error_to("send_to", error, to),
        })
    }

    /// Receives a datagram that is there, and never waits, whether or not other tasks wait for one.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if there is none; the other errors of [`recv`](Self::recv).
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.attempted("recv", self.fd.try_shared(Mode::Read, |fd| sys::recv(fd, buffer)))
    }

    /// Receives a datagram as [`try_recv`](Self::try_recv) does, with the sender's address.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`try_recv`](Self::try_recv).
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.attempted("recv_from", self.fd.try_shared(Mode::Read, |fd| sys::recv_from(fd, buffer)))
    }

    /// Polls to receive a datagram, as [`recv`](Self::recv) does. Nothing is held between two polls, as by every `poll_*`
    /// function; tasks that await go before those that poll.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll("recv", Mode::Read, cx, |fd| sys::recv(fd, buffer))
    }

    /// Polls to receive a datagram with the sender's address, as [`recv_from`](Self::recv_from) does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.poll("recv_from", Mode::Read, cx, |fd| sys::recv_from(fd, buffer))
    }

    /// Polls to receive a datagram with the sender's address and leave it in the queue, as [`peek_from`](Self::peek_from) does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub fn poll_peek_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.poll("peek_from", Mode::Read, cx, |fd| sys::peek_from(fd, buffer))
    }

    /// Polls to send a datagram to the peer, as [`send`](Self::send) does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send`](Self::send).
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll("send", Mode::Write, cx, |fd| sys::send(fd, bytes))
    }

    /// Polls to send a datagram to an address, as [`send_to`](Self::send_to) does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send_to`](Self::send_to).
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        let sent = self.fd.run(Mode::Write, |fd| coop::counted(sys::send_to(fd, bytes, &to))).poll_once(cx);
        sent.map_err(|error| self.error_to("send_to", error, to))
    }

    fn poll<T: Moved>(
        &self,
        op: &'static str,
        mode: Mode,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let polled = self.fd.run(mode, |fd| coop::counted(call(fd))).poll_once(cx);
        polled.map_err(|error| self.error(op, error))
    }

    /// Returns the address on this side.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.call("local_addr", socket::sock_name)
    }

    /// Returns the peer that [`connect`](Self::connect) chose.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed; `NotConnected` if no peer was chosen.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.call("peer_addr", socket::peer_name)
    }

    fn error_to(&self, op: &'static str, error: io::Error, to: SocketAddr) -> io::Error {
        self.fd.error_to(op, error, Some(to.into()))
    }

    fn wrap(fd: Fd) -> Self {
        Self { fd, cannot_cut: OnceLock::new() }
    }

    fn into_fd(self) -> Fd {
        self.fd
    }
}

methods!(
    UdpSocket: fd, descriptor, readable("try_recv"), writable("try_send"), try_io(true), deadlines, dup,
    std(StdSocket)
);
