//! A timer wheel as pure data: no clock, no lock, no thread, no allocator. Time is an argument, the memory of the entries is a
//! type of the caller's ([`Memory`]), and entries are returned as values.
//!
//! ```
//! use netpoll_core::timer::{Array, Wheel};
//!
//! // Room for eight timers. A wheel may be a static: `new` is a const function.
//! let mut wheel = Wheel::new(0, Array::<_, 8>::new());
//! let id = wheel.insert(1_000_000, "read deadline").expect("there is room");
//! assert!(wheel.edit(id, 5_000_000));
//! // A loop sleeps until then, and pops what is due.
//! assert_eq!(wheel.next(), Some(5_000_000));
//! assert_eq!(wheel.pop(4_999_999), None);
//! assert_eq!(wheel.pop(5_000_000), Some((id, "read deadline")));
//! assert_eq!(wheel.remove(id), None);
//! ```
//!
//! The unit of time is the caller's; the figures below are for nanoseconds. The deadlines of descriptors need one entry for
//! each descriptor, of which [`embedding`](crate::embedding) says when to arm, fire and remove it.
//!
//! # Shape
//!
//! A deadline is 64 bits of nanoseconds, read as eleven digits of six bits. The wheel has a time of its own, the *base*. An
//! entry is on the level of the highest digit in which its deadline differs from the base, in the slot that this digit
//! names:
//!
//! ```text
//! level      0     1      2       3       4       5       6       7       8       9        10
//! slot    1 ns  64 ns  4.1 us  262 us  16.8 ms  1.07 s  68.7 s  73 min  78 h  208 days  36.6 years
//! ```
//!
//! Three properties follow, and the code below rests on them:
//!
//! 1. Slots never wrap. A slot of a level is later than the base's own digit, and every entry of a level is earlier than
//!    every entry of the levels above. So the first slot of the lowest occupied level holds the earliest entry, and two
//!    `trailing_zeros` find it.
//! 2. A slot of level 0 is one nanosecond. Its entries are due together, so there is nothing to sort or to scan. The levels
//!    reach `u64::MAX`, so there is no list of the far future either.
//! 3. The slot of an entry follows from its deadline and the base alone. The base may move up to the first occupied slot
//!    without touching any entry. Only that slot has then to be *opened*: its entries all agree with the base in that digit,
//!    so each of them moves down by at least one level.
//!
//! A deadline at or before the base is in the slot of the base itself, the *due slot* of level 0.
//!
//! Each slot remembers the smallest deadline put into it. The base moves to that value and not to the slot's edge, so an
//! entry that is alone in its slot moves from any level to the due slot in one step.
//!
//! # Cost
//!
//! `insert`, `edit` and `remove` touch one entry, its neighbors and a slot or two, whatever is outstanding. An entry moves
//! only when its slot is opened: at most ten times, since each move lowers its level, and never if it is removed before its
//! slot's time. Those that fire had to move 2.4 times on average with 1,000 timers spread over ten seconds, 3.5 times with
//! 100,000. One `pop` moves at most [`OPEN_AT_ONCE`] entries and opens a larger slot in installments, so a million timers in
//! one slot do not stall a poll. Two operations are not constant: the growth of the memory, where it grows (most of it goes
//! again a few places at a time), and the first due entry after the caller's clock stepped back (see [`Wheel::pop`]).

mod memory;
mod slab;

use core::{fmt, iter};

pub use memory::{Array, Entry, Memory};
pub use slab::TimerId;
use slab::{NIL, Slab};

/// The number of bits of one digit.
const BITS: u32 = 6;
/// The number of slots of one level.
const SLOTS: usize = 1 << BITS;
/// The number of levels that cover 64 bits; the highest uses only sixteen of its slots.
const LEVELS: usize = u64::BITS.div_ceil(BITS) as usize;
/// The number of levels whose slots are no longer than a quarter of a millisecond.
const NEAR_LEVELS: usize = 4;
/// The index of one more list, after all levels, for the entries that a step back of the clock displaces.
const DISPLACED: usize = LEVELS * SLOTS;

/// The number of entries that one [`Wheel::pop`] moves down before it leaves the rest to the next call.
pub const OPEN_AT_ONCE: usize = 256;

