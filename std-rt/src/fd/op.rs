//! The one skeleton of every operation, as a future: lock, reset, call, wait, call again.
//!
//! | state | holds | leaves it by |
//! |---|---|---|
//! | `Start` | nothing | taking the direction's lock, waiting for it, or failing because the descriptor is closed |
//! | `Refused` | nothing: the budget was spent at its first poll | the same, and is not refused again |
//! | `Queued` | a place in the list of waiters | the grant of the lock, the deadline, or close |
//! | `Locked` | the lock and a reference | the call's result, parking, a spent budget, or the end of the poll |
//! | `Parked` | the same, and its waker is in the semaphore | an event, or the end of the poll |
//! | `LockedAtRest` | the lock | the next poll, which takes a reference or finds the descriptor closed |
//! | `ParkedAtRest` | the same, and its waker is in the semaphore | the same |
//! | `Done` | nothing | - |
//!
//! `Locked` and `Parked` exist only while the operation is polled: at the end of each poll that is pending, or that panics,
//! it gives its reference back and rests. So an operation that is not polled keeps its place, and does not hold up a close.
//!
//! Dropped in any state it gives back what that state holds, and a lock that was granted to it in the meantime. A readiness
//! that came for it stays for the next operation.
//!
//! # The cost in units of the task's budget
//!
//! | at the first poll | it costs |
//! |---|---|
//! | the call succeeds or fails | one unit, taken before |
//! | the call finds nothing, and it parks | nothing: the unit is given back |
//! | the short-read hint spares the call, and it parks | nothing, and the budget is not asked |
//! | the hint spares the call, and a readiness has come since | one unit, taken before the call that follows |
//! | the call makes partial progress (`write_all`) | one unit for each further call; other tasks may run in between |

mod evented;
mod poll_park;
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
use netpoll_core::{Mode, PollErr, Wait};

use super::{Fd, FdKind};
use crate::coop;
use crate::error;
use crate::foreign;
use crate::netpoll::PollDesc;
use crate::sys::{self, FdOwner, SharedFd};
use crate::task;
use crate::trace::OpTrace;
pub use evented::{Evented, Ready, ReadyEvent};
pub(super) use poll_park::LastPoll;
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

/// The state of an operation. It has no fields, so that a write to it drops nothing; the place in the list of waiters is
/// `Op::queued`.
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

/// An operation on one direction. `call` makes the system call. `Ok(None)` means that it made progress and is to be called
/// again, `WouldBlock` that it found nothing to do.
#[must_use = "an operation does nothing until it is awaited"]
pub struct Op<'a, W: Direction, F, S: FdOwner = SharedFd> {
    fd: &'a Fd<S>,
    direction: W,
    state: OpState,
    /// The place in the list of waiters; set in `Queued` only.
    queued: Option<Queued>,
    /// The call asks the kernel for no byte, so it neither waits nor consumes a readiness.
    zero_len: bool,
    /// Set if a parked operation requests events of its direction.
    arm_on_park: bool,
    /// Set for a read of bytes, which may wait at once after a short read. Any other operation calls before it waits.
    trusts_hint: bool,
    /// Set if it parks for a poll: a waker that it displaces waits on.
    polls: bool,
    trace: OpTrace,
    call: F,
}

// The call is not pinned: it is called by reference only.
impl<W: Direction, F, S: FdOwner> Unpin for Op<'_, W, F, S> {}

impl<'a, W: Direction, S: FdOwner> Op<'a, W, (), S> {
    /// Creates what takes the lock of a direction, and makes no call of its own.
    fn without_call(fd: &'a Fd<S>, direction: W) -> Self {
        Self::with_call(fd, direction, ())
    }
}

impl<'a, W: Direction, F, S: FdOwner> Op<'a, W, F, S> {
    #[inline]
    pub(super) fn new<T>(fd: &'a Fd<S>, direction: W, call: F) -> Self
    where
        F: FnMut(&Fd<S>) -> io::Result<Option<T>>,
    {
        Self::with_call(fd, direction, call)
    }

    #[inline]
    fn with_call(fd: &'a Fd<S>, direction: W, call: F) -> Self {
        Self {
            fd,
            direction,
            state: OpState::Start,
            queued: None,
            zero_len: false,
            arm_on_park: true,
            trusts_hint: false,
            polls: false,
            trace: OpTrace::new(),
            call,
        }
    }

    /// Marks a read of bytes.
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

    /// Takes the lock of the direction and a reference, or waits for the lock.
    #[inline(always)]
    fn lock(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            OpState::Start => match self.fd.mutex.lock(self.mode()) {
                Lock::Locked => self.locked(),
                Lock::Contended => self.wait_for_lock(cx),
                Lock::Closed => self.closed_at_once(cx),
            },
            OpState::ParkedAtRest if self.fd.mutex.incref() => {
                self.state = OpState::Parked;
                Poll::Ready(Ok(()))
            }
            _ => self.lock_again(cx),
        }
    }

