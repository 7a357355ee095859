//! The tasks that wait in one direction through `poll_*` functions, which keep nothing between two polls.
//!
//! They share one waker. It stands for them in the direction's semaphore and in the queue for its lock, and wakes them
//! all: whoever is still there tries again, and whoever has lost interest takes nobody's place. So two tasks that poll
//! the same direction do not displace each other's parking and wake each other for ever.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// More different wakers than a direction has tasks come from one that makes a new waker for each poll; the oldest is
/// then woken early, which costs it a poll.
const MOST: usize = 32;

/// Who waits, and the waker for all of them.
#[derive(Debug)]
pub(in crate::fd) struct Pollers {
    list: Arc<List>,
    waker: Waker,
}

impl Default for Pollers {
    fn default() -> Self {
        let list = Arc::new(List::default());
        Self { waker: Waker::from(list.clone()), list }
    }
}

impl Pollers {
    /// The waker of all who have joined until it is woken.
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// To be called before the shared waker is left anywhere: it may be woken at once.
    pub(super) fn join(&self, waker: &Waker) {
        let displaced = self.list.lock().join(waker);
        displaced.into_iter().for_each(Waker::wake);
    }
}

#[derive(Debug, Default)]
struct List(Mutex<Waiting>);

/// There is hardly ever more than one, which needs no allocation.
#[derive(Debug, Default)]
struct Waiting {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Waiting {
    /// Gives back one that has to make room, to be woken outside the lock.
    fn join(&mut self, waker: &Waker) -> Option<Waker> {
        if self.first.iter().chain(&self.others).any(|known| known.will_wake(waker)) {
            return None;
        }
        let Some(first) = &mut self.first else {
            self.first = Some(waker.clone());
            return None;
        };
        let mut displaced = None;
        if self.others.len() + 1 == MOST {
            displaced = Some(mem::replace(first, self.others.remove(0)));
        }
        self.others.push(waker.clone());
        displaced
    }
}

impl List {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Cloning a waker is all that may panic under the lock, and it leaves the list whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for List {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Waiting { first, others } = mem::take(&mut *self.lock());
        first.into_iter().chain(others).for_each(Waker::wake);
    }
}
