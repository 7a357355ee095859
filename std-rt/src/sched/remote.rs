//! One worker as other threads see it: its run queue, and the task that it runs.

#![expect(unsafe_code, reason = "a task travels through the run queues as a pointer")]

use std::iter;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::thread::Thread;

use netpoll_core::sched::run_queue::Runq;
use netpoll_core::sync::RelaxedUsize;

use super::Sched;
use crate::task::{self, Runnable, RunningTask, TaskMeta, TaskName};

/// Tasks in a worker's ring (Go's 256).
pub const RING: usize = 256;

/// A worker's queue.
type Ring = Runq<task::Header, RING>;

/// A ring of the monitor's own, which receives stolen tasks.
pub type StealBuffer = Ring;

/// The shared part of a worker. It has cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Remote {
    pub(super) runq: Ring,
    /// Set if no other thread takes tasks from here while the worker runs.
    alone: bool,
    /// Written by the worker for each task.
    pub stats: WorkerStats,
    /// The worker's thread; `None` while it has none (`block_on` of a one-worker runtime comes and goes).
    pub(super) thread: Mutex<Option<Thread>>,
}

impl Remote {
    /// Creates a worker that has no thread yet. `alone`: no other thread takes its tasks while it runs.
    pub(super) fn new(alone: bool) -> Self {
        Self { runq: Runq::new(), alone, stats: WorkerStats::default(), thread: Mutex::default() }
    }

    /// Returns whether there is a task in the slot; it may be stolen before it is taken.
    #[inline]
    pub fn has_next(&self) -> bool {
        self.runq.has_next()
    }

    /// Takes the task that was made ready last out of the slot. Called by the worker.
    #[inline]
    pub fn get_next(&self) -> Option<Runnable> {
        let task = if self.alone { self.runq.get_next_alone() } else { self.runq.get_next() };
        task.map(to_task)
    }

    /// Takes the next task out of the ring. Called by the worker.
    #[inline]
    pub fn get_local(&self) -> Option<Runnable> {
        let task = if self.alone { self.runq.get_alone() } else { self.runq.get() };
        task.map(to_task)
    }

    /// Puts a task into the slot, and the one that this displaces at the end of the ring; a task that is to be `last` goes
    /// directly to the end of the ring. Returns true if there is work for another worker. Called by the worker.
    ///
    /// # Errors
    ///
    /// Returns the task for which the ring has no room.
    #[inline]
    pub(super) fn put(&self, task: Runnable, last: bool) -> Result<bool, Runnable> {
        let mut task = task.into_raw();
        if !last {
            let displaced =
                if self.alone { self.runq.put_next_alone(task) } else { self.runq.put_next(task) };
            let Some(displaced) = displaced else { return Ok(false) };
            task = displaced;
        }
        match self.runq.put(task) {
            Ok(()) => Ok(!last && !self.alone),
            Err(task) => Err(to_task(task)),
        }
    }

    /// Returns the number of tasks in its ring and its slot.
    pub fn queued(&self) -> usize {
        self.runq.len()
    }

    /// Returns the number of tasks in its ring.
    pub fn ring_len(&self) -> usize {
        self.runq.ring_len()
    }

    /// Returns the number of tasks that fit into the ring. Called by the worker.
    pub fn room(&self) -> usize {
        self.runq.room()
    }
}

/// Turns a pointer that came out of a queue of this module into the task that was put in.
#[inline]
pub(super) fn to_task(task: NonNull<task::Header>) -> Runnable {
    // SAFETY: only pointers of `Runnable::into_raw` are put into the queues, which are private to this module, and each comes
    // out once (INV-9): the caller just got it out.
    unsafe { Runnable::from_raw(task) }
}

/// The statistics of one worker: which task it runs, and how often it has looked for one. The worker alone writes them, with
/// two stores for each task; the dump and the monitor read them.
#[derive(Debug, Default)]
pub struct WorkerStats {
    /// Counts the times that it has looked for a task.
    tick: RelaxedUsize,
    /// The task that it runs, or has just run; none when it sleeps or has no thread.
    running: RunningTask,
}

impl WorkerStats {
    /// Counts a look for the next task; returns the count.
    #[inline]
    pub fn next_tick(&self) -> u32 {
        let tick = self.tick.get().wrapping_add(1);
        self.tick.set(tick);
        tick as u32
    }

    /// Records the task that the worker begins to run.
    #[inline]
    pub fn begin(&self, task: TaskMeta) {
        self.running.set(Some(task));
    }

    /// Records that the worker runs no task; returns the one that it ran, for [`WorkerStats::restore_running`].
    pub fn take_running(&self) -> Option<TaskMeta> {
        let running = self.running.get();
        self.running.set(None);
        running
    }

    /// Records that the worker goes on with the task that it ran before.
    pub fn restore_running(&self, running: Option<TaskMeta>) {
        self.running.set(running);
    }

    /// Returns how often the worker has looked for a task: while that does not change, it runs the same one.
    pub fn tick(&self) -> usize {
        self.tick.get()
    }
}

impl Sched {
    /// Returns the name of the task that a worker runs now.
    pub fn running(&self, worker: usize) -> Option<TaskName> {
        self.names.get(self.worker(worker).stats.running.get()?)
    }

    /// Moves the tasks in the ring and the slot of a worker that is held by its task to the global queue. The other workers
    /// look there however busy they are; they steal only when they have nothing else. Called by the monitor.
    pub fn take_over_queue(&self, worker: usize, steal_buffer: &StealBuffer) {
        let runq = &self.workers[worker].runq;
        let mut tasks = Vec::new();
        while let Some(task) = runq.steal_into(steal_buffer) {
            tasks.extend(iter::once(task).chain(iter::from_fn(|| steal_buffer.get())).map(to_task));
        }
        tasks.extend(runq.get_next().map(to_task));
        if !tasks.is_empty() {
            self.counts.steals.inc();
            self.put_global(tasks);
        }
    }
}
