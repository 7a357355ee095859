//! The heart: a binary semaphore for one direction of a descriptor, and the waker slot that it owns.
//!
//! # States
//!
//! ```text
//!            ┌──────────1───────────┐
//!            │   ┌──────2───────┐   │
//!            ▼   │              ▼   │
//!          ┌───────┐          ┌───────┐
//!    ┌────▶│  NIL  │◀───4─────│ READY │◀────────┐
//!    │     └───────┘          └───────┘         │
//!    │      ▲  │ 3              ▲               │
//!    │    5 │  ▼                │ 6             │
//!    │     ┌───────┐            │               │
//!    │     │ WAIT  │────────────┘               │ 9
//!    8     └───────┘                            │
//!    │      │ 7  ▲ 10                           │
//!    │      ▼    │                              │
//!    │     ┌────────┐                           │
//!    └─────│ PARKED │───────────────────────────┘
//!          └────────┘
//! ```
//!
//! | arrow | from → to | who | function |
//! |---|---|---|---|
//! | 1, 4 | READY → NIL | the waiter consumes a readiness | [`Sema::take`], [`Sema::arm`] |
//! | 2 | NIL, READY → READY | an event, nobody waiting | [`Sema::unblock`] |
//! | 3 | NIL → WAIT | the waiter is about to park | [`Sema::arm`] |
//! | 5 | WAIT → NIL | the waiter gives up; or close or a deadline, `ready = false` | [`Armed::abort`], [`Sema::unblock`] |
//! | 6 | WAIT → READY | an event while the waiter looks again | [`Sema::unblock`] |
//! | 7 | WAIT → PARKED | the waiter has left its waker and sleeps | [`Armed::commit`] |
//! | 8 | PARKED → NIL, BUSY | close or a deadline takes the waker | [`Sema::unblock`] |
//! | 9 | PARKED → READY, BUSY | an event takes the waker | [`Sema::unblock`] |
//! | 10 | PARKED → WAIT | a second poll, or another task, takes the parking over | [`Sema::arm`], [`Sema::retract`] |
//!
//! # BUSY
//!
//! Who moves the word out of PARKED sets BUSY with the same compare-exchange, takes the waker out of the slot, and
//! clears BUSY. While it stands nobody may arm, so nobody writes the slot. It is carried through every other
//! change, a change of generation included: a winner that stalls between its compare-exchange and its take, over
//! `free` and the next owner's `alloc`, finds the slot as it left it and then clears one bit.
//!
//! WAIT with BUSY and PARKED with BUSY do not exist.
//!
//! # The generation
//!
//! `fdseq` stands in the same word, so the compare-exchange that would wake somebody is also the check that the
//! event is his (INV-5). Go checks first and wakes then; an event can go stale in between.
//!
//! # Only read-modify-writes
//!
//! The word sees loads and read-modify-writes, never a plain store. A load and a store in place of the exit's
//! compare-exchange would lose a READY that lands between them.

use core::mem;
use core::task::Waker;

use crate::poll_key::FDSEQ_BITS;
use crate::sync::{AtomicUsize, Ordering, UnsafeCell};
use crate::waiters::Waiters;

const STATE: usize = 0b011;
const NIL: usize = 0;
const READY: usize = 1;
const WAIT: usize = 2;
const PARKED: usize = 3;
const BUSY: usize = 0b100;

/// Go's `rg` and `wg`: the semaphore of one direction.
///
/// # Memory ordering
///
/// What happens before [`Sema::unblock`] with `ready` happens before the [`Sema::take`], [`Sema::arm`] or
/// [`Armed::commit`] that consumes the readiness. What a task does before [`Armed::commit`] happens before its
/// waker comes out of `unblock`. Close and deadlines need more, since they write one word and look at another:
/// that is the fence pair of [`poll_desc`](crate::poll_desc) (INV-3).
#[derive(Debug)]
pub struct Sema<const BITS: u32 = FDSEQ_BITS> {
    word: AtomicUsize,
    /// Touched by the task between arm and its end (INV-2), and by whoever set BUSY; by nobody else (INV-4).
    slot: UnsafeCell<Option<Waker>>,
}

// SAFETY: INV-4 gives every access to the slot an exclusive owner, and a waker may be sent between threads.
unsafe impl<const BITS: u32> Sync for Sema<BITS> {}

/// What [`Sema::arm`] found.
#[derive(Debug)]
#[must_use]
pub enum Arm<'a, const BITS: u32> {
    /// An event had come before; it has been consumed. Try the system call again.
    Ready,
    /// Nothing yet: look once more at what would forbid sleeping, then commit or abort.
    Armed(Armed<'a, BITS>),
    /// A waker of an earlier parking is just being taken out. The task wakes itself and comes again.
    Busy,
    /// Another task is between arm and its end in this direction: the caller broke INV-2.
    Double,
}

