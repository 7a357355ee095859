//! The handle by which a task knows its scheduler and the worker that spawned it, and the tasks of a scheduler as a whole:
//! how they are spawned, counted and, at shutdown, cancelled.

#![expect(unsafe_code, reason = "declares the scheduler whose tasks any worker may run")]

use std::future::Future;
use std::iter;
use std::ops::Deref;
use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use netpoll_core::sync::Counter;
use slab::Slab;

use super::remote::to_task;
use super::{Sched, StealBuffer, context, lock};
use crate::foreign::catch_panic;
use crate::task::{self, JoinHandle, LocalQueues, Runnable, Schedule, Scheduled, TaskMeta, UNREGISTERED};
use crate::trace::{self, TaskSpan};

/// A handle of the scheduler for the tasks of one worker, or for those that no worker has spawned. Each worker has an `Arc`
/// of its own, so that workers which spawn and end tasks share no reference count.
#[derive(Debug)]
#[repr(align(64))]
pub struct SchedHandle {
    sched: Arc<Sched>,
    /// The index of the [`TaskShard`] that lists the tasks.
    shard: usize,
    /// The handle for tasks that no worker spawns, if this is a worker's.
    no_worker: Option<Arc<SchedHandle>>,
}

impl Deref for SchedHandle {
    type Target = Sched;

    fn deref(&self) -> &Sched {
        &self.sched
    }
}

/// One shard of the list of tasks: those of one worker, or those of no worker. It has cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct TaskShard {
    /// Tasks spawned by the worker's thread.
    spawned: Counter,
    /// Tasks that have ended there: finished, panicked or cancelled.
    ended: Counter,
    /// Every task that has waited and not ended, so that shutdown can cancel it wherever it is.
    waiting: Mutex<Waiting>,
}

/// The wakers of the tasks of a shard that wait.
#[derive(Debug, Default)]
struct Waiting {
    wakers: Slab<Waker>,
    /// Removals since the slab was last shrunk.
    removed: usize,
}

/// The least number of wakers for which a slab has memory.
const LEAST_WAKERS: usize = 64;

/// The number of wakers up to which a slab keeps its memory.
const KEPT_WAKERS: usize = 1024;

impl Waiting {
    fn insert(&mut self, waker: Waker) -> usize {
        if self.wakers.capacity() == 0 {
            // A small block, once freed, would keep the memory below it, as in the module `timer`.
            self.wakers.reserve(LEAST_WAKERS);
        }
        self.wakers.insert(waker)
    }

    /// Removes a waker. The slab gives memory back when it is empty, and once in a number of removals where three quarters of
    /// it are free: it looks at each free place then.
    fn remove(&mut self, key: usize) -> Option<Waker> {
        let waker = self.wakers.try_remove(key);
        self.removed += 1;
        let (len, capacity) = (self.wakers.len(), self.wakers.capacity());
        if capacity > KEPT_WAKERS && (len == 0 || 4 * len < capacity && self.removed > capacity / 8) {
            self.wakers.shrink_to_fit();
            self.removed = 0;
        }
        waker
    }
}

impl SchedHandle {
    /// Creates the handle for tasks that no worker spawns.
    pub fn new(sched: Arc<Sched>) -> Arc<Self> {
        let shard = sched.workers();
        Arc::new(Self { sched, shard, no_worker: None })
    }

    /// Returns the scheduler.
    pub fn sched(&self) -> &Arc<Sched> {
        &self.sched
    }

    /// Returns a new handle for the tasks that a worker of the same scheduler spawns.
    pub fn for_worker(self: &Arc<Self>, worker: usize) -> Arc<Self> {
        let no_worker = Some(self.for_no_worker().clone());
        Arc::new(Self { sched: self.sched.clone(), shard: worker, no_worker })
    }

    /// Returns the handle for a thread that is no worker.
    pub fn for_no_worker(self: &Arc<Self>) -> &Arc<Self> {
        self.no_worker.as_ref().unwrap_or(self)
    }

    /// Returns the worker that the handle belongs to, if any.
    pub(super) fn worker(&self) -> Option<usize> {
        (self.shard < self.sched.workers()).then_some(self.shard)
    }

    #[inline]
    pub(super) fn shard(&self) -> &TaskShard {
        &self.shards[self.shard]
    }

    /// Starts a task. On a scheduler that is closed it is dropped at once, and its handle says that it was cancelled.
    pub fn spawn<F>(self: Arc<Self>, location: &'static Location<'static>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.start(TaskMeta::new(location), TaskSpan::new(trace::TASK, None, location), future)
    }

    /// Starts a task that has a name.
    pub fn spawn_named<F>(
        self: Arc<Self>,
        name: Arc<str>,
        location: &'static Location<'static>,
        future: F,
    ) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.netpoll().assert_owner_process("spawn");
        let span = TaskSpan::new(trace::TASK, Some(&name), location);
        let (meta, future) = self.names.add(name, location, future);
        self.start(meta, span, future)
    }

    fn start<F>(self: Arc<Self>, meta: TaskMeta, span: TaskSpan, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.netpoll().assert_owner_process("spawn");
        let closed = self.is_closed();
        let (task, handle) = task::new_task(self, meta, span, future);
        if closed {
            drop_task(task)
        } else {
            task.schedule()
        }
        handle
    }
}

