//! The memory of the descriptors: blocks from the allocator, which go back to it with their [`Netpoll`](super::Netpoll).

#![expect(unsafe_code, reason = "donates blocks of descriptors to the cache, and frees them after it")]

use std::io;
use std::ops::Deref;
use std::ptr::NonNull;

use crossbeam_utils::CachePadded;
use netpoll_core::poll::cache::{self, BLOCK_LEN};
use netpoll_core::sync::Counter;
use netpoll_core::{PollCache, Registration};

use crate::sys::FDSEQ_BITS;

type Block = cache::Block<BLOCK_LEN>;

/// The number of blocks in the directory; on a 32-bit machine, the number that half a word of the free list can distinguish.
pub(super) const BLOCKS: usize = if usize::BITS < u64::BITS { 2_047 } else { 32_768 };

type Blocks = PollCache<BLOCKS, BLOCK_LEN>;

/// A [`PollCache`] that owns its blocks, and allocates one when none of its descriptors is free.
#[derive(Debug)]
pub(super) struct Cache {
    /// Boxed: the directory alone is 256 KiB.
    blocks: Box<Blocks>,
    /// Each connection changes them, and each event reads what is beside them.
    allocated: CachePadded<Counter>,
    freed: CachePadded<Counter>,
}

impl Deref for Cache {
    type Target = Blocks;

    #[inline]
    fn deref(&self) -> &Blocks {
        &self.blocks
    }
}

impl Cache {
    pub(super) fn new() -> Self {
        // A generation is as wide as the backend returns it.
        let blocks = Box::new(PollCache::with_fdseq_bits(FDSEQ_BITS));
        Self { blocks, allocated: CachePadded::default(), freed: CachePadded::default() }
    }

    /// Returns the number of descriptors in use.
    pub(super) fn in_use(&self) -> usize {
        self.allocated.get().wrapping_sub(self.freed.get())
    }

    /// Allocates a descriptor, from a new block if all others are in use.
    ///
    /// # Errors
    ///
    /// Returns an error if the directory of blocks is full.
    pub(super) fn alloc(&self) -> io::Result<Registration<'_>> {
        loop {
            if let Some(registration) = self.blocks.alloc() {
                self.allocated.inc();
                return Ok(registration);
            }
            self.grow()?;
        }
    }

    /// Counts a descriptor that is about to be freed.
    pub(super) fn count_freed(&self) {
        self.freed.inc();
    }

    fn grow(&self) -> io::Result<()> {
        let block = NonNull::from(Box::leak(Box::new(Block::new())));
        // SAFETY: INV-1: the block is initialized, and no other code has a pointer to it, since it was leaked just now. It is
        // freed only by `drop`, whose `&mut self` proves that the cache is used no more.
        if unsafe { self.blocks.donate(block) }.is_err() {
            release(block);
            return Err(io::Error::other(format!(
                "all {} descriptors of this runtime are in use; close some, or use a second Runtime",
                super::MAX_DESCRIPTORS
            )));
        }
        Ok(())
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        for block in self.blocks.blocks() {
            release(block);
        }
    }
}

/// Frees a block that no cache refers to.
fn release(block: NonNull<Block>) {
    // SAFETY: INV-1: the block came from `Box::leak` in `grow`, and is freed once: its cache either refused it or is being
    // dropped.
    drop(unsafe { Box::from_raw(block.as_ptr()) });
}
