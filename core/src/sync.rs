//! Atomics of loom, of the compiler or of portable-atomic: the only file that knows which.
//!
//! The types are thin newtypes, so that a lint can forbid the originals everywhere else and the model checker
//! sees every access. The cell has loom's shape (`with`, `with_mut`), not the other way round.
//!
//! Only strong compare-exchange is offered: loom never fails a weak one spuriously, so a loop around it would be
//! code that no model has run.

// The lint points to this file.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

pub use core::sync::atomic::Ordering;

#[cfg(not(any(netpoll_loom, feature = "portable-atomic")))]
use core::sync::atomic as world;
#[cfg(netpoll_loom)]
use loom::sync::atomic as world;
#[cfg(all(not(netpoll_loom), feature = "portable-atomic"))]
use portable_atomic as world;

/// Orders what comes before it against what comes after it; used as one of a named pair only.
#[inline]
pub fn fence(order: Ordering) {
    world::fence(order);
}

/// An unsigned integer of native width, shared by threads (and, on bare metal, by interrupt handlers).
#[derive(Debug)]
pub struct AtomicUsize(world::AtomicUsize);

impl AtomicUsize {
    /// A word that holds `value`.
    pub fn new(value: usize) -> Self {
        Self(world::AtomicUsize::new(value))
    }

    /// Reads the word.
    #[inline]
    pub fn load(&self, order: Ordering) -> usize {
        self.0.load(order)
    }

    /// Writes the word. Never on a word that others change by read-modify-write (see `sema`).
    #[inline]
    pub fn store(&self, value: usize, order: Ordering) {
        self.0.store(value, order);
    }

    /// Writes the word and returns what it held.
    #[inline]
    pub fn swap(&self, value: usize, order: Ordering) -> usize {
        self.0.swap(value, order)
    }

    /// Writes `new` if the word holds `current`; returns what it held either way.
    #[inline]
    pub fn compare_exchange(
        &self,
        current: usize,
        new: usize,
        success: Ordering,
        failure: Ordering,
    ) -> Result<usize, usize> {
        self.0.compare_exchange(current, new, success, failure)
    }

    /// Adds, wrapping; returns what the word held.
    #[inline]
    pub fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_add(value, order)
    }

    /// Subtracts, wrapping; returns what the word held.
    #[inline]
    pub fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_sub(value, order)
    }

    /// Sets bits; returns what the word held.
    #[inline]
    pub fn fetch_or(&self, bits: usize, order: Ordering) -> usize {
        self.0.fetch_or(bits, order)
    }

    /// Keeps the bits of the mask; returns what the word held.
    #[inline]
    pub fn fetch_and(&self, mask: usize, order: Ordering) -> usize {
        self.0.fetch_and(mask, order)
    }
}

/// A 64-bit word, on targets that have it (`fd_mutex` needs it).
#[cfg(target_has_atomic = "64")]
#[derive(Debug)]
pub struct AtomicU64(world::AtomicU64);

#[cfg(target_has_atomic = "64")]
impl AtomicU64 {
    /// A word that holds `value`.
    pub fn new(value: u64) -> Self {
        Self(world::AtomicU64::new(value))
    }

    /// Reads the word.
    #[inline]
    pub fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    /// Writes `new` if the word holds `current`; returns what it held either way.
    #[inline]
    pub fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.0.compare_exchange(current, new, success, failure)
    }
}

/// A shared pointer.
#[derive(Debug)]
pub struct AtomicPtr<T>(world::AtomicPtr<T>);

impl<T> AtomicPtr<T> {
    /// A word that holds `pointer`.
    pub fn new(pointer: *mut T) -> Self {
        Self(world::AtomicPtr::new(pointer))
    }

    /// Reads the pointer.
    #[inline]
    pub fn load(&self, order: Ordering) -> *mut T {
        self.0.load(order)
    }

