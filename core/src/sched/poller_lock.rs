//! The lock of the poller, and the tick until which its owner sleeps in the kernel (Go's `pollingNet`,
//! `lastpoll` and `pollUntil`).
//!
//! One thread at a time polls. Before it blocks in the kernel it publishes the tick until which it sleeps, so
//! that a thread with an earlier deadline knows whether to send a break:
//!
//! | the owner, before it blocks | a thread that arms an earlier timer |
//! |---|---|
//! | publishes the tick ([`PollerLock::set_poll_until`]) | puts the timer into the wheel |
//! | **`fence(SeqCst)`** | **`fence(SeqCst)`** ([`PollerLock::needs_wakeup`]) |
//! | checks the wheel once more | reads the tick |
//! | sleeps until then | sends a break if the tick is later |

use crate::sync::{AtomicUsize, Ordering, const_fn, fence};

const UNLOCKED: usize = 0;
const NOT_PARKED: usize = 0;
const FOREVER: usize = usize::MAX;

/// The lock that the polling thread holds. A tick is one of [`deadline`](crate::poll::deadline), and wraps as
/// those do.
#[derive(Debug, Default)]
pub struct PollerLock {
    /// The index of the worker that polls, plus one, or `UNLOCKED`.
    owner: AtomicUsize,
    /// The tick until which the owner sleeps in the kernel, or `FOREVER`, or `NOT_PARKED`.
    poll_until: AtomicUsize,
}

impl PollerLock {
    const_fn! {
        /// Creates an unlocked lock.
        pub const fn new() -> Self {
            Self { owner: AtomicUsize::new(UNLOCKED), poll_until: AtomicUsize::new(NOT_PARKED) }
        }
    }

    /// Locks the poller for worker `worker`, below `usize::MAX`. Returns false if another thread has locked
    /// it.
    ///
    /// # Memory ordering
    ///
    /// Acquires the writes of the last owner before its [`PollerLock::unlock`].
    pub fn try_lock(&self, worker: usize) -> bool {
        let locked =
            self.owner.compare_exchange(UNLOCKED, owner(worker), Ordering::Acquire, Ordering::Relaxed); // pair: poller_lock::unlock
        locked.is_ok()
    }

    /// Unlocks the poller. Called by the owner only.
    pub fn unlock(&self) {
        self.owner.swap(UNLOCKED, Ordering::Release); // pair: poller_lock::try_lock
    }

    /// Returns whether a thread polls. Call it after
    /// [`Idle::begin_park`](crate::sched::idle::Idle::begin_park).
    pub fn is_locked(&self) -> bool {
        // alone: a hint; a thread that acts on it locks the poller first
        self.owner.load(Ordering::Relaxed) != UNLOCKED
    }

    /// Returns the worker that polls, if one does.
    pub fn polling_worker(&self) -> Option<usize> {
        // alone: a hint; the worker may have returned from its poll already
        self.owner.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Publishes that the owner is about to block until `tick`, or without limit. The owner checks the wheel
    /// once more before it blocks.
    pub fn set_poll_until(&self, tick: Option<usize>) {
        let until = tick.map_or(FOREVER, |tick| tick.clamp(1, FOREVER - 1));
        // alone: the fence below publishes it
        self.poll_until.swap(until, Ordering::Relaxed);
        fence(Ordering::SeqCst); // pair: poller_lock::needs_wakeup, poller_lock::is_parked_in_poller
    }

    /// Publishes that the owner has returned from the kernel.
    pub fn clear_poll_until(&self) {
        // alone: a thread that reads the old tick sends a needless break, which costs one empty poll
        self.poll_until.swap(NOT_PARKED, Ordering::Relaxed);
    }

    /// Returns whether a thread sleeps in the kernel past `tick`, and so needs a break. Call it after putting
    /// an entry that is due at `tick` into the wheel.
    pub fn needs_wakeup(&self, tick: usize) -> bool {
        fence(Ordering::SeqCst); // pair: poller_lock::set_poll_until
        // alone: the fence made it fresh enough
        match self.poll_until.load(Ordering::Relaxed) {
            NOT_PARKED => false,
            FOREVER => true,
            until => (tick.wrapping_sub(until) as isize) < 0,
        }
    }

    /// Returns whether worker `worker` is blocked in the poller, and so needs a break to wake up. Call it
    /// after clearing the worker's idle bit.
    ///
    /// If it is not, the worker sleeps elsewhere, or will see after its [`PollerLock::set_poll_until`] that
    /// its bit is clear. A worker that polls without blocking is awake and checks the queues.
    pub fn is_parked_in_poller(&self, worker: usize) -> bool {
        fence(Ordering::SeqCst); // pair: poller_lock::set_poll_until
        // alone: the fence made both fresh enough
        self.owner.load(Ordering::Relaxed) == owner(worker)
            && self.poll_until.load(Ordering::Relaxed) != NOT_PARKED
    }
}

/// Returns the value of `owner` that stands for a worker. The last index shares the value of the one before,
/// since plus one it would be `UNLOCKED`.
fn owner(worker: usize) -> usize {
    worker.saturating_add(1)
}