    /// Takes the lock in any state but those of a first poll and of a poll after an event.
    #[cold]
    fn lock_again(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            OpState::Refused => self.lock_unrefused(cx),
            OpState::Queued => self.poll_queued(cx),
            OpState::LockedAtRest => self.lock_at_rest(OpState::Locked),
            OpState::ParkedAtRest => self.lock_at_rest(OpState::Parked),
            OpState::Start | OpState::Locked | OpState::Parked => {
                unreachable!("an operation was polled within its own poll")
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

    /// Fails at the first poll, which costs a unit of the budget.
    #[cold]
    fn closed_at_once(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if coop::poll_proceed(cx).is_pending() {
            self.state = OpState::Refused;
            return Poll::Pending;
        }
        self.closed()
    }

    /// Takes the lock after the budget was spent in an earlier poll. It costs one unit even if none is left.
    #[cold]
    fn lock_unrefused(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        coop::spend(1);
        match self.fd.mutex.lock(self.mode()) {
            Lock::Locked => self.locked(),
            Lock::Closed => self.closed(),
            Lock::Contended => self.wait_for_lock(cx),
        }
    }

    /// Gives the lock back, since the operation has a result or keeps nothing between two polls.
    #[inline]
    fn finish(&mut self) {
        self.state = OpState::Done;
        self.fd.unlock(self.mode());
    }

    /// Gives the lock back until the next poll because the budget is spent: an operation that is not polled again must not
    /// block others.
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

    /// Fails because the descriptor was closed while the lock was at rest.
    #[cold]
    fn closed_at_rest(&mut self) -> Poll<io::Result<()>> {
        if self.state != OpState::ParkedAtRest {
            self.state = OpState::LockedAtRest;
        }
        // Takes the waker back, unless the closer has taken it out of the semaphore already.
        self.give_up();
        self.closed()
    }

    /// Takes the short-read hint. Returns true if the last read emptied the queue and no event says that more was queued behind
    /// it. The operation then skips the call and the reset, which would drop an edge that came since. The hint does not hold
    /// for a pinned number, which may have been used outside this type, nor for a pipe with other writers: there a read may be
    /// short for another reason. Only a byte stream has hints of short reads; any other kind has only those of `EAGAIN`, which
    /// always hold.
    #[inline]
    fn take_short_read_hint(&self, desc: &PollDesc) -> bool {
        let reads = self.mode() == Mode::Read && !self.zero_len;
        // The hint is taken in any case: it says nothing about the queue after the call that comes next.
        let drained = reads && self.fd.drained.take() && self.trusts_hint;
        drained
            && !desc.info().may_have_more()
            && (self.fd.kind != FdKind::ByteStream || self.fd.short_is_all())
    }

    /// Checks before a call that the direction is neither closed nor past its deadline. A read drops the remembered readiness,
    /// since the call sees the bytes that it stands for. A write leaves it: every event of a socket sets it, and it costs at
    /// most one more call after the next `EAGAIN`.
    #[inline]
    fn prepare(&self) -> io::Result<()> {
        if self.zero_len {
            return Ok(());
        }
        match self.mode() {
            Mode::Read => self.fd.reset_locked(Mode::Read).map(|_| ()),
            Mode::Write => self.fd.check_locked(Mode::Write),
        }
    }

    /// Waits until a call may succeed; the operation is parked when this is pending. When it is ready with `Ok`, the
    /// remembered readiness has been dropped and the direction checked, as by [`Op::prepare`]. With `NAMED` a parked reader leaves
    /// its number ([`Op::is_parked_already`]).
    #[inline]
    fn wait<const NAMED: bool>(&mut self, desc: &PollDesc, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let again = self.state == OpState::Parked;
        if again {
            self.state = OpState::Locked;
            if self.fd.registration.reset(self.mode()).map_err(error::refused)? {
                return Poll::Ready(Ok(()));
            }
        }
        // Without a reset: an operation that was not parked has made a call or skipped it, and parking checks for readiness.
        self.park::<NAMED>(desc, cx, again)
    }

    #[inline]
    fn park<const NAMED: bool>(
        &mut self,
        desc: &PollDesc,
        cx: &mut Context<'_>,
        again: bool,
    ) -> Poll<io::Result<()>> {
        self.fd.check_owner_process()?;
        // Set first: if the waker that this displaces panics, the parking is still given back.
        self.state = OpState::Parked;
        let (registration, waker) = (&self.fd.registration, cx.waker());
        let (mut wait, displaced) =
            match if NAMED && self.mode() == Mode::Read { task::task_number(waker) } else { None } {
                Some(task) => registration.park_named(self.mode(), waker, &self.fd.parked_reader, task),
                None => registration.park(self.mode(), waker),
            };
        if let Some(displaced) = displaced {
            wait = self.end_displaced(displaced, wait, again);
        }
        if matches!(wait, Wait::Ready | Wait::Failed(_)) {
            self.state = OpState::Locked;
        }
        match wait {
            // Again: the operation is not parked, but woken already, and the next poll waits first.
            Wait::Parked | Wait::Again => {
                let asked = self.ask_for_events(desc);
                if asked.is_err() {
                    let _waker = self.retract();
                    self.state = OpState::Locked;
                }
                asked?;
                Poll::Pending
            }
            // The readiness came just now: the direction is checked again.
            Wait::Ready => Poll::Ready(desc.check_err(self.mode()).map_err(error::refused)),
            Wait::Failed(why) => Poll::Ready(Err(error::refused(why))),
        }
    }

    /// Ends or moves the wait of a waker that this one has displaced. Returns the outcome of this wait.
    #[cold]
    fn end_displaced(&self, displaced: Waker, wait: Wait, again: bool) -> Wait {
        if self.polls {
            return self.share_parking(displaced, wait);
        }
        // A task that is parked anew has replaced its own waker: to wake itself would only make it come again. In any other
        // case the waker may stand for others, whose waits are ended too.
        if again && wait == Wait::Parked {
            drop(displaced);
        } else {
            foreign::wake(displaced);
        }
        wait
    }

    /// Makes sure that an event ends the wait of a parked operation. If that fails, the caller gives the wait up.
    #[inline]
    fn ask_for_events(&self, desc: &PollDesc) -> io::Result<()> {
        self.fd.netpoll().want_poll()?;
        if self.arm_on_park {
            self.fd.registration.arm(self.fd.io.as_fd(), self.mode())?;
            self.check_event_err(desc)?;
        }
        Ok(())
    }

    /// Fails if the last event was an error alone and the descriptor is no socket, after a call has found nothing. The calls of
    /// a socket return its errors, so another event follows (a queue of errors, a reset in progress). For any other
    /// descriptor no event may follow.
    ///
    /// 1. The event came before the parking: this check sees it. 2. It came after: it wakes the task, whose next call leads
    ///    here.
    #[inline]
    fn check_event_err(&self, desc: &PollDesc) -> io::Result<()> {
        if self.mode() == Mode::Read && desc.info().event_err() { self.check_is_socket() } else { Ok(()) }
    }

    #[cold]
    fn check_is_socket(&self) -> io::Result<()> {
        let has_reason = matches!(self.fd.kind, FdKind::Special(_)) || sys::is_socket(self.fd.io.as_fd());
        if has_reason { Ok(()) } else { Err(error::not_pollable()) }
    }
}

impl<T, W: Direction, F: FnMut(&Fd<S>) -> io::Result<Option<T>>, S: FdOwner> Op<'_, W, F, S> {
    /// Polls within the span of the poll.
    #[inline(always)]
    fn poll_within(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let fresh = self.state == OpState::Start;
        ready!(self.lock(cx))?;
        let releasing = ReleaseOnDrop(self);
        let result = ready!(releasing.0.attempt::<false>(cx, fresh));
        releasing.end();
        Poll::Ready(result)
    }

    /// Calls and waits alternately, under the lock. `fresh` marks the first poll, which costs a unit of the budget if it is
    /// ready without a wait.
    #[inline]
    fn attempt<const NAMED: bool>(&mut self, cx: &mut Context<'_>, fresh: bool) -> Poll<io::Result<T>> {
        let desc = self.fd.desc();
        let parked = self.state == OpState::Parked;
        let mut wait = parked || self.take_short_read_hint(desc);
        let mut taken = fresh && !wait;
        if taken && coop::poll_proceed(cx).is_pending() {
            return self.refused();
        }
        let mut late = false;
        // A wait in vain does not begin anew.
        let mut waited_in_vain = parked;
        loop {
            if wait {
                if !waited_in_vain {
                    self.fd.start_timeout(self.mode());
                }
                match self.wait::<NAMED>(desc, cx) {
                    Poll::Pending if taken => return self.pending(),
                    // It was parked until its deadline had passed. Bytes may have arrived in time and be unread, because
                    // the process may have been stopped until after the deadline: it calls once more.
                    Poll::Ready(Err(error)) if parked && error.kind() == io::ErrorKind::TimedOut => {
                        late = true
                    }
                    waited => ready!(waited)?,
                }
                // Ready at once after the call was skipped. The hint has been taken, so the next poll calls.
                if fresh && !std::mem::replace(&mut taken, true) && coop::poll_proceed(cx).is_pending() {
                    return self.refused();
                }
            } else {
                self.prepare()?
            }
            match (self.call)(self.fd) {
                Ok(Some(value)) => return Poll::Ready(Ok(value)),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                _ if late => return Poll::Ready(Err(error::refused(PollErr::Timeout))),
                // One more call costs one more unit. The operation keeps the lock between its parts.
                Ok(None) if coop::spend(1) => return self.yield_with_lock(cx),
                Ok(None) => (wait, waited_in_vain) = (false, false),
                Err(_) => wait = true,
            }
        }
    }

    /// Gives back the unit of the budget that was taken for a call that found nothing.
    #[cold]
    fn pending(&self) -> Poll<io::Result<T>> {
        coop::refund();
        Poll::Pending
    }

    /// Yields to other tasks, and keeps the lock.
    #[cold]
    fn yield_with_lock(&self, cx: &Context<'_>) -> Poll<io::Result<T>> {
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T, W: Direction, F: FnMut(&Fd<S>) -> io::Result<Option<T>>, S: FdOwner> Future for Op<'_, W, F, S> {
    type Output = io::Result<T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let this = &mut *self;
        let polling = this.trace.begin(&this.fd.trace, this.direction.mode());
        polling.end(this.poll_within(cx))
    }
}

/// An operation that is being polled. Its drop gives the reference back, if the poll is pending or has panicked.
struct ReleaseOnDrop<'op, 'fd, W: Direction, F, S: FdOwner>(&'op mut Op<'fd, W, F, S>);

impl<W: Direction, F, S: FdOwner> ReleaseOnDrop<'_, '_, W, F, S> {
    /// Gives the lock and the reference back, since the operation has a result.
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
            // The budget was spent: it holds nothing.
            _ => return,
        };
        self.0.fd.decref();
    }
}

