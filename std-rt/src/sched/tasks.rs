//! The list of living tasks: what shutdown cancels, wherever it waits.

use std::task::Waker;

use super::{Sched, lock};

impl Sched {
    /// Keeps a task's waker until [`Sched::forget_task`], so that shutdown finds it.
    pub fn register_task(&self) -> usize {
        self.counts.spawned.inc();
        lock(&self.tasks).insert(Waker::noop().clone())
    }

    /// The waker of a task that was registered.
    pub fn set_task(&self, id: usize, waker: Waker) {
        if let Some(place) = lock(&self.tasks).get_mut(id) {
            *place = waker;
        }
    }

    /// The task has ended.
    pub fn forget_task(&self, id: usize) {
        self.counts.ended.inc();
        let waker = lock(&self.tasks).try_remove(id);
        drop(waker);
    }

    /// After [`Sched::close`], when the workers have ended: drops every task that is left, runnable or waiting.
    pub fn cancel_all(&self) {
        loop {
            let queued =
                || (0..self.workers.len()).find_map(|i| self.get_next(i).or_else(|| self.get_local(i)));
            if let Some(task) = queued().or_else(|| self.get_global()) {
                drop(task);
                continue;
            }
            // Waking a task of a closed scheduler drops it. Its Drop may end or wake others, so one at a time.
            let mut tasks = lock(&self.tasks);
            let Some(id) = tasks.iter().map(|(id, _)| id).next() else { return };
            let waker = tasks.remove(id);
            drop(tasks);
            waker.wake();
        }
    }
}
