//! The take-over of the queue of a worker whose task does not yield.

use std::iter;

use netpoll_core::sched::run_queue::Runq;

use super::{RING, Sched};

/// A ring of the monitor's own, which receives stolen tasks.
pub type StealBuffer = Runq<RING>;

impl Sched {
    /// Moves the tasks in the ring and the slot of a worker that is held by its task to the global queue. The other workers
    /// look there however busy they are; they steal only when they have nothing else. Called by the monitor.
    pub fn take_over_queue(&self, worker: usize, steal_buffer: &StealBuffer) {
        let runq = &self.workers[worker].runq;
        let mut tasks = Vec::new();
        while let Some(task) = runq.steal_into(steal_buffer) {
            tasks.extend(iter::once(task).chain(iter::from_fn(|| steal_buffer.get())));
        }
        tasks.extend(runq.get_next());
        if !tasks.is_empty() {
            self.counts.steals.inc();
            self.put_global(&tasks);
        }
    }
}