/// The entries of one slot: a doubly linked list, oldest first.
#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
    /// The earliest deadline of the list, or an earlier time. Exact until the earliest of several entries is removed, and
    /// again once one is alone; `u64::MAX` when empty.
    min: u64,
}

impl List {
    const EMPTY: List = List { head: NIL, tail: NIL, min: u64::MAX };
}

/// A hierarchical timer wheel with exact deadlines, whose entries are in memory of type `M`.
///
/// Deadlines are ticks (nanoseconds, for example) since an epoch of the caller's; every `u64` is valid. No entry fires before
/// its deadline, none is lost, and entries come out in the order of their deadlines. The order of those inserted after their
/// deadline is unspecified.
///
/// The wheel itself takes 11 KiB, for its 705 lists.
pub struct Wheel<M: Memory> {
    slab: Slab<M>,
    /// The wheel's own time. At most the latest `now` seen; raised only to a deadline that has been reached.
    base: u64,
    /// The list whose entries have still to move down; never an empty one.
    opening: Option<usize>,
    /// Bit n is set if `occupied[n]` is not zero.
    levels: u16,
    /// Bit n of word l is set if list `l * SLOTS + n` is not empty. The last word is for `DISPLACED`.
    occupied: [u64; LEVELS + 1],
    lists: [List; DISPLACED + 1],
}

impl<M: Memory> fmt::Debug for Wheel<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel").field("len", &self.len()).field("next", &self.next()).finish_non_exhaustive()
    }
}

impl<M: Memory> Wheel<M> {
    /// Creates an empty wheel whose time is `now`, and whose entries go into `memory`, which is empty.
    pub const fn new(now: u64, memory: M) -> Self {
        Wheel {
            slab: Slab::new(memory),
            base: now,
            opening: None,
            levels: 0,
            occupied: [0; LEVELS + 1],
            lists: [List::EMPTY; DISPLACED + 1],
        }
    }

    /// Returns the number of outstanding entries, those due and not yet popped included.
    pub fn len(&self) -> usize {
        self.slab.len
    }

    /// Returns whether no entry is outstanding.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of places in the memory, the free ones included.
    pub fn places(&self) -> usize {
        self.slab.places()
    }

    /// Adds an entry that fires at `at`; one in the past is due at once.
    ///
    /// # Errors
    ///
    /// Returns the payload if the memory is full, or if 2^32 - 1 entries are outstanding.
    #[inline]
    pub fn insert(&mut self, at: u64, payload: M::Payload) -> Result<TimerId, M::Payload> {
        let index = self.slab.insert(at, payload)?;
        self.link(index, self.list_of(at));
        Ok(self.slab.id(index))
    }

    /// Moves an entry to `at`, earlier or later. Returns false, and does nothing, if the id is stale.
    ///
    /// Within the same slot (a far deadline that moves a little) this is a store or two.
    pub fn edit(&mut self, id: TimerId, at: u64) -> bool {
        let Some(index) = self.slab.find(id) else { return false };
        let to = self.list_of(at);
        let entry = self.slab.entry_mut(index);
        entry.at = at;
        if usize::from(entry.list) == to {
            let list = &mut self.lists[to];
            list.min = if list.head == list.tail { at } else { list.min.min(at) };
        } else {
            self.unlink(index);
            self.link(index, to);
        }
        true
    }

    /// Removes an entry before it fires and returns its payload; `None` if the id is stale.
    pub fn remove(&mut self, id: TimerId) -> Option<M::Payload> {
        let index = self.slab.find(id)?;
        self.unlink(index);
        Some(self.slab.remove(index))
    }

    /// Removes several entries and appends their payloads to `payloads`; skips stale ids. Where there are many entries it is
    /// cheaper than one at a time, because the processor fetches their cache lines at the same time.
    pub fn remove_each(&mut self, ids: &[TimerId], payloads: &mut impl Extend<M::Payload>) {
        // No step of this count depends on the one before it, so their cache misses overlap.
        let found = ids.iter().filter(|id| self.slab.find(**id).is_some()).count();
        payloads.extend(ids.iter().filter_map(|id| self.remove(*id)).take(found));
    }

