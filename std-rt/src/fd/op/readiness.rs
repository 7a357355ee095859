//! Waiting until a call may succeed, without a buffer.
//!
//! The kernel reports a change once. Bytes in the queue may have been reported long ago, and the event consumed by an operation
//! that left them. So a task may sleep only after it has checked that the queue is empty:
//!
//! | short-read hint | bytes | [`Readiness`] |
//! |---|---|---|
//! | set, and no event says more of the peer | none at the last read | parks without a check; a readiness that came since ends the wait at once |
//! | set, but the peer has closed or sent urgent data | unknown | checks, as without the hint |
//! | clear | some | finds them with [`is_ready_for`], even if their event was consumed |
//! | clear | none | finds none; it has parked before the check, so bytes that come later make an event that wakes it |
//!
//! It holds the direction's lock only while it drops the remembered readiness and parks. The check is a system call, and comes
//! after the unlock: an operation that comes meanwhile finds the lock free.
//!
//! | between the parking and the check | then |
//! |---|---|
//! | an event comes | it ends the parking and wakes the task; the check finds the bytes as well, unless an operation took them |
//! | an operation reads all bytes, or some | the check finds none and the task sleeps, or it finds the rest |
//! | an operation finds no bytes and parks | it takes the parking over and wakes the task, which checks again |
//! | the check finds bytes | the parking ends when the future is dropped |
//!
//! When it is pending it leaves the same behind as a `poll_*` function: a waker, parked in the semaphore or in the list of
//! waiters.
//!
//! | its poll finds | it |
//! |---|---|
//! | an operation that waits, or runs, in this direction | waits until that has ended: an event is for that one |
//! | the lock free, a readiness that came since it parked | consumes it and returns, without a check |
//! | the lock free, no readiness | parks and checks as above: another waiter may have consumed the event |
//!
//! The readiness that ends the wait is a hint, as everywhere: its bytes may have been read. It is consumed, and so is the
//! short-read hint. The read that follows loses nothing by that: it makes its call before it waits.
//!
//! For writing there is no hint. The remembered readiness is dropped first, unlike by a write, because a check follows.

use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use netpoll_core::Mode;

use super::poll_wakers::EntryId;
use super::{Direction, Op, OpState};
use crate::coop::{self, Charge};
use crate::fd::{Fd, FdKind};
use crate::sys::{FdOwner, is_ready_for};
use crate::trace::OpTrace;

impl<S: FdOwner> Fd<S> {
    /// Waits until a call in this direction may succeed. No operation waits for its future.
    ///
    /// Dropped: a readiness that came stays for the next operation.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor is closed, `TimedOut` if the deadline passes, and `Unsupported` if the kernel reports
    /// an error alone on a descriptor that is no socket.
    pub fn readiness<W: Direction>(&self, direction: W) -> Readiness<'_, W, S> {
        let (charge, trace) = (Charge::First, OpTrace::new());
        Readiness { fd: self, direction, entry: None, lock_entry: None, parked: false, charge, trace }
    }
}

/// The future of [`Fd::readiness`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Readiness<'a, W: Direction, S: FdOwner> {
    fd: &'a Fd<S>,
    direction: W,
    /// The entries among the parked tasks and among those that wait for the lock, once it has one.
    entry: Option<EntryId>,
    lock_entry: Option<EntryId>,
    /// Set once it has left the shared waker in the semaphore.
    parked: bool,
    /// The cost of its next poll.
    charge: Charge,
    trace: OpTrace,
}

// No field is pinned.
impl<W: Direction, S: FdOwner> Unpin for Readiness<'_, W, S> {}

