//! For whom a thread works.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::thread;

use super::{Sched, lock};
use crate::netpoll::Netpoll;

/// For whom a thread works.
struct Current {
    sched: Arc<Sched>,
    /// Which worker it is, if it is one.
    worker: Option<usize>,
    /// The worker hands over what a poll made ready: to the ring, in order, and the wake-ups after the last.
    injecting: Cell<bool>,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// While it lives, the thread works for a scheduler; when it is dropped, for the one before again.
#[must_use]
pub struct Entered {
    sched: Option<Current>,
    netpoll: Option<Arc<Netpoll>>,
    worker: usize,
}

impl Drop for Entered {
    fn drop(&mut self) {
        Netpoll::enter(self.netpoll.take());
        Netpoll::enter_worker(self.worker);
        CURRENT.replace(self.sched.take());
    }
}

impl Sched {
    /// The scheduler that this thread works for, if any.
    pub fn current() -> Option<Arc<Sched>> {
        CURRENT.with_borrow(|current| current.as_ref().map(|current| current.sched.clone()))
    }

    /// Makes this thread work for the scheduler, as one of its workers or not.
    pub fn enter(self: &Arc<Self>, worker: Option<usize>) -> Entered {
        if let Some(worker) = worker {
            *lock(&self.workers[worker].thread) = Some(thread::current());
        }
        let current = Current { sched: self.clone(), worker, injecting: Cell::new(false) };
        Entered {
            netpoll: Netpoll::enter(Some(self.netpoll.clone())),
            worker: Netpoll::enter_worker(worker.unwrap_or(0)),
            sched: CURRENT.replace(Some(current)),
        }
    }
}

/// The worker of that scheduler that this thread is, and whether it hands over what a poll made ready.
#[inline]
pub(super) fn place(sched: &Sched) -> Option<(usize, bool)> {
    let place = CURRENT.try_with(|current| {
        let current = current.borrow();
        let current = current.as_ref().filter(|current| std::ptr::eq(&*current.sched, sched))?;
        current.worker.map(|worker| (worker, current.injecting.get()))
    });
    // A thread that is being torn down has no place of its own any more.
    place.ok().flatten()
}

/// From now on this thread hands over what a poll made ready, or does so no more.
pub(super) fn set_injecting(on: bool) {
    CURRENT.with_borrow(|current| {
        if let Some(current) = current {
            current.injecting.set(on);
        }
    });
}
