//! The deadlines of a descriptor, which stay in force until they are set again.
//!
//! A task that is parked is woken by the poller. A task that waits for a lock has a timer of its own, because the operation that
//! holds the lock may belong to a future that is not polled any more:
//!
//! | the deadline | the task that waits for the lock |
//! |---|---|
//! | is in force when it begins to wait | arms a timer for it |
//! | is set, cleared or moved earlier | is woken (`alert`), and arms its timer again |
//! | is moved later | is woken by the old timer, and arms it again |
//!
//! The task puts its waker into the list before it reads the deadline. The setter writes the deadline before it locks the list.
//! So one of the two sees what the other did.

use std::io;
use std::mem;
use std::task::Waker;
use std::time::{Duration, Instant};

use netpoll_core::poll::fd_mutex::WaiterId;
use netpoll_core::{Mode, Modes, PollErr, When};

use super::Fd;
use crate::error;
use crate::foreign;
use crate::netpoll::{Renewed, TimerId, clock};
use crate::sys::FdOwner;

/// The timer of a task that waits for a lock. It is boxed because it is in the future of every operation, and few of them ever
/// wait under a deadline.
#[derive(Debug, Default)]
pub(super) struct DeadlineTimer(Option<Box<Armed>>);

#[derive(Clone, Copy, Debug)]
struct Armed {
    timer: TimerId,
    /// The deadline for which it is armed.
    at: usize,
    /// The end of the task's own wait, if the direction has a timeout.
    limit: Option<u64>,
}

impl DeadlineTimer {
    /// Returns the end of the task's own wait, if it is armed for that or earlier.
    pub(super) fn limit(&self) -> Option<u64> {
        self.0.as_ref()?.limit
    }
}

impl<S: FdOwner> Fd<S> {
    /// Puts a deadline in force for these directions; `None` clears it.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor is closed; nothing is armed then.
    #[inline(always)]
    pub fn set_deadline(&self, modes: Modes, deadline: Option<Instant>) -> io::Result<()> {
        if !self.registration.postpone(modes, deadline) {
            self.change_deadline(modes, deadline)?;
        }
        self.keep_timeouts(modes, || deadline.map(clock::tick));
        Ok(())
    }

    /// Puts a deadline in force that is `duration` from now, or a few milliseconds later if that is a second or more.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor is closed; nothing is armed then.
    #[inline(always)]
    pub fn set_deadline_after(&self, modes: Modes, duration: Duration) -> io::Result<()> {
        if !self.registration.postpone_after(modes, duration) {
            self.change_deadline_after(modes, duration)?;
        }
        self.keep_timeouts(modes, || Some(self.registration.tick_after(duration)));
        Ok(())
    }

    #[inline(never)]
    fn change_deadline(&self, modes: Modes, deadline: Option<Instant>) -> io::Result<()> {
        if self.registration.set_deadline(modes, deadline).map_err(error::refused)? {
            self.alert(modes);
        }
        Ok(())
    }

    #[inline(never)]
    fn change_deadline_after(&self, modes: Modes, duration: Duration) -> io::Result<()> {
        if self.registration.set_deadline_after(modes, duration).map_err(error::refused)? {
            self.alert(modes);
        }
        Ok(())
    }

    /// Arms `timer` for the deadline in force in a direction, if there is one. `limit` is the end of the task's own wait,
    /// if that has one.
    ///
    /// # Errors
    ///
    /// Returns `TimedOut` if it has passed.
    pub(super) fn watch_deadline(
        &self,
        mode: Mode,
        timer: &mut DeadlineTimer,
        limit: Option<u64>,
        waker: &Waker,
    ) -> io::Result<()> {
        let armed = timer.0.as_deref().copied();
        let deadline = self.lock_deadline(mode, limit);
        let now = self.netpoll().now();
        match deadline {
            When::Never => self.drop_deadline(timer),
            When::At(at) if !deadline.is_due(clock::round_down(now)) => {
                let renew = |id| self.netpoll().renew_timer(id, waker) == Renewed::Armed;
                if !armed.is_some_and(|armed| armed.at == at && renew(armed.timer)) {
                    self.drop_deadline(timer);
                    match self.netpoll().add_timer(clock::to_nanos(at, || now), waker.clone()) {
                        Some(id) => timer.0 = Some(Box::new(Armed { timer: id, at, limit })),
                        // No thread polls any more: the operation that holds the lock fails, and then this one.
                        None => self.netpoll().check()?,
                    }
                }
            }
            When::At(_) | When::Expired => return Err(error::refused(PollErr::Timeout)),
        }
        Ok(())
    }

    /// Disarms a timer.
    pub(super) fn drop_deadline(&self, timer: &mut DeadlineTimer) {
        if let Some(armed) = timer.0.take() {
            self.netpoll().drop_timer(armed.timer);
        }
    }

    /// Wakes the tasks that wait for the locks, after a deadline was set.
    pub(super) fn alert(&self, modes: Modes) {
        if self.extra.get().is_none() {
            return;
        }
        let modes = [(Mode::Read, modes.read), (Mode::Write, modes.write)];
        for (mode, _) in modes.into_iter().filter(|(_, named)| *named) {
            let (alerted, has_notify) = {
                let mut waiters = self.waiters();
                let take =
                    |(id, waker): (WaiterId, &mut Waker)| (id, mem::replace(waker, Waker::noop().clone()));
                (waiters.iter_mut(mode).map(take).collect::<Vec<_>>(), waiters.has_notify(mode))
            };
            for (id, waker) in alerted {
                if !foreign::wake(waker) {
                    // The task may never be polled again, and is removed. If it was polled meanwhile, the list has another waker
                    // of it.
                    foreign::wake_all(self.cancel(mode, id));
                }
            }
            if has_notify {
                self.pollers(mode).awaiting_lock().waker().wake_by_ref();
            }
        }
    }
}
