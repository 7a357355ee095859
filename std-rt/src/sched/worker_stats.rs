//! The statistics of a worker: how often it has looked for a task, and which task it runs. The worker writes them with two
//! stores for each task; the dump and the monitor read them.

use netpoll_core::sync::RelaxedUsize;

use super::{Sched, TaskMeta, TaskName};

/// The statistics of one worker, written by that worker alone.
#[derive(Debug, Default)]
pub struct WorkerStats {
    /// Counts the times that it has looked for a task.
    tick: RelaxedUsize,
    /// The [`TaskMeta`] of the task that it runs, or has just run; 0 when it sleeps or has no thread.
    running: RelaxedUsize,
}

impl WorkerStats {
    /// Worker: counts a look for its next task; returns the count.
    #[inline]
    pub fn next_tick(&self) -> u32 {
        let tick = self.tick.get().wrapping_add(1);
        self.tick.set(tick);
        tick as u32
    }

    /// Worker: begins to run a task.
    #[inline]
    pub fn begin(&self, task: TaskMeta) {
        self.running.set(task.to_word());
    }

    /// Worker: records that it runs no task; returns what it ran, for [`WorkerStats::restore_running`].
    pub fn take_running(&self) -> usize {
        let running = self.running.get();
        self.running.set(0);
        running
    }

    /// Worker: records that it goes on with the task that it ran before.
    pub fn restore_running(&self, running: usize) {
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
        self.named(self.worker(worker).stats.running.get())
    }
}
