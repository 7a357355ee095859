//! The free list of descriptors, and the count of the tasks that are parked on them: a registration and its cache share
//! both.
//!
//! A stack of slot indices; the head also counts how often it was popped. Without the count:
//!
//! | one thread | another |
//! |---|---|
//! | pop: reads head = 7, and 7's link = 3 | |
//! | | pops 7, pops 3, pushes 7 again (its link is now 5) |
//! | compare-exchange head 7 → 3 succeeds: slot 3 is handed out twice | |
//!
//! With it the head says (7, pop 12) at first and (7, pop 14) at the end, and the compare-exchange fails. Index and
//! count share one native word: half of it each. A count wraps after 2^32 pops between one thread's two steps on
//! 64-bit, after 2^16 on 32-bit, where a thread would have to be interrupted for that long.

use crossbeam_utils::CachePadded;

use super::desc::PollDesc;
use super::waiters::Waiters;
use crate::sync::{AtomicUsize, Ordering, const_fn};

const HALF: u32 = usize::BITS / 2;
/// The half of the head that holds an index.
pub(crate) const INDEX: usize = usize::MAX >> HALF;

/// The part of a cache that its registrations refer to: the free list's head and the count of waiters.
#[derive(Debug)]
pub(crate) struct Shared {
    /// On cache lines that nothing else is on: every task that parks writes it, on whatever worker.
    waiters: CachePadded<Waiters>,
    /// Index of the first free slot plus one (0: none) in the low half, the pop count in the high half.
    head: AtomicUsize,
}

impl Shared {
    const_fn! {
        /// Creates an empty list; no task is parked.
        pub(crate) const fn new() -> Self {
            Self { waiters: CachePadded::new(Waiters::new()), head: AtomicUsize::new(0) }
        }
    }

    #[inline]
    pub(crate) fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Pops a slot; `slot` finds the descriptor of one.
    pub(crate) fn pop<'c, const BITS: u32>(
        &self,
        slot: impl Fn(usize) -> &'c PollDesc<BITS>,
    ) -> Option<usize> {
        // Acquire: the link and the state words of the slot as its last owner left them.
        let mut head = self.head.load(Ordering::Acquire); // pair: free_list::push
        loop {
            let index = (head & INDEX).checked_sub(1)?;
            // alone: if another thread pops the slot meanwhile, the count has changed and what was read is dropped
            let next = slot(index).link.load(Ordering::Relaxed);
            let popped = (head & !INDEX).wrapping_add(INDEX + 1) | next;
            // Acquire on failure: the next round reads the link behind the head found.
            match self.head.compare_exchange(head, popped, Ordering::Acquire, Ordering::Acquire) // pair: free_list::push
            {
                Ok(_) => return Some(index),
                Err(found) => head = found,
            }
        }
    }

    /// Pushes the chain of slots from `first` to the one of `last`, whose inner links stand; one slot is a chain.
    pub(crate) fn push<const BITS: u32>(&self, first: usize, last: &PollDesc<BITS>) {
        // alone: a first guess; the compare-exchange decides
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // alone: the compare-exchange releases it
            last.link.store(head & INDEX, Ordering::Relaxed);
            let pushed = (head & !INDEX) | (first + 1);
            // Release: links and state words of the chain, to the thread that pops.
            match self.head.compare_exchange(head, pushed, Ordering::Release, Ordering::Relaxed) // pair: free_list::pop
            {
                Ok(_) => return,
                Err(found) => head = found,
            }
        }
    }
}
