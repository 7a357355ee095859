//! The memory of the descriptors: blocks from the allocator, which go back to it with their [`Netpoll`](super::Netpoll).

#![expect(unsafe_code, reason = "donates blocks of descriptors to the cache, and frees them after it")]

use std::io;
use std::ptr::NonNull;

use netpoll_core::poll::cache::{self, BLOCK_LEN};
use netpoll_core::poll::waiters::Waiters;
use netpoll_core::sync::Counter;
use netpoll_core::{GList, PollCache, PollKey, Registration};

use crate::sys::FDSEQ_BITS;

/// A descriptor whose generation is as wide as the backend returns it.
pub type PollDesc = netpoll_core::PollDesc<FDSEQ_BITS>;

type Block = cache::Block<BLOCK_LEN, FDSEQ_BITS>;

/// The number of blocks in the directory; on a 32-bit machine, the number that half a word of the free list can distinguish.
pub(super) const BLOCKS: usize = if usize::BITS < u64::BITS { 2_047 } else { 32_768 };

/// A [`PollCache`] that owns its blocks.
#[derive(Debug)]
pub(super) struct Cache {
    /// Boxed: the directory alone is 256 KiB.
    cache: Box<PollCache<BLOCKS, BLOCK_LEN, FDSEQ_BITS>>,
    allocated: Counter,
    freed: Counter,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self { cache: Box::new(PollCache::new()), allocated: Counter::new(), freed: Counter::new() }
    }

    /// Returns the number of descriptors in use.
    pub(super) fn in_use(&self) -> usize {
        self.allocated.get().wrapping_sub(self.freed.get())
    }

    /// Returns the number of tasks that are parked on the descriptors.
    #[inline]
    pub(super) fn waiters(&self) -> &Waiters {
        self.cache.waiters()
    }

    /// Returns the descriptor of a key, or `None` if it is of another generation.
    #[inline]
    pub(super) fn get(&self, key: PollKey) -> Option<&PollDesc> {
        self.cache.get(key)
    }

    /// Returns the descriptor in the slot of a key, of any generation.
    #[inline]
    pub(super) fn get_any_generation(&self, key: PollKey) -> Option<&PollDesc> {
        self.cache.get_any_generation(key)
    }

    /// Returns all descriptors with their current keys, free slots included.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PollKey, &PollDesc)> {
        self.cache.iter()
    }

    /// Lets no task park any more; see [`PollCache::end`].
    pub(super) fn end(&self, wake_all: impl FnMut(GList<2>)) {
        self.cache.end(wake_all);
    }

    /// Allocates a descriptor, from a new block if all others are in use.
    ///
    /// # Errors
    ///
    /// Returns an error if the directory of blocks is full.
    pub(super) fn alloc(&self) -> io::Result<Registration<'_, FDSEQ_BITS>> {
        loop {
            if let Some(registration) = self.cache.alloc() {
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
        if unsafe { self.cache.donate(block) }.is_err() {
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
        for block in self.cache.blocks() {
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
