//! The allocator of descriptors: fixed blocks, type-stable, with a lock-free free list (Go's `pollCache`).
//!
//! A block is donated from above and stays where it is until the cache is gone (INV-1), so a slot is a
//! [`PollDesc`] for ever: a thread with an old key finds a descriptor, sees another generation in its state words
//! and leaves (INV-5).

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::desc::PollDesc;
use super::free_list::{INDEX, Shared};
use super::glist::GList;
use super::key::{FDSEQ_BITS, PollKey};
use super::registration::Registration;
use super::waiters::Waiters;
use crate::sync::{AtomicPtr, AtomicUsize, Ordering, array, const_fn, fence};

/// Descriptors in a block of 4 KiB on a 64-bit host.
pub const BLOCK_LEN: usize = 32;

/// A block that is donated to a cache: `LEN` descriptors side by side. `Block::new()` is generation 0 of each.
#[derive(Debug)]
#[repr(transparent)]
pub struct Block<const LEN: usize = BLOCK_LEN, const BITS: u32 = FDSEQ_BITS> {
    slots: [PollDesc<BITS>; LEN],
}

impl<const LEN: usize, const BITS: u32> Default for Block<LEN, BITS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const LEN: usize, const BITS: u32> Block<LEN, BITS> {
    const_fn! {
        /// Creates a block of free descriptors.
        pub const fn new() -> Self {
            Self { slots: array![PollDesc::new(); LEN] }
        }
    }

    /// Initializes a block in place, a descriptor at a time: nothing as large as a block passes over the stack.
    pub fn init(place: &mut MaybeUninit<Self>) -> &mut Self {
        let slots = place.as_mut_ptr().cast::<PollDesc<BITS>>();
        for slot in 0..LEN {
            // SAFETY: INV-1, the block is an array of `LEN` descriptors and nothing else, so the place is in it.
            let slot = unsafe { slots.add(slot) };
            // SAFETY: INV-1, the memory is the caller's alone until the block is donated.
            unsafe { slot.write(PollDesc::new()) };
        }
        // SAFETY: INV-1, every descriptor has been written.
        unsafe { place.assume_init_mut() }
    }
}

/// The error of a full directory: the cache holds all the blocks that it can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheFull;

/// A cache of at most `BLOCKS` blocks of `LEN` descriptors each, with generations of `BITS` bits.
#[derive(Debug)]
pub struct PollCache<const BLOCKS: usize, const LEN: usize = BLOCK_LEN, const BITS: u32 = FDSEQ_BITS> {
    shared: Shared,
    /// Blocks in the directory.
    len: AtomicUsize,
    /// Not zero once the poller has ended.
    ended: AtomicUsize,
    directory: [AtomicPtr<Block<LEN, BITS>>; BLOCKS],
}

/// The largest number of slots in a cache.
const MAX_SLOTS: usize =
    if INDEX <= PollKey::MAX_SLOT as usize { INDEX - 1 } else { PollKey::MAX_SLOT as usize };

impl<const BLOCKS: usize, const LEN: usize, const BITS: u32> Default for PollCache<BLOCKS, LEN, BITS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BLOCKS: usize, const LEN: usize, const BITS: u32> PollCache<BLOCKS, LEN, BITS> {
    const_fn! {
        /// Creates a cache without blocks: [`PollCache::alloc`] returns nothing until one is donated. A cache that could hold no
        /// descriptor does not compile:
        ///
        /// ```compile_fail,E0080
        /// netpoll_core::PollCache::<1, 0>::new();
        /// ```
        ///
        /// ```compile_fail,E0080
        /// netpoll_core::PollCache::<0>::new();
        /// ```
        pub const fn new() -> Self {
            const { assert!(BLOCKS > 0 && LEN > 0, "a cache holds at least one block of one descriptor") };
            const { assert!(BLOCKS <= MAX_SLOTS / LEN, "an index must fit into half a word, and into a key") };
            Self {
                shared: Shared::new(),
                len: AtomicUsize::new(0),
                ended: AtomicUsize::new(0),
                directory: array![AtomicPtr::new(core::ptr::null_mut()); BLOCKS],
            }
        }
    }

    /// Adds a block, whose descriptors can be allocated from now on. Any number of threads may donate at once.
    ///
    /// # Errors
    ///
    /// Returns [`CacheFull`] if the directory has no place left; the block is not touched then.
    ///
    /// # Safety
    ///
    /// `block` points to an initialized block that no other code uses, and that stays where it is for as long as the
    /// cache is used (INV-1). The cache does not free it: [`PollCache::blocks`] gives it back.
    pub unsafe fn donate(&self, block: NonNull<Block<LEN, BITS>>) -> Result<(), CacheFull> {
        // alone: a first guess; the directory's compare-exchange decides
        let mut place = self.len.load(Ordering::Relaxed);
        loop {
            let entry = self.directory.get(place).ok_or(CacheFull)?;
            let none = core::ptr::null_mut();
            // Release: the descriptors are initialized before any thread can look one up.
            let took = entry.compare_exchange(none, block.as_ptr(), Ordering::Release, Ordering::Relaxed); // pair: cache::lookup, cache::blocks
            if took.is_ok() {
                break;
            }
            place += 1;
        }
        // alone: a hint where to begin looking; the directory is the truth
        self.len.fetch_add(1, Ordering::Relaxed);
        self.chain(place);
        Ok(())
    }

