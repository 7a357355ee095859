//! `Fd`: a descriptor that tasks share (Go's `internal/poll.FD`).
//!
//! Every operation has one skeleton: take the direction's lock, reset, make the system call; if it found nothing, wait and call
//! again. `EINTR` is retried in `sys`, and `EAGAIN` does not leave this module.
//!
//! Reads are ordered, and so are writes; the two directions are independent. Tasks that wait for a direction's lock are served in
//! order. [`Fd::close`] makes every operation fail, present or future. The number is closed exactly once, after the last call
//! in flight has returned and the poller has deregistered it.
//!
//! # Futures that are not polled
//!
//! | the future of | keeps, while it is neither polled nor dropped | the others' wait still ends by |
//! |---|---|---|
//! | an operation that waits or has been woken | the lock: the operations of its direction behind it wait | its drop, their deadline, close |
//! | an operation that waits for the lock and has been granted it | the same | the same |
//! | [`Fd::readiness`], a `poll_*` function, [`Fd::shared`] before it waits | nothing | - |
//! | [`Fd::close`], polled once beside an operation that is polled no more | the number | its drop |
//!
//! The lock is kept on purpose: operations are served in order, and a message that is written in parts is not torn.
//!
//! This layer needs only a `Waker`, so it works under any executor.

mod calls;
mod close;
mod deadline;
mod hang_up;
mod lock;
mod op;
mod ready_set;
mod timeout;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, OnceLock};

use netpoll_core::Mode;
use netpoll_core::poll::fd_mutex::{FdMutex, WaitList};
use netpoll_core::poll::sema::ParkedTask;
use netpoll_core::poll::short_read::ShortReadHint;
use netpoll_core::sync::Flag;

use crate::error::{self, OpError, Unavailable};
use crate::foreign::WakerSlot;
use crate::netpoll::{Netpoll, PollDesc, PollRegistration};
use crate::sys::{Address, FdOwner, OwnedBy, SharedFd, Watch, address};
use crate::trace::Resource;
use hang_up::OwnShutdown;
use lock::WakerMap;
pub use op::{Direction, Evented, ReadMode, Ready, ReadyEvent, WriteMode};
use op::{LastPoll, PollWakers};
pub use ready_set::ReadySet;
use timeout::Timeouts;

/// The kind of a descriptor, which decides what a short read means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FdKind {
    /// A stream of bytes that this crate made (TCP, the reading end of a pipe): a short read has emptied it.
    ByteStream,
    /// Any other descriptor: a short read does not tell whether more is queued.
    Other,
    /// A descriptor that is registered for another condition than reads and writes. Its read side reports it.
    Special(Watch),
}

impl FdKind {
    fn watch(self) -> Watch {
        if let FdKind::Special(watch) = self { watch } else { Watch::Both }
    }
}

/// The state that few descriptors ever need, allocated on first use.
#[derive(Debug, Default)]
struct Extra {
    /// The tasks that wait for the read lock and for the write lock.
    waiters: Mutex<WaitList<WakerMap>>,
    /// The tasks that wait for readiness or for the lock and have no place of their own.
    pollers: [OnceLock<PollWakers>; 2],
    /// Set once `pin_fd` has returned the number: it stays open as long as this value.
    borrowed: Flag,
    /// Set for an end of a pipe once another process may write to the pipe, possibly in packets.
    other_writers: OnceLock<Arc<Flag>>,
    /// The waker of the task that waits in `close` until the number is closed.
    close_waker: WakerSlot,
    /// The halves that this side has shut down.
    own_shutdown: OnceLock<Arc<OwnShutdown>>,
    /// The timeouts of both directions, once one was set.
    timeouts: OnceLock<Box<Timeouts>>,
}

