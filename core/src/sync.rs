//! The atomics of the compiler, of portable-atomic or of loom. No other file knows which.
//!
//! The types are thin wrappers. A lint forbids the originals everywhere else, so the model checker sees every
//! access. The cell has the interface of loom's (`with_mut`), because std's cell cannot be checked.
//!
//! Only the strong compare-exchange is offered. Loom never lets a weak one fail spuriously, so a loop around
//! it would be code that no model has run.

// The lint points to this file.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

pub use core::sync::atomic::Ordering;

#[cfg(not(any(netpoll_loom, feature = "portable-atomic")))]
use core::sync::atomic as imp;
#[cfg(netpoll_loom)]
use loom::sync::atomic as imp;
#[cfg(all(not(netpoll_loom), feature = "portable-atomic"))]
use portable_atomic as imp;

#[cfg(not(any(netpoll_loom, feature = "portable-atomic", target_has_atomic = "ptr")))]
compile_error!(
    "netpoll-core: this target has no compare-and-swap; enable the feature `portable-atomic`, and choose there how it is \
     made safe: `--cfg portable_atomic_unsafe_assume_single_core`, or its feature `critical-section`"
);

/// Defines a `const fn`, which the model checker's build makes a plain one: loom's atomics cannot be
/// constants.
macro_rules! const_fn {
    ($(#[$attribute:meta])* pub $(($scope:tt))? const fn $($function:tt)*) => {
        #[cfg(not(netpoll_loom))]
        $(#[$attribute])* pub $(($scope))? const fn $($function)*
        #[cfg(netpoll_loom)]
        $(#[$attribute])* pub $(($scope))? fn $($function)*
    };
}
pub(crate) use const_fn;

/// Creates an array of `$len` elements, each from the expression anew.
#[cfg(not(netpoll_loom))]
macro_rules! array {
    ($element:expr; $len:expr) => {
        [const { $element }; $len]
    };
}
#[cfg(netpoll_loom)]
macro_rules! array {
    ($element:expr; $len:expr) => {
        core::array::from_fn::<_, { $len }, _>(|_| $element)
    };
}
pub(crate) use array;

#[cfg(netpoll_sim)]
pub mod seam;

/// Lets a simulation run another thread. Otherwise it is nothing: the call of an empty function changes what the compiler
/// inlines, and cost 34 instructions for each echoed message.
#[cfg(not(netpoll_sim))]
macro_rules! seam {
    () => {};
}

#[cfg(netpoll_sim)]
macro_rules! seam {
    () => {
        seam::reach()
    };
}

/// Orders the accesses before it against the accesses after it. Used only as one half of a named pair.
#[inline]
pub fn fence(order: Ordering) {
    imp::fence(order);
}

/// An unsigned integer of native width, shared by threads and, on bare metal, by interrupt handlers.
#[derive(Debug, Default)]
pub struct AtomicUsize(imp::AtomicUsize);

impl AtomicUsize {
    const_fn! {
        /// Creates an integer that holds `value`.
        pub const fn new(value: usize) -> Self {
            Self(imp::AtomicUsize::new(value))
        }
    }

    /// Returns the value.
    #[inline]
    pub fn load(&self, order: Ordering) -> usize {
        seam!();
        self.0.load(order)
    }

    /// Writes the value. Not for an integer that other threads change by read-modify-write (see `sema`).
    #[inline]
    pub fn store(&self, value: usize, order: Ordering) {
        seam!();
        self.0.store(value, order);
    }

    /// Writes the value. Returns the previous one.
    #[inline]
    pub fn swap(&self, value: usize, order: Ordering) -> usize {
        seam!();
        self.0.swap(value, order)
    }

    /// Writes `new` if the value is `current`. Returns the previous value in either case.
    #[inline]
    pub fn compare_exchange(
        &self,
        current: usize,
        new: usize,
        success: Ordering,
        failure: Ordering,
    ) -> Result<usize, usize> {
        seam!();
        self.0.compare_exchange(current, new, success, failure)
    }

    /// Adds `value`, wrapping. Returns the previous value.
    #[inline]
    pub fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        seam!();
        self.0.fetch_add(value, order)
    }

    /// Subtracts `value`, wrapping. Returns the previous value.
    #[inline]
    pub fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        seam!();
        self.0.fetch_sub(value, order)
    }

    /// Sets the bits of `bits`. Returns the previous value.
    #[inline]
    pub fn fetch_or(&self, bits: usize, order: Ordering) -> usize {
        seam!();
        self.0.fetch_or(bits, order)
    }

    /// Clears the bits that `mask` lacks. Returns the previous value.
    #[inline]
    pub fn fetch_and(&self, mask: usize, order: Ordering) -> usize {
        seam!();
        self.0.fetch_and(mask, order)
    }
}

/// A shared pointer.
#[derive(Debug)]
pub struct AtomicPtr<T>(imp::AtomicPtr<T>);

impl<T> AtomicPtr<T> {
    const_fn! {
        /// Creates a cell that holds `pointer`.
        pub const fn new(pointer: *mut T) -> Self {
            Self(imp::AtomicPtr::new(pointer))
        }
    }

    /// Returns the pointer.
    #[inline]
    pub fn load(&self, order: Ordering) -> *mut T {
        seam!();
        self.0.load(order)
    }

    /// Writes the pointer. Not for a pointer that other threads change by read-modify-write.
    #[inline]
    pub fn store(&self, pointer: *mut T, order: Ordering) {
        self.0.store(pointer, order);
    }

    /// Writes the pointer. Returns the previous one.
    #[inline]
    pub fn swap(&self, pointer: *mut T, order: Ordering) -> *mut T {
        self.0.swap(pointer, order)
    }

    /// Writes `new` if the pointer is `current`. Returns the previous pointer in either case.
    #[inline]
    pub fn compare_exchange(
        &self,
        current: *mut T,
        new: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T> {
        seam!();
        self.0.compare_exchange(current, new, success, failure)
    }
}

/// A flag shared by threads.
///
/// Each change is a `swap`, so the thread that clears the flag sees what every thread did that set it since,
/// also if the flag was set already.
#[derive(Debug, Default)]
pub struct Flag {
    word: AtomicUsize,
}

impl Flag {
    const_fn! {
        /// Creates a flag that is clear.
        pub const fn new() -> Self {
            Self { word: AtomicUsize::new(0) }
        }
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

/// A number shared by threads. Every access is relaxed, so a reader may see an old value.
///
/// Most uses are reports. A use that decides something is right with any earlier value, or is ordered by
/// another access: the index of a descriptor's slot is written before the slot can be handed out
/// ([`poll::desc`](crate::poll::desc)).
#[derive(Debug, Default)]
pub struct RelaxedUsize {
    word: AtomicUsize,
}

impl RelaxedUsize {
    const_fn! {
        /// Creates a number that is 0.
        pub const fn new() -> Self {
            Self { word: AtomicUsize::new(0) }
        }
    }

    /// Writes the number.
    #[inline]
    pub fn set(&self, n: usize) {
        // alone: it orders nothing
        self.word.store(n, Ordering::Relaxed);
    }

    /// Returns the number written last, or one written shortly before.
    #[inline]
    pub fn get(&self) -> usize {
        // alone: it orders nothing
        self.word.load(Ordering::Relaxed)
    }
}

/// A number below 256 shared by threads, for a type of which a program has many. Its accesses are those of [`RelaxedUsize`].
#[derive(Debug, Default)]
pub struct RelaxedU8 {
    word: imp::AtomicU8,
}

impl RelaxedU8 {
    const_fn! {
        /// Creates a number that is 0.
        pub const fn new() -> Self {
            Self { word: imp::AtomicU8::new(0) }
        }
    }

    /// Writes the number.
    #[inline]
    pub fn set(&self, n: u8) {
        // alone: it orders nothing
        self.word.store(n, Ordering::Relaxed);
    }

    /// Returns the number written last, or one written shortly before.
    #[inline]
    pub fn get(&self) -> u8 {
        // alone: it orders nothing
        self.word.load(Ordering::Relaxed)
    }
}

/// A count of events for metrics. It wraps at the native width and orders no memory, so a reader may see an
/// old value.
#[derive(Debug, Default)]
pub struct Counter {
    word: AtomicUsize,
}

impl Counter {
    const_fn! {
        /// Creates a count of 0.
        pub const fn new() -> Self {
            Self { word: AtomicUsize::new(0) }
        }
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds one without the cost of a read-modify-write. For a count that one thread raises: if two threads
    /// do so at the same time, one of their increments may be lost.
    #[inline]
    pub fn inc_alone(&self) {
        // alone: a metric
        let n = self.word.load(Ordering::Relaxed);
        // alone: a metric
        self.word.store(n.wrapping_add(1), Ordering::Relaxed);
    }

    /// Adds `n`.
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
    /// Creates a cell that holds `value`.
    pub const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    /// Passes the pointer to `access` for writing. The SAFETY comment of the caller says why no other code
    /// uses it meanwhile.
    #[inline]
    pub fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}