    /// Writes `new` if the word holds `current`; returns what it held either way.
    #[inline]
    pub fn compare_exchange(
        &self,
        current: *mut T,
        new: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T> {
        self.0.compare_exchange(current, new, success, failure)
    }
}

/// A flag shared by threads. Each change is a `swap`, so that the thread that clears the flag sees what every thread did
/// that set it since, also if the flag was set already.
#[derive(Debug)]
pub struct Flag {
    word: AtomicUsize,
}

impl Default for Flag {
    fn default() -> Self {
        Self::new()
    }
}

impl Flag {
    /// Creates a flag that is clear.
    pub fn new() -> Self {
        Self { word: AtomicUsize::new(0) }
    }

    /// Sets the flag. Returns whether it was clear.
    ///
    /// # Memory ordering
    ///
    /// Releases what the caller did before to the thread that clears the flag, also if it was set already.
    #[inline]
    pub fn set(&self) -> bool {
        self.word.swap(1, Ordering::AcqRel) == 0 // pair: sync::clear
    }

    /// Returns whether the flag is set. Orders no memory: a caller that sleeps unless it is set fences first.
    #[inline]
    pub fn is_set(&self) -> bool {
        // alone: a thread that needs what came with the flag clears it, which acquires
        self.word.load(Ordering::Relaxed) == 1
    }

    /// Clears the flag. Returns whether it was set.
    ///
    /// # Memory ordering
    ///
    /// Acquires what every thread did before its [`Flag::set`].
    #[inline]
    pub fn clear(&self) -> bool {
        self.word.swap(0, Ordering::AcqRel) == 1 // pair: sync::set
    }
}

/// A number shared by threads, every access to it relaxed: a reader may see an old value.
///
/// Most are for reports. Each that decides something is right with any earlier value, or is ordered by another access: the
/// index of a descriptor's slot is written before the slot can be handed out ([`poll_desc`](crate::poll::desc)).
#[derive(Debug)]
pub struct RelaxedUsize {
    word: AtomicUsize,
}

impl Default for RelaxedUsize {
    fn default() -> Self {
        Self::new()
    }
}

impl RelaxedUsize {
    /// Creates a number that is 0.
    pub fn new() -> Self {
        Self { word: AtomicUsize::new(0) }
    }

    /// Writes the number.
    #[inline]
    pub fn set(&self, n: usize) {
        // alone: it orders nothing
        self.word.store(n, Ordering::Relaxed);
    }

    /// Returns what was written last, or a little before.
    #[inline]
    pub fn get(&self) -> usize {
        // alone: it orders nothing
        self.word.load(Ordering::Relaxed)
    }
}

/// A count of events since the start; wraps at the native width.
#[derive(Debug)]
pub struct Counter {
    word: AtomicUsize,
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

impl Counter {
    /// Creates a count of 0.
    pub fn new() -> Self {
        Self { word: AtomicUsize::new(0) }
    }

    /// Counts one more.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Counts one more, where no other thread counts at the same time: without the cost of a read-modify-write. Counts that
    /// are made by two threads at once may be lost.
    #[inline]
    pub fn inc_alone(&self) {
        // alone: a metric
        let n = self.word.load(Ordering::Relaxed);
        // alone: a metric
        self.word.store(n.wrapping_add(1), Ordering::Relaxed);
    }

    /// Counts `n` more.
    #[inline]
    pub fn add(&self, n: usize) {
        // alone: a metric
        self.word.fetch_add(n, Ordering::Relaxed);
    }

    /// Returns the count so far.
    pub fn get(&self) -> usize {
        // alone: a metric
        self.word.load(Ordering::Relaxed)
    }
}

#[cfg(netpoll_loom)]
pub use loom::cell::UnsafeCell;

/// A cell whose every access goes through a closure, so that loom can check which thread may touch it when.
#[cfg(not(netpoll_loom))]
#[derive(Debug, Default)]
pub struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(netpoll_loom))]
impl<T> UnsafeCell<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    /// Hands out the pointer for writing; the caller's SAFETY comment says why no other code uses it meanwhile.
    #[inline]
    pub fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}

/// Pads a value to 128 bytes, to prevent false sharing. Two lines, because adjacent-line prefetch pulls cache lines in
/// pairs. (On machines of fewer bits, which have small memories and one core as a rule, it is the plain value.)
#[derive(Debug, Default)]
#[cfg_attr(target_pointer_width = "64", repr(align(128)))]
pub struct CachePadded<T>(pub T);
