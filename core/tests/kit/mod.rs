//! A task that counts how often it was woken, and whose wakers can be counted.

use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

/// The task.
#[derive(Default)]
pub struct Task(Mutex<usize>);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        *self.0.lock().expect("nothing panics while the count is held") += 1;
    }
}

impl Task {
    /// The task and one waker of it.
    pub fn new() -> (Arc<Task>, Waker) {
        let task = Arc::new(Task::default());
        (task.clone(), Waker::from(task))
    }

    /// How often it was woken.
    pub fn wakes(&self) -> usize {
        *self.0.lock().expect("nothing panics while the count is held")
    }

    /// How many wakers of it there are.
    pub fn wakers(self: &Arc<Self>) -> usize {
        Arc::strong_count(self) - 1
    }
}