/// Puts a task at the end of the global queue.
#[cold]
fn schedule_remote(task: Scheduled<Arc<SchedHandle>>) {
    // As soon as it is in a queue it may be run and gone, and its reference to the scheduler with it.
    let sched = task.sched().clone();
    sched.put_global([Runnable::from(task)]);
}

// SAFETY: this is the only type for which `for_any_worker` returns true: the other implementations, of `Locals` and of the tasks
// of closures, return false.
unsafe impl Schedule for Arc<SchedHandle> {
    #[inline]
    fn for_any_worker() -> bool {
        true
    }

    /// Puts the task into the queue of this thread's worker, or else into the global queue. One that `yielded` comes after
    /// all others there. After [`Sched::close`] the task is dropped instead.
    #[inline]
    fn schedule(task: Scheduled<Self>, yielded: bool) {
        let sched: *const Sched = &***task.sched();
        if let Err(task) = context::schedule_local(sched, task, yielded) {
            schedule_remote(task);
        }
    }

    /// Puts the task at the end of the global queue, so that tasks which are cancelled together are dropped in that order. A ring
    /// would run the last 256 of them first. The memory of many tasks most often lies in the order in which they were spawned,
    /// and glibc's allocator, which keeps the first blocks that a thread frees, returns to the system only the memory above them.
    fn schedule_cancelled(task: Scheduled<Self>) {
        schedule_remote(task);
    }

    #[inline]
    fn started(&self) {
        self.count(|shard| &shard.spawned);
    }

    fn register(&self, waker: Waker) -> u32 {
        if !self.netpoll().is_owner_process() {
            // In a child of fork(2) the lock may be held for ever, and nothing is cancelled.
            return UNREGISTERED;
        }
        let key = lock(&self.shard().waiting).insert(waker);
        u32::try_from(key).expect("more tasks than memory has room for")
    }

    fn ended(&self, key: Option<u32>) {
        self.count(|shard| &shard.ended);
        if let Some(key) = key.filter(|_| self.netpoll().is_owner_process()) {
            let waker = lock(&self.shard().waiting).remove(key as usize);
            drop(waker);
        }
    }

    fn is_owner_process(&self) -> bool {
        self.netpoll().is_owner_process()
    }
}

impl LocalQueues for Arc<SchedHandle> {
    fn put(&self, task: Runnable, yielded: bool) {
        if let Err(task) = context::schedule_local(&***self, task, yielded) {
            self.put_global([task]);
        }
    }

    /// Takes the tasks out. The other tasks are in the global queue afterwards, in their order.
    fn take_local_tasks(&self) -> Vec<Runnable> {
        let all: Vec<_> = iter::from_fn(|| self.take_runnable()).collect();
        let (local, others) = all.into_iter().partition(|task| task.meta().is_local());
        for task in Vec::into_iter(others) {
            self.put_global([task]);
        }
        local
    }

    fn started(&self) {
        Schedule::started(self);
    }

    fn ended(&self) {
        Schedule::ended(self, None);
    }

    fn is_owner_process(&self) -> bool {
        self.netpoll().is_owner_process()
    }
}

/// Drops a task of a closed scheduler, which cancels it.
pub fn drop_task(task: Runnable) {
    catch_panic(|| drop(task));
}

impl Sched {
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

    /// Takes a task out of any queue, in no order. The one worker of a runtime without threads owns its ring as if it were
    /// alone, but there is no such worker while a runtime ends: `block_on` borrows the runtime.
    fn steal_runnable(&self, steal_buffer: &StealBuffer) -> Option<Runnable> {
        let stolen = || {
            let rings = self.workers.iter().map(|worker| &worker.runq);
            rings.into_iter().find_map(|runq| runq.get_next().or_else(|| runq.steal_into(steal_buffer)))
        };
        steal_buffer.get().or_else(stolen).map(to_task).or_else(|| self.take_global())
    }

    /// Wakes every task that waits: since the scheduler is closed, it is then dropped.
    fn cancel_waiting(&self) {
        for shard in &self.shards {
            let mut key = 0;
            // Others may end or begin to wait meanwhile, so one at a time. A task leaves the list itself, by its key.
            while let Some((found, waker)) = take_waker(shard, key) {
                key = found + 1;
                catch_panic(|| waker.wake());
            }
        }
    }

    /// Takes the next task of any queue, for the one worker of a runtime without threads.
    fn take_runnable(&self) -> Option<Runnable> {
        let mut workers = self.workers.iter();
        workers
            .find_map(|worker| worker.get_next().or_else(|| worker.get_local()))
            .or_else(|| self.take_global())
    }
}

/// Takes the first waker at that key or behind it. One that does nothing stays in its stead: an `Option` would make each
/// entry half as large again.
fn take_waker(shard: &TaskShard, from: usize) -> Option<(usize, Waker)> {
    let mut waiting = lock(&shard.waiting);
    (from..waiting.wakers.capacity()).find_map(|key| {
        let waker = waiting.wakers.get_mut(key)?;
        // A task's waker points to it, that which does nothing to nothing.
        let taken = !waker.data().is_null();
        taken.then(|| (key, std::mem::replace(waker, Waker::noop().clone())))
    })
}
