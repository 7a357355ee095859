//! The thread's context: the scheduler that it works for, and its worker.
//!
//! - **INV-402** The field `entered` of a thread's [`Context`](crate::context::Context) is `None`, or points to an
//!   [`Entered`] in the `Rc` of an [`EnterGuard`] of this thread; only this file writes it. The value outlives the pointer:
//!   an `EnterGuard` cannot leave its thread, its drop restores the previous pointer before it releases the `Rc`, and a
//!   guard that is forgotten leaks the `Rc`. Guards of one thread are dropped in the reverse order of their creation.
//! - **INV-405** The field `current` is `None`, or points to the youngest [`Current`] of this thread; each points to the next
//!   older one. Each is in an `Rc` of a guard of this thread, which unlinks it before it releases the `Rc`, in any order. Only
//!   this file follows these pointers, and runs no foreign code meanwhile.
//!
//! The scheduler that a thread works for, and that of its new tasks, differ while the user has entered another runtime
//! ([`Handle::enter`](crate::Handle::enter)): a worker stays one.

#![expect(unsafe_code, reason = "the context of a thread is read each time a task is made ready")]

use std::any::Any;
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::{iter, thread};

use netpoll_core::sync::Counter;

use super::remote::RING;
use super::{Remote, Sched, SchedHandle, TaskShard, lock};
use crate::context::{self, WorkerWheel};
use crate::coop;
use crate::foreign;
use crate::netpoll::Netpoll;
use crate::task::{Runnable, Scheduled, wake_to_runnable};

/// A scheduler that a thread works for.
struct Entered {
    current: Current,
    /// The queue of the worker that the thread is; `None` if it is not a worker.
    remote: Option<Arc<Remote>>,
    /// A pointer to the same; `None` also while another thread is the worker.
    mine: Cell<Option<NonNull<Remote>>>,
    /// The worker itself, a `Worker`.
    worker: Option<Rc<dyn Any>>,
    /// Set while the worker wakes a task that a poll made ready by its own waker: it goes to the ring in order, and other
    /// workers are woken after the last. Always set if the slot is not used, which a runtime with other workers does use.
    injecting: Cell<bool>,
    /// Set while another thread is the worker, or once it has become that for good: the thread does not touch the queue.
    handed_over: Cell<bool>,
    /// The scheduler that the thread worked for before, and works for again afterwards.
    before: Option<NonNull<Entered>>,
}

impl Entered {
    fn sched(&self) -> &Arc<SchedHandle> {
        &self.current.sched
    }

    /// Returns the queue of the worker that the thread is.
    #[inline]
    fn mine(&self) -> Option<&Remote> {
        // SAFETY: the pointer is `None`, or that of the value in the `Arc` beside it, which never changes.
        self.mine.get().map(|mine| unsafe { mine.as_ref() })
    }

    /// Returns the worker that the thread is.
    fn worker(&self) -> Option<&Rc<dyn Any>> {
        self.worker.as_ref().filter(|_| !self.handed_over.get())
    }
}

/// A runtime whose scheduler gets the new tasks of a thread, and whose poller its new descriptors and timers.
struct Current {
    sched: Arc<SchedHandle>,
    /// The one in force before, while that is left.
    before: Cell<Option<NonNull<Current>>>,
}

impl Current {
    fn new(sched: Arc<SchedHandle>) -> Self {
        Self { sched, before: Cell::new(None) }
    }

    /// Puts it in force.
    fn push(&self) {
        self.before.set(youngest());
        context::with(|context| context.current.set(Some(NonNull::from(self).cast())));
        select_netpoll();
    }

    /// Takes it out of the list. The youngest that is left is in force then.
    fn remove(&self) {
        let this = Some(NonNull::from(self));
        if youngest() == this {
            context::with(|context| context.current.set(self.before.get().map(NonNull::cast)));
        } else {
            // SAFETY: INV-405: each pointer of the list is that of a value in the `Rc` of a guard that has not unlinked it.
            let older = |current: &NonNull<Current>| unsafe { current.as_ref() }.before.get();
            let above = iter::successors(youngest(), older).find(|current| older(current) == this);
            if let Some(above) = above {
                // SAFETY: see above.
                unsafe { above.as_ref() }.before.set(self.before.get());
            }
        }
        select_netpoll();
    }
}

