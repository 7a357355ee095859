//! The references and locks of a descriptor's number, and its close: Go's `fdMutex`, in one state word and
//! one list.
//!
//! | bits | meaning |
//! |---|---|
//! | 0 | `CLOSED`: no new reference, no new lock |
//! | 1 | `ABANDONED`: locks at rest do not count any more |
//! | 2, 3 | the read lock, the write lock |
//! | 4, 5 | `HAS_WAITERS` of the read lock, of the write lock |
//! | 6.. | references: each lock holder, each operation without a lock, the closer |
//!
//! **INV-7** A descriptor's number is used only under a reference of this word, and closed only by the thread
//! that makes the word final: exactly one thread, never during a call on the number.
//!
//! # The list of waiters
//!
//! A task that finds a lock held waits in the [`WaitList`]. This crate has no lock and no allocator, so the
//! caller supplies both: a mutex around the list, and the container ([`WaiterMap`]). `&mut WaitList` proves
//! that the caller holds the mutex. `HAS_WAITERS` changes only with the list, under the mutex: it is set if
//! and only if a task waits. A call without the list is one compare-exchange; it returns `Contended` if it
//! needs the list.
//!
//! Unlike Go's, an unlock with waiting tasks hands the lock over: the bit of the lock stays set and the lock
//! is *granted* to the first task in the list, so tasks are served in order. Per direction, with `H` for
//! `HAS_WAITERS`:
//!
//! | lock, `H`, granted | task comes | unlock | granted task comes | waiter gives up | granted task gives up | close |
//! |---|---|---|---|---|---|---|
//! | free, -, - | locked | - | - | - | - | closed |
//! | held, -, - | `H`, it waits | free | - | - | - | closed |
//! | held, `H`, - | it waits | granted to the first; `H` stays if others wait | - | `H` stays if others wait | - | closed, all waiters are woken |
//! | held, -, granted | `H`, it waits | - | no grant, it goes on | - | free | closed, the grant stays |
//! | held, `H`, granted | it waits | - | no grant, it goes on | `H` stays if others wait | granted to the next | closed, all waiters are woken, the grant stays |
//!
//! Each step in a row with `H` or a grant, and each step that leads to one, holds the list's mutex.
//!
//! A task that keeps no state between two polls cannot be granted a lock, because it may never be polled
//! again. It registers for a notification instead ([`FdMutex::lock_or_notify`]). All such tasks of a
//! direction share one waker, which counts as a waiter. If no other task waits, the unlock makes the lock
//! free and returns that waker.
//!
//! # Locks at rest
//!
//! A lock comes with a reference. An operation that waits keeps its lock, but gives the reference back at the
//! end of each poll ([`FdMutex::decref`]), since it does not use the number until the next poll. The lock is
//! *at rest* then, and so is a granted lock. Before the operation goes on it takes a reference again
//! ([`FdMutex::incref`]).
//!
//! A word is final if it is `CLOSED`, has no reference, and has no lock or is `ABANDONED`:
//!
//! | closed word with | waits for | made final by |
//! |---|---|---|
//! | references | the calls in progress | the last [`FdMutex::decref`] or [`FdMutex::unlock`] |
//! | locks at rest | the next poll or the drop of their operations | the last [`FdMutex::unlock_at_rest`] |
//! | locks at rest, after the closer has waited for a turn | nothing | [`FdMutex::abandon`], or the last reference after it |
//!
//! # Memory ordering
//!
//! A lock synchronizes with the last unlock of that direction. The last [`FdMutex::decref`] or unlock
//! synchronizes with those of every other reference.

use core::fmt::Debug;
use core::mem;
use core::num::NonZeroU64;

use super::key::Mode;
use crate::sync::{AtomicUsize, Ordering, const_fn};

const CLOSED: usize = 1;
const ABANDONED: usize = 1 << 1;
const BOTH_HAVE_WAITERS: usize = 0b11 << 4;
const REF: usize = 1 << 6;
/// The limit of references: 20 bits as in Go, or as many as a smaller word has left.
const MAX_REFS: usize = 0x000F_FFFF_u32 as usize & (usize::MAX / REF);

