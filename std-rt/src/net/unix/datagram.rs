//! Messages without a connection.

use std::io;
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;

use netpoll_core::Mode;

use super::connecting::Backoff;
use super::messages::{EofCheck, message_methods, recv_or_eof};
use super::{UnlinkOnDrop, bound, pair_of, path_address, unlink_method, watch};
use crate::coop::{self, Moved};
use crate::error::OpError;
use crate::fd::Fd;
use crate::net::methods::{both_deadlines, descriptor_methods, map_err_unless_would_block};
use crate::net::options::{fd_options, socket_options};
use crate::sys::{ancillary, socket, unix};
use crate::time;

/// A socket for messages within this machine. None is lost, doubled or reordered: a receiver's queue that is full makes
/// senders wait. On Linux it holds `net.unix.max_dgram_qlen` messages, ten, and one more.
///
/// ```
/// # use netpoll_rt::net::UnixDatagram;
/// # netpoll_rt::block_on(async {
/// # let path = std::env::temp_dir().join(format!("netpoll-doc-gram-{}", std::process::id()));
/// let log = UnixDatagram::bind(&path)?.unlink_on_drop(true);
/// let client = UnixDatagram::unbound()?;
/// client.send_to(b"a line", &path).await?;
/// let mut buffer = [0; 64];
/// let (n, from) = log.recv_from(&mut buffer).await?;
/// assert_eq!(&buffer[..n], b"a line");
/// assert!(from.is_unnamed(), "nobody can answer who has no name");
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
///
/// All operations take `&self`. Dropped: it is closed; messages that were not received are lost.
#[derive(Debug)]
pub struct UnixDatagram {
    pub(super) file: UnlinkOnDrop,
    pub(super) fd: Fd,
}

