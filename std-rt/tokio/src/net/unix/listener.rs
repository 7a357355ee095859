//! Listeners within this machine.

use std::io;
use std::os::unix::net;
use std::path::Path;
use std::task::{Context, Poll, ready};

use netpoll_rt::net::unix::accept;

use super::{SocketAddr, UnixStream};
use crate::io::Interest;
use crate::io::evented::Evented;
use crate::net::methods::methods;

/// A listener within this machine, as tokio's. The file of its path stays when it is dropped.
pub struct UnixListener {
    pub(super) io: Evented<net::UnixListener>,
}

impl UnixListener {
    /// Listens at a path; on Linux a path that begins with a zero is an abstract name.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    #[track_caller]
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        Self::bind_addr(&SocketAddr::of_path(path.as_ref())?)
    }

    /// Listens at an address.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    #[track_caller]
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixListener> {
        let listener = net::UnixListener::bind_addr(&socket_addr.0)?;
        listener.set_nonblocking(true)?;
        Self::from_std(listener)
    }

    /// Returns the name of the listener.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr().map(SocketAddr)
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
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let accepted = self.io.async_io(Interest::READABLE, || accept(self.io.get_ref())).await?;
        self.connection(accepted)
    }

    /// Polls for the next connection. Of the tasks that poll, the last one is woken.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, SocketAddr)>> {
        let accepted = ready!(self.io.poll_read_io(cx, || accept(self.io.get_ref())))?;
        Poll::Ready(self.connection(accepted))
    }

    /// Registers an accepted connection.
    fn connection(
        &self,
        (stream, peer): (net::UnixStream, net::SocketAddr),
    ) -> io::Result<(UnixStream, SocketAddr)> {
        Ok((UnixStream { io: self.io.accepted(stream, false)? }, SocketAddr(peer)))
    }
}

methods!(UnixListener: descriptor, std(net::UnixListener), take_error);
