//! The methods that several kinds of Unix sockets share.
//!
//! See [`methods`](crate::net::methods) for why this is a macro.

use std::io;

use crate::coop::Moved;
use crate::fd::Fd;
use crate::sys::{ancillary, unix};

impl Moved for ancillary::Received {
    fn bytes(&self) -> usize {
        self.n
    }
}

/// The moment at which the kernel is asked for the end of the messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum EofCheck {
    /// The moment after the poller has seen a hang-up, which comes before a task would wait in vain.
    AfterHangUp,
    /// The moment of the call, for an operation that does not wait.
    Always,
}

/// Receives on a socket whose kernel reports the end by itself.
pub(super) fn recv_as_is<T>(
    _fd: &Fd,
    _check: EofCheck,
    mut receive: impl FnMut() -> io::Result<T>,
    _end: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    receive()
}

/// Receives on a datagram socket. After its reading half was shut down, such a socket reports `WouldBlock`
/// for ever, while poll(2) reports the end: then this returns `end`.
pub(super) fn recv_or_eof<T>(
    fd: &Fd,
    check: EofCheck,
    mut receive: impl FnMut() -> io::Result<T>,
    end: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let received = receive();
    let is_empty = |result: &io::Result<T>| {
        result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    };
    if !is_empty(&received)
        || (check == EofCheck::AfterHangUp && !fd.has_hung_up())
        || !fd.with(unix::is_read_ended)?
    {
        return received;
    }
    // A message may have come before the shutdown and after the first attempt. No message comes later.
    let received = receive();
    if is_empty(&received) { end() } else { received }
}

