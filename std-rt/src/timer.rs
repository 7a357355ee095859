//! The timer wheel as pure data: no clock, no lock, no thread. Time comes in as an argument, entries go out as values.
//!
//! # Shape
//!
//! A deadline is 64 bits of nanoseconds, read as eleven digits of six bits. The wheel has a time of its own, the
//! *floor*; an entry stands on the level of the highest digit in which its deadline differs from the floor, in the
//! slot that this digit names:
//!
//! ```text
//! level      0     1      2       3       4       5       6       7       8       9        10
//! slot    1 ns  64 ns  4.1 us  262 us  16.8 ms  1.07 s  68.7 s  73 min  78 h  208 days  36.6 years
//! ```
//!
//! Three things follow, and everything below rests on them:
//!
//! 1. Slots never wrap. A slot of a level is later than the floor's own digit, and every entry of a level is earlier
//!    than every entry of the levels above. So the first slot of the lowest occupied level holds the earliest entry:
//!    two `trailing_zeros` find it.
//! 2. A slot of level 0 is one nanosecond. Its entries are due together, there is nothing to sort or to scan, and the
//!    levels reach `u64::MAX`, so there is no list of the far future either.
//! 3. The place of an entry follows from its deadline and the floor alone. The floor may move up to the first occupied
//!    slot without touching any entry; only that slot has then to be *opened*: its entries all agree with the floor
//!    in that digit, so each of them moves down, by at least one level.
//!
//! A deadline at or before the floor stands with the floor itself, in the *due slot* of level 0.
//!
//! Each slot remembers the smallest deadline put into it. The floor moves to that value, not to the slot's edge, so an
//! entry that is alone in its slot goes from any level to the due slot in one step.
//!
//! # Cost
//!
//! `insert`, `edit` and `remove` touch one entry, its neighbours and a slot or two, whatever is outstanding.
//! An entry moves only when its slot is opened: at most ten times, since each move lowers its level, and never if it
//! is removed before its slot's time. Those that fire had to move 2.4 times on average with 1,000 timers spread over
//! ten seconds, 3.5 times with 100,000.
//! One `pop` moves at most [`OPEN_AT_ONCE`] entries and opens a larger slot in instalments: a million timers in one
//! slot do not stall one turn.
//! What is not constant: growth of the array (doubling, amortised), and the first due entry after the caller's clock
//! stepped back (see [`Wheel::pop`]).

mod slab;

pub use slab::TimerId;
use slab::{NIL, Slab};

/// Bits of one digit.
const BITS: u32 = 6;
/// Slots of one level.
const SLOTS: usize = 1 << BITS;
/// Levels that cover 64 bits; the highest uses only sixteen of its slots.
const LEVELS: usize = u64::BITS.div_ceil(BITS) as usize;
/// Levels that reach a quarter of a millisecond ahead of the floor.
const NEAR_LEVELS: usize = 3;
/// One list more, behind all levels: what a clock that stepped back has displaced.
const DISPLACED: usize = LEVELS * SLOTS;

/// How many entries one [`Wheel::pop`] moves down before it leaves the rest to the next call.
pub const OPEN_AT_ONCE: usize = 256;

/// One slot: a doubly linked list, oldest first.
#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
    /// No entry of the list is earlier. Exact until the earliest of several is removed, and again once one is alone;
    /// `u64::MAX` when empty.
    min: u64,
}

impl List {
    const EMPTY: List = List { head: NIL, tail: NIL, min: u64::MAX };
}

/// A hierarchical timer wheel with deadlines exact to the nanosecond.
///
/// Deadlines are nanoseconds since an epoch of the caller's; all of `u64` is legal. No entry fires before its
/// deadline, none is lost, and entries come out in the order of their deadlines; among those inserted after their
/// deadline had passed no order is promised.
///
/// The payload has a default that costs nothing: what stands in a free place.
///
/// ```
/// # use netpoll_rt::timer::Wheel;
/// let mut wheel = Wheel::new(0);
/// let id = wheel.insert(1_000_000, "read deadline");
/// assert!(wheel.edit(id, 5_000_000));
/// assert_eq!(wheel.next(), Some(5_000_000));
/// assert_eq!(wheel.pop(4_999_999), None);
/// assert_eq!(wheel.pop(5_000_000), Some((id, "read deadline")));
/// assert_eq!(wheel.remove(id), None);
/// ```
pub struct Wheel<T> {
    slab: Slab<T>,
    /// The wheel's own time. At most the latest `now` seen; raised only to a deadline that came up.
    floor: u64,
    /// The list whose entries have still to move down; never an empty one.
    opening: Option<usize>,
    /// Bit n: `occupied[n]` is not zero.
    levels: u16,
    /// Bit n of level l: list `l * SLOTS + n` is not empty. The last word is for `DISPLACED`.
    occupied: [u64; LEVELS + 1],
    lists: Box<[List]>,
}

impl<T: Default> std::fmt::Debug for Wheel<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wheel").field("len", &self.len()).field("next", &self.next()).finish_non_exhaustive()
    }
}

