//! A deadline as one state word, and the order of ticks.
//!
//! | word | meaning | moved on by |
//! |---|---|---|
//! | `NEVER` | no deadline | the setter |
//! | a tick | due at that tick | the setter; the firing that finds it due, by compare-exchange |
//! | `EXPIRED` | it has passed; every wait fails until a new one is set | the setter |
//!
//! **INV-6** A timer's firing counts only against the deadline that it finds in force. It compare-exchanges
//! the very value that it judged due, so a deadline that was moved meanwhile stays.
//!
//! A waiter reads the same word ([`Deadline::get`]), so no separate "expired" bit can outlive a newer
//! deadline, and Go's `rseq` and `wseq` are not needed.
//!
//! `postpone` moves a tick by a compare-exchange too. A firing that judged the old tick due fails to expire
//! it then, and judges again.
//!
//! A tick is opaque: nanoseconds on a 64-bit host, a wrapping system tick on a microcontroller. Two ticks are
//! compared by their wrapped difference, so deadlines may lie up to half the range ahead.

use crate::sync::{AtomicUsize, Ordering, const_fn};

const NEVER: usize = 0;
const EXPIRED: usize = 1;

/// The time at which a direction times out, in ticks of the caller's unit.
///
/// Two ticks are compared by their wrapped difference, so a deadline lies at most half the range of `usize`
/// ahead: 292 years of nanoseconds with 64 bits, 24 days of milliseconds with 32.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// The direction has no deadline.
    Never,
    /// The tick of the deadline. The ticks 0 and 1 stand for 2, because they encode the other two variants.
    At(usize),
    /// The deadline has passed: the direction has timed out.
    Expired,
}

impl When {
    fn from_word(word: usize) -> Self {
        match word {
            NEVER => When::Never,
            EXPIRED => When::Expired,
            tick => When::At(tick),
        }
    }

    fn to_word(self) -> usize {
        match self {
            When::Never => NEVER,
            When::Expired => EXPIRED,
            When::At(tick) => tick.max(EXPIRED + 1),
        }
    }

    /// Returns whether this is a tick that is not after `now`.
    #[inline]
    pub fn is_due(self, now: usize) -> bool {
        matches!(self, When::At(tick) if !before(now, tick))
    }

    /// Returns the earlier of the two ticks. A value that is no tick counts as never.
    pub(crate) fn earlier(self, other: When) -> When {
        match (self, other) {
            (When::At(a), When::At(b)) => When::At(if before(b, a) { b } else { a }),
            (When::At(a), _) | (_, When::At(a)) => When::At(a),
            _ => When::Never,
        }
    }

    /// Returns whether a timer armed for `self` would fire too late for the tick `at`.
    pub(crate) fn is_after(self, at: usize) -> bool {
        match self {
            When::At(armed) => before(at, armed),
            When::Never | When::Expired => true,
        }
    }

    /// Returns `self` if it is a tick that is not due yet, otherwise never.
    pub(crate) fn pending(self, now: usize) -> When {
        if self.is_due(now) { When::Never } else { self.earlier(When::Never) }
    }
}

/// Returns whether tick `a` comes before tick `b`, across a wrap.
fn before(a: usize, b: usize) -> bool {
    (a.wrapping_sub(b) as isize) < 0
}

/// The deadline of one direction; also the tick for which the descriptor's one timer is armed.
#[derive(Debug, Default)]
pub struct Deadline {
    word: AtomicUsize,
}

impl Deadline {
    const_fn! {
        /// Creates a deadline that never comes.
        pub const fn new() -> Self {
            Self { word: AtomicUsize::new(NEVER) }
        }
    }

    /// Returns the deadline in force. A waiter reads it after its fence (INV-3), and so does a firing.
    #[inline]
    pub fn get(&self) -> When {
        When::from_word(self.word.load(Ordering::Relaxed)) // pair: deadline::set, deadline::expire
    }

    /// Returns whether the deadline has expired.
    #[inline]
    pub fn is_expired(&self) -> bool {
        self.word.load(Ordering::Relaxed) == EXPIRED // pair: deadline::set, deadline::expire
    }

    /// Moves a tick to `at`, which is not before it. Returns false and changes nothing if no such tick is in
    /// force. After a wrap the ticks 0 and 1 stand for 2 here too. No fence follows, for the reason that
    /// [`registration`](super::registration) gives.
    #[inline]
    pub(crate) fn postpone(&self, at: usize) -> bool {
        let at = When::At(at).to_word();
        // alone: a first guess; the compare-exchange below decides
        let old = self.word.load(Ordering::Relaxed);
        let later = old > EXPIRED && !before(at, old);
        // pair: deadline::expire
        later && self.word.compare_exchange(old, at, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Puts another deadline in force. The caller's fence follows.
    #[inline]
    pub(crate) fn set(&self, when: When) {
        self.word.swap(when.to_word(), Ordering::Relaxed); // pair: deadline::get, deadline::is_expired
    }

    /// Expires the deadline `found`, unless another is in force by now (INV-6). Returns whether it did.
    pub(crate) fn expire(&self, found: When) -> bool {
        // pair: deadline::get, deadline::is_expired, deadline::postpone
        let swapped =
            self.word.compare_exchange(found.to_word(), EXPIRED, Ordering::Relaxed, Ordering::Relaxed);
        swapped.is_ok()
    }
}
