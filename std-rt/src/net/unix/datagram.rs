//! Messages without a connection.

use std::net::Shutdown;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::path::Path;
use std::task::ready;

use super::methods::{EofCheck, recv_or_eof, unix_methods};
use super::{Backoff, UnlinkOnDrop, bound, pair_of, path_address, watch_unix};
use crate::coop::Moved;
use crate::net::methods::*;
use crate::net::options::option_methods;
use crate::sys::{ancillary, socket, unix};
use crate::time;

/// A socket for messages within this machine. Messages are not lost, duplicated or reordered: the full queue
/// of a receiver makes senders wait. On Linux it holds `net.unix.max_dgram_qlen` messages, ten, and one more.
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
/// assert!(from.is_unnamed(), "a sender without a name cannot be answered");
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
///
/// All operations take `&self`. Dropping it closes it; messages that were not received are lost.
#[derive(Debug)]
pub struct UnixDatagram {
    file: UnlinkOnDrop,
    fd: Fd,
}

impl UnixDatagram {
    /// Creates a socket without a name. It sends, and cannot be answered unless it and its peer are
    /// [connected](Self::connect) to each other.
    ///
    /// # Errors
    ///
    /// Returns an error if no descriptor is free (`EMFILE`, `ENFILE`); the error of the registration.
    pub fn unbound() -> io::Result<Self> {
        let made = socket::socket(socket::Domain::Unix, socket::SocketKind::Datagram);
        let fd = made.map_err(|error| OpError::new("unbound", error))?;
        watch_unix("unbound", fd).map(Self::wrap)
    }

