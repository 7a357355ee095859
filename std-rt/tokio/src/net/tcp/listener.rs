//! Listeners of TCP.

use std::io;
use std::net::{self, SocketAddr};
use std::task::{Context, Poll, ready};

use netpoll_rt::net::accept;

use super::{TcpSocket, TcpStream};
use crate::io::Interest;
use crate::io::evented::Evented;
use crate::net::ToSocketAddrs;
use crate::net::addr::{last_error, resolve};
use crate::net::methods::methods;

/// The queue of a listener that [`TcpListener::bind`] makes.
const BACKLOG: u32 = 1024;

/// A listener of TCP, as tokio's. Its `bind` sets `SO_REUSEADDR`, and the queue holds 1024 connections.
pub struct TcpListener {
    pub(super) io: Evented<net::TcpListener>,
}

impl TcpListener {
    /// Listens at the first address that works.
    ///
    /// # Errors
    ///
    /// Returns the error of the last address; `InvalidInput` without an address.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    pub async fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        let mut last = None;
        for addr in resolve(addr).await? {
            match Self::bind_to(addr) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = Some(error),
            }
        }
        Err(last_error(last))
    }

    fn bind_to(addr: SocketAddr) -> io::Result<TcpListener> {
        let socket = TcpSocket::of(&addr)?;
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(BACKLOG)
    }

    /// Accepts the next connection.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future lost no connection.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; an error if the runtime has ended.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = self.io.async_io(Interest::READABLE, || accept(self.io.get_ref())).await?;
        self.connection(accepted)
    }

    /// Polls for the next connection. Of the tasks that poll, the last one is woken.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let accepted = ready!(self.io.poll_read_io(cx, || accept(self.io.get_ref())))?;
        Poll::Ready(self.connection(accepted))
    }

    /// Registers an accepted connection.
    fn connection(
        &self,
        (stream, peer): (net::TcpStream, SocketAddr),
    ) -> io::Result<(TcpStream, SocketAddr)> {
        Ok((TcpStream { io: self.io.accepted(stream, true)? }, peer))
    }

    /// Returns the address that it listens on.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
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

methods!(TcpListener: descriptor, std(net::TcpListener));
