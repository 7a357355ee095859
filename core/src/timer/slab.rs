//! The entries of a wheel: one array, linked by index, with a list of the free places inside it.
//!
//! It grows when no place is free, as far as its memory does. Once three quarters of the places are free it shrinks from its end, up to the
//! last entry, by a few places at each removal. The places behind its middle are used last then, so that the last entry is not
//! one that came later.

use core::mem;

use super::memory::{Entry, Memory};

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

/// The entries of a wheel.
pub(super) struct Slab<M> {
    memory: M,
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

impl<M: Memory> Slab<M> {
    pub const fn new(memory: M) -> Self {
        Slab { memory, free: NIL, last_free: NIL, len: 0, first_generation: 0 }
    }

    /// Puts an entry, which is in no list yet, into a free place. Returns the payload if there is none.
    #[inline]
    pub fn insert(&mut self, at: u64, payload: M::Payload) -> Result<u32, M::Payload> {
        if self.free == NIL && !self.grow() {
            return Err(payload);
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
        Ok(index)
    }

    /// Appends a free place; returns whether the memory had room.
    #[cold]
    fn grow(&mut self) -> bool {
        let (index, generation) = (self.places(), self.first_generation);
        let (at, payload) = (0, M::Payload::default());
        let entry = Entry { at, prev: NIL, next: NIL, generation, list: FREE, payload };
        let grown = index < NIL as usize && self.memory.push(entry).is_ok();
        if grown {
            self.link_free(index as u32);
        }
        grown
    }

    pub fn places(&self) -> usize {
        self.memory.entries().len()
    }

    pub fn payloads_mut(&mut self) -> impl Iterator<Item = &mut M::Payload> {
        self.memory.entries_mut().iter_mut().map(|entry| &mut entry.payload)
    }

    /// Frees the place of an unlinked entry, and makes every id of it stale.
    pub fn remove(&mut self, index: u32) -> M::Payload {
        let entry = self.entry_mut(index);
        let payload = mem::take(&mut entry.payload);
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
        self.places() > LEAST_PLACES.max(4 * self.len)
    }

    /// Moves free places that are used last to the end of the list, if they came into it before the array was sparse.
    #[cold]
    fn skip_places_behind_the_middle(&mut self) {
        for _ in 0..SHRINK_AT_ONCE {
            let index = self.free;
            if (index as usize) < self.places() / 2 {
                break;
            }
            self.unlink_free(index);
            self.link_free(index);
        }
    }

    /// Puts a place into the list of the free ones.
    fn link_free(&mut self, index: u32) {
        let (first, last) = (self.free, self.last_free);
        let goes_last = first != NIL && self.is_sparse() && index as usize >= self.places() / 2;
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
            let (places, last) = (self.places(), self.memory.entries().last());
            let last = last.filter(|last| last.list == FREE && last.generation <= u32::MAX / 2);
            let Some(last) = last.filter(|_| places > LEAST_PLACES.max(2 * self.len)) else {
                break;
            };
            self.first_generation = self.first_generation.max(last.generation);
            self.unlink_free(places as u32 - 1);
            self.memory.pop();
        }
        self.memory.give_back();
    }

    /// Returns the index of the entry that `id` names, unless the id is stale.
    pub fn find(&self, id: TimerId) -> Option<u32> {
        let entry = self.memory.entries().get(id.index as usize)?;
        // A free place already has the generation of its next entry, which no id has yet.
        (entry.generation == id.generation).then_some(id.index)
    }

    pub fn id(&self, index: u32) -> TimerId {
        TimerId { index, generation: self.entry(index).generation }
    }

    pub fn entry(&self, index: u32) -> &Entry<M::Payload> {
        &self.memory.entries()[index as usize]
    }

    pub fn entry_mut(&mut self, index: u32) -> &mut Entry<M::Payload> {
        &mut self.memory.entries_mut()[index as usize]
    }
}