/// The right to park: the word is in WAIT (or was, until an unblock that the end will notice).
///
/// Dropping it is [`Armed::abort`].
#[derive(Debug)]
#[must_use]
pub struct Armed<'a, const BITS: u32> {
    sema: &'a Sema<BITS>,
    waiters: &'a Waiters,
    /// The word in WAIT. Only an unblock can change it now: nobody may arm (INV-2), and BUSY is not there to be cleared.
    word: usize,
    /// The parking was taken over (arrow 10), so it is in the count of waiters already.
    counted: bool,
}

/// How [`Armed::commit`] ended.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Commit {
    /// The waker is in the slot; whoever unblocks hands it up.
    Parked,
    /// An event came in between; it has been consumed.
    Ready,
    /// Close or a deadline came in between. The caller looks at what it was.
    Unblocked,
}

/// What [`Sema::unblock`] did.
#[derive(Debug)]
#[must_use]
pub enum Unblock {
    /// The event is of another generation; nothing has changed.
    Stale,
    /// Nobody was parked. A readiness stays for the next waiter.
    Nobody,
    /// This task was parked: to be woken by the caller, once it holds no lock.
    Woke(Waker),
}

impl<const BITS: u32> Default for Sema<BITS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BITS: u32> Sema<BITS> {
    const SHIFT: u32 = usize::BITS - BITS;

    /// NIL, generation 0, nobody parked.
    pub fn new() -> Self {
        Self { word: AtomicUsize::new(NIL), slot: UnsafeCell::new(None) }
    }

    /// Consumes a readiness, if there is one (Go's `netpollblock` on READY, and `pollReset`).
    ///
    /// Called only by the task that may arm in this direction (INV-2).
    #[inline]
    pub fn take(&self) -> bool {
        // alone: finding no readiness promises nothing
        let mut old = self.word.load(Ordering::Relaxed);
        while old & STATE == READY {
            // Acquire: what the poller saw before it unblocked.
            match self.word.compare_exchange(old, old & !STATE, Ordering::Acquire, Ordering::Relaxed) // pair: sema::unblock
            {
                Ok(_) => return true,
                Err(found) => old = found,
            }
        }
        false
    }

    /// Consumes a readiness, or takes the right to park. `waiters` is the count that a parking goes into.
    ///
    /// Called only by the task that may arm in this direction (INV-2); between two tasks that follow each other
    /// the direction's lock orders memory.
    #[inline]
    pub fn arm<'a>(&'a self, waiters: &'a Waiters) -> Arm<'a, BITS> {
        // alone: a first guess; each branch below is decided by a compare-exchange or promises nothing
        let mut old = self.word.load(Ordering::Relaxed);
        loop {
            match old & STATE {
                READY => {
                    self.take();
                    return Arm::Ready;
                }
                WAIT => return Arm::Double,
                _ if old & BUSY != 0 => return Arm::Busy,
                _ => {} // NIL, PARKED
            }
            let new = old & !STATE | WAIT;
            // Acquire: the slot as the last winner or the last parker left it.
            match self.word.compare_exchange(old, new, Ordering::Acquire, Ordering::Relaxed) // pair: sema::unblock, sema::commit
            {
                Ok(_) => {
                    let counted = old & STATE == PARKED;
                    return Arm::Armed(Armed { sema: self, waiters, word: new, counted });
                }
                Err(found) => old = found,
            }
        }
    }

