//! Apple systems: sockets and pipes from calls that take no flags.
//!
//! They become close-on-exec and non-blocking right after their creation, so a child that another thread
//! spawns in between inherits them. Nor does a send have a flag against `SIGPIPE`; there is a socket option
//! (`SO_NOSIGPIPE`), which is set here on every new socket. std sets it on its sockets too. An adopted socket
//! without it raises the signal, which Rust programs ignore by default.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::sockopt::set_socket_nosigpipe;
use rustix::net::{self, AddressFamily, SendFlags, SocketAddrAny, SocketFlags, SocketType};

/// The flags of every send.
pub const SEND_FLAGS: SendFlags = SendFlags::empty();

/// Calls socket(2).
pub fn socket(family: AddressFamily, kind: SocketType) -> Result<OwnedFd, Errno> {
    set_nosigpipe(net::socket(family, kind, None)?)
}

/// Calls socketpair(2) for Unix sockets.
pub fn pair(kind: SocketType) -> Result<(OwnedFd, OwnedFd), Errno> {
    let (one, other) = net::socketpair(AddressFamily::UNIX, kind, SocketFlags::empty(), None)?;
    Ok((set_nosigpipe(one)?, set_nosigpipe(other)?))
}

/// Calls accept(2).
pub fn accept(fd: BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    let (connection, peer) = net::acceptfrom(fd)?;
    match set_socket_nosigpipe(&connection, true) {
        // A connection that its peer has reset already returns `EINVAL` for every option. Nothing is ever
        // sent on it.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => return Err(errno),
    }
    Ok((set_cloexec_nonblock(connection)?, peer))
}

/// Sets `SO_NOSIGPIPE`, close-on-exec and non-blocking mode.
fn set_nosigpipe(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    set_socket_nosigpipe(&fd, true)?;
    set_cloexec_nonblock(fd)
}

/// Sets close-on-exec and non-blocking mode.
fn set_cloexec_nonblock(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
    ioctl_fionbio(&fd, true)?;
    Ok(fd)
}

/// Returns false: these systems declare `SO_ACCEPTCONN` and do not implement it. Their connect(2) refuses a
/// socket that listens.
pub fn socket_acceptconn(_fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(false)
}

/// Calls pipe(2); returns the end to read and the end to write. Both are close-on-exec and non-blocking.
pub fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (reader, writer) = rustix::pipe::pipe()?;
    Ok((set_cloexec_nonblock(reader)?, set_cloexec_nonblock(writer)?))
}
