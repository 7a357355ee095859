//! Tasks whose wakers are counted. The counts are in std's locks, which loom does not see, so they order
//! nothing.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Wake, Waker};

use crate::models::support::Plain;

/// One waker of a task. Its `Arc` counts the clones, beside the task's own.
struct Source {
    wakes: Mutex<usize>,
    /// Set if the task has been polled with it before.
    used: Mutex<bool>,
    /// Written by the task before it parks for the first time, read by each thread that wakes it, since the
    /// writes before a parking happen before its waker comes out.
    left: Plain<usize>,
}

impl Source {
    fn new() -> Arc<Self> {
        Arc::new(Self { wakes: Mutex::new(0), used: Mutex::new(false), left: Plain::new(0) })
    }
}

impl Wake for Source {
    fn wake(self: Arc<Self>) {
        self.left.get();
        *locked(&self.wakes) += 1;
    }
}

/// The end of a task's last poll.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The task was never polled, or its wait is over.
    Done,
    /// The task is pending and has left its waker. Holds the number of its wakes then.
    Parked(usize),
    /// The task is pending and has woken itself.
    Runnable,
}

/// A task with two wakers, since an executor may poll it with another one each time.
pub struct Task {
    pub name: &'static str,
    sources: [Arc<Source>; 2],
    phase: Mutex<Phase>,
    /// The number of messages at its last read.
    seen: Mutex<usize>,
}

impl Task {
    pub fn new(name: &'static str) -> Self {
        let sources = [Source::new(), Source::new()];
        Self { name, sources, phase: Mutex::new(Phase::Done), seen: Mutex::new(0) }
    }

    /// Returns the waker for a poll. The first one carries the task's writes before it.
    pub fn waker(&self, source: usize) -> Waker {
        let source = &self.sources[source];
        if !std::mem::replace(&mut *locked(&source.used), true) {
            source.left.set(1);
        }
        source.clone().into()
    }

    pub fn owns(&self, waker: &Waker) -> bool {
        self.sources.iter().any(|source| waker.data() == Arc::as_ptr(source).cast())
    }

    pub fn wakes(&self) -> usize {
        self.sources.iter().map(|source| *locked(&source.wakes)).sum()
    }

    /// Returns the number of its wakers. Between two polls a waker can only be in the slot of the parking.
    pub fn live(&self) -> usize {
        self.sources.iter().map(|source| Arc::strong_count(source) - 1).sum()
    }

    /// Reads the number of messages. Returns whether there are more than last time.
    pub fn sees(&self, arrived: usize) -> bool {
        std::mem::replace(&mut *locked(&self.seen), arrived) < arrived
    }

    pub fn seen(&self) -> usize {
        *locked(&self.seen)
    }

    pub fn set(&self, phase: Phase) {
        *locked(&self.phase) = phase;
    }

    /// Returns whether its wait is not over.
    pub fn is_pending(&self) -> bool {
        *locked(&self.phase) != Phase::Done
    }

    /// Returns whether it waits and has not been woken since its last poll.
    pub fn sleeps(&self) -> bool {
        *locked(&self.phase) == Phase::Parked(self.wakes())
    }

    /// Returns whether it waits and has been woken.
    pub fn is_runnable(&self) -> bool {
        self.is_pending() && !self.sleeps()
    }
}

pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic while the lock is held: loom runs one thread at a time")
}
