//! Counters for metrics. They order no memory: a reader may see an old value.

use crate::sync::{AtomicUsize, Ordering};

/// A count of events since the start; wraps at the native width.
#[derive(Debug)]
pub struct Counter {
    word: AtomicUsize,
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

impl Counter {
    /// Creates a count of 0.
    pub fn new() -> Self {
        Self { word: AtomicUsize::new(0) }
    }

    /// Counts one more.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Counts one more, where no other thread counts at the same time: without the cost of a read-modify-write. Counts that
    /// are made by two threads at once may be lost.
    #[inline]
    pub fn inc_alone(&self) {
        // alone: a metric
        let n = self.word.load(Ordering::Relaxed);
        // alone: a metric
        self.word.store(n.wrapping_add(1), Ordering::Relaxed);
    }

    /// Counts `n` more.
    #[inline]
    pub fn add(&self, n: usize) {
        // alone: a metric
        self.word.fetch_add(n, Ordering::Relaxed);
    }

    /// Returns the count so far.
    pub fn get(&self) -> usize {
        // alone: a metric
        self.word.load(Ordering::Relaxed)
    }
}
