//! Unix sockets: connections and messages between the processes of one machine, and open files that change hands.
//!
//! | type | what it carries | the end |
//! |---|---|---|
//! | [`UnixStream`] | bytes, as TCP | a read of 0 |
//! | [`UnixSeqpacket`] | messages over a connection, kept apart and in order | a receive of 0, see there |
//! | [`UnixDatagram`] | messages, from anyone who knows the name; in order, none lost | none |
//!
//! # Names
//!
//! A **path**: a file of the kind "socket", made by bind, with permissions that say who may connect. An **abstract
//! name** ([`abstract_address`]): on Linux and Android, in no folder, gone with its socket, open to every user of the
//! network namespace. **None**, as both ends of a pair and most clients.
//!
//! # Who removes the file
//!
//! Nobody, unless it is asked for: a path that was bound stays when its socket is closed, as with std, and the next bind
//! to it fails with `AddrInUse`, whether or not anybody listens. A socket that is told
//! [`unlink_on_drop(true)`](UnixListener::unlink_on_drop) removes its file, if it is still its own. That is not the
//! default, because the path may belong to more than this value: to a process that took the listener over, or to a
//! duplicate. And it never is enough: a process that is killed removes nothing, so a server removes the file of a dead
//! predecessor before it binds; a lock on another file says whether it is dead.
//!
//! # Descriptors
//!
//! `send_fds` and `recv_fds` pass open files (`SCM_RIGHTS`), at most [`MAX_FDS`] with one message. The receiver gets new
//! numbers, close-on-exec, that are closed if nobody takes them. They share the sender's open file: its position, its
//! flags, so that a socket of this crate arrives non-blocking.

mod connecting;
mod datagram;
mod listener;
mod messages;
mod seqpacket;
mod std_conversion;
mod stream;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;

use crate::error::OpError;
use crate::fd::{Fd, FdKind};
use crate::netpoll::Netpoll;
pub use crate::sys::ancillary::MAX_FDS;
pub use crate::sys::unix::Credentials as UCred;
use crate::sys::{self, unix};
pub use datagram::UnixDatagram;
pub use listener::{UnixListener, UnixSeqpacketListener};
pub use seqpacket::UnixSeqpacket;
pub use stream::UnixStream;

/// The address of an abstract name: any bytes, without the zero in front.
///
/// # Errors
///
/// `Unsupported` where the kernel has none, as everywhere but on Linux and Android; `InvalidInput` for more than 107
/// bytes.
pub fn abstract_address(name: impl AsRef<[u8]>) -> io::Result<SocketAddr> {
    sys::from_abstract_name(name.as_ref())
}

/// The address of a path; an error says which path it was.
fn path_address(op: &'static str, path: &Path) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname(path).map_err(|error| {
        let length = path.as_os_str().len();
        let why = format!("the path {} ({length} bytes): {error}", path.display());
        OpError::new(op, io::Error::new(error.kind(), why)).into()
    })
}

/// A socket with a name of its own, before anything watches it.
fn bound(
    kind: sys::socket::SocketKind,
    address: &SocketAddr,
    backlog: Option<i32>,
) -> io::Result<(UnlinkOnDrop, Fd)> {
    let failed = |op| {
        move |error| io::Error::from(OpError::new(op, error).between(Some(address.clone().into()), None))
    };
    let fd = sys::socket::socket(sys::socket::Domain::Unix, kind).map_err(failed("bind"))?;
    unix::bind(fd.as_fd(), address).map_err(failed("bind"))?;
    if let Some(backlog) = backlog {
        sys::socket::listen(fd.as_fd(), backlog).map_err(failed("listen"))?;
    }
    Ok((UnlinkOnDrop::made(address), watch("bind", fd)?))
}

/// Two sockets that are connected to each other.
fn pair_of(kind: sys::socket::SocketKind) -> io::Result<(Fd, Fd)> {
    let (one, other) = unix::pair(kind).map_err(|error| OpError::new("pair", error))?;
    Ok((watch("pair", one)?, watch("pair", other)?))
}

/// Gives a socket to the poller of this thread's runtime. A short read of it never says anything: reads stop at passed
/// descriptors, with more behind them.
fn watch(op: &'static str, fd: OwnedFd) -> io::Result<Fd> {
    let watched = Netpoll::current().and_then(|netpoll| Fd::new(netpoll, fd, FdKind::Other));
    watched.map_err(|error| OpError::new(op, error).into())
}

/// The file that goes with a socket, if its owner wants that.
#[derive(Debug, Default)]
struct UnlinkOnDrop {
    file: Option<Box<unix::SocketFile>>,
    /// It goes with the socket.
    goes: bool,
}

impl UnlinkOnDrop {
    /// The file that a bind to this address has just made, if it has made one.
    fn made(address: &SocketAddr) -> Self {
        let file = address.as_pathname().and_then(|path| unix::SocketFile::find(path).ok());
        UnlinkOnDrop { file: file.map(Box::new), goes: false }
    }

    /// Says whether the file goes with its socket. A socket that was bound elsewhere has the file that is there now.
    fn goes_with(&mut self, fd: &Fd, goes: bool) {
        self.goes = goes;
        if goes && self.file.is_none() {
            // A file that is not there any more need not be removed.
            let name = fd.with(unix::sock_name);
            *self = name.map_or_else(|_| UnlinkOnDrop::default(), |name| UnlinkOnDrop::made(&name));
            self.goes = goes;
        }
    }

    /// The socket goes on without this value, and so does its file.
    fn keep(&mut self) {
        self.goes = false;
    }
}

impl Drop for UnlinkOnDrop {
    fn drop(&mut self) {
        if let Some(file) = self.file.as_ref().filter(|_| self.goes) {
            // Gone already, or not ours to remove any more: either way there is nobody to tell.
            let _ = file.remove();
        }
    }
}

/// Whose file is removed: `unlink_on_drop`, for a type with the fields `file` and `fd`, `file` first.
macro_rules! unlink_method {
    ($type:ty) => {
        impl $type {
            /// Sets whether the file of the path that it is bound to is removed when this value is dropped. It is not unless
            /// it is asked for; [the module](crate::net::unix) says why.
            ///
            /// Only the file that the bind has made is removed, before the socket is closed; what another process has bound
            /// at the path since stays. (Of a socket that was bound elsewhere and adopted, it is the file that is there at
            /// this call.) A file whose time of change was set by hand counts as another. Given away with `into_std`, the
            /// socket keeps its file. Without effect on abstract names.
            ///
            /// ```no_run
            /// # fn main() -> std::io::Result<()> {
            #[doc = concat!("let socket = netpoll_rt::net::", stringify!($type), "::bind(\"/run/user/1000/socket\")?")]
            ///     .unlink_on_drop(true);
            /// # Ok(())
            /// # }
            /// ```
            #[must_use = "the file goes with the value that this returns"]
            pub fn unlink_on_drop(mut self, unlink: bool) -> Self {
                self.file.goes_with(&self.fd, unlink);
                self
            }
        }
    };
}

use unlink_method;
