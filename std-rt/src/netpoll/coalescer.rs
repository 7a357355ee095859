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
//! so far are paid for. Each wake moves it by a slack, and it is never more than [`BURST`] slacks in the past.

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
    /// The time from which the wakes so far are paid for.
    paid_at: Mutex<u64>,
}

impl Coalescer {
    /// Creates a coalescer with a largest delay; zero disables it.
    pub fn new(slack: Duration) -> Self {
        let slack = u64::try_from(slack.as_nanos()).unwrap_or(u64::MAX);
        Self { slack, paid_at: Mutex::default() }
    }

    /// Returns the time until which to sleep for a timer due at `at`. `is_crowded` returns whether more than [`FEW`] timers are
    /// due by a time.
    pub fn deadline(&self, at: u64, is_crowded: impl FnOnce(u64) -> bool) -> u64 {
        // Without slack no wake is counted.
        let paid_at = *lock(&self.paid_at);
        if paid_at <= at {
            return at;
        }
        let later = paid_at.min(at.saturating_add(self.slack));
        if is_crowded(later) { later } else { at }
    }

    /// Records that a timer has ended a sleep at `now`.
    pub fn record_wake(&self, now: u64) {
        // The critical section is a subtraction and an addition, so a mutex is cheap enough.
        let mut paid_at = lock(&self.paid_at);
        let earliest = now.saturating_sub(self.slack.saturating_mul(BURST));
        if self.slack > 0 {
            *paid_at = (*paid_at).max(earliest).saturating_add(self.slack);
        }
    }
}
