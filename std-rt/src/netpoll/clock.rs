//! Time as ticks: nanoseconds of the system's clock. [`local_clock`](super::local_clock) has the clock of a poller, which a
//! test may pause.
//!
//! # Ticks as words
//!
//! Core's deadlines are machine words. On a 64-bit machine the word is the tick itself. A 32-bit word counts units of 2^20
//! nanoseconds, about a millisecond, and wraps after 52 days, so a tick is converted back relative to a time that is close
//! to it. A deadline is rounded up and the current time is rounded down, so no deadline passes early.

use std::time::{Duration, Instant};

use crate::sys;

/// The latest tick: 292 years after the machine was started.
pub const LATEST: u64 = i64::MAX as u64;

/// The latest tick of a timer that is armed; it never fires.
pub const FAR: u64 = LATEST - 1;

/// The number of low bits of a tick that do not fit into a word.
pub const SHIFT: u32 = if usize::BITS < u64::BITS { 20 } else { 0 };

/// The largest distance in nanoseconds between now and a tick that a word represents: a quarter of the range of a word, so
/// that an old `now` is good enough.
const MAX_DISTANCE: u64 = 1 << (usize::BITS - 2 + SHIFT);

/// Returns the current tick of the system's clock.
#[inline]
pub fn now() -> u64 {
    sys::exact_now()
}

/// Returns the tick that is `duration` after another one, at most [`LATEST`].
#[inline]
pub fn later(at: u64, duration: Duration) -> u64 {
    at.saturating_add(nanoseconds(duration)).min(LATEST)
}

/// Returns the tick up to which a clock that is moved from `now` to `end` may be moved at once: a word that is compared with
/// the new time must not wrap.
pub fn step(now: u64, end: u64) -> u64 {
    if SHIFT == 0 { end } else { end.min(now + MAX_DISTANCE) }
}

/// Returns the tick of an instant: 0 for one before the first tick, at most [`LATEST`].
#[inline]
pub fn tick(at: Instant) -> u64 {
    let (known, tick) = sys::anchor();
    match at.checked_duration_since(known) {
        Some(since) => tick.saturating_add(nanoseconds(since)).min(LATEST),
        None => tick.saturating_sub(nanoseconds(known.duration_since(at))),
    }
}

/// Returns the instant of a tick, from which [`tick`] makes the same tick again.
pub fn instant(at: u64) -> Instant {
    let (known, tick) = sys::anchor();
    let instant = match at.checked_sub(tick) {
        Some(since) => known.checked_add(Duration::from_nanos(since)),
        None => known.checked_sub(Duration::from_nanos(tick - at)),
    };
    // Only a clock whose range ends within 292 years has no such instant.
    instant.unwrap_or(known)
}

/// Returns whether a word can represent `at` as still to come. On a 32-bit machine that ends 13 days ahead.
#[inline]
pub fn is_representable(at: u64, now: impl FnOnce() -> u64) -> bool {
    SHIFT == 0 || at.saturating_sub(now()) <= MAX_DISTANCE
}

/// Returns the word of a tick at which something is due, rounded up.
#[inline]
pub fn round_up(at: u64) -> usize {
    at.div_ceil(1 << SHIFT) as usize
}

/// Returns the word of the current tick, rounded down.
#[inline]
pub fn round_down(now: u64) -> usize {
    (now >> SHIFT) as usize
}

/// Returns the tick of a word that is close to `now`.
#[inline]
pub fn to_nanos(word: usize, now: impl FnOnce() -> u64) -> u64 {
    if SHIFT == 0 {
        return word as u64;
    }
    let now = now();
    let ahead = word.wrapping_sub(round_down(now)) as isize as i64;
    (now >> SHIFT).wrapping_add_signed(ahead) << SHIFT
}

/// Returns the word that a sleeping poller publishes in core's [`PollerLock`](netpoll_core::sched::poller_lock::PollerLock): on
/// a 32-bit machine always the latest, so that a thread that arms an earlier timer sends a break.
#[inline]
pub fn sleep_until(at: Option<u64>) -> Option<usize> {
    at.filter(|_| SHIFT == 0).map(|at| at as usize)
}

/// Returns the word that is compared with the published one.
#[inline]
pub fn wake_before(at: u64) -> usize {
    if SHIFT == 0 { at as usize } else { 0 }
}

/// Converts a duration, saturating, without the 128 bits of `as_nanos`.
#[inline]
fn nanoseconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}
