//! Numbers that order no memory: a reader may see an old value.
//!
//! Most are metrics. Some decide something, and each of those is right with any earlier value, or is ordered by another word:
//! the index of a descriptor's slot (`poll_desc`: written before the slot can be handed out), and in `netpoll-rt` the time of
//! the last poll, the current slack of timers, the tick of the worker's report and the number of a descriptor, each of which
//! says so where it is read.

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
