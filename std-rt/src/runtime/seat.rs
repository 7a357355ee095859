//! Who is a worker: the threads of a runtime, or whoever is in `block_on` of a runtime without threads.

use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

use super::{Runtime, TIMER_SLACK_NANOSECONDS};
use crate::sched::Entered;
use crate::sys;
use crate::worker::Worker;

/// The place of the one worker of a runtime without threads, and who waits for it.
pub(super) struct Seat {
    state: Mutex<State>,
}

struct State {
    free: bool,
    waiting: Vec<Thread>,
}

impl Seat {
    /// One that can be taken, or never.
    pub(super) fn new(free: bool) -> Self {
        Self { state: Mutex::new(State { free, waiting: Vec::new() }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing foreign runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self) {
        let mut state = self.lock();
        state.free = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.iter().for_each(Thread::unpark);
    }
}

impl Runtime {
    /// A worker for this thread to be: the one that it is already, or the one of a runtime without threads if nobody
    /// is that. Else the thread is told when the seat is free.
    pub(super) fn sit(&self) -> Option<Seated<'_>> {
        let sched = &self.handle.sched;
        if let Some(worker) = Worker::here(sched) {
            return Some(Seated::new(worker, None));
        }
        if sched.workers() > 1 {
            return None;
        }
        let mut seat = self.seat.lock();
        if std::mem::take(&mut seat.free) {
            drop(seat);
            let worker = Worker::new(sched, 0, self.pace);
            return Some(Seated::new(Rc::new(worker), Some(&self.seat)));
        }
        let this = thread::current();
        if seat.waiting.iter().all(|other| other.id() != this.id()) {
            seat.waiting.push(this);
        }
        None
    }
}

/// A thread that is a worker while this lives.
pub(super) struct Seated<'a> {
    pub(super) worker: Rc<Worker>,
    /// The seat of a runtime without threads, to be given back; none for a worker that was one before.
    seat: Option<&'a Seat>,
    before: Before,
    _entered: Entered,
}

/// What the thread was before.
struct Before {
    worker: Option<Rc<Worker>>,
    /// The task that called, if the thread was this worker already.
    running: usize,
    timer_slack: Option<u64>,
}

impl<'a> Seated<'a> {
    fn new(worker: Rc<Worker>, seat: Option<&'a Seat>) -> Self {
        let timer_slack = seat.and_then(|_| sys::set_timer_slack(TIMER_SLACK_NANOSECONDS).ok());
        let entered = worker.enter();
        let running = worker.report().rest();
        let before = Before { worker: Worker::set_here(Some(worker.clone())), running, timer_slack };
        Self { worker, seat, before, _entered: entered }
    }
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        if self.seat.is_some() {
            self.worker.end_locals();
        }
        self.worker.report().resume(self.before.running);
        Worker::set_here(self.before.worker.take());
        if let Some(slack) = self.before.timer_slack {
            // It was in force before, so the kernel takes it again.
            let _ = sys::set_timer_slack(slack);
        }
        if let Some(seat) = self.seat {
            seat.give_back();
        }
    }
}
