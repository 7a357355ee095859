//! Time as ticks: nanoseconds since the poller was made.
//!
//! The exact clock takes some twenty nanoseconds to read, which is more than all else that it takes to move a deadline.
//! The coarse one takes four, and is behind by a tick of the kernel or two. It serves where that does not matter:
//!
//! | asked | clock |
//! |---|---|
//! | is this instant over? | the coarse one if it says that there is a tenth of a second left, else the exact one |
//! | when is a second from now, or later? | the coarse one, and as much more as it may be behind: never too early |
//! | when is less than a second from now? | the exact one |

use std::ops::Range;
use std::time::{Duration, Instant};

use netpoll_core::counter::Gauge;

use crate::sys;

/// The latest tick: 292 years after the poller was made.
const LATEST: u64 = i64::MAX as u64;

/// What the coarse clock says is so far ahead, in nanoseconds, is ahead.
const FAR: u64 = 100_000_000;

/// Durations of so many seconds begin at the coarse clock. What is less is exact, and what is more could be more than the
/// word holds.
const LONG: Range<u64> = 1..1 << 32;

/// The clocks of a poller.
#[derive(Debug)]
pub(super) struct Clock {
    /// Tick 0.
    epoch: Instant,
    /// The same for the coarse clock, or a moment before.
    coarse_epoch: u64,
    /// How far the coarse clock may be behind.
    lag: u64,
    /// Milliseconds, as they were at the last poll.
    polled: Gauge,
}

impl Clock {
    pub(super) fn new() -> Self {
        let coarse_epoch = sys::exact_now();
        Self { coarse_epoch, epoch: Instant::now(), lag: sys::coarse_lag(), polled: Gauge::new() }
    }

    pub(super) fn now(&self) -> u64 {
        self.tick(Instant::now())
    }

    /// 0 for what was before, saturating 292 years later.
    #[inline]
    pub(super) fn tick(&self, at: Instant) -> u64 {
        nanoseconds(at.saturating_duration_since(self.epoch)).min(LATEST)
    }

    /// True for a tick that is certainly still to come.
    #[inline]
    pub(super) fn is_far(&self, tick: u64) -> bool {
        tick > self.coarse() + FAR
    }

    /// The tick so long from now, and not before; none if that is now. For a second or more it may be a few milliseconds
    /// after.
    #[inline]
    pub(super) fn after(&self, duration: Duration) -> Option<u64> {
        let seconds = duration.as_secs();
        if !LONG.contains(&seconds) {
            return self.exactly_after(duration);
        }
        let nanoseconds = seconds * 1_000_000_000 + u64::from(duration.subsec_nanos());
        Some(self.coarse() + self.lag + nanoseconds)
    }

    #[inline(never)]
    fn exactly_after(&self, duration: Duration) -> Option<u64> {
        let at = self.now().saturating_add(nanoseconds(duration)).min(LATEST);
        (!duration.is_zero()).then_some(at)
    }

    /// The coarse clock. One that was forgotten by its kernel for a while, in a virtual machine, is corrected by the exact
    /// look that the last poll has taken.
    #[inline]
    fn coarse(&self) -> u64 {
        // The last tick may have been before the epoch.
        let coarse = sys::coarse_now().saturating_sub(self.coarse_epoch);
        coarse.max(self.polled.get() as u64 * 1_000_000)
    }

    /// Milliseconds at the last poll; the word wraps on 32-bit, after 49 days.
    #[inline]
    pub(super) fn polled(&self) -> usize {
        self.polled.get()
    }

    /// A poll has found it to be `now`.
    #[inline]
    pub(super) fn set_polled(&self, now: u64) {
        self.polled.set(milliseconds(now));
    }
}

/// As [`Clock::polled`] gives them.
#[inline]
pub(super) fn milliseconds(tick: u64) -> usize {
    (tick / 1_000_000) as usize
}

/// Saturating; without the 128 bits of `as_nanos`.
#[inline]
fn nanoseconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}
