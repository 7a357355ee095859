//! Where the descriptors' blocks come from: the allocator, and back to it when the [`Netpoll`](super::Netpoll) goes.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use netpoll_core::counter::Counter;
use netpoll_core::glist::GList;
use netpoll_core::poll_cache::{self, BLOCK_LEN, PollCache};
use netpoll_core::poll_desc;
use netpoll_core::poll_key::PollKey;

use super::Netpoll;
use crate::sys::FDSEQ_BITS;

/// A descriptor whose generation is as wide as the backend gives it back.
pub type PollDesc = poll_desc::PollDesc<FDSEQ_BITS>;

type Block = poll_cache::Block<BLOCK_LEN, FDSEQ_BITS>;

/// Blocks in the directory; on a 32-bit machine as many as the free list's half of a word can tell apart.
pub(super) const BLOCKS: usize = if usize::BITS < u64::BITS { 2_047 } else { 32_768 };

/// The slot of a descriptor that is in use, found once: its owner's way to the words, past the cache.
#[derive(Debug)]
pub struct Slot {
    netpoll: Arc<Netpoll>,
    desc: NonNull<PollDesc>,
}

// SAFETY: INV-1: it is a `&PollDesc` whose lifetime the compiler cannot see, and such a reference may be sent.
unsafe impl Send for Slot {}
// SAFETY: INV-1: as for `Send`.
unsafe impl Sync for Slot {}

impl Slot {
    /// The slot of `key`, which is in use by the caller.
    pub fn new(netpoll: Arc<Netpoll>, key: PollKey) -> Self {
        let desc = NonNull::from(netpoll.desc(key));
        Self { netpoll, desc }
    }

    /// The poller that watches the descriptor.
    #[inline]
    pub fn netpoll(&self) -> &Arc<Netpoll> {
        &self.netpoll
    }

    /// The words of the descriptor.
    #[inline]
    pub fn desc(&self) -> &PollDesc {
        // SAFETY: INV-1: a block stays where it is until its `Netpoll` goes, and this value keeps that.
        unsafe { self.desc.as_ref() }
    }
}

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

    pub(super) fn in_use(&self) -> usize {
        self.allocated.get().wrapping_sub(self.freed.get())
    }

    #[inline]
    pub(super) fn get(&self, key: PollKey) -> Option<&PollDesc> {
        self.cache.get(key)
    }

    /// The descriptor in the key's slot, of whatever generation.
    #[inline]
    pub(super) fn place(&self, key: PollKey) -> Option<&PollDesc> {
        self.cache.place(key)
    }

    /// All descriptors, those of free slots too, with their keys as they are now.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PollKey, &PollDesc)> {
        self.cache.iter()
    }

    /// A free descriptor, out of a new block if need be.
    pub(super) fn alloc(&self) -> io::Result<PollKey> {
        loop {
            if let Some(key) = self.cache.alloc() {
                self.allocated.inc();
                return Ok(key);
            }
            self.grow()?;
        }
    }

    pub(super) fn free<const N: usize>(&self, key: PollKey, list: &mut GList<N>) -> usize {
        self.freed.inc();
        self.cache.free(key, list)
    }

    fn grow(&self) -> io::Result<()> {
        let block = NonNull::from(Box::leak(Box::new(Block::new())));
        // SAFETY: INV-1: the block is initialised, leaked here and nowhere else known, and freed only by `drop`, when
        // the cache can no longer be used.
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

/// Frees a block that nobody can name any more.
fn release(block: NonNull<Block>) {
    // SAFETY: INV-1: the block came from `Box::leak` in `grow`, and its cache never got it or is going away.
    drop(unsafe { Box::from_raw(block.as_ptr()) });
}
