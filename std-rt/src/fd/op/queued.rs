//! An operation in the queue for its direction's lock.
//!
//! It waits for whichever comes first: the lock, close, or the deadline of its direction. The operation that has the lock
//! may belong to a future that is not polled any more, so the deadline has a timer here as well:
//!
//! | the deadline | and the queued operation |
//! |---|---|
//! | is in force when it queues | arms a timer for it |
//! | is set, cleared or moved earlier | is woken ([`Fd::alert`]), looks at it and arms its timer anew |
//! | is moved later | is woken by the old timer, and arms it anew |
//!
//! The waker is in the queue before the deadline is looked at, and the setter writes the deadline before it takes the
//! queue's lock, so one of the two sees what the other did.

use std::io;
use std::mem;
use std::task::{Context, Poll, Waker};

use netpoll_core::poll::fd_mutex::{LockOrWait, WaiterId, Waiting};
use netpoll_core::{Mode, Modes, PollErr, When};

use super::{Direction, Op, OpState};
use crate::error;
use crate::fd::Fd;
use crate::foreign;
use crate::netpoll::{Renewed, TimerId, clock};
use crate::sys::FdOwner;

/// A place in the queue, and the timer of its deadline.
#[derive(Debug)]
pub(super) struct Queued {
    id: WaiterId,
    timer: DeadlineTimer,
}

/// A task's timer at the deadline of a direction, and that deadline. Boxed: few operations ever queue under a deadline, and
/// every future of one has room for it.
#[derive(Debug, Default)]
pub(in crate::fd) struct DeadlineTimer(Option<Box<(TimerId, usize)>>);

impl<S: FdOwner> Fd<S> {
    /// Arms `timer` for the deadline in force in a direction, if there is one.
    ///
    /// # Errors
    ///
    /// `TimedOut` if it has passed.
    pub(super) fn watch_deadline(
        &self,
        mode: Mode,
        timer: &mut DeadlineTimer,
        waker: &Waker,
    ) -> io::Result<()> {
        let deadline = self.desc().deadline(mode);
        let now = clock::now();
        match deadline {
            When::Never => self.drop_deadline(timer),
            When::At(at) if !deadline.is_due(clock::round_down(now)) => {
                let armed = timer.0.as_deref().copied();
                let renew = |id| self.netpoll().renew_timer(id, waker) == Renewed::Armed;
                if !armed.is_some_and(|(id, armed)| armed == at && renew(id)) {
                    self.drop_deadline(timer);
                    match self.netpoll().add_timer(clock::to_nanos(at, || now), waker.clone()) {
                        Some(id) => timer.0 = Some(Box::new((id, at))),
                        // No thread polls any more: the operation that has the lock fails, and then this one.
                        None => self.netpoll().check()?,
                    }
                }
            }
            When::At(_) | When::Expired => return Err(error::refused(PollErr::Timeout)),
        }
        Ok(())
    }

    /// Disarms it.
    pub(super) fn drop_deadline(&self, timer: &mut DeadlineTimer) {
        if let Some(timer) = timer.0.take() {
            self.netpoll().drop_timer(timer.0);
        }
    }

    /// A deadline has been set: the tasks that wait for the lock look at it. Those that are parked have been told by the
    /// poller.
    pub(in crate::fd) fn alert(&self, modes: Modes) {
        if self.extra.get().is_none() {
            return;
        }
        for (mode, named) in [(Mode::Read, modes.read), (Mode::Write, modes.write)] {
            if !named {
                continue;
            }
            let (alerted, has_notify) = {
                let mut waiters = self.waiters();
                let take =
                    |(id, waker): (WaiterId, &mut Waker)| (id, mem::replace(waker, Waker::noop().clone()));
                (waiters.iter_mut(mode).map(take).collect::<Vec<_>>(), waiters.has_notify(mode))
            };
            for (id, waker) in alerted {
                if !foreign::wake(waker) {
                    // The task may never be polled again, and is removed. If it was polled meanwhile, it has left another waker.
                    foreign::wake_all(self.cancel(mode, id));
                }
            }
            if has_notify {
                self.pollers(mode).awaiting_lock.waker().wake_by_ref();
            }
        }
    }
}

impl<W: Direction, F, S: FdOwner> Op<'_, W, F, S> {
    /// Takes a place in the list of waiters, since another operation holds the lock.
    #[cold]
    pub(super) fn wait_for_lock(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.fd.check_owner_process()?;
        let waker = cx.waker().clone();
        let waits = self.fd.mutex.lock_or_wait(self.mode(), &mut self.fd.waiters(), waker);
        match waits {
            LockOrWait::Locked(_) => self.locked(),
            LockOrWait::Closed(_) => self.closed(),
            LockOrWait::Waits(id) => {
                self.state = OpState::Queued;
                self.queued = Some(Queued { id, timer: DeadlineTimer::default() });
                self.watch_queued(cx)
            }
        }
    }

    /// Arms the timer of a task in the list for its deadline.
    fn watch_queued(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(queued) = &mut self.queued else {
            unreachable!("an operation waits for the lock without a place")
        };
        match self.fd.watch_deadline(self.direction.mode(), &mut queued.timer, cx.waker()) {
            Ok(()) => Poll::Pending,
            Err(error) => {
                self.give_up();
                Poll::Ready(Err(error))
            }
        }
    }

    /// Polled while it waits for the lock.
    #[cold]
    pub(super) fn poll_queued(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(queued) = &self.queued else {
            unreachable!("an operation waits for the lock without a place")
        };
        let mut waker = cx.waker().clone();
        self.state = match self.fd.waiters().poll(self.mode(), queued.id) {
            Waiting::Waits(known) => {
                mem::swap(known, &mut waker);
                OpState::Queued
            }
            Waiting::Granted => OpState::LockedAtRest,
            Waiting::Gone => OpState::Start,
        };
        if self.state == OpState::Queued {
            drop(waker);
            return self.watch_queued(cx);
        }
        self.leave_queue();
        drop(waker);
        match self.state {
            OpState::LockedAtRest => self.lock_at_rest(OpState::Locked),
            _ if self.fd.mutex.is_closed() => self.closed(),
            // It was removed because its waker had panicked, and begins anew.
            _ => self.lock(cx),
        }
    }

    /// Forgets the place in the list, and drops its timer.
    pub(super) fn leave_queue(&mut self) -> Option<WaiterId> {
        let mut queued = self.queued.take()?;
        self.fd.drop_deadline(&mut queued.timer);
        Some(queued.id)
    }
}
