//! TCP listeners and connections.
//!
//! The table at [`TcpSocket`] has the options and their defaults.

mod socket;

use std::net::{Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::net::{TcpListener as StdListener, TcpStream as StdStream};

use super::addr::ToSocketAddrs;
use super::bytes::byte_methods;
use super::connect;
use super::methods::*;
use super::options::option_methods;
use super::stream::end_writing;
use crate::error::is_closed;
use crate::sys::socket as sys;
use crate::time::{self, timeout};
pub use socket::TcpSocket;

/// Accepts a connection of any TCP listener by accept4(2), and returns it with the address of the peer. It belongs to no
/// runtime yet, is non-blocking and closed in child processes. [`TcpListener::accept`] waits for one; this is for a listener
/// that is watched in another way, as in an [`Evented`](super::Evented).
///
/// # Errors
///
/// Returns the kernel's error: `WouldBlock` if the listener is non-blocking and has no connection, `ConnectionAborted` if the
/// peer has given it up.
pub fn accept(listener: impl AsFd) -> io::Result<(StdStream, SocketAddr)> {
    let (connection, peer) = sys::accept(listener.as_fd())?;
    Ok((connection.into(), peer))
}

/// A socket that listens for connections.
///
/// Dropping it closes it; connections that wait in the kernel's queue are reset.
#[derive(Debug)]
pub struct TcpListener {
    fd: Fd,
}

impl TcpListener {
    /// Listens on an address, with the longest queue that the kernel allows, `SO_REUSEADDR` set, and
    /// `TCP_NODELAY` and keepalive for the connections to come. With port 0 the kernel chooses. Of several
    /// addresses the first that works is taken.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: there is no listener.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, with the address: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`. Of
    /// several addresses, returns the errors of all ([`AddressErrors`](super::AddressErrors)), with the kind
    /// of the first. Returns the errors of [`ToSocketAddrs`].
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        let listens = |address| {
            let socket = TcpSocket::of(&address)?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(sys::somaxconn())
        };
        let name = addr.name();
        connect::first_of("bind", name, addr.to_socket_addrs().await?, listens)
    }

    /// Returns the address that it listens on.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.call("local_addr", sys::sock_name)
    }

    fn wrap(fd: Fd) -> Self {
        Self { fd }
    }

    fn into_fd(self) -> Fd {
        self.fd
    }
}

impl Accept for TcpListener {
    type Peer = SocketAddr;
    type Connection = (TcpStream, SocketAddr);
    const KIND: FdKind = FdKind::ByteStream;

    fn take(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
        sys::accept(fd)
    }

    fn connection(fd: Fd, peer: SocketAddr) -> (TcpStream, SocketAddr) {
        (TcpStream { fd, peer: peer.into() }, peer)
    }
}

methods!(TcpListener: listener(TcpStream, SocketAddr), descriptor, dup, std(StdListener));
option_methods!(TcpListener: buffers, ip, v6only, tcp, fastopen);