/// The result of [`FdMutex::lock`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Lock {
    /// The caller holds the lock and a reference.
    Locked,
    /// Another task holds the lock: see [`FdMutex::lock_or_wait`] and [`FdMutex::lock_or_notify`].
    Contended,
    /// The descriptor is closed.
    Closed,
}

/// The result of [`FdMutex::unlock`] and [`FdMutex::unlock_at_rest`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Unlock {
    /// The lock is free.
    Free,
    /// Tasks wait, and nothing has changed: see [`FdMutex::hand_over`] and [`FdMutex::hand_over_at_rest`].
    Contended,
    /// The caller made the word of a closed descriptor final: it closes the number.
    Last,
}

/// The result of [`FdMutex::lock_or_wait`] and [`FdMutex::lock_or_notify`].
#[derive(Debug)]
#[must_use]
pub enum LockOrWait<W, T> {
    /// The caller holds the lock and a reference. It drops the waker outside the list's mutex.
    Locked(W),
    /// The task waits, and its waker will be returned once. `T` is its identity, or the waker that another
    /// task had registered.
    Waits(T),
    /// The descriptor is closed. The waker is treated as for `Locked`.
    Closed(W),
}

/// The result of [`FdMutex::hand_over`], on which the caller acts after it has released the list's mutex.
#[derive(Debug)]
#[must_use]
pub enum HandOver<W> {
    /// The lock is granted to this task, which the caller wakes.
    Granted(W, WaiterId),
    /// The lock is free. The caller wakes the tasks that registered for a notification.
    Notify(W),
    /// The lock is free, because the tasks that waited have left meanwhile.
    Free,
    /// The caller made the word of a closed descriptor final: it closes the number.
    Last,
}

/// The result of [`FdMutex::cancel`].
#[derive(Debug)]
#[must_use]
pub enum Cancel<W> {
    /// The task does not wait any more. The caller drops its waker outside the list's mutex.
    Removed(W),
    /// The task had been granted the lock, which was handed on.
    HandedOn(HandOver<W>),
    /// The task neither waits nor is granted the lock: it has taken the lock, was removed, or the descriptor
    /// was closed.
    Gone,
}

/// The result of [`WaitList::poll`].
#[derive(Debug)]
#[must_use]
pub enum Waiting<'l, W> {
    /// The task holds the lock, at rest. It takes a reference before it goes on.
    Granted,
    /// The task still waits. The caller may replace the waker, and drops the old one outside the list's
    /// mutex.
    Waits(&'l mut W),
    /// The task does not wait any more: the descriptor was closed, or another thread has removed it.
    Gone,
}

/// The result of [`FdMutex::incref_and_close`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Close {
    /// The word is closed, and the caller holds a reference.
    Closed {
        /// Threads other than the closer hold references or a lock, and may make the word final in place of
        /// the closer.
        in_use: bool,
    },
    /// Tasks wait, and nothing has changed: see [`FdMutex::close_and_evict`].
    Contended,
    /// The word was closed already.
    Already,
}

/// The wakers of the tasks that [`FdMutex::close_and_evict`] has removed, as an iterator. The caller wakes
/// them outside the list's mutex.
#[derive(Debug)]
#[must_use]
pub struct Evicted<M: WaiterMap> {
    waiting: [M; 2],
    notify: [Option<M::Waker>; 2],
}

impl<M: WaiterMap> Iterator for Evicted<M> {
    type Item = M::Waker;

    fn next(&mut self) -> Option<M::Waker> {
        let waiting = self.waiting.iter_mut().find_map(M::pop_first).map(|(_, waker)| waker);
        waiting.or_else(|| self.notify.iter_mut().find_map(Option::take))
    }
}

/// The identity of a waiting task, unique in its list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct WaiterId(NonZeroU64);

