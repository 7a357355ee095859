//! Deadlines of a descriptor: how they are set, moved and expire.
//!
//! # A deadline that only moves later
//!
//! [`Registration::postpone`] has no fence and does not look at `armed`, as the deadline before covers the new one: the
//! thread that set it has armed the timer for it or earlier, or is about to. A firing
//!
//! 1. that finds the old deadline not due arms for it: early enough;
//! 2. that finds it due and expires it before the compare-exchange: that one fails, and the deadline is set anew;
//! 3. that finds it due and is too late to expire it: it goes round and arms for the new one.

use crate::deadline::{Deadline, When};
use crate::glist::GList;
use crate::poll_desc::{PollDesc, PollErr};
use crate::poll_key::Modes;
use crate::registration::Registration;
use crate::sync::{Ordering, fence};

impl<const BITS: u32> Registration<'_, BITS> {
    /// Moves the deadline of each of the directions from a tick to `at`, which is not before it: a compare-exchange
    /// each, and nothing else. False if that is not all there is to do, or the descriptor is closing; then
    /// [`Registration::set_deadline`] takes any change and says what is wrong. For a tick that has not passed: one that has
    /// stands until the timer fires.
    #[inline]
    pub fn postpone(&self, modes: Modes, at: usize) -> bool {
        let desc = self.desc();
        !desc.info.get().closing()
            && (!modes.read || desc.rd.postpone(at))
            && (!modes.write || desc.wd.postpone(at))
    }

    /// Puts a deadline in force; it stays until the next. `Expired` fires at once: the wakers of the tasks whose waits it
    /// ends are returned, and the count of waiters falls by their number once they are runnable. The second value is the
    /// tick for which the caller must now arm the descriptor's timer with [`Registration::arm_timer`]; moving a deadline
    /// later needs no timer.
    ///
    /// # Errors
    ///
    /// Returns [`PollErr::Closing`] if the descriptor is being closed; nothing is armed then.
    pub fn set_deadline(&self, modes: Modes, when: When) -> Result<(GList<2>, Option<usize>), PollErr> {
        let desc = self.desc();
        if desc.info.get().closing() {
            return Err(PollErr::Closing);
        }
        if modes.read {
            desc.rd.set(when);
        }
        if modes.write {
            desc.wd.set(when);
        }
        // One fence for two looks: at rg and wg if the deadline has passed, at `armed` if it is to come.
        fence(Ordering::SeqCst); // pair: registration::park, poll_deadline::expire
        match when {
            When::Never => Ok((GList::new(), None)),
            When::Expired => Ok((desc.unblock_all(modes, self.key().fdseq), None)),
            When::At(at) => Ok((GList::new(), desc.armed.get().is_after(at).then_some(at))),
        }
    }

    /// Returns whether the caller, which holds the timer wheel's lock, is to put the descriptor's entry at `at`: false if the
    /// entry is due earlier already or the descriptor is closing.
    pub fn arm_timer(&self, at: usize) -> bool {
        let desc = self.desc();
        let wanted = !desc.info.get().closing() && desc.armed.get().is_after(at);
        if wanted {
            desc.armed.set(When::At(at));
        }
        wanted
    }
}

impl<const BITS: u32> PollDesc<BITS> {
    /// Fires the descriptor's timer: the deadlines that are due at `now` expire, and the wakers of the tasks whose waits
    /// that ends are returned; the count of waiters falls by their number once they are runnable. The second value is the
    /// tick to which the caller puts the entry back: a deadline that was moved later costs a store when it is moved, and one
    /// early firing.
    ///
    /// The caller holds the timer wheel's lock, from taking the entry out of the wheel to putting it back; the entry of a
    /// descriptor is out of the wheel before its slot is freed. An entry that is left there fires for the slot's next owner:
    /// it expires only what is due then, and may wake a task once for nothing.
    pub fn expire(&self, now: usize) -> (GList<2>, Option<usize>) {
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
                && expire_if_due(&self.rd, read, now, &mut expired.read)
                && expire_if_due(&self.wd, write, now, &mut expired.write)
            {
                break next;
            }
        };
        fence(Ordering::SeqCst); // pair: registration::park
        // After the deadlines: whichever generation's expired, its waiters are not missed.
        let list = self.unblock_all(expired, self.info.get().fdseq());
        (list, if let When::At(at) = next { Some(at) } else { None })
    }
}

/// Expires a deadline that was found, if it is due. Returns false if it was moved since.
fn expire_if_due(deadline: &Deadline, found: When, now: usize, expired: &mut bool) -> bool {
    if !found.is_due(now) {
        return true;
    }
    let done = deadline.expire(found);
    *expired |= done;
    done
}
