//! TCP: listeners and streams.
//!
//! The options, their defaults and who sets them: the table at [`TcpSocket`].

mod dup;
mod lingering;
mod peer;
mod socket;
mod std_conversion;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use netpoll_core::Modes;

use super::addr::ToSocketAddrs;
use super::connect;
use super::incoming::{self, Accept, Incoming};
use super::methods::*;
use super::options::*;
use crate::fd::{Fd, FdKind};
use crate::sys::socket as sys;
use crate::sys::socket::{send_tcp as send, sendv_tcp as sendv};
use peer::Peer;
pub use socket::TcpSocket;

/// A socket that listens for connections.
///
/// Dropped: it is closed; connections that wait in the kernel's queue are reset.
#[derive(Debug)]
pub struct TcpListener {
    fd: Fd,
}

impl TcpListener {
    /// Listens on an address, with the longest queue that the kernel allows, `SO_REUSEADDR` set, and `TCP_NODELAY` and
    /// keepalive for the connections to come. Port 0 lets the kernel choose. Of several addresses the first that works is
    /// taken.
    ///
    /// Dropped: nothing listens.
    ///
    /// # Errors
    ///
    /// The kernel's, with the address: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`. Of several addresses all are
    /// told ([`AddressErrors`](super::AddressErrors)); the kind is that of the first. Those of [`ToSocketAddrs`].
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        let listens = |address| {
            let socket = TcpSocket::of(&address)?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(sys::somaxconn())
        };
        connect::first_of("bind", addr, listens).await
    }

    /// The next connection and the peer's address. Connections that were aborted while they waited are skipped.
    ///
    /// Several tasks may accept: they are served in order, and one connection wakes one of them.
    ///
    /// Dropped: no connection is lost.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Closed, `TimedOut` for the deadline, and the kernel's: without descriptors left (`EMFILE`, `ENFILE`) each call
    /// says so once, and the connection stays in the queue; wait a little before the next, or let
    /// [`incoming`](TcpListener::incoming) do it.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        incoming::accept(self).await
    }

    /// The connections one after the other, without end: a loop, or a `Stream`, that waits when no descriptor is left
    /// and goes on as soon as one is free.
    pub fn incoming(&self) -> Incoming<'_, Self> {
        Incoming::new(self)
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.fd.with(sys::sock_name).map_err(|error| self.error("local_addr", error))
    }

    fn error(&self, op: &'static str, error: io::Error) -> io::Error {
        // There is no other end.
        self.fd.error_to(op, error, None)
    }

    /// Sets the instant from which every accept fails with `TimedOut`, even if a connection waits. It stays in force until
    /// the next; `None` clears it. An accept that waits when it passes makes one last attempt.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.fd.set_deadline(Modes::BOTH, deadline).map_err(|error| self.error("set_deadline", error))
    }
}

impl Accept for TcpListener {
    type Peer = SocketAddr;
    type Connection = (TcpStream, SocketAddr);
    const KIND: FdKind = FdKind::ByteStream;

    fn fd(&self) -> &Fd {
        &self.fd
    }

    fn take(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
        sys::accept(fd)
    }

    fn connection(fd: Fd, peer: SocketAddr) -> (TcpStream, SocketAddr) {
        (TcpStream { fd, peer: peer.into() }, peer)
    }
}

descriptor_methods!(TcpListener);
fd_options!(TcpListener);
socket_options!(TcpListener);
ip_options!(TcpListener);
tcp_options!(TcpListener);
fastopen_options!(TcpListener);
v6only_option!(TcpListener);

/// A connection.
///
/// All operations take `&self`. Dropped: it is closed.
///
/// # Closing
///
/// What was written before a drop, a [`close`](Self::close) or the end of the process is still sent, by the kernel, if
/// everything that the peer has sent was read. **With unread input the kernel resets the connection instead**, also if the
/// input comes after the close: what it has not sent by then is lost, and the peer reads `ConnectionReset` in place of the
/// end. So a program that closes while its peer may be sending reads the peer's end first, or closes with
/// [`close_lingering`](Self::close_lingering). An ordinary exchange, in which each side reads all that the other one says,
/// needs neither.
///
/// # Many idle connections
///
/// A server that waits for bytes before it provides a place for them needs one buffer for each thread, not one for each
/// connection:
///
/// ```
/// # use std::io::{self, ErrorKind};
/// # use netpoll_rt::net::{TcpListener, TcpStream};
/// # use std::cell::RefCell;
/// thread_local! {
///     /// One for each thread, however many connections there are.
///     static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 16 * 1024]);
/// }
///
/// /// How many bytes the peer sends before it ends the stream.
/// async fn count(stream: TcpStream) -> io::Result<usize> {
///     let mut count = 0;
///     loop {
///         stream.readable().await?;
///         match BUFFER.with_borrow_mut(|buffer| stream.try_read(buffer)) {
///             Ok(0) => return Ok(count),
///             Ok(n) => count += n,
///             Err(error) if error.kind() == ErrorKind::WouldBlock => {}
///             Err(error) => return Err(error),
///         }
///     }
/// }
/// # netpoll_rt::block_on(async {
/// #     let listener = TcpListener::bind("127.0.0.1:0").await?;
/// #     let client = TcpStream::connect(listener.local_addr()?).await?;
/// #     let counted = netpoll_rt::spawn(count(listener.accept().await?.0));
/// #     client.write_all(b"twelve bytes").await?;
/// #     drop(client);
/// #     assert_eq!(counted.await.unwrap()?, 12);
/// #     io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct TcpStream {
    fd: Fd,
    peer: Peer,
}

