//! The memory of a wheel's entries.

/// A place in the memory of a wheel: one timer, or a free place.
///
/// It takes 24 bytes and the payload, which is the default of its type in a free place. An `Option` would cost eight bytes
/// more where the type has no niche left, and with many timers the time goes into their memory.
#[derive(Debug)]
pub struct Entry<T> {
    /// The deadline as given.
    pub(super) at: u64,
    pub(super) prev: u32,
    /// The next entry of the list, or of the free list.
    pub(super) next: u32,
    pub(super) generation: u32,
    /// The list that this entry is linked in; `FREE` in a free place.
    pub(super) list: u16,
    pub(super) payload: T,
}

/// The memory of a wheel's entries: an array that grows at its end, as far as it can, and may shrink there.
///
/// [`Array`] has a fixed size. Where there is an allocator, a newtype of its vector grows:
///
/// ```
/// use netpoll_core::timer::{Entry, Memory, Wheel};
///
/// struct Growing<T>(Vec<Entry<T>>);
///
/// impl<T: Default> Memory for Growing<T> {
///     type Payload = T;
///
///     fn entries(&self) -> &[Entry<T>] {
///         &self.0
///     }
///
///     fn entries_mut(&mut self) -> &mut [Entry<T>] {
///         &mut self.0
///     }
///
///     fn push(&mut self, entry: Entry<T>) -> Result<(), Entry<T>> {
///         self.0.push(entry);
///         Ok(())
///     }
///
///     fn pop(&mut self) {
///         self.0.pop();
///     }
///
///     fn give_back(&mut self) {
///         if self.0.capacity() > 4 * self.0.len() {
///             self.0.shrink_to(2 * self.0.len());
///         }
///     }
/// }
///
/// let mut wheel = Wheel::new(0, Growing(Vec::new()));
/// let ids: Vec<_> = (0..1_000).map(|at| wheel.insert(at, at)).collect();
/// assert!(ids.iter().all(Result::is_ok));
/// ```
///
/// A memory that returns other entries than those that were pushed and not popped makes the wheel lose entries or panic.
pub trait Memory {
    /// The value of an entry. A free place holds the default, which should cost nothing.
    type Payload: Default;

    /// Returns the entries that were pushed and not popped, in order.
    fn entries(&self) -> &[Entry<Self::Payload>];

    /// Returns the entries as [`entries`](Self::entries) does, to be changed.
    fn entries_mut(&mut self) -> &mut [Entry<Self::Payload>];

    /// Appends an entry.
    ///
    /// # Errors
    ///
    /// Returns the entry if there is no room.
    fn push(&mut self, entry: Entry<Self::Payload>) -> Result<(), Entry<Self::Payload>>;

    /// Removes the last entry. The wheel calls it once more than 1,024 places are used and three quarters of them are free.
    fn pop(&mut self);

    /// Gives memory that the entries do not use back. Called after some calls of [`pop`](Self::pop). Does nothing by default.
    fn give_back(&mut self) {}
}

/// Room for `N` entries in the value itself, for a wheel without an allocator.
#[derive(Debug)]
pub struct Array<T, const N: usize>(heapless::Vec<Entry<T>, N>);

impl<T, const N: usize> Array<T, N> {
    /// Creates an array without entries.
    pub const fn new() -> Self {
        Self(heapless::Vec::new())
    }
}

impl<T, const N: usize> Default for Array<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Default, const N: usize> Memory for Array<T, N> {
    type Payload = T;

    #[inline]
    fn entries(&self) -> &[Entry<T>] {
        &self.0
    }

    #[inline]
    fn entries_mut(&mut self) -> &mut [Entry<T>] {
        &mut self.0
    }

    fn push(&mut self, entry: Entry<T>) -> Result<(), Entry<T>> {
        self.0.push(entry)
    }

    fn pop(&mut self) {
        self.0.pop();
    }
}
