//! A task that counts its wakes and its wakers, and a cache of descriptors.

#![expect(unsafe_code, reason = "donates a block")]

use std::ptr::NonNull;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use netpoll_core::poll::cache::Block;
use netpoll_core::{PollCache, Registration};

/// A task that counts its wakes. Its `Arc` counts its wakers.
#[derive(Default)]
pub struct Task(Mutex<usize>);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        *self.0.lock().expect("no thread panics while it holds the count") += 1;
    }
}

impl Task {
    /// Creates a task and one waker of it.
    pub fn new() -> (Arc<Task>, Waker) {
        let task = Arc::new(Task::default());
        (task.clone(), Waker::from(task))
    }

    /// Returns the number of wakes.
    pub fn wakes(&self) -> usize {
        *self.0.lock().expect("no thread panics while it holds the count")
    }

    /// Returns the number of its wakers.
    pub fn wakers(self: &Arc<Self>) -> usize {
        Arc::strong_count(self) - 1
    }
}

/// A cache of one block of `LEN` descriptors whose generations have `BITS` bits, with the memory of the block.
pub struct Slots<const LEN: usize, const BITS: u32> {
    pub cache: PollCache<1, LEN>,
    /// The block, dropped after the cache.
    _block: Box<Block<LEN>>,
}

impl<const LEN: usize, const BITS: u32> Slots<LEN, BITS> {
    pub fn new() -> Self {
        let slots = Self { cache: PollCache::with_fdseq_bits(BITS), _block: Box::default() };
        // SAFETY: the box is donated once, used by the cache only, and dropped after it (INV-1).
        let donated = unsafe { slots.cache.donate(NonNull::from(&*slots._block)) };
        donated.expect("a cache of one block takes one");
        slots
    }

    pub fn alloc(&self) -> Registration<'_> {
        self.cache.alloc().expect("a slot is free")
    }
}