impl<W: Direction, F, S: FdOwner> Drop for Op<'_, W, F, S> {
    #[inline(always)]
    fn drop(&mut self) {
        // Inline, because most operations have returned their result and hold nothing.
        if !matches!(self.state, OpState::Start | OpState::Refused | OpState::Done) {
            self.give_up();
        }
    }
}

impl<W: Direction, F, S: FdOwner> Op<'_, W, F, S> {
    /// Gives back all that the operation holds.
    #[cold]
    fn give_up(&mut self) {
        // The waker is foreign code, and is dropped last.
        let _waker = match std::mem::replace(&mut self.state, OpState::Done) {
            OpState::Start | OpState::Refused | OpState::Done => None,
            OpState::Queued => self.leave_queue().and_then(|id| self.fd.cancel(self.mode(), id)),
            state => {
                let is_parked = matches!(state, OpState::Parked | OpState::ParkedAtRest);
                let waker = if is_parked { self.retract() } else { None };
                if matches!(state, OpState::Locked | OpState::Parked) {
                    self.fd.unlock(self.mode());
                } else {
                    self.fd.unlock_at_rest(self.mode());
                }
                waker
            }
        };
    }

    /// Ends the operation's own parking, and takes its waker back. No other task can have taken the parking over, since that
    /// requires the lock, which this operation holds.
    fn retract(&self) -> Option<Waker> {
        self.fd.registration.retract(self.mode())
    }
}