/// A connection.
///
/// All operations take `&self`. Dropping it closes it.
///
/// # Closing
///
/// The kernel still sends what was written before a drop, a [`close`](Self::close) or the end of the process,
/// if everything that the peer has sent was read. **With unread input the kernel resets the connection
/// instead**, also if the input comes after the close: bytes that it has not sent by then are lost, and the
/// peer reads `ConnectionReset` in place of the end. So a program that closes while its peer may be sending
/// reads the peer's end first, or closes with [`close_lingering`](Self::close_lingering). An ordinary
/// exchange, in which each side reads everything that the other sends, needs neither.
///
/// # Many idle connections
///
/// A server that waits for input before it provides a buffer needs one buffer for each thread, not one for
/// each connection:
///
/// ```
/// # use std::io::{self, ErrorKind};
/// # use netpoll_rt::net::{TcpListener, TcpStream};
/// # use std::cell::RefCell;
/// thread_local! {
///     /// One buffer for each thread, however many connections there are.
///     static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 16 * 1024]);
/// }
///
/// /// Returns how many bytes the peer sends before it ends the stream.
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
    /// Connects, with `TCP_NODELAY` and keepalive. A name is looked up on a thread that may block. Several
    /// addresses race as in RFC 8305: the families alternate, and the next attempt starts 250 ms after the
    /// one before, or at once when that has failed. The first attempt that succeeds is taken.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the attempts end and their sockets are closed.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, with the address: `ConnectionRefused`, `TimedOut` (the kernel's own, after
    /// minutes), `HostUnreachable`. Of several addresses, returns the errors of all
    /// ([`AddressErrors`](super::AddressErrors)), with the kind of the first. Returns the errors of
    /// [`ToSocketAddrs`].
    pub fn connect(addr: impl ToSocketAddrs) -> impl Future<Output = io::Result<Self>> {
        connect::connect(addr, None, ())
    }

    /// Connects as [`connect`](TcpStream::connect) does, until `deadline`, the look-up of a name included.
    /// Each of several addresses gets an equal share of the time that is left when its attempt starts, but at
    /// least 2 s if that much is left, so that one silent address leaves time for the others.
    ///
    /// The deadline ends with the connect: reads and writes have none.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the attempts end and their sockets are closed.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](TcpStream::connect); `TimedOut` if the deadline passes, with the
    /// error of each address.
    pub fn connect_deadline(
        addr: impl ToSocketAddrs,
        deadline: Instant,
    ) -> impl Future<Output = io::Result<Self>> {
        connect::connect(addr, Some(deadline), ())
    }

    /// Connects as [`connect_deadline`](TcpStream::connect_deadline) does, with a deadline of `timeout` from
    /// now. A `timeout` that is too long for the clock is no deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the attempts end and their sockets are closed.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect_deadline`](TcpStream::connect_deadline).
    pub fn connect_timeout(
        addr: impl ToSocketAddrs,
        timeout: Duration,
    ) -> impl Future<Output = io::Result<Self>> {
        connect::connect(addr, time::now().checked_add(timeout), ())
    }

    /// Returns a second handle on the same connection, with deadlines and queues of tasks of its own. Options
    /// are the connection's. Bytes that one handle reads do not reach the other, and operations of the two
    /// are not ordered. To close one leaves the connection to the other, and the peer sees the end when both
    /// are closed; but [`shutdown`](Self::shutdown) ends a half of the connection through either.
    ///
    /// To use a stream from several tasks, share one value: every operation takes `&self`.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed; `EMFILE` if no descriptor is free.
    pub fn dup(&self) -> io::Result<Self> {
        let fd = self.fd.dup().map_err(|error| self.error("dup", error))?;
        Ok(Self { fd, peer: self.peer.clone() })
    }

    /// Returns whether both sides use Multipath TCP: the socket is one of
    /// [`TcpSocket::new_v4_mptcp`] or comes from a listener of it, and has not fallen back to TCP. A kernel before 5.16 always
    /// returns false, and so does any system but Linux.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed.
    pub fn is_mptcp(&self) -> io::Result<bool> {
        self.call("is_mptcp", crate::sys::sockopt::is_mptcp)
    }

    /// Returns the address on this side.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.call("local_addr", sys::sock_name)
    }

    /// Returns the address on the other side. It is stored when the connection is made: this makes no system
    /// call, and the answer is the same after the peer is gone.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed; `NotConnected` on a stream that had no peer when it was adopted.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        let known = self.peer.get();
        self.call("peer_addr", |fd| known.map_or_else(|| sys::peer_name(fd), Ok))
    }

    /// Closes the connection so that the peer gets everything that was written, even if it is still sending:
    /// shuts down the writing half, reads and discards input until the peer ends its stream, and closes.
    /// Returns true if the peer ended its stream; false if a limit was reached first, or if a read found that
    /// the connection was reset.
    ///
    /// It is for a server that answers before it has read the whole request, such as one that refuses an
    /// upload; [closing](TcpStream#closing) says what a plain close does then. `time` bounds the wait, from
    /// this call on; `bytes` bounds the input that is read, because a peer might send all that time. At a
    /// limit the connection is closed as by [`close`](Self::close), so the kernel resets it if input is left.
    /// A few seconds and some 100 KiB are common: nginx waits 5 s for each piece and 30 s in all, Apache 2 s
    /// and 30 s, Go 0.5 s.
    ///
    /// The read deadline is cleared, because it may be the reason for the close. Reads that already wait go
    /// first, and keep what they get.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the writing half is shut down, and the stream is open.
    ///
    /// # Errors
    ///
    /// Returns an error if the stream was closed before or meanwhile; the error of close(2).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use netpoll_rt::net::{TcpListener, TcpStream};
    /// /// Refuses a request whose body is still on its way.
    /// async fn refuse(stream: TcpStream) -> std::io::Result<()> {
    ///     stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\n\r\n").await?;
    ///     stream.close_lingering(Duration::from_secs(2), 256 * 1024).await?;
    ///     Ok(())
    /// }
    /// # netpoll_rt::block_on(async {
    /// #     let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// #     let client = TcpStream::connect(listener.local_addr()?).await?;
    /// #     client.write_all(&[0; 4096]).await?;
    /// #     let refused = netpoll_rt::spawn(refuse(listener.accept().await?.0));
    /// #     let mut answer = Vec::new();
    /// #     while client.read_buf(&mut answer).await? > 0 {}
    /// #     assert!(answer.starts_with(b"HTTP/1.1 413"));
    /// #     drop(client);
    /// #     refused.await.unwrap()
    /// # }).unwrap();
    /// ```
    pub async fn close_lingering(&self, time: Duration, bytes: u64) -> io::Result<bool> {
        coop::proceed().await;
        let ended =
            self.end_and_drain(time, bytes).await.map_err(|error| self.error("close_lingering", error))?;
        self.close().await?;
        Ok(ended)
    }

    /// Does everything but the close. Returns an error only if the stream is closed.
    async fn end_and_drain(&self, time: Duration, bytes: u64) -> io::Result<bool> {
        match self.fd.shutdown(Shutdown::Write) {
            Err(error) if is_closed(&error) => return Err(error),
            // `NotConnected`: the connection has ended in both directions, or was reset. The reads tell
            // which, at once.
            Err(_) | Ok(()) => {}
        }
        self.fd.set_deadline(Modes::READ, None)?;
        timeout(time, self.discard_input(bytes)).await.unwrap_or(Ok(false))
    }

    /// Reads to the peer's end. Returns false after more than `most` bytes, or an error.
    async fn discard_input(&self, most: u64) -> io::Result<bool> {
        const PIECE: usize = 8 * 1024;
        let mut left = most;
        loop {
            match self.fd.read(false, |fd| sys::recv(fd, &mut [0; PIECE])).await {
                Ok(0) => return Ok(true),
                Ok(n) => match left.checked_sub(n as u64) {
                    Some(rest) => left = rest,
                    None => return Ok(false),
                },
                Err(error) if is_closed(&error) => return Err(error),
                // A reset: the peer takes no more bytes.
                Err(_) => return Ok(false),
            }
        }
    }

    fn wrap(fd: Fd) -> Self {
        // A stream without a peer at this time is asked again by `peer_addr`.
        let peer = fd.with(sys::peer_name).map_or(Peer::Unknown, Peer::from);
        Self { fd, peer }
    }

    fn into_fd(self) -> Fd {
        self.fd
    }
}