    /// Ends a wait for generation `fdseq` (Go's `netpollunblock`): with `ready` a readiness is left for the waiter,
    /// without it the waiter must look at why.
    ///
    /// Never clones, drops or wakes a waker: the one that it takes out goes up. May run in an interrupt handler.
    #[inline]
    pub fn unblock(&self, fdseq: u32, ready: bool) -> Unblock {
        // alone: a first guess; every change is decided below
        let mut old = self.word.load(Ordering::Relaxed);
        loop {
            if (old >> Self::SHIFT) as u32 != fdseq {
                return Unblock::Stale;
            }
            let state = old & STATE;
            // An event writes READY over READY all the same. To look and leave would be a lost wakeup: the waiter may be
            // taking that READY and looking, just now, at what this event stands for, and both looks would be old.
            if !ready && matches!(state, READY | NIL) {
                return Unblock::Nobody;
            }
            let next = if ready { READY } else { NIL };
            let busy = if state == PARKED { BUSY } else { 0 };
            let new = old & !STATE | next | busy;
            // Release: what the event brought. Acquire: the waker that the parker wrote.
            match self.word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed) // pair: sema::take, sema::commit
            {
                Ok(_) if state == PARKED => break,
                Ok(_) => return Unblock::Nobody,
                Err(found) => old = found,
            }
        }
        let waker = self.empty_slot();
        // Release: the slot is empty before anybody can arm again.
        self.word.fetch_and(!BUSY, Ordering::Release); // pair: sema::arm
        waker.map_or(Unblock::Nobody, Unblock::Woke)
    }

    /// A future that had parked is dropped: takes its waker back, if nobody has it yet. A readiness that came
    /// meanwhile stays for the next waiter.
    pub fn retract(&self, waiters: &Waiters) {
        // alone: a first guess; the compare-exchange below decides
        let mut old = self.word.load(Ordering::Relaxed);
        while old & STATE == PARKED {
            let new = old & !STATE | WAIT;
            // Acquire: the slot as the parker left it.
            match self.word.compare_exchange(old, new, Ordering::Acquire, Ordering::Relaxed) // pair: sema::commit
            {
                Ok(_) => return Armed { sema: self, waiters, word: new, counted: true }.abort(),
                Err(found) => old = found,
            }
        }
    }

    /// Moves the word to the next generation, NIL. A BUSY of a stalled winner stays.
    ///
    /// Called by `free` only, after `evict`, when no task can name the descriptor.
    pub(crate) fn advance(&self, fdseq: u32) {
        // alone: a first guess; the compare-exchange below decides
        let mut old = self.word.load(Ordering::Relaxed);
        loop {
            debug_assert!(
                matches!(old & STATE, NIL | READY),
                "a descriptor is freed while a task waits on it"
            );
            let new = (fdseq as usize) << Self::SHIFT | old & BUSY;
            // alone: the push to the free list publishes it; a stale event's compare-exchange sees it in any case
            match self.word.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(found) => old = found,
            }
        }
    }

    /// True while a waker is in the slot, committed. For dumps and tests: the answer is old when it arrives.
    pub fn is_parked(&self) -> bool {
        // alone: a report, not a decision
        self.word.load(Ordering::Relaxed) & STATE == PARKED
    }

    /// The caller holds the slot: it is between arm and its end, or it set BUSY (INV-4).
    #[inline]
    fn empty_slot(&self) -> Option<Waker> {
        // SAFETY: INV-4, see above; the pointer is the cell's own and does not leave the closure.
        self.slot.with_mut(|slot| unsafe { (*slot).take() })
    }

    /// Leaves `waker` in the slot unless one that wakes the same task is there; hands back what it displaced.
    #[inline]
    fn fill_slot(&self, waker: &Waker) -> Option<Waker> {
        self.slot.with_mut(|slot| {
            // SAFETY: INV-4, the caller is between arm and its end; the pointer is the cell's own.
            let slot = unsafe { &mut *slot };
            match slot {
                Some(old) if old.will_wake(waker) => None,
                _ => slot.replace(waker.clone()),
            }
        })
    }
}

impl<const BITS: u32> Armed<'_, BITS> {
    /// Leaves the waker in the slot and parks. The second value is another task's waker whose parking was taken
    /// over: to be woken once, so that it comes again.
    ///
    /// The caller has looked at info and the deadline *after* arming, with a fence in between (INV-3).
    #[inline]
    pub fn commit(mut self, waker: &Waker) -> (Commit, Option<Waker>) {
        let displaced = self.sema.fill_slot(waker);
        if !mem::replace(&mut self.counted, true) {
            self.waiters.add();
        }
        let parked = self.word | PARKED;
        // Release: the waker is in the slot before anybody can take it.
        let committed =
            self.sema.word.compare_exchange(self.word, parked, Ordering::Release, Ordering::Relaxed); // pair: sema::unblock, sema::arm, sema::retract
        if committed.is_ok() {
            mem::forget(self);
            return (Commit::Parked, displaced);
        }
        let sema = self.sema;
        drop(self);
        (if sema.take() { Commit::Ready } else { Commit::Unblocked }, displaced)
    }

    /// Gives the right to park back. A readiness that came meanwhile stays for the next waiter.
    pub fn abort(self) {
        drop(self);
    }
}

impl<const BITS: u32> Drop for Armed<'_, BITS> {
    fn drop(&mut self) {
        // The waker is the task's own, and this is the task's own context: it may be dropped here.
        drop(self.sema.empty_slot());
        // Relaxed: the next task in this direction comes after us by the direction's lock (INV-2).
        // alone: if it fails, an unblock was first, and left what it had to leave
        let _ = self.sema.word.compare_exchange(
            self.word,
            self.word & !STATE,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        self.waiters.sub(usize::from(self.counted));
    }
}
