//! Connections of bytes.

use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::methods::unix_methods;
use super::{connect, pair_of, path_address};
use crate::net::bytes::byte_methods;
use crate::net::methods::*;
use crate::sys::{ancillary, socket as sys, unix};

/// A connection of bytes to a process of this machine.
///
/// All operations take `&self`. Dropping it closes it.
///
/// # Closing
///
/// The peer can still read everything that was written before a drop or a [`close`](Self::close): unlike TCP,
/// a close loses no bytes. If bytes of the peer were not read here, the peer reads `ConnectionReset` once,
/// after the last byte and in place of the end, on Linux; a write of the peer takes that error as well.
#[derive(Debug)]
pub struct UnixStream {
    fd: Fd,
}

impl UnixStream {
    /// Writes what the kernel takes, at least one byte, and passes the descriptors with the first of these
    /// bytes. Returns how many bytes were taken. All descriptors have been sent then: write the rest of the
    /// bytes with [`write_all`](Self::write_all). The descriptors stay open on this side.
    ///
    /// It takes its turn among the writes.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future wrote and passed nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`write`](Self::write); `InvalidInput` for descriptors without a byte, or for
    /// more than [`MAX_FDS`](crate::net::unix::MAX_FDS); `ETOOMANYREFS` if more are in flight than this
    /// process may have open.
    pub async fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let sent = self.fd.write(|fd| ancillary::send_some(fd, bytes, fds));
        sent.await.map_err(|error| self.error("send_fds", error))
    }

    /// Reads as [`read`](Self::read) does, and takes up to `max` descriptors that come with the bytes (at
    /// most [`MAX_FDS`](crate::net::unix::MAX_FDS)). They are close-on-exec.
    ///
    /// A read ends with the bytes that brought descriptors, so the descriptors of two sends never mix; bytes
    /// that were written before may be in front of them. Any other method of reading closes descriptors that
    /// come.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future read nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`read`](Self::read); `InvalidData` if more descriptors came than `max`, or than
    /// this process may have open. All of them are closed then, the bytes are lost, and the stream is
    /// unusable.
    pub async fn recv_fds(&self, buffer: &mut [u8], max: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut fds = Vec::new();
        let read = self.fd.read(buffer.is_empty(), |fd| {
            let received = ancillary::recv_some(fd, buffer, max)?;
            fds = received.fds;
            Ok(sys::Read { n: received.n, drained: false })
        });
        let n = read.await.map_err(|error| self.error("recv_fds", error))?;
        Ok((n, fds))
    }
}

unix_methods!(UnixStream: connection(sys::SocketKind::Stream));
byte_methods!(
    UnixStream: read(sys::recv, sys::recv_buf, sys::recvv),
    write(sys::send, sys::sendv),
    peek(sys::peek),
    async_write(
        sys::send,
        sys::sendv,
        UnixStream::end_writing,
        "`poll_close` shuts down the writing half: the peer reads the end of the stream, and this side may still read. \
         A connection that has ended already is no error."
    ),
);
methods!(UnixStream: std(std::os::unix::net::UnixStream));