/// The container for the tasks that wait for one lock, sorted by their identities; `BTreeMap` has all of
/// these methods.
pub trait WaiterMap: Default + Debug {
    /// The waker of a task. This module neither wakes nor clones nor drops one.
    type Waker: Debug;

    /// Adds a task. Its identity is greater than that of every task before.
    fn push_last(&mut self, id: WaiterId, waker: Self::Waker);

    /// Removes the task that came first.
    fn pop_first(&mut self) -> Option<(WaiterId, Self::Waker)>;

    /// Removes a task.
    fn remove(&mut self, id: WaiterId) -> Option<Self::Waker>;

    /// Returns the waker of a task.
    fn get_mut(&mut self, id: WaiterId) -> Option<&mut Self::Waker>;

    /// Returns the wakers of all tasks.
    fn iter_mut(&mut self) -> impl Iterator<Item = (WaiterId, &mut Self::Waker)>;

    /// Returns true if no task waits.
    fn is_empty(&self) -> bool;
}

/// The tasks that wait for the two locks of one [`FdMutex`]. Its owner keeps it under a mutex.
#[derive(Debug)]
pub struct WaitList<M: WaiterMap> {
    sides: [Side<M>; 2],
    next: WaiterId,
}

/// The tasks that wait for one lock.
#[derive(Debug)]
struct Side<M: WaiterMap> {
    waiting: M,
    /// The shared waker of the tasks that registered for a notification.
    notify: Option<M::Waker>,
    /// The task that owns the lock, and has not taken a reference yet.
    granted: Option<WaiterId>,
}

impl<M: WaiterMap> Side<M> {
    fn has_waiters(&self) -> bool {
        !self.waiting.is_empty() || self.notify.is_some()
    }
}

impl<M: WaiterMap> Default for WaitList<M> {
    fn default() -> Self {
        let side = || Side { waiting: M::default(), notify: None, granted: None };
        Self { sides: [side(), side()], next: WaiterId(NonZeroU64::MIN) }
    }
}

impl<M: WaiterMap> WaitList<M> {
    /// Returns the state of a waiting task. Called at each of its polls.
    pub fn poll(&mut self, mode: Mode, id: WaiterId) -> Waiting<'_, M::Waker> {
        let side = &mut self.sides[mode as usize];
        if side.granted == Some(id) {
            side.granted = None;
            return Waiting::Granted;
        }
        side.waiting.get_mut(id).map_or(Waiting::Gone, Waiting::Waits)
    }

    /// Returns the waker of each task that waits, except those that registered for a notification.
    pub fn iter_mut(&mut self, mode: Mode) -> impl Iterator<Item = (WaiterId, &mut M::Waker)> {
        self.sides[mode as usize].waiting.iter_mut()
    }

    /// Returns true while tasks are registered for a notification.
    pub fn has_notify(&self, mode: Mode) -> bool {
        self.sides[mode as usize].notify.is_some()
    }

    fn push_last(&mut self, mode: Mode, waker: M::Waker) -> WaiterId {
        let id = self.next;
        // A list does not see 2^64 tasks.
        self.next = WaiterId(id.0.saturating_add(1));
        self.sides[mode as usize].waiting.push_last(id, waker);
        id
    }
}

/// The state word of a descriptor's number.
#[derive(Debug, Default)]
pub struct FdMutex {
    word: AtomicUsize,
}

#[inline(always)]
fn lock_bit(mode: Mode) -> usize {
    1 << (2 + mode as usize)
}

#[inline(always)]
fn has_waiters(mode: Mode) -> usize {
    1 << (4 + mode as usize)
}

impl FdMutex {
    const_fn! {
        /// Creates a word that is open and unlocked, without a reference.
        pub const fn new() -> Self {
            Self { word: AtomicUsize::new(0) }
        }
    }

