//! A binary semaphore for one direction of a descriptor, and the waker slot that its state word owns.
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
//! | arrow | from → to | meaning | function |
//! |---|---|---|---|
//! | 1, 4 | READY → NIL | the waiter consumes a readiness | [`Sema::take`], [`Sema::arm`], [`Armed::commit`] |
//! | 2 | NIL, READY → READY | an event finds no waiter | [`Sema::unblock`] |
//! | 3 | NIL → WAIT, BUSY | the waiter is about to park | [`Sema::arm`] |
//! | 5 | WAIT → NIL | the waiter gives up; or a close or a deadline, `ready = false` | [`Armed::abort`], [`Sema::unblock`] |
//! | 6 | WAIT → READY | an event comes while the waiter checks again | [`Sema::unblock`] |
//! | 7 | WAIT, BUSY → PARKED | the waiter has left its waker and sleeps | [`Armed::commit`] |
//! | 8 | PARKED → NIL, BUSY | a close, a deadline or the waiter takes the waker out | [`Sema::unblock`], [`Sema::retract`] |
//! | 9 | PARKED → READY, BUSY | an event takes the waker out | [`Sema::unblock`] |
//! | 10 | PARKED → WAIT, BUSY | a second poll, or another task, takes the parking over | [`Sema::arm`] |
//!
//! # BUSY
//!
//! BUSY means that a thread owns the waker slot.
//!
//! **INV-4** The waker slot is touched only by the thread that set BUSY, until it clears BUSY with Release.
//! BUSY is set only where it is not set, with Acquire.
//!
//! It is set by the compare-exchange that arms or that moves the word out of PARKED, and cleared once the
//! slot is ready for the next owner. So each access to the slot has one owner, whatever the callers do. A
//! second task in the same direction is refused and touches nothing.
//!
//! Every other change keeps BUSY, also a change of generation: an owner that stalls, over `free` and the next
//! `alloc`, finds the slot as it left it and then clears its bit.
//!
//! WAIT always has BUSY, PARKED never.
//!
//! # Wakers
//!
//! A waker that is taken out of the slot is returned to the caller, or it is a clone that the same call put
//! in. A parking that was taken over (arrow 10) may be another task's, so its waker is returned however the
//! call ends.
//!
//! `Waker::clone` and `Waker::drop` are foreign code. They run while no reference into the slot exists, and
//! in a state that survives a panic: an [`Armed`] that is dropped during unwinding ends the parking and wakes
//! the task that it displaced.
//!
//! # Named parkings
//!
//! A poll that finds its own task parked has nothing to do. The slot tells nothing without BUSY, so the task leaves its
//! number beside the semaphore, in a [`ParkedTask`], and the word has NAMED. Only [`Sema::arm`] clears that bit, since a word
//! in PARKED is always one that was armed.
//!
//! **INV-15** A number is written by the owner of BUSY, before it moves the word to PARKED and NAMED, with Release. A
//! task reads such a word with Acquire, and then its own number. The number is
//!
//! 1. that of the parking which the word stands for: the task was parked when it read the word, so whatever ends this
//!    parking wakes it, after the beginning of the poll;
//! 2. that of a later parking: impossible, since only the task itself leaves its number, and so had made that parking before
//!    this poll. The word would be older than a change of it that the task has made.
//!
//! So the number may be used only in the task's turn, by the one thread that polls the task then. Another thread that has a clone
//! of its waker parks without it: if its parking failed, a poll that had found the number would wait for nothing.
//!
//! # The generation
//!
//! `fdseq` is in the same word, so the compare-exchange that would wake a task is also the check that the
//! event is for its generation (INV-5). Go checks first and wakes then, and an event can become stale in
//! between.
//!
//! # Only read-modify-writes
//!
//! The word is changed by read-modify-writes, never by a plain store. A load and a store in place of the
//! compare-exchange at the end of a wait would lose a READY that comes between them.

#![expect(unsafe_code, reason = "the waker slot is a cell that the state word owns")]

use core::mem;
use core::task::Waker;

use super::key::FDSEQ_BITS;
use crate::sync::{AtomicUsize, Ordering, RelaxedUsize, UnsafeCell, const_fn};

