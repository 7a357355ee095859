//! The methods that several types share, each written and documented once.
//!
//! Generic functions do the work: those of [`Fd`], and those of [`Descriptor`], which adds to an error the
//! operation, the number and the addresses. The methods that remain are the ones that a user finds in the
//! documentation of each type. A user would have to import a common trait, and a common inner type behind
//! `Deref` would be part of the public interface. So [`methods!`] writes the methods of a named group into a
//! type. Three more macros do the same for other groups: `byte_methods!` (`net/bytes.rs`), `option_methods!`
//! (`net/options.rs`) and `unix_methods!` (`net/unix/methods.rs`).
//!
//! A file that uses one of them imports this module by glob. That brings the names that the methods mention.

use std::pin::Pin;

pub(crate) use std::io::{self, IoSlice, IoSliceMut};
pub(crate) use std::mem::MaybeUninit;
pub(crate) use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
pub(crate) use std::task::{Context, Poll};
pub(crate) use std::time::{Duration, Instant};

pub(crate) use netpoll_core::{Mode, Modes};

pub(crate) use super::async_fd::Interest;
pub(crate) use super::incoming::{Accept, Incoming};
pub(crate) use super::stream::{ByteRead, ByteWrite, ReadBuffer};
pub(crate) use crate::coop;
pub(crate) use crate::error::OpError;
pub(crate) use crate::fd::{Fd, FdKind, ReadMode, WriteMode};
use crate::netpoll::Netpoll;
use crate::sys::{FdOwner, SharedFd, socket};

/// A type with an [`Fd`].
pub trait Descriptor {
    /// The owner of the number.
    type Owner: FdOwner;

    /// Returns the descriptor.
    fn fd(&self) -> &Fd<Self::Owner>;

    /// Returns the error with the operation, the number and the addresses that it concerns.
    fn error(&self, op: &'static str, error: io::Error) -> io::Error {
        self.fd().error(op, error)
    }

    /// Makes a call that never waits.
    fn call<T>(&self, op: &'static str, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        self.fd().with(call).map_err(|error| self.error(op, error))
    }

    /// Describes the error of one attempt, unless it is `WouldBlock`: that is an answer, and needs no
    /// addresses.
    fn attempted<T>(&self, op: &'static str, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => error,
            _ => self.error(op, error),
        })
    }

    /// Describes the error of a deadline. Out of line, because a deadline may be set before each read.
    #[inline]
    fn deadline_set(&self, op: &'static str, set: io::Result<()>) -> io::Result<()> {
        #[cold]
        #[inline(never)]
        fn refused<D: Descriptor + ?Sized>(of: &D, op: &'static str, error: io::Error) -> io::Error {
            of.error(op, error)
        }
        set.map_err(|error| refused(self, op, error))
    }
}

/// Registers a descriptor with the poller of this thread's runtime.
pub(crate) fn watch(op: &'static str, fd: OwnedFd, kind: FdKind) -> Result<Fd, OpError> {
    let number = fd.as_raw_fd();
    let watched = Netpoll::current().and_then(|netpoll| Fd::new(netpoll, fd, kind));
    watched.map_err(|error| OpError::new(op, error).on(number))
}

/// Makes a descriptor that was opened elsewhere non-blocking, and registers it. A short read of it says
/// nothing, since what was done to it before is unknown.
pub(crate) fn adopt(op: &'static str, fd: OwnedFd) -> io::Result<Fd> {
    let number = fd.as_raw_fd();
    socket::set_nonblocking(fd.as_fd(), true).map_err(|error| OpError::new(op, error).on(number))?;
    Ok(watch(op, fd, FdKind::Other)?)
}

/// Deregisters a descriptor and returns it.
pub(crate) fn give_away(op: &'static str, fd: Fd<SharedFd>) -> io::Result<OwnedFd> {
    fd.into_owned().map_err(|error| OpError::new(op, error).into())
}

/// A future that maps the error of an operation.
pub(crate) struct MapErr<O, E> {
    operation: O,
    map: E,
}

/// Maps the error of `operation` by `map`. The future is as large as the two together, and smaller than an
/// async block.
#[inline]
pub(crate) fn map_err<T, O, E>(operation: O, map: E) -> MapErr<O, E>
where
    O: Future<Output = io::Result<T>> + Unpin,
    E: FnMut(io::Error) -> io::Error + Unpin,
{
    MapErr { operation, map }
}

