//! Connections of TCP.

use std::io;
use std::net::{self, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;

use super::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, TcpSocket, WriteHalf};
use crate::io::buffer::{self, Receive};
use crate::io::evented::Evented;
use crate::io::{Interest, ReadBuf};
use crate::net::ToSocketAddrs;
use crate::net::addr::{last_error, resolve};
use crate::net::methods::methods;

/// A connection of TCP, as tokio's. `TCP_NODELAY` and keepalive are off, unless set.
pub struct TcpStream {
    pub(super) io: Evented<net::TcpStream>,
}

impl TcpStream {
    /// Connects to the first address that answers; they are tried one after the other.
    ///
    /// # Errors
    ///
    /// Returns the error of the last address; `InvalidInput` without an address.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    pub async fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        let mut last = None;
        for addr in resolve(addr).await? {
            match TcpSocket::of(&addr)?.connect(addr).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(last_error(last))
    }

    /// Waits for the end of a connect that has begun.
    pub(super) async fn connected(stream: net::TcpStream) -> io::Result<TcpStream> {
        let io = Evented::tcp_stream(stream)?;
        io.ready(Interest::WRITABLE).await?;
        match io.get_ref().take_error()? {
            Some(error) => Err(error),
            None => Ok(TcpStream { io }),
        }
    }

    /// Returns the address on this side.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// Returns `NotConnected` if the peer is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().peer_addr()
    }

    /// Polls to read and leave the bytes in the queue.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; an error if the runtime has ended.
    pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        self.io.poll_read_io(cx, || buffer::recv(self.io.get_ref(), buf, Receive::Peek))
    }

    /// Reads and leaves the bytes in the queue.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; an error if the runtime has ended.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.async_io(Interest::READABLE, || self.io.get_ref().peek(buf)).await
    }

    /// Returns whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.io.get_ref().nodelay()
    }

    /// Sets whether small writes are sent at once (`TCP_NODELAY`); off by default.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.io.get_ref().set_nodelay(nodelay)
    }

    /// Returns what a close does with bytes that are not sent yet (`SO_LINGER`).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        SockRef::from(self).linger()
    }

    /// Sets what a close does with bytes that are not sent yet (`SO_LINGER`).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    #[deprecated = "`SO_LINGER` causes the socket to block the thread on drop"]
    pub fn set_linger(&self, dur: Option<Duration>) -> io::Result<()> {
        SockRef::from(self).set_linger(dur)
    }

    /// Makes a close discard bytes that are not sent yet, and reset the connection.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        SockRef::from(self).set_linger(Some(Duration::ZERO))
    }

    /// Returns the hops that a packet may make (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn ttl(&self) -> io::Result<u32> {
        self.io.get_ref().ttl()
    }

    /// Sets the hops that a packet may make (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.io.get_ref().set_ttl(ttl)
    }
}

/// Options of Linux.
#[cfg(any(target_os = "linux", target_os = "android"))]
impl TcpStream {
    /// Returns whether the kernel acknowledges at once (`TCP_QUICKACK`).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn quickack(&self) -> io::Result<bool> {
        SockRef::from(self).tcp_quickack()
    }

    /// Sets whether the kernel acknowledges at once (`TCP_QUICKACK`).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn set_quickack(&self, quickack: bool) -> io::Result<()> {
        SockRef::from(self).set_tcp_quickack(quickack)
    }
}

methods!(
    TcpStream: descriptor, std(net::TcpStream), take_error, ready, readable(poll_read_ready),
    writable(poll_write_ready), any_io, try_read(buffer::try_recv), try_write, stream(SocketAddr),
);