const STATE: usize = 0b011;
const NIL: usize = 0;
const READY: usize = 1;
const WAIT: usize = 2;
const PARKED: usize = 3;
const BUSY: usize = 0b100;

/// Set in PARKED only: the task has left its number (INV-15).
const NAMED: usize = 0b1000;

/// The semaphore of one direction: Go's `rg` and `wg`.
///
/// # Memory ordering
///
/// [`Sema::unblock`] with `ready` synchronizes with the [`Sema::take`], [`Sema::arm`] or [`Armed::commit`]
/// that consumes the readiness. [`Armed::commit`] synchronizes with the `unblock` that returns the waker. A
/// close or a deadline writes one word and reads another, so it needs more: the fence pair of
/// [`poll::desc`](crate::poll::desc) (INV-3).
///
/// # Layout
///
/// The word comes first: a descriptor has the words of both directions in one cache line.
#[derive(Debug)]
#[repr(C)]
pub struct Sema {
    pub(super) word: AtomicUsize,
    /// The waker of the parked task, owned by the thread that set BUSY (INV-4).
    slot: UnsafeCell<Option<Waker>>,
}

// SAFETY: BUSY gives every access to the slot one owner (INV-4): a compare-exchange sets it in a word without
// it, with Acquire, and its owner clears it with Release, so two owners are ordered. A waker may be sent
// between threads.
unsafe impl Sync for Sema {}

/// The number of the task that was last parked with one, kept beside the semaphore. Tasks that live at the same time have
/// different numbers. A task lives at least as long as its waker is parked.
#[derive(Debug, Default)]
pub struct ParkedTask(RelaxedUsize);

impl ParkedTask {
    const_fn! {
        /// Creates the number of no task: it counts only with a word that has NAMED.
        pub const fn new() -> Self {
            Self(RelaxedUsize::new())
        }
    }
}

/// The outcome of [`Sema::arm`].
#[derive(Debug)]
#[must_use]
pub enum Arm<'a> {
    /// An event came before and has been consumed. The task tries the system call again.
    Ready,
    /// The caller may park: it checks info and the deadline once more, then commits or aborts.
    Armed(Armed<'a>),
    /// Another thread still uses the slot. The task wakes itself and waits again.
    Busy,
    /// Another task is between arm and its end in this direction: the caller broke INV-2.
    Double,
}

/// The right to park: the word has BUSY and is in WAIT, or was until an unblock that commit and abort notice.
///
/// Dropping it aborts, and wakes the task whose parking it had taken over. A leaked one (`mem::forget`) keeps
/// BUSY: no task can park in this direction any more.
#[derive(Debug)]
#[must_use]
pub struct Armed<'a> {
    sema: &'a Sema,
    /// The word in WAIT. Only an unblock can change it, since this value owns BUSY.
    word: usize,
    /// Set if the parking was taken over (arrow 10): the slot holds a waker that may be another task's.
    taken_over: bool,
}

/// The outcome of [`Armed::commit`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Commit {
    /// The waker is in the slot. The next unblock returns it.
    Parked,
    /// An event came in between and has been consumed.
    Ready,
    /// A close or a deadline came in between. The caller checks which.
    Unblocked,
}

/// The outcome of [`Sema::unblock`].
#[derive(Debug)]
#[must_use]
pub enum Unblock {
    /// The event is of another generation. Nothing has changed.
    Stale,
    /// The semaphore had no parked task. A readiness stays for the next waiter.
    Nobody,
    /// The parked task, which the caller wakes once it holds no lock.
    Woke(Waker),
}

/// The waker of a task whose parking another one took over, or none.
///
/// The wait of that task may have ended in between, so it is woken once: when this value is dropped, or by
/// [`Displaced::wake`].
#[derive(Debug)]
#[must_use = "dropping it wakes a task: do that once you hold no lock"]
pub struct Displaced(Option<Waker>);

impl Displaced {
    /// The value that stands for no task.
    pub const NONE: Self = Self(None);

    /// Wakes the task, as dropping this value does.
    #[inline]
    pub fn wake(self) {
        drop(self);
    }

