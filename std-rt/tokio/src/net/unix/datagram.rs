//! Messages within this machine.

use std::io;
use std::net::Shutdown;
use std::os::unix::net;
use std::path::Path;
use std::task::{Context, Poll};

use bytes::BufMut;

use super::SocketAddr;
use crate::io::buffer::{self, Receive};
use crate::io::evented::Evented;
use crate::io::{Interest, ReadBuf};
use crate::net::methods::methods;

/// A socket for messages within this machine, as tokio's. The file of its path stays when it is dropped.
pub struct UnixDatagram {
    io: Evented<net::UnixDatagram>,
}

impl UnixDatagram {
    /// Binds a socket to a path.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    #[track_caller]
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        Self::made(net::UnixDatagram::bind_addr(&SocketAddr::of_path(path.as_ref())?.0)?)
    }

    /// Creates two sockets that are connected to each other, without names.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    #[track_caller]
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = net::UnixDatagram::pair()?;
        let (one, other) = (Self::made(one)?, Self::made(other)?);
        one.io.assume_writable();
        other.io.assume_writable();
        Ok((one, other))
    }

    /// Creates a socket without a name.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    #[track_caller]
    pub fn unbound() -> io::Result<UnixDatagram> {
        Self::made(net::UnixDatagram::unbound()?)
    }

    #[track_caller]
    fn made(socket: net::UnixDatagram) -> io::Result<UnixDatagram> {
        socket.set_nonblocking(true)?;
        Self::from_std(socket)
    }

    /// Chooses the socket at a path as the peer.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.io.get_ref().connect(path)
    }

    /// Sends a message to the peer.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future sent nothing.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; an error if the runtime has ended.
    pub async fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.io.async_io(Interest::WRITABLE, || self.io.get_ref().send(buf)).await
    }

    /// Polls to send a message to the peer.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send`](Self::send).
    pub fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.io.poll_write_io(cx, || self.io.get_ref().send(buf))
    }

    /// Sends a message to the peer if there is space.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if there is no space; the kernel's error.
    pub fn try_send(&self, buf: &[u8]) -> io::Result<usize> {
        self.io.try_io(Interest::WRITABLE, || self.io.get_ref().send(buf))
    }

    /// Sends a message to the socket at a path.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future sent nothing.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; an error if the runtime has ended.
    pub async fn send_to<P: AsRef<Path>>(&self, buf: &[u8], target: P) -> io::Result<usize> {
        self.io.async_io(Interest::WRITABLE, || self.io.get_ref().send_to(buf, target.as_ref())).await
    }

    /// Polls to send a message to the socket at a path.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send_to`](Self::send_to).
    pub fn poll_send_to<P: AsRef<Path>>(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        target: P,
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write_io(cx, || self.io.get_ref().send_to(buf, target.as_ref()))
    }

    /// Sends a message to the socket at a path if there is space.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if there is no space; the kernel's error.
    pub fn try_send_to<P: AsRef<Path>>(&self, buf: &[u8], target: P) -> io::Result<usize> {
        self.io.try_io(Interest::WRITABLE, || self.io.get_ref().send_to(buf, target))
    }

    /// Receives a message.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future received nothing.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; an error if the runtime has ended.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.async_io(Interest::READABLE, || self.io.get_ref().recv(buf)).await
    }

    /// Polls to receive a message.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.io.poll_read_io(cx, || buffer::recv(self.io.get_ref(), buf, Receive::Take).map(|_| ()))
    }

    /// Receives a message if there is one.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if there is none; the kernel's error.
    pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.try_io(Interest::READABLE, || self.io.get_ref().recv(buf))
    }

    /// Receives a message into a buffer that need not be initialized.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future received nothing.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub async fn recv_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        self.io.async_io(Interest::READABLE, || self.receive_chunk(buf)).await
    }

    /// Receives a message into a buffer that need not be initialized, if there is one.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`try_recv`](Self::try_recv).
    pub fn try_recv_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        self.io.try_io(Interest::READABLE, || self.receive_chunk(buf))
    }

    fn receive_chunk<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        let receive = |room: &mut ReadBuf<'_>| buffer::recv(self.io.get_ref(), room, Receive::Take);
        buffer::with_chunk(buf, receive).map(|(n, _)| n)
    }

    /// Receives a message with the name of its sender.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future received nothing.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.async_io(Interest::READABLE, || self.receive_bytes_from(buf)).await
    }

    /// Polls to receive a message with the name of its sender.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.io.poll_read_io(cx, || self.receive_from(buf))
    }

    /// Receives a message with the name of its sender if there is one.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`try_recv`](Self::try_recv).
    pub fn try_recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.try_io(Interest::READABLE, || self.receive_bytes_from(buf))
    }

    /// Receives a message with the name of its sender into a buffer that need not be initialized.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future received nothing.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub async fn recv_buf_from<B: BufMut>(&self, buf: &mut B) -> io::Result<(usize, SocketAddr)> {
        self.io.async_io(Interest::READABLE, || buffer::with_chunk(buf, |room| self.receive_from(room))).await
    }

    /// Receives a message with the name of its sender into a buffer that need not be initialized, if there is one.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`try_recv`](Self::try_recv).
    pub fn try_recv_buf_from<B: BufMut>(&self, buf: &mut B) -> io::Result<(usize, SocketAddr)> {
        self.io.try_io(Interest::READABLE, || buffer::with_chunk(buf, |room| self.receive_from(room)))
    }

    fn receive_bytes_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (n, from) = self.io.get_ref().recv_from(buf)?;
        Ok((n, SocketAddr(from)))
    }

    fn receive_from(&self, buf: &mut ReadBuf<'_>) -> io::Result<SocketAddr> {
        SocketAddr::from_socket2(&buffer::recv_from(self.io.get_ref(), buf, Receive::Take)?)
    }

    /// Returns the name of this socket.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr().map(SocketAddr)
    }

    /// Returns the name of the peer.
    ///
    /// # Errors
    ///
    /// Returns `NotConnected` without a peer.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().peer_addr().map(SocketAddr)
    }

    /// Shuts down one half, or both.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.get_ref().shutdown(how)
    }
}

methods!(
    UnixDatagram: descriptor, std(net::UnixDatagram), take_error, ready, readable(poll_recv_ready),
    writable(poll_send_ready), any_io,
);
