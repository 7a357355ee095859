//! The socket calls of the crate: one thin function each, without policy.
//!
//! All of them restart after a signal (`EINTR`), except [`connect`], which continues in the kernel. `EAGAIN`
//! is returned as [`io::ErrorKind::WouldBlock`]. New sockets are close-on-exec and non-blocking, from their
//! creation where the kernel allows that. Errors are the kernel's; they are documented where the manual page
//! of the call is not enough.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::io::Errno;

use super::platform::{self, SEND_FLAGS};
pub use super::platform::{send_tcp, sendv_tcp};
use super::sim::buffer::spare_capacity;
use super::sim::net::{self, AddressFamily, RecvFlags, SendAncillaryBuffer, SocketType};
use super::sim::rw::{self, fcntl_dupfd_cloexec, ioctl_fionbio, readv};
use super::{Call, inject};
use crate::sys::call::{retry, retry_new};

/// The largest number of bytes that one read or write requests: 1 GiB, as in Go.
pub const MAX_RW: usize = 1 << 30;

/// The largest number of slices that one vectored call passes to the kernel (`IOV_MAX`).
pub const MAX_SLICES: usize = 1024;

/// The address family of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Domain {
    /// IPv4.
    V4,
    /// IPv6, or both of them unless [`set_v6only`].
    V6,
    /// Unix sockets.
    Unix,
}

impl Domain {
    /// Returns the family of `address`.
    pub fn of(address: &SocketAddr) -> Self {
        if address.is_ipv4() { Domain::V4 } else { Domain::V6 }
    }

    fn family(self) -> AddressFamily {
        match self {
            Domain::V4 => AddressFamily::INET,
            Domain::V6 => AddressFamily::INET6,
            Domain::Unix => AddressFamily::UNIX,
        }
    }
}

/// The type of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SocketKind {
    /// Bytes in order: TCP in an IP domain.
    Stream,
    /// Single messages: UDP in an IP domain.
    Datagram,
    /// Messages in order; Unix only.
    Seqpacket,
}

/// The progress of a [`connect`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connect {
    /// Connected.
    Done,
    /// The kernel continues: wait for writability, then check [`socket_error`] and [`peer_name`].
    InProgress,
}

/// The result of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Read {
    /// Number of bytes read. 0 is the end of a stream, unless the buffer was empty.
    pub n: usize,
    /// Whether the read was short: some bytes, but fewer than requested, so the queue was empty after it. The
    /// length that was really passed to the kernel counts, so a cap never sets this. Whether it says anything
    /// about the next read depends on the kind of descriptor, which the `fd` module knows.
    pub drained: bool,
}

impl Read {
    pub(super) fn of(n: usize, asked: usize) -> Self {
        Read { n, drained: 0 < n && n < asked }
    }
}

/// Creates a socket.
pub fn socket(domain: Domain, kind: SocketKind) -> io::Result<OwnedFd> {
    let family = domain.family();
    let kind = match kind {
        SocketKind::Stream => SocketType::STREAM,
        SocketKind::Datagram => SocketType::DGRAM,
        SocketKind::Seqpacket => SocketType::SEQPACKET,
    };
    retry_new(Call::Socket, || platform::socket(family, kind))
}

/// Creates a socket of Multipath TCP, or returns `None` where the kernel has none.
pub fn mptcp_socket(domain: Domain) -> io::Result<Option<OwnedFd>> {
    retry_new(Call::Socket, || platform::mptcp_socket(domain.family()))
}

/// Sets the socket's local address. Port 0 makes the kernel choose one.
pub fn bind(fd: BorrowedFd<'_>, address: &SocketAddr) -> io::Result<()> {
    retry(Call::Bind, fd, || net::bind(fd, address))
}

/// Starts listening. The kernel queues up to `backlog` connections, at most its own limit ([`somaxconn`]).
pub fn listen(fd: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    retry(Call::Listen, fd, || net::listen(fd, backlog))
}

/// Accepts one connection of an IP listener and returns it with the peer's address.
///
/// # Errors
///
/// Returns `ECONNABORTED` like any other error; the caller decides whether to accept the next one. Returns
/// `EAFNOSUPPORT` if the peer's address is not an IP address; that connection is closed.
pub fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let (connection, peer) = retry(Call::Accept, fd, || platform::accept(fd))?;
    let peer = peer.ok_or(Errno::AFNOSUPPORT)?;
    Ok((connection, SocketAddr::try_from(peer)?))
}