/// Returns the youngest [`Current`] of this thread.
#[inline]
fn youngest() -> Option<NonNull<Current>> {
    context::with(|context| context.current.get()).map(NonNull::cast)
}

/// Selects the poller of new descriptors and timers: that of the current scheduler. A runtime without threads is polled if
/// this thread is in `block_on` of it, and not if the thread has merely entered it.
fn select_netpoll() {
    // SAFETY: INV-405: the pointer is that of a value in the `Rc` of a guard that has not unlinked it, and no guard of this thread
    // is dropped before the last use of the reference, which is a clone.
    let sched = youngest().map(|current| &unsafe { current.as_ref() }.sched);
    let is_polled = sched.is_some_and(|sched| {
        let is_same = |entered: &Entered| ptr::eq::<Sched>(&***entered.sched(), &***sched).then_some(());
        !sched.is_threadless() || find_entered(is_same).is_some()
    });
    let before = Netpoll::enter(sched.map(|sched| sched.netpoll().clone()), is_polled);
    drop(before);
}

/// The guard of a thread that works for a scheduler. Dropping it restores the previous one.
#[must_use]
pub struct EnterGuard {
    /// The value that the thread's context points to.
    entered: Rc<Entered>,
    /// The poller that the thread worked for before.
    around: Option<Arc<Netpoll>>,
    wheel: WorkerWheel,
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        context::with(|context| context.entered.set(self.entered.before.map(NonNull::cast)));
        self.entered.current.remove();
        let handed_over = with_entered(|entered| entered.is_some_and(|entered| entered.handed_over.get()));
        let wheel = if handed_over { WorkerWheel::NONE } else { self.wheel };
        self.entered.sched().netpoll().leave_worker(wheel, self.around.as_ref());
    }
}

/// The guard of a thread whose new tasks, descriptors and timers go to a runtime. The thread does not work for it.
#[must_use]
pub struct CurrentGuard(Rc<Current>);

impl Drop for CurrentGuard {
    fn drop(&mut self) {
        self.0.remove();
    }
}

impl SchedHandle {
    /// Returns the handle for tasks that this thread spawns, if it has entered a scheduler or works for one.
    #[inline]
    pub fn current() -> Option<Arc<SchedHandle>> {
        // SAFETY: INV-405: the pointer is that of a value in the `Rc` of a guard that has not unlinked it, and it is used to
        // clone an `Arc` only.
        youngest().map(|current| unsafe { current.as_ref() }.sched.clone())
    }

    /// Returns whether the tasks that this thread spawns go to this scheduler, whichever of its handles is the current one.
    #[inline]
    pub fn is_current(&self) -> bool {
        // SAFETY: INV-405: the pointer is that of a value in the `Rc` of a guard that has not unlinked it, and only an address
        // is read from it.
        youngest().is_some_and(|current| ptr::eq::<Sched>(&***unsafe { &current.as_ref().sched }, &**self))
    }

    /// Makes the scheduler that of the tasks which this thread spawns. Guards may be dropped in any order: the youngest that
    /// is left is in force.
    pub fn enter_current(self: &Arc<Self>) -> CurrentGuard {
        let current = Rc::new(Current::new(self.clone()));
        current.push();
        CurrentGuard(current)
    }

    /// Makes this thread work for the scheduler without being one of its workers.
    pub fn enter(self: &Arc<Self>) -> EnterGuard {
        self.enter_as(None)
    }

    /// Makes this thread work for the scheduler as the worker that the handle belongs to. `worker` is that worker's own
    /// state, which [`Sched::current_worker`] returns.
    pub fn enter_worker(self: &Arc<Self>, worker: Rc<dyn Any>) -> EnterGuard {
        self.enter_as(Some(worker))
    }

