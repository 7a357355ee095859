//! TCP: listeners and streams.

mod futures_io;
mod now;
mod socket;
mod std_conversion;

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

use netpoll_core::poll_key::{Mode, Modes};

use super::addr::ToSocketAddrs;
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

    /// From `deadline` on every accept fails with `TimedOut`, one that waits now too, even if a connection waits. It
    /// stays in force until the next; `None` clears it.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.fd.set_deadline(Modes::BOTH, deadline).map_err(|error| self.fd.error("set_deadline", error))
    }

    /// Closes it: tasks that wait in accept fail with closed. When this returns the port is free.
    ///
    /// Dropped: the closing goes on without the wait.
    ///
    /// # Errors
    ///
    /// Closed, if it was already.
    pub async fn close(&self) -> io::Result<()> {
        self.fd.close().await.map_err(|error| self.fd.error("close", error))
    }
}

/// A connection.
///
/// All operations take `&self`. Dropped: it is closed; bytes written are still sent.
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

    /// Reads what has come, up to the length of `buffer`; waits if nothing has. 0 is the end of the stream, or an
    /// empty buffer, for which nothing is waited.
    ///
    /// Dropped: nothing has been read.
    ///
    /// # Errors
    ///
    /// Closed, `TimedOut` for the deadline, `ConnectionReset` and others of the kernel.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fd.read(buffer.is_empty(), |fd| sys::recv(fd, buffer));
        read.await.map_err(|error| self.fd.error("read", error))
    }

    /// Reads until `buffer` is full.
    ///
    /// Dropped: some bytes may have been read, and are lost.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::read`], and `UnexpectedEof` if the stream ends first.
    pub async fn read_exact(&self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read(buffer).await? {
                0 => return Err(self.fd.error("read_exact", io::ErrorKind::UnexpectedEof.into())),
                n => buffer = &mut buffer[n..],
            }
        }
        Ok(())
    }

    /// Reads as [`TcpStream::read`] does, but leaves the bytes where they are.
    ///
    /// Dropped: nothing has happened.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::read`].
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let peeked = self.fd.read(buffer.is_empty(), |fd| {
            // The bytes are still there, however few.
            sys::peek(fd, buffer).map(|read| sys::Read { drained: false, ..read })
        });
        peeked.await.map_err(|error| self.fd.error("peek", error))
    }

    /// Writes what the kernel takes, at least one byte unless `bytes` is empty; waits if it takes none.
    ///
    /// Dropped: nothing has been written.
    ///
    /// # Errors
    ///
    /// Closed, `TimedOut` for the deadline, `BrokenPipe` or `ConnectionReset` when the peer is gone.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.fd.run(Mode::Write, |fd| sys::send(fd, bytes));
        written.await.map_err(|error| self.fd.error("write", error))
    }

    /// Writes all of `bytes`; another task's bytes do not come in between.
    ///
    /// Dropped: any part of them may have been written.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::write`]; any part may have been written.
    pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let written = self.fd.write_all(bytes, sys::send);
        written.await.map_err(|error| self.fd.error("write", error))
    }

    /// Shuts down one half or both: the peer reads the end of the stream, or our reads do.
    ///
    /// # Errors
    ///
    /// Closed, `NotConnected` when the peer is gone.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.fd.with(|fd| sys::shutdown(fd, how)).map_err(|error| self.fd.error("shutdown", error))
    }

    /// True once the poller has seen that the peer closed or shut down its writing half, or reset the connection; one
    /// load, no system call. Bytes that came before may still be unread.
    pub fn peer_closed(&self) -> bool {
        self.fd.peer_closed()
    }

    /// From `deadline` on every read fails with `TimedOut`, one that waits now too, even if bytes are there. It stays
    /// in force until the next; `None` clears it. Moving it later is a store, so it can be set before each read.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn set_read_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.set_deadlines(Modes::READ, deadline)
    }

    /// As [`TcpStream::set_read_deadline`], for writes.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn set_write_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.set_deadlines(Modes::WRITE, deadline)
    }

    /// As [`TcpStream::set_read_deadline`], for both directions.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.set_deadlines(Modes::BOTH, deadline)
    }

    fn set_deadlines(&self, modes: Modes, deadline: Option<Instant>) -> io::Result<()> {
        self.fd.set_deadline(modes, deadline).map_err(|error| self.fd.error("set_deadline", error))
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

    /// Closes it: tasks that wait in an operation fail with closed. When this returns the descriptor's number is free.
    ///
    /// Dropped: the closing goes on without the wait.
    ///
    /// # Errors
    ///
    /// Closed, if it was already.
    pub async fn close(&self) -> io::Result<()> {
        self.fd.close().await.map_err(|error| self.fd.error("close", error))
    }
}

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