/// Returns whether a socket accepts connections (`SO_ACCEPTCONN`). Always false on Apple systems.
///
/// # Errors
///
/// Returns the kernel's, none of which a correct process meets.
pub fn is_listening(fd: BorrowedFd<'_>) -> io::Result<bool> {
    retry(Call::GetOption, fd, || platform::socket_acceptconn(fd))
}

/// Returns the error of a socket that has a peer already, or listens.
pub fn already_connected() -> io::Error {
    Errno::ISCONN.into()
}

/// Starts connecting. A signal does not stop the kernel, so an interrupted call is one in progress.
///
/// # Errors
///
/// Returns the refusals that are known at once. Later ones come from [`socket_error`].
pub fn connect(fd: BorrowedFd<'_>, address: &SocketAddr) -> io::Result<Connect> {
    inject::before(Call::Connect, fd)?;
    match inject::after(Call::Connect, fd, net::connect(fd, address)) {
        Ok(()) | Err(Errno::ISCONN) => Ok(Connect::Done),
        Err(Errno::INPROGRESS | Errno::ALREADY | Errno::INTR) => Ok(Connect::InProgress),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes the error that is queued on the socket (`SO_ERROR`).
pub fn socket_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    let queued = retry(Call::SocketError, fd, || net::sockopt::socket_error(fd))?;
    Ok(queued.err().map(io::Error::from))
}

/// Returns the address of the peer.
///
/// # Errors
///
/// Returns `ENOTCONN` if the socket has no peer, or none yet; `EAFNOSUPPORT` if the address is not an IP
/// address.
pub fn peer_name(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let address = retry(Call::PeerName, fd, || net::getpeername(fd))?;
    Ok(address.ok_or(Errno::AFNOSUPPORT)?.try_into()?)
}

/// Returns the local address.
///
/// # Errors
///
/// Returns `EAFNOSUPPORT` if the address is not an IP address.
pub fn sock_name(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let address = retry(Call::SockName, fd, || net::getsockname(fd))?;
    Ok(address.try_into()?)
}

/// Shuts down one or both directions of a connection; the descriptor stays open.
pub fn shutdown(fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => net::Shutdown::Read,
        Shutdown::Write => net::Shutdown::Write,
        Shutdown::Both => net::Shutdown::Both,
    };
    retry(Call::Shutdown, fd, || net::shutdown(fd, how))
}

/// Sets the non-blocking mode of the open file description, which all duplicates share.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    retry(Call::SetNonblocking, fd, || ioctl_fionbio(fd, on))
}

/// Duplicates the descriptor; the new one is close-on-exec.
///
/// # Errors
///
/// Returns `EMFILE`.
pub fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    retry(Call::Duplicate, fd, || fcntl_dupfd_cloexec(fd, 0))
}

/// Reads from a socket, at most [`MAX_RW`] bytes.
#[inline]
pub fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Read> {
    recv_with(fd, buffer, RecvFlags::empty())
}

/// Reads as [`recv`] does, and leaves the bytes in the queue. `drained` then says that there are no more.
pub fn peek(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Read> {
    recv_with(fd, buffer, RecvFlags::PEEK)
}

#[inline]
fn recv_with(fd: BorrowedFd<'_>, buffer: &mut [u8], flags: RecvFlags) -> io::Result<Read> {
    let asked = inject::truncate(Call::Recv, fd, buffer.len().min(MAX_RW));
    let buffer = &mut buffer[..asked];
    let (n, _) = retry(Call::Recv, fd, || net::recv(fd, &mut *buffer, flags))?;
    Ok(Read::of(n, asked))
}

/// Reads as [`recv`] does, into a buffer that need not be initialized: the bytes that the result counts are, afterwards.
#[inline]
pub fn recv_uninit(fd: BorrowedFd<'_>, buffer: &mut [MaybeUninit<u8>]) -> io::Result<Read> {
    let asked = inject::truncate(Call::Recv, fd, buffer.len().min(MAX_RW));
    let buffer = &mut buffer[..asked];
    let recv = || net::recv(fd, &mut *buffer, RecvFlags::empty()).map(|((read, _), _)| read.len());
    Ok(Read::of(retry(Call::Recv, fd, recv)?, asked))
}

/// Writes to a socket, at most [`MAX_RW`] bytes; returns how many were written. Raises no `SIGPIPE`: if the
/// peer is gone, the error is `EPIPE`.
#[inline]
pub fn send(fd: BorrowedFd<'_>, buffer: &[u8]) -> io::Result<usize> {
    let buffer = &buffer[..inject::truncate(Call::Send, fd, buffer.len().min(MAX_RW))];
    retry(Call::Send, fd, || net::send(fd, buffer, SEND_FLAGS))
}

/// Reads from any descriptor, at most [`MAX_RW`] bytes.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Read> {
    let asked = inject::truncate(Call::Read, fd, buffer.len().min(MAX_RW));
    let buffer = &mut buffer[..asked];
    let n = retry(Call::Read, fd, || rw::read(fd, &mut *buffer))?;
    Ok(Read::of(n, asked))
}