    fn enter_as(self: &Arc<Self>, worker: Option<Rc<dyn Any>>) -> EnterGuard {
        // A handle that was taken on a worker may be used on any thread.
        let index = worker.as_ref().and(self.worker());
        let remote = index.map(|index| self.workers[index].clone());
        if let Some(remote) = &remote {
            *lock(&remote.thread) = Some(thread::current());
        }
        let around = with_entered(|entered| entered.map(|entered| entered.sched().netpoll().clone()));
        let before = context::with(|context| context.entered.get()).map(NonNull::cast);
        let (current, injecting) = (Current::new(self.clone()), Cell::new(!self.config().lifo_slot));
        let mine = Cell::new(remote.as_deref().map(NonNull::from));
        let handed_over = Cell::new(false);
        let entered = Rc::new(Entered { current, remote, mine, worker, injecting, handed_over, before });
        let wheel = self.netpoll().enter_worker(index, around.as_ref());
        context::with(|context| context.entered.set(Some(NonNull::from(&*entered).cast())));
        entered.current.push();
        EnterGuard { entered, around, wheel }
    }
}

/// Calls `work` with the scheduler that this thread works for.
#[inline]
fn with_entered<R>(work: impl FnOnce(Option<&Entered>) -> R) -> R {
    let entered = context::with(|context| context.entered.get());
    // SAFETY: INV-402: only this file writes the field, and only with pointers to an `Entered` that is in the `Rc` of a
    // guard of this thread. That guard is not dropped before `work` returns, since guards are dropped in reverse order and
    // one that `work` creates is dropped within it.
    work(entered.map(|entered| unsafe { entered.cast::<Entered>().as_ref() }))
}

/// Calls `work` with this thread's context and worker, if it is a worker of that scheduler.
#[inline]
fn with_worker<R>(sched: *const Sched, work: impl FnOnce(&Entered, &Remote) -> R) -> Option<R> {
    with_entered(|entered| {
        let entered = entered.filter(|entered| ptr::eq::<Sched>(&***entered.sched(), sched))?;
        Some(work(entered, entered.mine()?))
    })
}

/// Puts a task of that scheduler into the queue of this thread's worker. The scheduler is only compared by its address.
///
/// # Errors
///
/// Returns the task if the thread is no worker of that scheduler, or if the scheduler is closed.
#[inline]
pub(super) fn schedule_local<T: Into<Runnable>>(
    sched: *const Sched,
    task: T,
    yielded: bool,
) -> Result<(), T> {
    with_entered(|entered| {
        let entered = entered.filter(|entered| ptr::eq::<Sched>(&***entered.sched(), sched));
        let worker = entered.and_then(|entered| Some((entered, entered.mine()?)));
        let Some((entered, mine)) = worker.filter(|(entered, _)| !entered.sched().is_closed()) else {
            return Err(task);
        };
        // Half of the ring stays free for the events of the poll that follows a spent turn, and `refill_half` takes another task
        // in place of this one.
        if yielded && coop::is_exhausted() && mine.ring_len() + 1 >= RING / 2 {
            return Err(task);
        }
        match mine.put(task.into(), yielded || entered.injecting.get()) {
            Ok(true) => entered.sched().wake_one(),
            Err(task) => entered.sched().overflow(mine, task),
            Ok(false) => {}
        }
        Ok(())
    })
}

/// Wakes tasks. If this thread is a worker of that scheduler, its tasks go directly to the end of the worker's ring.
pub(super) fn inject_woken(sched: &Sched, wakers: impl Iterator<Item = Waker>) {
    with_entered(|entered| {
        let ours = entered.filter(|entered| ptr::eq::<Sched>(&***entered.sched(), sched));
        let mine = ours.and_then(|entered| entered.mine()).filter(|_| !sched.is_closed());
        for waker in wakers {
            match wake_to_runnable(waker) {
                Ok(None) => {}
                Ok(Some(task)) => inject_task(sched, entered, mine, task),
                // If it panics, the others are still woken.
                Err(foreign) => inject_by(entered, || _ = foreign::wake(foreign)),
            }
        }
    });
}

