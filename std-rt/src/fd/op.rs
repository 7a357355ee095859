//! The one skeleton of every operation, as one future: lock, reset, call, wait, again.
//!
//! | state | holds | leaves it by |
//! |---|---|---|
//! | `Start` | nothing | taking the direction's lock, queueing for it, or failing since the descriptor is closed |
//! | `Refused` | nothing: the turn was over at its first poll | the same, and is not refused again |
//! | `Queued` | a place in the queue | being handed the lock, or thrown out by close |
//! | `Locked` | the lock and a reference | the call's result, or parking |
//! | `Parked` | the same, and its waker is in the semaphore | an event, a deadline, close |
//! | `Done` | nothing | - |
//!
//! Dropped in any state it gives back what it holds: a place in the queue, a lock that was handed to it in the meantime,
//! a parking. A readiness that came for it stays for the next operation.

mod attempt;
mod polled;
mod pollers;
mod readiness;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use netpoll_core::fd_mutex::Lock;
use netpoll_core::poll_desc::Wait;
use netpoll_core::poll_key::Mode;
use netpoll_core::waiters::BreakFlag;

use super::queue::{Enqueue, LockQueue, Look, Ticket, Withdraw};
use super::{Fd, Kind};
use crate::budget;
use crate::error;
use crate::netpoll::PollDesc;
use crate::sys::{self, SharedFd, Source};
pub(super) use pollers::Pollers;

/// Nothing foreign runs under the queue's lock, so a panic cannot leave it in the middle of something.
pub(super) fn locked(queue: &Mutex<LockQueue<Waker>>) -> MutexGuard<'_, LockQueue<Waker>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The direction of an operation. Most know theirs when they are compiled, which spares every poll the question.
pub trait Way: Copy {
    /// Which it is.
    fn mode(self) -> Mode;
}

/// It reads.
#[derive(Clone, Copy, Debug)]
pub struct Reads;

/// It writes.
#[derive(Clone, Copy, Debug)]
pub struct Writes;

impl Way for Reads {
    #[inline(always)]
    fn mode(self) -> Mode {
        Mode::Read
    }
}

impl Way for Writes {
    #[inline(always)]
    fn mode(self) -> Mode {
        Mode::Write
    }
}

impl Way for Mode {
    #[inline(always)]
    fn mode(self) -> Mode {
        self
    }
}

#[derive(Debug)]
enum State {
    Start,
    Refused,
    Queued(Ticket),
    Locked,
    Parked,
    Done,
}

/// An operation on one direction. `call` makes the system call; `Ok(None)` says that it has got on and wants to be called
/// again, `WouldBlock` that there is nothing to be got.
#[must_use = "an operation does nothing until it is awaited"]
pub(super) struct Op<'a, W: Way, F, S: Source = SharedFd> {
    fd: &'a Fd<S>,
    way: W,
    state: State,
    /// The call asks the kernel for nothing, so it neither waits nor spends a readiness.
    empty: bool,
    /// It wants to hear of the direction's readiness when it is parked.
    listens: bool,
    call: F,
}

// The call is not pinned: it is only ever called by reference.
impl<W: Way, F, S: Source> Unpin for Op<'_, W, F, S> {}

impl<'a, W: Way, F, S: Source> Op<'a, W, F, S> {
    #[inline]
    pub(super) fn new<T>(fd: &'a Fd<S>, way: W, call: F) -> Self
    where
        F: FnMut(&Fd<S>) -> io::Result<Option<T>>,
    {
        Self { fd, way, state: State::Start, empty: false, listens: true, call }
    }

    /// A read of no bytes, if `empty`: all it takes is the lock.
    #[inline]
    pub(super) fn empty(mut self, empty: bool) -> Self {
        self.empty = empty;
        self
    }

    #[inline(always)]
    fn mode(&self) -> Mode {
        self.way.mode()
    }

    /// The right to the direction: one operation has it, the others queue.
    #[inline]
    fn lock(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            State::Locked | State::Parked => Poll::Ready(Ok(())),
            State::Start => match self.fd.mutex.lock(self.mode()) {
                Lock::Locked => self.locked(),
                Lock::Closed => self.closed_at_once(cx),
                Lock::Queued => self.enqueue(cx.waker()),
            },
            State::Queued(_) => self.look(cx.waker()),
            State::Refused => self.lock_unrefused(cx),
            State::Done => panic!("an operation was polled after it had given its result"),
        }
    }

