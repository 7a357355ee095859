//! Descriptors that travel with bytes over a Unix socket (`SCM_RIGHTS`).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;

use rustix::cmsg_space;
use rustix::io::retry_on_intr;
use rustix::net::{
    self, RecvAncillaryBuffer, RecvAncillaryMessage, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SocketAddrAny,
};

use super::address::unix_to_kernel;
use super::socket_birth::SENT;
use super::{Call, door, unix, unix_native};

/// The most descriptors that go with one message (Linux's `SCM_MAX_FD`).
pub const MAX_FDS: usize = 253;

const ROOM: usize = cmsg_space!(ScmRights(MAX_FDS)) + unix_native::ROOM_BESIDE;

/// What came, with the descriptors that came along.
#[derive(Debug)]
pub struct Received {
    /// Bytes.
    pub n: usize,
    /// Descriptors, close-on-exec; new numbers of this process for the sender's open files.
    pub fds: Vec<OwnedFd>,
    from: Option<SocketAddrAny>,
}

impl Received {
    /// The end of what can be received.
    pub fn end() -> Self {
        Received { n: 0, fds: Vec::new(), from: None }
    }

    /// The sender's name.
    ///
    /// # Errors
    ///
    /// `EAFNOSUPPORT` if it is no Unix socket.
    pub fn from(&self) -> io::Result<SocketAddr> {
        unix::name(self.from.clone())
    }
}

/// Sends one message with descriptors, whole or not at all; without an address to where the socket is connected.
///
/// # Errors
///
/// `InvalidInput` for more than [`MAX_FDS`] descriptors; `ETOOMANYREFS` if more are on their way than this process may
/// have open.
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
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut control = SendAncillaryBuffer::new(&mut room);
    // There is room for as many as were let through.
    let _pushed = fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds));
    let bytes = [IoSlice::new(bytes)];
    Ok(retry_on_intr(|| {
        door::ask(Call::Send, fd)?;
        match &to {
            Some(to) => net::sendmsg_addr(fd, to, &bytes, &mut control, SENT),
            None => net::sendmsg(fd, &bytes, &mut control, SENT),
        }
    })?)
}

/// Sends some bytes of a stream, at least one; the descriptors go with the first.
///
/// # Errors
///
/// As [`send`], and `InvalidInput` for descriptors without a byte, which the kernel would drop without a word.
pub fn send_some(fd: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if bytes.is_empty() && !fds.is_empty() {
        let alone = "on a stream descriptors go with bytes, and there is none";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, alone));
    }
    let length = door::cut(Call::Send, fd, bytes.len().min(super::socket::MAX_RW));
    send(fd, &bytes[..length], None, fds)
}

/// Receives one message with up to `max` descriptors. What of the message has no room in `buffer` is lost.
///
/// # Errors
///
/// `InvalidData` if descriptors came that could not be handed up: those that could be are closed again, and the
/// message is lost.
pub fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8], max: usize) -> io::Result<Received> {
    let max = max.min(MAX_FDS);
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut control =
        RecvAncillaryBuffer::new(&mut room[..cmsg_space!(ScmRights(max)) + unix_native::ROOM_BESIDE]);
    let mut buffers = [IoSliceMut::new(buffer)];
    let message = retry_on_intr(|| {
        door::ask(Call::Recv, fd)?;
        net::recvmsg(fd, &mut buffers, &mut control, unix_native::RECEIVED)
    })?;
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            fds.extend(rights);
        }
    }
    // Alignment leaves room for a few more than were asked for, so that the kernel may not find that they are too many.
    if fds.len() > max || message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(truncated(fds.len(), max));
    }
    unix_native::received(&fds)?;
    Ok(Received { n: message.bytes, fds, from: message.address })
}

/// As [`recv`], for some bytes of a stream.
///
/// # Errors
///
/// As there.
pub fn recv_some(fd: BorrowedFd<'_>, buffer: &mut [u8], max: usize) -> io::Result<Received> {
    let length = door::cut(Call::Recv, fd, buffer.len().min(super::socket::MAX_RW));
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
