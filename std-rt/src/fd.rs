//! `Fd`: a descriptor that tasks share (Go's `internal/poll.FD`).
//!
//! Every operation has one skeleton: take the direction's lock, reset, make the system call; if it found nothing, wait
//! and make it again. `EINTR` is retried in `sys`, `EAGAIN` never leaves this file.
//!
//! Reads follow each other, and so do writes; the two directions do not know of each other. Tasks that queue for a
//! direction are served in order. [`Fd::close`] makes every operation fail, parked or queued or to come; the number is
//! closed after the last operation in flight has ended, exactly once, and after the poller has forgotten it.
//!
//! This layer knows only a `Waker`: any executor may sit on top.

mod calls;
mod deadline;
mod hang_up;
mod op;
pub mod queue;
mod shared;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Waker};

use atomic_waker::AtomicWaker;
use netpoll_core::drained::Drained;
use netpoll_core::fd_mutex::{FdMutex, Unlock};
use netpoll_core::poll_key::Mode;
use netpoll_core::waiters::BreakFlag;

use crate::error::{self, OpError};
use crate::netpoll::{Netpoll, PollDesc, Registration, Slot, freed};
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
    lent: BreakFlag,
    /// Of an end of a pipe: somebody else may write to the pipe, in packets if they like.
    strangers: OnceLock<Arc<BreakFlag>>,
    /// The number has been closed; tells the task that waits in `close`.
    gone: BreakFlag,
    closer: AtomicWaker,
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
    drained: Drained,
    cold: OnceLock<Box<Cold>>,
}

impl Fd {
    /// Takes a non-blocking descriptor over and watches it.
    ///
    /// # Errors
    ///
    /// Those of [`Netpoll::open`]; the descriptor is closed then.
    pub fn new(netpoll: Arc<Netpoll>, fd: OwnedFd, kind: Kind) -> io::Result<Self> {
        let slot = netpoll.open(fd.as_fd())?;
        Ok(Self::of(slot, SharedFd::new(fd), kind))
    }

    /// Ends as a drop does, but gives the descriptor away instead of closing it.
    ///
    /// # Errors
    ///
    /// Closed, if it was already.
    pub fn into_owned(self) -> io::Result<OwnedFd> {
        self.tell_of_strangers();
        self.mutex.incref_and_close().ok_or_else(error::closed)?;
        self.evict();
        // As in `drop`: whoever else has a reference leaked a future that nobody can poll any more.
        self.mutex.decref();
        self.end_loan();
        self.netpoll().close(self.io.borrow());
        // SAFETY: INV-7: the word is closed and `self` ours alone, so nobody uses the number any more; what is dropped
        // next closes it neither in `destroy`, as the word is closed, nor for a loan, as there is none.
        Ok(unsafe { self.io.release() })
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
        let (mutex, drained, cold) = (FdMutex::new(), Drained::new(), OnceLock::new());
        Self { slot, io, kind, mutex, drained, cold }
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
        let result = call(self.io.borrow());
        if self.mutex.decref() {
            // Whoever closed it waits for the number, not for what the kernel says of it.
            let _ = self.destroy();
        }
        result
    }

    /// Closes the descriptor: every operation on it fails from now on, and this waits until the last one in flight has
    /// ended and the number is closed.
    ///
    /// Dropped: the closing goes on without the wait.
    ///
    /// # Errors
    ///
    /// Closed, if it was already; what close(2) says if this task is the one that made the call.
    pub async fn close(&self) -> io::Result<()> {
        let evicted = self.mutex.incref_and_close().ok_or_else(error::closed)?;
        // There before our reference goes: whoever takes the last one must find it.
        let cold = if evicted.in_use { Some(self.cold()) } else { None };
        self.evict();
        if self.mutex.decref() {
            return self.destroy();
        }
        let Some(cold) = cold else { return Ok(()) };
        poll_fn(|cx| {
            cold.closer.register(cx.waker());
            if cold.gone.is_set() { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Everybody out: who is parked, and who is queued for a lock.
    fn evict(&self) {
        self.netpoll().evict(self.registration());
        if let Some(cold) = self.cold.get() {
            for queue in &cold.queues {
                let queued = op::locked(queue).close();
                queued.for_each(Waker::wake);
            }
        }
    }

    /// The last reference of a closed descriptor is gone: the poller forgets it, and then its number is closed.
    fn destroy(&self) -> io::Result<()> {
        self.netpoll().close(self.io.borrow());
        // SAFETY: INV-7: the caller took the last reference of a closed fdMutex, so nobody uses the number any more, but
        // who borrowed it with `lend`.
        let result = if self.is_lent() { Ok(()) } else { unsafe { self.io.close() } };
        freed::tell();
        if let Some(cold) = self.cold.get() {
            cold.gone.set();
            cold.closer.wake();
        }
        result
    }

    /// As far as it has not been done: everybody out, the poller forgets the descriptor, its number is closed.
    fn end(&mut self) {
        // No borrow of this value is left, so neither is one of the number.
        let lent = self.end_loan();
        if self.mutex.incref_and_close().is_some() {
            self.evict();
            // Ours is the last reference, unless the future of an operation was leaked: whatever it holds, nobody can
            // poll it any more, for it borrowed what is being dropped. An error of close(2) has nobody to go to.
            self.mutex.decref();
            let _ = self.destroy();
        } else if lent {
            // SAFETY: INV-7: the word is closed, its last reference gone, and `destroy` left the number to us.
            let _ = unsafe { self.io.close() };
        }
    }

    /// Both ends of a pipe know when others may write to it: then a short read is the end of a packet, not of the bytes.
    pub fn share_with(&self, other: &Self) {
        let strangers = Arc::new(BreakFlag::new());
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

    fn strangers(&self) -> Option<&BreakFlag> {
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
                    // As in `with`.
                    let _ = self.destroy();
                    break;
                }
            }
            match self.deliver(mode, &mut hailed) {
                queue::Deliver::Wake(waker) => {
                    waker.wake();
                    break;
                }
                queue::Deliver::Left => break,
                queue::Deliver::UnlockAgain => unlocked = self.mutex.unlock(mode),
            }
        }
        // After the lock is free, or they would come for nothing.
        hailed.into_iter().for_each(Waker::wake);
    }

    /// Nobody is woken under the queue's lock.
    fn deliver(&self, mode: Mode, hailed: &mut Option<Waker>) -> queue::Deliver<Waker> {
        let (delivered, answered) = {
            let mut queue = op::locked(self.queue(mode));
            (queue.deliver(), queue.answer())
        };
        if answered.is_some() {
            // Every poller of a direction hails with the same waker, so one of them will do.
            *hailed = answered;
        }
        delivered
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

impl<S: Source> Drop for Fd<S> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Without the poller, which is everybody's.
impl<S: Source> fmt::Debug for Fd<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fd").field("number", &self.io.raw()).field("kind", &self.kind).finish_non_exhaustive()
    }
}
