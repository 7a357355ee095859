//! The calls for Unix sockets. The calls that they share with other sockets are in [`socket`](super::socket),
//! whose general rules hold here; descriptors in messages are in [`ancillary`](super::ancillary).

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, getpid};

use super::address::{from_kernel, unix_to_kernel};
pub use super::platform::peer_credentials;
use super::platform::{self, SEND_FLAGS};
use super::sim::net::{self, RecvFlags, SocketAddrAny, SocketType};
use super::sim::rw::ioctl_fionread;
use super::socket::SocketKind;
use super::{Address, Call};
use crate::sys::call::{retry, retry_errno, retry_new};

/// The credentials of the peer of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Credentials {
    /// The process, if the kernel reports it and it has a number in this namespace.
    pub(super) pid: Option<i32>,
    /// The user.
    pub(super) uid: u32,
    /// The group.
    pub(super) gid: u32,
}

impl Credentials {
    /// Returns the process ID in this process's namespace. `None` if the kernel does not report it (the
    /// BSDs), or if the peer lives in a PID namespace that is not visible from here.
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// Returns the effective user ID.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns the effective group ID.
    pub fn gid(&self) -> u32 {
        self.gid
    }
}

pub(super) fn kernel_kind(kind: SocketKind) -> SocketType {
    match kind {
        SocketKind::Stream => SocketType::STREAM,
        SocketKind::Datagram => SocketType::DGRAM,
        SocketKind::Seqpacket => SocketType::SEQPACKET,
    }
}

/// Returns whether the descriptor is a socket.
pub fn is_socket(fd: BorrowedFd<'_>) -> bool {
    is_kind(fd, SocketKind::Stream).is_ok()
}

/// Returns whether the socket is of this kind.
///
/// # Errors
///
/// Returns `ENOTSOCK` if the descriptor is no socket.
pub fn is_kind(fd: BorrowedFd<'_>, kind: SocketKind) -> io::Result<bool> {
    let found = retry(Call::GetOption, fd, || net::sockopt::socket_type(fd))?;
    Ok(found == kernel_kind(kind))
}

/// Creates two unnamed sockets that are connected to each other.
pub fn pair(kind: SocketKind) -> io::Result<(OwnedFd, OwnedFd)> {
    retry_new(Call::Socket, || platform::pair(kernel_kind(kind)))
}

/// Sets the socket's address. For a path the kernel creates a file, which it never removes.
///
/// # Errors
///
/// Returns `EADDRINUSE` if the file exists, whether or not a process listens there.
pub fn bind(fd: BorrowedFd<'_>, address: &SocketAddr) -> io::Result<()> {
    let address = unix_to_kernel(address)?;
    retry(Call::Bind, fd, || net::bind(fd, &address))
}

