//! The set of sleeping workers, and the count of those that search for work (tokio's `Idle`; Go's idle list
//! and `nmspinning`).
//!
//! **INV-8** A thread that puts work into a queue fences and then reads the idle bits. A worker that goes to
//! sleep sets its idle bit, fences, and then checks the queues.
//!
//! | a worker going to sleep | a thread with new work |
//! |---|---|
//! | sets its bit ([`Idle::begin_park`]) | puts the task into a queue |
//! | **`fence(SeqCst)`** | **`fence(SeqCst)`** ([`Idle::worker_to_notify`]) |
//! | checks every queue once more | reads the bits |
//! | finds nothing: sleeps | finds none set: all are awake and will check the queues |
//!
//! The pair is that of [`poll::desc`](crate::poll::desc), with a queue in place of the info word. If a worker
//! missed the task, the thread sees its bit; if the thread missed the bit, the worker sees the task.
//!
//! A bit is cleared by the thread that wakes the worker, or by the worker itself if it finds work in its
//! second check. The thread that clears the bit owns the wakeup: a worker whose bit is clear has been woken,
//! or is about to be.
//!
//! **INV-13** A worker whose bit another thread has cleared counts as searching from before that moment until
//! it calls [`Idle::stop_searching`]. So of many threads that put work while it wakes up, none wakes another
//! worker (Go's `wakep` raises `nmspinning` before it starts a thread).
//!
//! A thread that puts work and sees a searcher relies on it. Each way in which a search ends has an answer:
//!
//! | the searcher | what sees the work |
//! |---|---|
//! | has found other work | the last one checks every queue once more, and wakes a worker if there is some |
//! | gives up and goes to sleep | its second check |
//! | was to be a worker that another thread has woken, or that woke up by itself | [`Idle::worker_to_notify`] starts again: a worker that sleeps now is woken |

use crate::sync::{AtomicUsize, Ordering, array, const_fn, fence};

/// The idle bits of a runtime's workers, one each, in `WORDS` words.
#[derive(Debug)]
pub struct Idle<const WORDS: usize> {
    sleeping: [AtomicUsize; WORDS],
    /// The number of workers that have nothing to run and search for work. They find new work without being
    /// woken.
    searching: AtomicUsize,
}

const BITS: usize = usize::BITS as usize;

impl<const WORDS: usize> Default for Idle<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const WORDS: usize> Idle<WORDS> {
    /// The largest number of workers.
    pub const MAX_WORKERS: usize = WORDS * BITS;

    const_fn! {
        /// Creates a set in which no worker sleeps and none searches.
        pub const fn new() -> Self {
            Self { sleeping: array![AtomicUsize::new(0); WORDS], searching: AtomicUsize::new(0) }
        }
    }

    /// Sets the bit of a worker that is about to sleep. The worker must check every queue once more before it
    /// sleeps.
    pub fn begin_park(&self, worker: usize) {
        // alone: the fence below publishes it
        self.sleeping[worker / BITS].fetch_or(1 << (worker % BITS), Ordering::Relaxed);
        fence(Ordering::SeqCst); // pair: idle::pop_idle, idle::worker_to_notify, idle::all_parked
    }

    /// Clears the worker's own bit, after it found work in its second check or woke up. Returns false if
    /// another thread has cleared the bit, and so relies on this worker being awake.
    ///
    /// # Memory ordering
    ///
    /// If it returns false it acquires the writes of the thread that cleared the bit.
    pub fn cancel_park(&self, worker: usize) -> bool {
        let bit = 1 << (worker % BITS);
        // Acquire: the writes of a thread before it cleared the bit.
        self.sleeping[worker / BITS].fetch_and(!bit, Ordering::Acquire) & bit != 0 // pair: idle::pop_idle, idle::worker_to_notify
    }

    /// Returns whether the worker's bit is set. The worker sleeps only while it is.
    ///
    /// # Memory ordering
    ///
    /// If it returns false it acquires the writes of the thread that cleared the bit.
    pub fn is_parked(&self, worker: usize) -> bool {
        self.sleeping[worker / BITS].load(Ordering::Acquire) & (1 << (worker % BITS)) != 0 // pair: idle::pop_idle, idle::worker_to_notify
    }

