//! What a worker shows of itself: how far it has come, and which task it runs. Written with two stores for each task,
//! read by whoever makes a report.

use netpoll_core::sync::RelaxedUsize;

use super::{Named, Origin, Sched};

/// One worker's report. Written by that worker alone.
#[derive(Debug, Default)]
pub struct Report {
    /// Counts the times that it has looked for a task.
    tick: RelaxedUsize,
    /// The [`Origin`] of the task that it runs, or has just run; 0 when it sleeps or is nobody.
    running: RelaxedUsize,
}

impl Report {
    /// Worker: looks for its next task; says how often it has.
    #[inline]
    pub fn next_tick(&self) -> u32 {
        let tick = self.tick.get().wrapping_add(1);
        self.tick.set(tick);
        tick as u32
    }

    /// Worker: begins to run a task.
    #[inline]
    pub fn begin(&self, task: Origin) {
        self.running.set(task.to_word());
    }

    /// Worker: runs nothing; gives back what it ran, for [`Report::resume`].
    pub fn rest(&self) -> usize {
        let running = self.running.get();
        self.running.set(0);
        running
    }

    /// Worker: goes on with what it ran before.
    pub fn resume(&self, running: usize) {
        self.running.set(running);
    }

    /// How often it has looked for a task: while that does not change, it runs the same one.
    pub fn tick(&self) -> usize {
        self.tick.get()
    }
}

impl Sched {
    /// What the task is called that a worker runs now.
    pub fn running(&self, worker: usize) -> Option<Named> {
        self.named(self.worker(worker).report.running.get())
    }
}
