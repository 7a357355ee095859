//! What the two kinds of connections have in common: how they come to be, and who is at the other end.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::SocketAddr;
use std::time::{Duration, Instant};

use super::watch;
use crate::error::OpError;
use crate::fd::Fd;
use crate::sys::socket::{Domain, SocketKind, socket};
use crate::sys::unix;
use crate::time;

/// The pauses of who waits for what the kernel does not report: each twice the one before, within these.
const SHORTEST: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_millis(10);

/// One pause after the other.
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Backoff { next: SHORTEST }
    }

    /// The length of the next pause.
    pub(super) fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(LONGEST);
        now
    }
}

/// Connects; tries again and again while the listener's queue is full, for the kernel tells nobody of room in it.
pub(super) async fn connect(kind: SocketKind, to: &SocketAddr, deadline: Option<Instant>) -> io::Result<Fd> {
    let failed =
        |error| io::Error::from(OpError::new("connect", error).between(None, Some(to.clone().into())));
    let fd = socket(Domain::Unix, kind).map_err(failed)?;
    let mut backoff = Backoff::new();
    loop {
        match unix::connect(fd.as_fd(), to) {
            // First the call and then the poller: a socket that is not connected yet would report a hang-up.
            Ok(()) => return watch("connect", fd),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(failed(error)),
        }
        let now = Instant::now();
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

/// Connections: `connect connect_addr connect_timeout pair local_addr peer_addr peer_cred dup`.
macro_rules! connection_methods {
    ($type:ident, $kind:expr) => {
        impl $type {
            /// Connects to the listener at a path. While its queue is full this waits: the kernel says no word of room, so
            /// it is tried again after 100 µs, and then after pauses that double up to 10 ms. Those who wait are served in
            /// no order.
            ///
            /// Dropped: the attempt is given up and its socket closed.
            ///
            /// # Errors
            ///
            /// The kernel's, with the path: `NotFound`, `ConnectionRefused` if nobody listens any more,
            /// `PermissionDenied`; `EPROTOTYPE` if what listens there is of another kind. `InvalidInput` for a path that
            /// is too long.
            pub async fn connect(path: impl AsRef<std::path::Path>) -> std::io::Result<Self> {
                $crate::coop::proceed().await;
                let address = $crate::net::unix::path_address("connect", path.as_ref())?;
                let fd = $crate::net::unix::connecting::connect($kind, &address, None).await?;
                Ok(Self { fd })
            }

            /// Connects to an address, which can be an [abstract name](crate::net::unix::abstract_address).
            ///
            /// Dropped: as [`connect`](Self::connect).
            ///
            /// # Errors
            ///
            /// As [`connect`](Self::connect).
            pub async fn connect_addr(address: &std::os::unix::net::SocketAddr) -> std::io::Result<Self> {
                $crate::coop::proceed().await;
                let fd = $crate::net::unix::connecting::connect($kind, address, None).await?;
                Ok(Self { fd })
            }

            /// Connects as [`connect_addr`](Self::connect_addr), and waits at most so long for room in the listener's
            /// queue; tries once at least.
            ///
            /// Dropped: as [`connect`](Self::connect).
            ///
            /// # Errors
            ///
            /// As [`connect`](Self::connect), and `TimedOut`.
            pub async fn connect_timeout(
                address: &std::os::unix::net::SocketAddr,
                timeout: std::time::Duration,
            ) -> std::io::Result<Self> {
                $crate::coop::proceed().await;
                // Beyond what the clock can count is for ever.
                let deadline = std::time::Instant::now().checked_add(timeout);
                let fd = $crate::net::unix::connecting::connect($kind, address, deadline).await?;
                Ok(Self { fd })
            }

            /// Two ends of one connection, neither with a name.
            ///
            /// # Errors
            ///
            /// `EMFILE`, `ENFILE`, those of watching a descriptor.
            pub fn pair() -> std::io::Result<(Self, Self)> {
                let (one, other) = $crate::net::unix::pair_of($kind)?;
                Ok((Self { fd: one }, Self { fd: other }))
            }

            /// The name of this side; that of an accepted connection is the listener's.
            ///
            /// # Errors
            ///
            /// Closed.
            pub fn local_addr(&self) -> std::io::Result<std::os::unix::net::SocketAddr> {
                self.option("local_addr", $crate::sys::unix::sock_name)
            }

            /// The name of the other side: the listener's, or most often none.
            ///
            /// # Errors
            ///
            /// Closed, `NotConnected` when the peer is gone.
            pub fn peer_addr(&self) -> std::io::Result<std::os::unix::net::SocketAddr> {
                self.option("peer_addr", $crate::sys::unix::peer_name)
            }

            /// Who made the other end: the process and the user that called connect, or listen, or made the pair. The
            /// kernel kept it then, so that it cannot be forged; but the peer may have passed its end on since, or ended
            /// and left its number to another process.
            ///
            /// # Errors
            ///
            /// Closed.
            pub fn peer_cred(&self) -> std::io::Result<$crate::net::unix::UCred> {
                self.option("peer_cred", $crate::sys::unix::peer_credentials)
            }

            /// A second handle on the same connection, with deadlines and queues of tasks of its own. What one reads the
            /// other does not; the connection ends when both are closed, or with [`shutdown`](Self::shutdown) of either.
            ///
            /// # Errors
            ///
            /// Closed; `EMFILE`.
            pub fn dup(&self) -> std::io::Result<Self> {
                let fd = self.fd.dup().map_err(|error| self.error("dup", error))?;
                Ok(Self { fd })
            }

            fn error(&self, op: &'static str, error: std::io::Error) -> std::io::Error {
                self.fd.error(op, error)
            }
        }

        $crate::net::methods::both_deadlines!($type);
        $crate::net::methods::connected_methods!($type);
        $crate::net::methods::descriptor_methods!($type);
        $crate::net::options::fd_options!($type);
        $crate::net::options::socket_options!($type);
    };
}

pub(super) use connection_methods;
