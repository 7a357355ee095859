//! The memory of a timer wheel, in which it grows and shrinks. The wheel itself is core's.

use netpoll_core::timer::{self, Entry, Memory};

pub use netpoll_core::timer::TimerId;

/// A timer wheel that holds any number of entries, up to 2^32 - 1.
pub type Wheel<T> = timer::Wheel<Growing<T>>;

/// The least number of entries for which the vector has memory. A smaller block, once it is freed, stays with the thread in
/// glibc's allocator, and all memory below it with the process: that of the tasks whose timers made the vector grow.
const LEAST: usize = 32;

/// A vector of entries.
#[derive(Debug)]
pub struct Growing<T>(Vec<Entry<T>>);

/// Creates an empty wheel whose time is `now`. The first entry allocates the vector.
pub fn new_wheel<T: Default>(now: u64) -> Wheel<T> {
    Wheel::new(now, Growing(Vec::new()))
}

/// Inserts an entry.
///
/// # Panics
///
/// Panics if 2^32 - 1 entries are outstanding.
#[inline]
pub fn insert<T: Default>(wheel: &mut Wheel<T>, at: u64, payload: T) -> TimerId {
    wheel.insert(at, payload).unwrap_or_else(|_| panic!("a timer wheel holds at most 2^32 - 1 entries"))
}

impl<T: Default> Memory for Growing<T> {
    type Payload = T;

    #[inline]
    fn entries(&self) -> &[Entry<T>] {
        &self.0
    }

    #[inline]
    fn entries_mut(&mut self) -> &mut [Entry<T>] {
        &mut self.0
    }

    /// Appends an entry; the vector doubles when it is full.
    fn push(&mut self, entry: Entry<T>) -> Result<(), Entry<T>> {
        if self.0.capacity() == 0 {
            self.0.reserve_exact(LEAST);
        }
        self.0.push(entry);
        Ok(())
    }

    fn pop(&mut self) {
        self.0.pop();
    }

    fn give_back(&mut self) {
        if self.0.capacity() > 4 * self.0.len() {
            self.0.shrink_to(LEAST.max(2 * self.0.len()));
        }
    }
}
