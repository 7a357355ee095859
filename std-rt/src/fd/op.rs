//! The one skeleton of every operation, as one future: lock, reset, call, wait, again.
//!
//! | state | holds | leaves it by |
//! |---|---|---|
//! | `Start` | nothing | taking the direction's lock, queueing for it, or failing since the descriptor is closed |
//! | `Refused` | nothing: the turn was over at its first poll | the same, and is not refused again |
//! | `Queued` | a place in the queue | being handed the lock, the deadline, or thrown out by close |
//! | `Locked` | the lock and a reference | the call's result, parking, the end of the turn, or the end of the poll |
//! | `Parked` | the same, and its waker is in the semaphore | an event, or the end of the poll |
//! | `LockedAtRest` | the lock | the next poll, which takes a reference or finds the descriptor closed |
//! | `ParkedAtRest` | the same, and its waker is in the semaphore | the same |
//! | `Done` | nothing | - |
//!
//! `Locked` and `Parked` exist only while it is polled: at the end of each poll that is pending, or that panics, it gives
//! its reference back and rests. So an operation that nobody polls keeps its turn, and nothing that a closer waits for.
//!
//! Dropped in any state it gives back what it holds: a place in the queue, a lock that was handed to it in the meantime,
//! a parking. A readiness that came for it stays for the next operation.

mod attempt;
mod poll_wakers;
mod polled;
mod queued;
mod readiness;

use std::future::Future;
use std::io;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use netpoll_core::poll::fd_mutex::Lock;
use netpoll_core::{Mode, Wait};

use super::{Fd, FdKind};
use crate::coop;
use crate::error;
use crate::netpoll::PollDesc;
use crate::sys::{self, FdOwner, SharedFd};
pub(super) use poll_wakers::PollWakers;
use queued::Queued;

/// The direction of an operation. Most operations know theirs at compile time, which saves a branch at every poll.
pub trait Direction: Copy {
    /// Returns the direction.
    fn mode(self) -> Mode;
}

/// The direction of an operation that always reads.
#[derive(Clone, Copy, Debug)]
pub struct ReadMode;

/// The direction of an operation that always writes.
#[derive(Clone, Copy, Debug)]
pub struct WriteMode;

impl Direction for ReadMode {
    #[inline(always)]
    fn mode(self) -> Mode {
        Mode::Read
    }
}

impl Direction for WriteMode {
    #[inline(always)]
    fn mode(self) -> Mode {
        Mode::Write
    }
}

impl Direction for Mode {
    #[inline(always)]
    fn mode(self) -> Mode {
        self
    }
}

/// Has no fields, so that writing it drops nothing: what a queued operation owns stands beside it, in `Op::queued`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum OpState {
    Start,
    Refused,
    Queued,
    Locked,
    Parked,
    LockedAtRest,
    ParkedAtRest,
    Done,
}

/// An operation on one direction. `call` makes the system call; `Ok(None)` says that it has got on and wants to be called
/// again, `WouldBlock` that there is nothing to be got.
#[must_use = "an operation does nothing until it is awaited"]
pub(super) struct Op<'a, W: Direction, F, S: FdOwner = SharedFd> {
    fd: &'a Fd<S>,
    direction: W,
    state: OpState,
    /// Its place in the queue for the lock; set in `Queued` only.
    queued: Option<Queued>,
    /// The call asks the kernel for no byte, so it neither waits nor consumes a readiness.
    zero_len: bool,
    /// Whether a parked operation requests events of its direction.
    arm_on_park: bool,
    /// It is a read of bytes, which need not be made after a short one. Any other call is made before it waits, whatever
    /// the last read found.
    trusts_hint: bool,
    call: F,
}

// The call is not pinned: it is only ever called by reference.
impl<W: Direction, F, S: FdOwner> Unpin for Op<'_, W, F, S> {}

impl<'a, W: Direction, F, S: FdOwner> Op<'a, W, F, S> {
    #[inline]
    pub(super) fn new<T>(fd: &'a Fd<S>, direction: W, call: F) -> Self
    where
        F: FnMut(&Fd<S>) -> io::Result<Option<T>>,
    {
        Self {
            fd,
            direction,
            state: OpState::Start,
            queued: None,
            zero_len: false,
            arm_on_park: true,
            trusts_hint: false,
            call,
        }
    }

    /// A read of bytes.
    #[inline]
    pub(super) fn trusting_hint(mut self) -> Self {
        self.trusts_hint = true;
        self
    }

    /// Marks a read of no bytes, which needs only the lock.
    #[inline]
    pub(super) fn zero_len(mut self, zero_len: bool) -> Self {
        self.zero_len = zero_len;
        self
    }

    #[inline(always)]
    fn mode(&self) -> Mode {
        self.direction.mode()
    }

    /// Takes the right to the direction: one operation has it, the others queue. Ready with `Ok`, this one has it, and a
    /// reference.
    #[inline(always)]
    fn lock(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            OpState::Start => match self.fd.mutex.lock(self.mode()) {
                Lock::Locked => self.locked(),
                refused => self.not_locked(refused, cx),
            },
            OpState::ParkedAtRest if self.fd.mutex.incref() => {
                self.state = OpState::Parked;
                Poll::Ready(Ok(()))
            }
            _ => self.lock_again(cx),
        }
    }

