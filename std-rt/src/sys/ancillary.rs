//! Descriptors passed with bytes over a Unix socket (`SCM_RIGHTS`).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;

use rustix::cmsg_space;

use super::address::unix_to_kernel;
use super::platform::{self, RECV_FLAGS, SCM_CREDENTIALS_SPACE, SEND_FLAGS};
use super::sim::net::{
    self, RecvAncillaryBuffer, RecvAncillaryMessage, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SocketAddrAny,
};
use super::{Call, inject, unix};
use crate::sys::call::retry;

/// The largest number of descriptors in one message (Linux's `SCM_MAX_FD`).
pub const MAX_FDS: usize = 253;

const CONTROL_SPACE: usize = cmsg_space!(ScmRights(MAX_FDS)) + SCM_CREDENTIALS_SPACE;

/// The result of a receive: a byte count and the descriptors that came with the bytes.
#[derive(Debug)]
pub struct Received {
    /// Number of bytes received.
    pub n: usize,
    /// Descriptors, close-on-exec: new numbers of this process for the sender's open files.
    pub fds: Vec<OwnedFd>,
    from: Option<SocketAddrAny>,
}

impl Received {
    /// Returns the value that stands for the end of the stream.
    pub fn end() -> Self {
        Received { n: 0, fds: Vec::new(), from: None }
    }

    /// Returns the sender's address.
    ///
    /// # Errors
    ///
    /// Returns `EAFNOSUPPORT` if the sender's address is not that of a Unix socket.
    pub fn from(&self) -> io::Result<SocketAddr> {
        unix::name(self.from.clone())
    }
}

/// Sends one message with descriptors, whole or not at all. Without `to` it goes to the connected peer.
///
/// # Errors
///
/// Returns `InvalidInput` for more than [`MAX_FDS`] descriptors; `ETOOMANYREFS` if more descriptors are in
/// flight than this process may have open.
pub fn send(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    to: Option<&SocketAddr>,
    fds: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if fds.len() > MAX_FDS {
        let many = format!("{} descriptors, and at most {MAX_FDS} go with one message", fds.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, many));
    }
    let to = to.map(unix_to_kernel).transpose()?;
    let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    // `push` refuses only descriptors that do not fit, and the buffer has space for `MAX_FDS`.
    let _pushed = fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds));
    let bytes = [IoSlice::new(bytes)];
    retry(Call::Send, fd, || match &to {
        Some(to) => net::sendmsg_addr(fd, to, &bytes, &mut control, SEND_FLAGS),
        None => net::sendmsg(fd, &bytes, &mut control, SEND_FLAGS),
    })
}

/// Sends some bytes of a stream, at least one. The descriptors go with the first byte.
///
/// # Errors
///
/// As [`send`]. Returns `InvalidInput` for descriptors without a byte, because the kernel would drop them
/// silently.
pub fn send_some(fd: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if bytes.is_empty() && !fds.is_empty() {
        let alone = "on a stream descriptors go with bytes, and there is none";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, alone));
    }
    let length = inject::truncate(Call::Send, fd, bytes.len().min(super::socket::MAX_RW));
    send(fd, &bytes[..length], None, fds)
}

/// Receives one message with up to `max` descriptors. The part of the message that does not fit into `buffer`
/// is lost.
///
/// # Errors
///
/// Returns `InvalidData` if more descriptors came than could be returned. Those that got a number are closed
/// again, and the message is lost.
pub fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8], max: usize) -> io::Result<Received> {
    let max = max.min(MAX_FDS);
    let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
    let mut control =
        RecvAncillaryBuffer::new(&mut space[..cmsg_space!(ScmRights(max)) + SCM_CREDENTIALS_SPACE]);
    let mut buffers = [IoSliceMut::new(buffer)];
    let message = retry(Call::Recv, fd, || net::recvmsg(fd, &mut buffers, &mut control, RECV_FLAGS))?;
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            fds.extend(rights);
        }
    }
    // Alignment leaves space for more descriptors than `max`, so the kernel may not report that they were too
    // many.
    if fds.len() > max || message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(truncated(fds.len(), max));
    }
    platform::set_cloexec(&fds)?;
    Ok(Received { n: message.bytes, fds, from: message.address })
}

/// Receives some bytes of a stream, with up to `max` descriptors.
///
/// # Errors
///
/// As [`recv`].
pub fn recv_some(fd: BorrowedFd<'_>, buffer: &mut [u8], max: usize) -> io::Result<Received> {
    let length = inject::truncate(Call::Recv, fd, buffer.len().min(super::socket::MAX_RW));
    recv(fd, &mut buffer[..length], max)
}

fn truncated(came: usize, max: usize) -> io::Error {
    let why = if came >= max {
        format!("more than {max} descriptors came with the message")
    } else {
        format!("only {came} of the descriptors that came got a number (is the limit of open files reached?)")
    };
    io::Error::new(io::ErrorKind::InvalidData, format!("{why}; all of them are closed, the message is lost"))
}
