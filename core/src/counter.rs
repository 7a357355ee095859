//! Numbers for metrics: they synchronise with nothing and decide nothing.

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
    /// Nothing counted.
    pub fn new() -> Self {
        Self { word: AtomicUsize::new(0) }
    }

    /// Counts one more.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Counts one more, where no other thread counts at the same time: without the cost of a read-modify-write.
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

    /// The count so far.
    pub fn get(&self) -> usize {
        // alone: a metric
        self.word.load(Ordering::Relaxed)
    }
}

/// The number that was written last, for reports.
#[derive(Debug)]
pub struct Gauge {
    word: AtomicUsize,
}

impl Default for Gauge {
    fn default() -> Self {
        Self::new()
    }
}

impl Gauge {
    /// 0.
    pub fn new() -> Self {
        Self { word: AtomicUsize::new(0) }
    }

    /// Writes it.
    #[inline]
    pub fn set(&self, n: usize) {
        // alone: a report
        self.word.store(n, Ordering::Relaxed);
    }

    /// What was written last, or a little before.
    #[inline]
    pub fn get(&self) -> usize {
        // alone: a report
        self.word.load(Ordering::Relaxed)
    }
}
