//! What waits behind a task that keeps its worker.

use std::iter;

use netpoll_core::runq::Runq;

use super::{RING, Sched};

/// A ring of the backstop's own, which takes stolen tasks in.
pub type StealBuffer = Runq<RING>;

impl Sched {
    /// The backstop: what is in the ring and in the slot of a worker that is held by its task goes to the global queue,
    /// where the others look however busy they are; they steal only when they have nothing else.
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
