//! The entries of a wheel: one array, linked by index, with a list of the free places inside it.
//!
//! It grows by doubling when no place is free. Once three quarters of the places are free it shrinks from its end, up to the
//! last entry, by a few places at each removal. The places behind its middle are used last then, so that the last entry is not
//! one that came later.

/// The end of a list; no entry has this index.
pub(super) const NIL: u32 = u32::MAX;

/// The identity of one entry of one [`Wheel`](super::Wheel), from its insertion until it fires or is removed.
///
/// A stale id (its entry fired or was removed) is refused for ever: the generation of an index is never used twice, and an
/// index whose generations are used up is retired. An id has no meaning in another wheel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

/// One timer, or a free place: 24 bytes and the payload, which is the default of its type in a free place. An `Option` would
/// cost eight bytes more where the type has no niche left, and with many timers the time goes into their memory.
pub(super) struct Entry<T> {
    /// The deadline as given, to the nanosecond.
    pub at: u64,
    pub prev: u32,
    /// The next entry of the list, or of the free list.
    pub next: u32,
    generation: u32,
    /// The list that this entry is linked in; [`FREE`] in a free place.
    pub list: u16,
    pub payload: T,
}

/// The entries of a wheel.
pub(super) struct Slab<T> {
    pub entries: Vec<Entry<T>>,
    /// The first and the last free place. The first is the one that was freed last as a rule: its cache line is the likeliest
    /// to be in a cache. Its `prev` is meaningless.
    free: u32,
    last_free: u32,
    pub len: usize,
    /// The generation of a new place: no smaller than that of any place that was removed.
    first_generation: u32,
}

/// The list of an entry in a free place.
const FREE: u16 = u16::MAX;

/// The number of places that a removal takes off the end of the array at most, and that an insertion skips.
const SHRINK_AT_ONCE: usize = 32;

/// The number of places up to which an array does not shrink.
const LEAST_PLACES: usize = 1024;

impl<T: Default> Slab<T> {
    pub fn new() -> Self {
        Slab { entries: Vec::new(), free: NIL, last_free: NIL, len: 0, first_generation: 0 }
    }

    /// Puts an entry, which is in no list yet, into a free place.
    pub fn insert(&mut self, at: u64, payload: T) -> u32 {
        if self.free == NIL {
            self.grow();
        }
        if self.is_sparse() {
            self.skip_places_behind_the_middle();
        }
        let index = self.free;
        self.unlink_free(index);
        let entry = self.entry_mut(index);
        entry.at = at;
        entry.payload = payload;
        self.len += 1;
        index
    }

    /// Appends a free place.
    #[cold]
    fn grow(&mut self) {
        assert!(self.entries.len() < NIL as usize, "a timer wheel holds at most 2^32 - 1 entries");
        let (index, generation) = (self.entries.len() as u32, self.first_generation);
        let (at, payload) = (0, T::default());
        self.entries.push(Entry { at, prev: NIL, next: NIL, generation, list: FREE, payload });
        self.link_free(index);
    }

    /// Frees the place of an unlinked entry, and makes every id of it stale.
    pub fn remove(&mut self, index: u32) -> T {
        let entry = self.entry_mut(index);
        let payload = std::mem::take(&mut entry.payload);
        entry.generation += 1;
        self.len -= 1;
        if self.entry(index).generation < u32::MAX {
            self.link_free(index);
        }
        if self.is_sparse() {
            self.shrink();
        }
        payload
    }

    /// Returns whether the array is to shrink, since few of its places are used.
    fn is_sparse(&self) -> bool {
        self.entries.len() > LEAST_PLACES.max(4 * self.len)
    }

    /// Moves free places that are used last to the end of the list, if they came into it before the array was sparse.
    #[cold]
    fn skip_places_behind_the_middle(&mut self) {
        for _ in 0..SHRINK_AT_ONCE {
            let index = self.free;
            if (index as usize) < self.entries.len() / 2 {
                break;
            }
            self.unlink_free(index);
            self.link_free(index);
        }
    }

    /// Puts a place into the list of the free ones.
    fn link_free(&mut self, index: u32) {
        let (first, last) = (self.free, self.last_free);
        let goes_last = first != NIL && self.is_sparse() && index as usize >= self.entries.len() / 2;
        let entry = self.entry_mut(index);
        entry.list = FREE;
        (entry.prev, entry.next) = if goes_last { (last, NIL) } else { (NIL, first) };
        match (first, goes_last) {
            (NIL, _) => (self.free, self.last_free) = (index, index),
            (_, true) => {
                self.entry_mut(last).next = index;
                self.last_free = index;
            }
            (_, false) => {
                self.entry_mut(first).prev = index;
                self.free = index;
            }
        }
    }

    /// Takes a place out of the list of the free ones. It does not touch the next one if this is the first.
    fn unlink_free(&mut self, index: u32) {
        let Entry { prev, next, .. } = *self.entry(index);
        if index == self.free {
            self.free = next;
            if next == NIL {
                self.last_free = NIL;
            }
            return;
        }
        self.entry_mut(prev).next = next;
        match next {
            NIL => self.last_free = prev,
            _ => self.entry_mut(next).prev = prev,
        }
    }

    /// Removes free places from the end of the array. A place that has used up half of its generations stays, so that new ones
    /// have the other half at least.
    #[cold]
    fn shrink(&mut self) {
        // Without an entry no later removal goes on.
        let most = if self.len == 0 { usize::MAX } else { SHRINK_AT_ONCE };
        for _ in 0..most {
            let last =
                self.entries.last().filter(|last| last.list == FREE && last.generation <= u32::MAX / 2);
            let Some(last) = last.filter(|_| self.entries.len() > LEAST_PLACES.max(2 * self.len)) else {
                break;
            };
            self.first_generation = self.first_generation.max(last.generation);
            self.unlink_free(self.entries.len() as u32 - 1);
            self.entries.pop();
        }
        if self.entries.capacity() > 4 * self.entries.len() {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// Returns the index of the entry that `id` names, unless the id is stale.
    pub fn find(&self, id: TimerId) -> Option<u32> {
        let entry = self.entries.get(id.index as usize)?;
        // A free place already has the generation of its next entry, which no id has yet.
        (entry.generation == id.generation).then_some(id.index)
    }

    pub fn id(&self, index: u32) -> TimerId {
        TimerId { index, generation: self.entry(index).generation }
    }

    pub fn entry(&self, index: u32) -> &Entry<T> {
        &self.entries[index as usize]
    }

    pub fn entry_mut(&mut self, index: u32) -> &mut Entry<T> {
        &mut self.entries[index as usize]
    }
}
