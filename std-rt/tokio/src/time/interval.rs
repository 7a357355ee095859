//! Ticks at a fixed interval.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use super::sleep::Delay;
use super::{Duration, Instant, LONGEST};

/// The delay of a tick that does not count as missed.
const TOLERANCE: Duration = Duration::from_millis(5);

/// Returns ticks every `period`, the first at once.
///
/// # Panics
///
/// Panics if `period` is zero, and outside of a runtime.
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Returns ticks every `period`, the first at `start`.
///
/// # Panics
///
/// Panics if `period` is zero, and outside of a runtime.
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(period > Duration::ZERO, "`period` must be non-zero.");
    let missed = MissedTickBehavior::default();
    Interval { delay: Delay::new(start), period: period.min(LONGEST), missed }
}

/// The treatment of ticks that are more than 5 ms late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissedTickBehavior {
    /// Delivers all of them, one right after the other.
    #[default]
    Burst,
    /// Delivers one, and continues a period after it.
    Delay,
    /// Delivers one, and continues at the next multiple of the period.
    Skip,
}

impl MissedTickBehavior {
    /// Returns the tick after one that was due at `tick` and is delivered at `now`.
    fn next(self, tick: Instant, now: Instant, period: Duration) -> Instant {
        match self {
            Self::Burst => tick + period,
            Self::Delay => now + period,
            Self::Skip => {
                let late = (now - tick).as_nanos() % period.as_nanos();
                // Less than a period, which is 30 years at most: 2^60 nanoseconds.
                now + (period - Duration::from_nanos(late as u64))
            }
        }
    }
}

/// The ticks of [`interval`] and [`interval_at`].
#[derive(Debug)]
pub struct Interval {
    delay: Delay,
    period: Duration,
    missed: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next tick, and returns the time at which it was due.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the tick is not lost; the next call returns it.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// Polls for the next tick, for a hand-written future.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(self.delay.poll(cx));
        let (tick, now) = (self.delay.deadline(), Instant::now());
        let next = if now > tick + TOLERANCE {
            self.missed.next(tick, now, self.period)
        } else {
            tick + self.period
        };
        self.delay.reset(next);
        Poll::Ready(tick)
    }

    /// Sets the next tick to a period from now.
    pub fn reset(&mut self) {
        self.delay.reset(Instant::now() + self.period);
    }

    /// Sets the next tick to now.
    pub fn reset_immediately(&mut self) {
        self.delay.reset(Instant::now());
    }

    /// Sets the next tick to `after` from now. The period stays.
    pub fn reset_after(&mut self, after: Duration) {
        self.delay.reset(Instant::now() + after.min(LONGEST));
    }

    /// Sets the next tick to `deadline`. The period stays.
    pub fn reset_at(&mut self, deadline: Instant) {
        self.delay.reset(deadline);
    }

    /// Returns the treatment of missed ticks.
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Sets the treatment of missed ticks.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }

    /// Returns the time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }
}
