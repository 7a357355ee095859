//! Deadlines of descriptors. Most that are set only move one later, and for that `PollDesc::postpone` is enough; here is
//! what else there may be to do.

use std::time::Duration;

use netpoll_core::{Modes, PollErr, When};

use super::{Netpoll, Registration, clock, tick};

impl Netpoll {
    /// When a deadline is that was given as a tick: none, or one that has passed, if that is so, however long ago the last
    /// poll was.
    #[inline]
    pub fn deadline_at(&self, deadline: Option<u64>) -> When {
        let Some(at) = deadline else { return When::Never };
        if self.is_over(at) { When::Expired } else { self.when(at) }
    }

    /// True for a tick that is over.
    #[inline]
    pub fn is_over(&self, tick: u64) -> bool {
        self.clock.is_over(tick)
    }

    /// When a deadline is that is a second or more away from now, or up to a few milliseconds more than it should be: the
    /// cheapest, as no exact clock is looked at. None if it is less than a second away.
    #[inline]
    pub fn deadline_long_after(&self, after: Duration) -> Option<When> {
        self.clock.coarse_after(after).map(|at| self.when(at))
    }

    /// When a deadline is that is so far away from now.
    pub fn deadline_after(&self, after: Duration) -> When {
        if after.is_zero() { When::Expired } else { self.when(clock::after(after)) }
    }

    /// At a tick that is still to come; one that no word reaches is as good as none.
    #[inline]
    fn when(&self, at: u64) -> When {
        if tick::is_representable(at, || self.clock.coarse()) {
            When::At(tick::round_up(at))
        } else {
            When::Never
        }
    }

    /// Puts a deadline in force, whatever was there before; one that has passed fires at once.
    ///
    /// # Errors
    ///
    /// [`PollErr::Closing`], with nothing armed.
    #[inline(never)]
    pub fn set_deadline(
        &self,
        registration: &Registration<'_>,
        modes: Modes,
        when: When,
    ) -> Result<(), PollErr> {
        let (list, arm) = registration.set_deadline(modes, when)?;
        if let Some(at) = arm {
            let key = registration.key();
            let mut timers = self.wheels.of(key.slot);
            let wanted = registration.arm_timer(at);
            timers.armed += usize::from(wanted);
            let at = tick::to_nanos(at, clock::now);
            let earliest = wanted && timers.put(key, at);
            drop(timers);
            if earliest {
                self.break_before(at);
            }
        }
        self.wake_all(list);
        Ok(())
    }
}
