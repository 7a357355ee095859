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
//!
//! # Several pollers
//!
//! A runtime may have several pollers, each with a lock of its own; a descriptor belongs to one of them. A worker
//! sleeps as the owner of one poller, and may *watch* others beside it: it waits for the events of all. It locks
//! those as a *guest*.
//!
//! | state | [`try_lock`](PollerLock::try_lock) | [`try_watch`](PollerLock::try_watch) | [`take_over`](PollerLock::take_over) | [`resume`](PollerLock::resume) by the guest | [`unlock`](PollerLock::unlock) by the owner |
//! |---|---|---|---|---|---|
//! | unlocked | owned by the caller | watched by the caller | fails | fails | - |
//! | watched by a guest | fails | fails | owned by the caller | owned by the guest | - |
//! | owned | fails | fails | fails | fails | unlocked |
//!
//! A guest that is awake again polls only the pollers that it still watches: `resume` makes it the owner, or fails because
//! another worker has taken the poller over. So one thread at a time polls a poller.
//!
//! A guest publishes that it sleeps without limit, whatever its own limit is. Another worker may have taken the
//! poller over by then and published a tick that this replaces: a thread that arms a timer then sends a needless break,
//! but never omits one.
//!
//! **INV-14** While a worker sleeps, each poller is locked, or the thread that has unlocked it is about to wake a
//! worker. The pair is that of [`idle`](crate::sched::idle), with the pollers in place of the queues:
//!
//! | a worker going to sleep | a thread that unlocks a poller to do something else |
//! |---|---|
//! | sets its idle bit ([`Idle::begin_park`](crate::sched::idle::Idle::begin_park)) | unlocks the poller |
//! | **`fence(SeqCst)`** | **`fence(SeqCst)`** ([`Idle::worker_to_notify`](crate::sched::idle::Idle::worker_to_notify)) |
//! | locks or watches every poller that is not locked | reads the bits |
//! | sleeps in those that it got | wakes a worker whose bit is set |
//!
//! The proof is by cases. Let a poller be unlocked and a worker sleep.
//!
//! 1. The worker saw the poller unlocked: then it locked or watched it. That is over only if the worker is awake, or if
//!    another one took the poller over and has unlocked it since. The latter is the thread of the right column, which
//!    unlocks after the worker's bit was set: it reads the bit.
//! 2. The worker saw the poller locked: its owner unlocked it later. If the owner did not read the bit, the fences
//!    say that the worker saw the poller unlocked, which is case 1. If it did, it woke a worker.
//! 3. The owner read that a worker searches, and woke none. That worker's search ends in its going to sleep, and it
//!    sees the poller unlocked; or it found something else, and the last searcher checks the pollers as it checks the
//!    queues (INV-13).
//!
//! A worker that is woken looks for work and for a poller, as it would before it sleeps, so the number of workers that
//! sleep while a poller is unlocked falls until there is none, or the poller is locked.

use crate::sync::{AtomicUsize, Ordering, const_fn, fence};

const UNLOCKED: usize = 0;
const NOT_PARKED: usize = 0;
const FOREVER: usize = usize::MAX;

/// The bit of `owner` that tells a guest from an owner.
const GUEST: usize = !(usize::MAX >> 1);

/// The lock that the polling thread holds. A tick is one of [`deadline`](crate::poll::deadline), and wraps as
/// those do.
#[derive(Debug, Default)]
pub struct PollerLock {
    /// The index of the worker that polls, plus one, or `UNLOCKED`. With [`GUEST`], that of the worker that watches.
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
        self.owner.swap(UNLOCKED, Ordering::Release); // pair: poller_lock::try_lock, poller_lock::try_watch, poller_lock::take_over
    }

    /// Locks the poller as a guest for a worker that is about to sleep in another poller, which it owns, and to watch
    /// this one beside it. Returns false if the poller is locked. `worker` is at most `isize::MAX - 1`, as are the
    /// numbers of all threads that lock a poller which is watched. The worker then calls
    /// [`PollerLock::set_poll_until`] without a limit, and [`PollerLock::resume`] when it is awake.
    ///
    /// # Memory ordering
    ///
    /// Acquires the writes of the last owner before its [`PollerLock::unlock`].
    pub fn try_watch(&self, worker: usize) -> bool {
        let locked =
            self.owner.compare_exchange(UNLOCKED, guest(worker), Ordering::Acquire, Ordering::Relaxed); // pair: poller_lock::unlock
        locked.is_ok()
    }

    /// Makes the guest the owner, so that it may poll and must unlock. Returns false if it watches the poller no
    /// more, because another worker has taken it over.
    pub fn resume(&self, worker: usize) -> bool {
        // alone: `try_watch` has acquired; as long as the word says so no other thread was the owner
        self.owner
            .compare_exchange(guest(worker), owner(worker), Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Locks the poller for a worker although a guest watches it. Returns the guest, which still waits for the
    /// poller's events and need not: a break in the poller that it owns tells it. Returns `None` if no guest watches
    /// it.
    ///
    /// # Memory ordering
    ///
    /// Acquires the writes of the last owner before its [`PollerLock::unlock`].
    pub fn take_over(&self, worker: usize) -> Option<usize> {
        // alone: a first guess; the compare-exchange decides
        let (found, mine) = (self.owner.load(Ordering::Relaxed), owner(worker));
        let taken = found & GUEST != 0
            && self.owner.compare_exchange(found, mine, Ordering::Acquire, Ordering::Relaxed).is_ok(); // pair: poller_lock::unlock
        taken.then(|| (found & !GUEST) - 1)
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

/// Returns the value of `owner` that stands for a worker that watches.
fn guest(worker: usize) -> usize {
    owner(worker) | GUEST
}