/// Puts a task at the end of the ring of the worker, or into its own queue if no worker of `sched` may run it.
#[inline]
fn inject_task(sched: &Sched, entered: Option<&Entered>, mine: Option<&Remote>, task: Runnable) {
    let is_ours = |task: &Scheduled<Arc<SchedHandle>>| ptr::eq::<Sched>(&***task.sched(), sched);
    match (task.typed(), mine) {
        (Ok(task), Some(mine)) if is_ours(&task) => {
            if let Err(task) = mine.put(task.into(), true) {
                sched.overflow(mine, task);
            }
        }
        (Ok(task), _) => inject_by(entered, || Runnable::from(task).schedule()),
        (Err(task), _) => inject_by(entered, || task.schedule()),
    }
}

/// Calls `wake`, which may schedule tasks: they go to the end of the ring.
#[cold]
fn inject_by(entered: Option<&Entered>, wake: impl FnOnce()) {
    let before = entered.map(|entered| entered.injecting.replace(true));
    wake();
    entered.zip(before).into_iter().for_each(|(entered, before)| entered.injecting.set(before));
}

/// Calls `find` with each scheduler that this thread works for, the current one first, until it returns a value.
fn find_entered<R>(find: impl Fn(&Entered) -> Option<R>) -> Option<R> {
    with_entered(|entered| {
        // SAFETY: INV-402: `before` was the thread's pointer when the guard of `entered` was created, and the guard that it
        // points into is dropped after that one.
        let before = |entered: &&Entered| entered.before.map(|before| unsafe { before.as_ref() });
        iter::successors(entered, before).find_map(find)
    })
}

/// Returns whether this thread is a worker of any scheduler.
pub fn is_worker_thread() -> bool {
    find_entered(|entered| entered.worker().map(drop)).is_some()
}

/// Returns the scheduler of which this thread is a worker, the innermost one.
pub fn sched_of_worker() -> Option<Arc<SchedHandle>> {
    find_entered(|entered| entered.worker().map(|_| entered.sched().clone()))
}

/// The worker that a thread has handed over, for the case that it takes it back. Dropped: it never does.
#[must_use]
pub struct LentWorker {
    sched: Arc<SchedHandle>,
    wheel: WorkerWheel,
}

impl SchedHandle {
    /// Makes this thread, which is a worker of the scheduler, touch neither queue nor wheel of the worker any more. It works
    /// for the scheduler as a thread that is no worker.
    pub fn hand_over(self: &Arc<Self>) -> LentWorker {
        set_handed_over(self, true);
        let wheel = context::with(|context| context.wheel.replace(WorkerWheel::NONE));
        LentWorker { sched: self.clone(), wheel }
    }
}

impl LentWorker {
    /// Makes this thread the worker again.
    pub fn take_back(self) {
        set_handed_over(&self.sched, false);
        context::with(|context| context.wheel.set(self.wheel));
    }
}

/// Marks each entry of this thread as a worker of that scheduler.
fn set_handed_over(sched: &Sched, on: bool) {
    find_entered(|entered| {
        if entered.worker.is_some() && ptr::eq::<Sched>(&***entered.sched(), sched) {
            entered.handed_over.set(on);
            entered.mine.set(entered.remote.as_deref().filter(|_| !on).map(NonNull::from));
        }
        None::<()>
    });
}

impl Sched {
    /// Returns the worker of this scheduler that this thread is, if it is one, also beneath calls of `block_on` of other
    /// runtimes.
    pub fn current_worker(&self) -> Option<Rc<dyn Any>> {
        find_entered(|entered| {
            entered.worker().filter(|_| ptr::eq::<Sched>(&***entered.sched(), self)).cloned()
        })
    }

    /// Increments a counter in the shard of this thread's worker, or in that of all other threads.
    #[inline]
    pub(super) fn count(&self, which: impl Fn(&TaskShard) -> &Counter) {
        if with_worker(self, |entered, _| which(entered.sched().shard()).inc_alone()).is_none() {
            which(&self.shards[self.workers()]).inc();
        }
    }
}
