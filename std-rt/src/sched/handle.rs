//! Whose a task is: its scheduler, by way of the worker that spawned it.

use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use netpoll_core::counter::Counter;
use slab::Slab;

use super::{Runnable, Sched, Schedule, context, lock, word};

/// The scheduler as one worker's tasks know it, or those that no worker has spawned. Each of these is counted for
/// itself, so that workers which spawn and end tasks have no count of references in common.
#[derive(Debug)]
#[repr(align(64))]
pub struct SchedHandle {
    sched: Arc<Sched>,
    /// Which [`TaskShard`] the tasks are listed in.
    shard: usize,
}

impl Deref for SchedHandle {
    type Target = Sched;

    fn deref(&self) -> &Sched {
        &self.sched
    }
}

impl SchedHandle {
    /// The home of those that no worker spawns.
    pub fn new(sched: Arc<Sched>) -> Arc<Self> {
        let shard = sched.workers();
        Arc::new(Self { sched, shard })
    }

    /// The home of those that a worker of the same scheduler spawns.
    pub fn for_worker(&self, worker: usize) -> Arc<Self> {
        Arc::new(Self { sched: self.sched.clone(), shard: worker })
    }

    /// The same for a thread that is no worker, whoever spawned what it runs.
    pub fn for_no_worker(&self) -> Arc<Self> {
        Self::new(self.sched.clone())
    }

    /// The worker whose home it is, if it is one's.
    pub(super) fn worker(&self) -> Option<usize> {
        (self.shard < self.sched.workers()).then_some(self.shard)
    }

    #[inline]
    pub(super) fn shard(&self) -> &TaskShard {
        &self.shards[self.shard]
    }

    /// Keeps the waker of a task that waits, until it has ended, so that shutdown finds it. Gives its place.
    pub fn register_task(&self, waker: Waker) -> u32 {
        let place = lock(&self.shard().waiting).insert(waker);
        u32::try_from(place).expect("more tasks than memory has room for")
    }

    /// A task has ended, one that had been registered or not.
    pub fn task_ended(&self, place: Option<u32>) {
        self.count(|shard| &shard.ended);
        if let Some(place) = place {
            let waker = lock(&self.shard().waiting).try_remove(place as usize);
            drop(waker);
        }
    }
}

/// What the tasks of one worker have in common, or those of none. On cache lines of its own.
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

/// Makes a task runnable: on the worker that this thread is, else on whichever is free. One that `yielded` comes after
/// all others there. After [`Sched::close`] the task is doomed instead.
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

/// The queue of a task that any worker may run.
#[derive(Clone, Copy, Debug)]
pub struct AnyWorker;

impl Schedule for AnyWorker {
    #[inline]
    fn schedule(self, task: Runnable, yielded: bool) {
        schedule_task(task, yielded);
    }
}
