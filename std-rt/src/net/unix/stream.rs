//! Connections of bytes.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::connecting::connection_methods;
use crate::fd::Fd;
use crate::net::methods::*;
use crate::sys::{ancillary, socket as sys};

/// A connection of bytes to a process of this machine.
///
/// All operations take `&self`. Dropped: it is closed.
///
/// # Closing
///
/// The peer can still read everything that was written before a drop or a [`close`](Self::close): unlike TCP, a close loses
/// nothing of it. If bytes of the peer were not read here, the peer reads `ConnectionReset` once, after the last byte and
/// in place of the end, on Linux; a write of the peer takes that error as well.
#[derive(Debug)]
pub struct UnixStream {
    pub(super) fd: Fd,
}

impl UnixStream {
    /// Writes what the kernel takes, at least one byte, and passes the descriptors with the first of these bytes; returns
    /// how many bytes were taken. The descriptors have gone then, all of them: the rest of the bytes is for
    /// [`write_all`](Self::write_all). They stay open on this side.
    ///
    /// Waits its turn among the writes, in order.
    ///
    /// Dropped: nothing has been written or passed.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write); `InvalidInput` for descriptors without a byte to go with, or more than
    /// [`MAX_FDS`](crate::net::unix::MAX_FDS); `ETOOMANYREFS` if more are on their way than this process may have open.
    pub async fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let sent = self.fd.write(|fd| ancillary::send_some(fd, bytes, fds));
        sent.await.map_err(|error| self.error("send_fds", error))
    }

    /// Reads as [`read`](Self::read) does, and takes up to `max` descriptors that come with the bytes (at most
    /// [`MAX_FDS`](crate::net::unix::MAX_FDS)). They are close-on-exec.
    ///
    /// A read ends with the bytes that brought descriptors, so that those of two sends never mix; bytes that were
    /// written before may be in front of them. Any other way of reading closes descriptors that come.
    ///
    /// Dropped: nothing has been read.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); `InvalidData` if more descriptors came than `max`, or than this process may have open.
    /// All that came are closed then, and the bytes are lost: the stream is of no use any more.
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

connection_methods!(UnixStream, sys::SocketKind::Stream);
read_methods!(UnixStream, sys::recv, sys::recv_buf, sys::recvv);
write_methods!(UnixStream, sys::send, sys::sendv);
peek_method!(UnixStream);
futures_read!(UnixStream, sys::recv, sys::recvv);
futures_write!(
    UnixStream,
    sys::send,
    sys::sendv,
    UnixStream::end_writing,
    "`poll_close` shuts the writing half down: the peer reads the end of the stream, and this side may still read. If the \
     peer is gone already there is nothing to be shut down, which is no error."
);
