//! Every socket call of the crate, one thin function each, and nothing decided here.
//!
//! All of them restart after a signal (`EINTR`), but [`connect`], which goes on in the kernel. `EAGAIN` comes back as
//! [`io::ErrorKind::WouldBlock`]. What is created is close-on-exec and non-blocking from its first moment. Errors are
//! the kernel's own; they are not listed where they say nothing that the call's manual page does not.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::io::{Errno, fcntl_dupfd_cloexec, ioctl_fionbio, readv, retry_on_intr};
use rustix::net::{self, AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketType};

pub use super::append::{read_buf, recv_buf};
use super::socket_birth::{self, SENT};
pub use super::socket_options::*;
use super::{Call, door};

/// The most bytes that one read or write asks of the kernel: 1 GiB, as Go.
pub const MAX_RW: usize = 1 << 30;

/// The most slices that one vectored call passes to the kernel (`IOV_MAX`).
pub const MAX_SLICES: usize = 1024;

/// The address family of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Domain {
    /// IPv4.
    V4,
    /// IPv6, or both of them unless [`set_v6only`].
    V6,
    /// Local to the machine.
    Unix,
}

impl Domain {
    /// The family that `address` needs.
    pub fn of(address: &SocketAddr) -> Self {
        if address.is_ipv4() { Domain::V4 } else { Domain::V6 }
    }
}

/// The type of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Bytes in order: TCP in an IP domain.
    Stream,
    /// Single messages: UDP in an IP domain.
    Datagram,
    /// Messages in order; Unix only.
    Seqpacket,
}

/// How far a [`connect`] came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connect {
    /// Connected.
    Done,
    /// The kernel goes on by itself: wait for writability, then ask [`socket_error`] and [`peer_name`].
    InProgress,
}

/// What a read returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Read {
    /// Bytes read. 0 is the end of a stream, unless there was no room for any.
    pub n: usize,
    /// Fewer than the kernel was asked for, but some: the queue was empty after this read. Judged by the length
    /// really passed to the kernel, so that no cap here sets it. Whether that says anything of the next read depends
    /// on the kind of descriptor, which is judged above.
    pub drained: bool,
}

impl Read {
    pub(super) fn of(n: usize, asked: usize) -> Self {
        Read { n, drained: 0 < n && n < asked }
    }
}

/// A new socket.
pub fn socket(domain: Domain, kind: Kind) -> io::Result<OwnedFd> {
    let family = match domain {
        Domain::V4 => AddressFamily::INET,
        Domain::V6 => AddressFamily::INET6,
        Domain::Unix => AddressFamily::UNIX,
    };
    let kind = match kind {
        Kind::Stream => SocketType::STREAM,
        Kind::Datagram => SocketType::DGRAM,
        Kind::Seqpacket => SocketType::SEQPACKET,
    };
    Ok(retry_on_intr(|| {
        door::ask_new(Call::Socket)?;
        socket_birth::socket(family, kind)
    })?)
}

/// Gives the socket its local address; port 0 lets the kernel choose.
pub fn bind(fd: BorrowedFd<'_>, address: &SocketAddr) -> io::Result<()> {
    Ok(retry_on_intr(|| {
        door::ask(Call::Bind, fd)?;
        net::bind(fd, address)
    })?)
}

/// Starts accepting; the kernel queues up to `backlog` connections, at most its own limit ([`somaxconn`]).
pub fn listen(fd: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    Ok(retry_on_intr(|| {
        door::ask(Call::Listen, fd)?;
        net::listen(fd, backlog)
    })?)
}

/// Takes one connection of an IP listener from the queue, with the peer's address.
///
/// # Errors
///
/// `ECONNABORTED` is handed up like any other; whether to take the next one is decided above. `EAFNOSUPPORT` if the
/// peer's address is not of IP: that connection is closed again.
pub fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let (connection, peer) = retry_on_intr(|| {
        door::ask(Call::Accept, fd)?;
        socket_birth::accept(fd)
    })?;
    let peer = peer.ok_or(Errno::AFNOSUPPORT)?;
    Ok((connection, SocketAddr::try_from(peer)?))
}

/// Returns whether a socket accepts connections.
///
/// # Errors
///
/// None that a sound process meets.
pub fn is_listening(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(retry_on_intr(|| {
        door::ask(Call::GetOption, fd)?;
        net::sockopt::socket_acceptconn(fd)
    })?)
}

/// Returns the error of a socket that has a peer already, or listens.
pub fn already_connected() -> io::Error {
    Errno::ISCONN.into()
}