/// A descriptor, its registration with the poller, and the lock of each direction.
///
/// Dropping it closes it; no operation can be in flight then, since each borrows it.
///
/// `S` is the owner of the number. `Fd` closes a [`SharedFd`]; the value in an [`OwnedBy`] closes its own.
pub struct Fd<S: FdOwner = SharedFd> {
    registration: PollRegistration,
    io: S,
    kind: FdKind,
    mutex: FdMutex,
    drained: ShortReadHint,
    /// The parkings of both directions' last polls, by [`Mode`].
    last_polls: [LastPoll; 2],
    /// The task that has parked its own waker by a poll of the read direction.
    parked_reader: ParkedTask,
    /// Set once the number is closed or given away, by `destroy` or `into_owned`. It tells a drop that no leaked operation
    /// has kept the number open.
    closed: Flag,
    extra: OnceLock<Box<Extra>>,
    trace: Resource,
}

impl Fd {
    /// Takes ownership of a non-blocking descriptor and registers it.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Netpoll::open`]; the descriptor is closed then.
    pub fn new(netpoll: Arc<Netpoll>, fd: OwnedFd, kind: FdKind) -> io::Result<Self> {
        Self::try_new(&netpoll, fd, kind).map_err(|(_, error)| error)
    }

    /// Does the same as [`Fd::new`], but returns the descriptor if it cannot be registered.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Netpoll::open`].
    pub fn try_new(netpoll: &Arc<Netpoll>, fd: OwnedFd, kind: FdKind) -> Result<Self, (OwnedFd, io::Error)> {
        match netpoll.open(fd.as_fd()) {
            Ok(registration) => Ok(Self::new_registered(registration, SharedFd::new(fd), kind)),
            Err(error) => Err((fd, error)),
        }
    }

    /// Returns the number, valid as long as this value lives: from now on only `drop` closes it, not `close`.
    ///
    /// # Panics
    ///
    /// Panics if the descriptor is closed and was not pinned before that.
    #[track_caller]
    pub fn pin_fd(&self) -> BorrowedFd<'_> {
        // The flag is set under a reference, so the thread that releases the last one later sees it in `destroy`.
        let made = self.with(|_| {
            self.extra().borrowed.set();
            Ok(())
        });
        self.mark_other_writers();
        assert!(made.is_ok() || self.is_borrowed(), "the descriptor was asked for after it was closed");
        self.io.as_fd()
    }
}

impl<T: AsFd> Fd<OwnedBy<T>> {
    /// Registers the descriptor of a value. The value keeps the number and closes it after it was deregistered.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Netpoll::open`]; the value is dropped then.
    pub fn from_owner(netpoll: Arc<Netpoll>, value: T, kind: FdKind) -> io::Result<Self> {
        Self::try_from_owner(&netpoll, value, kind).map_err(|(_, error)| error)
    }

    /// Does the same as [`Fd::from_owner`], but returns the value if its descriptor cannot be registered.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Netpoll::open`].
    pub fn try_from_owner(netpoll: &Arc<Netpoll>, value: T, kind: FdKind) -> Result<Self, (T, io::Error)> {
        match netpoll.open_for(value.as_fd(), kind.watch()) {
            Ok(registration) => Ok(Self::new_registered(registration, OwnedBy::new(value), kind)),
            Err(error) => Err((value, error)),
        }
    }

    /// Returns the value.
    pub fn get_ref(&self) -> &T {
        self.io.get()
    }

    /// Returns the value to be changed.
    pub fn get_mut(&mut self) -> &mut T {
        self.io.get_mut()
    }

    /// Deregisters the descriptor as a drop does, and returns the value.
    pub fn into_inner(mut self) -> T {
        self.end();
        self.io.take()
    }
}

impl<S: FdOwner> Fd<S> {
    /// Wraps a descriptor that is registered.
    fn new_registered(registration: PollRegistration, io: S, kind: FdKind) -> Self {
        let (mutex, drained, extra) = (FdMutex::new(), ShortReadHint::new(), OnceLock::new());
        let (last_polls, closed) = (<[LastPoll; 2]>::default(), Flag::new());
        let parked_reader = ParkedTask::new();
        let trace = Resource::descriptor(io.as_fd());
        Self { registration, io, kind, mutex, drained, last_polls, parked_reader, closed, extra, trace }
    }

    /// Returns the poller that the descriptor is registered with.
    pub fn netpoll(&self) -> &Arc<Netpoll> {
        self.registration.netpoll()
    }

