//! Time as ticks: nanoseconds of the exact clock, the same for every poller of the process.
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

use netpoll_core::sync::RelaxedUsize;

use super::tick;
use crate::sys;

/// The latest tick: 292 years after the machine was started.
pub const LATEST: u64 = i64::MAX as u64;

/// The distance in nanoseconds beyond which the coarse clock is good enough to tell that an instant is ahead.
const COARSE_HORIZON: u64 = 100_000_000;

/// The durations, in seconds, that are added to the coarse clock. Shorter ones are exact; longer ones could exceed what the
/// word holds.
const COARSE_RANGE: Range<u64> = 1..1 << 32;

/// The tick now.
#[inline]
pub fn now() -> u64 {
    sys::exact_now()
}

/// The tick so long from now, [`LATEST`] if it cannot be counted.
#[inline]
pub fn after(duration: Duration) -> u64 {
    now().saturating_add(nanoseconds(duration)).min(LATEST)
}

/// The tick of an instant: 0 for what was long ago, [`LATEST`] for what cannot be counted.
#[inline]
pub fn tick(at: Instant) -> u64 {
    let (known, tick) = sys::anchor();
    match at.checked_duration_since(known) {
        Some(since) => tick.saturating_add(nanoseconds(since)).min(LATEST),
        None => tick.saturating_sub(nanoseconds(known.duration_since(at))),
    }
}

/// What a poller knows of the time besides.
#[derive(Debug)]
pub(super) struct Clock {
    /// The error of the coarse clock, by which it may be behind.
    coarse_error: u64,
    /// When the last poll was.
    polled: RelaxedUsize,
}

impl Clock {
    pub(super) fn new() -> Self {
        let clock = Self { coarse_error: sys::coarse_error(), polled: RelaxedUsize::new() };
        clock.set_polled(now());
        clock
    }

    /// True for a tick that is over.
    #[inline]
    pub(super) fn is_over(&self, tick: u64) -> bool {
        tick <= self.coarse() + COARSE_HORIZON && tick <= now()
    }

    /// Returns the tick so long from now, or up to a few milliseconds later, if `duration` is in [`COARSE_RANGE`].
    #[inline]
    pub(super) fn coarse_after(&self, duration: Duration) -> Option<u64> {
        let seconds = duration.as_secs();
        if !COARSE_RANGE.contains(&seconds) {
            return None;
        }
        let nanoseconds = seconds * 1_000_000_000 + u64::from(duration.subsec_nanos());
        Some(self.coarse() + self.coarse_error + nanoseconds)
    }

    /// The coarse clock. One that was forgotten by its kernel for a while, in a virtual machine, is corrected by the exact
    /// look that the last poll has taken.
    #[inline]
    pub(super) fn coarse(&self) -> u64 {
        sys::coarse_now().max(self.polled_at())
    }

    /// The tick of the last poll.
    #[inline]
    fn polled_at(&self) -> u64 {
        tick::to_nanos(self.polled(), sys::coarse_now)
    }

    /// The word of the tick of the last poll.
    #[inline]
    pub(super) fn polled(&self) -> usize {
        self.polled.get()
    }

    /// A poll has found it to be `now`.
    #[inline]
    pub(super) fn set_polled(&self, now: u64) {
        self.polled.set(tick::round_down(now));
    }
}

/// Saturating; without the 128 bits of `as_nanos`.
#[inline]
fn nanoseconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}
