//! The number of tasks, and their cancellation at shutdown.

use std::task::Waker;

use netpoll_core::sync::Counter;

use super::{Runnable, Sched, StealBuffer, TaskShard, lock};
use crate::foreign::catch_panic;

/// Drops a task of a closed scheduler, which cancels it.
pub fn drop_task(task: Runnable) {
    catch_panic(|| drop(task));
}

impl Sched {
    /// Counts a task that is spawned.
    #[inline]
    pub fn task_begins(&self) {
        self.count(|shard| &shard.spawned);
    }

    /// Returns the number of tasks that have not ended.
    pub fn living(&self) -> usize {
        let sum = |which: fn(&TaskShard) -> &Counter| {
            self.shards.iter().fold(0, |sum: usize, shard| sum.wrapping_add(which(shard).get()))
        };
        // Ended first: a task that ends in between must not count as minus one.
        let ended = sum(|shard| &shard.ended);
        sum(|shard| &shard.spawned).saturating_sub(ended)
    }

    /// Drops every task that is in a queue, and wakes every task that waits, after [`Sched::close`]. Several threads may be
    /// in here at once, beside workers that are in their last turn: tasks are stolen.
    pub fn cancel_all(&self) {
        let steal_buffer = StealBuffer::new();
        while let Some(task) = self.steal_runnable(&steal_buffer) {
            drop_task(task);
        }
        self.cancel_waiting();
    }

    /// A task of any queue, in no order. The one worker of a runtime without threads owns its ring as if it were alone, but
    /// there is no such worker while a runtime ends: `block_on` borrows the runtime.
    fn steal_runnable(&self, steal_buffer: &StealBuffer) -> Option<Runnable> {
        let stolen = || {
            let rings = self.workers.iter().map(|worker| &worker.runq);
            rings.into_iter().find_map(|runq| runq.get_next().or_else(|| runq.steal_into(steal_buffer)))
        };
        steal_buffer.get().or_else(stolen).map(super::word::to_task).or_else(|| self.get_global())
    }

    /// Wakes every task that waits: since the scheduler is closed, it is then dropped.
    fn cancel_waiting(&self) {
        for shard in &self.shards {
            let mut place = 0;
            // Others may end or begin to wait meanwhile, so one at a time. A task leaves the list itself, by its place.
            while let Some((found, waker)) = take_waker(shard, place) {
                place = found + 1;
                catch_panic(|| waker.wake());
            }
        }
    }

    /// The one worker of a runtime without threads: the next task of any queue.
    fn take_runnable(&self) -> Option<Runnable> {
        let mut workers = self.workers.iter();
        workers
            .find_map(|worker| worker.get_next().or_else(|| worker.get_local()))
            .or_else(|| self.get_global())
    }

    /// The one worker of a runtime without threads, before another thread takes its place: gives out the runnable tasks that
    /// stay on this thread. The others are in the global queue afterwards, in their order.
    pub fn take_local_tasks(&self) -> Vec<Runnable> {
        let all: Vec<_> = std::iter::from_fn(|| self.take_runnable()).collect();
        let (local, others) = all.into_iter().partition(|task| task.meta().is_local());
        for task in Vec::into_iter(others) {
            self.put_global(&[super::word::from_task(task)]);
        }
        local
    }
}

/// The first waker at that place or behind it. One that does nothing stays in its stead: an `Option` would make each place
/// half as large again.
fn take_waker(shard: &TaskShard, from: usize) -> Option<(usize, Waker)> {
    let mut waiting = lock(&shard.waiting);
    (from..waiting.capacity()).find_map(|place| {
        let waker = waiting.get_mut(place)?;
        // A task's waker points to it, that which does nothing to nothing.
        let taken = !waker.data().is_null();
        taken.then(|| (place, std::mem::replace(waker, Waker::noop().clone())))
    })
}