    /// Adds a block that is never freed: a static's, or a leaked one. [`PollCache::blocks`] is not needed then.
    ///
    /// # Errors
    ///
    /// Returns [`CacheFull`] as [`PollCache::donate`] does.
    pub fn donate_static(&self, block: &'static mut Block<LEN, BITS>) -> Result<(), CacheFull> {
        // SAFETY: INV-1, a `&'static mut` is initialized and exclusive, and what it points to stays where it is.
        unsafe { self.donate(NonNull::from(block)) }
    }

    /// Links the slots of a block that was just donated to each other and pushes them as one chain.
    fn chain(&self, place: usize) {
        let first = place * LEN;
        for slot in first..first + LEN {
            let desc = self.slot(slot);
            // The push releases it, as it does the links.
            desc.slot.set(slot);
            // alone: the push releases it; it writes the link of the last one
            desc.link.store(slot + 2, Ordering::Relaxed);
        }
        self.shared.push(first, self.slot(first + LEN - 1));
    }

    /// Allocates a free descriptor. Returns `None` if all donated ones are in use: donate another block and ask again.
    /// Lock-free; may run in an interrupt handler.
    ///
    /// # Memory ordering
    ///
    /// What happened before the [`Registration::free`] of the slot is visible.
    pub fn alloc(&self) -> Option<Registration<'_, BITS>> {
        let desc = self.slot(self.shared.pop(|slot| self.slot(slot))?);
        // A caller has closed the slot or delivered an event while it was free, with a key that it guessed or that
        // `PollCache::iter` showed: the next owner gets the generation after that key's.
        if desc.info.get().is_published() {
            desc.close();
        }
        self.take_over_end(desc);
        Some(Registration::new(desc, &self.shared))
    }

    /// Lets no task park on a descriptor that is allocated after the end or beside it. [`PollCache::end`]
    ///
    /// 1. fences before this thread does: this thread sees `ended`;
    /// 2. fences after: it finds the block, and the descriptor in this generation.
    fn take_over_end(&self, desc: &PollDesc<BITS>) {
        fence(Ordering::SeqCst); // pair: cache::end
        // alone: the fence made it fresh enough
        if self.ended.load(Ordering::Relaxed) != 0 {
            desc.info.publish_ended();
        }
    }

    /// Ends all waits, because the poller has ended: no descriptor lets a task park from now on, those that are allocated
    /// later included. `hand_up` gets the wakers of the tasks that were parked, of each descriptor that has some; the count
    /// of waiters falls by their number once they are runnable. Harmless when repeated.
    pub fn end(&self, mut hand_up: impl FnMut(GList<2>)) {
        // alone: the fence below publishes it
        self.ended.swap(1, Ordering::Relaxed);
        fence(Ordering::SeqCst); // pair: cache::take_over_end
        for (_, desc) in self.iter() {
            let list = desc.end();
            if !list.is_empty() {
                hand_up(list);
            }
        }
    }

    /// Returns the number of tasks parked on this cache's descriptors.
    #[inline]
    pub fn waiters(&self) -> &Waiters {
        self.shared.waiters()
    }

    /// Returns the descriptor that `key` names, or `None` if no block has that slot or it is of another generation by now.
    /// It may become so at any time: [`PollDesc::ready`] checks again, in the state words themselves.
    #[inline]
    pub fn get(&self, key: PollKey) -> Option<&PollDesc<BITS>> {
        self.lookup(key.slot as usize).filter(|desc| desc.info().fdseq() == key.fdseq)
    }

    /// Returns the descriptor in the slot that `key` names, of any generation: for [`PollDesc::ready`], which checks the
    /// generation in the state words themselves, and for a prefetch.
    #[inline]
    pub fn get_any_generation(&self, key: PollKey) -> Option<&PollDesc<BITS>> {
        self.lookup(key.slot as usize)
    }

    #[inline]
    fn lookup(&self, slot: usize) -> Option<&PollDesc<BITS>> {
        // Acquire: the block's descriptors as they were initialized.
        let block = NonNull::new(self.directory.get(slot / LEN)?.load(Ordering::Acquire))?; // pair: cache::donate
        // SAFETY: INV-1, a block in the directory was initialized before and stays where it is.
        let block = unsafe { block.as_ref() };
        Some(&block.slots[slot % LEN])
    }

    fn slot(&self, slot: usize) -> &PollDesc<BITS> {
        self.lookup(slot).expect("INV-1: a slot on the free list is in a donated block")
    }

    /// Returns all descriptors with their keys as they are now, free ones included. For dumps.
    pub fn iter(&self) -> impl Iterator<Item = (PollKey, &PollDesc<BITS>)> {
        (0..BLOCKS * LEN).map_while(|slot| {
            let desc = self.lookup(slot)?;
            Some((PollKey { slot: slot as u32, fdseq: desc.info().fdseq() }, desc))
        })
    }

    /// Returns the blocks that were donated. Their donor frees them once the cache is not used any more.
    pub fn blocks(&mut self) -> impl Iterator<Item = NonNull<Block<LEN, BITS>>> {
        // Acquire through the exclusive borrow: the thread that made it has ordered the donations before it.
        self.directory.iter().map_while(|entry| NonNull::new(entry.load(Ordering::Acquire))) // pair: cache::donate
    }
}
