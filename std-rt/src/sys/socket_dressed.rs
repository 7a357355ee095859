//! New sockets, where the kernel has no flags for them: Darwin. They become close-on-exec and non-blocking at once, but
//! not in the same moment; a process that another thread starts in between inherits them.
//! [`socket_birth.rs`](../socket_birth.rs) is for the others.
//!
//! Nor is there a flag that keeps a send from raising `SIGPIPE`; that is an option of the socket (`SO_NOSIGPIPE`), set
//! here for what is made here. Sockets of std have it too. One that was adopted without it raises the signal, which Rust
//! programs ignore by default.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::sockopt::set_socket_nosigpipe;
use rustix::net::{self, AddressFamily, SendFlags, SocketAddrAny, SocketFlags, SocketType};

/// With which everything is sent.
pub(super) const SENT: SendFlags = SendFlags::empty();

/// socket(2).
pub(super) fn socket(family: AddressFamily, kind: SocketType) -> Result<OwnedFd, Errno> {
    dressed(net::socket(family, kind, None)?)
}

/// socketpair(2).
pub(super) fn pair(kind: SocketType) -> Result<(OwnedFd, OwnedFd), Errno> {
    let (one, other) = net::socketpair(AddressFamily::UNIX, kind, SocketFlags::empty(), None)?;
    Ok((dressed(one)?, dressed(other)?))
}

/// accept(2).
pub(super) fn accept(fd: BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    let (connection, peer) = net::acceptfrom(fd)?;
    match set_socket_nosigpipe(&connection, true) {
        // What is left of a connection that its peer has reset already: `EINVAL` for every option. Nothing is ever sent
        // on it.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => return Err(errno),
    }
    Ok((hidden(connection)?, peer))
}

fn dressed(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    set_socket_nosigpipe(&fd, true)?;
    hidden(fd)
}

fn hidden(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
    ioctl_fionbio(&fd, true)?;
    Ok(fd)
}
