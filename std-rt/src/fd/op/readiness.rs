//! Waiting until a direction is worth a try, without a buffer.
//!
//! The kernel reports a change once. Bytes that lie there may have been reported long ago, and the report used up by an
//! operation that left them, so nobody may park before he knows that none are there:
//!
//! | hint "drained" | bytes | what [`Readiness`] does |
//! |---|---|---|
//! | set, and nothing else is known of the peer | none at the last read | parks without asking; a readiness that came since ends the wait at once |
//! | set, but the peer is gone or sent urgent data | unknown | looks, as without the hint |
//! | clear | there | a look at the descriptor ([`is_ready_for`]) finds them, however old their report |
//! | clear | none | the look finds none; it began after a reset, so what comes later makes a readiness: parks |
//!
//! It keeps no turn. It holds the direction's lock for as long as one poll runs, and leaves behind what a `poll_*` function
//! does: a waker, parked in the semaphore or registered in the queue for the lock. So an operation that was woken by the same
//! event, in this task or in another, finds the lock free, and whoever loses the race for the bytes looks again and parks.
//!
//! | its poll finds | it |
//! |---|---|
//! | an operation that waits, or runs, in this direction | waits until that has ended: what comes is for that one |
//! | the lock free, a readiness that came since it parked | consumes it and returns, without a second look |
//! | the lock free, none | looks as above: another waiter may have consumed it |
//!
//! The readiness that ends the wait is a hint, as everywhere; the bytes may have been those of an earlier read. It is
//! consumed, and so is the hint "drained". That takes nothing from the read that follows: it makes its call before it
//! waits. Dropped, it leaves a readiness that came, and takes its waker back.
//!
//! For writing there is no hint. It drops the remembered readiness first, unlike a write: here the look that follows
//! says the same and more.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use netpoll_core::Mode;

use super::poll_wakers::EntryId;
use super::{Direction, Op, OpState};
use crate::coop::{self, Charge};
use crate::error;
use crate::fd::{Fd, FdKind};
use crate::sys::{FdOwner, is_ready_for};

impl<S: FdOwner> Fd<S> {
    /// Waits until a call in this direction is worth a try. It has no turn between two polls: nobody waits for its future.
    ///
    /// Dropped: a readiness that came stays for the next operation.
    ///
    /// # Errors
    ///
    /// Closed, the deadline; `Unsupported` if the kernel reports an error alone on what is no socket.
    pub fn readiness<W: Direction>(&self, direction: W) -> Readiness<'_, W, S> {
        Readiness { fd: self, direction, entry: None, lock_entry: None, parked: false, charge: Charge::First }
    }
}

/// The future of [`Fd::readiness`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Readiness<'a, W: Direction, S: FdOwner> {
    fd: &'a Fd<S>,
    direction: W,
    /// Its entries among the parked tasks and among those that wait for the lock, once it has one.
    entry: Option<EntryId>,
    lock_entry: Option<EntryId>,
    /// It has left the shared waker in the semaphore.
    parked: bool,
    /// What its next poll costs.
    charge: Charge,
}

// Nothing of it is pinned.
impl<W: Direction, S: FdOwner> Unpin for Readiness<'_, W, S> {}

impl<W: Direction, S: FdOwner> Readiness<'_, W, S> {
    fn op(&self) -> Op<'_, W, (), S> {
        let (fd, direction, state) = (self.fd, self.direction, OpState::Start);
        Op {
            fd,
            direction,
            state,
            queued: None,
            zero_len: false,
            arm_on_park: true,
            trusts_hint: true,
            call: (),
        }
    }

    fn probe(&self) -> io::Result<bool> {
        let news = self.fd.registration.reset(self.direction.mode()).map_err(error::refused)?;
        // The kernel says some things once, whoever asks first: then it was the poller.
        let is_news = matches!(self.fd.kind, FdKind::Special(_)) && news;
        Ok(is_news || self.is_there()?)
    }

    fn is_there(&self) -> io::Result<bool> {
        is_ready_for(self.fd.io.borrow(), self.fd.kind.watch(), self.direction.mode())
    }

    /// Under the lock, which `op` gives back.
    fn wait(
        &self,
        op: &mut Op<'_, W, (), S>,
        entry: &mut Option<EntryId>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match self.look_and_park(op, entry, cx) {
            // As a call does that was parked: what came in time is there, though the deadline has passed.
            Poll::Ready(Err(late)) if self.parked && late.kind() == io::ErrorKind::TimedOut => {
                Poll::Ready(if self.is_there()? { Ok(()) } else { Err(late) })
            }
            waited => waited,
        }
    }

    fn look_and_park(
        &self,
        op: &mut Op<'_, W, (), S>,
        entry: &mut Option<EntryId>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let (desc, mode) = (self.fd.desc(), self.direction.mode());
        let skips = op.take_short_read_hint(desc);
        if self.parked && self.fd.registration.reset(mode).map_err(error::refused)? {
            return Poll::Ready(Ok(()));
        }
        if !skips && self.probe()? {
            return Poll::Ready(Ok(()));
        }
        let pollers = self.fd.pollers(mode);
        pollers.parked.register(entry, cx.waker());
        op.wait(desc, &mut Context::from_waker(pollers.parked.waker()))
    }

    /// One poll, whose unit of the budget has been taken.
    fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (mut entry, mut lock_entry) = (self.entry, self.lock_entry);
        let mut op = self.op();
        let polled = match op.lock_or_register(&mut lock_entry, cx.waker()) {
            Poll::Ready(Ok(())) => self.wait(&mut op, &mut entry, cx),
            other => other,
        };
        // An error alone is no readiness to read, but for a socket, whose next call says what it is.
        let polled = match polled {
            Poll::Ready(Ok(())) => Poll::Ready(op.check_event_err(self.fd.desc())),
            other => other,
        };
        let parked = op.state == OpState::Parked;
        if parked {
            // The parking stays when the lock goes.
            op.state = OpState::Locked;
        }
        drop(op);
        (self.entry, self.lock_entry, self.parked) = (entry, lock_entry, parked);
        polled
    }
}

impl<W: Direction, S: FdOwner> Future for Readiness<'_, W, S> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let charge = self.charge;
        if charge.poll_proceed(cx).is_pending() {
            // It holds nothing until its task's next turn.
            self.charge = Charge::Refused;
            return Poll::Pending;
        }
        let polled = self.poll_taken(cx);
        if polled.is_pending() {
            if charge == Charge::First {
                coop::refund();
            }
            self.charge = Charge::Waited;
        }
        polled
    }
}

impl<W: Direction, S: FdOwner> Drop for Readiness<'_, W, S> {
    fn drop(&mut self) {
        let mode = self.direction.mode();
        if let Some(lock_entry) = self.lock_entry.take() {
            self.fd.pollers(mode).awaiting_lock.leave(lock_entry);
        }
        let Some(entry) = self.entry.take() else { return };
        if self.fd.pollers(mode).parked.leave(entry) && self.parked {
            self.fd.retract_if_unused(mode);
        }
    }
}

impl<S: FdOwner> Fd<S> {
    /// The parking of those who poll is given up if none of them is left. Whoever parks holds the lock, and has joined the
    /// list before. While another operation has the lock there is nothing to do: it has taken the parking over, or will.
    #[cold]
    fn retract_if_unused(&self, mode: Mode) {
        let never = |_: &Self| io::Result::Ok(None::<()>);
        let mut op = Op::new(self, mode, never);
        if matches!(op.try_lock(), Poll::Ready(Ok(()))) && self.pollers(mode).parked.is_empty() {
            // The shared waker, which is ours.
            drop(op.retract());
        }
    }
}
