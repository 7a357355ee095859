//! Unix sockets: connections and messages between the processes of one machine, and the passing of open
//! files.
//!
//! | type | what it carries | the end |
//! |---|---|---|
//! | [`UnixStream`] | bytes, as TCP | a read of 0 |
//! | [`UnixSeqpacket`] | messages over a connection, kept apart and in order | a receive of 0, see there |
//! | [`UnixDatagram`] | messages of any sender that knows the name; in order, without loss | no end |
//!
//! # Names
//!
//! - A **path**: bind creates a file of the kind "socket", whose permissions control which users may connect.
//! - An **abstract name** ([`abstract_address`]): on Linux and Android, in no folder, gone with its socket,
//!   open to every user of the network namespace.
//! - **No name**: both ends of a pair, and most clients.
//!
//! # Removal of the file
//!
//! The file of a path stays when its socket is closed, as with std, and the next bind to the path fails with
//! `AddrInUse`, whether or not a socket listens there. A socket with
//! [`unlink_on_drop(true)`](UnixListener::unlink_on_drop) removes its file, if the file is still its own.
//! That is not the default, because the path may belong to more than this value: to a process that took the
//! listener over, or to a duplicate. It is never sufficient either, because a process that is killed removes
//! nothing. So a server removes the file of a dead predecessor before it binds; a lock on another file tells
//! whether the predecessor is dead.
//!
//! # Descriptors
//!
//! `send_fds` and `recv_fds` pass open files (`SCM_RIGHTS`), at most [`MAX_FDS`] with one message. The
//! receiver gets new numbers, which are close-on-exec, and which are closed if they are not taken. They share
//! the sender's open file: its position, and its flags, so a socket of this crate arrives non-blocking.

mod connection;
mod datagram;
mod methods;

use std::os::unix::net::{SocketAddr, UnixStream as StdStream};
use std::path::Path;

use super::methods::*;
pub use crate::sys::ancillary::MAX_FDS;
pub use crate::sys::unix::Credentials as UCred;

use crate::sys::{self, socket, unix};
use crate::time;
pub use connection::{UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream};
pub use datagram::UnixDatagram;

/// Returns the process and the user that created the other end of any connected Unix socket, as
/// [`UnixStream::peer_cred`] does.
///
/// # Errors
///
/// Returns the kernel's error.
pub fn peer_cred(socket: impl AsFd) -> io::Result<UCred> {
    unix::peer_credentials(socket.as_fd())
}

/// Accepts a connection of any Unix listener of bytes, as [`net::accept`](super::accept) does for TCP.
///
/// # Errors
///
/// Returns the kernel's error: `WouldBlock` if the listener is non-blocking and has no connection.
pub fn accept(listener: impl AsFd) -> io::Result<(StdStream, SocketAddr)> {
    let (connection, peer) = unix::accept(listener.as_fd())?;
    Ok((connection.into(), peer))
}

/// Returns the address of an abstract name: any bytes, without the zero in front.
///
/// # Errors
///
/// Returns `Unsupported` on systems other than Linux and Android; `InvalidInput` for more than 107 bytes.
pub fn abstract_address(name: impl AsRef<[u8]>) -> io::Result<SocketAddr> {
    sys::from_abstract_name(name.as_ref())
}

/// Returns the address of a path. An error tells the path.
fn path_address(op: &'static str, path: &Path) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname(path).map_err(|error| {
        let length = path.as_os_str().len();
        let why = format!("the path {} ({length} bytes): {error}", path.display());
        OpError::new(op, io::Error::new(error.kind(), why)).into()
    })
}

/// Registers a socket. Its short reads say nothing: reads stop at passed descriptors, with more bytes behind
/// them.
fn watch_unix(op: &'static str, fd: OwnedFd) -> io::Result<Fd> {
    Ok(watch(op, fd, FdKind::Other)?)
}