impl<T: Default> Wheel<T> {
    /// An empty wheel whose time is `now`. Allocates its 705 lists (11 KiB); the entries' array comes with the first.
    pub fn new(now: u64) -> Self {
        Wheel {
            slab: Slab::new(),
            floor: now,
            opening: None,
            levels: 0,
            occupied: [0; LEVELS + 1],
            lists: vec![List::EMPTY; DISPLACED + 1].into_boxed_slice(),
        }
    }

    /// How many entries are outstanding, those due and not yet popped included.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether no entry is outstanding.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries the array has places for: the most that were ever outstanding together.
    pub fn places(&self) -> usize {
        self.slab.places()
    }

    /// Adds an entry that fires at `at`, in nanoseconds; one in the past is due at once.
    ///
    /// # Panics
    ///
    /// With 2^32 - 1 entries outstanding.
    pub fn insert(&mut self, at: u64, payload: T) -> TimerId {
        let index = self.slab.insert(at, payload);
        self.link(index, self.place(at));
        self.slab.id(index)
    }

    /// Moves an entry to `at`, earlier or later; false, and nothing done, if the id is stale.
    ///
    /// Within the same slot (a far deadline that is pushed a little further) this is a store or two.
    pub fn edit(&mut self, id: TimerId, at: u64) -> bool {
        let Some(index) = self.slab.find(id) else { return false };
        let place = self.place(at);
        let entry = self.slab.entry_mut(index);
        entry.at = at;
        if usize::from(entry.list) == place {
            let list = &mut self.lists[place];
            list.min = if list.head == list.tail { at } else { list.min.min(at) };
        } else {
            self.unlink(index);
            self.link(index, place);
        }
        true
    }

    /// Takes an entry out before it fires and gives its payload back; `None` if the id is stale.
    pub fn remove(&mut self, id: TimerId) -> Option<T> {
        let index = self.slab.find(id)?;
        self.unlink(index);
        Some(self.slab.remove(index))
    }

    /// Takes several entries out, and appends their payloads to `payloads`; ids that are stale are passed over. Cheaper
    /// than one at a time where the entries are many: their cache lines come at once, and not one after the other.
    pub fn remove_each(&mut self, ids: &[TimerId], payloads: &mut Vec<T>) {
        // No step of this walk waits for the one before it.
        let found = ids.iter().filter(|id| self.slab.find(**id).is_some()).count();
        payloads.reserve(found);
        for id in ids {
            payloads.extend(self.remove(*id));
        }
    }

    /// The payload of an entry that has not fired; `None` if the id is stale.
    pub fn get(&self, id: TimerId) -> Option<&T> {
        let index = self.slab.find(id)?;
        Some(&self.slab.entry(index).payload)
    }

    /// As [`get`](Self::get), to be changed.
    pub fn get_mut(&mut self, id: TimerId) -> Option<&mut T> {
        let index = self.slab.find(id)?;
        Some(&mut self.slab.entry_mut(index).payload)
    }

    /// The deadline of an entry that has not fired; `None` if the id is stale.
    pub fn deadline(&self, id: TimerId) -> Option<u64> {
        let index = self.slab.find(id)?;
        Some(self.slab.entry(index).at)
    }

