//! The allocator of descriptors: fixed blocks, type-stable, with a lock-free free list (Go's `pollCache`).
//!
//! **INV-1** A block of descriptors is neither freed nor moved while a poller can name it: the caller donates
//! it and takes it back through an exclusive borrow of the cache.
//!
//! So a slot is a [`PollDesc`] for ever: a thread with an old key finds a descriptor, sees another generation
//! in its state words and leaves (INV-5).

#![expect(unsafe_code, reason = "descriptors live in raw blocks that the caller donates")]

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::desc::PollDesc;
use super::free_list::{INDEX, Shared};
use super::glist::GList;
use super::key::{FDSEQ_BITS, Mode, PollKey};
use super::registration::Registration;
use crate::sync::{AtomicPtr, AtomicUsize, Flag, Ordering, UnsafeCell, array, const_fn, fence};

/// The number of descriptors in a block of 4 KiB on a 64-bit host.
pub const BLOCK_LEN: usize = 32;

/// A block of `LEN` descriptors, to be donated to a cache.
#[derive(Debug)]
#[repr(transparent)]
pub struct Block<const LEN: usize = BLOCK_LEN> {
    slots: [PollDesc; LEN],
}

impl<const LEN: usize> Default for Block<LEN> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const LEN: usize> Block<LEN> {
    const_fn! {
        /// Creates a block of free descriptors, each of generation 0.
        pub const fn new() -> Self {
            Self { slots: array![PollDesc::new(); LEN] }
        }
    }

    /// Initializes a block in place, a descriptor at a time, so that nothing as large as a block is on the
    /// stack.
    pub fn init(place: &mut MaybeUninit<Self>) -> &mut Self {
        let slots = place.as_mut_ptr().cast::<PollDesc>();
        for slot in 0..LEN {
            // SAFETY: the block is an array of `LEN` descriptors and nothing else, so `slot` lies in it
            // (INV-1).
            let slot = unsafe { slots.add(slot) };
            // SAFETY: the exclusive borrow of `place` lasts until the block is donated, so no other code uses
            // it (INV-1).
            unsafe { slot.write(PollDesc::new()) };
        }
        // SAFETY: the loop above has written every descriptor of the block (INV-1).
        unsafe { place.assume_init_mut() }
    }
}

/// A block of descriptors in a static, for a program without an allocator.
///
/// ```
/// use netpoll_core::PollCache;
/// use netpoll_core::poll::cache::StaticBlock;
///
/// static CACHE: PollCache<1> = PollCache::new();
/// static BLOCK: StaticBlock = StaticBlock::new();
///
/// let block = BLOCK.take().expect("the block is taken once");
/// CACHE.donate_static(block).expect("a new cache has a place for a block");
/// assert!(CACHE.alloc().is_some());
/// assert!(BLOCK.take().is_none());
/// ```
#[derive(Debug)]
pub struct StaticBlock<const LEN: usize = BLOCK_LEN> {
    block: UnsafeCell<Block<LEN>>,
    taken: Flag,
}

// SAFETY: the block is accessed only through the reference of the one call of `take` that succeeds. A block may be sent to the
// thread of that call, and be shared afterwards: its descriptors are made for that.
unsafe impl<const LEN: usize> Sync for StaticBlock<LEN> {}

impl<const LEN: usize> Default for StaticBlock<LEN> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const LEN: usize> StaticBlock<LEN> {
    const_fn! {
        /// Creates a block of free descriptors that has not been taken.
        pub const fn new() -> Self {
            Self { block: UnsafeCell::new(Block::new()), taken: Flag::new() }
        }
    }

    /// Returns the block, for [`PollCache::donate_static`]. Returns `None` if it was taken before.
    #[expect(
        clippy::mut_from_ref,
        reason = "a static cannot be borrowed mutably; `taken` ensures one borrow"
    )]
    pub fn take(&'static self) -> Option<&'static mut Block<LEN>> {
        if !self.taken.set() {
            return None;
        }
        // SAFETY: the pointer is that of a static, so it is valid for ever. `Flag::set` is a swap and nothing clears the flag, so
        // one call gets here, and its reference is the only one, now and later.
        Some(self.block.with_mut(|block| unsafe { &mut *block }))
    }
}

/// The error of a cache that holds as many blocks as it can.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheFull;

/// A cache of at most `BLOCKS` blocks of `LEN` descriptors.
#[derive(Debug)]
pub struct PollCache<const BLOCKS: usize, const LEN: usize = BLOCK_LEN> {
    shared: Shared,
    /// The number of blocks in the directory.
    len: AtomicUsize,
    /// The end of the poller, 1 once it has ended.
    ended: AtomicUsize,
    directory: [AtomicPtr<Block<LEN>>; BLOCKS],
}

/// The largest number of slots in a cache: an index fits into half a word and into a key.
const MAX_SLOTS: usize =
    if INDEX <= PollKey::MAX_SLOT as usize { INDEX - 1 } else { PollKey::MAX_SLOT as usize };