    /// Clears the bit of a sleeping worker that is to stop, and counts it as searching; the caller must now wake
    /// it. Returns `None` if all are awake. What is to stop them has been published before.
    pub fn pop_idle(&self) -> Option<usize> {
        // alone: the fence below orders it
        self.searching.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst); // pair: idle::begin_park, idle::cancel_park, idle::is_parked
        let worker = self.pop_any(None);
        if worker.is_none() {
            self.stop_searching();
        }
        worker
    }

    /// Clears the bit of a sleeping worker for work that the caller has put into a queue, and counts it as
    /// searching; the caller must now wake it. Returns `None` if all are awake, or if a worker searches, which
    /// then finds the work. The workers `spared` are chosen only if no other sleeps. They are asked for only if
    /// a worker sleeps.
    pub fn worker_to_notify(&self, spared: impl IntoIterator<Item = usize> + Clone) -> Option<usize> {
        fence(Ordering::SeqCst); // pair: idle::begin_park, idle::cancel_park, idle::is_parked, idle::stop_searching
        // alone: the fence made it fresh enough
        while self.searching.load(Ordering::Relaxed) == 0 && self.num_parked() > 0 {
            // alone: the fence above; of several threads that put work one wakes a worker
            if self.searching.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                return None;
            }
            let others = self.pop_any(spared.clone());
            if let Some(worker) = others.or_else(|| self.pop_any(None)) {
                return Some(worker);
            }
            // The sleepers are awake by now. A thread that saw this count relies on a search: after the fence in
            // here its task is seen by a worker that goes to sleep, or that worker's bit is seen above.
            self.stop_searching();
        }
        None
    }

    /// Returns whether all `workers` sleep, for a thread that has put work which any worker finds that is awake: one that
    /// is about to sleep sees the work in its second check, or its bit counts here.
    pub fn all_parked(&self, workers: usize) -> bool {
        fence(Ordering::SeqCst); // pair: idle::begin_park
        self.num_parked() >= workers
    }

    /// Clears the bit of a sleeping worker, of none that is `spared`. The caller has fenced.
    fn pop_any(&self, spared: impl IntoIterator<Item = usize>) -> Option<usize> {
        let mut spares = [0; WORDS];
        for worker in spared {
            // A number beyond the last is that of a thread that is no worker.
            if let Some(word) = spares.get_mut(worker / BITS) {
                *word |= 1 << (worker % BITS);
            }
        }
        let mut words = self.sleeping.iter().zip(spares).enumerate();
        words.find_map(|(place, (word, spares))| pop(word, spares).map(|bit| place * BITS + bit))
    }

    /// Returns how many workers sleep. For reports: the answer may be out of date already.
    pub fn num_parked(&self) -> usize {
        // alone: a report, not a decision
        self.sleeping.iter().map(|word| word.load(Ordering::Relaxed).count_ones() as usize).sum()
    }

    /// Counts a worker as searching, if fewer than `at_most` are. Returns false otherwise: the worker sleeps
    /// then.
    pub fn start_searching(&self, at_most: usize) -> bool {
        // alone: a first guess; the compare-exchange decides
        let mut n = self.searching.load(Ordering::Relaxed);
        while n < at_most {
            // alone: a count, which `stop_searching` orders
            match self.searching.compare_exchange(n, n + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(found) => n = found,
            }
        }
        false
    }

    /// Ends a worker's search, which found work or gave up. Returns whether it was the last searcher. That
    /// worker must check every queue once more, or wake another worker if there is more work than it can run
    /// itself, since work that was put meanwhile woke no worker. Does nothing if no worker searches.
    pub fn stop_searching(&self) -> bool {
        // alone: the fence below orders it before the last searcher's second check
        let searching = self.searching.fetch_sub(1, Ordering::Relaxed);
        if searching == 0 {
            self.was_not_searching();
        }
        fence(Ordering::SeqCst); // pair: idle::worker_to_notify
        searching == 1
    }

    /// Corrects a count of 0 that was lowered.
    #[cold]
    fn was_not_searching(&self) {
        // alone: the count is wrong already, by a bug of the caller
        self.searching.fetch_add(1, Ordering::Relaxed);
    }
}

/// Clears one of a word's bits, none of those in `spared`.
fn pop(word: &AtomicUsize, spared: usize) -> Option<usize> {
    // alone: the fence made it fresh enough; the compare-exchange decides which thread wakes
    let mut bits = word.load(Ordering::Relaxed);
    loop {
        let free = bits & !spared;
        if free == 0 {
            return None;
        }
        let worker = free.trailing_zeros() as usize;
        let left = bits & !(1 << worker);
        // alone: the caller's fence releases the work to the worker that finds its bit gone
        match word.compare_exchange(bits, left, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Some(worker),
            Err(found) => bits = found,
        }
    }
}
