//! How many tasks are parked, and whether the poller has been told to come back.
//!
//! # The count
//!
//! It rises before a task parks and falls only after the tasks that an event woke are runnable, so it is never
//! lower than the number of parked tasks: no thread sees "no waiters" while a woken task is in neither place.
//! (Go raises it after the parking; between the two, an unlucky decrement hides another waiter.)
//!
//! # The break flag
//!
//! | flag | breaker | poller, back from a blocking poll |
//! |---|---|---|
//! | clear | sets it and writes to the break descriptor | - |
//! | set | does nothing: a write is under way | drains the descriptor, then clears it, then looks for work |
//!
//! Both sides are a `swap` ([`Flag`]). A compare-exchange that fails writes nothing, so a poller that clears the flag
//! would not see the work that was published before it: a lost wakeup that Go is spared by its sequentially
//! consistent atomics.

use crate::sync::{AtomicUsize, Flag, Ordering, const_fn};

/// The number of tasks that are parked on a descriptor (Go's `netpollWaiters`).
#[derive(Debug)]
pub struct Waiters {
    count: AtomicUsize,
}

impl Default for Waiters {
    fn default() -> Self {
        Self::new()
    }
}

impl Waiters {
    const_fn! {
        /// Creates a count of 0: no task is parked.
        pub const fn new() -> Self {
            Self { count: AtomicUsize::new(0) }
        }
    }

    /// Returns the number of tasks that are parked or about to be, never fewer than those that are.
    #[inline]
    pub fn get(&self) -> usize {
        let count = self.count.load(Ordering::Acquire); // pair: waiters::sub
        // Negative for the moment in which a count that was lowered too often is repaired.
        if (count as isize) < 0 { 0 } else { count }
    }

    /// Counts one task more, which is about to park.
    #[inline]
    pub(crate) fn add(&self) {
        // alone: the parking task's own fence orders it before the sleep
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Lowers the count by `n` tasks that have been made runnable, or have given up parking. A caller that lowers it too often
    /// finds it at 0.
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

    /// Gives back what was taken from a count that was not there.
    #[cold]
    fn repair(&self, old: usize, n: usize) {
        let there = if (old as isize) < 0 { 0 } else { old };
        // alone: the count is wrong already, by a mistake of the caller
        self.count.fetch_add(n - there, Ordering::Relaxed);
    }
}

/// The break flag: whether a break is on its way to the poller (Go's `netpollWakeSig`).
#[derive(Debug, Default)]
pub struct BreakFlag {
    flag: Flag,
}

impl BreakFlag {
    const_fn! {
        /// Creates a flag that is clear: no break is on its way.
        pub const fn new() -> Self {
            Self { flag: Flag::new() }
        }
    }

    /// Asks for a break. Returns whether the caller must write to the break descriptor.
    ///
    /// # Memory ordering
    ///
    /// Releases what the caller did before to the poller that clears the flag, whether or not a write was under
    /// way already.
    #[inline]
    pub fn set(&self) -> bool {
        self.flag.set()
    }

    /// Returns whether a break is asked for that the poller has not taken yet.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.flag.is_set()
    }

    /// Clears the flag, after the poller has drained the break descriptor. Returns whether a break had been asked for.
    ///
    /// # Memory ordering
    ///
    /// Acquires what every breaker did before its [`BreakFlag::set`].
    #[inline]
    pub fn clear(&self) -> bool {
        self.flag.clear()
    }
}