    /// Takes a reference. Returns false if the descriptor is closed.
    ///
    /// # Panics
    ///
    /// Panics at 1,048,575 references at a time (1,023 where a word has 16 bits).
    #[inline]
    pub fn incref(&self) -> bool {
        self.update(|word| (word & CLOSED == 0).then(|| plus_ref(word))).is_ok()
    }

    /// Gives a reference back. Returns whether that made the word of a closed descriptor final; the caller
    /// closes the number then.
    ///
    /// # Panics
    ///
    /// Panics without a reference to give back.
    #[inline]
    pub fn decref(&self) -> bool {
        let Ok(old) = self.update(|word| (word >= REF).then(|| word - REF)) else {
            panic!("FdMutex: decref without a reference");
        };
        is_final(old - REF)
    }

    /// Takes the lock of a direction with a reference, if it is free.
    ///
    /// # Panics
    ///
    /// Panics as [`FdMutex::incref`] does.
    #[inline]
    pub fn lock(&self, mode: Mode) -> Lock {
        let is_free = |word| word & (CLOSED | lock_bit(mode)) == 0;
        match self.update(|word| is_free(word).then(|| plus_ref(word) | lock_bit(mode))) {
            Ok(_) => Lock::Locked,
            Err(word) if word & CLOSED == 0 => Lock::Contended,
            Err(_) => Lock::Closed,
        }
    }

    /// Takes the lock of a direction with a reference, or adds the task to the list.
    ///
    /// # Panics
    ///
    /// Panics as [`FdMutex::incref`] does.
    pub fn lock_or_wait<M: WaiterMap>(
        &self,
        mode: Mode,
        list: &mut WaitList<M>,
        waker: M::Waker,
    ) -> LockOrWait<M::Waker, WaiterId> {
        match self.lock_or_mark(mode) {
            Lock::Locked => LockOrWait::Locked(waker),
            Lock::Contended => LockOrWait::Waits(list.push_last(mode, waker)),
            Lock::Closed => LockOrWait::Closed(waker),
        }
    }

    /// Takes the lock of a direction with a reference, or registers for a notification when it is free.
    /// `waker` wakes all tasks that do so.
    ///
    /// # Panics
    ///
    /// Panics as [`FdMutex::incref`] does.
    pub fn lock_or_notify<M: WaiterMap>(
        &self,
        mode: Mode,
        list: &mut WaitList<M>,
        waker: M::Waker,
    ) -> LockOrWait<M::Waker, Option<M::Waker>> {
        match self.lock_or_mark(mode) {
            Lock::Locked => LockOrWait::Locked(waker),
            Lock::Contended => LockOrWait::Waits(list.sides[mode as usize].notify.replace(waker)),
            Lock::Closed => LockOrWait::Closed(waker),
        }
    }

    /// Takes the lock, or sets `HAS_WAITERS` for a task that the caller adds to the list.
    fn lock_or_mark(&self, mode: Mode) -> Lock {
        let next = |word: usize| match word & lock_bit(mode) {
            0 => plus_ref(word) | lock_bit(mode),
            _ => word | has_waiters(mode),
        };
        match self.update(|word| (word & CLOSED == 0).then(|| next(word))) {
            Ok(old) if old & lock_bit(mode) == 0 => Lock::Locked,
            Ok(_) => Lock::Contended,
            Err(_) => Lock::Closed,
        }
    }

    /// Gives a lock back with its reference, unless tasks wait for it.
    ///
    /// # Panics
    ///
    /// Panics if the lock is not held, or is at rest and no other reference is taken.
    #[inline]
    pub fn unlock(&self, mode: Mode) -> Unlock {
        self.release(mode, REF)
    }

    /// Gives back the lock at rest of an operation that ends, unless tasks wait for it. The descriptor and
    /// its number may be closed.
    ///
    /// # Panics
    ///
    /// Panics if the lock is not held.
    pub fn unlock_at_rest(&self, mode: Mode) -> Unlock {
        self.release(mode, 0)
    }

