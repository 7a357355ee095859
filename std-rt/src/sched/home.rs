//! Whose a task is: its scheduler, by way of the worker that spawned it.

use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use netpoll_core::counter::Counter;
use slab::Slab;

use super::{Queue, Runnable, Sched, current, lock, word};

/// The scheduler as one worker's tasks know it, or those that no worker has spawned. Each of these is counted for
/// itself, so that workers which spawn and end tasks have no count of references in common.
#[derive(Debug)]
#[repr(align(64))]
pub struct Home {
    sched: Arc<Sched>,
    /// Which [`Share`] the tasks are listed in.
    share: usize,
}

impl Deref for Home {
    type Target = Sched;

    fn deref(&self) -> &Sched {
        &self.sched
    }
}

impl Home {
    /// The home of those that no worker spawns.
    pub fn outside(sched: Arc<Sched>) -> Arc<Self> {
        let share = sched.workers();
        Arc::new(Self { sched, share })
    }

    /// The home of those that a worker of the same scheduler spawns.
    pub fn of_worker(&self, worker: usize) -> Arc<Self> {
        Arc::new(Self { sched: self.sched.clone(), share: worker })
    }

    /// The same for a thread that is no worker, whoever spawned what it runs.
    pub fn of_no_worker(&self) -> Arc<Self> {
        Self::outside(self.sched.clone())
    }

    /// The worker whose home it is, if it is one's.
    pub(super) fn worker(&self) -> Option<usize> {
        (self.share < self.sched.workers()).then_some(self.share)
    }

    #[inline]
    pub(super) fn share(&self) -> &Share {
        &self.shares[self.share]
    }

    /// Keeps the waker of a task that waits, until it has ended, so that shutdown finds it. Gives its place.
    pub fn register_task(&self, waker: Waker) -> u32 {
        let place = lock(&self.share().waiting).insert(waker);
        u32::try_from(place).expect("more tasks than memory has room for")
    }

    /// A task has ended, one that had been registered or not.
    pub fn task_ended(&self, place: Option<u32>) {
        self.count(|share| &share.ended);
        if let Some(place) = place {
            let waker = lock(&self.share().waiting).try_remove(place as usize);
            drop(waker);
        }
    }
}

/// What the tasks of one worker have in common, or those of none. On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Share {
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
pub fn put(task: Runnable, yielded: bool) {
    if let Some(task) = current::put_here(task, yielded) {
        put_elsewhere(task);
    }
}

#[cold]
fn put_elsewhere(task: Runnable) {
    // As soon as it is in a queue it may be run and gone, and its reference with it.
    let home = task.home().clone();
    home.put_global(&[word::from_task(task)]);
}

/// The queue of a task that any worker may run.
#[derive(Clone, Copy, Debug)]
pub struct Anywhere;

impl Queue for Anywhere {
    #[inline]
    fn put(self, task: Runnable, yielded: bool) {
        put(task, yielded);
    }
}