    /// Drops the waker without waking the task. For a task that has polled its own parking again and is
    /// parked again, so that it does not wake itself.
    #[inline]
    pub fn discard(mut self) {
        self.0 = None;
    }

    /// Returns the waker, which the caller wakes.
    #[inline]
    pub fn into_waker(mut self) -> Option<Waker> {
        self.0.take()
    }

    /// Returns whether this stands for no task.
    #[inline]
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl Drop for Displaced {
    #[inline]
    fn drop(&mut self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

impl Default for Sema {
    fn default() -> Self {
        Self::new()
    }
}

impl Sema {
    const SHIFT: u32 = usize::BITS - FDSEQ_BITS;

    const_fn! {
        /// Creates a semaphore in NIL, generation 0.
        pub const fn new() -> Self {
            const { assert!(FDSEQ_BITS + 4 <= usize::BITS, "a generation beside the state bits") };
            Self { word: AtomicUsize::new(NIL), slot: UnsafeCell::new(None) }
        }
    }

    /// Consumes a readiness, if there is one (Go's `netpollblock` on READY, and `pollReset`).
    #[inline]
    pub fn take(&self) -> bool {
        // alone: finding no readiness promises nothing
        let mut old = self.word.load(Ordering::Relaxed);
        while old & STATE == READY {
            // Acquire: the writes of the poller before it unblocked.
            match self.word.compare_exchange(old, old & !STATE, Ordering::Acquire, Ordering::Relaxed) // pair: sema::unblock
            {
                Ok(_) => return true,
                Err(found) => old = found,
            }
        }
        false
    }

    /// Consumes a readiness, or takes the right to park.
    ///
    /// For one task at a time (INV-2). A second one gets [`Arm::Double`] or [`Arm::Busy`].
    #[inline]
    pub fn arm(&self) -> Arm<'_> {
        // alone: a first guess; each branch below is decided by a compare-exchange or promises nothing
        let mut old = self.word.load(Ordering::Relaxed);
        loop {
            match old & STATE {
                READY if self.take() => return Arm::Ready,
                READY => {
                    // Another task has taken it.
                    // alone: a first guess, as above
                    old = self.word.load(Ordering::Relaxed);
                    continue;
                }
                WAIT => return Arm::Double,
                _ if old & BUSY != 0 => return Arm::Busy,
                _ => {} // NIL, PARKED
            }
            let new = old & !(STATE | NAMED) | WAIT | BUSY;
            // Acquire: the slot as its last owner left it.
            match self.word.compare_exchange(old, new, Ordering::Acquire, Ordering::Relaxed) // pair: sema::take_waker, sema::commit_to, sema::end
            {
                Ok(_) => {
                    let taken_over = old & STATE == PARKED;
                    return Arm::Armed(Armed { sema: self, word: new, taken_over });
                }
                Err(found) => old = found,
            }
        }
    }

    /// Ends a wait of generation `fdseq` (Go's `netpollunblock`). With `ready` it leaves a readiness for the
    /// waiter; without it the waiter checks for the reason.
    ///
    /// Neither clones nor drops nor wakes a waker: it returns the one that it takes out, and the caller wakes
    /// that after it has released its own locks.
    ///
    /// # Callers
    ///
    /// Any thread and any interrupt handler may call it, at any time and beside every other function of this
    /// type: the compare-exchange decides between them, and a stale `fdseq` changes nothing.
    ///
    /// | caller | `ready` | it has done before |
    /// |---|---|---|
    /// | the deliverer of an event, by [`PollDesc::ready`](super::desc::PollDesc::ready) | true | received the event from the kernel |
    /// | a close | false | published the closing bit, then the fence of INV-3 |
    /// | a deadline that expires or is set in the past | false | published the expired deadline, then the fence of INV-3 |
    ///
    /// With `ready == false` and nothing published the waiter finds no reason to end and may sleep again.
    #[inline]
    pub fn unblock(&self, fdseq: u32, ready: bool) -> Unblock {
        // alone: a first guess; every change is decided below
        let mut old = self.word.load(Ordering::Relaxed);
        loop {
            if (old >> Self::SHIFT) as u32 != fdseq {
                return Unblock::Stale;
            }
            let state = old & STATE;
            // An event writes READY over READY too. Otherwise a wakeup could be lost: the waiter may be
            // consuming that READY and reading the data that this event stands for at this moment, and both
            // of its reads may return old values.
            if !ready && matches!(state, READY | NIL) {
                return Unblock::Nobody;
            }
            let next = if ready { READY } else { NIL };
            let busy = if state == PARKED { BUSY } else { 0 };
            let new = old & !STATE | next | busy;
            // Release: the writes before the event. Acquire: the waker that the parker wrote.
            match self.word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed) // pair: sema::take, sema::commit_to, sema::end
            {
                Ok(_) if state == PARKED => break,
                Ok(_) => return Unblock::Nobody,
                Err(found) => old = found,
            }
        }
        self.take_waker().map_or(Unblock::Nobody, Unblock::Woke)
    }

    /// Ends a parking from the waiter's side, for example when its future is dropped: takes the waker out, if
    /// no other thread has taken it. A readiness that came meanwhile stays for the next waiter.
    ///
    /// The caller drops the waker if the parking was its own. If another task had taken the parking over, it
    /// wakes the waker.
    #[must_use = "the waker may be another task's: drop your own, wake another's"]
    pub fn retract(&self) -> Option<Waker> {
        // alone: a first guess; the compare-exchange below decides
        let mut old = self.word.load(Ordering::Relaxed);
        while old & STATE == PARKED {
            let new = old & !STATE | BUSY;
            // Acquire: the slot as the parker left it.
            match self.word.compare_exchange(old, new, Ordering::Acquire, Ordering::Relaxed) // pair: sema::commit_to
            {
                Ok(_) => return self.take_waker(),
                Err(found) => old = found,
            }
        }
        None
    }

    /// Moves the word to the next generation, in NIL. The BUSY of a stalled owner of the slot stays.
    ///
    /// Called by `free` only, after it has ended the waits.
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

    /// Returns whether a task is parked. The answer may be out of date already.
    ///
    /// Orders no memory. A task that decides by it, because it shares the parked waker with others, first
    /// registers in the list that this waker wakes: the lock of that list orders both.
    #[inline]
    pub fn is_parked(&self) -> bool {
        // alone: a report, or ordered by the lock of a list
        self.word.load(Ordering::Relaxed) & STATE == PARKED
    }

    /// Returns whether the task of this number is parked, by a parking that has left the number in `parked` (INV-15). A
    /// task that is polled and finds itself parked need not park again. Call it only on the thread that polls the task.
    #[inline]
    pub fn is_parked_as(&self, parked: &ParkedTask, task: usize) -> bool {
        // Acquire: the number that the parked task has left.
        let word = self.word.load(Ordering::Acquire); // pair: sema::commit_to
        word & (STATE | NAMED) == PARKED | NAMED && parked.0.get() == task
    }

    /// Takes the waker out and clears BUSY. The caller has just set BUSY by moving the word out of PARKED.
    #[inline]
    fn take_waker(&self) -> Option<Waker> {
        let waker = self.empty_slot();
        // Release: the slot is empty before another thread can arm.
        self.word.fetch_and(!BUSY, Ordering::Release); // pair: sema::arm
        waker
    }

    /// Takes the waker out. The caller owns BUSY.
    #[inline]
    fn empty_slot(&self) -> Option<Waker> {
        // SAFETY: the caller set BUSY and has not cleared it, so no other thread touches the slot (INV-4). No
        // foreign code runs in the closure, and the pointer does not leave it.
        self.slot.with_mut(|slot| unsafe { (*slot).take() })
    }
}

impl Armed<'_> {
    /// Puts the waker into the slot and parks. The second value is the task whose parking was taken over, if
    /// the slot held a waker of another task, or if this task does not park.
    ///
    /// The caller has checked info and the deadline *after* arming, with a fence in between (INV-3).
    #[inline]
    pub fn commit(self, waker: &Waker) -> (Commit, Displaced) {
        self.commit_to(PARKED, waker)
    }

