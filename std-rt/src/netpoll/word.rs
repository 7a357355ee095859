//! A tick as one machine word, as core's deadlines have it.
//!
//! On a 64-bit machine it is the tick itself. A 32-bit word counts units of 2^20 nanoseconds, about a millisecond, and
//! wraps after 52 days: what is asked is always close enough to now. A deadline is rounded up and now is rounded down, so
//! nothing is early.

/// Bits of a tick that the word has no room for.
pub const SHIFT: u32 = if usize::BITS < u64::BITS { 20 } else { 0 };

/// Nanoseconds: a quarter of what a word tells apart, so that a `now` that is old will do.
const REACH: u64 = 1 << (usize::BITS - 2 + SHIFT);

/// True if a word can say that `at` is still to come. On a 32-bit machine it cannot 13 days ahead.
#[inline]
pub fn reaches(at: u64, now: impl FnOnce() -> u64) -> bool {
    SHIFT == 0 || at.saturating_sub(now()) <= REACH
}

/// The word of a tick that something is due at.
#[inline]
pub fn due(at: u64) -> usize {
    at.div_ceil(1 << SHIFT) as usize
}

/// The word of the tick that it is now.
#[inline]
pub fn now(now: u64) -> usize {
    (now >> SHIFT) as usize
}

/// The tick of a word that was made not long before `now`, or is for soon.
#[inline]
pub fn tick(word: usize, now: impl FnOnce() -> u64) -> u64 {
    if SHIFT == 0 {
        return word as u64;
    }
    let now = now();
    let ahead = word.wrapping_sub(self::now(now)) as isize as i64;
    (now >> SHIFT).wrapping_add_signed(ahead) << SHIFT
}

/// Returns what a sleeper publishes, for core's [`PollerLock`](netpoll_core::poller_lock::PollerLock), which has no wrap: on
/// a 32-bit machine always the latest, so that a thread that arms an earlier timer sends a break.
#[inline]
pub fn until(at: Option<u64>) -> Option<usize> {
    at.filter(|_| SHIFT == 0).map(|at| at as usize)
}

/// What that is compared with.
#[inline]
pub fn before(at: u64) -> usize {
    if SHIFT == 0 { at as usize } else { 0 }
}
