//! Listeners for streams and for connections of messages.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use netpoll_core::Modes;

use super::{UnixSeqpacket, UnixStream, UnlinkOnDrop, bound, path_address, unlink_method};
use crate::fd::{Fd, FdKind};
use crate::net::Incoming;
use crate::net::incoming::{self, Accept};
use crate::net::methods::descriptor_methods;
use crate::net::options::{fd_options, socket_options};
use crate::sys::{socket, unix};

/// A listener of one kind and its connections.
macro_rules! listener {
    ($(#[$doc:meta])* $type:ident, $connection:ident, $kind:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $type {
            // Before the descriptor: nobody connects to a name whose socket is closing.
            pub(super) file: UnlinkOnDrop,
            pub(super) fd: Fd,
        }

        impl $type {
            /// Listens at a path, with the longest queue that the kernel allows. The file that this makes is not removed
            /// with the listener, unless it is told [`unlink_on_drop`](Self::unlink_on_drop).
            ///
            /// # Errors
            ///
            /// The kernel's, with the path: `AddrInUse` if the file is there, be it a living listener's or left over by a
            /// dead one; `NotFound` for the folder; `PermissionDenied`. `InvalidInput` for a path of more than 107 bytes
            /// (elsewhere than on Linux 103), or with a zero in it.
            pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
                Self::bind_addr(&path_address("bind", path.as_ref())?)
            }

            /// Listens at an address, which can be an [abstract name](crate::net::unix::abstract_address).
            ///
            /// # Errors
            ///
            /// As [`bind`](Self::bind); `InvalidInput` for an address without a name.
            pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
                Self::bind_with_backlog(address, socket::somaxconn())
            }

            /// Listens at an address with a queue for `backlog` connections that wait to be accepted, at most the kernel's
            /// own limit (`net.core.somaxconn`); Linux takes one more. Who connects to a full queue waits.
            ///
            /// # Errors
            ///
            /// As [`bind_addr`](Self::bind_addr).
            pub fn bind_with_backlog(address: &SocketAddr, backlog: i32) -> io::Result<Self> {
                let (file, fd) = bound($kind, address, Some(backlog))?;
                Ok(Self { file, fd })
            }

            /// The next connection and the peer's name, which most peers do not have: see
            #[doc = concat!("[`peer_cred`](", stringify!($connection), "::peer_cred) for who it is.")]
            /// Connections that were aborted while they waited are skipped.
            ///
            /// Several tasks may accept: they are served in order, and one connection wakes one of them.
            ///
            /// Dropped: no connection is lost.
            ///
            /// Not polled: it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Closed, `TimedOut` for the deadline, and the kernel's: without descriptors left (`EMFILE`, `ENFILE`) each
            /// call says so once, and the connection stays in the queue. [`incoming`](Self::incoming) waits instead.
            pub async fn accept(&self) -> io::Result<($connection, SocketAddr)> {
                incoming::accept(self).await
            }

            /// The connections one after the other, for the loop of a server: it waits when there are no descriptors left.
            pub fn incoming(&self) -> Incoming<'_, Self> {
                Incoming::new(self)
            }

            /// The name that it listens at.
            ///
            /// # Errors
            ///
            /// Closed.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.option("local_addr", unix::sock_name)
            }

            /// A second handle on the same listener, with a deadline and a queue of tasks of its own. A connection goes to
            /// whichever accepts it first, and the listener is open until both are closed.
            ///
            /// # Errors
            ///
            /// Closed; `EMFILE`.
            pub fn dup(&self) -> io::Result<Self> {
                let fd = self.fd.dup().map_err(|error| self.error("dup", error))?;
                Ok(Self { file: UnlinkOnDrop::default(), fd })
            }

            /// Sets the instant from which every accept fails with `TimedOut`, even if a connection waits. It stays in force until
            /// the next; `None` clears it. An accept that waits when it passes makes one last attempt.
            ///
            /// # Errors
            ///
            /// Closed.
            pub fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
                let set = self.fd.set_deadline(Modes::BOTH, deadline);
                set.map_err(|error| self.error("set_deadline", error))
            }

            fn error(&self, op: &'static str, error: io::Error) -> io::Error {
                self.fd.error(op, error)
            }
        }

        impl Accept for $type {
            type Peer = SocketAddr;
            type Connection = ($connection, SocketAddr);
            const KIND: FdKind = FdKind::Other;

            fn fd(&self) -> &Fd {
                &self.fd
            }

            fn take(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
                unix::accept(fd)
            }

            fn connection(fd: Fd, peer: SocketAddr) -> ($connection, SocketAddr) {
                ($connection { fd }, peer)
            }
        }

        unlink_method!($type);
        descriptor_methods!($type);
        fd_options!($type);
        socket_options!($type);
    };
}

listener! {
    /// Listens for connections of bytes, at a path or an abstract name.
    ///
    /// ```
    /// # use netpoll_rt::net::{UnixListener, UnixStream};
    /// # netpoll_rt::block_on(async {
    /// # let path = std::env::temp_dir().join(format!("netpoll-doc-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?.unlink_on_drop(true);
    /// let client = UnixStream::connect(&path).await?;
    /// let (server, _) = listener.accept().await?;
    /// assert_eq!(server.peer_cred()?.pid(), Some(std::process::id() as i32));
    /// client.write_all(b"hello").await?;
    /// # let mut buffer = [0; 5];
    /// server.read_exact(&mut buffer).await?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// Dropped: it is closed; connections that wait in the kernel's queue are reset.
    UnixListener, UnixStream, socket::SocketKind::Stream
}

listener! {
    /// Listens for connections of messages, at a path or an abstract name. macOS has none.
    ///
    /// Dropped: it is closed; connections that wait in the kernel's queue are reset.
    UnixSeqpacketListener, UnixSeqpacket, socket::SocketKind::Seqpacket
}
