//! The handle by which a task knows its scheduler and the worker that spawned it.

use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use netpoll_core::sync::Counter;
use slab::Slab;

use super::{Runnable, Sched, Schedule, context, lock, word};

/// A handle of the scheduler for the tasks of one worker, or for those that no worker has spawned. Each worker has an `Arc`
/// of its own, so that workers which spawn and end tasks share no reference count.
#[derive(Debug)]
#[repr(align(64))]
pub struct SchedHandle {
    sched: Arc<Sched>,
    /// The index of the [`TaskShard`] that lists the tasks.
    shard: usize,
}

impl Deref for SchedHandle {
    type Target = Sched;

    fn deref(&self) -> &Sched {
        &self.sched
    }
}

impl SchedHandle {
    /// Creates the handle for tasks that no worker spawns.
    pub fn new(sched: Arc<Sched>) -> Arc<Self> {
        let shard = sched.workers();
        Arc::new(Self { sched, shard })
    }

    /// Returns a new handle for the tasks that a worker of the same scheduler spawns.
    pub fn for_worker(&self, worker: usize) -> Arc<Self> {
        Arc::new(Self { sched: self.sched.clone(), shard: worker })
    }

    /// Returns a new handle for a thread that is no worker.
    pub fn for_no_worker(&self) -> Arc<Self> {
        Self::new(self.sched.clone())
    }

    /// Returns the worker that the handle belongs to, if any.
    pub(super) fn worker(&self) -> Option<usize> {
        (self.shard < self.sched.workers()).then_some(self.shard)
    }

    #[inline]
    pub(super) fn shard(&self) -> &TaskShard {
        &self.shards[self.shard]
    }

    /// Registers the waker of a task that waits, until the task has ended, so that shutdown finds it. Returns its key.
    pub fn register_task(&self, waker: Waker) -> u32 {
        let place = lock(&self.shard().waiting).insert(waker);
        u32::try_from(place).expect("more tasks than memory has room for")
    }

    /// Counts a task that has ended, and unregisters it if it was registered.
    pub fn task_ended(&self, place: Option<u32>) {
        self.count(|shard| &shard.ended);
        if let Some(place) = place {
            let waker = lock(&self.shard().waiting).try_remove(place as usize);
            drop(waker);
        }
    }
}

/// One shard of the list of tasks: those of one worker, or those of none. It has cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct TaskShard {
    /// Tasks spawned by the worker's thread.
    pub(super) spawned: Counter,
    /// Tasks that have ended there: finished, panicked or cancelled.
    pub(super) ended: Counter,
    /// Every task that has waited and not ended, so that shutdown can cancel it wherever it is.
    pub(super) waiting: Mutex<Slab<Waker>>,
}

/// Makes a task runnable: on this thread's worker, or else through the global queue. One that `yielded` comes after all
/// others there. After [`Sched::close`] the task is dropped instead.
#[inline]
pub fn schedule_task(task: Runnable, yielded: bool) {
    if let Some(task) = context::schedule_local(task, yielded) {
        schedule_remote(task);
    }
}

#[cold]
fn schedule_remote(task: Runnable) {
    // As soon as it is in a queue it may be run and gone, and its reference with it.
    let sched = task.sched().clone();
    sched.put_global(&[word::from_task(task)]);
}

/// The schedule of a task that any worker may run.
#[derive(Clone, Copy, Debug)]
pub struct AnyWorker;

impl Schedule for AnyWorker {
    #[inline]
    fn schedule(self, task: Runnable, yielded: bool) {
        schedule_task(task, yielded);
    }
}