/// Writes groups of methods into a type that has a field `fd` and the functions `wrap` and `into_fd`.
macro_rules! unix_methods {
    ($type:ident: $($group:ident($($argument:tt)*)),+ $(,)?) => {
        $($crate::net::unix::methods::unix_methods!(@$group $type, $($argument)*);)+
    };

    // Sockets with a path: the file that is removed with the socket. The type has a field `file` before `fd`.
    (@file $type:ident,) => {
        impl $type {
            /// Sets whether the file of its path is removed when this value is dropped. The default is that
            /// it stays; [the module](crate::net::unix) says why.
            ///
            /// Only the file that its bind has created is removed, before the socket is closed. A file that
            /// another process has bound at the path since stays. (For a socket that was bound elsewhere and
            /// adopted, it is the file that is there at this call.) A file whose time of change was set by
            /// hand counts as another. After `into_std` the file stays. Without effect on abstract names.
            ///
            /// ```no_run
            /// # fn main() -> std::io::Result<()> {
            #[doc = concat!("let socket = netpoll_rt::net::", stringify!($type), "::bind(\"/run/user/1000/socket\")?")]
            ///     .unlink_on_drop(true);
            /// # Ok(())
            /// # }
            /// ```
            #[must_use = "the file is removed with the value that this returns"]
            pub fn unlink_on_drop(mut self, unlink: bool) -> Self {
                self.file.set(&self.fd, unlink);
                self
            }

            pub(super) fn wrap(fd: Fd) -> Self {
                Self { file: UnlinkOnDrop::default(), fd }
            }

            fn into_fd(mut self) -> Fd {
                // The socket continues without this value, and so does its file.
                self.file.unlink = false;
                self.fd
            }
        }
    };

    // Sockets with a name. `$backlog` is `Some` for a listener.
    (@bind $type:ident, $kind:expr, $backlog:expr) => {
        impl $type {
            /// Binds a socket to a path. A listener gets the longest queue that the kernel allows. The file
            /// that this creates stays when the socket is dropped, unless
            /// [`unlink_on_drop`](Self::unlink_on_drop) is set.
            ///
            /// # Errors
            ///
            /// Returns the kernel's error, with the path: `AddrInUse` if the file exists, whether its socket
            /// is alive or dead; `NotFound` if the folder does not exist; `PermissionDenied`. Returns
            /// `InvalidInput` for a path of more than 107 bytes (103 on systems other than Linux), or with a
            /// zero in it.
            pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
                Self::bind_addr(&path_address("bind", path.as_ref())?)
            }

            /// Binds a socket to an address, which can be an
            /// [abstract name](crate::net::unix::abstract_address).
            ///
            /// # Errors
            ///
            /// Returns the errors of [`bind`](Self::bind); `InvalidInput` for an address without a name.
            pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
                let (file, fd) = bound($kind, address, $backlog)?;
                Ok(Self { file, fd })
            }

            /// Returns the name of this socket.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.call("local_addr", unix::sock_name)
            }
        }

        $crate::net::unix::methods::unix_methods!(@file $type,);
    };

    // Listeners. `$kind` is the kind of their sockets, `$connection` what they accept.
    (@listener $type:ident, $connection:ident, $kind:expr) => {
        impl $type {
            /// Listens at an address with a queue for `backlog` connections that wait to be accepted, at most
            /// the kernel's own limit (`net.core.somaxconn`); Linux takes one more. A client that connects to
            /// a full queue waits.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`bind_addr`](Self::bind_addr).
            pub fn bind_with_backlog(address: &SocketAddr, backlog: i32) -> io::Result<Self> {
                let (file, fd) = bound($kind, address, Some(backlog))?;
                Ok(Self { file, fd })
            }
        }

        impl Accept for $type {
            type Peer = SocketAddr;
            type Connection = ($connection, SocketAddr);
            const KIND: FdKind = FdKind::Other;

            fn take(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
                unix::accept(fd)
            }

            fn connection(fd: Fd, peer: SocketAddr) -> ($connection, SocketAddr) {
                ($connection::wrap(fd), peer)
            }
        }

        $crate::net::unix::methods::unix_methods!(@bind $type, $kind, Some(socket::somaxconn()));
        $crate::net::methods::methods!($type: listener($connection, SocketAddr), descriptor, dup);
        $crate::net::options::option_methods!($type: buffers);
    };

    // Connections. `$kind` is the kind of their sockets.
    (@connection $type:ident, $kind:expr) => {
        impl $type {
            /// Connects to the listener at a path. While the queue of the listener is full, it waits: the
            /// kernel does not report free space there, so this tries again after 100 µs, and then after
            /// delays that double up to 10 ms. Tasks that wait are served in no order.
            ///
            /// # Cancel safety
            ///
            /// Dropped before it is ready: the attempt ends and its socket is closed.
            ///
            /// # Errors
            ///
            /// Returns the kernel's error, with the path: `NotFound`; `ConnectionRefused` if the listener is
            /// closed; `PermissionDenied`; `EPROTOTYPE` if the listener is of another kind. Returns
            /// `InvalidInput` for a path that is too long.
            pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
                coop::proceed().await;
                let address = path_address("connect", path.as_ref())?;
                connect($kind, &address, None).await.map(Self::wrap)
            }

            /// Connects to an address, which can be an [abstract name](crate::net::unix::abstract_address).
            ///
            /// # Cancel safety
            ///
            /// Dropped before it is ready: the attempt ends and its socket is closed.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`connect`](Self::connect).
            pub async fn connect_addr(address: &SocketAddr) -> io::Result<Self> {
                coop::proceed().await;
                connect($kind, address, None).await.map(Self::wrap)
            }

            /// Connects as [`connect_addr`](Self::connect_addr) does, and waits at most this long for free
            /// space in the listener's queue. It tries at least once.
            ///
            /// # Cancel safety
            ///
            /// Dropped before it is ready: the attempt ends and its socket is closed.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`connect`](Self::connect), and `TimedOut`.
            pub async fn connect_timeout(address: &SocketAddr, timeout: Duration) -> io::Result<Self> {
                coop::proceed().await;
                // A deadline beyond the range of the clock never comes.
                let deadline = $crate::time::now().checked_add(timeout);
                connect($kind, address, deadline).await.map(Self::wrap)
            }

            /// Creates two ends of one connection, which have no names.
            ///
            /// # Errors
            ///
            /// Returns an error if no descriptor is free (`EMFILE`, `ENFILE`); the error of the registration.
            pub fn pair() -> io::Result<(Self, Self)> {
                let (one, other) = pair_of($kind)?;
                Ok((Self::wrap(one), Self::wrap(other)))
            }

            /// Returns the name of this side; the name of an accepted connection is the listener's.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.call("local_addr", unix::sock_name)
            }

            /// Returns the name of the other side: the listener's, or most often no name.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; `NotConnected` if the peer is gone.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.call("peer_addr", unix::peer_name)
            }

            /// Returns the process and the user that created the other end, by connect, listen or pair. The
            /// kernel stored them then, so they cannot be forged. But the peer may have passed its end on
            /// since, or may have ended and left its process number to another process.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed.
            pub fn peer_cred(&self) -> io::Result<$crate::net::unix::UCred> {
                self.call("peer_cred", unix::peer_credentials)
            }

            pub(super) fn wrap(fd: Fd) -> Self {
                Self { fd }
            }

            fn into_fd(self) -> Fd {
                self.fd
            }
        }

        $crate::net::methods::methods!($type: fd, connected, deadline, descriptor, dup);
        $crate::net::options::option_methods!($type: buffers);
    };

    // Messages. `$receive` is `recv_as_is` or `recv_or_eof`; `$zero` says what a receive of 0 is.
    (@messages $type:ident, $receive:path, $zero:literal) => {
        impl $type {
            /// Receives one message, as much of it as `buffer` has space for; the rest is lost. Several tasks
            /// may receive; each message goes to one of them.
            ///
            #[doc = $zero]
            ///
            /// # Cancel safety
            ///
            /// Dropped early, the future received nothing. Unpolled, it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; `TimedOut` if the read deadline passes; the kernel's others.
            pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
                let received = self.fd.shared(Mode::Read, |fd| {
                    $receive(&self.fd, EofCheck::AfterHangUp, || unix::recv(fd, buffer), || Ok(0))
                });
                received.await.map_err(|error| self.error("recv", error))
            }

            /// Receives one message as [`recv`](Self::recv) does, and never waits.
            ///
            /// # Errors
            ///
            /// Returns `WouldBlock` if there is no message; the other errors of [`recv`](Self::recv).
            pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
                let received = self.fd.try_shared(Mode::Read, |fd| {
                    $receive(&self.fd, EofCheck::Always, || unix::recv(fd, buffer), || Ok(0))
                });
                self.attempted("recv", received)
            }

            /// Receives one message as [`recv`](Self::recv) does, and leaves it in the queue.
            ///
            /// # Cancel safety
            ///
            /// Dropped early, the future did nothing. Unpolled, it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Returns the errors of [`recv`](Self::recv).
            pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
                let peeked = self.fd.shared(Mode::Read, |fd| {
                    $receive(&self.fd, EofCheck::AfterHangUp, || unix::peek(fd, buffer), || Ok(0))
                });
                peeked.await.map_err(|error| self.error("peek", error))
            }

            /// Sends one message, whole or not at all, to the socket that this one is connected to; waits
            /// while there is no space for it.
            ///
            /// # Cancel safety
            ///
            /// Dropped early, the future sent nothing. Unpolled, it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; `TimedOut` if the write deadline passes; `EMSGSIZE` for a
            /// message that is larger than the send buffer; `NotConnected`; `BrokenPipe`, `ConnectionReset`
            /// or `ConnectionRefused` if the other end is gone. A kernel that says `ENOBUFS` for a full queue
            /// (the BSDs) makes it fail at once.
            pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
                let sent = self.fd.shared(Mode::Write, |fd| unix::send(fd, bytes));
                sent.await.map_err(|error| self.error("send", error))
            }

            /// Sends one message as [`send`](Self::send) does, and never waits.
            ///
            /// # Errors
            ///
            /// Returns `WouldBlock` if there is no space; the other errors of [`send`](Self::send).
            pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
                self.attempted("send", self.fd.try_shared(Mode::Write, |fd| unix::send(fd, bytes)))
            }

            /// Sends one message, which may be empty, with descriptors. They stay open on this side.
            ///
            /// # Cancel safety
            ///
            /// Dropped early, the future sent nothing. Unpolled, it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Returns the errors of [`send`](Self::send); `InvalidInput` for more than
            /// [`MAX_FDS`](crate::net::unix::MAX_FDS) descriptors; `ETOOMANYREFS` if more are in flight than
            /// this process may have open.
            pub async fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
                let sent = self.fd.shared(Mode::Write, |fd| ancillary::send(fd, bytes, None, fds));
                sent.await.map_err(|error| self.error("send_fds", error))
            }

            /// Receives one message as [`recv`](Self::recv) does, with up to `max` descriptors that came with
            /// it (at most [`MAX_FDS`](crate::net::unix::MAX_FDS)). They are close-on-exec. Any other method
            /// of receiving closes them.
            ///
            /// # Cancel safety
            ///
            /// Dropped early, the future received nothing. Unpolled, it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Returns the errors of [`recv`](Self::recv); `InvalidData` if more descriptors came than `max`,
            /// or than this process may have open. All of them are closed then, and the message is lost.
            pub async fn recv_fds(&self, buffer: &mut [u8], max: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
                let received = self.fd.shared(Mode::Read, |fd| {
                    let receive = || ancillary::recv(fd, buffer, max);
                    $receive(&self.fd, EofCheck::AfterHangUp, receive, || Ok(ancillary::Received::end()))
                });
                let received = received.await.map_err(|error| self.error("recv_fds", error))?;
                Ok((received.n, received.fds))
            }
        }

        $crate::net::methods::methods!(
            $type: readable("try_recv"), writable("try_send"), try_io(true), read_deadline, write_deadline
        );
    };
}

pub(super) use unix_methods;