/// Reads as [`read`] does, into a buffer that need not be initialized: the bytes that the result counts are, afterwards.
#[inline]
pub fn read_uninit(fd: BorrowedFd<'_>, buffer: &mut [MaybeUninit<u8>]) -> io::Result<Read> {
    let asked = inject::truncate(Call::Read, fd, buffer.len().min(MAX_RW));
    let buffer = &mut buffer[..asked];
    let read = || rw::read(fd, &mut *buffer).map(|(read, _)| read.len());
    Ok(Read::of(retry(Call::Read, fd, read)?, asked))
}

/// Writes to any descriptor, at most [`MAX_RW`] bytes; returns how many were written. On a pipe without a
/// reader the kernel raises `SIGPIPE`, which Rust programs ignore by default, and returns `EPIPE`.
pub fn write(fd: BorrowedFd<'_>, buffer: &[u8]) -> io::Result<usize> {
    let buffer = &buffer[..inject::truncate(Call::Write, fd, buffer.len().min(MAX_RW))];
    retry(Call::Write, fd, || rw::write(fd, buffer))
}

/// Writes several buffers to any descriptor, as [`write`] and [`sendv`] do.
pub fn writev(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let Some(mut slices) = Slices::of(buffers.iter().map(|buffer| buffer.len())) else {
        return Ok(0);
    };
    slices.shorten(inject::truncate(Call::Write, fd, slices.bytes), |place| buffers[place].len());
    let buffers = &buffers[slices.first..slices.end];
    if let [single] = buffers {
        return write(fd, single);
    }
    retry(Call::Write, fd, || rw::writev(fd, buffers))
}

