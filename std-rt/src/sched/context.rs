//! The thread's context: the scheduler that it works for, and its worker.
//!
//! - **INV-402** A thread's `CONTEXT` is none, or points into the `Rc` of an [`EnterGuard`] of this thread. That is there for
//!   longer than the pointer: an `EnterGuard` that is dropped, which its own thread does, points back to the one before it,
//!   and one that is forgotten leaves its `Rc` behind for ever.

use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::thread;

use netpoll_core::sync::Counter;

use super::cell::wake_to_runnable;
use super::{Remote, Runnable, Sched, SchedHandle, TaskShard, lock};
use crate::netpoll::{Netpoll, WorkerId};

/// The scheduler that a thread works for, and its worker.
struct Context {
    sched: Arc<SchedHandle>,
    /// The thread's worker, if it is one.
    mine: Option<Arc<Remote>>,
    /// Set while the worker injects the tasks that a poll made ready: they go to the ring in order, and other workers are
    /// woken after the last.
    injecting: Cell<bool>,
}

thread_local! {
    /// A bare pointer, since it is looked at for every task that is made ready.
    static CONTEXT: Cell<Option<NonNull<Context>>> = const { Cell::new(None) };
}

/// The guard of a thread that works for a scheduler. Dropping it restores the previous context.
#[must_use]
pub struct EnterGuard {
    /// The value that `CONTEXT` points to.
    _current: Rc<Context>,
    before: Option<NonNull<Context>>,
    netpoll: Option<Arc<Netpoll>>,
    worker_id: WorkerId,
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        let around = self.netpoll.take();
        let netpoll = Netpoll::enter(around.clone());
        CONTEXT.set(self.before);
        if let Some(netpoll) = netpoll {
            netpoll.leave_worker(self.worker_id, around.as_ref());
        }
    }
}

impl SchedHandle {
    /// Returns the handle for tasks that this thread spawns, if it works for a scheduler.
    #[inline]
    pub fn current() -> Option<Arc<SchedHandle>> {
        with_context(|context| context.map(|context| context.sched.clone()))
    }

    /// Makes this thread work for the scheduler, as the worker that the handle belongs to, or as none.
    pub fn enter(self: &Arc<Self>) -> EnterGuard {
        let worker = self.worker();
        let mine = worker.map(|worker| self.workers[worker].clone());
        if let Some(mine) = &mine {
            *lock(&mine.thread) = Some(thread::current());
        }
        let context = Rc::new(Context { sched: self.clone(), mine, injecting: Cell::new(false) });
        let around = Netpoll::enter(Some(self.netpoll().clone()));
        EnterGuard {
            worker_id: self.netpoll().enter_worker(worker, around.as_ref()),
            netpoll: around,
            before: CONTEXT.replace(Some(NonNull::from(&*context))),
            _current: context,
        }
    }
}

#[inline]
fn with_context<R>(work: impl FnOnce(Option<&Context>) -> R) -> R {
    // SAFETY: INV-402: it is in the `Rc` of an `EnterGuard`, which this thread drops after what it does in here.
    work(CONTEXT.get().map(|context| unsafe { context.as_ref() }))
}

/// Calls `work` with this thread's context and worker, if it is a worker of that scheduler.
#[inline]
fn with_worker<R>(sched: *const Sched, work: impl FnOnce(&Context, &Remote) -> R) -> Option<R> {
    with_context(|context| {
        let context = context.filter(|context| ptr::eq::<Sched>(&**context.sched, sched))?;
        Some(work(context, context.mine.as_ref()?))
    })
}

/// Puts a task into the queue of this thread's worker. Returns the task if the thread is no worker of that scheduler, or if
/// the scheduler is closed.
#[inline]
pub(super) fn schedule_local(task: Runnable, yielded: bool) -> Option<Runnable> {
    let sched: *const Sched = &***task.sched();
    let mut task = Some(task);
    with_worker(sched, |context, mine| {
        let sched: &Sched = &context.sched;
        if sched.is_closed() {
            return;
        }
        match task.take().map(|task| mine.put(task, yielded || context.injecting.get())) {
            Some(Ok(true)) => sched.wake_one(),
            Some(Err(task)) => sched.overflow(mine, task),
            Some(Ok(false)) | None => {}
        }
    });
    task
}

/// Wakes tasks. If this thread is a worker of that scheduler, its tasks go directly to the end of the worker's ring.
pub(super) fn inject_woken(sched: &Sched, wakers: &mut impl Iterator<Item = Waker>) {
    with_context(|context| {
        let context = context.filter(|context| ptr::eq::<Sched>(&**context.sched, sched));
        let mine = context.and_then(|context| context.mine.as_deref()).filter(|_| !sched.is_closed());
        for waker in wakers {
            match (wake_to_runnable(waker), mine) {
                (Ok(None), _) => {}
                (Ok(Some(task)), Some(mine)) if task.is_for_any_worker_of(sched) => {
                    if let Err(task) = mine.put(task, true) {
                        sched.overflow(mine, task);
                    }
                }
                (Ok(Some(task)), _) => task.schedule(),
                (Err(foreign), _) => foreign.wake(),
            }
        }
    });
}

/// Sets whether this thread injects the tasks that a poll made ready.
pub(super) fn set_injecting(on: bool) {
    with_context(|context| {
        if let Some(context) = context {
            context.injecting.set(on);
        }
    });
}

impl Sched {
    /// Increments a counter in the shard of this thread's worker, or in that of all other threads.
    #[inline]
    pub(super) fn count(&self, which: impl Fn(&TaskShard) -> &Counter) {
        if with_worker(self, |context, _| which(context.sched.shard()).inc_alone()).is_none() {
            which(&self.shards[self.workers()]).inc();
        }
    }
}
