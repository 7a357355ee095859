//! The count of parked tasks, and the flag of a break that is on its way to the poller.
//!
//! # The count
//!
//! It rises before a task parks and falls only after the tasks that an event woke are runnable, so it is
//! never lower than the number of parked tasks: no thread sees "no waiters" while a woken task is neither
//! parked nor queued. (Go raises it after the parking. A decrement between the two hides another waiter.)
//!
//! # The break flag
//!
//! | flag | breaker | poller, back from a blocking poll |
//! |---|---|---|
//! | clear | sets it and writes to the break descriptor | - |
//! | set | does nothing, as a write is under way | drains the descriptor, then clears it, then looks for work |
//!
//! Both sides are a `swap` ([`Flag`]). A compare-exchange that fails writes nothing, so a poller that then
//! clears the flag would not see the work that was published before it: a lost wakeup. (Go may use one, since
//! its atomics are sequentially consistent.)

use crate::sync::{AtomicUsize, Flag, Ordering, const_fn};

/// The number of tasks that are parked on a descriptor (Go's `netpollWaiters`).
#[derive(Debug, Default)]
pub struct Waiters {
    count: AtomicUsize,
}

impl Waiters {
    const_fn! {
        /// Creates a count of 0: no task is parked.
        pub const fn new() -> Self {
            Self { count: AtomicUsize::new(0) }
        }
    }

    /// Returns the number of tasks that are parked or about to park. Never lower than the number of parked
    /// tasks.
    #[inline]
    pub fn get(&self) -> usize {
        let count = self.count.load(Ordering::Acquire); // pair: waiters::sub
        // Negative only until `repair` has corrected a count that was lowered too often.
        if (count as isize) < 0 { 0 } else { count }
    }

    /// Counts a task that is about to park.
    #[inline]
    pub(crate) fn add(&self) {
        // alone: the parking task's own fence orders it before the sleep
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Lowers the count by `n` tasks that have been made runnable or have given up parking. A count that is
    /// lowered too often stays at 0.
    #[inline]
    pub fn sub(&self, n: usize) {
        let n = n.min(isize::MAX as usize);
        if n > 0 {
            // Release: a thread that sees the lower count sees the tasks in the run queue.
            let old = self.count.fetch_sub(n, Ordering::Release); // pair: waiters::get
            if (old.wrapping_sub(n) as isize) < 0 {
                self.repair(old, n);
            }
        }
    }

    /// Adds the part of `n` by which the count was lowered below 0.
    #[cold]
    fn repair(&self, old: usize, n: usize) {
        let there = if (old as isize) < 0 { 0 } else { old };
        // alone: the count is wrong already, by a bug of the caller
        self.count.fetch_add(n - there, Ordering::Relaxed);
    }
}

/// The break flag, set while a break is on its way to the poller (Go's `netpollWakeSig`).
#[derive(Debug, Default)]
pub struct BreakFlag {
    flag: Flag,
}

impl BreakFlag {
    const_fn! {
        /// Creates a flag that is clear.
        pub const fn new() -> Self {
            Self { flag: Flag::new() }
        }
    }

    /// Requests a break. Returns whether the caller must write to the break descriptor.
    ///
    /// # Memory ordering
    ///
    /// Releases the caller's writes to the poller that clears the flag, also if a write was under way
    /// already.
    #[inline]
    pub fn set(&self) -> bool {
        self.flag.set()
    }

    /// Returns whether a break is requested that the poller has not taken yet.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.flag.is_set()
    }

    /// Clears the flag, after the poller has drained the break descriptor. Returns whether a break was
    /// requested.
    ///
    /// # Memory ordering
    ///
    /// Acquires the writes of every breaker before its [`BreakFlag::set`].
    #[inline]
    pub fn clear(&self) -> bool {
        self.flag.clear()
    }
}
