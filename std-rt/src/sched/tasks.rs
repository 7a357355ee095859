//! The list of tasks that wait, or have waited and not ended: what shutdown cancels, wherever it is.

use std::panic::{self, AssertUnwindSafe};
use std::task::Waker;

use async_task::Runnable;

use super::{Origin, Sched, lock};

/// The Drop of a future may panic, which the hook has reported; the others are dropped all the same.
pub fn quietly(drop_it: impl FnOnce()) {
    let _ = panic::catch_unwind(AssertUnwindSafe(drop_it));
}

impl Sched {
    /// Keeps the waker of a task that waits, until it has ended, so that shutdown finds it. Gives its place.
    pub fn register_task(&self, waker: Waker) -> usize {
        lock(&self.tasks).insert(Some(waker))
    }

    /// A task has ended, one that had been registered or not.
    pub fn task_ended(&self, place: Option<usize>) {
        self.counts.ended.inc();
        if let Some(place) = place {
            let waker = lock(&self.tasks).try_remove(place);
            drop(waker);
        }
    }

    /// After [`Sched::close`]: drops every task that is left, waiting, or runnable on a worker that has `ended`; what a
    /// worker that has not is running is dropped when its turn is over.
    pub fn cancel_all(&self, ended: impl Fn(usize) -> bool) {
        loop {
            while let Some(task) = self.take_runnable(&ended) {
                quietly(|| drop(task));
            }
            if !self.cancel_waiting() {
                return;
            }
        }
    }

    /// Wakes every task that waits, which drops it as the scheduler is closed; false if there was none.
    fn cancel_waiting(&self) -> bool {
        let (mut place, mut any) = (0, false);
        // Its Drop may end or wake others, so one at a time. It leaves the list itself, by its place.
        while let Some((found, waker)) = self.take_waker(place) {
            (place, any) = (found + 1, true);
            quietly(|| waker.wake());
        }
        any
    }

    /// The first waker at that place or behind it.
    fn take_waker(&self, from: usize) -> Option<(usize, Waker)> {
        let mut tasks = lock(&self.tasks);
        (from..tasks.capacity()).find_map(|place| Some((place, tasks.get_mut(place)?.take()?)))
    }

    fn take_runnable(&self, ended: impl Fn(usize) -> bool) -> Option<Runnable<Origin>> {
        (0..self.workers.len())
            .filter(|&worker| ended(worker))
            .find_map(|worker| self.get_next(worker).or_else(|| self.get_local(worker)))
            .or_else(|| self.get_global())
    }

    /// The one worker of a runtime without threads, before another thread takes its place: gives out the runnable tasks that
    /// stay on this thread. The others are in the global queue afterwards, in their order.
    pub fn take_local_tasks(&self) -> Vec<Runnable<Origin>> {
        let all: Vec<_> = std::iter::from_fn(|| self.take_runnable(|_| true)).collect();
        let (local, others) = all.into_iter().partition(|task| task.metadata().is_local());
        for task in Vec::into_iter(others) {
            self.put_global(super::word::from_task(task));
        }
        local
    }
}
