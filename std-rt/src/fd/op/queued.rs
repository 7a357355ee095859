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

use netpoll_core::poll::fd_mutex::Unlock;
use netpoll_core::{Mode, Modes, PollErr, When};

use super::{Direction, Op, OpState, locked};
use crate::error;
use crate::fd::Fd;
use crate::fd::queue::{Enqueue, QueuePoll, Ticket, Waiter, Withdraw};
use crate::foreign;
use crate::netpoll::{Renewed, TimerId, clock};
use crate::sys::FdOwner;

/// A place in the queue, and the timer of its deadline.
#[derive(Debug)]
pub(super) struct Queued {
    ticket: Ticket,
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
        let Some(extra) = self.extra.get() else { return };
        for (mode, named) in [(Mode::Read, modes.read), (Mode::Write, modes.write)] {
            if !named {
                continue;
            }
            let (alerted, has_notify_waker) = {
                let mut queue = locked(&extra.queues[mode as usize]);
                (queue.take_wakers(|| Waker::noop().clone()), queue.has_notify_waker())
            };
            for (waker, place) in alerted {
                if !foreign::wake(waker) {
                    self.skip_alerted(mode, place);
                }
            }
            if has_notify_waker {
                self.pollers(mode).awaiting_lock.waker().wake_by_ref();
            }
        }
    }

    /// Skips a task whose waker panicked, since it may never be polled again. If it is, it queues again.
    #[cold]
    fn skip_alerted(&self, mode: Mode, place: Waiter) {
        let given_up = locked(self.queue(mode)).remove(place, || self.mutex.leave(mode));
        match given_up {
            // It was handed the lock meanwhile.
            Withdraw::Unlock => match self.unlock_at_rest(mode) {
                Unlock::Free => {}
                unlocked => self.unlock_slow(mode, unlocked),
            },
            // It came meanwhile, and left another waker.
            Withdraw::Done(waker) => foreign::wake_all(waker),
        }
    }
}

impl<W: Direction, F, S: FdOwner> Op<'_, W, F, S> {
    /// Another operation holds the lock: a place in the queue. The task has been counted, so it takes its place before
    /// anything else happens; its waker, whose clone is foreign code, comes after that.
    #[cold]
    pub(super) fn enqueue(&mut self) -> Poll<io::Result<()>> {
        self.fd.check_owner_process()?;
        let enqueued = locked(self.fd.queue(self.mode())).enqueue(Waker::noop().clone());
        match enqueued {
            Enqueue::Granted(_) => self.granted(),
            Enqueue::Closed(_) => self.closed(),
            Enqueue::Waiting(ticket) => {
                self.state = OpState::Queued;
                self.queued = Some(Queued { ticket, timer: DeadlineTimer::default() });
                Poll::Pending
            }
        }
    }

    /// Polled while it is in the queue.
    #[cold]
    pub(super) fn poll_queued(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let waker = cx.waker();
        let mut clone = None;
        loop {
            let Some(Queued { ticket, timer }) = &mut self.queued else {
                unreachable!("an operation looks for its place without having one")
            };
            let mut queue = locked(self.fd.queue(self.direction.mode()));
            match queue.poll_ticket(ticket) {
                QueuePoll::Granted => {
                    drop(queue);
                    return self.granted();
                }
                QueuePoll::Closed => {
                    drop(queue);
                    return self.closed();
                }
                QueuePoll::Skipped => {
                    drop(queue);
                    return self.begin_anew(cx);
                }
                QueuePoll::Waiting(known) => {
                    let replaced = match clone.take() {
                        _ if known.will_wake(waker) => None,
                        Some(clone) => Some(mem::replace(known, clone)),
                        None => {
                            drop(queue);
                            clone = Some(waker.clone());
                            continue;
                        }
                    };
                    drop(queue);
                    drop(replaced);
                    return match self.fd.watch_deadline(self.direction.mode(), timer, waker) {
                        Ok(()) => Poll::Pending,
                        Err(error) => {
                            self.give_up();
                            Poll::Ready(Err(error))
                        }
                    };
                }
            }
        }
    }

    /// The lock has been handed to this task; it is at rest until now.
    fn granted(&mut self) -> Poll<io::Result<()>> {
        self.leave_queue();
        self.lock_at_rest(OpState::Locked)
    }

    /// Starts again after the task was skipped because its waker panicked.
    fn begin_anew(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.leave_queue();
        self.state = OpState::Start;
        self.lock(cx)
    }

    /// The place is used up.
    pub(super) fn leave_queue(&mut self) {
        if let Some(mut queued) = self.queued.take() {
            self.fd.drop_deadline(&mut queued.timer);
        }
    }

    /// Gives the place back; returns its waker, if it is still there.
    #[cold]
    pub(super) fn withdraw(&self, queued: Queued) -> Option<Waker> {
        let Queued { ticket, mut timer } = queued;
        self.fd.drop_deadline(&mut timer);
        let withdrawn =
            locked(self.fd.queue(self.mode())).withdraw(ticket, || self.fd.mutex.leave(self.mode()));
        match withdrawn {
            Withdraw::Unlock => {
                self.unlock_at_rest();
                None
            }
            Withdraw::Done(waker) => waker,
        }
    }
}