impl<'a, W: Direction, S: FdOwner> Readiness<'a, W, S> {
    fn op(&self) -> Op<'a, W, (), S> {
        Op::without_call(self.fd, self.direction).trusting_hint()
    }

    /// Asks the kernel whether a call would succeed now.
    fn is_ready_now(&self) -> io::Result<bool> {
        self.fd.with(|fd| is_ready_for(fd, self.fd.kind.watch(), self.direction.mode()))
    }

    /// Parks under the lock, unless a readiness has come, or this is a forked child, where no event comes. `skips_check` means
    /// that the queue was empty at the last read.
    fn park(
        &mut self,
        op: &mut Op<'_, W, (), S>,
        was_parked: bool,
        skips_check: bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if was_parked || !skips_check {
            let is_ready = self.fd.reset_locked(self.direction.mode())?;
            // Some conditions the kernel reports once: then the event itself is the answer.
            if is_ready && (was_parked || matches!(self.fd.kind, FdKind::Special(_))) {
                return Poll::Ready(Ok(()));
            }
        }
        if !self.fd.netpoll().is_owner_process() {
            return Poll::Pending;
        }
        self.fd.start_polls(self.direction.mode())?;
        let pollers = self.fd.pollers(self.direction.mode());
        pollers.parked.register_owned(&mut self.entry, cx.waker());
        // Its check comes after the parking, and may find bytes whose event was consumed.
        self.fd.last_polls[self.direction.mode() as usize].set_shared(false);
        op.polls = true;
        op.wait::<false>(self.fd.desc(), &mut Context::from_waker(pollers.parked.waker()))
    }

    /// Polls once, after a unit of the budget was taken.
    fn poll_charged(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let was_parked = mem::take(&mut self.parked);
        let mut op = self.op();
        ready!(op.lock_or_register(Some(&mut self.lock_entry), cx.waker()))?;
        let skips_check = op.take_short_read_hint(self.fd.desc());
        let waited = match self.park(&mut op, was_parked, skips_check, cx) {
            Poll::Ready(Ok(())) => Poll::Ready(op.check_event_err(self.fd.desc())),
            other => other,
        };
        self.parked = op.state == OpState::Parked;
        if self.parked {
            // The parking stays when the lock goes.
            op.state = OpState::Locked;
        }
        drop(op);
        match waited {
            Poll::Pending if !skips_check && self.is_ready_now()? => Poll::Ready(Ok(())),
            Poll::Pending => {
                self.fd.check_owner_process().map_or_else(|error| Poll::Ready(Err(error)), |()| Poll::Pending)
            }
            Poll::Ready(Err(refused)) if self.may_be_ready(&refused, was_parked) => {
                Poll::Ready(if self.is_ready_now()? { Ok(()) } else { Err(refused) })
            }
            waited => waited,
        }
    }

    /// Returns whether a call may succeed although the task must not wait for it.
    fn may_be_ready(&self, refused: &io::Error, was_parked: bool) -> bool {
        match refused.kind() {
            // Bytes that came in time may be there though the deadline has passed, as for a call that was parked. A timeout
            // that is over does not hold for a call either.
            io::ErrorKind::TimedOut => was_parked || self.fd.desc().check_err(self.direction.mode()).is_ok(),
            // The kernel reports the error alone as a readiness too.
            io::ErrorKind::Unsupported => false,
            // No thread polls, which a call that need not wait does not miss.
            _ => true,
        }
    }
}

impl<W: Direction, S: FdOwner> Future for Readiness<'_, W, S> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let polling = this.trace.begin(&this.fd.trace, this.direction.mode());
        polling.end(this.poll_within(cx))
    }
}

impl<W: Direction, S: FdOwner> Readiness<'_, W, S> {
    /// Polls within the span of the poll.
    fn poll_within(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let charge = self.charge;
        if charge.poll_proceed(cx).is_pending() {
            // It holds nothing until its task runs again.
            self.charge = Charge::Refused;
            return Poll::Pending;
        }
        let polled = self.poll_charged(cx);
        if polled.is_pending() {
            if charge == Charge::First {
                coop::refund();
            }
            self.charge = Charge::Waited;
        } else {
            self.fd.end_polls(self.direction.mode());
        }
        polled
    }
}

impl<W: Direction, S: FdOwner> Drop for Readiness<'_, W, S> {
    fn drop(&mut self) {
        let mode = self.direction.mode();
        if let Some(lock_entry) = self.lock_entry.take() {
            self.fd.pollers(mode).awaiting_lock().leave(lock_entry);
        }
        let Some(entry) = self.entry.take() else { return };
        let is_last = self.fd.pollers(mode).parked.leave(entry);
        if !self.fd.has_polls(mode) {
            self.fd.end_polls(mode);
        }
        if is_last && self.parked {
            self.fd.retract_if_unused(mode);
        }
    }
}

impl<S: FdOwner> Fd<S> {
    /// Gives up the shared parking if no task is left behind it. A task that parks holds the lock, and has registered before.
    /// While an operation holds the lock there is nothing to do: it has taken the parking over, or will.
    #[cold]
    pub(super) fn retract_if_unused(&self, mode: Mode) {
        let never = |_: &Self| io::Result::Ok(None::<()>);
        let mut op = Op::new(self, mode, never);
        if matches!(op.try_lock(), Poll::Ready(Ok(())))
            && !self.last_polls[mode as usize].is_alone()
            && self.pollers(mode).parked.is_empty()
        {
            // The shared waker belongs to this crate.
            drop(op.retract());
        }
    }
}