impl<T, O, E> Future for MapErr<O, E>
where
    O: Future<Output = io::Result<T>> + Unpin,
    E: FnMut(io::Error) -> io::Error + Unpin,
{
    type Output = io::Result<T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match Pin::new(&mut self.operation).poll(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err((self.map)(error))),
            polled => polled,
        }
    }
}

/// Writes groups of methods into a type that has a field `fd`. Each arm that begins with `@` is a group.
///
/// `methods!(TcpStream: deadlines, dup)` names a type, `methods!([T: AsFd] AsyncFd<T>: deadlines)` a generic
/// one.
macro_rules! methods {
    ($type:ident: $($groups:tt)*) => {
        $crate::net::methods::methods!([] $type: $($groups)*);
    };
    ($generics:tt $type:ty: $($group:ident $(($($argument:tt)*))?),+) => {
        $($crate::net::methods::methods!(@$group $generics $type, $($($argument)*)?);)+
    };

    // The descriptor itself.
    (@fd [] $type:ty,) => {
        impl Descriptor for $type {
            type Owner = $crate::sys::SharedFd;

            #[inline]
            fn fd(&self) -> &Fd {
                &self.fd
            }
        }
    };

    // Any descriptor of this crate.
    (@descriptor [] $type:ty,) => {
        impl $type {
            /// Closes it: every task that waits on it fails with an error that
            /// [`is_closed`](crate::is_closed) knows. When this returns, the number is free, and the kernel
            /// has begun to end what it stood for. An operation whose future is not polled any more does not
            /// delay this: if it is polled later, it fails in the same way. The type says what happens to
            /// bytes that are still on their way.
            ///
            /// After a call of `as_fd`, the number stays open until this value is dropped. Waits end all the
            /// same, but a peer reads no end, and a port stays taken.
            ///
            /// # Cancel safety
            ///
            /// Dropped before it is ready: the close continues, and this does not wait for it.
            ///
            /// # Errors
            ///
            /// Returns an error if it was closed before.
            pub async fn close(&self) -> io::Result<()> {
                let closed = self.fd.close().await;
                coop::proceed().await;
                closed.map_err(|error| self.error("close", error))
            }

            /// Calls `io` with the descriptor until it returns something other than `WouldBlock` or
            /// `Interrupted`, and waits for the interest in between: for system calls that this crate does
            /// not offer. The first call is made before any wait. It takes its turn in that direction, and
            /// the deadline of that direction applies. `io` must not block, and must return `WouldBlock` only
            /// if the kernel did.
            ///
            /// # Cancel safety
            ///
            /// Dropped before it is ready: `io` has returned nothing but `WouldBlock`. While it is not
            /// polled, it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Returns the error of `io`. Returns an error if it is closed; `TimedOut` if the deadline
            /// passes; `InvalidInput` for an interest other than reads and writes, for which
            /// [`AsyncFd::with_interest`](crate::net::AsyncFd::with_interest) watches a duplicate.
            pub async fn with_io<R>(
                &self,
                interest: Interest,
                mut io: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
            ) -> io::Result<R> {
                let Some(mode) = interest.mode() else {
                    return coop::refuse(self.error("with_io", Interest::refusal())).await;
                };
                self.fd.mark_other_writers();
                let called = self.fd.run(mode, move |fd| $crate::error::uninterrupted(|| io(fd)));
                called.await.map_err(|error| self.error("with_io", error))
            }
        }

        /// Borrows the descriptor, for options that this crate does not offer.
        ///
        /// The number remains owned by this value: do not close it, and do not make it blocking. A duplicate
        /// keeps the open file alive, be it a connection or a port. Reads and writes through it compete with
        /// the operations of this value. After this call the number stays open until this value is dropped:
        /// `close` ends all waits, but the kernel ends the connection or the port only then.
        ///
        /// # Panics
        ///
        /// Panics if it was closed before.
        impl AsFd for $type {
            #[track_caller]
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.fd.pin_fd()
            }
        }
    };

    // One call of the user. `$is_shared` is true for sockets of whole messages.
    (@try_io [$($generics:tt)*] $type:ty, $is_shared:literal) => {
        impl<$($generics)*> $type {
            /// Calls `io` with the descriptor once, and never waits: for system calls that this crate does not offer, after
            /// `poll_readable` or `readable`, or their counterparts for writes.
            ///
            /// As with tokio's `try_io`, `io` must not block, and must return `WouldBlock` only if the kernel did, for a call
            /// of this direction: `WouldBlock` clears the remembered readiness, and the next wait is for an event that comes
            /// after it. Three things differ. `io` gets the descriptor, which `close` cannot free meanwhile. `io` is called
            /// whether or not an event was reported, so a first call needs no wait. And waits do not depend on `io` being
            /// called through this method: without it they cost one system call more.
            ///
            /// # Errors
            ///
            /// Returns the error of `io` as it is, also `WouldBlock` and `Interrupted`. Returns an error if it is closed;
            /// `TimedOut` if the deadline of the direction has passed; `WouldBlock` if another task runs or waits in an operation
            /// of the direction, unless the socket has messages; `InvalidInput` for an interest other than reads and writes.
            pub fn try_io<R>(
                &self,
                interest: Interest,
                io: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
            ) -> io::Result<R> {
                let Some(mode) = interest.mode() else {
                    return Err(self.error("try_io", Interest::refusal()));
                };
                self.fd().mark_other_writers();
                self.attempted("try_io", self.fd().try_io(mode, $is_shared, io))
            }
        }
    };

    // The wait without a buffer, in each direction. `$try` is the method for the attempt that follows.
    (@readable [$($generics:tt)*] $type:ty, $try:literal) => {
        impl<$($generics)*> $type {
            /// Waits until a read is worth a try: input, the end or an error is there.
            ///
            #[doc = concat!("With [`", $try, "`](Self::", $try, ") one buffer serves many idle sockets, as the")]
            /// example at [`TcpStream`](crate::net::TcpStream) shows.
            ///
            /// It is a hint, and the attempt may still find nothing. While another task waits in a read, this
            /// waits for the end of that read, because the input is for that task. Several tasks that wait in
            /// `readable` are all woken.
            ///
            /// # Cancel safety
            ///
            /// Dropped early, the future did nothing. It has no [turn](crate::net#turns) to keep.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; `TimedOut` if the read deadline passes. The attempt that
            /// follows returns any other error.
            pub async fn readable(&self) -> io::Result<()> {
                self.fd().readiness(ReadMode).await.map_err(|error| self.error("readable", error))
            }

            /// Polls once for [`readable`](Self::readable) (tokio's `poll_read_ready`). The poll consumes the
            /// event that makes it ready: the next one asks the kernel anew, so no call is needed to clear it.
            /// Nothing is held between two polls.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`readable`](Self::readable).
            pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.fd().poll_ready(ReadMode, cx).map_err(|error| self.error("readable", error))
            }
        }
    };
    (@writable [$($generics:tt)*] $type:ty, $try:literal) => {
        impl<$($generics)*> $type {
            /// Waits until a write is worth a try: there is space, or an error.
            ///
            #[doc = concat!("It is a hint: [`", $try, "`](Self::", $try, ") may still find no space. While another")]
            /// task waits in a write, this waits for the end of that write. Several tasks that wait in
            /// `writable` are all woken.
            ///
            /// # Cancel safety
            ///
            /// Dropped early, the future did nothing. It has no [turn](crate::net#turns) to keep.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; `TimedOut` if the write deadline passes. The attempt that
            /// follows returns any other error.
            pub async fn writable(&self) -> io::Result<()> {
                self.fd().readiness(WriteMode).await.map_err(|error| self.error("writable", error))
            }

            /// Polls once for [`writable`](Self::writable) (tokio's `poll_write_ready`). The poll consumes the
            /// event that makes it ready: the next one asks the kernel anew, so no call is needed to clear it.
            /// Nothing is held between two polls.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`writable`](Self::writable).
            pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.fd().poll_ready(WriteMode, cx).map_err(|error| self.error("writable", error))
            }
        }
    };

    // Deadlines: of one direction, and of both.
    (@read_deadline [$($generics:tt)*] $type:ty,) => {
        impl<$($generics)*> $type {
            /// Sets the instant from which every read fails with `TimedOut`, even if there is input. It stays
            /// in force until it is set again; `None` clears it. To move it later is a store, so it can be
            /// set before each read. One that has passed takes effect at once.
            ///
            /// A read that waits when the deadline passes makes one last attempt, so input that came in time
            /// is not lost if this process itself was stopped. The `poll_*` functions and the traits make no
            /// last attempt, because they keep nothing between two polls.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed.
            #[inline]
            pub fn set_read_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
                self.deadline_set("set_read_deadline", self.fd().set_deadline(Modes::READ, deadline))
            }

            /// Sets the read deadline to `duration` from now. It costs less than
            /// [`set_read_deadline`](Self::set_read_deadline) before each read. A duration of a second or
            /// more may become a few milliseconds longer, because it starts at a clock that advances with the
            /// kernel's ticks; it never becomes shorter. A duration that is too long for the clock is 292
            /// years.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed.
            #[inline]
            pub fn set_read_deadline_after(&self, duration: Duration) -> io::Result<()> {
                self.deadline_set("set_read_deadline", self.fd().set_deadline_after(Modes::READ, duration))
            }
        }

        $crate::net::timeouts::timeout_methods!([$($generics)*] $type: read);
    };
    (@write_deadline [$($generics:tt)*] $type:ty,) => {
        impl<$($generics)*> $type {
            /// Sets the instant from which every write fails with `TimedOut`, even if there is space. It
            /// stays in force until it is set again; `None` clears it. To move it later is a store, so it can
            /// be set before each write. One that has passed takes effect at once. A write that waits when it
            /// passes makes one last attempt.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed.
            #[inline]
            pub fn set_write_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
                self.deadline_set("set_write_deadline", self.fd().set_deadline(Modes::WRITE, deadline))
            }

            /// Sets the write deadline to `duration` from now. It costs less than
            /// [`set_write_deadline`](Self::set_write_deadline) before each write. A duration of a second or
            /// more may become a few milliseconds longer, because it starts at a clock that advances with the
            /// kernel's ticks; it never becomes shorter. A duration that is too long for the clock is 292
            /// years.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed.
            #[inline]
            pub fn set_write_deadline_after(&self, duration: Duration) -> io::Result<()> {
                self.deadline_set("set_write_deadline", self.fd().set_deadline_after(Modes::WRITE, duration))
            }
        }

        $crate::net::timeouts::timeout_methods!([$($generics)*] $type: write);
    };
    (@deadlines $generics:tt $type:ty,) => {
        $crate::net::methods::methods!(@read_deadline $generics $type,);
        $crate::net::methods::methods!(@write_deadline $generics $type,);
        $crate::net::methods::methods!(@deadline $generics $type,);
    };
    (@deadline [$($generics:tt)*] $type:ty,) => {
        impl<$($generics)*> $type {
            /// Sets the read deadline and the write deadline to the same instant.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed.
            pub fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
                self.deadline_set("set_deadline", self.fd().set_deadline(Modes::BOTH, deadline))
            }
        }
    };

    // Connected sockets.
    (@connected [] $type:ty,) => {
        impl $type {
            /// Shuts down one half of the connection, or both: the peer reads the end, or the reads of this
            /// side do.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; `NotConnected` if the peer is gone.
            pub fn shutdown(&self, how: std::net::Shutdown) -> io::Result<()> {
                self.fd.shutdown(how).map_err(|error| self.error("shutdown", error))
            }

            /// Returns true once the poller has seen that the peer closed or shut down its writing half, or
            /// reset the connection. This is one load and no system call. Input that came before may still be
            /// unread.
            ///
            /// After this side has shut down its own reading half, the poller cannot tell the two apart, so a
            /// system call asks the kernel. The kernel knows the state of a TCP peer on Linux. Of any other
            /// peer it knows only the close, and not even that once both halves were shut down here: then the
            /// result stays as it was, unless an error comes.
            pub fn peer_closed(&self) -> bool {
                self.fd.peer_closed()
            }

            /// Waits until the peer is gone: it has closed or shut down its writing half, or has reset the connection. It
            /// reads nothing, and input that came before may still be unread. For a server that works on a request whose
            /// client may give up.
            ///
            /// It takes no event from a read. While another task waits in a read, this waits for the end of that read, which
            /// the peer's end causes as well. Beside a task that reads it is woken once more for each wait of that task.
            ///
            /// # Cancel safety
            ///
            /// Dropped early, the future did nothing. It has no [turn](crate::net#turns) to keep.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; `TimedOut` if the read deadline passes, but no read timeout counts;
            /// `Unsupported` with poll(2) as the backend, which cannot wait for that behind unread bytes.
            pub async fn peer_gone(&self) -> io::Result<()> {
                self.fd.peer_gone().await.map_err(|error| self.error("peer_gone", error))
            }
        }
    };

    // Listeners. `$connection` is the type of a connection, `$peer` the address of its other end.
    (@listener [] $type:ty, $connection:ty, $peer:ty) => {
        impl Descriptor for $type {
            type Owner = $crate::sys::SharedFd;

            fn fd(&self) -> &Fd {
                &self.fd
            }

            /// Omits the peer, because a listener has none.
            fn error(&self, op: &'static str, error: io::Error) -> io::Error {
                self.fd.error_to(op, error, None)
            }
        }

        impl $type {
            /// Accepts the next connection, and returns it with the address of the peer. Connections that
            /// were aborted while they waited are skipped. The address of a Unix peer is most often unnamed;
            /// `peer_cred` of the connection tells its process.
            ///
            /// Several tasks may accept. They are served in order, and one connection wakes one of them.
            ///
            /// # Cancel safety
            ///
            /// Dropped early, the future lost no connection. Unpolled, it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; `TimedOut` if the deadline passes; the kernel's others. If
            /// no descriptor is free (`EMFILE`, `ENFILE`), each call fails once, and the connection stays in
            /// the queue: wait a little before the next call, or use [`incoming`](Self::incoming), which
            /// does.
            pub async fn accept(&self) -> io::Result<($connection, $peer)> {
                $crate::net::incoming::accept(self).await
            }

            /// Polls for the next connection, as [`accept`](Self::accept) does. Nothing is held between two polls. Tasks that
            /// await `accept` go before those that poll, and one connection wakes all tasks that poll.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`accept`](Self::accept).
            pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<($connection, $peer)>> {
                $crate::net::incoming::poll_accept(self, cx)
            }

            /// Returns the connections one after the other, without end. This is a loop, or a `Stream`, that
            /// waits while no descriptor is free and continues as soon as one is.
            pub fn incoming(&self) -> Incoming<'_, Self> {
                Incoming::new(self)
            }

            /// Sets the instant from which every accept fails with `TimedOut`, even if a connection waits. It
            /// stays in force until it is set again; `None` clears it. An accept that waits when it passes
            /// makes one last attempt.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed.
            pub fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
                self.deadline_set("set_deadline", self.fd().set_deadline(Modes::BOTH, deadline))
            }
        }

        $crate::net::timeouts::timeout_methods!([] $type: accept);
        $crate::net::methods::methods!(@try_io [] $type, false);
    };

    // Duplicates and conversions, for a type with the functions `wrap(fd: Fd) -> Self` and
    // `into_fd(self) -> Fd`.
    (@dup [] $type:ty,) => {
        impl $type {
            /// Returns a second handle on the same socket, with deadlines and queues of tasks of its own.
            /// Address and options are the socket's. Bytes, messages and connections go to one of the
            /// handles, and operations of the two are not ordered. To close one leaves the socket to the
            /// other; a `shutdown` ends a half of the connection through either.
            ///
            /// To use a socket from several tasks, share one value: every operation takes `&self`.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; `EMFILE` if no descriptor is free; the error of the
            /// registration.
            pub fn dup(&self) -> io::Result<Self> {
                self.fd.dup().map(Self::wrap).map_err(|error| self.error("dup", error))
            }
        }
    };
    (@std [] $type:ty, $std:ty) => {
        impl $type {
            /// Takes over a socket of std, for instance one that the process was started with, and makes it
            /// non-blocking, with all its duplicates. It joins the
            /// [runtime](crate::net#to-which-runtime-a-socket-belongs) of the calling thread. A read of a
            /// stream may cost one system call more than on a stream of this crate.
            ///
            /// # Errors
            ///
            /// Returns the error of the registration; the socket is closed then.
            pub fn from_std(socket: $std) -> io::Result<Self> {
                adopt("from_std", socket.into()).map(Self::wrap)
            }

            /// Returns the socket as one of std. It stays non-blocking until `set_nonblocking(false)`; its
            /// deadlines end. No operation can be in flight, because it would borrow this value. The file of
            /// a Unix socket stays.
            ///
            /// # Errors
            ///
            /// Returns an error if it was closed before.
            pub fn into_std(self) -> io::Result<$std> {
                give_away("into_std", self.into_fd()).map(Into::into)
            }
        }
    };
}

pub(crate) use methods;
