//! For whom a thread works.
//!
//! - **INV-402** A thread's `CURRENT` is none, or points into the `Rc` of an [`Entered`] of this thread. That is there for
//!   longer than the pointer: an `Entered` that is dropped, which its own thread does, points back to the one before it,
//!   and one that is forgotten leaves its `Rc` behind for ever.

use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::thread;

use netpoll_core::counter::Counter;

use super::cell::wake_up;
use super::{Home, Remote, Runnable, Sched, Share, lock};
use crate::netpoll::{Here, Netpoll};

/// For whom a thread works.
struct Current {
    home: Arc<Home>,
    /// The worker that it is, if it is one.
    mine: Option<Arc<Remote>>,
    /// The worker hands over what a poll made ready: to the ring, in order, and the wake-ups after the last.
    injecting: Cell<bool>,
}

thread_local! {
    /// A bare pointer, since it is looked at for every task that is made ready.
    static CURRENT: Cell<Option<NonNull<Current>>> = const { Cell::new(None) };
}

/// While it lives, the thread works for a scheduler; when it is dropped, for the one before again.
#[must_use]
pub struct Entered {
    /// What `CURRENT` points to.
    _current: Rc<Current>,
    before: Option<NonNull<Current>>,
    netpoll: Option<Arc<Netpoll>>,
    here: Here,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let around = self.netpoll.take();
        let netpoll = Netpoll::enter(around.clone());
        CURRENT.set(self.before);
        if let Some(netpoll) = netpoll {
            netpoll.leave_worker(self.here, around.as_ref());
        }
    }
}

impl Home {
    /// The home of what this thread spawns, if it works for a scheduler.
    #[inline]
    pub fn current() -> Option<Arc<Home>> {
        with_current(|current| current.map(|current| current.home.clone()))
    }

    /// Makes this thread work for the scheduler, as the worker whose home it is, or as none.
    pub fn enter(self: &Arc<Self>) -> Entered {
        let worker = self.worker();
        let mine = worker.map(|worker| self.workers[worker].clone());
        if let Some(mine) = &mine {
            *lock(&mine.thread) = Some(thread::current());
        }
        let current = Rc::new(Current { home: self.clone(), mine, injecting: Cell::new(false) });
        let around = Netpoll::enter(Some(self.netpoll().clone()));
        Entered {
            here: self.netpoll().enter_worker(worker, around.as_ref()),
            netpoll: around,
            before: CURRENT.replace(Some(NonNull::from(&*current))),
            _current: current,
        }
    }
}

#[inline]
fn with_current<R>(work: impl FnOnce(Option<&Current>) -> R) -> R {
    // SAFETY: INV-402: it is in the `Rc` of an `Entered`, which this thread drops after what it does in here.
    work(CURRENT.get().map(|current| unsafe { current.as_ref() }))
}

/// What this thread is for that scheduler, if it is one of its workers.
#[inline]
fn with_mine<R>(sched: *const Sched, work: impl FnOnce(&Current, &Remote) -> R) -> Option<R> {
    with_current(|current| {
        let current = current.filter(|current| ptr::eq::<Sched>(&**current.home, sched))?;
        Some(work(current, current.mine.as_ref()?))
    })
}

/// Puts a task into the queue of the worker that this thread is; gives it back if the thread is no worker of that
/// scheduler, or if that is closed.
#[inline]
pub(super) fn put_here(task: Runnable, yielded: bool) -> Option<Runnable> {
    let sched: *const Sched = &***task.home();
    let mut task = Some(task);
    with_mine(sched, |current, mine| {
        let sched: &Sched = &current.home;
        if sched.is_closed() {
            return;
        }
        match task.take().map(|task| mine.put(task, yielded || current.injecting.get())) {
            Some(Ok(true)) => sched.wake_one(),
            Some(Err(task)) => sched.overflow(mine, task),
            Some(Ok(false)) | None => {}
        }
    });
    task
}

/// Wakes tasks. Those of that scheduler, if this thread is one of its workers, go to the end of its ring without the way
/// by their queue.
pub(super) fn put_woken(sched: &Sched, wakers: &mut impl Iterator<Item = Waker>) {
    with_current(|current| {
        let current = current.filter(|current| ptr::eq::<Sched>(&**current.home, sched));
        let mine = current.and_then(|current| current.mine.as_deref()).filter(|_| !sched.is_closed());
        for waker in wakers {
            match (wake_up(waker), mine) {
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

/// From now on this thread hands over what a poll made ready, or does so no more.
pub(super) fn set_injecting(on: bool) {
    with_current(|current| {
        if let Some(current) = current {
            current.injecting.set(on);
        }
    });
}

impl Sched {
    /// Counts one more in the share of the worker that this thread is, or in that of all others.
    #[inline]
    pub(super) fn count(&self, which: impl Fn(&Share) -> &Counter) {
        if with_mine(self, |current, _| which(current.home.share()).inc_alone()).is_none() {
            which(&self.shares[self.workers()]).inc();
        }
    }
}