    /// Parks as [`Armed::commit`] does, and leaves the number of the waker's task in `parked`, for
    /// [`Sema::is_parked_as`].
    #[inline]
    pub fn commit_named(self, waker: &Waker, parked: &ParkedTask, task: usize) -> (Commit, Displaced) {
        parked.0.set(task);
        self.commit_to(PARKED | NAMED, waker)
    }

    #[inline(always)]
    fn commit_to(self, parked: usize, waker: &Waker) -> (Commit, Displaced) {
        let displaced = if self.taken_over { self.replace_waker(waker) } else { self.put_waker(waker) };
        let parked = self.word & !BUSY | parked;
        // Release: the waker is in the slot before another thread can take it, and the number is beside it.
        let committed =
            self.sema.word.compare_exchange(self.word, parked, Ordering::Release, Ordering::Relaxed); // pair: sema::unblock, sema::arm, sema::retract, sema::is_parked_as
        if committed.is_ok() {
            mem::forget(self);
            return (Commit::Parked, displaced);
        }
        let (ready, displaced) = self.unblocked(displaced);
        (if ready { Commit::Ready } else { Commit::Unblocked }, displaced)
    }

    /// Gives up the right to park. A readiness that came meanwhile stays for the next waiter. Returns the
    /// task whose parking was taken over.
    pub fn abort(self) -> Displaced {
        let this = mem::ManuallyDrop::new(self);
        // Nothing has been committed, so a waker is in the slot only if the parking was taken over.
        Displaced(this.end(WAIT).1)
    }

