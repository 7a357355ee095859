//! `Fd`: a descriptor that tasks share (Go's `internal/poll.FD`).
//!
//! Every operation has one skeleton: take the direction's lock, reset, make the system call; if it found nothing, wait
//! and make it again. `EINTR` is retried in `sys`, `EAGAIN` never leaves this file.
//!
//! Reads follow each other, and so do writes; the two directions do not know of each other. Tasks that queue for a
//! direction are served in order. [`Fd::close`] makes every operation fail, parked or queued or to come; the number is
//! closed after the last call in flight has returned, exactly once, and after the poller has forgotten it.
//!
//! # Futures that nobody polls
//!
//! | the future of | keeps, while it is neither polled nor dropped | what still ends the others' wait |
//! |---|---|---|
//! | an operation that waits or has been woken | its turn: the operations of its direction behind it wait | its drop, their deadline, close |
//! | an operation that is queued and has been given the turn | the same | the same |
//! | [`Fd::readiness`], a `poll_*` function, [`Fd::shared`] before it waits | nothing | - |
//! | [`Fd::close`], polled once beside an operation that is polled no more | the number | its drop |
//!
//! A turn is kept on purpose: whoever came first is served first, and a message that is written in parts is not torn.
//!
//! This layer knows only a `Waker`: any executor may sit on top.

mod calls;
mod close;
mod deadline;
mod hang_up;
mod op;
pub mod queue;
mod shared;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Waker;

use netpoll_core::fd_mutex::{FdMutex, Unlock};
use netpoll_core::poll_key::Mode;
use netpoll_core::short_read_hint::ShortReadHint;
use netpoll_core::sync::Flag;

use crate::error::{self, Gone, OpError};
use crate::foreign::{self, WakerSlot};
use crate::netpoll::{Netpoll, PollDesc, Registration, Slot};
use crate::sys::{Address, Kept, SharedFd, Source, Watch, address};
use hang_up::OwnShutdown;
use op::Pollers;
pub use op::{Reads, Way, Writes};
use queue::LockQueue;

/// What a short read means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A TCP stream that this crate made: fewer bytes than asked for means that there were no more.
    Stream,
    /// Anything else: a short read says nothing of what is behind it.
    Other,
    /// What is watched for something else than reads and writes, which is its read side.
    Special(Watch),
}

impl Kind {
    fn watch(self) -> Watch {
        if let Kind::Special(watch) = self { watch } else { Watch::Both }
    }
}

/// What few descriptors ever need.
#[derive(Debug, Default)]
struct Cold {
    /// Tasks queued for the read lock and for the write lock.
    queues: [Mutex<LockQueue<Waker>>; 2],
    /// Tasks that wait through `poll_*`, for readiness or for the lock.
    pollers: [OnceLock<Pollers>; 2],
    /// The number was lent out, and stays open as long as this value.
    lent: Flag,
    /// Of an end of a pipe: somebody else may write to the pipe, in packets if they like.
    strangers: OnceLock<Arc<Flag>>,
    /// The task that waits in `close` until the number is gone.
    closer: WakerSlot,
    /// What this side has shut down, once it has.
    own_shutdown: OnceLock<Arc<OwnShutdown>>,
}

/// A descriptor, its place in the poller, and who may use it.
///
/// Dropping it closes it; no operation can be in flight then, since each borrows it.
///
/// `S` says whose the number is: a [`SharedFd`] is closed, that of a [`Kept`] is left to the value in it.
pub struct Fd<S: Source = SharedFd> {
    slot: Slot,
    io: S,
    kind: Kind,
    mutex: FdMutex,
    drained: ShortReadHint,
    /// The number has been closed or given away. Set once, by `destroy` or `into_owned`; without it a drop could not tell
    /// that from a number that a leaked operation has kept open.
    gone: Flag,
    cold: OnceLock<Box<Cold>>,
}

impl Fd {
    /// Takes a non-blocking descriptor over and watches it.
    ///
    /// # Errors
    ///
    /// Those of [`Netpoll::open`]; the descriptor is closed then.
    pub fn new(netpoll: Arc<Netpoll>, fd: OwnedFd, kind: Kind) -> io::Result<Self> {
        Self::watch(&netpoll, fd, kind).map_err(|(_, error)| error)
    }