    #[cold]
    fn not_locked(&mut self, refused: Lock, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match refused {
            Lock::Contended => self.wait_for_lock(cx),
            _ => self.closed_at_once(cx),
        }
    }

    /// Takes the lock in the states that are rarer than a first poll and a poll after an event.
    #[cold]
    fn lock_again(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            OpState::Refused => self.lock_unrefused(cx),
            OpState::Queued => self.poll_queued(cx),
            OpState::LockedAtRest => self.lock_at_rest(OpState::Locked),
            OpState::ParkedAtRest => self.lock_at_rest(OpState::Parked),
            OpState::Start | OpState::Locked | OpState::Parked => {
                unreachable!("an operation is polled within its poll")
            }
            OpState::Done => panic!("an operation was polled after it had given its result"),
        }
    }

    #[cold]
    fn closed(&mut self) -> Poll<io::Result<()>> {
        self.leave_queue();
        self.state = OpState::Done;
        Poll::Ready(Err(error::closed()))
    }

    #[inline]
    fn locked(&mut self) -> Poll<io::Result<()>> {
        self.state = OpState::Locked;
        Poll::Ready(Ok(()))
    }

    /// It has not waited, so its error counts.
    #[cold]
    fn closed_at_once(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if coop::poll_proceed(cx).is_pending() {
            self.state = OpState::Refused;
            return Poll::Pending;
        }
        self.closed()
    }

    /// It was refused in an earlier turn, and is not in this one: it costs one unit, whatever is left.
    #[cold]
    fn lock_unrefused(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        coop::spend(1);
        match self.fd.mutex.lock(self.mode()) {
            Lock::Locked => self.locked(),
            Lock::Closed => self.closed(),
            Lock::Contended => self.wait_for_lock(cx),
        }
    }

    /// The turn was over: holds nothing until its task's next one, so that an operation that is not polled again stands
    /// in nobody's way.
    #[cold]
    fn refused<T>(&mut self) -> Poll<T> {
        self.state = OpState::Refused;
        self.fd.unlock(self.mode());
        Poll::Pending
    }

    /// Takes a reference to go on with a lock that was at rest.
    #[inline]
    fn lock_at_rest(&mut self, state: OpState) -> Poll<io::Result<()>> {
        if self.fd.mutex.incref() {
            self.state = state;
            return Poll::Ready(Ok(()));
        }
        self.closed_at_rest()
    }

    /// The descriptor was closed while the lock was at rest.
    #[cold]
    fn closed_at_rest(&mut self) -> Poll<io::Result<()>> {
        if self.state != OpState::ParkedAtRest {
            self.state = OpState::LockedAtRest;
        }
        // What the closer has not taken out of the semaphore yet is taken back.
        self.give_up();
        self.closed()
    }

    /// Takes the short-read hint; returns whether it holds: the last read took all there was, and nothing says that more was
    /// queued behind it. Then there is neither a call nor a reset, which would drop an edge that came since. It does not hold
    /// for a pinned number, which may have been used past this type, nor for a pipe with other writers.
    #[inline]
    fn take_short_read_hint(&self, desc: &PollDesc) -> bool {
        let reads = self.mode() == Mode::Read && !self.zero_len;
        // Taken in any case: the call that comes instead is not a read whose result is known here.
        let drained = reads && self.fd.drained.take() && self.trusts_hint;
        drained && !desc.info().may_have_more() && !self.fd.is_borrowed() && !self.fd.has_other_writers()
    }

    /// Before a call: may the direction go on? A read drops a remembered readiness, which stands for what the call will
    /// find. A write leaves it: every event of a socket brings one along, and it costs no more than one more try after
    /// the next `EAGAIN`.
    #[inline]
    fn prepare(&self, desc: &PollDesc) -> io::Result<()> {
        if self.zero_len {
            return Ok(());
        }
        let ready = match self.mode() {
            Mode::Read => self.fd.registration.reset(Mode::Read).map(|_| ()),
            Mode::Write => desc.check_err(Mode::Write),
        };
        ready.map_err(error::refused)
    }

    /// Waits until a call is worth a try; parked when pending. Ready with `Ok`, it has dropped the readiness that stood
    /// for what the call will find, and looked whether the direction may go on.
    #[inline]
    fn wait(&mut self, desc: &PollDesc, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let again = self.state == OpState::Parked;
        if again {
            self.state = OpState::Locked;
            if self.fd.registration.reset(self.mode()).map_err(error::refused)? {
                return Poll::Ready(Ok(()));
            }
        }
        // Who was not parked comes from a call, or knows that there is nothing to call for: as a rule he parks, and to park
        // is to look at the same once more.
        self.park(desc, cx, again)
    }

    #[inline]
    fn park(&mut self, desc: &PollDesc, cx: &mut Context<'_>, again: bool) -> Poll<io::Result<()>> {
        self.fd.check_owner_process()?;
        // Before it is: if the waker that this displaces panics, the parking is still given back.
        self.state = OpState::Parked;
        let wait = self.fd.registration.park(self.mode(), cx, again);
        if matches!(wait, Wait::Ready | Wait::Failed(_)) {
            self.state = OpState::Locked;
        }
        match wait {
            // Again: not parked, but woken already; the next poll waits first, as if it had been.
            Wait::Parked | Wait::Again => {
                let asked = self.ask_for_events(desc);
                if asked.is_err() {
                    let _waker = self.retract();
                    self.state = OpState::Locked;
                }
                asked?;
                Poll::Pending
            }
            // It came just now; that the direction may go on is to be looked at anew.
            Wait::Ready => Poll::Ready(desc.check_err(self.mode()).map_err(error::refused)),
            Wait::Failed(why) => Poll::Ready(Err(error::refused(why))),
        }
    }

    /// Parked: sees to it that an event comes. If that cannot be, the wait is given up.
    #[inline]
    fn ask_for_events(&self, desc: &PollDesc) -> io::Result<()> {
        self.fd.netpoll().want_poll()?;
        if self.arm_on_park {
            self.fd.registration.arm(self.fd.io.borrow(), self.mode())?;
            self.check_event_err(desc)?;
        }
        Ok(())
    }

    /// The call has found nothing, and the last event was an error alone. A socket's own errors come out of its calls, so
    /// more is to come there (a queue of errors, a reset that is just being made); of anything else nobody knows.
    ///
    /// 1. The event came before the parking: seen here. 2. After it: it wakes the task, whose call then comes here.
    #[inline]
    fn check_event_err(&self, desc: &PollDesc) -> io::Result<()> {
        if self.mode() == Mode::Read && desc.info().event_err() { self.check_is_socket() } else { Ok(()) }
    }

    #[cold]
    fn check_is_socket(&self) -> io::Result<()> {
        let has_reason = matches!(self.fd.kind, FdKind::Special(_)) || sys::is_socket(self.fd.io.borrow());
        if has_reason { Ok(()) } else { Err(error::not_pollable()) }
    }
}

