//! What a scheduler has of each worker: its queue, and what it shows of itself.

use std::sync::Mutex;
use std::thread::Thread;

use netpoll_core::sched::run_queue::Runq;

use super::{Runnable, WorkerStats, word};

/// Tasks in a worker's ring (Go's 256).
pub const RING: usize = 256;

/// One worker, as itself and other threads know it. On cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Remote {
    pub(super) runq: Runq<RING>,
    /// No other thread takes tasks from here while the worker runs.
    alone: bool,
    /// The worker's own, which it writes for each task.
    pub stats: WorkerStats,
    /// The thread that sits there; empty while nobody does (`block_on` of a one-worker runtime comes and goes).
    pub(super) thread: Mutex<Option<Thread>>,
}

impl Remote {
    /// Of a worker that has no thread yet. `alone`: no other thread takes its tasks while it runs.
    pub(super) fn new(alone: bool) -> Self {
        Self { runq: Runq::new(), alone, stats: WorkerStats::default(), thread: Mutex::default() }
    }

    /// Worker: the task that was made ready last.
    #[inline]
    pub fn get_next(&self) -> Option<Runnable> {
        let task = if self.alone { self.runq.get_next_alone() } else { self.runq.get_next() };
        task.map(word::to_task)
    }

    /// Worker: the next task of its ring.
    #[inline]
    pub fn get_local(&self) -> Option<Runnable> {
        let task = if self.alone { self.runq.get_alone() } else { self.runq.get() };
        task.map(word::to_task)
    }

    /// Worker: the task that was made ready by a running one goes into the slot; the one it displaces, or one that is to be
    /// `last`, to the end of the ring. What has no room is given back. True if there is work for another worker.
    #[inline]
    pub(super) fn put(&self, task: Runnable, last: bool) -> Result<bool, Runnable> {
        let mut task = word::from_task(task);
        if !last {
            let displaced =
                if self.alone { self.runq.put_next_alone(task) } else { self.runq.put_next(task) };
            let Some(displaced) = displaced else { return Ok(false) };
            task = displaced;
        }
        match self.runq.put(task) {
            Ok(()) => Ok(!last && !self.alone),
            Err(task) => Err(word::to_task(task)),
        }
    }

    /// How many tasks are in its ring and its slot.
    pub fn queued(&self) -> usize {
        self.runq.len()
    }

    /// Worker: how many tasks fit into its ring.
    pub fn room(&self) -> usize {
        self.runq.room()
    }
}