/// Reads into several buffers, in order, at most [`MAX_SLICES`] of them and [`MAX_RW`] bytes.
pub fn recvv(fd: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<Read> {
    let Some(mut slices) = Slices::of(buffers.iter().map(|buffer| buffer.len())) else {
        return Ok(Read::of(0, 0));
    };
    slices.shorten(inject::truncate(Call::Read, fd, slices.bytes), |place| buffers[place].len());
    let buffers = &mut buffers[slices.first..slices.end];
    if let [single] = buffers {
        return read(fd, single);
    }
    let n = retry(Call::Read, fd, || readv(fd, &mut *buffers))?;
    Ok(Read::of(n, slices.bytes))
}

/// Writes several buffers to a socket, in order, at most [`MAX_SLICES`] of them and [`MAX_RW`] bytes; returns
/// how many bytes were written. Raises no `SIGPIPE`. Up to [`GATHERED`] bytes are copied and sent as one buffer.
pub fn sendv(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut gathered = heapless::Vec::<u8, GATHERED>::new();
    let fits = |buffer: &IoSlice<'_>| gathered.extend_from_slice(buffer).is_ok();
    if buffers.len() > 1 && buffers.iter().all(fits) && !gathered.is_empty() {
        return send(fd, &gathered);
    }
    let Some(mut slices) = Slices::of(buffers.iter().map(|buffer| buffer.len())) else {
        return Ok(0);
    };
    slices.shorten(inject::truncate(Call::Send, fd, slices.bytes), |place| buffers[place].len());
    let buffers = &buffers[slices.first..slices.end];
    if let [single] = buffers {
        return send(fd, single);
    }
    let mut nothing = SendAncillaryBuffer::default();
    retry(Call::Send, fd, || net::sendmsg(fd, buffers, &mut nothing, SEND_FLAGS))
}

/// The number of bytes up to which a copy costs less than a vectored call, for which the kernel copies a header and the list of
/// buffers: about 160 ns less for 120 bytes on Linux 6.18, as much for 4,000.
const GATHERED: usize = 1024;

/// The capacity that a full vector is grown by.
const VEC_GROWTH: usize = 1024;

/// Reads from a socket into the spare capacity of a vector, as [`recv`] does. A full vector grows first.
#[inline]
pub fn recv_buf(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> io::Result<Read> {
    let flags = RecvFlags::empty();
    append(
        (Call::Recv, fd),
        buffer,
        |buffer| net::recv(fd, spare_capacity(buffer), flags).map(|(n, _)| n),
        |buffer| net::recv(fd, buffer, flags).map(|(n, _)| n),
    )
}

/// Reads from any descriptor into the spare capacity of a vector, as [`read`] does. A full vector grows
/// first.
#[inline]
pub fn read_buf(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> io::Result<Read> {
    append(
        (Call::Read, fd),
        buffer,
        |buffer| rw::read(fd, spare_capacity(buffer)),
        |buffer| rw::read(fd, buffer),
    )
}

#[inline]
fn append(
    (call, fd): (Call, BorrowedFd<'_>),
    buffer: &mut Vec<u8>,
    whole: impl Fn(&mut Vec<u8>) -> Result<usize, Errno>,
    part: impl Fn(&mut [u8]) -> Result<usize, Errno>,
) -> io::Result<Read> {
    if buffer.len() == buffer.capacity() {
        buffer.reserve(VEC_GROWTH);
    }
    let spare = buffer.capacity() - buffer.len();
    let asked = inject::truncate(call, fd, spare.min(MAX_RW));
    if asked < spare {
        return append_part(call, fd, buffer, asked, part);
    }
    let n = retry(call, fd, || whole(buffer))?;
    Ok(Read::of(n, asked))
}

/// Appends less than the spare capacity: it is larger than [`MAX_RW`], or fault injection shortened the read.
#[cold]
fn append_part(
    call: Call,
    fd: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    asked: usize,
    read: impl Fn(&mut [u8]) -> Result<usize, Errno>,
) -> io::Result<Read> {
    let before = buffer.len();
    buffer.resize(before + asked, 0);
    let read = retry(call, fd, || read(&mut buffer[before..]));
    buffer.truncate(before + *read.as_ref().unwrap_or(&0));
    Ok(Read::of(read?, asked))
}

/// The slices `first..end` that one vectored call passes to the kernel, and the sum of their lengths.
///
/// 1. Empty slices in front are left out: 1024 of them would read 0 bytes, which means the end of the stream.
/// 2. The sum is at most [`MAX_RW`], so that the kernel is really asked for `bytes` and shortens nothing
///    itself.
/// 3. A first slice longer than that stands alone; the scalar call caps it.
struct Slices {
    first: usize,
    end: usize,
    bytes: usize,
}

impl Slices {
    /// Selects the slices, or returns `None` if all of them are empty.
    fn of(lengths: impl Iterator<Item = usize>) -> Option<Slices> {
        let mut lengths = lengths.enumerate().skip_while(|(_, length)| *length == 0);
        let (first, bytes) = lengths.next()?;
        let mut slices = Slices { first, end: first + 1, bytes };
        for (place, length) in lengths.take(MAX_SLICES - 1) {
            let Some(bytes) = slices.bytes.checked_add(length).filter(|bytes| *bytes <= MAX_RW) else {
                break;
            };
            slices = Slices { first, end: place + 1, bytes };
        }
        Some(slices)
    }

    /// Drops slices at the end until the sum is at most `bytes` or one slice is left, which the scalar call
    /// caps.
    #[inline(always)]
    fn shorten(&mut self, bytes: usize, length: impl Fn(usize) -> usize) {
        while bytes < self.bytes && self.first + 1 < self.end {
            self.end -= 1;
            self.bytes -= length(self.end);
        }
    }
}

/// Returns the kernel's limit on the backlog of [`listen`], read once from `/proc/sys/net/core/somaxconn`. At
/// most 65535, because kernels before 4.1 keep it in 16 bits; 4096, Linux's default since 5.4, where the file
/// cannot be read.
pub fn somaxconn() -> i32 {
    const DEFAULT: i32 = 4096;
    static LIMIT: OnceLock<i32> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        // A missing file (a chroot without /proc) is no error, because the kernel clamps the backlog anyway.
        let file = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
        file.trim().parse().unwrap_or(DEFAULT).clamp(1, i32::from(u16::MAX))
    })
}

/// Returns whether an error of accept(2) is about the connection, not the listener: the connection was
/// aborted before it was accepted (`ECONNABORTED`), or the peer violated the protocol (`EPROTO`).
pub fn is_aborted(error: &io::Error) -> bool {
    [Errno::CONNABORTED, Errno::PROTO]
        .into_iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
