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
    cache: PollCache<BLOCKS, LEN, 2>,
    blocks: Mutex<Vec<Box<Block<LEN, 2>>>>,
}

/// The owner of a slot. The registration is dropped before the pool that it refers to.
pub struct Owner<const BLOCKS: usize, const LEN: usize> {
    registration: Registration<'static, 2>,
    _pool: Arc<Pool<BLOCKS, LEN>>,
}

impl<const BLOCKS: usize, const LEN: usize> Pool<BLOCKS, LEN> {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { cache: PollCache::new(), blocks: Mutex::default() })
    }

    pub fn cache(&self) -> &PollCache<BLOCKS, LEN, 2> {
        &self.cache
    }

    /// Donates one more block.
    pub fn donate(&self) {
        let block = Box::<Block<LEN, 2>>::default();
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
            unsafe { std::mem::transmute::<Registration<'_, 2>, Registration<'static, 2>>(registration) };
        Some(Owner { registration, _pool: self.clone() })
    }
}

impl<const BLOCKS: usize, const LEN: usize> Owner<BLOCKS, LEN> {
    pub fn free(self) -> GList<2> {
        self.registration.free()
    }
}

impl<const BLOCKS: usize, const LEN: usize> Deref for Owner<BLOCKS, LEN> {
    type Target = Registration<'static, 2>;

    fn deref(&self) -> &Self::Target {
        &self.registration
    }
}
