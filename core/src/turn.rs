//! Whose turn it is to poll, and until when (Go's `lastpoll`, `pollUntil` and `pollingNet`).
//!
//! One thread at a time polls. Who blocks in the kernel says until when, so that somebody with an earlier deadline
//! knows whether to send a break:
//!
//! | thread going to block | somebody who arms an earlier timer |
//! |---|---|
//! | takes the turn, publishes `until` ([`Turn::block_until`]) | puts the timer into the wheel |
//! | **`fence(SeqCst)`** | **`fence(SeqCst)`** ([`Turn::needs_break`]) |
//! | looks at the wheel once more | looks at `until` |
//! | sleeps until then | sends a break if `until` is later |

use crate::sync::{AtomicUsize, Ordering, fence};

const NOBODY: usize = 0;
const FOREVER: usize = usize::MAX;

/// The turn. Ticks as in [`deadline`](crate::deadline), without wrap: `std-rt`'s nanoseconds.
#[derive(Debug)]
pub struct Turn {
    /// `NOBODY`, or the worker that polls plus one.
    holder: AtomicUsize,
    /// `NOBODY` while nobody blocks, else the tick until which, or `FOREVER`.
    until: AtomicUsize,
}

impl Default for Turn {
    fn default() -> Self {
        Self::new()
    }
}

impl Turn {
    /// Nobody polls.
    pub fn new() -> Self {
        Self { holder: AtomicUsize::new(NOBODY), until: AtomicUsize::new(NOBODY) }
    }

    /// Takes the turn to poll for worker `who`, below `usize::MAX`; false if another thread has it.
    ///
    /// # Memory ordering
    ///
    /// Acquires what the last holder did before its [`Turn::release`].
    pub fn take(&self, who: usize) -> bool {
        let taken = self.holder.compare_exchange(NOBODY, holder(who), Ordering::Acquire, Ordering::Relaxed); // pair: turn::release
        taken.is_ok()
    }

    /// The holder gives the turn back.
    pub fn release(&self) {
        self.holder.swap(NOBODY, Ordering::Release); // pair: turn::take
    }

    /// True if nobody polls at the moment; asked after an [`Idle::announce`](crate::idle::Idle::announce).
    pub fn is_free(&self) -> bool {
        // alone: a hint; whoever acts on it takes the turn first
        self.holder.load(Ordering::Relaxed) == NOBODY
    }

    /// The holder is about to block until `tick`, or without end. It looks at the wheel once more before it does.
    pub fn block_until(&self, tick: Option<usize>) {
        let until = tick.map_or(FOREVER, |tick| tick.clamp(1, FOREVER - 1));
        // alone: the fence below publishes it
        self.until.swap(until, Ordering::Relaxed);
        fence(Ordering::SeqCst); // pair: turn::needs_break, turn::is_blocked
    }

    /// The holder is back from the kernel.
    pub fn unblock(&self) {
        // alone: whoever reads the old tick sends a break too many, which costs one empty poll
        self.until.swap(NOBODY, Ordering::Relaxed);
    }

    /// Asked by who has put an entry due at `tick` into the wheel: true if a thread sleeps in the kernel past it.
    pub fn needs_break(&self, tick: usize) -> bool {
        fence(Ordering::SeqCst); // pair: turn::block_until
        // alone: the fence made it fresh enough
        self.until.load(Ordering::Relaxed) > tick
    }

    /// Asked by who has cleared the idle bit of worker `who`: true if it blocks in its turn, so that a break wakes it. If
    /// not, it either sleeps elsewhere, or will see after [`Turn::block_until`] that its bit is gone; one that polls
    /// without blocking is awake and looks.
    pub fn is_blocked(&self, who: usize) -> bool {
        fence(Ordering::SeqCst); // pair: turn::block_until
        // alone: the fence made both fresh enough
        self.holder.load(Ordering::Relaxed) == holder(who) && self.until.load(Ordering::Relaxed) != NOBODY
    }
}

/// The word of a holder. The last number shares that of the one before, rather than to be nobody's.
fn holder(who: usize) -> usize {
    who.saturating_add(1)
}