    /// As [`Fd::new`], but gives the descriptor back if it cannot be watched.
    ///
    /// # Errors
    ///
    /// Those of [`Netpoll::open`].
    pub fn watch(netpoll: &Arc<Netpoll>, fd: OwnedFd, kind: Kind) -> Result<Self, (OwnedFd, io::Error)> {
        match netpoll.open(fd.as_fd()) {
            Ok(slot) => Ok(Self::of(slot, SharedFd::new(fd), kind)),
            Err(error) => Err((fd, error)),
        }
    }

    /// The number for as long as this value lives: from now on `close` does not close it, only `drop` does.
    ///
    /// # Panics
    ///
    /// If it is closed, and was not lent before that.
    #[track_caller]
    pub fn lend(&self) -> BorrowedFd<'_> {
        // A loan is made under a reference, so whoever takes the last one afterwards sees it in `destroy`.
        let made = self.with(|_| {
            self.cold().lent.set();
            Ok(())
        });
        self.tell_of_strangers();
        assert!(made.is_ok() || self.is_lent(), "the descriptor was asked for after it was closed");
        self.io.borrow()
    }
}

impl<T: AsFd> Fd<Kept<T>> {
    /// Watches the descriptor of a value, which keeps the number and closes it, later than this forgets it.
    ///
    /// # Errors
    ///
    /// Those of [`Netpoll::open`]; the value is dropped then.
    pub fn keep(netpoll: Arc<Netpoll>, value: T, kind: Kind) -> io::Result<Self> {
        let slot = netpoll.open_for(value.as_fd(), kind.watch())?;
        Ok(Self::of(slot, Kept::new(value), kind))
    }

    /// The value.
    pub fn kept(&self) -> &T {
        self.io.get()
    }

    /// Ends as a drop does, and gives the value back.
    pub fn into_kept(mut self) -> T {
        self.end();
        self.io.take()
    }
}

impl<S: Source> Fd<S> {
    /// Around a descriptor that is watched.
    fn of(slot: Slot, io: S, kind: Kind) -> Self {
        let (mutex, drained, cold) = (FdMutex::new(), ShortReadHint::new(), OnceLock::new());
        Self { slot, io, kind, mutex, drained, gone: Flag::new(), cold }
    }

    /// The poller that watches it.
    pub fn netpoll(&self) -> &Arc<Netpoll> {
        self.slot.netpoll()
    }

    /// Its words in the poller.
    #[inline]
    fn desc(&self) -> &PollDesc {
        self.slot.desc()
    }

