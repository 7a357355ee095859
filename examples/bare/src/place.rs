//! Statics for tasks and interrupt handlers.

use core::cell::{OnceCell, RefCell};

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