    /// Gives a lock back with its reference after [`FdMutex::unlock`] has returned `Contended`: grants it to
    /// the next task in the list.
    ///
    /// # Panics
    ///
    /// Panics as [`FdMutex::unlock`] does.
    pub fn hand_over<M: WaiterMap>(&self, mode: Mode, list: &mut WaitList<M>) -> HandOver<M::Waker> {
        self.pass_on(mode, list, REF)
    }

    /// Hands a lock at rest over after [`FdMutex::unlock_at_rest`], as [`FdMutex::hand_over`] does.
    ///
    /// # Panics
    ///
    /// Panics as [`FdMutex::unlock_at_rest`] does.
    pub fn hand_over_at_rest<M: WaiterMap>(&self, mode: Mode, list: &mut WaitList<M>) -> HandOver<M::Waker> {
        self.pass_on(mode, list, 0)
    }

    /// Removes a task that gives up, or that cannot be woken. If the lock is granted to it, the lock is
    /// handed on.
    pub fn cancel<M: WaiterMap>(&self, mode: Mode, list: &mut WaitList<M>, id: WaiterId) -> Cancel<M::Waker> {
        let side = &mut list.sides[mode as usize];
        if side.granted == Some(id) {
            return Cancel::HandedOn(self.pass_on(mode, list, 0));
        }
        let Some(waker) = side.waiting.remove(id) else { return Cancel::Gone };
        if !side.has_waiters() {
            let _ = self.update(|word| Some(word & !has_waiters(mode)));
        }
        Cancel::Removed(waker)
    }

    /// Closes the word and takes a reference, unless tasks wait.
    ///
    /// # Panics
    ///
    /// Panics as [`FdMutex::incref`] does.
    pub fn incref_and_close(&self) -> Close {
        let may_close = |word| word & (CLOSED | BOTH_HAVE_WAITERS) == 0;
        match self.update(|word| may_close(word).then(|| plus_ref(word) | CLOSED)) {
            Ok(old) => Close::Closed { in_use: is_in_use(old) },
            Err(word) if word & CLOSED == 0 => Close::Contended,
            Err(_) => Close::Already,
        }
    }

    /// Closes the word, takes a reference and removes all waiting tasks. Returns `None` if it was closed
    /// already, otherwise whether the word is in use, as [`Close::Closed`] does, and the wakers. A task that
    /// was granted a lock keeps it, and finds the descriptor closed.
    ///
    /// # Panics
    ///
    /// Panics as [`FdMutex::incref`] does.
    pub fn close_and_evict<M: WaiterMap>(&self, list: &mut WaitList<M>) -> Option<(bool, Evicted<M>)> {
        let next = |word| plus_ref(word & !BOTH_HAVE_WAITERS) | CLOSED;
        let old = self.update(|word| (word & CLOSED == 0).then(|| next(word))).ok()?;
        let [read, write] = &mut list.sides;
        let waiting = [mem::take(&mut read.waiting), mem::take(&mut write.waiting)];
        let notify = [read.notify.take(), write.notify.take()];
        Some((is_in_use(old), Evicted { waiting, notify }))
    }

    /// Ends the closer's wait for locks at rest. Returns whether that made the word final; the caller closes
    /// the number then.
    ///
    /// # Panics
    ///
    /// Panics if the descriptor is open.
    pub fn abandon(&self) -> bool {
        match self.update(|word| (word & CLOSED != 0).then_some(word | ABANDONED)) {
            Ok(old) => becomes_final(old, old | ABANDONED),
            Err(_) => panic!("FdMutex: an open descriptor is abandoned"),
        }
    }

