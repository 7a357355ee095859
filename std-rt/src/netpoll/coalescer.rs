//! The coalescing of timers: a timer may wake the poller later than its time, so that one wake serves its neighbours too.
//!
//! A wake costs microseconds and many a timer less than one. Only where timers crowd does it pay to wait for the next:
//!
//! | timer wakes a second | the next timer | the poller sleeps until |
//! |---|---|---|
//! | at most 2,000 | any | the timer |
//! | more | stands alone: nothing else within a quarter of a millisecond | the timer |
//! | more | has neighbours | the timer and the slack, which grows from wake to wake up to its limit |

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use netpoll_core::sync::RelaxedUsize;

/// The rate of timer wakes, per second, up to which timers are not coalesced.
const UNCOALESCED_RATE: u64 = 2_000;

/// The rate is taken over so long, in nanoseconds.
const WINDOW: u64 = 10_000_000;

/// Steps from no slack to the most.
const STEPS: usize = 8;

/// The coalescer of one poller, used by the holder of the poller's lock alone. Times are in nanoseconds.
#[derive(Debug)]
pub(super) struct Coalescer {
    most: usize,
    now: RelaxedUsize,
    rate: Mutex<Rate>,
}

/// The wakes since a window has begun.
#[derive(Debug, Default)]
struct Rate {
    window: u64,
    wakes: u64,
}

impl Coalescer {
    /// Creates a coalescer with a maximal delay; zero disables it.
    pub(super) fn new(most: Duration) -> Self {
        let most = usize::try_from(most.as_nanos()).unwrap_or(usize::MAX);
        Self { most, now: RelaxedUsize::new(), rate: Mutex::default() }
    }

    /// Returns until when to sleep for a timer due at `at`.
    pub(super) fn deadline(&self, at: u64, has_neighbours: impl FnOnce() -> bool) -> u64 {
        match self.now.get() {
            0 => at,
            now if has_neighbours() => at.saturating_add(now as u64),
            _ => at,
        }
    }

    /// Records that a timer has ended a sleep at `now`.
    pub(super) fn record_wake(&self, now: u64) {
        // The critical section is three additions, so a mutex is cheap enough.
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.wakes += 1;
        let elapsed = now.saturating_sub(rate.window);
        if elapsed < WINDOW {
            return;
        }
        // A first wake after a pause belongs to a window as long as the pause: calm.
        let crowded = rate.wakes.saturating_mul(1_000_000_000) / elapsed > UNCOALESCED_RATE;
        let step = self.most.div_ceil(STEPS);
        let slack = self.now.get();
        let slack =
            if crowded { slack.saturating_add(step).min(self.most) } else { slack.saturating_sub(step) };
        self.now.set(slack);
        *rate = Rate { window: now, wakes: 0 };
    }
}
