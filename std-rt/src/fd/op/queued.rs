//! An operation that waits for its direction's lock, its deadline or close.

use std::io;
use std::mem;
use std::task::{Context, Poll};

use netpoll_core::poll::fd_mutex::{LockOrWait, WaiterId, Waiting};

use super::{Direction, Op, OpState};
use crate::fd::deadline::DeadlineTimer;
use crate::sys::FdOwner;

/// A place in the list of waiters, and the timer of its deadline.
#[derive(Debug)]
pub(super) struct Queued {
    id: WaiterId,
    timer: DeadlineTimer,
}

impl<W: Direction, F, S: FdOwner> Op<'_, W, F, S> {
    /// Takes a place in the list of waiters, since another operation holds the lock.
    #[cold]
    pub(super) fn wait_for_lock(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.fd.check_owner_process()?;
        let waker = cx.waker().clone();
        let waits = self.fd.mutex.lock_or_wait(self.mode(), &mut self.fd.waiters(), waker);
        match waits {
            LockOrWait::Locked(waker) => {
                // The lock rests while the waker is dropped, which is foreign code and may panic.
                self.state = OpState::LockedAtRest;
                self.fd.decref();
                drop(waker);
                self.lock_at_rest(OpState::Locked)
            }
            LockOrWait::Closed(_) => self.closed(),
            LockOrWait::Waits(id) => {
                self.state = OpState::Queued;
                self.queued = Some(Queued { id, timer: DeadlineTimer::default() });
                self.watch_queued(cx)
            }
        }
    }

    /// Arms the timer for the deadline, and fails if it has passed.
    fn watch_queued(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(queued) = &mut self.queued else {
            unreachable!("an operation waits for the lock without a place")
        };
        let (fd, mode) = (self.fd, self.direction.mode());
        let limit = queued.timer.limit().or_else(|| fd.lock_limit(mode));
        match fd.watch_deadline(mode, &mut queued.timer, limit, cx.waker()) {
            Ok(()) => Poll::Pending,
            Err(error) => {
                self.give_up();
                Poll::Ready(Err(error))
            }
        }
    }

    /// Takes the lock if it was granted, and otherwise waits on.
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
            // It was removed because its waker had panicked: it starts again.
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
