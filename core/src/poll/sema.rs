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
//! | arrow | from → to | what happens | function |
//! |---|---|---|---|
//! | 1, 4 | READY → NIL | the waiter consumes a readiness | [`Sema::take`], [`Sema::arm`], [`Armed::commit`] |
//! | 2 | NIL, READY → READY | an event finds no waiter | [`Sema::unblock`] |
//! | 3 | NIL → WAIT, BUSY | the waiter is about to park | [`Sema::arm`] |
//! | 5 | WAIT → NIL | the waiter gives up; or close or a deadline, `ready = false` | [`Armed::abort`], [`Sema::unblock`] |
//! | 6 | WAIT → READY | an event comes while the waiter looks again | [`Sema::unblock`] |
//! | 7 | WAIT, BUSY → PARKED | the waiter has left its waker and sleeps | [`Armed::commit`] |
//! | 8 | PARKED → NIL, BUSY | close, a deadline or the waiter takes the waker out | [`Sema::unblock`], [`Sema::retract`] |
//! | 9 | PARKED → READY, BUSY | an event takes the waker out | [`Sema::unblock`] |
//! | 10 | PARKED → WAIT, BUSY | a second poll, or another task, takes the parking over | [`Sema::arm`] |
//!
//! # BUSY
//!
//! BUSY means that a thread owns the waker slot (INV-4). It is set by the compare-exchange that arms or that moves the
//! word out of PARKED, only where it was not set, and cleared by the thread that set it, with Release, once the slot is
//! as the next owner may find it. So each access to the slot has one owner, whatever the callers do; a second task in the
//! same direction is told so and touches nothing.
//!
//! BUSY is carried through every other change, a change of generation included: an owner that stalls, over `free` and
//! the next `alloc`, finds the slot as it left it and then clears its bit.
//!
//! WAIT always has BUSY, PARKED never.
//!
//! # Wakers
//!
//! A waker that is taken out of the slot is returned to the caller, or it is a clone that the same call put in. A parking
//! that was taken over (arrow 10) may stand for another task, so its waker is returned however the call ends.
//!
//! `Waker::clone` and `Waker::drop` are foreign code. They run with no reference into the slot, and in a state that
//! survives a panic: an [`Armed`] that is dropped during unwinding ends the parking and wakes the task that it displaced.
//!
//! # The generation
//!
//! `fdseq` stands in the same word, so the compare-exchange that would wake a task is also the check that the
//! event is for its generation (INV-5). Go checks first and wakes then; an event can go stale in between.
//!
//! # Only read-modify-writes
//!
//! The word sees loads and read-modify-writes, never a plain store. A load and a store in place of the exit's
//! compare-exchange would lose a READY that lands between them.

use core::mem;
use core::task::Waker;

use super::key::FDSEQ_BITS;
use super::waiters::Waiters;
use crate::sync::{AtomicUsize, Ordering, UnsafeCell, const_fn};

const STATE: usize = 0b011;
const NIL: usize = 0;
const READY: usize = 1;
const WAIT: usize = 2;
const PARKED: usize = 3;
const BUSY: usize = 0b100;

/// The semaphore of one direction: Go's `rg` and `wg`.
///
/// # Memory ordering
///
/// What happens before [`Sema::unblock`] with `ready` happens before the [`Sema::take`], [`Sema::arm`] or
/// [`Armed::commit`] that consumes the readiness. What a task does before [`Armed::commit`] happens before its
/// waker comes out of `unblock`. Close and deadlines need more, since they write one word and look at another:
/// that is the fence pair of [`poll_desc`](crate::poll::desc) (INV-3).
#[derive(Debug)]
pub struct Sema<const BITS: u32 = FDSEQ_BITS> {
    word: AtomicUsize,
    /// Touched only by the thread that set BUSY, until it clears BUSY (INV-4).
    slot: UnsafeCell<Option<Waker>>,
}

// SAFETY: BUSY gives every access to the slot one owner (INV-4): it is set by a compare-exchange from a word without it,
// with Acquire, and cleared by its owner with Release, so two owners are ordered. A waker may be sent between threads.
unsafe impl<const BITS: u32> Sync for Sema<BITS> {}

