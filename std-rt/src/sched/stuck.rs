//! What waits behind a task that keeps its worker.

use std::iter;

use netpoll_core::runq::Runq;

use super::{RING, Sched};

/// A ring of the backstop's own, which takes stolen tasks in.
pub type Passage = Runq<RING>;

impl Sched {
    /// The backstop: what is in the ring and in the slot of a worker that is held by its task goes to the global queue,
    /// where the others look however busy they are; they steal only when they have nothing else.
    pub fn rescue(&self, worker: usize, passage: &Passage) {
        let runq = &self.workers[worker].runq;
        let mut tasks = Vec::new();
        while let Some(task) = runq.steal_into(passage) {
            tasks.extend(iter::once(task).chain(iter::from_fn(|| passage.get())));
        }
        tasks.extend(runq.get_next());
        if !tasks.is_empty() {
            self.counts.steals.inc();
            self.put_global(&tasks);
        }
    }
}
