//! Statics that tasks and interrupt handlers share, and the memory of descriptors.

use core::cell::{OnceCell, RefCell};
use core::mem::MaybeUninit;

use netpoll_core::PollCache;
use netpoll_core::poll::cache::Block;
use netpoll_core::sync::UnsafeCell;

use crate::cpu;

/// A static that is written once and shared from then on.
#[derive(Debug)]
pub struct OnceStatic<T>(OnceCell<T>);

// SAFETY: The only write happens with interrupts masked, so nothing else runs then (INV-101). Afterwards there are only
// shared references, which `T: Sync` allows.
unsafe impl<T: Sync> Sync for OnceStatic<T> {}

impl<T> Default for OnceStatic<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> OnceStatic<T> {
    /// Creates an empty cell.
    pub const fn new() -> Self {
        Self(OnceCell::new())
    }

    /// Returns the value, which the first call creates.
    pub fn init(&'static self, make: impl FnOnce() -> T) -> &'static T {
        cpu::masked(|| self.0.get_or_init(make))
    }

    /// Returns the value, or `None` before [`OnceStatic::init`].
    #[inline]
    pub fn get(&'static self) -> Option<&'static T> {
        self.0.get()
    }
}

/// A value in a static that one owner takes forever.
#[derive(Debug)]
pub struct StaticValue<T> {
    value: UnsafeCell<T>,
    taken: OnceCell<()>,
}

// SAFETY: `taken` is accessed with interrupts masked, so by one context at a time (INV-101). The value is accessed only
// through the reference of the one call of `take` that succeeds, which moves it to its caller's context: `T: Send`.
unsafe impl<T: Send> Sync for StaticValue<T> {}

impl<T> StaticValue<T> {
    /// Creates a value that has not been taken.
    pub const fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(value), taken: OnceCell::new() }
    }

    /// Returns the value.
    ///
    /// # Panics
    ///
    /// Panics if the value was taken before.
    #[expect(
        clippy::mut_from_ref,
        reason = "a static cannot be borrowed mutably; `taken` ensures one borrow"
    )]
    pub fn take(&'static self) -> &'static mut T {
        let first = cpu::masked(|| self.taken.set(())).is_ok();
        assert!(first, "the value is taken once");
        self.value.with_mut(|value| {
            // SAFETY: The pointer is that of a static, so it is valid forever. Only the first call passes the assertion
            // above, so there is no other reference, now or later.
            unsafe { &mut *value }
        })
    }
}

/// Memory in a static that one owner takes forever, and initializes.
#[derive(Debug)]
pub struct StaticMemory<T>(StaticValue<MaybeUninit<T>>);

// SAFETY: As for `StaticValue`, but the memory holds no value of `T` before it is taken, so none moves between contexts.
unsafe impl<T> Sync for StaticMemory<T> {}

impl<T> Default for StaticMemory<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> StaticMemory<T> {
    /// Creates memory that has not been taken.
    pub const fn new() -> Self {
        Self(StaticValue::new(MaybeUninit::uninit()))
    }

    /// Initializes the memory and returns it.
    ///
    /// # Panics
    ///
    /// Panics if the memory was taken before.
    pub fn take(&'static self, init: impl FnOnce(&mut MaybeUninit<T>) -> &mut T) -> &'static mut T {
        init(self.0.take())
    }
}

/// A value that tasks and handlers access with interrupts masked.
#[derive(Debug)]
pub struct Masked<T>(RefCell<T>);

// SAFETY: The cell is accessed only with interrupts masked, so by one context at a time (INV-101).
unsafe impl<T: Send> Sync for Masked<T> {}

impl<T> Masked<T> {
    /// Creates a cell with a value.
    pub const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Runs `work` on the value.
    ///
    /// # Panics
    ///
    /// Panics if `work` calls this method of the same cell.
    #[inline]
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        cpu::masked(|| work(&mut self.0.borrow_mut()))
    }
}

/// Creates a cache of descriptors with one block, which is all the memory that it ever needs.
pub fn cache_of<const LEN: usize>(block: &'static mut Block<LEN>) -> PollCache<1, LEN> {
    let cache = PollCache::new();
    let donated = cache.donate_static(block);
    assert!(donated.is_ok(), "a new cache takes a block");
    cache
}