    #[inline]
    fn locked(&mut self) -> Poll<io::Result<()>> {
        self.state = State::Locked;
        Poll::Ready(Ok(()))
    }

    #[cold]
    fn closed(&mut self) -> Poll<io::Result<()>> {
        self.state = State::Done;
        Poll::Ready(Err(error::closed()))
    }

    /// It has not waited, so its error counts.
    #[cold]
    fn closed_at_once(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if budget::poll_take(cx).is_pending() {
            self.state = State::Refused;
            return Poll::Pending;
        }
        self.closed()
    }

    /// It was refused in an earlier turn, and is not in this one: it costs one unit, whatever is left.
    #[cold]
    fn lock_unrefused(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        budget::spend(1);
        match self.fd.mutex.lock(self.mode()) {
            Lock::Locked => self.locked(),
            Lock::Closed => self.closed(),
            Lock::Queued => self.enqueue(cx.waker()),
        }
    }

    /// The turn was over: holds nothing until its task's next one, so that an operation that is not polled again stands
    /// in nobody's way.
    #[cold]
    fn refused<T>(&mut self) -> Poll<T> {
        self.state = State::Refused;
        self.fd.unlock(self.mode());
        Poll::Pending
    }

    /// Another operation holds the lock: a place in the queue.
    #[cold]
    fn enqueue(&mut self, waker: &Waker) -> Poll<io::Result<()>> {
        let enqueued = locked(self.fd.queue(self.mode())).enqueue(waker.clone());
        match enqueued {
            Enqueue::Granted(_) => self.locked(),
            Enqueue::Closed(_) => self.closed(),
            Enqueue::Waiting(ticket) => {
                self.state = State::Queued(ticket);
                Poll::Pending
            }
        }
    }

    /// Polled while it is in the queue.
    #[cold]
    fn look(&mut self, waker: &Waker) -> Poll<io::Result<()>> {
        let State::Queued(ticket) = &self.state else { return self.closed() };
        let mut queue = locked(self.fd.queue(self.mode()));
        match queue.look(ticket) {
            Look::Waiting(old) => {
                let old = (!old.will_wake(waker)).then(|| std::mem::replace(old, waker.clone()));
                drop(queue);
                drop(old);
                Poll::Pending
            }
            Look::Granted => {
                drop(queue);
                self.locked()
            }
            Look::Closed => {
                drop(queue);
                self.closed()
            }
        }
    }

    /// The last read took all there was, and nothing says that more was queued behind it: neither call nor reset, which
    /// would drop an edge that came since. Of a pipe that others write to no read says that.
    #[inline]
    fn skips_call(&self, desc: &PollDesc) -> bool {
        let drained = self.mode() == Mode::Read && !self.empty && self.fd.drained.take();
        drained && !desc.info().must_look() && !self.fd.strangers().is_some_and(BreakFlag::is_set)
    }

    /// Before a call: may the direction go on? A read drops a remembered readiness, which stands for what the call will
    /// find. A write leaves it: every event of a socket brings one along, and it costs no more than one more try after
    /// the next `EAGAIN`.
    #[inline]
    fn prepare(&self, desc: &PollDesc) -> io::Result<()> {
        if self.empty {
            return Ok(());
        }
        let ready = match self.mode() {
            Mode::Read => self.fd.registration().reset(Mode::Read).map(|_| ()),
            Mode::Write => desc.check_err(Mode::Write),
        };
        ready.map_err(error::refused)
    }

