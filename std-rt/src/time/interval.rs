//! Ticks at a fixed distance.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::{Sleep, sleep_until};

/// What an [`Interval`] does about ticks whose time passed while nobody waited for them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MissedTicks {
    /// Gives them all, one right after the other, until it has caught up: the number of ticks is that of the periods.
    #[default]
    Burst,
    /// Gives one, and goes on a period after it: two ticks are never closer than a period.
    Delay,
    /// Gives one, and goes on at the next multiple of the period: the phase is kept.
    Skip,
}

/// Ticks every `period`, the first at once. Missed ticks come in a [burst](MissedTicks::Burst).
///
/// # Panics
///
/// If `period` is zero.
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks every `period`, the first at `start`.
///
/// # Panics
///
/// If `period` is zero.
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(period > Duration::ZERO, "interval: the period must be longer than zero");
    Interval { next: Some(start), period, missed: MissedTicks::Burst, sleep: sleep_until(start) }
}

/// The ticks of [`interval`]. Exact to the nanosecond that the kernel gives, never early, and without drift: a tick is a
/// multiple of the period after the first, however late the one before was seen.
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
    /// None: beyond what the clock can count.
    next: Option<Instant>,
    period: Duration,
    missed: MissedTicks,
    sleep: Sleep,
}

impl Interval {
    /// With what it does about missed ticks.
    #[must_use]
    pub fn on_missed(mut self, missed: MissedTicks) -> Self {
        self.missed = missed;
        self
    }

    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Waits for the next tick and gives the time for which it was set, which may be a while ago.
    ///
    /// Dropped: the tick is not lost, the next call gives it.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// As [`tick`](Self::tick), for who writes a future by hand.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        let Some(tick) = self.next else { return Poll::Pending };
        ready!(Pin::new(&mut self.sleep).poll(cx));
        self.set(self.after(tick, Instant::now()));
        Poll::Ready(tick)
    }

    /// The next tick comes a period from now.
    pub fn reset(&mut self) {
        self.set(Instant::now().checked_add(self.period));
    }

    fn set(&mut self, next: Option<Instant>) {
        self.next = next;
        if let Some(at) = next {
            self.sleep = sleep_until(at);
        }
    }

    /// The tick after one that was set for `tick` and is given at `now`.
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