    /// Returns the number, for messages; make no system call with it.
    fn number(&self) -> RawFd {
        self.io.as_fd().as_raw_fd()
    }

    /// Returns the descriptor's state words in the poller.
    #[inline]
    fn desc(&self) -> &PollDesc {
        self.registration.desc()
    }

    /// Makes a call that never waits, under a reference only.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor is closed, and the errors of the call.
    pub fn with<T>(&self, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        if !self.mutex.incref() {
            return Err(error::closed());
        }
        let reference = Reference(self);
        call(reference.0.io.as_fd())
    }

    /// Gives a reference back.
    #[inline]
    fn decref(&self) {
        if self.mutex.decref() {
            // The error of close(2) is dropped: the task in `Fd::close` waits only until the number is closed.
            let _ = self.destroy();
        }
    }

    /// Fails in a forked child, where a wait would be for a task of the parent process.
    fn check_owner_process(&self) -> io::Result<()> {
        if self.netpoll().is_owner_process() { Ok(()) } else { Err(Unavailable::Forked.into()) }
    }

    /// Shares one flag between the two ends of a pipe, which is set once other processes may write to it. From then on a
    /// short read may be the end of a packet.
    pub fn pair_ends(&self, other: &Self) {
        let other_writers = Arc::new(Flag::new());
        for end in [self, other] {
            end.extra().other_writers.get_or_init(|| other_writers.clone());
        }
    }

    /// Records that the number is used outside this value from now on. It matters for the writing end of a pipe: other processes
    /// may write then.
    pub fn mark_other_writers(&self) {
        if let Some(other_writers) = self.other_writers().filter(|_| self.kind == FdKind::Other) {
            other_writers.set();
        }
    }

    fn has_other_writers(&self) -> bool {
        self.other_writers().is_some_and(Flag::is_set)
    }

    /// Returns whether a short read of this byte stream still means that its queue is empty.
    fn short_is_all(&self) -> bool {
        !self.is_borrowed() && !self.has_other_writers()
    }

    fn other_writers(&self) -> Option<&Flag> {
        self.extra.get()?.other_writers.get().map(|other_writers| &**other_writers)
    }

    fn is_borrowed(&self) -> bool {
        self.extra.get().is_some_and(|extra| extra.borrowed.is_set())
    }

    /// Clears the flag that `pin_fd` sets; returns whether it was set.
    fn end_borrow(&self) -> bool {
        self.extra.get().is_some_and(|extra| extra.borrowed.clear())
    }

    fn extra(&self) -> &Extra {
        self.extra.get_or_init(Box::default)
    }

    /// Returns the tasks that have polled this direction, if any has waited.
    fn known_pollers(&self, mode: Mode) -> Option<&PollWakers> {
        self.extra.get()?.pollers[mode as usize].get()
    }

    fn pollers(&self, mode: Mode) -> &PollWakers {
        self.extra().pollers[mode as usize].get_or_init(PollWakers::default)
    }

    /// Returns the error with the operation, the descriptor and the addresses that it concerns.
    pub fn error(&self, op: &'static str, source: io::Error) -> io::Error {
        self.error_to(op, source, self.with(address::peer_address).ok())
    }

    /// Does the same as [`Fd::error`] with the peer's address, which the kernel forgets when the peer is gone.
    pub fn error_to(&self, op: &'static str, source: io::Error, peer: Option<Address>) -> io::Error {
        let local = self.with(address::local_address).ok();
        OpError::new(op, source).on(self.number()).between(local, peer).into()
    }
}

/// A reference of a descriptor's fdMutex, released even if the call panics.
struct Reference<'a, S: FdOwner>(&'a Fd<S>);

impl<S: FdOwner> Drop for Reference<'_, S> {
    fn drop(&mut self) {
        self.0.decref();
    }
}

impl<S: FdOwner> Drop for Fd<S> {
    fn drop(&mut self) {
        self.end();
        self.drop_poll_wakers();
    }
}

/// Omits the poller, which all descriptors share.
impl<S: FdOwner> fmt::Debug for Fd<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fd").field("number", &self.number()).field("kind", &self.kind).finish_non_exhaustive()
    }
}