/// The outcome of [`Sema::arm`].
#[derive(Debug)]
#[must_use]
pub enum Arm<'a, const BITS: u32> {
    /// An event had come before; it has been consumed. Try the system call again.
    Ready,
    /// Nothing yet: look once more at what would forbid sleeping, then commit or abort.
    Armed(Armed<'a, BITS>),
    /// Another thread is just finishing with the slot. The task wakes itself and comes again.
    Busy,
    /// Another task is between arm and its end in this direction: the caller broke INV-2.
    Double,
}

/// The right to park: the word is in WAIT (or was, until an unblock that the end will notice), with BUSY.
///
/// Dropping it aborts, and wakes the task whose parking it had taken over. One that is leaked (`mem::forget`) keeps BUSY:
/// no task can park in this direction any more.
#[derive(Debug)]
#[must_use]
pub struct Armed<'a, const BITS: u32> {
    sema: &'a Sema<BITS>,
    waiters: &'a Waiters,
    /// The word in WAIT. Only an unblock can change it, since BUSY is ours.
    word: usize,
    /// The parking was taken over (arrow 10): the slot holds a waker that may be another task's.
    taken_over: bool,
    /// This wait is in the count of waiters.
    counted: bool,
}

/// The outcome of [`Armed::commit`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Commit {
    /// The waker is in the slot; the next unblock hands it up.
    Parked,
    /// An event came in between; it has been consumed.
    Ready,
    /// Close or a deadline came in between. The caller looks at what it was.
    Unblocked,
}

/// The outcome of [`Sema::unblock`].
#[derive(Debug)]
#[must_use]
pub enum Unblock {
    /// The event is of another generation; nothing has changed.
    Stale,
    /// No task was parked. A readiness stays for the next waiter.
    Nobody,
    /// This task was parked: to be woken by the caller, once it holds no lock.
    Woke(Waker),
}

/// The waker of a task whose parking another one took over, or none. Its wait may have been ended in between, so it is woken
/// once: when this value is dropped, or by [`Displaced::wake`] once the caller holds no lock.
#[derive(Debug)]
#[must_use = "dropping it wakes a task: do that once you hold no lock"]
pub struct Displaced(Option<Waker>);

impl Displaced {
    /// No task was displaced.
    pub const NONE: Self = Self(None);

    /// Wakes the task; what dropping it does too.
    #[inline]
    pub fn wake(self) {
        drop(self);
    }

    /// Drops the waker without waking: for a task that has polled its own parking again and is parked anew. To wake itself
    /// would only make it come again.
    #[inline]
    pub fn discard(mut self) {
        self.0 = None;
    }

    /// Returns the waker, which is the caller's to wake.
    #[inline]
    pub fn into_waker(mut self) -> Option<Waker> {
        self.0.take()
    }

    /// Returns whether no task was displaced.
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

impl<const BITS: u32> Default for Sema<BITS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BITS: u32> Sema<BITS> {
    const SHIFT: u32 = usize::BITS - BITS;

    const_fn! {
        /// Creates a semaphore in NIL, generation 0. One whose generation has no place in the word does not compile:
        ///
        /// ```compile_fail,E0080
        /// netpoll_core::poll::sema::Sema::<0>::new();
        /// ```
        pub const fn new() -> Self {
            const { assert!(BITS >= 1 && BITS <= 32 && BITS + 3 <= usize::BITS, "a generation beside the state bits") };
            Self { word: AtomicUsize::new(NIL), slot: UnsafeCell::new(None) }
        }
    }

