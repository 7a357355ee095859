//! The part of a cache that its registrations share: the free list of descriptors, and the width of their
//! generations.
//!
//! The list is a stack of slot indices. Its head also counts the pops. Without the count:
//!
//! | one thread | another |
//! |---|---|
//! | pop: reads head = 7, and 7's link = 3 | |
//! | | pops 7, pops 3, pushes 7 again (its link is now 5) |
//! | compare-exchange head 7 → 3 succeeds: slot 3 is handed out twice | |
//!
//! With the count the head is (7, pop 12) at first and (7, pop 14) at the end, and the compare-exchange
//! fails. Index and count have half of one native word each. The count wraps after 2^32 pops between one
//! thread's two steps on a 64-bit machine and after 2^16 on a 32-bit one, where a thread would have to be
//! interrupted for that long.

use super::desc::PollDesc;
use super::key::FDSEQ_BITS;
use crate::sync::{AtomicUsize, Ordering, const_fn};

const HALF: u32 = usize::BITS / 2;
/// The half of the head that holds an index.
pub(crate) const INDEX: usize = usize::MAX >> HALF;

/// The head of the free list and the width of the generations.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The index of the first free slot plus one (0: none) in the low half, the number of pops in the high
    /// half.
    head: AtomicUsize,
    /// The bits that a generation has. Never changed.
    fdseq_mask: u32,
}

impl Shared {
    const_fn! {
        /// Creates an empty list. Generations have `fdseq_bits` bits, 1 to [`FDSEQ_BITS`].
        pub(crate) const fn new(fdseq_bits: u32) -> Self {
            assert!(fdseq_bits >= 1 && fdseq_bits <= FDSEQ_BITS, "a generation has 1 to FDSEQ_BITS bits");
            let fdseq_mask = u32::MAX >> (u32::BITS - fdseq_bits);
            Self { head: AtomicUsize::new(0), fdseq_mask }
        }
    }

    /// Returns the bits that a generation has.
    #[inline]
    pub(crate) fn fdseq_mask(&self) -> u32 {
        self.fdseq_mask
    }

    /// Pops a slot. `slot` returns the descriptor of an index.
    pub(crate) fn pop<'c>(&self, slot: impl Fn(usize) -> &'c PollDesc) -> Option<usize> {
        // Acquire: the link and the state words of the slot as its last owner left them.
        let mut head = self.head.load(Ordering::Acquire); // pair: free_list::push
        loop {
            let index = (head & INDEX).checked_sub(1)?;
            // alone: if another thread pops the slot meanwhile, the count has changed and this link is not used
            let next = slot(index).link.load(Ordering::Relaxed);
            let popped = (head & !INDEX).wrapping_add(INDEX + 1) | next;
            // Acquire on failure: the next round reads the link of the head that was found.
            match self.head.compare_exchange(head, popped, Ordering::Acquire, Ordering::Acquire) // pair: free_list::push
            {
                Ok(_) => return Some(index),
                Err(found) => head = found,
            }
        }
    }

    /// Pushes the chain of slots from `first` to the one of `last`. Its inner links are set already; one slot
    /// is a chain.
    pub(crate) fn push(&self, first: usize, last: &PollDesc) {
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
