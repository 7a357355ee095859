//! Coalescing of timers: where they crowd, one wake of the poller serves several.
//!
//! A wake costs microseconds, and many a timer less than one. So the poller may wake up later than the earliest timer, by the
//! *slack* at most:
//!
//! | wakes for timers so far | timers that a later wake serves | the poller sleeps until |
//! |---|---|---|
//! | no more than one in each slack, on average | any number | the next timer |
//! | more | up to [`FEW`] | the next timer |
//! | more | more | a slack after the last wake for timers, but no later than a slack after the next timer |
//!
//! Timers that crowd cause one wake in each slack, as if the slack were the tick of the clock. Timers that do not crowd are
//! exact, and so are a few that come in quick succession because their tasks sleep only briefly.
//!
//! The average is that of a leaky bucket, kept as one number (the generic cell rate algorithm): the time from which the wakes
//! so far are paid for. Each wake moves it by a slack, and it is never more than [`BURST`] slacks in the past. After a wake that
//! was put off it is not in the past at all: such a wake is late, and the next one does not come sooner for it.

use std::time::Duration;

use crate::sync::{Mutex, lock};

/// The number of timers in quick succession that are not coalesced.
pub const FEW: usize = 3;

/// The number of wakes, one right after the other, that a time without timers pays for.
const BURST: u64 = 16;

/// The coalescer of one poller's timers, used only under the poller's lock. Times are in nanoseconds.
#[derive(Debug)]
pub struct Coalescer {
    slack: u64,
    wakes: Mutex<Wakes>,
}

/// The wakes for timers so far.
#[derive(Debug, Default)]
struct Wakes {
    /// The time from which they are paid for.
    paid_at: u64,
    /// Set if the sleep that lasts is put off beyond the next timer, so that the wake serves several. The kernel ends it late,
    /// and that time pays for no other wake.
    shared: bool,
}

impl Coalescer {
    /// Creates a coalescer with a largest delay; zero disables it.
    pub fn new(slack: Duration) -> Self {
        let slack = u64::try_from(slack.as_nanos()).unwrap_or(u64::MAX);
        Self { slack, wakes: Mutex::default() }
    }

    /// Returns the time until which to sleep for a timer due at `at`. `is_crowded` returns whether more than [`FEW`] timers are
    /// due by a time.
    pub fn deadline(&self, at: u64, is_crowded: impl FnOnce(u64) -> bool) -> u64 {
        // Without slack no wake is counted. The lock is not held while `is_crowded` locks wheels.
        let paid_at = lock(&self.wakes).paid_at;
        let later = paid_at.min(at.saturating_add(self.slack));
        let shared = paid_at > at && is_crowded(later);
        lock(&self.wakes).shared = shared;
        if shared { later } else { at }
    }

    /// Records that a timer has ended a sleep at `now`.
    pub fn record_wake(&self, now: u64) {
        // The critical section is a subtraction and an addition, so a mutex is cheap enough.
        let mut wakes = lock(&self.wakes);
        let burst = if wakes.shared { 0 } else { self.slack.saturating_mul(BURST) };
        let earliest = now.saturating_sub(burst);
        if self.slack > 0 {
            wakes.paid_at = wakes.paid_at.max(earliest).saturating_add(self.slack);
        }
    }
}
