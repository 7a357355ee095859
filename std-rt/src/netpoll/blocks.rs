//! Where the descriptors' blocks come from: the allocator, and back to it when the [`Netpoll`](super::Netpoll) goes.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use netpoll_core::poll::cache::{self, BLOCK_LEN};
use netpoll_core::poll::waiters::Waiters;
use netpoll_core::sync::Counter;
use netpoll_core::{GList, PollCache, PollKey};

use super::{Netpoll, fd_limit};
use crate::sys::FDSEQ_BITS;

/// A descriptor whose generation is as wide as the backend gives it back.
pub type PollDesc = netpoll_core::PollDesc<FDSEQ_BITS>;

type Block = cache::Block<BLOCK_LEN, FDSEQ_BITS>;

/// Blocks in the directory; on a 32-bit machine as many as the free list's half of a word can tell apart.
pub(super) const BLOCKS: usize = if usize::BITS < u64::BITS { 2_047 } else { 32_768 };

/// The owner's side of a descriptor's words.
pub type Registration<'a> = netpoll_core::Registration<'a, FDSEQ_BITS>;

/// An owned registration of a descriptor: its [`Registration`], and the poller that it belongs to.
///
/// Dropping it wakes the parked tasks and frees the slot. By then the descriptor's number is closed, unless another owner
/// has it.
#[derive(Debug)]
pub struct PollRegistration {
    /// Refers into the cache of `netpoll`, and is dropped before it as the fields stand.
    registration: Registration<'static>,
    netpoll: Arc<Netpoll>,
}

impl PollRegistration {
    pub(super) fn new(netpoll: &Arc<Netpoll>, registration: Registration<'_>) -> Self {
        // SAFETY: INV-1: what it refers to, a block and the boxed cache, stays where it is until the `Netpoll` goes, and
        // `netpoll` keeps that from going before the registration does.
        let registration: Registration<'static> = unsafe { std::mem::transmute(registration) };
        Self { registration, netpoll: netpoll.clone() }
    }

    /// The poller that watches the descriptor.
    #[inline]
    pub fn netpoll(&self) -> &Arc<Netpoll> {
        &self.netpoll
    }

    /// The owner's side of the words of the descriptor.
    #[inline]
    pub fn registration(&self) -> &Registration<'_> {
        &self.registration
    }

    /// The words of the descriptor.
    #[inline]
    pub fn desc(&self) -> &PollDesc {
        self.registration.desc()
    }
}

impl Drop for PollRegistration {
    fn drop(&mut self) {
        // A descriptor that could not be registered came from a task that waits for one: it would notify itself.
        let was_watched = self.desc().number().get() != 0;
        self.netpoll.forget(&self.registration);
        if was_watched && self.netpoll.is_owner_process() {
            fd_limit::notify_closed();
        }
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

    /// Tasks parked on the descriptors.
    #[inline]
    pub(super) fn waiters(&self) -> &Waiters {
        self.cache.waiters()
    }

    #[inline]
    pub(super) fn get(&self, key: PollKey) -> Option<&PollDesc> {
        self.cache.get(key)
    }

    /// The descriptor in the key's slot, of whatever generation.
    #[inline]
    pub(super) fn place(&self, key: PollKey) -> Option<&PollDesc> {
        self.cache.get_any_generation(key)
    }

    /// All descriptors, those of free slots too, with their keys as they are now.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PollKey, &PollDesc)> {
        self.cache.iter()
    }

    /// No descriptor lets a task park any more; see [`PollCache::end`].
    pub(super) fn end(&self, wake_all: impl FnMut(GList<2>)) {
        self.cache.end(wake_all);
    }

    /// A free descriptor, out of a new block if need be.
    pub(super) fn alloc(&self) -> io::Result<Registration<'_>> {
        loop {
            if let Some(registration) = self.cache.alloc() {
                self.allocated.inc();
                return Ok(registration);
            }
            self.grow()?;
        }
    }

    /// A registration is about to be dropped.
    pub(super) fn count_freed(&self) {
        self.freed.inc();
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
