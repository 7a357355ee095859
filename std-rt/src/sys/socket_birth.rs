//! New sockets, where the kernel makes them close-on-exec and non-blocking from their first moment: Linux and the BSDs.
//! [`socket_dressed.rs`](../socket_dressed.rs) is for the systems without.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SendFlags, SocketAddrAny, SocketFlags, SocketType};

const AT_BIRTH: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// With which everything is sent: a peer that is gone raises no `SIGPIPE`.
pub(super) const SENT: SendFlags = SendFlags::NOSIGNAL;

/// socket(2).
pub(super) fn socket(family: AddressFamily, kind: SocketType) -> Result<OwnedFd, Errno> {
    net::socket_with(family, kind, AT_BIRTH, None)
}

/// socketpair(2).
pub(super) fn pair(kind: SocketType) -> Result<(OwnedFd, OwnedFd), Errno> {
    net::socketpair(AddressFamily::UNIX, kind, AT_BIRTH, None)
}

/// accept4(2).
pub(super) fn accept(fd: BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    net::acceptfrom_with(fd, AT_BIRTH)
}
