//! A task that counts how often it was woken, and whose wakers can be counted; and a cache of descriptors.
#![allow(dead_code, reason = "each test program uses a part")]

use std::ptr::NonNull;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use netpoll_core::poll::cache::Block;
use netpoll_core::{PollCache, Registration};

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

/// A cache of one block of `LEN` descriptors, with the memory that it was given.
pub struct Slots<const LEN: usize, const BITS: u32> {
    pub cache: PollCache<1, LEN, BITS>,
    /// Dropped after the cache.
    _block: Box<Block<LEN, BITS>>,
}

impl<const LEN: usize, const BITS: u32> Slots<LEN, BITS> {
    pub fn new() -> Self {
        let slots = Self { cache: PollCache::new(), _block: Box::default() };
        // SAFETY: INV-1, the box is donated once, looked into by the cache alone, and dropped after it.
        let donated = unsafe { slots.cache.donate(NonNull::from(&*slots._block)) };
        donated.expect("a cache of one block takes one");
        slots
    }

    pub fn alloc(&self) -> Registration<'_, BITS> {
        self.cache.alloc().expect("a slot is free")
    }
}
