//! Deadlines of a descriptor: set, moved, come due.
//!
//! # A deadline that only moves later
//!
//! [`PollDesc::postpone`] has no fence and does not look at `armed`, as the deadline before covers the new one: whoever
//! put it there has armed the timer for it or earlier, or is about to. A firing
//!
//! 1. that finds the old deadline not due arms for it: early enough;
//! 2. that finds it due and expires it before the compare-exchange: that one fails, and the deadline is set anew;
//! 3. that finds it due and is too late to expire it: it goes round and arms for the new one.

use crate::deadline::{Deadline, When};
use crate::glist::GList;
use crate::poll_desc::{PollDesc, PollErr};
use crate::poll_key::Modes;
use crate::sync::{Ordering, fence};

impl<const BITS: u32> PollDesc<BITS> {
    /// Moves the deadline of each of the directions from a tick to `at`, which is not before it: a compare-exchange
    /// each, and nothing else. False if that is not all there is to do, or the descriptor is closing; then
    /// [`PollDesc::set_deadline`] takes any change and says what is wrong. For a tick that has not passed: one that has
    /// stands until the timer fires.
    #[inline]
    pub fn postpone(&self, modes: Modes, at: usize) -> bool {
        !self.info.get().closing()
            && (!modes.read || self.rd.postpone(at))
            && (!modes.write || self.wd.postpone(at))
    }

    /// Puts a deadline in force; it stays until the next. `Expired` fires at once: the wakers go into the list, and
    /// the first value is their number. The second value is the tick for which the caller must now arm the
    /// descriptor's timer with [`PollDesc::arm_timer`]; moving a deadline later needs no timer.
    ///
    /// Fails only with [`PollErr::Closing`], having armed nothing.
    ///
    /// # Panics
    ///
    /// If the list has room for fewer than two wakers.
    pub fn set_deadline<const N: usize>(
        &self,
        modes: Modes,
        when: When,
        list: &mut GList<N>,
    ) -> Result<(usize, Option<usize>), PollErr> {
        let info = self.info.get();
        if info.closing() {
            return Err(PollErr::Closing);
        }
        if modes.read {
            self.rd.set(when);
        }
        if modes.write {
            self.wd.set(when);
        }
        // One fence for two looks: at rg and wg if the deadline has passed, at `armed` if it is to come.
        fence(Ordering::SeqCst); // pair: poll_desc::park, poll_deadline::expire
        match when {
            When::Never => Ok((0, None)),
            When::Expired => Ok((self.end_waits(modes, info.fdseq(), list), None)),
            When::At(at) => Ok((0, self.armed.get().is_after(at).then_some(at))),
        }
    }

    /// The caller holds the timer wheel's lock and is about to put the descriptor's entry at `at`: true if it
    /// should, false if the entry is due earlier already or the descriptor is closing.
    pub fn arm_timer(&self, at: usize) -> bool {
        let wanted = !self.info.get().closing() && self.armed.get().is_after(at);
        if wanted {
            self.armed.set(When::At(at));
        }
        wanted
    }

    /// The descriptor's timer has fired: the deadlines that are due at `now` expire and their wakers go into the
    /// list; the first value is their number. The second is the tick to which the caller, still under the wheel's
    /// lock, puts the entry back: a deadline that was moved later costs a store when it is moved, and one early
    /// firing.
    ///
    /// # Panics
    ///
    /// If the list has room for fewer than two wakers.
    pub fn expire<const N: usize>(&self, now: usize, list: &mut GList<N>) -> (usize, Option<usize>) {
        let fdseq = self.info.get().fdseq();
        let mut expired = Modes::NONE;
        let next = loop {
            let (read, write) = (self.rd.get(), self.wd.get());
            let next = read.pending(now).earlier(write.pending(now));
            self.armed.set(next);
            // A setter that moves a deadline earlier
            // 1. before our second look: we see it and go round;
            // 2. after it: its fence comes after ours, so it reads `next` from `armed` and edits the wheel itself.
            fence(Ordering::SeqCst); // pair: poll_deadline::set_deadline
            // One that postpones it has no fence: we expire it first, or find that we did not and go round.
            if (self.rd.get(), self.wd.get()) == (read, write)
                && settle(&self.rd, read, now, &mut expired.read)
                && settle(&self.wd, write, now, &mut expired.write)
            {
                break next;
            }
        };
        fence(Ordering::SeqCst); // pair: poll_desc::park
        let woken = self.end_waits(expired, fdseq, list);
        (woken, if let When::At(at) = next { Some(at) } else { None })
    }
}

/// Expires a deadline that was found, if it is due; false if it was moved since.
fn settle(deadline: &Deadline, found: When, now: usize, expired: &mut bool) -> bool {
    if !found.is_due(now) {
        return true;
    }
    let done = deadline.expire(found);
    *expired |= done;
    done
}
