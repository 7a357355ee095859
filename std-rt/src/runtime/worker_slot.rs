//! The worker of a thread that is in `block_on`.

use std::rc::Rc;

use super::{Runtime, TIMER_SLACK_NANOSECONDS};
use crate::protocol::driver::{Deadlock, WaitGraph, WorkerSlot};
use crate::sched::{EnterGuard, is_worker_thread};
use crate::sys;
use crate::worker::Worker;

/// Threads that drive one runtime and wait for another one.
static WAIT_GRAPH: WaitGraph = WaitGraph::new();

impl Runtime {
    /// Returns a worker for this thread: the one that it is already, or the one of a runtime without threads if its slot is
    /// free.
    pub(super) fn try_acquire_worker(&self) -> Option<WorkerGuard<'_>> {
        if let Some(worker) = Worker::current(&self.handle.sched) {
            return Some(WorkerGuard::new(worker, None));
        }
        let worker_slot = self.worker_slot.as_ref()?;
        worker_slot.try_acquire().then(|| self.worker_guard(worker_slot))
    }

    /// Waits until this thread has the worker slot of a runtime without threads, or `is_woken` holds.
    pub(super) fn wait_for_worker(&self, is_woken: impl Fn() -> bool) -> Option<WorkerGuard<'_>> {
        let worker_slot = self.worker_slot.as_ref()?;
        match worker_slot.wait(is_worker_thread().then_some(&WAIT_GRAPH), is_woken) {
            Ok(taken) => taken.then(|| self.worker_guard(worker_slot)),
            Err(Deadlock) => panic!(
                "netpoll: block_on would wait for ever: this thread runs the tasks of one runtime and calls block_on of \
                 another one, whose thread waits in block_on for the first; await the future, or use \
                 spawn_blocking for one of the two calls"
            ),
        }
    }

    fn worker_guard<'a>(&self, worker_slot: &'a WorkerSlot) -> WorkerGuard<'a> {
        WorkerGuard::new(Rc::new(Worker::new(&self.handle.sched, 0, self.worker_config)), Some(worker_slot))
    }
}

/// The guard of a thread that is a worker.
pub(super) struct WorkerGuard<'a> {
    pub(super) worker: Rc<Worker>,
    /// The slot of a runtime without threads, to be released; `None` for a thread that was a worker before.
    worker_slot: Option<&'a WorkerSlot>,
    /// The task that called, if the thread was this worker already.
    running: usize,
    timer_slack: Option<u64>,
    _entered: EnterGuard,
}

impl<'a> WorkerGuard<'a> {
    fn new(worker: Rc<Worker>, worker_slot: Option<&'a WorkerSlot>) -> Self {
        let timer_slack = worker_slot.and_then(|_| sys::set_timer_slack(TIMER_SLACK_NANOSECONDS).ok());
        let entered = worker.enter();
        let running = worker.stats().take_running();
        Self { worker, worker_slot, running, timer_slack, _entered: entered }
    }
}

impl Drop for WorkerGuard<'_> {
    fn drop(&mut self) {
        if self.worker_slot.is_some() {
            self.worker.drop_locals();
        }
        self.worker.stats().restore_running(self.running);
        if let Some(slack) = self.timer_slack {
            // It was in force before, so the kernel takes it again.
            let _ = sys::set_timer_slack(slack);
        }
        if let Some(worker_slot) = self.worker_slot {
            worker_slot.release();
        }
    }
}