impl<const BLOCKS: usize, const LEN: usize> Default for PollCache<BLOCKS, LEN> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BLOCKS: usize, const LEN: usize> PollCache<BLOCKS, LEN> {
    const HAS_A_SIZE: () = {
        assert!(BLOCKS > 0 && LEN > 0, "a cache holds at least one block of one descriptor");
        assert!(BLOCKS <= MAX_SLOTS / LEN, "an index must fit into half a word, and into a key");
    };

    const_fn! {
        /// Creates a cache without blocks: [`PollCache::alloc`] returns `None` until one is donated. A cache
        /// that could hold no descriptor does not compile:
        ///
        /// ```compile_fail,E0080
        /// netpoll_core::PollCache::<1, 0>::new();
        /// ```
        ///
        /// ```compile_fail,E0080
        /// netpoll_core::PollCache::<0>::new();
        /// ```
        pub const fn new() -> Self {
            Self::with_fdseq_bits(FDSEQ_BITS)
        }
    }

    const_fn! {
        /// Creates a cache as [`PollCache::new`] does, whose generations have `bits` bits only: for a kernel that
        /// returns no more of a key with an event. A key is mistaken for its slot's present one after exactly
        /// 2^`bits` owners, or a multiple.
        ///
        /// # Panics
        ///
        /// Panics, or does not compile where the cache is a static, unless `bits` is 1 to [`FDSEQ_BITS`].
        pub const fn with_fdseq_bits(bits: u32) -> Self {
            let () = Self::HAS_A_SIZE;
            Self {
                shared: Shared::new(bits),
                len: AtomicUsize::new(0),
                ended: AtomicUsize::new(0),
                directory: array![AtomicPtr::new(core::ptr::null_mut()); BLOCKS],
            }
        }
    }

    /// Initializes a cache without blocks in place, an entry at a time, so that nothing as large as its
    /// directory is on the stack.
    ///
    /// ```
    /// # use netpoll_core::PollCache;
    /// let mut cache = Box::<PollCache<32_768>>::new_uninit();
    /// assert!(PollCache::init(&mut cache).alloc().is_none());
    /// ```
    pub fn init(place: &mut MaybeUninit<Self>) -> &mut Self {
        Self::init_with_fdseq_bits(place, FDSEQ_BITS)
    }

    /// Initializes a cache in place as [`PollCache::init`] does, with generations as in
    /// [`PollCache::with_fdseq_bits`].
    ///
    /// # Panics
    ///
    /// Panics unless `bits` is 1 to [`FDSEQ_BITS`].
    pub fn init_with_fdseq_bits(place: &mut MaybeUninit<Self>, bits: u32) -> &mut Self {
        let () = Self::HAS_A_SIZE;
        let fresh = Shared::new(bits);
        let cache = place.as_mut_ptr();
        // SAFETY: `cache` points to memory of this type, which the exclusive borrow of `place` keeps from all other
        // code. So a pointer to a field is valid for a write; no reference to it is made.
        let shared = unsafe { &raw mut (*cache).shared };
        // SAFETY: as above, and the old bytes need no drop.
        unsafe { shared.write(fresh) };
        // SAFETY: `cache` is valid, as above.
        let len = unsafe { &raw mut (*cache).len };
        // SAFETY: `len` is valid for a write, as above.
        unsafe { len.write(AtomicUsize::new(0)) };
        // SAFETY: `cache` is valid, as above.
        let ended = unsafe { &raw mut (*cache).ended };
        // SAFETY: `ended` is valid for a write, as above.
        unsafe { ended.write(AtomicUsize::new(0)) };
        // SAFETY: `cache` is valid, as above.
        let directory = unsafe { &raw mut (*cache).directory };
        let entries = directory.cast::<AtomicPtr<Block<LEN>>>();
        for block in 0..BLOCKS {
            // SAFETY: the directory is an array of `BLOCKS` entries, so `block` lies in it.
            let entry = unsafe { entries.add(block) };
            // SAFETY: the pointer is valid for a write, as above, and the old bytes need no drop.
            unsafe { entry.write(AtomicPtr::new(core::ptr::null_mut())) };
        }
        // SAFETY: all four fields have been written, the directory entry by entry.
        unsafe { place.assume_init_mut() }
    }

    /// Adds a block. Its descriptors can be allocated from now on. Any number of threads may donate at once.
    ///
    /// # Errors
    ///
    /// Returns [`CacheFull`] if the cache holds `BLOCKS` blocks already. The block is not touched then.
    ///
    /// # Safety
    ///
    /// `block` points to an initialized block that no other code uses, and that stays where it is for as long
    /// as the cache is used (INV-1). The cache does not free it: [`PollCache::blocks`] returns it.
    pub unsafe fn donate(&self, block: NonNull<Block<LEN>>) -> Result<(), CacheFull> {
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
        // alone: a hint where the search for a free entry begins; the directory decides
        self.len.fetch_add(1, Ordering::Relaxed);
        self.chain(place);
        Ok(())
    }