    /// The payloads of all entries, in no order, and the default in each free place.
    pub fn payloads_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slab.payloads_mut()
    }

    /// The time to sleep until: nothing is due before it. `None` when nothing is outstanding. Two loads; scans nothing.
    ///
    /// It is the earliest deadline itself, with one exception: when the earliest entry of the first occupied slot was
    /// removed or moved away and at least two others stay in that slot, it is still the deadline of that former
    /// entry. A [`pop`](Self::pop) at that time finds nothing due and opens the slot, which makes the value exact
    /// again. Such a wake moves every entry of the slot down, so no entry causes more than ten of them, however far
    /// its deadline is; an entry that is alone causes none.
    ///
    /// A value that is not after the caller's time asks for another `pop` now.
    pub fn next(&self) -> Option<u64> {
        let first = self.lists[self.first()?].min;
        Some(self.opening.map_or(first, |list| first.min(self.lists[list].min)))
    }

    /// Whether something else stands close to the earliest entry: in its slot, or in the lower levels, within a quarter of
    /// a millisecond.
    pub fn has_neighbors(&self) -> bool {
        let Some(first) = self.first() else { return false };
        let List { head, tail, .. } = self.lists[first];
        let near: u32 = self.occupied[..NEAR_LEVELS].iter().map(|slots| slots.count_ones()).sum();
        head != tail || near > 1
    }

    /// Hands out the earliest entry whose deadline is at or before `now`, in nanoseconds.
    ///
    /// `None` means that nothing is due, or that this call has moved [`OPEN_AT_ONCE`] entries and has more to move:
    /// [`next`](Self::next) tells the two apart, it is then at or before `now`. A caller with a bound on its turn
    /// calls until it has its number or `None`; what is due stays due.
    ///
    /// `now` may stand still, jump ahead by any span, or step back: deadlines are compared with the `now` of this call
    /// only. After a step back the first call that might have something due puts the entries of the span that is
    /// lived again back on their level, once for each step and at a cost of their number.
    pub fn pop(&mut self, now: u64) -> Option<(TimerId, T)> {
        if let Some(due) = self.due(now) {
            return self.take(due);
        }
        if self.next()? > now {
            return None;
        }
        if now < self.floor {
            self.step_back(now);
        }
        let mut budget = OPEN_AT_ONCE;
        while self.open(&mut budget) {
            let list = self.first()?;
            let earliest = self.lists[list].min;
            if earliest > now {
                return None;
            }
            self.floor = self.floor.max(earliest);
            if list < SLOTS {
                return self.take(self.lists[list].head);
            }
            self.opening = Some(list);
        }
        // What has been moved down so far may be due.
        self.due(now).and_then(|due| self.take(due))
    }

    /// The first entry of the due slot. No other is earlier, so it need not wait for the list that is being opened; only
    /// what a step back has displaced comes first.
    fn due(&self, now: u64) -> Option<u32> {
        let slot = self.floor as usize % SLOTS;
        let due = self.occupied[0] >> slot & 1 == 1 && self.floor <= now && self.opening != Some(DISPLACED);
        due.then(|| self.lists[slot].head)
    }

    fn take(&mut self, index: u32) -> Option<(TimerId, T)> {
        let id = self.slab.id(index);
        self.unlink(index);
        Some((id, self.slab.remove(index)))
    }

    /// Moves entries of the list being opened to where the floor now puts them; false if some are left.
    fn open(&mut self, budget: &mut usize) -> bool {
        while let Some(list) = self.opening {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            let index = self.lists[list].head;
            self.unlink(index);
            self.link(index, self.place(self.slab.entry(index).at));
        }
        true
    }

    /// Lowers the floor to `now`, where the caller's clock has gone back to.
    ///
    /// Let `level` be that of the highest digit in which the two floors differ. Entries there and above differ from
    /// either floor in the same digit: they stay. Those below, and those of the due slot, are displaced.
    fn step_back(&mut self, now: u64) {
        let level = level_of(self.floor ^ now).max(1);
        if let Some(list) = self.opening {
            self.displace(list);
        }
        while let Some(list) = self.first().filter(|list| *list < level * SLOTS) {
            self.displace(list);
        }
        self.floor = now;
        // Not empty: only the due slot, or what was displaced before, gives a reason to come here.
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

    /// The list in which a deadline stands under the present floor.
    fn place(&self, at: u64) -> usize {
        let key = at.max(self.floor);
        let level = level_of(key ^ self.floor);
        let digit = (key >> (BITS as usize * level)) as usize % SLOTS;
        level * SLOTS + digit
    }

    /// The first list of the lowest occupied level.
    fn first(&self) -> Option<usize> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        Some(level * SLOTS + self.occupied[level].trailing_zeros() as usize)
    }

    /// Appends an entry that is in no list.
    fn link(&mut self, index: u32, place: usize) {
        let list = &mut self.lists[place];
        let tail = list.tail;
        list.tail = index;
        let entry = self.slab.entry_mut(index);
        list.min = list.min.min(entry.at);
        entry.list = place as u16;
        entry.prev = tail;
        entry.next = NIL;
        if tail == NIL {
            list.head = index;
            self.occupied[place / SLOTS] |= 1 << (place % SLOTS);
            self.levels |= 1 << (place / SLOTS);
        } else {
            self.slab.entry_mut(tail).next = index;
        }
    }

    /// Takes an entry out of its list.
    fn unlink(&mut self, index: u32) {
        let entry = self.slab.entry(index);
        let (prev, next, place) = (entry.prev, entry.next, usize::from(entry.list));
        match prev {
            NIL => self.lists[place].head = next,
            _ => self.slab.entry_mut(prev).next = next,
        }
        match next {
            NIL => self.lists[place].tail = prev,
            _ => self.slab.entry_mut(next).prev = prev,
        }
        match (prev, next) {
            (NIL, NIL) => self.emptied(place),
            (NIL, one) | (one, NIL) => self.left(place, one),
            _ => {}
        }
    }

    /// An end of the list has gone, and its neighbour is the end now. If it is alone, its deadline is the list's.
    fn left(&mut self, place: usize, end: u32) {
        let list = &mut self.lists[place];
        if list.head == list.tail {
            list.min = self.slab.entry(end).at;
        }
    }

    fn emptied(&mut self, place: usize) {
        self.lists[place].min = u64::MAX;
        let level = place / SLOTS;
        self.occupied[level] &= !(1 << (place % SLOTS));
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
        if self.opening == Some(place) {
            self.opening = None;
        }
    }
}

/// The level of the highest digit in `difference`; 0 for none.
fn level_of(difference: u64) -> usize {
    ((difference | 1).ilog2() / BITS) as usize
}