impl<T, W: Direction, F: FnMut(&Fd<S>) -> io::Result<Option<T>>, S: FdOwner> Future for Op<'_, W, F, S> {
    type Output = io::Result<T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let this = &mut *self;
        let fresh = this.state == OpState::Start;
        ready!(this.lock(cx))?;
        let releasing = ReleaseOnDrop(this);
        let result = ready!(releasing.0.attempt(cx, fresh));
        releasing.end();
        Poll::Ready(result)
    }
}

/// An operation that is being polled. Its reference is released afterwards, whether the poll is pending or has panicked.
struct ReleaseOnDrop<'op, 'fd, W: Direction, F, S: FdOwner>(&'op mut Op<'fd, W, F, S>);

impl<W: Direction, F, S: FdOwner> ReleaseOnDrop<'_, '_, W, F, S> {
    /// The operation has a result.
    #[inline(always)]
    fn end(self) {
        let op = &mut *ManuallyDrop::new(self).0;
        op.state = OpState::Done;
        op.fd.unlock(op.mode());
    }
}

impl<W: Direction, F, S: FdOwner> Drop for ReleaseOnDrop<'_, '_, W, F, S> {
    #[inline]
    fn drop(&mut self) {
        self.0.state = match self.0.state {
            OpState::Locked => OpState::LockedAtRest,
            OpState::Parked => OpState::ParkedAtRest,
            // It was refused: it holds nothing.
            _ => return,
        };
        self.0.fd.decref();
    }
}

impl<W: Direction, F, S: FdOwner> Drop for Op<'_, W, F, S> {
    #[inline(always)]
    fn drop(&mut self) {
        // As a rule it has given its result, and there is nothing to give back.
        if !matches!(self.state, OpState::Start | OpState::Refused | OpState::Done) {
            self.give_up();
        }
    }
}

impl<W: Direction, F, S: FdOwner> Op<'_, W, F, S> {
    /// Gives back what it holds.
    #[cold]
    fn give_up(&mut self) {
        // Dropped last: it is foreign.
        let _waker = match std::mem::replace(&mut self.state, OpState::Done) {
            OpState::Start | OpState::Refused | OpState::Done => None,
            OpState::Queued => self.leave_queue().and_then(|id| self.fd.cancel(self.mode(), id)),
            OpState::Locked => {
                self.fd.unlock(self.mode());
                None
            }
            OpState::Parked => {
                let waker = self.retract();
                self.fd.unlock(self.mode());
                waker
            }
            OpState::LockedAtRest => {
                self.fd.unlock_at_rest(self.mode());
                None
            }
            OpState::ParkedAtRest => {
                let waker = self.retract();
                self.fd.unlock_at_rest(self.mode());
                waker
            }
        };
    }

    /// Ends a parking of its own, and takes its waker back: no other task can have taken the parking over, since that takes
    /// the lock that this one holds.
    fn retract(&self) -> Option<Waker> {
        self.fd.registration.retract(self.mode())
    }
}
