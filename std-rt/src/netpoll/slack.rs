//! How much later than its time a timer may wake the poller, so that one wake serves its neighbours too.
//!
//! A wake costs microseconds and many a timer less than one. Only where timers crowd does it pay to wait for the next:
//!
//! | timer wakes a second | the next timer | the poller sleeps until |
//! |---|---|---|
//! | at most 2,000 | any | the timer |
//! | more | stands alone: nothing else within a quarter of a millisecond | the timer |
//! | more | has neighbours | the timer and the slack, which grows from wake to wake up to its limit |

/// The most wakes a second for which there is no slack.
const CALM: u64 = 2_000;

/// The rate is taken over so long, in nanoseconds.
const WINDOW: u64 = 10_000_000;

/// Steps from no slack to the most.
const STEPS: u64 = 8;

/// The state of the poller's holder; in nanoseconds.
#[derive(Debug)]
pub(super) struct Slack {
    most: u64,
    now: u64,
    window: u64,
    wakes: u64,
}

impl Slack {
    /// At most `most` nanoseconds; 0 for never any.
    pub(super) fn new(most: u64) -> Self {
        Self { most, now: 0, window: 0, wakes: 0 }
    }

    /// Until when to sleep for a timer due at `at`.
    pub(super) fn until(&self, at: u64, has_neighbours: impl FnOnce() -> bool) -> u64 {
        if self.now > 0 && has_neighbours() { at.saturating_add(self.now) } else { at }
    }

    /// A timer has ended a sleep at `now`.
    pub(super) fn woke(&mut self, now: u64) {
        self.wakes += 1;
        let elapsed = now.saturating_sub(self.window);
        if elapsed < WINDOW {
            return;
        }
        // A first wake after a pause belongs to a window as long as the pause: calm.
        let crowded = self.wakes.saturating_mul(1_000_000_000) / elapsed > CALM;
        let step = self.most.div_ceil(STEPS);
        self.now = if crowded { (self.now + step).min(self.most) } else { self.now.saturating_sub(step) };
        (self.window, self.wakes) = (now, 0);
    }
}