    /// Returns whether the descriptor is closed.
    ///
    /// # Memory ordering
    ///
    /// Acquires the writes of the closer before its close.
    pub fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0 // pair: fd_mutex::update
    }

    /// Makes a lock free, unless tasks wait for it, and gives `refs` back.
    #[inline(always)]
    fn release(&self, mode: Mode, refs: usize) -> Unlock {
        let less = refs + lock_bit(mode);
        let is_uncontended = |word: usize| word & has_waiters(mode) == 0;
        match self.update(|word| (is_held(word, mode, refs) && is_uncontended(word)).then(|| word - less)) {
            Ok(old) if becomes_final(old, old - less) => Unlock::Last,
            Ok(_) => Unlock::Free,
            Err(word) if is_held(word, mode, refs) => Unlock::Contended,
            Err(_) => not_held(mode),
        }
    }

    /// Grants a lock to the next task in the list, or makes it free if there is none, and gives `refs` back.
    fn pass_on<M: WaiterMap>(&self, mode: Mode, list: &mut WaitList<M>, refs: usize) -> HandOver<M::Waker> {
        // Before the list is changed: a caller without the lock panics, and no task that waits is lost.
        if !self.update(|_| None).is_err_and(|word| is_held(word, mode, refs)) {
            not_held(mode);
        }
        let side = &mut list.sides[mode as usize];
        let next = side.waiting.pop_first();
        let notify = if next.is_none() { side.notify.take() } else { None };
        side.granted = next.as_ref().map(|(id, _)| *id);
        let mut less = if next.is_none() { lock_bit(mode) } else { 0 };
        if !side.has_waiters() {
            less |= has_waiters(mode);
        }
        let after = |word: usize| (word & !less) - refs;
        let Ok(old) = self.update(|word| is_held(word, mode, refs).then(|| after(word))) else {
            not_held(mode);
        };
        match (next, notify) {
            (Some((id, waker)), _) => HandOver::Granted(waker, id),
            (None, Some(waker)) => HandOver::Notify(waker),
            (None, None) if becomes_final(old, after(old)) => HandOver::Last,
            (None, None) => HandOver::Free,
        }
    }

    /// Changes the word by `next`. Returns the previous word, as an error if `next` refuses it.
    #[inline]
    fn update(&self, next: impl Fn(usize) -> Option<usize>) -> Result<usize, usize> {
        // alone: a first guess; the compare-exchange decides
        let mut old = self.word.load(Ordering::Relaxed);
        while let Some(new) = next(old) {
            // AcqRel: every change acquires the ones before it and releases to those after it, so the last
            // one sees all.
            match self.word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed) // pair: fd_mutex::update, fd_mutex::is_closed
            {
                Ok(_) => return Ok(old),
                Err(found) => old = found,
            }
        }
        Err(old)
    }
}

/// Raises the count of references by one.
#[inline(always)]
fn plus_ref(word: usize) -> usize {
    if word / REF == MAX_REFS {
        too_many();
    }
    word + REF
}

#[cold]
fn too_many() -> ! {
    panic!("FdMutex: too many concurrent operations on one descriptor (limit {MAX_REFS})")
}

#[cold]
fn not_held(mode: Mode) -> ! {
    panic!("FdMutex: unlock of a {mode:?} lock that is not held")
}

/// Returns whether a lock is held, with at least `refs` references.
#[inline(always)]
fn is_held(word: usize, mode: Mode, refs: usize) -> bool {
    word & lock_bit(mode) != 0 && word / REF >= refs / REF
}

/// Returns whether threads hold references or a lock.
fn is_in_use(word: usize) -> bool {
    word >= REF || word & (lock_bit(Mode::Read) | lock_bit(Mode::Write)) != 0
}

/// Returns whether a word is closed with nothing left to wait for.
#[inline(always)]
fn is_final(word: usize) -> bool {
    word & CLOSED != 0 && is_closed_final(word)
}

/// Returns whether a closed word has nothing left to wait for. Out of line, because most descriptors are
/// open.
#[cold]
fn is_closed_final(word: usize) -> bool {
    let locks = lock_bit(Mode::Read) | lock_bit(Mode::Write);
    word < REF && (word & ABANDONED != 0 || word & locks == 0)
}

#[inline(always)]
fn becomes_final(old: usize, new: usize) -> bool {
    is_final(new) && !is_final(old)
}
