//! The calls for Unix sockets, whose addresses are names on this machine. What the other sockets have too is in
//! [`socket`](super::socket), and the rules of that file hold here; descriptors in messages are in
//! [`ancillary`](super::ancillary).

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::io::{Errno, ioctl_fionread, retry_on_intr};
use rustix::net::{self, RecvFlags, SocketAddrAny, SocketType};
use rustix::process::{Pid, getpid};

use super::address::{from_kernel, unix_to_kernel};
use super::socket::Kind;
use super::socket_birth::{self, SENT};
pub use super::unix_native::peer_credentials;
use super::{Address, Call, door, unix_native};

/// Who is at the other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Credentials {
    /// The process, where the kernel tells and can name it here.
    pub(super) pid: Option<i32>,
    /// The user.
    pub(super) uid: u32,
    /// The group.
    pub(super) gid: u32,
}

impl Credentials {
    /// The process, as this process would name it. `None` if the kernel does not tell (the BSDs), or if the peer lives
    /// in a namespace of processes that is out of sight.
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// The effective user.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The effective group.
    pub fn gid(&self) -> u32 {
        self.gid
    }
}

pub(super) fn kernel_kind(kind: Kind) -> SocketType {
    match kind {
        Kind::Stream => SocketType::STREAM,
        Kind::Datagram => SocketType::DGRAM,
        Kind::Seqpacket => SocketType::SEQPACKET,
    }
}

/// Whether it is a socket at all.
pub fn is_socket(fd: BorrowedFd<'_>) -> bool {
    is_kind(fd, Kind::Stream).is_ok()
}

/// Whether a socket is of this kind.
///
/// # Errors
///
/// `ENOTSOCK` for what is no socket.
pub fn is_kind(fd: BorrowedFd<'_>, kind: Kind) -> io::Result<bool> {
    let found = retry_on_intr(|| {
        door::ask(Call::GetOption, fd)?;
        net::sockopt::socket_type(fd)
    })?;
    Ok(found == kernel_kind(kind))
}

/// Two sockets without names, connected to each other.
pub fn pair(kind: Kind) -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(retry_on_intr(|| {
        door::ask_new(Call::Socket)?;
        socket_birth::pair(kernel_kind(kind))
    })?)
}

/// Gives the socket its name. For a path the kernel makes a file, which it never removes.
///
/// # Errors
///
/// `EADDRINUSE` if there is a file of that name, whether or not a process listens there.
pub fn bind(fd: BorrowedFd<'_>, address: &SocketAddr) -> io::Result<()> {
    let address = unix_to_kernel(address)?;
    Ok(retry_on_intr(|| {
        door::ask(Call::Bind, fd)?;
        net::bind(fd, &address)
    })?)
}

