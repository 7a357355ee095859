//! The threads of a runtime: started, waited for, and given up if they do not end in time.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Instant;

use crate::sched::Home;

/// The threads of one runtime.
pub(super) struct Threads {
    sched: Arc<Home>,
    handles: Vec<JoinHandle<()>>,
    ended: Arc<Ended>,
}

/// Which of them have ended.
struct Ended {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The threads that run, and which worker each is, if it is one.
    running: Vec<(ThreadId, Option<usize>)>,
    /// Nobody waits for them any more: whoever ends drops the tasks that are left.
    given_up: bool,
}

impl Ended {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing foreign runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True once no thread runs but this one; false if that is not so by the deadline.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        let this = thread::current().id();
        let mut state = self.lock();
        while state.running.iter().any(|&(other, _)| other != this) {
            state = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                Some(left) if left.is_zero() => {
                    state.given_up = true;
                    return false;
                }
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        // A task that ends its own runtime has a rest of its turn before it.
        state.given_up = !state.running.is_empty();
        true
    }

    /// Drops the tasks of a scheduler that is closed, but for what workers that still run hold.
    fn cancel(&self, sched: &Arc<Home>) {
        let running = self.lock().running.clone();
        let this = thread::current().id();
        let ended = |worker| running.iter().all(|&(thread, other)| thread == this || other != Some(worker));
        let _entered = sched.enter();
        sched.cancel_all(ended);
    }
}

/// The end of a thread, also if it panics.
struct End {
    ended: Arc<Ended>,
    sched: Arc<Home>,
}

impl Drop for End {
    fn drop(&mut self) {
        let this = thread::current().id();
        let mut state = self.ended.lock();
        state.running.retain(|&(other, _)| other != this);
        let given_up = state.given_up;
        drop(state);
        if given_up {
            self.ended.cancel(&self.sched);
        }
        self.ended.changed.notify_all();
    }
}

impl Threads {
    /// None yet.
    pub(super) fn new(sched: Arc<Home>) -> Self {
        let state = Mutex::new(State { running: Vec::new(), given_up: false });
        Self { sched, handles: Vec::new(), ended: Arc::new(Ended { state, changed: Condvar::new() }) }
    }

    /// Starts one, a worker or not.
    pub(super) fn start(
        &mut self,
        name: String,
        worker: Option<usize>,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let (ended, sched) = (self.ended.clone(), self.sched.clone());
        // A thread that ends at once waits for its entry.
        let mut state = self.ended.lock();
        let handle = thread::Builder::new().name(name).spawn(move || {
            let _end = End { ended, sched };
            body();
        })?;
        state.running.push((handle.thread().id(), worker));
        drop(state);
        self.handles.push(handle);
        Ok(())
    }

    /// True once [`Threads::end`] has not waited for all of them.
    pub(super) fn are_given_up(&self) -> bool {
        self.ended.lock().given_up
    }

    /// The scheduler is closed: waits for the threads and drops the tasks that are left. False if a thread had not ended by
    /// the deadline, and was left to itself. A thread that calls this is not waited for.
    pub(super) fn end(&mut self, deadline: Option<Instant>) -> bool {
        let ended = self.ended.wait(deadline);
        for handle in self.handles.drain(..) {
            if ended && handle.thread().id() != thread::current().id() {
                // A worker's panic was printed where it happened.
                let _ = handle.join();
            }
        }
        self.ended.cancel(&self.sched);
        ended
    }
}
