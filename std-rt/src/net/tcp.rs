//! TCP: listeners and streams.

mod socket;
mod std_conversion;

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

use netpoll_core::poll_key::{Mode, Modes};

use super::addr::ToSocketAddrs;
use super::methods::*;
use crate::fd::{Fd, Kind};
use crate::sys::socket as sys;
pub use socket::TcpSocket;

/// A socket that listens for connections.
///
/// Dropped: it is closed; connections that wait in the kernel's queue are reset.
#[derive(Debug)]
pub struct TcpListener {
    fd: Fd,
}

impl TcpListener {
    /// Listens on an address, with the longest queue that the kernel allows, `SO_REUSEADDR` set, and `TCP_NODELAY` for
    /// the connections to come. Port 0 lets the kernel choose. Of several addresses the first that works is taken.
    ///
    /// Dropped: nothing listens.
    ///
    /// # Errors
    ///
    /// The kernel's, with the address: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`.
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        first_of(addr.to_socket_addrs().await?, async |address| {
            let socket = TcpSocket::of(&address)?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(sys::somaxconn())
        })
        .await
    }

    /// The next connection and the peer's address. Connections that were aborted while they waited are skipped.
    ///
    /// Several tasks may accept: they are served in order, and one connection wakes one of them.
    ///
    /// Dropped: no connection is lost.
    ///
    /// # Errors
    ///
    /// Closed, `TimedOut` for the deadline, and the kernel's: without descriptors left (`EMFILE`, `ENFILE`) each call
    /// says so once, and the connection stays in the queue; wait a little before the next.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = self.fd.run(Mode::Read, |fd| {
            loop {
                match sys::accept(fd) {
                    Err(error) if sys::is_aborted(&error) => {}
                    result => return result,
                }
            }
        });
        match accepted.await {
            Ok((fd, peer)) => {
                let fd = Fd::new(self.fd.netpoll().clone(), fd, Kind::Stream)
                    .map_err(|e| self.fd.error("accept", e))?;
                Ok((TcpStream { fd }, peer))
            }
            Err(error) => Err(self.fd.error("accept", error)),
        }
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.fd.with(sys::sock_name).map_err(|error| self.fd.error("local_addr", error))
    }

    fn error(&self, op: &'static str, error: io::Error) -> io::Error {
        self.fd.error(op, error)
    }

    /// From `deadline` on every accept fails with `TimedOut`, one that waits now too, even if a connection waits. It
    /// stays in force until the next; `None` clears it.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.fd.set_deadline(Modes::BOTH, deadline).map_err(|error| self.fd.error("set_deadline", error))
    }
}

descriptor_methods!(TcpListener);

/// A connection.
///
/// All operations take `&self`. Dropped: it is closed; bytes written are still sent.
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
}

impl TcpStream {
    /// Connects, with `TCP_NODELAY`. Of several addresses the first that answers is taken; the error is that of the
    /// last.
    ///
    /// Dropped: the attempt is given up and its socket closed.
    ///
    /// # Errors
    ///
    /// The kernel's, with the address: `ConnectionRefused`, `TimedOut` (the kernel's own, minutes), `HostUnreachable`.
    pub async fn connect(addr: impl ToSocketAddrs) -> io::Result<Self> {
        first_of(addr.to_socket_addrs().await?, async |address| {
            TcpSocket::of(&address)?.connect(address).await
        })
        .await
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`, on by default).
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.fd.with(|fd| sys::set_nodelay(fd, on)).map_err(|error| self.fd.error("set_nodelay", error))
    }

    /// The address on this side.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.fd.with(sys::sock_name).map_err(|error| self.fd.error("local_addr", error))
    }

    /// The address on the other side.
    ///
    /// # Errors
    ///
    /// Closed, `NotConnected` when the peer is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.fd.with(sys::peer_name).map_err(|error| self.fd.error("peer_addr", error))
    }

    fn error(&self, op: &'static str, error: io::Error) -> io::Error {
        self.fd.error(op, error)
    }
}

read_methods!(TcpStream, sys::recv, sys::recvv);
write_methods!(TcpStream, sys::send, sys::sendv);
both_deadlines!(TcpStream);
connected_methods!(TcpStream);
peek_method!(TcpStream);
descriptor_methods!(TcpStream);
futures_read!(TcpStream, sys::recv, sys::recvv);
futures_write!(
    TcpStream,
    sys::send,
    sys::sendv,
    |stream| stream.shutdown(Shutdown::Write),
    "`poll_close` shuts the writing half down: the peer reads the end of the stream, and this side may still read."
);

/// Tries one address after another; the error is that of the last.
async fn first_of<T>(
    addresses: Vec<SocketAddr>,
    mut attempt: impl AsyncFnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address was given");
    for address in addresses {
        match attempt(address).await {
            Ok(value) => return Ok(value),
            Err(error) => last = error,
        }
    }
    Err(last)
}