    /// Adds a block that is never freed, such as that of a [`StaticBlock`] or a leaked one.
    ///
    /// # Errors
    ///
    /// Returns [`CacheFull`] as [`PollCache::donate`] does.
    pub fn donate_static(&self, block: &'static mut Block<LEN>) -> Result<(), CacheFull> {
        // SAFETY: a `&'static mut` is exclusive and points to an initialized block, which stays where it is
        // (INV-1).
        unsafe { self.donate(NonNull::from(block)) }
    }

    /// Links the slots of a newly donated block to each other and pushes them as one chain.
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

    /// Allocates a free descriptor. Returns `None` if all donated ones are in use: the caller donates another
    /// block and tries again. Lock-free; may run in an interrupt handler.
    ///
    /// # Memory ordering
    ///
    /// Acquires the memory effects of the [`Registration::free`] of the slot.
    pub fn alloc(&self) -> Option<Registration<'_>> {
        let desc = self.slot(self.shared.pop(|slot| self.slot(slot))?);
        // A caller closed the slot or delivered an event while it was free, with a key that it guessed or got
        // from `PollCache::iter`. The next owner gets the generation after that key's.
        if desc.info.get().is_published() {
            desc.close(self.shared.fdseq_mask());
        }
        self.take_over_end(desc);
        Some(Registration::new(desc, &self.shared))
    }

    /// Lets no task park on a descriptor that is allocated after the end of the poller or during it.
    /// [`PollCache::end`]
    ///
    /// 1. fences before this thread does: this thread sees `ended`;
    /// 2. fences after this thread does: it finds the block, and the descriptor in this generation.
    fn take_over_end(&self, desc: &PollDesc) {
        fence(Ordering::SeqCst); // pair: cache::end
        // alone: the fence made it fresh enough
        if self.ended.load(Ordering::Relaxed) != 0 {
            desc.info.publish_ended();
        }
    }

    /// Ends all waits, because the poller has ended. From now on no descriptor lets a task park, also one
    /// that is allocated later. `wake` gets the wakers of the parked tasks, descriptor by descriptor. May be
    /// repeated.
    pub fn end(&self, mut wake: impl FnMut(GList<2>)) {
        // alone: the fence below publishes it
        self.ended.swap(1, Ordering::Relaxed);
        fence(Ordering::SeqCst); // pair: cache::take_over_end
        for (_, desc) in self.iter() {
            let list = desc.end();
            if !list.is_empty() {
                wake(list);
            }
        }
    }

    /// Returns the number of tasks that are parked on this cache's descriptors. Looks at each slot, and does
    /// not see a task that parks or is woken meanwhile.
    pub fn parked(&self) -> usize {
        let both = |desc: &PollDesc| {
            [Mode::Read, Mode::Write].into_iter().filter(|&mode| desc.is_parked(mode)).count()
        };
        self.iter().map(|(_, desc)| both(desc)).sum()
    }

    /// Returns the descriptor that `key` names, or `None` if no block has that slot or the slot is of another
    /// generation. The generation may change at any time, so [`PollDesc::ready`] checks it again, in the
    /// state words themselves.
    #[inline]
    pub fn get(&self, key: PollKey) -> Option<&PollDesc> {
        self.lookup(key.slot as usize).filter(|desc| desc.info().fdseq() == key.fdseq)
    }

    /// Returns the descriptor in the slot that `key` names, of any generation: for [`PollDesc::ready`], which
    /// checks the generation in the state words themselves, and for a prefetch.
    #[inline]
    pub fn get_any_generation(&self, key: PollKey) -> Option<&PollDesc> {
        self.lookup(key.slot as usize)
    }

    #[inline]
    fn lookup(&self, slot: usize) -> Option<&PollDesc> {
        // Acquire: the block's descriptors as they were initialized.
        let block = NonNull::new(self.directory.get(slot / LEN)?.load(Ordering::Acquire))?; // pair: cache::donate
        // SAFETY: `donate` put the block into the directory after it was initialized, and it stays where it
        // is for as long as the cache is borrowed (INV-1).
        let block = unsafe { block.as_ref() };
        Some(&block.slots[slot % LEN])
    }

    fn slot(&self, slot: usize) -> &PollDesc {
        self.lookup(slot).expect("INV-1: a slot on the free list is in a donated block")
    }

    /// Returns all descriptors with their current keys, free ones included. For dumps.
    pub fn iter(&self) -> impl Iterator<Item = (PollKey, &PollDesc)> {
        (0..BLOCKS * LEN).map_while(|slot| {
            let desc = self.lookup(slot)?;
            Some((PollKey { slot: slot as u32, fdseq: desc.info().fdseq() }, desc))
        })
    }

    /// Returns the donated blocks. Their donor frees them once the cache is not used any more.
    pub fn blocks(&mut self) -> impl Iterator<Item = NonNull<Block<LEN>>> {
        // The thread that made the exclusive borrow has ordered the donations before it.
        self.directory.iter().map_while(|entry| NonNull::new(entry.load(Ordering::Acquire))) // pair: cache::donate
    }
}