    /// Waits until a call is worth a try; parked when pending. Ready with `Ok`, it has dropped the readiness that stood
    /// for what the call will find, and looked whether the direction may go on.
    #[inline]
    fn wait(&mut self, desc: &PollDesc, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let again = matches!(self.state, State::Parked);
        if again {
            self.state = State::Locked;
            if self.fd.registration().reset(self.mode()).map_err(error::refused)? {
                return Poll::Ready(Ok(()));
            }
        }
        // Who was not parked comes from a call, or knows that there is nothing to call for: as a rule he parks, and to park
        // is to look at the same once more.
        self.park(desc, cx, again)
    }

    #[inline]
    fn park(&mut self, desc: &PollDesc, cx: &mut Context<'_>, again: bool) -> Poll<io::Result<()>> {
        match self.fd.netpoll().park(self.fd.registration(), self.mode(), cx, again) {
            // Again: not parked, but woken already; the next poll waits first, as if it had been.
            Wait::Parked | Wait::Again => {
                self.state = State::Parked;
                if self.listens {
                    self.fd.netpoll().arm(self.fd.registration(), self.fd.io.borrow(), self.mode());
                    self.must_be_pollable(desc)?;
                }
                Poll::Pending
            }
            // It came just now; that the direction may go on is to be looked at anew.
            Wait::Ready => Poll::Ready(desc.check_err(self.mode()).map_err(error::refused)),
            Wait::Failed(why) => Poll::Ready(Err(error::refused(why))),
        }
    }

    /// Ends a parking of its own: no other task can have taken it over, since that takes the lock that this one holds.
    fn retract(&self) {
        drop(self.fd.registration().retract(self.mode()));
    }

    /// The call has found nothing, and the last event was an error alone. A socket's own errors come out of its calls, so
    /// more is to come there (a queue of errors, a reset that is just being made); of anything else nobody knows.
    ///
    /// 1. The event came before the parking: seen here. 2. After it: it wakes the task, whose call then comes here.
    #[inline]
    fn must_be_pollable(&mut self, desc: &PollDesc) -> io::Result<()> {
        if self.mode() == Mode::Read && desc.info().event_err() { self.look_what_it_is() } else { Ok(()) }
    }

    #[cold]
    fn look_what_it_is(&mut self) -> io::Result<()> {
        if matches!(self.fd.kind, Kind::Special(_)) || sys::is_socket(self.fd.io.borrow()) {
            return Ok(());
        }
        if matches!(self.state, State::Parked) {
            self.retract();
            self.state = State::Locked;
        }
        Err(error::not_pollable())
    }
}

impl<T, W: Way, F: FnMut(&Fd<S>) -> io::Result<Option<T>>, S: Source> Future for Op<'_, W, F, S> {
    type Output = io::Result<T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let this = &mut *self;
        let fresh = matches!(this.state, State::Start);
        ready!(this.lock(cx))?;
        let result = ready!(this.attempt(cx, fresh));
        this.state = State::Done;
        this.fd.unlock(this.mode());
        Poll::Ready(result)
    }
}

impl<W: Way, F, S: Source> Drop for Op<'_, W, F, S> {
    #[inline(always)]
    fn drop(&mut self) {
        // As a rule it has given its result, and there is nothing to give back.
        if !matches!(self.state, State::Start | State::Refused | State::Done) {
            self.give_up();
        }
    }
}

impl<W: Way, F, S: Source> Op<'_, W, F, S> {
    #[inline(never)]
    fn give_up(&mut self) {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Start | State::Refused | State::Done => {}
            State::Queued(ticket) => self.withdraw(ticket),
            State::Locked => self.fd.unlock(self.mode()),
            State::Parked => {
                self.retract();
                self.fd.unlock(self.mode());
            }
        }
    }

    #[cold]
    fn withdraw(&self, ticket: Ticket) {
        let withdrawn =
            locked(self.fd.queue(self.mode())).withdraw(ticket, || self.fd.mutex.leave(self.mode()));
        match withdrawn {
            Withdraw::Unlock => self.fd.unlock(self.mode()),
            Withdraw::Done(waker) => drop(waker),
        }
    }
}
