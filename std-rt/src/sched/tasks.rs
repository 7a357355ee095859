//! How many tasks there are, and what shutdown does with them, wherever they are.

use std::panic::{self, AssertUnwindSafe};
use std::task::Waker;

use netpoll_core::counter::Counter;

use super::{Runnable, Sched, Share, lock};

/// The Drop of a future may panic, which the hook has reported; the others are dropped all the same.
pub fn quietly(drop_it: impl FnOnce()) {
    let _ = panic::catch_unwind(AssertUnwindSafe(drop_it));
}

impl Sched {
    /// A task is spawned.
    #[inline]
    pub fn task_begins(&self) {
        self.count(|share| &share.spawned);
    }

    /// Tasks that have not ended.
    pub fn living(&self) -> usize {
        let sum = |which: fn(&Share) -> &Counter| {
            self.shares.iter().fold(0, |sum: usize, share| sum.wrapping_add(which(share).get()))
        };
        // Ended first: a task that ends in between must not count as minus one.
        let ended = sum(|share| &share.ended);
        sum(|share| &share.spawned).saturating_sub(ended)
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
        let mut any = false;
        for share in &self.shares {
            let mut place = 0;
            // Its Drop may end or wake others, so one at a time. It leaves the list itself, by its place.
            while let Some((found, waker)) = take_waker(share, place) {
                (place, any) = (found + 1, true);
                quietly(|| waker.wake());
            }
        }
        any
    }

    fn take_runnable(&self, ended: impl Fn(usize) -> bool) -> Option<Runnable> {
        (0..self.workers.len())
            .filter(|&worker| ended(worker))
            .map(|worker| &self.workers[worker])
            .find_map(|worker| worker.get_next().or_else(|| worker.get_local()))
            .or_else(|| self.get_global())
    }

    /// The one worker of a runtime without threads, before another thread takes its place: gives out the runnable tasks that
    /// stay on this thread. The others are in the global queue afterwards, in their order.
    pub fn take_local_tasks(&self) -> Vec<Runnable> {
        let all: Vec<_> = std::iter::from_fn(|| self.take_runnable(|_| true)).collect();
        let (local, others) = all.into_iter().partition(|task| task.origin().is_local());
        for task in Vec::into_iter(others) {
            self.put_global(&[super::word::from_task(task)]);
        }
        local
    }
}

/// The first waker at that place or behind it. One that does nothing stays in its stead: an `Option` would make each place
/// half as large again.
fn take_waker(share: &Share, from: usize) -> Option<(usize, Waker)> {
    let mut waiting = lock(&share.waiting);
    (from..waiting.capacity()).find_map(|place| {
        let waker = waiting.get_mut(place)?;
        // A task's waker points to it, that which does nothing to nothing.
        let taken = !waker.data().is_null();
        taken.then(|| (place, std::mem::replace(waker, Waker::noop().clone())))
    })
}