    /// Returns the payload of an entry that has not fired; `None` if the id is stale.
    pub fn get(&self, id: TimerId) -> Option<&M::Payload> {
        let index = self.slab.find(id)?;
        Some(&self.slab.entry(index).payload)
    }

    /// Returns the payload as [`get`](Self::get) does, to be changed.
    pub fn get_mut(&mut self, id: TimerId) -> Option<&mut M::Payload> {
        let index = self.slab.find(id)?;
        Some(&mut self.slab.entry_mut(index).payload)
    }

    /// Returns the deadline of an entry that has not fired; `None` if the id is stale.
    pub fn deadline(&self, id: TimerId) -> Option<u64> {
        let index = self.slab.find(id)?;
        Some(self.slab.entry(index).at)
    }

    /// Returns the payloads of all entries, in no order, and the default in each free place.
    pub fn payloads_mut(&mut self) -> impl Iterator<Item = &mut M::Payload> {
        self.slab.payloads_mut()
    }

    /// Returns the time to sleep until: no entry is due before it. `None` if no entry is outstanding. Two loads, no scan.
    ///
    /// It is the earliest deadline itself, with one exception: if the earliest entry of the first occupied slot was removed
    /// or moved away, and at least two others stay in that slot, it is still the deadline of the former entry. A
    /// [`pop`](Self::pop) at that time finds nothing due and opens the slot, which makes the value exact again. Such a wake
    /// moves every entry of the slot down, so no entry causes more than ten of them, however far its deadline is; an entry
    /// that is alone causes none.
    ///
    /// A value that is not after the caller's time requests another `pop` now.
    pub fn next(&self) -> Option<u64> {
        let first = self.lists[self.first()?].min;
        Some(self.opening.map_or(first, |list| first.min(self.lists[list].min)))
    }

    /// Counts the entries that are due by a time, `most` at most. A slot of more than a quarter of a millisecond counts as one
    /// entry, because the times of the others in it are not known.
    pub fn count_due(&self, by: u64, most: usize) -> usize {
        let mut count = 0;
        for level in bits(self.levels.into()) {
            for slot in bits(self.occupied[level]) {
                let list = &self.lists[level * SLOTS + slot];
                if list.min > by || count == most {
                    return count;
                }
                let limit = if level < NEAR_LEVELS { most - count } else { 1 };
                count += self.length(list, limit);
            }
        }
        count
    }

    /// Returns the number of entries of a list, `most` at most.
    fn length(&self, list: &List, most: usize) -> usize {
        let next = |index: &u32| Some(self.slab.entry(*index).next).filter(|&next| next != NIL);
        iter::successors(Some(list.head), next).take(most).count()
    }

    /// Removes and returns the earliest entry whose deadline is at or before `now`.
    ///
    /// `None` means that no entry is due, or that this call has moved [`OPEN_AT_ONCE`] entries and has more to move; in the
    /// second case [`next`](Self::next) is at or before `now`. A caller with a bound calls until it has its number or
    /// `None`; due entries stay due.
    ///
    /// `now` may stand still, jump ahead by any span, or step back: deadlines are compared with the `now` of this call only.
    /// After a step back, the first call that might find an entry due puts the entries of the repeated span back on their
    /// level, once for each step and at a cost of their number.
    pub fn pop(&mut self, now: u64) -> Option<(TimerId, M::Payload)> {
        if let Some(due) = self.due(now) {
            return self.take(due);
        }
        if self.next()? > now {
            return None;
        }
        if now < self.base {
            self.step_back(now);
        }
        let mut budget = OPEN_AT_ONCE;
        while self.open(&mut budget) {
            let list = self.first()?;
            let earliest = self.lists[list].min;
            if earliest > now {
                return None;
            }
            self.base = self.base.max(earliest);
            if list < SLOTS {
                return self.take(self.lists[list].head);
            }
            self.opening = Some(list);
        }
        // An entry that has been moved down so far may be due.
        self.due(now).and_then(|due| self.take(due))
    }

    /// Returns the first entry of the due slot. No other is earlier, so it need not wait for the list that is being opened,
    /// unless that has the entries that a step back has displaced.
    fn due(&self, now: u64) -> Option<u32> {
        let slot = self.base as usize % SLOTS;
        let due = self.occupied[0] >> slot & 1 == 1 && self.base <= now && self.opening != Some(DISPLACED);
        due.then(|| self.lists[slot].head)
    }

