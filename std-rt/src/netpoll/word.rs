//! A tick as one machine word, as core's deadlines have it.
//!
//! On a 64-bit machine it is the tick itself. A 32-bit word counts units of 2^20 nanoseconds, about a millisecond, and
//! wraps after 52 days: what is asked is always close enough to now. A deadline is rounded up and now is rounded down, so
//! nothing is early.

/// Bits of a tick that the word has no room for.
const SHIFT: u32 = if usize::BITS < u64::BITS { 20 } else { 0 };

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

/// What a sleeper publishes, for core's [`Turn`](netpoll_core::turn::Turn), which has no wrap: on a 32-bit machine always
/// the latest, so that who arms an earlier timer sends a break.
#[inline]
pub fn until(at: Option<u64>) -> Option<usize> {
    at.filter(|_| SHIFT == 0).map(|at| at as usize)
}

/// What that is compared with.
#[inline]
pub fn before(at: u64) -> usize {
    if SHIFT == 0 { at as usize } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400 * 1_000_000_000;

    #[test]
    fn a_word_comes_back_as_its_tick_or_a_little_later() {
        for now in [5, DAY, 51 * DAY, 52 * DAY + 1, 400 * DAY] {
            for ahead in [0, 1, 999, 1_000_000, 3_600_000_000_000, 12 * DAY] {
                let at = now + ahead;
                let tick = tick(due(at), || now);
                assert!(reaches(at, || now) && tick >= at && tick - at < 1 << SHIFT, "{at} at {now}: {tick}");
            }
        }
    }

    #[test]
    fn now_is_never_ahead() {
        for at in [1, 1 << 20, (1 << 20) + 1, DAY + 7] {
            assert!(tick(now(at), || at) <= at);
            assert!(now(at - 1) < due(at) && due(at) <= now(at + (1 << SHIFT)), "due in time, not before");
        }
    }

    #[test]
    fn only_a_short_word_has_an_end() {
        assert_eq!(reaches(u64::MAX, || 0), SHIFT == 0);
        assert_eq!(until(Some(7)), (SHIFT == 0).then_some(7));
    }
}
