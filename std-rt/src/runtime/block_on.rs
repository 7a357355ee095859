//! The way in: a thread that runs a future to its end, and tasks meanwhile.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use netpoll_core::waiters::BreakFlag;

use super::Runtime;
use crate::budget;
use crate::sched::Home;
use crate::worker::Worker;

impl Runtime {
    /// Runs a future to its end on this thread and returns its value; tasks that it spawns run meanwhile, on the
    /// workers, or on this thread if there is only one.
    ///
    /// May be called from several threads at once, and from within a task, whose worker then runs other tasks until the
    /// future has ended.
    ///
    /// # Panics
    ///
    /// If the future panics, or if the kernel refuses to wait for events.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let sched = &self.handle.sched;
        let _entered = sched.enter();
        // Of the task that called, if one did.
        let _around = budget::around(budget::UNLIMITED);
        let worker = match Worker::here(sched) {
            Some(worker) => Some(worker.index()),
            None => (sched.workers() == 1).then_some(0),
        };
        let (woken, thread, sched) = (BreakFlag::new(), thread::current(), sched.clone());
        let root = Arc::new(Root { woken, thread, sched, worker });
        let waker = Waker::from(root.clone());
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        let mut seated = None;
        root.woken.set();
        loop {
            seated = seated.or_else(|| self.sit());
            // A turn, also where the thread runs no tasks: what is around an operation that is always ready has its own.
            budget::set(self.pace.budget);
            if root.woken.clear()
                && let Poll::Ready(value) = future.as_mut().poll(&mut cx)
            {
                return value;
            }
            match &seated {
                // It yielded: who is runnable has a turn first.
                Some(seated) if root.woken.is_set() => seated.worker.run_ready(),
                Some(seated) => {
                    seated.worker.run(Some(&root.woken));
                    seated.worker.run_before_root();
                }
                None if !root.woken.is_set() => thread::park(),
                None => {}
            }
        }
    }
}

/// The waker of a future that `block_on` runs.
struct Root {
    woken: BreakFlag,
    thread: Thread,
    sched: Arc<Home>,
    /// The worker that the thread is, or may come to be.
    worker: Option<usize>,
}

impl Wake for Root {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.woken.set() {
            self.thread.unpark();
            if let Some(worker) = self.worker {
                // It may sleep in the kernel.
                self.sched.break_poll_of(worker);
            }
        }
    }
}