/// Connects. This is done at once or not at all: an interrupted call is made again, and may find that it is done.
///
/// # Errors
///
/// `EAGAIN` if the listener's queue is full: on Linux a connect that may not wait fails, nothing goes on in the kernel
/// and no readiness tells of room. The BSDs say `ECONNREFUSED`.
pub fn connect(fd: BorrowedFd<'_>, address: &SocketAddr) -> io::Result<()> {
    let address = unix_to_kernel(address)?;
    let connected = retry_on_intr(|| {
        door::ask(Call::ConnectLocal, fd)?;
        net::connect(fd, &address)
    });
    match connected {
        Ok(()) | Err(Errno::ISCONN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes one connection of a listener from the queue, with the peer's name.
///
/// # Errors
///
/// As those of [`socket::accept`](super::socket::accept).
pub fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let (connection, peer) = retry_on_intr(|| {
        door::ask(Call::Accept, fd)?;
        socket_birth::accept(fd)
    })?;
    Ok((connection, name(peer)?))
}

/// The name on this side; one without a path and without an abstract name is unnamed.
///
/// # Errors
///
/// `EAFNOSUPPORT` if it is no Unix socket.
pub fn sock_name(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    name(Some(retry_on_intr(|| {
        door::ask(Call::SockName, fd)?;
        net::getsockname(fd)
    })?))
}

/// The name on the other side, as [`sock_name`].
///
/// # Errors
///
/// `ENOTCONN` if there is no other side.
pub fn peer_name(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    name(retry_on_intr(|| {
        door::ask(Call::PeerName, fd)?;
        net::getpeername(fd)
    })?)
}

pub(super) fn name(address: Option<SocketAddrAny>) -> io::Result<SocketAddr> {
    match from_kernel(address)? {
        Address::Unix(address) => Ok(*address),
        Address::Ip(_) => Err(Errno::AFNOSUPPORT.into()),
    }
}

/// Receives one message, or as much of it as there is room for: the rest is lost. No fault shortens the room, for what
/// it cut off could not be read again.
pub fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    recv_with(fd, buffer, RecvFlags::empty()).map(|(n, _)| n)
}

/// As [`recv`], and leaves the message in the queue.
pub fn peek(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    recv_with(fd, buffer, RecvFlags::PEEK).map(|(n, _)| n)
}

/// As [`recv`], with the sender's name.
pub fn recv_from(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    let (n, from) = recv_with(fd, buffer, RecvFlags::empty())?;
    Ok((n, name(from)?))
}

/// As [`peek`], with the sender's name.
pub fn peek_from(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    let (n, from) = recv_with(fd, buffer, RecvFlags::PEEK)?;
    Ok((n, name(from)?))
}

fn recv_with(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: RecvFlags,
) -> io::Result<(usize, Option<SocketAddrAny>)> {
    let (n, _, from) = retry_on_intr(|| {
        door::ask(Call::Recv, fd)?;
        net::recvfrom(fd, &mut *buffer, flags)
    })?;
    Ok((n, from))
}

/// Sends one message, whole or not at all, to where the socket is connected. Raises no `SIGPIPE`.
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(retry_on_intr(|| {
        door::ask(Call::Send, fd)?;
        net::send(fd, bytes, SENT)
    })?)
}

/// As [`send`], to the socket of that name.
///
/// # Errors
///
/// `EAGAIN` if its queue is full. Linux then promises no writability for when there is room again.
pub fn send_to(fd: BorrowedFd<'_>, bytes: &[u8], to: &SocketAddr) -> io::Result<usize> {
    let to = unix_to_kernel(to)?;
    Ok(retry_on_intr(|| {
        door::ask(Call::Send, fd)?;
        net::sendto(fd, bytes, SENT, &to)
    })?)
}

/// Whether the reading half has ended: the peer closed or shut down its writing, or this side its reading. Messages may
/// still be queued.
pub fn is_read_ended(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(retry_on_intr(|| {
        door::ask(Call::Look, fd)?;
        unix_native::is_read_ended(fd)
    })?)
}

/// How many bytes are queued, of all messages together.
pub fn queued(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(retry_on_intr(|| {
        door::ask(Call::GetOption, fd)?;
        ioctl_fionread(fd)
    })?)
}

/// The file that a bind to a path has made.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
    /// Who removes it. A child that was forked from this process has a copy of the value, and leaves the file alone.
    finder: Pid,
}

/// What a file is known again by: device and inode, and when it was made, for the inode of a file that is gone may be
/// another's at once. Nothing but utimes(2) changes that time of a socket.
#[derive(PartialEq, Eq, Debug)]
struct Identity {
    file: (u64, u64),
    made: (i64, i64),
}

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        retry_on_intr(|| door::ask_new(Call::FileStatus))?;
        let found = std::fs::symlink_metadata(path)?;
        Ok(Self { file: (found.dev(), found.ino()), made: (found.mtime(), found.mtime_nsec()) })
    }
}

impl SocketFile {
    /// The file that is there now. The path holds even if the process changes its directory.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is none.
    pub fn find(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let identity = Identity::of(&path)?;
        Ok(Self { path, identity, finder: getpid() })
    }

    /// Removes the file if it is still the same, and this is the process that found it.
    ///
    /// # Errors
    ///
    /// `ENOENT` if it is gone; `EACCES` and others of unlink(2).
    pub fn remove(&self) -> io::Result<()> {
        if getpid() != self.finder {
            return Ok(());
        }
        if Identity::of(&self.path)? == self.identity {
            retry_on_intr(|| {
                door::ask_new(Call::Unlink)?;
                rustix::fs::unlink(&self.path)
            })?;
        }
        Ok(())
    }
}
