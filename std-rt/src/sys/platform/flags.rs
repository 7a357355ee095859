//! Sockets and pipes that are close-on-exec and non-blocking from their creation, because the calls take
//! flags: all systems but Apple's.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;

pub use crate::sys::sim::net::sockopt::socket_acceptconn;
use crate::sys::sim::net::{self, AddressFamily, SendFlags, SocketAddrAny, SocketFlags, SocketType};
use crate::sys::sim::pipe::{PipeFlags, pipe_with};

/// The flags of every new socket.
const SOCK_FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// The flags of every send: a peer that is gone raises no `SIGPIPE`.
pub const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;

/// Calls socket(2).
pub fn socket(family: AddressFamily, kind: SocketType) -> Result<OwnedFd, Errno> {
    net::socket_with(family, kind, SOCK_FLAGS, None)
}

/// Calls socketpair(2) for Unix sockets.
pub fn pair(kind: SocketType) -> Result<(OwnedFd, OwnedFd), Errno> {
    net::socketpair(AddressFamily::UNIX, kind, SOCK_FLAGS, None)
}

/// Calls accept4(2).
pub fn accept(fd: BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    net::acceptfrom_with(fd, SOCK_FLAGS)
}

/// Calls pipe2(2); returns the end to read and the end to write.
pub fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
}
