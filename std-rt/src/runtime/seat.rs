//! The worker that a thread is while it is in `block_on`.

use std::rc::Rc;

use super::{Runtime, TIMER_SLACK_NANOSECONDS};
use crate::protocol::driver::{Crossed, Seat, Waits};
use crate::sched::Entered;
use crate::sys;
use crate::worker::{Pushed, Worker};

/// Threads that drive one runtime and wait for another one.
static WAITS: Waits = Waits::new();

impl Runtime {
    /// Returns a worker for this thread to be: the one that it is already, or the one of a runtime without threads if no
    /// thread is that.
    pub(super) fn sit(&self) -> Option<Seated<'_>> {
        if let Some(worker) = Worker::here(&self.handle.sched) {
            return Some(Seated::new(worker, None));
        }
        let seat = self.seat.as_ref()?;
        seat.try_take().then(|| self.seated(seat))
    }

    /// Waits until this thread has the seat of a runtime without threads, or `is_woken` holds.
    pub(super) fn wait_for_seat(&self, is_woken: impl Fn() -> bool) -> Option<Seated<'_>> {
        let seat = self.seat.as_ref()?;
        match seat.wait(Worker::is_any_here().then_some(&WAITS), is_woken) {
            Ok(taken) => taken.then(|| self.seated(seat)),
            Err(Crossed) => panic!(
                "netpoll: block_on would wait for ever: this thread runs the tasks of one runtime and calls block_on of \
                 another one, whose thread waits in block_on for the first; await the future, or use \
                 spawn_blocking for one of the two calls"
            ),
        }
    }

    fn seated<'a>(&self, seat: &'a Seat) -> Seated<'a> {
        Seated::new(Rc::new(Worker::new(&self.handle.sched, 0, self.pace)), Some(seat))
    }
}

/// A thread that is a worker while this lives.
pub(super) struct Seated<'a> {
    pub(super) worker: Rc<Worker>,
    /// The seat of a runtime without threads, to be given back; none for a worker that was one before.
    seat: Option<&'a Seat>,
    /// The task that called, if the thread was this worker already.
    running: usize,
    timer_slack: Option<u64>,
    pushed: Option<Pushed>,
    _entered: Entered,
}

impl<'a> Seated<'a> {
    fn new(worker: Rc<Worker>, seat: Option<&'a Seat>) -> Self {
        let timer_slack = seat.and_then(|_| sys::set_timer_slack(TIMER_SLACK_NANOSECONDS).ok());
        let entered = worker.enter();
        let running = worker.report().rest();
        let pushed = Some(Worker::push_here(worker.clone()));
        Self { worker, seat, running, timer_slack, pushed, _entered: entered }
    }
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        if self.seat.is_some() {
            self.worker.end_locals();
        }
        self.worker.report().resume(self.running);
        self.pushed = None;
        if let Some(slack) = self.timer_slack {
            // It was in force before, so the kernel takes it again.
            let _ = sys::set_timer_slack(slack);
        }
        if let Some(seat) = self.seat {
            seat.give_back();
        }
    }
}