    /// Puts a clone of `waker` into the empty slot.
    #[inline(always)]
    fn put_waker(&self, waker: &Waker) -> Displaced {
        // Foreign code, run without a reference into the slot. If it panics, the drop of `self` gives up the
        // right to park.
        let waker = waker.clone();
        // SAFETY: this value owns BUSY, so no other thread touches the slot (INV-4). No parking was taken
        // over, so the slot is empty and the write drops no waker.
        self.sema.slot.with_mut(|slot| unsafe { slot.write(Some(waker)) });
        Displaced::NONE
    }

    /// Puts a clone of `waker` into the slot, unless the waker there wakes the same task. Returns the task
    /// that it displaced.
    fn replace_waker(&self, waker: &Waker) -> Displaced {
        // SAFETY: this value owns BUSY, so no other thread touches the slot (INV-4). `will_wake` compares two
        // words and runs no foreign code, so the reference is the only one while it exists.
        let keeps =
            |slot: *mut Option<Waker>| unsafe { &*slot }.as_ref().is_some_and(|old| old.will_wake(waker));
        if self.sema.slot.with_mut(keeps) {
            return Displaced::NONE;
        }
        // Foreign code, run without a reference into the slot. If it panics, the drop of `self` ends the
        // parking.
        let waker = waker.clone();
        // SAFETY: this value still owns BUSY (INV-4), and moving a waker runs no foreign code.
        Displaced(self.sema.slot.with_mut(|slot| unsafe { (*slot).replace(waker) }))
    }

    /// Ends a wait whose unblock came before the commit. Consumes a readiness, and returns whether there was
    /// one.
    #[cold]
    fn unblocked(self, displaced: Displaced) -> (bool, Displaced) {
        let this = mem::ManuallyDrop::new(self);
        let (ready, in_slot) = this.end(STATE);
        if displaced.is_none() && this.taken_over {
            // It wakes the same task as this call's waker, and other waits of that task may have ended too.
            return (ready, Displaced(in_slot));
        }
        // The clone that this call put in. If its drop panics, the unwinding wakes the displaced task.
        drop(in_slot);
        (ready, displaced)
    }

    /// Empties the slot, and clears BUSY and the given bits of the state. Returns whether there was a
    /// readiness, and the waker from the slot.
    #[inline]
    fn end(&self, bits: usize) -> (bool, Option<Waker>) {
        let waker = self.sema.empty_slot();
        // Release: the slot is empty before another thread can arm. Acquire: the writes before an event that
        // is consumed.
        let old = self.sema.word.fetch_and(!(BUSY | bits), Ordering::AcqRel); // pair: sema::arm, sema::unblock
        (old & STATE == READY, waker)
    }
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        // The waker's clone panicked, or the caller neither committed nor aborted. No caller is there to
        // return the waker to.
        Displaced(self.end(WAIT).1).wake();
    }
}