/// Connects. The call completes or fails at once; an interrupted one is repeated, and may find the socket
/// connected.
///
/// # Errors
///
/// Returns `EAGAIN` if the listener's queue is full: on Linux a non-blocking connect then fails, the kernel
/// does not continue, and no readiness reports space in the queue. The BSDs return `ECONNREFUSED`.
pub fn connect(fd: BorrowedFd<'_>, address: &SocketAddr) -> io::Result<()> {
    let address = unix_to_kernel(address)?;
    match retry_errno(Call::ConnectLocal, fd, || net::connect(fd, &address)) {
        Ok(()) | Err(Errno::ISCONN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Accepts one connection of a listener and returns it with the peer's address.
///
/// # Errors
///
/// As [`socket::accept`](super::socket::accept).
pub fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let (connection, peer) = retry(Call::Accept, fd, || platform::accept(fd))?;
    Ok((connection, name(peer)?))
}

/// Returns the local address. Without a path and an abstract name it is unnamed.
///
/// # Errors
///
/// Returns `EAFNOSUPPORT` if it is no Unix socket.
pub fn sock_name(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    name(Some(retry(Call::SockName, fd, || net::getsockname(fd))?))
}

/// Returns the peer's address, as [`sock_name`] does the local one.
///
/// # Errors
///
/// Returns `ENOTCONN` if there is no peer.
pub fn peer_name(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    name(retry(Call::PeerName, fd, || net::getpeername(fd))?)
}

pub(super) fn name(address: Option<SocketAddrAny>) -> io::Result<SocketAddr> {
    match from_kernel(address)? {
        Address::Unix(address) => Ok(*address),
        Address::Ip(_) => Err(Errno::AFNOSUPPORT.into()),
    }
}

/// Receives one message; the part that does not fit into `buffer` is lost. Fault injection shortens no such
/// receive, because what it cut off could not be read again.
pub fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    recv_with(fd, buffer, RecvFlags::empty()).map(|(n, _)| n)
}

/// Receives as [`recv`] does, and leaves the message in the queue.
pub fn peek(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    recv_with(fd, buffer, RecvFlags::PEEK).map(|(n, _)| n)
}

/// Receives as [`recv`] does, and returns the sender's address.
pub fn recv_from(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    let (n, from) = recv_with(fd, buffer, RecvFlags::empty())?;
    Ok((n, name(from)?))
}

/// Receives as [`peek`] does, and returns the sender's address.
pub fn peek_from(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    let (n, from) = recv_with(fd, buffer, RecvFlags::PEEK)?;
    Ok((n, name(from)?))
}

fn recv_with(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: RecvFlags,
) -> io::Result<(usize, Option<SocketAddrAny>)> {
    let (n, _, from) = retry(Call::Recv, fd, || net::recvfrom(fd, &mut *buffer, flags))?;
    Ok((n, from))
}

/// Sends one message to the connected peer, whole or not at all. Raises no `SIGPIPE`.
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    retry(Call::Send, fd, || net::send(fd, bytes, SEND_FLAGS))
}

/// Sends one message to an address, as [`send`] does.
///
/// # Errors
///
/// Returns `EAGAIN` if the receiver's queue is full. Linux then does not report when there is space again.
pub fn send_to(fd: BorrowedFd<'_>, bytes: &[u8], to: &SocketAddr) -> io::Result<usize> {
    let to = unix_to_kernel(to)?;
    retry(Call::Send, fd, || net::sendto(fd, bytes, SEND_FLAGS, &to))
}

/// Returns whether the reading half has ended: the peer closed or shut down its writing half, or this side
/// shut down its reading half. Messages may still be queued.
pub fn is_read_ended(fd: BorrowedFd<'_>) -> io::Result<bool> {
    retry(Call::Look, fd, || platform::is_read_ended(fd))
}

/// Returns how many bytes are queued, of all messages together.
pub fn queued(fd: BorrowedFd<'_>) -> io::Result<u64> {
    retry(Call::GetOption, fd, || ioctl_fionread(fd))
}

/// The file that a bind to a path has created.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
    /// The process that may remove the file. A forked child has a copy of the value, and must leave the file
    /// alone.
    finder: Pid,
}

/// The identity of a file: device, inode and modification time, because the inode of a deleted file may be
/// reused at once. Only utimes(2) changes that time of a socket.
#[derive(PartialEq, Eq, Debug)]
struct Identity {
    file: (u64, u64),
    made: (i64, i64),
}

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        retry_new(Call::FileStatus, || Ok(()))?;
        let found = std::fs::symlink_metadata(path)?;
        Ok(Self { file: (found.dev(), found.ino()), made: (found.mtime(), found.mtime_nsec()) })
    }
}

impl SocketFile {
    /// Finds the file that is there now. The path remains valid if the process changes its directory.
    ///
    /// # Errors
    ///
    /// Returns `ENOENT` if there is none.
    pub fn find(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let identity = Identity::of(&path)?;
        Ok(Self { path, identity, finder: getpid() })
    }

    /// Removes the file if it is still the same, and this process found it.
    ///
    /// # Errors
    ///
    /// Returns `ENOENT` if the file is gone; `EACCES` and other errors of unlink(2).
    pub fn remove(&self) -> io::Result<()> {
        if getpid() != self.finder {
            return Ok(());
        }
        if Identity::of(&self.path)? == self.identity {
            retry_new(Call::Unlink, || rustix::fs::unlink(&self.path))?;
        }
        Ok(())
    }
}
