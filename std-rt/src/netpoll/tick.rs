//! The conversion between ticks in nanoseconds and the machine words of core's deadlines.
//!
//! On a 64-bit machine it is the tick itself. A 32-bit word counts units of 2^20 nanoseconds, about a millisecond, and
//! wraps after 52 days: what is asked is always close enough to now. A deadline is rounded up and now is rounded down, so
//! nothing is early.

/// The low bits of a tick that do not fit into a word.
pub const SHIFT: u32 = if usize::BITS < u64::BITS { 20 } else { 0 };

/// The largest distance in nanoseconds between a tick and now: a quarter of the range of a word, so that an old `now` is
/// good enough.
const MAX_DISTANCE: u64 = 1 << (usize::BITS - 2 + SHIFT);

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
    let ahead = word.wrapping_sub(self::round_down(now)) as isize as i64;
    (now >> SHIFT).wrapping_add_signed(ahead) << SHIFT
}

/// Returns the word that a sleeper publishes, for core's [`PollerLock`](netpoll_core::sched::poller_lock::PollerLock), which has no wrap: on a 32-bit machine always
/// the latest, so that a thread that arms an earlier timer sends a break.
#[inline]
pub fn sleep_until(at: Option<u64>) -> Option<usize> {
    at.filter(|_| SHIFT == 0).map(|at| at as usize)
}

/// Returns the word that is compared with the published one.
#[inline]
pub fn wake_before(at: u64) -> usize {
    if SHIFT == 0 { at as usize } else { 0 }
}
