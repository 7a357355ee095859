//! A cache of descriptors with the memory of its blocks. The owners of slots keep both alive.

#![expect(unsafe_code, reason = "donates blocks for the generated models, with owners that keep them")]

use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use netpoll_core::poll::cache::Block;
use netpoll_core::{GList, PollCache, Registration};

use super::tasks::locked;

/// A cache and its blocks. The field order drops the cache first.
pub struct Pool<const BLOCKS: usize, const LEN: usize> {
    cache: PollCache<BLOCKS, LEN>,
    blocks: Mutex<Vec<Box<Block<LEN>>>>,
}

/// The owner of a slot. The registration is dropped before the pool that it refers to.
pub struct Owner<const BLOCKS: usize, const LEN: usize> {
    registration: Registration<'static>,
    _pool: Arc<Pool<BLOCKS, LEN>>,
}

impl<const BLOCKS: usize, const LEN: usize> Pool<BLOCKS, LEN> {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { cache: PollCache::with_fdseq_bits(2), blocks: Mutex::default() })
    }

    pub fn cache(&self) -> &PollCache<BLOCKS, LEN> {
        &self.cache
    }

    /// Donates one more block.
    pub fn donate(&self) {
        let block = Box::<Block<LEN>>::default();
        let place = NonNull::from(&*block);
        locked(&self.blocks).push(block);
        // SAFETY: the block is boxed, so it stays where it is; it is donated once, and dropped after the
        // cache (INV-1).
        let donated = unsafe { self.cache.donate(place) };
        assert!(donated.is_ok(), "model: the directory has a place");
    }

    pub fn alloc(self: &Arc<Self>) -> Option<Owner<BLOCKS, LEN>> {
        let registration = self.cache.alloc()?;
        // SAFETY: the registration refers to the cache and one of its blocks. Both are in an `Arc` that the
        // owner keeps until the registration has been dropped, so neither is freed or moved before (INV-1).
        let registration =
            unsafe { std::mem::transmute::<Registration<'_>, Registration<'static>>(registration) };
        Some(Owner { registration, _pool: self.clone() })
    }
}

impl<const BLOCKS: usize, const LEN: usize> Owner<BLOCKS, LEN> {
    pub fn free(self) -> GList<2> {
        self.registration.free()
    }
}

impl<const BLOCKS: usize, const LEN: usize> Deref for Owner<BLOCKS, LEN> {
    type Target = Registration<'static>;

    fn deref(&self) -> &Self::Target {
        &self.registration
    }
}
