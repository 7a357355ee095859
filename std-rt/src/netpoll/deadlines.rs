//! The deadlines of descriptors: how they are set, their entries in the timer wheels, and how they expire.
//!
//! A descriptor has one entry for both directions, in the wheel that its slot names, so that every thread that moves a
//! deadline finds it.
//!
//! | the new deadline | what it takes |
//! |---|---|
//! | is later than one that has not passed | a compare-exchange ([`Registration::postpone`]). The entry fires too early, once, and is put back |
//! | is the first one, or an earlier one | the entry is put into the wheel under its lock, and a poll that would sleep longer is ended |
//! | has passed | the tasks that are parked are woken at once |
//!
//! [`Registration::postpone`]: netpoll_core::Registration::postpone

use std::time::{Duration, Instant};

use netpoll_core::{GList, Modes, PollErr, PollKey, When};

use super::timers::{Entry, Timers};
use super::{Netpoll, PollRegistration, clock};
use crate::foreign;
use crate::timer;

impl PollRegistration {
    /// Moves the deadlines of these directions to a later instant, as most calls do. Returns false if more is to be done: then
    /// [`set_deadline`](Self::set_deadline) does it.
    #[inline(always)]
    pub fn postpone(&self, modes: Modes, deadline: Option<Instant>) -> bool {
        let Some(at) = deadline.map(clock::tick) else { return false };
        !self.netpoll.clock.is_over(at) && self.postpone_to(modes, at)
    }

    /// Moves the deadlines as [`postpone`](Self::postpone) does, to `duration` from now or up to a few milliseconds later. It
    /// reads no exact clock, and returns false for less than a second.
    #[inline(always)]
    pub fn postpone_after(&self, modes: Modes, duration: Duration) -> bool {
        let at = self.netpoll.clock.coarse_after(duration);
        at.is_some_and(|at| self.postpone_to(modes, at))
    }

    #[inline(always)]
    fn postpone_to(&self, modes: Modes, at: u64) -> bool {
        let when = self.netpoll.clock.deadline(at);
        matches!(when, When::At(at) if self.registration.postpone(modes, at))
    }

    /// Puts a deadline in force for these directions, or clears it; one that has passed fires at once. Returns whether the
    /// tasks that wait for a lock of the descriptor must look at it: not if it only moved later.
    ///
    /// # Errors
    ///
    /// Returns [`PollErr::Closing`] if the descriptor is being closed; nothing is armed then.
    pub fn set_deadline(&self, modes: Modes, deadline: Option<Instant>) -> Result<bool, PollErr> {
        let clock = &self.netpoll.clock;
        let when = match deadline.map(clock::tick) {
            None => When::Never,
            Some(at) if clock.is_over(at) => When::Expired,
            Some(at) => clock.deadline(at),
        };
        self.put_deadline(modes, when)
    }

    /// Puts a deadline in force that is `duration` from now, or up to a few milliseconds later for a second or more. Otherwise
    /// as [`set_deadline`](Self::set_deadline).
    ///
    /// # Errors
    ///
    /// As [`set_deadline`](Self::set_deadline).
    pub fn set_deadline_after(&self, modes: Modes, duration: Duration) -> Result<bool, PollErr> {
        let when = if duration.is_zero() { When::Expired } else { self.deadline(self.tick_after(duration)) };
        self.put_deadline(modes, when)
    }

    /// Puts the deadline of a tick in force, or clears it. A tick that has passed takes effect when the timer fires, so that no
    /// task is woken here.
    ///
    /// # Errors
    ///
    /// As [`set_deadline`](Self::set_deadline).
    pub fn put_tick(&self, modes: Modes, at: Option<u64>) -> Result<(), PollErr> {
        self.put_deadline(modes, at.map_or(When::Never, |at| self.deadline(at))).map(|_| ())
    }

    /// Lets the deadlines of these directions pass now.
    ///
    /// # Errors
    ///
    /// As [`set_deadline`](Self::set_deadline).
    pub fn expire_now(&self, modes: Modes) -> Result<(), PollErr> {
        self.put_deadline(modes, When::Expired).map(|_| ())
    }

    /// Returns the word of a tick.
    pub fn deadline(&self, at: u64) -> When {
        self.netpoll.clock.deadline(at)
    }

    /// Returns the tick that is `duration` from now, or up to a few milliseconds later for a second or more.
    pub fn tick_after(&self, duration: Duration) -> u64 {
        self.netpoll.clock.coarse_after(duration).unwrap_or_else(|| self.netpoll.clock.after(duration))
    }

    fn put_deadline(&self, modes: Modes, when: When) -> Result<bool, PollErr> {
        if let When::At(at) = when
            && self.registration.postpone(modes, at)
        {
            return Ok(false);
        }
        let (mut list, arm) = self.registration.set_deadline(modes, when)?;
        if let Some(at) = arm {
            let wheel = self.netpoll.wheel_of(self.key().slot);
            let mut timers = self.netpoll.lock_wheel(wheel);
            let wanted = self.registration.arm_timer(at).is_some();
            timers.armed += usize::from(wanted);
            let at = clock::to_nanos(at, || self.netpoll.now());
            let earliest = wanted && timers.put(self.key(), at);
            drop(timers);
            if earliest {
                self.netpoll.break_before(wheel, at);
            }
        }
        foreign::wake_all(list.drain());
        Ok(true)
    }
}

impl Netpoll {
    /// Fires the entry of a descriptor, which has come out of its wheel, and puts it back if a deadline is still to come.
    /// Appends the tasks whose waits that ends to `list`.
    pub(super) fn expire_deadline<const N: usize>(
        &self,
        timers: &mut Timers,
        key: PollKey,
        now: u64,
        list: &mut GList<N>,
    ) {
        let index = timers.index(key.slot);
        timers.by_slot[index] = None;
        let Some(desc) = self.cache.get(key) else { return };
        let (mut expired, again) = desc.expire(clock::round_down(now));
        list.append(&mut expired);
        if let Some(at) = again {
            timers.put(key, clock::to_nanos(at, || now));
            self.shard_of(key.slot).counts.timers_rearmed.inc();
        }
    }
}

/// The entries of descriptors.
impl Timers {
    /// Returns the descriptor's index among those of this wheel.
    fn index(&self, slot: u32) -> usize {
        slot as usize / self.stride
    }

    /// Puts the descriptor's entry at `at`, whether it has one or not; returns whether it is the wheel's earliest then.
    fn put(&mut self, key: PollKey, at: u64) -> bool {
        let earliest = self.is_earliest(at);
        let index = self.index(key.slot);
        if self.by_slot.len() <= index {
            self.by_slot.resize(index + 1, None);
        }
        match self.by_slot[index] {
            Some(id) if self.wheel.edit(id, at) => {}
            _ => self.by_slot[index] = Some(timer::insert(&mut self.wheel, at, Entry::Descriptor(key))),
        }
        earliest
    }

    /// Removes the descriptor's entry, if it has one.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let index = self.index(slot);
        let id = self.by_slot.get_mut(index)?.take()?;
        self.wheel.remove(id)
    }
}