impl Descriptor for TcpStream {
    type Owner = crate::sys::SharedFd;

    #[inline]
    fn fd(&self) -> &Fd {
        &self.fd
    }

    /// Adds the stored address of the peer, because the kernel forgets it when the peer is gone.
    fn error(&self, op: &'static str, error: io::Error) -> io::Error {
        self.fd.error_to(op, error, self.peer.get().map(Into::into))
    }
}

byte_methods!(TcpStream: read, write, peek);

impl ByteRead for TcpStream {
    #[inline]
    fn fill<B: ReadBuffer + ?Sized>(fd: BorrowedFd<'_>, buffer: &mut B) -> io::Result<sys::Read> {
        buffer.recv(fd)
    }
}

impl ByteWrite for TcpStream {
    #[inline]
    fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        sys::send_tcp(fd, bytes)
    }

    #[inline]
    fn sendv(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        sys::sendv_tcp(fd, buffers)
    }

    fn end(&self) -> io::Result<()> {
        end_writing(self)
    }
}

methods!(TcpStream: deadline, connected, descriptor, try_io(false), std(StdStream));
option_methods!(TcpStream: buffers, ip, tcp, quickack);

/// The address of the peer, stored when the connection is made, because the kernel forgets it when the peer
/// resets.
///
/// It has two words, because a server has many connections; an IPv6 address is in a box.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Peer {
    /// The stream was adopted without a peer.
    Unknown,
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
}

const _: () = assert!(size_of::<Peer>() <= 16);

impl Peer {
    fn get(&self) -> Option<SocketAddr> {
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