    /// The same, and what only the owner may do with them.
    #[inline]
    fn registration(&self) -> &Registration<'_> {
        self.slot.registration()
    }

    /// Makes a call that never waits, under a reference only.
    ///
    /// # Errors
    ///
    /// Closed, or what the call says.
    pub fn with<T>(&self, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        if !self.mutex.incref() {
            return Err(error::closed());
        }
        let reference = Reference(self);
        call(reference.0.io.borrow())
    }

    /// Gives a reference back.
    #[inline]
    fn decref(&self) {
        if self.mutex.decref() {
            // Whoever closed it waits for the number, not for what the kernel says of it.
            let _ = self.destroy();
        }
    }

    /// Fails where a wait for another task would be one for a task of the process that this one was forked from.
    fn must_be_here(&self) -> io::Result<()> {
        if self.netpoll().is_here() { Ok(()) } else { Err(Gone::Forked.into()) }
    }

    /// Both ends of a pipe know when others may write to it: then a short read is the end of a packet, not of the bytes.
    pub fn share_with(&self, other: &Self) {
        let strangers = Arc::new(Flag::new());
        for end in [self, other] {
            end.cold().strangers.get_or_init(|| strangers.clone());
        }
    }

    /// The number goes to others, for a while or for good. What matters is the writing end of a pipe, whose own reads have
    /// no hint.
    pub fn tell_of_strangers(&self) {
        if let Some(strangers) = self.strangers().filter(|_| self.kind == Kind::Other) {
            strangers.set();
        }
    }

    fn has_strangers(&self) -> bool {
        self.strangers().is_some_and(Flag::is_set)
    }

    fn strangers(&self) -> Option<&Flag> {
        self.cold.get()?.strangers.get().map(|strangers| &**strangers)
    }

    fn is_lent(&self) -> bool {
        self.cold.get().is_some_and(|cold| cold.lent.is_set())
    }

    /// True if the number was lent.
    fn end_loan(&self) -> bool {
        self.cold.get().is_some_and(|cold| cold.lent.clear())
    }

    fn cold(&self) -> &Cold {
        self.cold.get_or_init(Box::default)
    }

    fn queue(&self, mode: Mode) -> &Mutex<LockQueue<Waker>> {
        &self.cold().queues[mode as usize]
    }

    fn pollers(&self, mode: Mode) -> &Pollers {
        self.cold().pollers[mode as usize].get_or_init(Pollers::default)
    }

    /// Gives a direction back, or hands it to the next operation in the queue.
    #[inline]
    fn unlock(&self, mode: Mode) {
        match self.mutex.unlock(mode) {
            Unlock::Free => {}
            unlocked => self.hand_over(mode, unlocked),
        }
    }

    #[cold]
    fn hand_over(&self, mode: Mode, mut unlocked: Unlock) {
        let mut hailed = None;
        loop {
            match unlocked {
                Unlock::Free => break,
                Unlock::HandedOver => {}
                Unlock::Last => {
                    // As in `decref`.
                    let _ = self.destroy();
                    break;
                }
            }
            match self.deliver(mode, &mut hailed) {
                queue::Deliver::Wake(waker, place) => {
                    // A task whose waker panics may never come: the lock goes on to the next, and the task queues again if
                    // it does come.
                    if foreign::wake(waker) || !op::locked(self.queue(mode)).pass_over(place) {
                        break;
                    }
                    unlocked = self.unlock_at_rest(mode);
                }
                queue::Deliver::Left => break,
                queue::Deliver::UnlockAgain => unlocked = self.mutex.unlock(mode),
            }
        }
        // After the lock is free, or they would come for nothing.
        foreign::wake_all(hailed);
    }

    /// A lock that is on its way comes to its task, which may be polled now, later or never: it is at rest there, without a
    /// reference.
    fn deliver(&self, mode: Mode, hailed: &mut Option<Waker>) -> queue::Deliver<Waker> {
        let (delivered, answered, last) = {
            let mut queue = op::locked(self.queue(mode));
            let delivered = queue.deliver();
            let last = !matches!(delivered, queue::Deliver::UnlockAgain) && self.mutex.decref();
            (delivered, queue.answer(), last)
        };
        if last {
            // Closed meanwhile; as in `decref`.
            let _ = self.destroy();
        }
        if answered.is_some() {
            // Every poller of a direction hails with the same waker, so one of them will do.
            *hailed = answered;
        }
        delivered
    }

    /// Gives back a lock that is at rest.
    fn unlock_at_rest(&self, mode: Mode) -> Unlock {
        if self.mutex.incref() {
            self.mutex.unlock(mode)
        } else if self.mutex.leave_at_rest(mode) {
            Unlock::Last
        } else {
            Unlock::Free
        }
    }

    /// Says which operation failed, on which descriptor and between which addresses.
    pub fn error(&self, op: &'static str, source: io::Error) -> io::Error {
        self.error_to(op, source, self.with(address::peer_address).ok())
    }

    /// As [`Fd::error`], for who knows the peer, whose address the kernel forgets when it is gone.
    pub fn error_to(&self, op: &'static str, source: io::Error, peer: Option<Address>) -> io::Error {
        let local = self.with(address::local_address).ok();
        OpError::new(op, source).on(self.io.raw()).between(local, peer).into()
    }
}

/// A reference of a descriptor's fdMutex, also given back if the call panics.
struct Reference<'a, S: Source>(&'a Fd<S>);

impl<S: Source> Drop for Reference<'_, S> {
    fn drop(&mut self) {
        self.0.decref();
    }
}

impl<S: Source> Drop for Fd<S> {
    fn drop(&mut self) {
        self.end();
        self.end_pollers();
    }
}

/// Without the poller, which is everybody's.
impl<S: Source> fmt::Debug for Fd<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fd").field("number", &self.io.raw()).field("kind", &self.kind).finish_non_exhaustive()
    }
}