/// Starts to connect. A signal does not stop the kernel, so an interrupted call is one in progress.
///
/// # Errors
///
/// The refusals that are known at once. Those that take time come from [`socket_error`].
pub fn connect(fd: BorrowedFd<'_>, address: &SocketAddr) -> io::Result<Connect> {
    door::ask(Call::Connect, fd)?;
    match door::told(Call::Connect, fd, net::connect(fd, address)) {
        Ok(()) | Err(Errno::ISCONN) => Ok(Connect::Done),
        Err(Errno::INPROGRESS | Errno::ALREADY | Errno::INTR) => Ok(Connect::InProgress),
        Err(errno) => Err(errno.into()),
    }
}

/// The error that is queued on the socket (`SO_ERROR`), which this call takes from it.
pub fn socket_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    let queued = retry_on_intr(|| {
        door::ask(Call::SocketError, fd)?;
        net::sockopt::socket_error(fd)
    })?;
    Ok(queued.err().map(io::Error::from))
}

/// The address of the other end.
///
/// # Errors
///
/// `ENOTCONN` if there is none (yet); `EAFNOSUPPORT` if the address is not of IP.
pub fn peer_name(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let address = retry_on_intr(|| {
        door::ask(Call::PeerName, fd)?;
        net::getpeername(fd)
    })?;
    Ok(address.ok_or(Errno::AFNOSUPPORT)?.try_into()?)
}

/// The local address.
///
/// # Errors
///
/// `EAFNOSUPPORT` if it is not of IP.
pub fn sock_name(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let address = retry_on_intr(|| {
        door::ask(Call::SockName, fd)?;
        net::getsockname(fd)
    })?;
    Ok(address.try_into()?)
}

/// Ends one or both directions of a connection; the descriptor stays open.
pub fn shutdown(fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => net::Shutdown::Read,
        Shutdown::Write => net::Shutdown::Write,
        Shutdown::Both => net::Shutdown::Both,
    };
    Ok(retry_on_intr(|| {
        door::ask(Call::Shutdown, fd)?;
        net::shutdown(fd, how)
    })?)
}

/// Switches non-blocking mode, of the open file description and so of every duplicate.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    Ok(retry_on_intr(|| {
        door::ask(Call::SetNonblocking, fd)?;
        ioctl_fionbio(fd, on)
    })?)
}

/// A second number for the same open file, close-on-exec.
///
/// # Errors
///
/// `EMFILE`.
pub fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(retry_on_intr(|| {
        door::ask(Call::Duplicate, fd)?;
        fcntl_dupfd_cloexec(fd, 0)
    })?)
}

/// Reads from a socket, at most [`MAX_RW`] bytes.
#[inline]
pub fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Read> {
    recv_with(fd, buffer, RecvFlags::empty())
}

/// As [`recv`], and leaves the bytes in the queue: `drained` then says that these are all.
pub fn peek(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Read> {
    recv_with(fd, buffer, RecvFlags::PEEK)
}

#[inline]
fn recv_with(fd: BorrowedFd<'_>, buffer: &mut [u8], flags: RecvFlags) -> io::Result<Read> {
    let asked = door::cut(Call::Recv, fd, buffer.len().min(MAX_RW));
    let buffer = &mut buffer[..asked];
    let (n, _) = retry_on_intr(|| {
        door::ask(Call::Recv, fd)?;
        net::recv(fd, &mut *buffer, flags)
    })?;
    Ok(Read::of(n, asked))
}

/// Writes to a socket, at most [`MAX_RW`] bytes; returns how many were taken. Raises no `SIGPIPE`: a peer that is
/// gone is `EPIPE`.
#[inline]
pub fn send(fd: BorrowedFd<'_>, buffer: &[u8]) -> io::Result<usize> {
    let buffer = &buffer[..door::cut(Call::Send, fd, buffer.len().min(MAX_RW))];
    Ok(retry_on_intr(|| {
        door::ask(Call::Send, fd)?;
        net::send(fd, buffer, SENT)
    })?)
}

/// Sends one urgent byte (`MSG_OOB`), at whose mark the other side's reads stop.
pub fn send_urgent(fd: BorrowedFd<'_>, byte: u8) -> io::Result<()> {
    retry_on_intr(|| {
        door::ask(Call::Send, fd)?;
        net::send(fd, &[byte], SENT | SendFlags::OOB)
    })?;
    Ok(())
}

/// Reads from any descriptor, at most [`MAX_RW`] bytes.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Read> {
    let asked = door::cut(Call::Read, fd, buffer.len().min(MAX_RW));
    let buffer = &mut buffer[..asked];
    let n = retry_on_intr(|| {
        door::ask(Call::Read, fd)?;
        rustix::io::read(fd, &mut *buffer)
    })?;
    Ok(Read::of(n, asked))
}

