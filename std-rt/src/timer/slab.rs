//! Where the entries live: one growing array, linked by index, with a free list inside it.

/// The end of a list, and an index that no entry has.
pub(super) const NIL: u32 = u32::MAX;

/// Names one entry of one [`Wheel`](super::Wheel) from its insertion until it fires or is removed.
///
/// A stale id (its entry fired or was removed) is refused for ever: the generation of an index is never used twice,
/// an index whose generations are used up is retired. An id means nothing to another wheel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

/// One timer, or a free place: 24 bytes and the payload, which is the default of its type in a free place. (An `Option`
/// would cost eight bytes more where the type has no niche left, and where there are many timers it is their memory that
/// takes the time.)
pub(super) struct Entry<T> {
    /// The deadline as given, to the nanosecond.
    pub(super) at: u64,
    pub(super) prev: u32,
    /// The next entry of the list, or of the free list.
    pub(super) next: u32,
    generation: u32,
    /// The list that this entry is linked in; meaningless while free.
    pub(super) list: u16,
    pub(super) payload: T,
}

/// The entries. Grows by doubling when no place is free (the one operation that moves entries and allocates), never
/// shrinks.
pub(super) struct Slab<T> {
    entries: Vec<Entry<T>>,
    /// Last freed, first reused: its cache line is the likeliest to be warm.
    free: u32,
    len: usize,
}

impl<T: Default> Slab<T> {
    pub(super) fn new() -> Self {
        Slab { entries: Vec::new(), free: NIL, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn places(&self) -> usize {
        self.entries.len()
    }

    /// Takes a place for an entry that is in no list yet.
    pub(super) fn insert(&mut self, at: u64, payload: T) -> u32 {
        let index = if self.free == NIL { self.grow() } else { self.free };
        let entry = self.entry_mut(index);
        entry.at = at;
        entry.payload = payload;
        self.free = entry.next;
        self.len += 1;
        index
    }

    /// Appends a free place.
    #[cold]
    fn grow(&mut self) -> u32 {
        assert!(self.entries.len() < NIL as usize, "a timer wheel holds at most 2^32 - 1 entries");
        let index = self.entries.len() as u32;
        self.entries.push(Entry {
            at: 0,
            prev: NIL,
            next: NIL,
            generation: 0,
            list: 0,
            payload: T::default(),
        });
        index
    }

    /// Gives the place of an unlinked entry back, and makes every id of it stale.
    pub(super) fn remove(&mut self, index: u32) -> T {
        let free = self.free;
        let entry = self.entry_mut(index);
        let payload = std::mem::take(&mut entry.payload);
        entry.generation += 1;
        if entry.generation < u32::MAX {
            entry.next = free;
            self.free = index;
        }
        self.len -= 1;
        payload
    }

    /// The index of the entry that `id` names, unless the id is stale.
    pub(super) fn find(&self, id: TimerId) -> Option<u32> {
        let entry = self.entries.get(id.index as usize)?;
        // A free place already has the generation of its next entry, which no id carries yet.
        (entry.generation == id.generation).then_some(id.index)
    }

    pub(super) fn id(&self, index: u32) -> TimerId {
        TimerId { index, generation: self.entry(index).generation }
    }

    pub(super) fn payloads_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|entry| &mut entry.payload)
    }

    pub(super) fn entry(&self, index: u32) -> &Entry<T> {
        &self.entries[index as usize]
    }

    pub(super) fn entry_mut(&mut self, index: u32) -> &mut Entry<T> {
        &mut self.entries[index as usize]
    }
}
