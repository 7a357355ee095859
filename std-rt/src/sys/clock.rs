//! A clock that is read in a few nanoseconds and stands still between two ticks of the kernel.

use std::sync::OnceLock;
use std::time::Instant;

use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

/// Readings that are enough for one without an interruption.
const READINGS: usize = 16;

/// Nanoseconds of the clock of [`Instant`].
#[inline]
pub fn exact_now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// An instant, and what the exact clock says then, or a moment after: a tick that is taken from it is never too early.
#[inline]
pub fn known_instant() -> (Instant, u64) {
    static KNOWN: OnceLock<(Instant, u64)> = OnceLock::new();
    *KNOWN.get_or_init(closest)
}

/// The closest of some pairs of readings: were the thread interrupted between the two, every deadline would be late by that.
fn closest() -> (Instant, u64) {
    let reading = || {
        let before = exact_now();
        let instant = Instant::now();
        let after = exact_now();
        (after - before, (instant, after))
    };
    let mut best = reading();
    for _ in 0..READINGS {
        let next = reading();
        if next.0 < best.0 {
            best = next;
        }
    }
    best.1
}

/// The same as they were at the kernel's last tick.
#[inline]
pub fn coarse_now() -> u64 {
    nanoseconds(clock_gettime(ClockId::MonotonicCoarse))
}

/// How far, in nanoseconds, it may be behind: two ticks, for one that is being taken care of just now. A kernel that is
/// held up itself, in a virtual machine, may miss one for longer.
pub fn coarse_lag() -> u64 {
    static LAG: OnceLock<u64> = OnceLock::new();
    *LAG.get_or_init(|| 2 * nanoseconds(clock_getres(ClockId::MonotonicCoarse)))
}

#[inline]
fn nanoseconds(time: Timespec) -> u64 {
    // Both are positive, and 64 bits last for 584 years since the machine was started.
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}
