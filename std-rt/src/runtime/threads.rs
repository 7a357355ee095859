//! The threads of a runtime: started, waited for, and left to themselves if they do not end in time.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::sched::{SchedHandle, drop_task};
use crate::sync::thread::{self, JoinHandle};

/// The threads of one runtime. Who drops which task at the end is in [`crate::protocol::ending`].
pub(super) struct ThreadSet {
    sched: Arc<SchedHandle>,
    handles: Vec<JoinHandle<()>>,
}

impl ThreadSet {
    /// None yet.
    pub(super) fn new(sched: Arc<SchedHandle>) -> Self {
        Self { sched, handles: Vec::new() }
    }

    /// Starts one.
    pub(super) fn start(&mut self, name: String, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let sched = self.sched.clone();
        self.handles.push(self.sched.ending().start(name, body, move || cancel(&sched))?);
        Ok(())
    }

    /// Returns true once [`ThreadSet::end`] has returned.
    pub(super) fn have_ended(&self) -> bool {
        self.sched.ending().is_ended()
    }

    /// The scheduler is closed: drops every task and waits for the threads. Returns false if a thread had not ended by the
    /// deadline and was left to itself. The thread that calls is not waited for.
    pub(super) fn end(&mut self, deadline: Option<Instant>) -> bool {
        let _entered = self.sched.enter();
        let ended = self.sched.ending().end(deadline, || cancel(&self.sched), drop_task);
        for handle in self.handles.drain(..) {
            if ended && handle.thread().id() != thread::current().id() {
                // A worker's panic was printed where it happened.
                let _ = handle.join();
            }
        }
        ended
    }
}

/// Cancels every task of a closed scheduler, but those that are in their turn.
fn cancel(sched: &Arc<SchedHandle>) {
    let _entered = sched.enter();
    sched.cancel_all();
}