/// Creates a socket with a name, which listens if there is a backlog.
fn bound(
    kind: socket::SocketKind,
    address: &SocketAddr,
    backlog: Option<i32>,
) -> io::Result<(UnlinkOnDrop, Fd)> {
    let failed = |op| {
        move |error| io::Error::from(OpError::new(op, error).between(Some(address.clone().into()), None))
    };
    let fd = socket::socket(socket::Domain::Unix, kind).map_err(failed("bind"))?;
    unix::bind(fd.as_fd(), address).map_err(failed("bind"))?;
    if let Some(backlog) = backlog {
        socket::listen(fd.as_fd(), backlog).map_err(failed("listen"))?;
    }
    Ok((UnlinkOnDrop::made(address), watch_unix("bind", fd)?))
}

/// Creates two sockets that are connected to each other.
fn pair_of(kind: socket::SocketKind) -> io::Result<(Fd, Fd)> {
    let (one, other) = unix::pair(kind).map_err(|error| OpError::new("pair", error))?;
    Ok((watch_unix("pair", one)?, watch_unix("pair", other)?))
}

/// The delays of an operation that waits for an event that the kernel does not report: each is twice the one
/// before.
struct Backoff {
    next: Duration,
}

impl Backoff {
    const SHORTEST: Duration = Duration::from_micros(100);
    const LONGEST: Duration = Duration::from_millis(10);
    /// The delay of a poll, which does not know how often it was tried.
    const POLLED: Duration = Duration::from_millis(1);

    fn new() -> Self {
        Backoff { next: Self::SHORTEST }
    }

    /// Returns the next delay.
    fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(Self::LONGEST);
        now
    }
}

/// Connects. While the listener's queue is full it tries again and again, because the kernel does not report
/// free space in it.
async fn connect(kind: socket::SocketKind, to: &SocketAddr, deadline: Option<Instant>) -> io::Result<Fd> {
    let failed =
        |error| io::Error::from(OpError::new("connect", error).between(None, Some(to.clone().into())));
    let fd = socket::socket(socket::Domain::Unix, kind).map_err(failed)?;
    let mut backoff = Backoff::new();
    loop {
        match unix::connect(fd.as_fd(), to) {
            // The call comes before the registration: a socket that is not connected yet would report a
            // hang-up.
            Ok(()) => return watch_unix("connect", fd),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(failed(error)),
        }
        let now = time::now();
        let again = now.checked_add(backoff.next()).unwrap_or(now);
        match deadline {
            Some(deadline) if deadline <= now => {
                let full = "the listener's queue has been full until the deadline";
                return Err(failed(io::Error::new(io::ErrorKind::TimedOut, full)));
            }
            Some(deadline) => time::sleep_until(again.min(deadline)).await,
            None => time::sleep_until(again).await,
        }
    }
}

/// The file of a socket, which is removed with the socket if the user asks for that.
#[derive(Debug, Default)]
struct UnlinkOnDrop {
    file: Option<Box<unix::SocketFile>>,
    unlink: bool,
}

impl UnlinkOnDrop {
    /// Returns the file that a bind to this address has just created, if it has created one.
    fn made(address: &SocketAddr) -> Self {
        let file = address.as_pathname().and_then(|path| unix::SocketFile::find(path).ok());
        UnlinkOnDrop { file: file.map(Box::new), unlink: false }
    }

    /// Sets whether the file is removed. The file of a socket that was bound elsewhere is the one that is
    /// there now.
    fn set(&mut self, fd: &Fd, unlink: bool) {
        if unlink && self.file.is_none() {
            // A file that is not there any more need not be removed.
            let name = fd.with(unix::sock_name);
            *self = name.map_or_else(|_| UnlinkOnDrop::default(), |name| UnlinkOnDrop::made(&name));
        }
        self.unlink = unlink;
    }
}

impl Drop for UnlinkOnDrop {
    fn drop(&mut self) {
        if let Some(file) = self.file.as_ref().filter(|_| self.unlink) {
            // An error means that it is gone, or may not be removed any more; no caller is left to be told.
            let _ = file.remove();
        }
    }
}