    /// Consumes a readiness, if there is one (Go's `netpollblock` on READY, and `pollReset`).
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
    /// For one task at a time (INV-2); a second one gets [`Arm::Double`] or [`Arm::Busy`].
    #[inline]
    pub fn arm<'a>(&'a self, waiters: &'a Waiters) -> Arm<'a, BITS> {
        // alone: a first guess; each branch below is decided by a compare-exchange or promises nothing
        let mut old = self.word.load(Ordering::Relaxed);
        loop {
            match old & STATE {
                READY if self.take() => return Arm::Ready,
                READY => {
                    // Another task has taken it.
                    // alone: as above
                    old = self.word.load(Ordering::Relaxed);
                    continue;
                }
                WAIT => return Arm::Double,
                _ if old & BUSY != 0 => return Arm::Busy,
                _ => {} // NIL, PARKED
            }
            let new = old & !STATE | WAIT | BUSY;
            // Acquire: the slot as its last owner left it.
            match self.word.compare_exchange(old, new, Ordering::Acquire, Ordering::Relaxed) // pair: sema::take_waker, sema::commit, sema::end
            {
                Ok(_) => {
                    let taken_over = old & STATE == PARKED;
                    let counted = taken_over;
                    return Arm::Armed(Armed { sema: self, waiters, word: new, taken_over, counted });
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
            // An event writes READY over READY too. To look and leave would be a lost wakeup: the waiter may be
            // taking that READY and looking, just now, at what this event stands for, and both looks would be old.
            if !ready && matches!(state, READY | NIL) {
                return Unblock::Nobody;
            }
            let next = if ready { READY } else { NIL };
            let busy = if state == PARKED { BUSY } else { 0 };
            let new = old & !STATE | next | busy;
            // Release: what the event brought. Acquire: the waker that the parker wrote.
            match self.word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed) // pair: sema::take, sema::commit, sema::end
            {
                Ok(_) if state == PARKED => break,
                Ok(_) => return Unblock::Nobody,
                Err(found) => old = found,
            }
        }
        self.take_waker().map_or(Unblock::Nobody, Unblock::Woke)
    }

    /// Ends a parking from the waiter's side, as when its future is dropped: takes the waker out, if no other thread has
    /// taken it, and lowers the count. A readiness that came meanwhile stays for the next waiter.
    ///
    /// The caller drops the waker if the parking was its own; if another task had taken the parking over, it wakes it.
    #[must_use = "the waker may be another task's: drop your own, wake another's"]
    pub fn retract(&self, waiters: &Waiters) -> Option<Waker> {
        // alone: a first guess; the compare-exchange below decides
        let mut old = self.word.load(Ordering::Relaxed);
        while old & STATE == PARKED {
            let new = old & !STATE | BUSY;
            // Acquire: the slot as the parker left it.
            match self.word.compare_exchange(old, new, Ordering::Acquire, Ordering::Relaxed) // pair: sema::commit
            {
                Ok(_) => {
                    let waker = self.take_waker();
                    waiters.sub(1);
                    return waker;
                }
                Err(found) => old = found,
            }
        }
        None
    }

    /// Moves the word to the next generation, NIL. The BUSY of a stalled owner of the slot stays.
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

    /// Returns whether a waker is in the slot, committed. For dumps and tests: the answer is old when it arrives.
    pub fn is_parked(&self) -> bool {
        // alone: a report, not a decision
        self.word.load(Ordering::Relaxed) & STATE == PARKED
    }

    /// Takes the waker out of PARKED; the caller has just set BUSY by moving the word out of it.
    #[inline]
    fn take_waker(&self) -> Option<Waker> {
        let waker = self.empty_slot();
        // Release: the slot is empty before another thread can arm.
        self.word.fetch_and(!BUSY, Ordering::Release); // pair: sema::arm
        waker
    }

    /// The caller holds BUSY.
    #[inline]
    fn empty_slot(&self) -> Option<Waker> {
        // SAFETY: the caller set BUSY and has not cleared it, so no other thread touches the slot (INV-4); no code of a
        // caller runs in here, and the pointer does not leave the closure.
        self.slot.with_mut(|slot| unsafe { (*slot).take() })
    }
}

impl<const BITS: u32> Armed<'_, BITS> {
    /// Leaves the waker in the slot and parks. The second value is the task whose parking was taken over, if the slot held
    /// another waker than this, or if this one does not park.
    ///
    /// The caller has looked at info and the deadline *after* arming, with a fence in between (INV-3).
    #[inline]
    pub fn commit(mut self, waker: &Waker) -> (Commit, Displaced) {
        let displaced = if self.taken_over { self.replace_waker(waker) } else { self.put_waker(waker) };
        let parked = self.word & !BUSY | PARKED;
        // Release: the waker is in the slot before another thread can take it.
        let committed =
            self.sema.word.compare_exchange(self.word, parked, Ordering::Release, Ordering::Relaxed); // pair: sema::unblock, sema::arm, sema::retract
        if committed.is_ok() {
            mem::forget(self);
            return (Commit::Parked, displaced);
        }
        let (ready, displaced) = self.unblocked(displaced);
        (if ready { Commit::Ready } else { Commit::Unblocked }, displaced)
    }

