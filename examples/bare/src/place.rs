//! Statics for tasks and interrupt handlers, and the memory of descriptors.

use core::cell::{OnceCell, RefCell};
use core::mem::MaybeUninit;

use netpoll_core::PollCache;
use netpoll_core::poll::cache::Block;
use netpoll_core::sync::UnsafeCell;

use crate::board;

/// A static that is written once and shared from then on.
#[derive(Debug)]
pub struct Place<T>(OnceCell<T>);

// SAFETY: INV-101, the only write is done with interrupts masked; afterwards there are only shared references.
unsafe impl<T: Sync> Sync for Place<T> {}

impl<T> Default for Place<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Place<T> {
    /// An empty place.
    pub const fn new() -> Self {
        Self(OnceCell::new())
    }

    /// Fills the place, unless it is filled already.
    pub fn init(&'static self, make: impl FnOnce() -> T) -> &'static T {
        board::masked(|| self.0.get_or_init(make))
    }

    /// What is in the place; none before [`Place::init`].
    #[inline]
    pub fn get(&'static self) -> Option<&'static T> {
        self.0.get()
    }
}

/// Memory in a static that one owner takes for good.
#[derive(Debug)]
pub struct Room<T> {
    memory: UnsafeCell<MaybeUninit<T>>,
    taken: OnceCell<()>,
}

// SAFETY: INV-101, `taken` is touched with interrupts masked, the memory only by who took it.
unsafe impl<T: Send> Sync for Room<T> {}

impl<T> Default for Room<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Room<T> {
    /// Memory that nobody has taken.
    pub const fn new() -> Self {
        Self { memory: UnsafeCell::new(MaybeUninit::uninit()), taken: OnceCell::new() }
    }

    /// Puts a value there and hands it out.
    ///
    /// # Panics
    ///
    /// The second time.
    #[expect(clippy::mut_from_ref, reason = "a static cannot be borrowed mutably; `taken` sees to it")]
    pub fn take(&'static self, init: impl FnOnce(&mut MaybeUninit<T>) -> &mut T) -> &'static mut T {
        let first = board::masked(|| self.taken.set(())).is_ok();
        assert!(first, "a room is taken once");
        self.memory.with_mut(|memory| {
            // SAFETY: INV-101, only the first who comes gets here, so there is no other reference, now or later.
            let memory: &'static mut MaybeUninit<T> = unsafe { &mut *memory };
            init(memory)
        })
    }
}

/// A value that tasks and handlers change by turns, with interrupts masked.
#[derive(Debug)]
pub struct Masked<T>(RefCell<T>);

// SAFETY: INV-101, the cell is touched with interrupts masked only, so by one at a time.
unsafe impl<T: Send> Sync for Masked<T> {}

impl<T> Masked<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Works on the value.
    ///
    /// # Panics
    ///
    /// If the work comes back here for the same value.
    #[inline]
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        board::masked(|| work(&mut self.0.borrow_mut()))
    }
}

/// A cache of descriptors with one block, and for good: it needs no other memory.
pub fn cache_of<const LEN: usize>(block: &'static mut Block<LEN>) -> PollCache<1, LEN> {
    let cache = PollCache::new();
    let donated = cache.donate_static(block);
    assert!(donated.is_ok(), "the cache has one place and this is the first block");
    cache
}