impl TcpStream {
    /// Connects, with `TCP_NODELAY` and keepalive. A name is looked up on a thread that may block. Several addresses race,
    /// as RFC 8305 has it: the families in turn, the next attempt 250 ms after the one before, or at once when that has
    /// failed; the first that answers is taken.
    ///
    /// Dropped: the attempts are given up and their sockets closed.
    ///
    /// # Errors
    ///
    /// The kernel's, with the address: `ConnectionRefused`, `TimedOut` (the kernel's own, minutes), `HostUnreachable`. Of
    /// several addresses all are told ([`AddressErrors`](super::AddressErrors)); the kind is that of the first. Those of
    /// [`ToSocketAddrs`].
    pub fn connect(addr: impl ToSocketAddrs) -> impl Future<Output = io::Result<Self>> {
        connect::connect(addr, None)
    }

    /// As [`connect`](TcpStream::connect), given up at `deadline`, the look-up of a name included. Each of several addresses
    /// has an equal share of the time that is left when its turn comes, but 2 s if there are that many, so that one which
    /// does not answer leaves time for the others.
    ///
    /// It is no deadline for what comes after: reads and writes have none.
    ///
    /// Dropped: the attempts are given up and their sockets closed.
    ///
    /// # Errors
    ///
    /// As [`connect`](TcpStream::connect); `TimedOut` if the deadline has passed, with what became of each address.
    pub fn connect_deadline(
        addr: impl ToSocketAddrs,
        deadline: Instant,
    ) -> impl Future<Output = io::Result<Self>> {
        connect::connect(addr, Some(deadline))
    }

    /// As [`connect_deadline`](TcpStream::connect_deadline), at a time from now. One too long to be added to the clock is
    /// none.
    ///
    /// Dropped: the attempts are given up and their sockets closed.
    ///
    /// # Errors
    ///
    /// As [`connect_deadline`](TcpStream::connect_deadline).
    pub fn connect_timeout(
        addr: impl ToSocketAddrs,
        timeout: Duration,
    ) -> impl Future<Output = io::Result<Self>> {
        connect::connect(addr, Instant::now().checked_add(timeout))
    }

    /// The address on this side.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.fd.with(sys::sock_name).map_err(|error| self.error("local_addr", error))
    }

    /// The address on the other side. It is known since the connection was made: this is no system call, and the answer is
    /// the same after the peer has gone.
    ///
    /// # Errors
    ///
    /// Closed; on a stream that was not connected when it was adopted, the kernel's `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        let known = self.peer.get();
        let address = self.fd.with(|fd| known.map_or_else(|| sys::peer_name(fd), Ok));
        address.map_err(|error| self.error("peer_addr", error))
    }

    fn error(&self, op: &'static str, error: io::Error) -> io::Error {
        self.fd.error_to(op, error, self.peer.get().map(Into::into))
    }
}

read_methods!(TcpStream, sys::recv, sys::recv_buf, sys::recvv);
write_methods!(TcpStream, send, sendv);
both_deadlines!(TcpStream);
connected_methods!(TcpStream);
peek_method!(TcpStream);
descriptor_methods!(TcpStream);
fd_options!(TcpStream);
socket_options!(TcpStream);
ip_options!(TcpStream);
tcp_options!(TcpStream);
quickack_option!(TcpStream);
futures_read!(TcpStream, sys::recv, sys::recvv);
futures_write!(
    TcpStream,
    send,
    sendv,
    TcpStream::end_writing,
    "`poll_close` shuts the writing half down: the peer reads the end of the stream, and this side may still read. If the \
     peer is gone already there is nothing to be shut down, which is no error."
);
