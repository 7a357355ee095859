//! Ticks at a fixed interval.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::Timer;
use crate::netpoll::{clock, local_clock};

/// The treatment of ticks whose time passed while no task waited for them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MissedTicks {
    /// Delivers all of them, one right after the other: the number of ticks is the number of periods.
    #[default]
    Burst,
    /// Delivers one, and continues a period after it: two ticks are never closer than a period.
    Delay,
    /// Delivers one, and continues at the next multiple of the period: the phase is kept.
    Skip,
}

/// Returns ticks every `period`, the first at once. Missed ticks come in a [burst](MissedTicks::Burst).
///
/// # Panics
///
/// Panics if `period` is zero.
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(local_clock::instant(), period)
}

/// Returns ticks every `period`, the first at `start`.
///
/// # Panics
///
/// Panics if `period` is zero.
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(period > Duration::ZERO, "interval: the period must be longer than zero");
    Interval { next: Some(start), period, missed: MissedTicks::Burst, timer: Timer::new(clock::tick(start)) }
}

/// The ticks of [`interval`]. They are as exact as the kernel's nanoseconds, never early, and without drift:
/// a tick is a multiple of the period after the first, however late the one before was delivered.
///
/// ```
/// # use std::time::{Duration, Instant};
/// use netpoll_rt::time::{MissedTicks, interval};
///
/// # netpoll_rt::block_on(async {
/// let start = Instant::now();
/// let mut ticks = interval(Duration::from_millis(5)).on_missed(MissedTicks::Skip);
/// for _ in 0..3 {
///     ticks.tick().await;
/// }
/// assert!(start.elapsed() >= Duration::from_millis(10));
/// # });
/// ```
#[derive(Debug)]
pub struct Interval {
    /// The next tick; `None` if it is beyond the range of the clock.
    next: Option<Instant>,
    period: Duration,
    missed: MissedTicks,
    timer: Timer,
}

impl Interval {
    /// Sets the treatment of missed ticks.
    #[must_use]
    pub fn on_missed(mut self, missed: MissedTicks) -> Self {
        self.missed = missed;
        self
    }

    /// Returns the time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Returns the treatment of missed ticks.
    pub fn missed_tick_behavior(&self) -> MissedTicks {
        self.missed
    }

    /// Sets the treatment of missed ticks, as [`on_missed`](Self::on_missed) does.
    pub fn set_missed_tick_behavior(&mut self, missed: MissedTicks) {
        self.missed = missed;
    }

    /// Waits for the next tick, and returns the time for which it was set, which may be in the past.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the tick is not lost; the next call returns it.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// Polls for the next tick as [`tick`](Self::tick) does, for a hand-written future.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        let Some(tick) = self.next else { return Poll::Pending };
        ready!(self.timer.poll(cx));
        self.set(self.after(tick, local_clock::instant()));
        Poll::Ready(tick)
    }

    /// Sets the next tick to a period from now.
    ///
    /// ```
    /// # use std::time::{Duration, Instant};
    /// use netpoll_rt::time::interval;
    ///
    /// # netpoll_rt::block_on(async {
    /// let mut ticks = interval(Duration::from_secs(3600));
    /// ticks.tick().await; // The first one comes at once.
    /// ticks.reset_after(Duration::from_millis(2));
    /// let begin = Instant::now();
    /// ticks.tick().await; // The ones after it come an hour apart again.
    /// assert!(begin.elapsed() < Duration::from_secs(60));
    /// # });
    /// ```
    pub fn reset(&mut self) {
        self.set(local_clock::instant().checked_add(self.period));
    }

    /// Sets the next tick to now.
    pub fn reset_immediately(&mut self) {
        self.set(Some(local_clock::instant()));
    }

    /// Sets the next tick to `after` from now; the period stays.
    pub fn reset_after(&mut self, after: Duration) {
        self.set(local_clock::instant().checked_add(after));
    }

    /// Sets the next tick to `at`; the period stays. An instant that has passed is due at once.
    pub fn reset_at(&mut self, at: Instant) {
        self.set(Some(at));
    }

    /// Sets the time of the next tick. A task that waits for it already is woken then, unless the previous one was beyond the clock.
    fn set(&mut self, next: Option<Instant>) {
        self.next = next;
        if let Some(at) = next {
            self.timer.reset(clock::tick(at));
        }
    }

    /// Returns the tick after one that was set for `tick` and is delivered at `now`.
    fn after(&self, tick: Instant, now: Instant) -> Option<Instant> {
        let next = tick.checked_add(self.period)?;
        if next > now {
            return Some(next);
        }
        match self.missed {
            MissedTicks::Burst => Some(next),
            MissedTicks::Delay => now.checked_add(self.period),
            MissedTicks::Skip => {
                let since = now.duration_since(tick).as_nanos() % self.period.as_nanos();
                let rest = self.period.as_nanos() - since;
                now.checked_add(Duration::new((rest / 1_000_000_000) as u64, (rest % 1_000_000_000) as u32))
            }
        }
    }
}