    /// Creates two sockets that are connected to each other and have no names.
    ///
    /// # Errors
    ///
    /// Returns an error if no descriptor is free (`EMFILE`, `ENFILE`); the error of the registration.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = pair_of(socket::SocketKind::Datagram)?;
        Ok((Self::wrap(one), Self::wrap(other)))
    }

    /// Chooses the socket at a path as the peer: [`send`](Self::send) sends to it, and messages of other
    /// senders are not received. It may be called again, for another peer. Nothing is sent, so it does not
    /// wait.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed; the kernel's error, with the path: `NotFound`; `ConnectionRefused`
    /// if the peer's socket is closed; `PermissionDenied`.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.connect_addr(&path_address("connect", path.as_ref())?)
    }

    /// Chooses the socket at an address as the peer, as [`connect`](Self::connect) does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect).
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        let connected = self.fd.with(|fd| unix::connect(fd, address));
        connected.map_err(|error| self.error_to("connect", error, address))
    }

    /// Receives one message as [`recv`](Self::recv) does, with the sender's name.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future received nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.fd.shared(Mode::Read, |fd| {
            recv_or_eof(&self.fd, EofCheck::AfterHangUp, || unix::recv_from(fd, buffer), no_sender)
        });
        received.await.map_err(|error| self.error("recv_from", error))
    }

    /// Receives one message as [`recv_from`](Self::recv_from) does, and never waits.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if there is no message; the other errors of [`recv`](Self::recv).
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.fd.try_shared(Mode::Read, |fd| {
            recv_or_eof(&self.fd, EofCheck::Always, || unix::recv_from(fd, buffer), no_sender)
        });
        self.attempted("recv_from", received)
    }

    /// Receives one message as [`recv_from`](Self::recv_from) does, and leaves it in the queue.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future did nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let peeked = self.fd.shared(Mode::Read, |fd| {
            recv_or_eof(&self.fd, EofCheck::AfterHangUp, || unix::peek_from(fd, buffer), no_sender)
        });
        peeked.await.map_err(|error| self.error("peek_from", error))
    }

    /// Polls to receive a message, as [`recv`](Self::recv) does. Nothing is held between two polls.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll("recv", Mode::Read, cx, |fd| {
            recv_or_eof(&self.fd, EofCheck::AfterHangUp, || unix::recv(fd, buffer), || Ok(0))
        })
    }

    /// Polls to receive a message with the sender's name, as [`recv_from`](Self::recv_from) does. Nothing is held between two
    /// polls.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.poll("recv_from", Mode::Read, cx, |fd| {
            recv_or_eof(&self.fd, EofCheck::AfterHangUp, || unix::recv_from(fd, buffer), no_sender)
        })
    }

    /// Polls to send a message to the peer, as [`send`](Self::send) does. Nothing is held between two polls.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send`](Self::send).
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll("send", Mode::Write, cx, |fd| unix::send(fd, bytes))
    }

    /// Polls to send a message to an address, as [`send_to_addr`](Self::send_to_addr) does. The kernel does not report space
    /// at a receiver that this socket is not connected to, so a poll that is pending wakes the task after a millisecond, and
    /// the next one tries again.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send_to`](Self::send_to).
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        to: &SocketAddr,
    ) -> Poll<io::Result<usize>> {
        ready!(coop::poll_proceed(cx));
        let sent = match self.fd.try_shared(Mode::Write, |fd| unix::send_to(fd, bytes, to)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                coop::refund();
                let at = self.fd.netpoll().now() + Backoff::POLLED.as_nanos() as u64;
                match self.fd.netpoll().add_timer(at, cx.waker().clone()) {
                    Some(_fires_once) => return Poll::Pending,
                    None => self.fd.netpoll().check().map_err(io::Error::from).and(Err(error)),
                }
            }
            sent => sent,
        };
        Poll::Ready(sent.map_err(|error| self.error_to("send_to", error, to)))
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

    /// Receives one message as [`recv_fds`](Self::recv_fds) does, with the sender's name.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future received nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv_fds`](Self::recv_fds).
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
    /// A wait costs more here than in [`send`](Self::send): the kernel reports free space only to a connected
    /// socket, so this tries again after 100 µs, and then after delays that double up to 10 ms. Tasks that
    /// wait are served in no order, and learn of a deadline or a close with that delay.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future sent nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send`](Self::send), with the path; `NotFound`; `ConnectionRefused` if the
    /// receiver's socket is closed.
    pub async fn send_to(&self, bytes: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        coop::proceed().await;
        let address = path_address("send_to", path.as_ref())?;
        let sent = self.send_with_backoff(|fd| unix::send_to(fd, bytes, &address)).await;
        sent.map_err(|error| self.error_to("send_to", error, &address))
    }

    /// Sends one message to an address, as [`send_to`](Self::send_to) does.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future sent nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send_to`](Self::send_to).
    pub async fn send_to_addr(&self, bytes: &[u8], address: &SocketAddr) -> io::Result<usize> {
        coop::proceed().await;
        let sent = self.send_with_backoff(|fd| unix::send_to(fd, bytes, address)).await;
        sent.map_err(|error| self.error_to("send_to", error, address))
    }

    /// Sends one message as [`send_to_addr`](Self::send_to_addr) does, and never waits.
    /// [`writable`](Self::writable) does not know whether the receiver has space: it concerns this socket,
    /// and the one that it is connected to.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if there is no space; the other errors of [`send_to`](Self::send_to).
    pub fn try_send_to_addr(&self, bytes: &[u8], address: &SocketAddr) -> io::Result<usize> {
        let sent = self.fd.try_shared(Mode::Write, |fd| unix::send_to(fd, bytes, address));
        sent.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => error,
            _ => self.error_to("send_to", error, address),
        })
    }

    /// Sends one message as [`send_fds`](Self::send_fds) does, to an address, and waits as
    /// [`send_to`](Self::send_to) does.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future sent nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send_fds`](Self::send_fds) and [`send_to`](Self::send_to).
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

    /// Sends to a socket that this one is not connected to. The kernel does not report its free space.
    /// Linux reports this socket as writable all the time, and is silent when the receiver takes messages of
    /// other senders; but each attempt in vain brings an edge, because the kernel frees the message that it
    /// could not deliver. A task that parked here would either spin or never be woken.
    ///
    /// It holds nothing during the delays, so other tasks may send meanwhile, and a close does not wait for
    /// this.
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

    /// Shuts down one half or both. After the end of reading, the messages that are queued can still be
    /// received, and then every receive returns 0 at once; a sender gets `BrokenPipe`.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.call("shutdown", |fd| socket::shutdown(fd, how))
    }

    /// Returns the name of the socket that this one is connected to.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed; `NotConnected` without a peer.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.call("peer_addr", unix::peer_name)
    }

    fn error_to(&self, op: &'static str, error: io::Error, to: &SocketAddr) -> io::Error {
        self.fd.error_to(op, error, Some(to.clone().into()))
    }
}

/// Returns an empty message without a sender: the end.
fn no_sender() -> io::Result<(usize, SocketAddr)> {
    Ok((0, SocketAddr::from_pathname("")?))
}

unix_methods!(
    UnixDatagram: bind(socket::SocketKind::Datagram, None),
    messages(
        recv_or_eof,
        "0 is an empty message, or one for an empty `buffer`, or the end after [`shutdown`](Self::shutdown)."
    ),
);
methods!(UnixDatagram: fd, deadline, descriptor, dup, std(StdDatagram));
option_methods!(UnixDatagram: buffers);
