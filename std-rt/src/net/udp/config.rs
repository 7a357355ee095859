//! What must be said before a socket has its address.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use super::super::addr::ToSocketAddrs;
use super::{UdpSocket, first_of};
use crate::error::OpError;
use crate::sys::socket::{self, Domain, SocketKind};

/// Makes UDP sockets: what must be set before bind, and then [`bind`](UdpConfig::bind). It may be used several times.
///
/// ```
/// use netpoll_rt::net::UdpConfig;
///
/// # netpoll_rt::block_on(async {
/// // One socket for each worker, among which the kernel spreads the senders.
/// let config = UdpConfig::new().reuseport(true).recv_buffer_size(1 << 20);
/// let first = config.bind("127.0.0.1:0").await?;
/// let second = config.bind(first.local_addr()?).await?;
/// assert_eq!(first.local_addr()?, second.local_addr()?);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a config does nothing until something is bound"]
pub struct UdpConfig {
    reuseaddr: bool,
    reuseport: bool,
    v6only: Option<bool>,
    recv_buffer_size: Option<usize>,
    send_buffer_size: Option<usize>,
}

impl UdpConfig {
    /// The kernel's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets several sockets that all allow it bind one address (`SO_REUSEADDR`). On Linux the last one gets what comes, but
    /// for a group or a broadcast address, where each does.
    pub fn reuseaddr(self, on: bool) -> Self {
        Self { reuseaddr: on, ..self }
    }

    /// Lets several sockets of one user that all allow it bind one address, among which the kernel spreads what comes, by
    /// sender (`SO_REUSEPORT`).
    pub fn reuseport(self, on: bool) -> Self {
        Self { reuseport: on, ..self }
    }

    /// Whether IPv4 is kept off a socket of IPv6 (`IPV6_V6ONLY`); without effect on one of IPv4. The default is the
    /// system's, usually no.
    pub fn v6only(self, on: bool) -> Self {
        Self { v6only: Some(on), ..self }
    }

    /// Asks for a receive buffer of so many bytes (`SO_RCVBUF`). A burst that is larger is lost. Linux reserves twice as
    /// much, for its bookkeeping, at most `net.core.rmem_max`.
    pub fn recv_buffer_size(self, bytes: usize) -> Self {
        Self { recv_buffer_size: Some(bytes), ..self }
    }

    /// Asks for a send buffer of so many bytes (`SO_SNDBUF`). Linux reserves twice as much, at most `net.core.wmem_max`.
    pub fn send_buffer_size(self, bytes: usize) -> Self {
        Self { send_buffer_size: Some(bytes), ..self }
    }

    /// A socket with a local address; port 0 lets the kernel choose. Of several addresses the first that works is taken.
    ///
    /// Dropped: there is no socket.
    ///
    /// # Errors
    ///
    /// As [`UdpSocket::bind`].
    pub async fn bind(&self, addr: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        let name = addr.name();
        first_of("bind", name, addr.to_socket_addrs().await?, |address| self.bind_to(address))
    }

    fn bind_to(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        let failed = |op, error| io::Error::from(OpError::new(op, error).between(Some(address.into()), None));
        let fd = socket::socket(Domain::of(&address), SocketKind::Datagram)
            .map_err(|error| failed("socket", error))?;
        self.set(fd.as_fd(), &address).map_err(|(op, error)| failed(op, error))?;
        socket::bind(fd.as_fd(), &address).map_err(|error| failed("bind", error))?;
        UdpSocket::of("bind", fd)
    }

    /// An error comes with the operation that failed.
    fn set(&self, fd: BorrowedFd<'_>, address: &SocketAddr) -> Result<(), (&'static str, io::Error)> {
        if self.reuseaddr {
            socket::set_reuseaddr(fd, true).map_err(|error| ("set_reuseaddr", error))?;
        }
        if self.reuseport {
            socket::set_reuseport(fd, true).map_err(|error| ("set_reuseport", error))?;
        }
        if let (Some(on), SocketAddr::V6(_)) = (self.v6only, address) {
            socket::set_v6only(fd, on).map_err(|error| ("set_v6only", error))?;
        }
        if let Some(bytes) = self.recv_buffer_size {
            socket::set_recv_buffer_size(fd, bytes).map_err(|error| ("set_recv_buffer_size", error))?;
        }
        if let Some(bytes) = self.send_buffer_size {
            socket::set_send_buffer_size(fd, bytes).map_err(|error| ("set_send_buffer_size", error))?;
        }
        Ok(())
    }
}
