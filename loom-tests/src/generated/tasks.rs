//! Tasks whose wakers are counted. The counts are kept in std's locks, which loom does not see: they order nothing.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Wake, Waker};

use crate::models::support::Plain;

/// What a task can be woken by. How many wakers of it there are is the count of its `Arc`, without the task's own.
struct Source {
    wakes: Mutex<usize>,
    /// The task has been polled with it before.
    used: Mutex<bool>,
    /// Written by the task before it parks for the first time, read by each thread that wakes it: what a task does before
    /// it parks happens before its waker comes out.
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

/// How the last poll of a task ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It was never polled, or it has what it waited for.
    Done,
    /// Pending, its waker left behind, when it had been woken so many times.
    Parked(usize),
    /// Pending, woken by itself.
    Runnable,
}

/// A task with two wakers: executors may poll it with another one each time.
pub struct Task {
    pub name: &'static str,
    sources: [Arc<Source>; 2],
    phase: Mutex<Phase>,
    /// How many messages had arrived when it last looked.
    seen: Mutex<usize>,
}

impl Task {
    pub fn new(name: &'static str) -> Self {
        let sources = [Source::new(), Source::new()];
        Self { name, sources, phase: Mutex::new(Phase::Done), seen: Mutex::new(0) }
    }

    /// The waker for a poll. The first one takes along what the task did before.
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

    /// Wakers of it that are somewhere. Between two polls that is the slot of its parking, or nowhere.
    pub fn live(&self) -> usize {
        self.sources.iter().map(|source| Arc::strong_count(source) - 1).sum()
    }

    /// Looks at how many messages have arrived; true if there are more than last time.
    pub fn sees(&self, arrived: usize) -> bool {
        std::mem::replace(&mut *locked(&self.seen), arrived) < arrived
    }

    pub fn seen(&self) -> usize {
        *locked(&self.seen)
    }

    pub fn set(&self, phase: Phase) {
        *locked(&self.phase) = phase;
    }

    /// It has not got what it waits for.
    pub fn is_pending(&self) -> bool {
        *locked(&self.phase) != Phase::Done
    }

    /// It waits, and nothing has woken it since its last poll.
    pub fn sleeps(&self) -> bool {
        *locked(&self.phase) == Phase::Parked(self.wakes())
    }

    /// It waits, and has been woken.
    pub fn is_runnable(&self) -> bool {
        self.is_pending() && !self.sleeps()
    }
}

pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic while the lock is held: loom runs one thread at a time")
}