/// Writes to any descriptor, at most [`MAX_RW`] bytes; returns how many were taken. On a pipe without a reader the
/// kernel raises `SIGPIPE`, which Rust programs ignore by default, and returns `EPIPE`.
pub fn write(fd: BorrowedFd<'_>, buffer: &[u8]) -> io::Result<usize> {
    let buffer = &buffer[..door::cut(Call::Write, fd, buffer.len().min(MAX_RW))];
    Ok(retry_on_intr(|| {
        door::ask(Call::Write, fd)?;
        rustix::io::write(fd, buffer)
    })?)
}

/// Writes several buffers to any descriptor, as [`write`] and [`sendv`] do.
pub fn writev(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let Some(mut batch) = Batch::of(buffers.iter().map(|buffer| buffer.len())) else {
        return Ok(0);
    };
    batch.shorten(door::cut(Call::Write, fd, batch.bytes), |place| buffers[place].len());
    let buffers = &buffers[batch.first..batch.end];
    if let [single] = buffers {
        return write(fd, single);
    }
    Ok(retry_on_intr(|| {
        door::ask(Call::Write, fd)?;
        rustix::io::writev(fd, buffers)
    })?)
}

/// Reads into several buffers, in order, at most [`MAX_SLICES`] of them and [`MAX_RW`] bytes.
pub fn recvv(fd: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<Read> {
    let Some(mut batch) = Batch::of(buffers.iter().map(|buffer| buffer.len())) else {
        return Ok(Read::of(0, 0));
    };
    batch.shorten(door::cut(Call::Read, fd, batch.bytes), |place| buffers[place].len());
    let buffers = &mut buffers[batch.first..batch.end];
    if let [single] = buffers {
        return read(fd, single);
    }
    let n = retry_on_intr(|| {
        door::ask(Call::Read, fd)?;
        readv(fd, &mut *buffers)
    })?;
    Ok(Read::of(n, batch.bytes))
}

/// Writes several buffers, in order, at most [`MAX_SLICES`] of them and [`MAX_RW`] bytes; returns how many bytes
/// were taken. Raises no `SIGPIPE`.
pub fn sendv(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let Some(mut batch) = Batch::of(buffers.iter().map(|buffer| buffer.len())) else {
        return Ok(0);
    };
    batch.shorten(door::cut(Call::Send, fd, batch.bytes), |place| buffers[place].len());
    let buffers = &buffers[batch.first..batch.end];
    if let [single] = buffers {
        return send(fd, single);
    }
    let mut nothing = SendAncillaryBuffer::default();
    Ok(retry_on_intr(|| {
        door::ask(Call::Send, fd)?;
        net::sendmsg(fd, buffers, &mut nothing, SENT)
    })?)
}

/// The slices `first..end` that one vectored call passes on, and their sum.
///
/// 1. Empty slices in front are left out: 1024 of them would read 0 bytes, and 0 bytes is the end of the stream.
/// 2. The sum stays within [`MAX_RW`], so that the kernel is really asked for `bytes` and cuts nothing by itself.
/// 3. A first slice beyond that stands alone, whatever its length; the scalar call caps it.
struct Batch {
    first: usize,
    end: usize,
    bytes: usize,
}

impl Batch {
    /// `None` if no slice has room.
    fn of(lengths: impl Iterator<Item = usize>) -> Option<Batch> {
        let mut lengths = lengths.enumerate().skip_while(|(_, length)| *length == 0);
        let (first, bytes) = lengths.next()?;
        let mut batch = Batch { first, end: first + 1, bytes };
        for (place, length) in lengths.take(MAX_SLICES - 1) {
            let Some(bytes) = batch.bytes.checked_add(length).filter(|bytes| *bytes <= MAX_RW) else {
                break;
            };
            batch = Batch { first, end: place + 1, bytes };
        }
        Some(batch)
    }

    /// Leaves out slices at the end until the sum is at most `bytes` or one slice is left, which the scalar call caps.
    #[inline(always)]
    fn shorten(&mut self, bytes: usize, length: impl Fn(usize) -> usize) {
        while bytes < self.bytes && self.first + 1 < self.end {
            self.end -= 1;
            self.bytes -= length(self.end);
        }
    }
}

/// The kernel's limit on the backlog of [`listen`], read once from `/proc/sys/net/core/somaxconn`. At most 65535,
/// because kernels before 4.1 keep it in 16 bits; 4096, Linux's default since 5.4, where the file cannot be read.
pub fn somaxconn() -> i32 {
    const DEFAULT: i32 = 4096;
    static LIMIT: OnceLock<i32> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        // No file (a chroot without /proc) is no error: the kernel clamps the backlog anyway.
        let file = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
        file.trim().parse().unwrap_or(DEFAULT).clamp(1, i32::from(u16::MAX))
    })
}

/// True for an error of accept(2) that is about the connection, not about the listener: it was aborted before it was
/// taken (`ECONNABORTED`), or broke the protocol (`EPROTO`).
pub fn is_aborted(error: &io::Error) -> bool {
    [Errno::CONNABORTED, Errno::PROTO]
        .into_iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