impl UnixDatagram {
    /// A socket with a path. The file that this makes is not removed with the socket, unless it is told
    /// [`unlink_on_drop`](Self::unlink_on_drop).
    ///
    /// # Errors
    ///
    /// The kernel's, with the path: `AddrInUse` if the file is there, be it a living socket's or left over by a dead one;
    /// `NotFound` for the folder; `PermissionDenied`. `InvalidInput` for a path of more than 107 bytes (elsewhere than on
    /// Linux 103), or with a zero in it.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::bind_addr(&path_address("bind", path.as_ref())?)
    }

    /// A socket with an address, which can be an [abstract name](crate::net::unix::abstract_address).
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind); `InvalidInput` for an address without a name.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
        let (file, fd) = bound(socket::SocketKind::Datagram, address, None)?;
        Ok(Self { file, fd })
    }

    /// A socket without a name: it sends, and nobody can answer, unless it is [connected](Self::connect) and the other
    /// end to it.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, those of watching a descriptor.
    pub fn unbound() -> io::Result<Self> {
        let made = socket::socket(socket::Domain::Unix, socket::SocketKind::Datagram);
        let fd = made.map_err(|error| OpError::new("unbound", error))?;
        Ok(Self { file: UnlinkOnDrop::default(), fd: watch("unbound", fd)? })
    }

    /// Two sockets that are connected to each other, neither with a name.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, those of watching a descriptor.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = pair_of(socket::SocketKind::Datagram)?;
        Ok((
            Self { file: UnlinkOnDrop::default(), fd: one },
            Self { file: UnlinkOnDrop::default(), fd: other },
        ))
    }

    /// Makes the socket at a path the one that [`send`](Self::send) sends to and the only one that is heard. It may be
    /// called again, for another one. Nothing is sent, so nothing is waited for.
    ///
    /// # Errors
    ///
    /// Closed; the kernel's, with the path: `NotFound`, `ConnectionRefused` if its socket is closed, `PermissionDenied`.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.connect_addr(&path_address("connect", path.as_ref())?)
    }

    /// As [`connect`](Self::connect), to an address.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        let connected = self.fd.with(|fd| unix::connect(fd, address));
        connected.map_err(|error| self.error_to("connect", error, address))
    }

    /// Receives one message as [`recv`](Self::recv), with the sender's name.
    ///
    /// Dropped: nothing has been received.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.fd.shared(Mode::Read, |fd| {
            recv_or_eof(&self.fd, EofCheck::AfterHangUp, || unix::recv_from(fd, buffer), no_sender)
        });
        received.await.map_err(|error| self.error("recv_from", error))
    }

    /// Receives one message as [`recv_from`](Self::recv_from), and never waits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing has come; others as [`recv`](Self::recv).
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.fd.try_shared(Mode::Read, |fd| {
            recv_or_eof(&self.fd, EofCheck::Always, || unix::recv_from(fd, buffer), no_sender)
        });
        received.map_err(|error| map_err_unless_would_block(error, |error| self.error("recv_from", error)))
    }

    /// As [`recv_from`](Self::recv_from), and leaves the message where it is.
    ///
    /// Dropped: nothing has happened.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let peeked = self.fd.shared(Mode::Read, |fd| {
            recv_or_eof(&self.fd, EofCheck::AfterHangUp, || unix::peek_from(fd, buffer), no_sender)
        });
        peeked.await.map_err(|error| self.error("peek_from", error))
    }

    /// Receives one message as [`recv_fds`](Self::recv_fds), with the sender's name.
    ///
    /// Dropped: nothing has been received.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// As [`recv_fds`](Self::recv_fds).
    pub async fn recv_fds_from(
        &self,
        buffer: &mut [u8],
        max: usize,
    ) -> io::Result<(usize, Vec<OwnedFd>, SocketAddr)> {
        let received = self.fd.shared(Mode::Read, |fd| {
            let receive = || ancillary::recv(fd, buffer, max);
            recv_or_eof(&self.fd, EofCheck::AfterHangUp, receive, || Ok(ancillary::Received::end()))
        });
        let received = received.await.and_then(|received| Ok((received.from()?, received)));
        let (from, received) = received.map_err(|error| self.error("recv_fds_from", error))?;
        Ok((received.n, received.fds, from))
    }

    /// Sends one message, whole or not at all, to the socket at a path; waits while its queue is full.
    ///
    /// To wait costs more here than with [`send`](Self::send): the kernel tells only who is connected that there is room,
    /// so this tries again after 100 µs, and then after pauses that double up to 10 ms. Those who wait are served in no
    /// order, and learn so much later of a deadline that has passed, or of a close.
    ///
    /// Dropped: nothing has been sent.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), with the path: `NotFound`, `ConnectionRefused` if its socket is closed.
    pub async fn send_to(&self, bytes: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        coop::proceed().await;
        let address = path_address("send_to", path.as_ref())?;
        let sent = self.send_with_backoff(|fd| unix::send_to(fd, bytes, &address)).await;
        sent.map_err(|error| self.error_to("send_to", error, &address))
    }

    /// As [`send_to`](Self::send_to), to an address.
    ///
    /// Dropped: nothing has been sent.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to).
    pub async fn send_to_addr(&self, bytes: &[u8], address: &SocketAddr) -> io::Result<usize> {
        coop::proceed().await;
        let sent = self.send_with_backoff(|fd| unix::send_to(fd, bytes, address)).await;
        sent.map_err(|error| self.error_to("send_to", error, address))
    }

    /// Sends one message as [`send_to_addr`](Self::send_to_addr), and never waits. Whether there is room,
    /// [`writable`](Self::writable) does not know: it speaks of this socket, and of the one that it is connected to.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room; others as [`send_to`](Self::send_to).
    pub fn try_send_to_addr(&self, bytes: &[u8], address: &SocketAddr) -> io::Result<usize> {
        let sent = self.fd.try_shared(Mode::Write, |fd| unix::send_to(fd, bytes, address));
        sent.map_err(|error| {
            map_err_unless_would_block(error, |error| self.error_to("send_to", error, address))
        })
    }

    /// Sends one message as [`send_fds`](Self::send_fds), to an address, and waits as [`send_to`](Self::send_to).
    ///
    /// Dropped: nothing has been sent.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// As [`send_fds`](Self::send_fds) and [`send_to`](Self::send_to).
    pub async fn send_fds_to_addr(
        &self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        address: &SocketAddr,
    ) -> io::Result<usize> {
        coop::proceed().await;
        let sent = self.send_with_backoff(|fd| ancillary::send(fd, bytes, Some(address), fds)).await;
        sent.map_err(|error| self.error_to("send_fds_to", error, address))
    }

    /// Sends to a socket that this one is not connected to, whose room nobody can wait for. Linux reports this socket as
    /// writable all the time, and when others' messages make room over there it reports nothing; but each vain attempt
    /// brings an edge, since the kernel gives back the message that it could not deliver. A task that parked here would
    /// either spin or never be woken.
    ///
    /// Nothing is held in the pauses, so others send meanwhile, and close does not wait for this.
    async fn send_with_backoff<T: Moved>(
        &self,
        call: impl Fn(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut backoff = Backoff::new();
        loop {
            match self.fd.try_shared(Mode::Write, &call) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => time::sleep(backoff.next()).await,
                sent => return sent,
            }
        }
    }

    /// Ends one half or both. After the end of reading, what has come can still be received, and then every receive gives
    /// 0 at once; who sends here meets `BrokenPipe`.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.option("shutdown", |fd| socket::shutdown(fd, how))
    }

    /// The name of this socket.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.option("local_addr", unix::sock_name)
    }

    /// The name of the socket that this one is connected to.
    ///
    /// # Errors
    ///
    /// Closed; `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.option("peer_addr", unix::peer_name)
    }

    /// A second handle on the same socket, with deadlines of its own. A message goes to whichever receives it first.
    ///
    /// # Errors
    ///
    /// Closed; `EMFILE`.
    pub fn dup(&self) -> io::Result<Self> {
        let fd = self.fd.dup().map_err(|error| self.error("dup", error))?;
        Ok(Self { file: UnlinkOnDrop::default(), fd })
    }

    fn error(&self, op: &'static str, error: io::Error) -> io::Error {
        self.fd.error(op, error)
    }

    fn error_to(&self, op: &'static str, error: io::Error, to: &SocketAddr) -> io::Error {
        self.fd.error_to(op, error, Some(to.clone().into()))
    }
}

/// Nothing, from nobody: the end.
fn no_sender() -> io::Result<(usize, SocketAddr)> {
    Ok((0, SocketAddr::from_pathname("")?))
}

message_methods!(
    UnixDatagram,
    recv_or_eof,
    "0 is an empty message, or one for which `buffer` has no room, or the end after [`shutdown`](Self::shutdown)."
);
both_deadlines!(UnixDatagram);
unlink_method!(UnixDatagram);
descriptor_methods!(UnixDatagram);
fd_options!(UnixDatagram);
socket_options!(UnixDatagram);