    fn take(&mut self, index: u32) -> Option<(TimerId, M::Payload)> {
        let id = self.slab.id(index);
        self.unlink(index);
        Some((id, self.slab.remove(index)))
    }

    /// Moves entries of the list that is being opened to the lists that the base now puts them in; false if some are left.
    fn open(&mut self, budget: &mut usize) -> bool {
        while let Some(list) = self.opening {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            let index = self.lists[list].head;
            self.unlink(index);
            self.link(index, self.list_of(self.slab.entry(index).at));
        }
        true
    }

    /// Lowers the base to `now`, to which the caller's clock has stepped back.
    ///
    /// Let `level` be that of the highest digit in which the two bases differ. Entries there and above differ from either
    /// base in the same digit, so they stay. Those below, and those of the due slot, are displaced.
    fn step_back(&mut self, now: u64) {
        let level = level_of(self.base ^ now).max(1);
        if let Some(list) = self.opening {
            self.displace(list);
        }
        while let Some(list) = self.first().filter(|list| *list < level * SLOTS) {
            self.displace(list);
        }
        self.base = now;
        // Not empty: the caller has found an entry in the due slot, or one that was displaced before.
        self.opening = Some(DISPLACED);
    }

    fn displace(&mut self, list: usize) {
        if list == DISPLACED {
            return;
        }
        while self.lists[list].head != NIL {
            let index = self.lists[list].head;
            self.unlink(index);
            self.link(index, DISPLACED);
        }
    }

    /// Returns the list of a deadline under the current base.
    fn list_of(&self, at: u64) -> usize {
        let key = at.max(self.base);
        let level = level_of(key ^ self.base);
        let digit = (key >> (BITS as usize * level)) as usize % SLOTS;
        level * SLOTS + digit
    }

    /// Returns the first list of the lowest occupied level.
    fn first(&self) -> Option<usize> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        Some(level * SLOTS + self.occupied[level].trailing_zeros() as usize)
    }

    /// Appends an entry that is in no list.
    fn link(&mut self, index: u32, to: usize) {
        let list = &mut self.lists[to];
        let tail = list.tail;
        list.tail = index;
        let entry = self.slab.entry_mut(index);
        list.min = list.min.min(entry.at);
        entry.list = to as u16;
        entry.prev = tail;
        entry.next = NIL;
        if tail == NIL {
            list.head = index;
            self.occupied[to / SLOTS] |= 1 << (to % SLOTS);
            self.levels |= 1 << (to / SLOTS);
        } else {
            self.slab.entry_mut(tail).next = index;
        }
    }

    /// Removes an entry from its list.
    fn unlink(&mut self, index: u32) {
        let entry = self.slab.entry(index);
        let (prev, next, from) = (entry.prev, entry.next, usize::from(entry.list));
        match prev {
            NIL => self.lists[from].head = next,
            _ => self.slab.entry_mut(prev).next = next,
        }
        match next {
            NIL => self.lists[from].tail = prev,
            _ => self.slab.entry_mut(next).prev = prev,
        }
        match (prev, next) {
            (NIL, NIL) => self.mark_empty(from),
            // An entry that is alone now has the list's smallest deadline.
            (NIL, end) | (end, NIL) if self.lists[from].head == self.lists[from].tail => {
                self.lists[from].min = self.slab.entry(end).at;
            }
            _ => {}
        }
    }

    fn mark_empty(&mut self, list: usize) {
        self.lists[list].min = u64::MAX;
        let level = list / SLOTS;
        self.occupied[level] &= !(1 << (list % SLOTS));
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
        if self.opening == Some(list) {
            self.opening = None;
        }
    }
}

/// Returns the places of the bits that are set, in ascending order.
#[inline]
fn bits(word: u64) -> impl Iterator<Item = usize> {
    let rest = |word: &u64| Some(word & word.wrapping_sub(1));
    iter::successors(Some(word), rest)
        .take_while(|&word| word != 0)
        .map(|word| word.trailing_zeros() as usize)
}

/// Returns the level of the highest digit in `difference`; 0 for none.
#[inline]
fn level_of(difference: u64) -> usize {
    ((difference | 1).ilog2() / BITS) as usize
}