    /// Gives the right to park back. A readiness that came meanwhile stays for the next waiter. The task that is returned is
    /// the one whose parking was taken over.
    pub fn abort(self) -> Displaced {
        let this = mem::ManuallyDrop::new(self);
        // A waker is in the slot only if the parking was taken over: nothing has been committed.
        Displaced(this.end(WAIT).1)
    }

    /// Leaves `waker` in the slot, which is empty, and counts the wait.
    #[inline(always)]
    fn put_waker(&mut self, waker: &Waker) -> Displaced {
        // Foreign code: no reference into the slot is held. If it panics the drop of `self` gives the right to park back.
        let waker = waker.clone();
        // SAFETY: BUSY is ours (INV-4). The slot is empty, as no parking was taken over, so nothing is dropped by writing.
        self.sema.slot.with_mut(|slot| unsafe { slot.write(Some(waker)) });
        self.waiters.add();
        self.counted = true;
        Displaced::NONE
    }

    /// Leaves `waker` in the slot unless one that wakes the same task is there; returns the task that it displaced.
    fn replace_waker(&self, waker: &Waker) -> Displaced {
        // SAFETY: BUSY is ours (INV-4). `will_wake` compares two words and runs no code of a caller.
        let keeps =
            |slot: *mut Option<Waker>| unsafe { &*slot }.as_ref().is_some_and(|old| old.will_wake(waker));
        if self.sema.slot.with_mut(keeps) {
            return Displaced::NONE;
        }
        // Foreign code: no reference into the slot is held. If it panics the drop of `self` ends the parking.
        let waker = waker.clone();
        // SAFETY: BUSY is ours still, and moving a waker runs no code of a caller.
        Displaced(self.sema.slot.with_mut(|slot| unsafe { (*slot).replace(waker) }))
    }

    /// An unblock came before the commit: consumes its readiness, if it was one.
    #[cold]
    fn unblocked(self, displaced: Displaced) -> (bool, Displaced) {
        let this = mem::ManuallyDrop::new(self);
        let (ready, in_slot) = this.end(STATE);
        if displaced.is_none() && this.taken_over {
            // The same waker as ours; it may stand for others, whose waits are ended too.
            return (ready, Displaced(in_slot));
        }
        // Our own clone. If dropping it panics, the displaced task is woken by the unwinding.
        drop(in_slot);
        (ready, displaced)
    }

    /// Takes what is in the slot, clears BUSY and the given bits of the state, lowers the count; true for a readiness.
    #[inline]
    fn end(&self, bits: usize) -> (bool, Option<Waker>) {
        let waker = self.sema.empty_slot();
        // Release: the slot is empty before another thread can arm. Acquire: what an event brought that is consumed.
        let old = self.sema.word.fetch_and(!(BUSY | bits), Ordering::AcqRel); // pair: sema::arm, sema::unblock
        self.waiters.sub(usize::from(self.counted));
        (old & STATE == READY, waker)
    }
}

impl<const BITS: u32> Drop for Armed<'_, BITS> {
    fn drop(&mut self) {
        // A panic of the waker's clone, or a caller that neither commits nor aborts: no thread is there to take the waker.
        Displaced(self.end(WAIT).1).wake();
    }
}
