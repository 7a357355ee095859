//! The clock of [`sys`](crate::sys): that of the simulation, on a thread that is in one.

use std::time::Instant;

use crate::sys::platform;

/// Returns the nanoseconds of the clock behind [`Instant`].
#[inline]
pub fn exact_now() -> u64 {
    match super::NOW.get() {
        (0, _) => platform::exact_now(),
        (now, _) => now,
    }
}

/// Returns an instant and the exact clock's value at that time.
#[inline]
pub fn anchor() -> (Instant, u64) {
    match super::NOW.get() {
        (0, _) => platform::anchor(),
        // The clock stands still between the two readings.
        (now, _) => (Instant::now(), now),
    }
}

/// Returns the nanoseconds of the same clock at the kernel's last tick.
#[inline]
pub fn coarse_now() -> u64 {
    match super::NOW.get() {
        (0, _) => platform::coarse_now(),
        (now, _) => now,
    }
}

/// Returns the nanoseconds by which the coarse clock may be behind.
pub fn coarse_error() -> u64 {
    if super::is_active() { 0 } else { platform::coarse_error() }
}
