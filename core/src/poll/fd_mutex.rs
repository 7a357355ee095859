//! References and locks of a descriptor's number, and when it is closed: Go's `fdMutex`, in one 64-bit state word.
//!
//! | bits | meaning |
//! |---|---|
//! | 0 | `CLOSED`: no new reference, no new lock |
//! | 1, 2 | the read lock, the write lock |
//! | 3..23 | references: each lock holder, each operation without a lock, the closer |
//! | 23..43 | tasks queued for the read lock |
//! | 43..63 | tasks queued for the write lock |
//! | 63 | `ABANDONED`: locks at rest do not count any more |
//!
//! Forbidden: `CLOSED` with queued tasks; `ABANDONED` without `CLOSED`. The number is closed by the thread that makes the word
//! final: exactly one thread, never while a call on the number is in flight (INV-7).
//!
//! # Locks at rest
//!
//! A lock comes with a reference. An operation that waits keeps its lock, which is its place, but gives the reference back
//! at the end of each poll ([`FdMutex::decref`]): it uses nothing until the next one. The lock is *at rest* then. Before
//! the operation goes on it takes a reference again ([`FdMutex::incref`]).
//!
//! A word is final if it is `CLOSED`, has no reference, and has no lock or is `ABANDONED`:
//!
//! | a closed word, and | waits for | made final by |
//! |---|---|---|
//! | references | the calls that run | the last [`FdMutex::decref`] or [`FdMutex::unlock`] |
//! | locks at rest | that their operations are polled or dropped | the last [`FdMutex::leave_at_rest`] |
//! | the same, and the closer has waited for a turn | nothing | [`FdMutex::abandon`], or the last reference after it |
//!
//! Unlike Go's, an unlock with tasks queued hands the lock over: the bit and the reference stay and become the
//! next task's, so tasks are served in order and none barges in. The queue of wakers is kept above; the word only
//! says how many there are.
//!
//! # Memory ordering
//!
//! A lock acquires what the last unlock of that direction released; the last [`FdMutex::decref`] or unlock acquires
//! what every other reference released.

use super::key::Mode;
use crate::sync::{AtomicU64, Ordering};

const CLOSED: u64 = 1;
const ABANDONED: u64 = 1 << 63;
const REF: u64 = 1 << 3;
const COUNT: u64 = (1 << 20) - 1;

/// The result of [`FdMutex::lock`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Lock {
    /// The caller holds the lock and a reference.
    Locked,
    /// Another task holds it; the caller is counted, and must queue its waker.
    Queued,
    /// The descriptor is closed.
    Closed,
}

/// The result of [`FdMutex::unlock`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Unlock {
    /// No task was queued: the lock is free.
    Free,
    /// The lock and the reference are the next queued task's: wake it.
    HandedOver,
    /// The caller made the word of a closed descriptor final: it closes the number.
    Last,
}

/// The queued tasks that [`FdMutex::incref_and_close`] has thrown out: wake so many of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Evicted {
    /// Tasks that waited for the read lock.
    pub readers: usize,
    /// Tasks that waited for the write lock.
    pub writers: usize,
    /// Threads other than the closer hold references or a lock, and may make the word final in place of the closer.
    pub in_use: bool,
}

/// The state word of a descriptor's number.
#[derive(Debug)]
pub struct FdMutex {
    word: AtomicU64,
}

impl Default for FdMutex {
    fn default() -> Self {
        Self::new()
    }
}

#[inline(always)]
fn bit(mode: Mode) -> u64 {
    match mode {
        Mode::Read => 1 << 1,
        Mode::Write => 1 << 2,
    }
}

/// One queued task.
#[inline(always)]
fn queued(mode: Mode) -> u64 {
    match mode {
        Mode::Read => 1 << 23,
        Mode::Write => 1 << 43,
    }
}

/// The value of the 20-bit count whose lowest bit is `one`.
#[inline(always)]
fn count(word: u64, one: u64) -> u64 {
    (word / one) & COUNT
}

impl FdMutex {
    /// Creates a word that is open and unlocked, without a reference.
    pub fn new() -> Self {
        Self { word: AtomicU64::new(0) }
    }

    /// Takes a reference; false if the descriptor is closed.
    ///
    /// # Panics
    ///
    /// At 1,048,575 references at a time.
    #[inline]
    pub fn incref(&self) -> bool {
        self.update(|word| (word & CLOSED == 0).then(|| plus(word, REF))).is_ok()
    }

    /// Closes the word, takes a reference and throws all queued tasks out; none if it is closed already.
    ///
    /// # Panics
    ///
    /// At 1,048,575 references at a time.
    pub fn incref_and_close(&self) -> Option<Evicted> {
        let both = (queued(Mode::Read) | queued(Mode::Write)) * COUNT;
        let old = self.update(|word| (word & CLOSED == 0).then(|| plus(word & !both, REF) | CLOSED)).ok()?;
        Some(Evicted {
            readers: count(old, queued(Mode::Read)) as usize,
            writers: count(old, queued(Mode::Write)) as usize,
            in_use: count(old, REF) > 0 || old & (bit(Mode::Read) | bit(Mode::Write)) != 0,
        })
    }

    /// Gives a reference back. Returns whether that made the word of a closed descriptor final: then the caller closes the
    /// number.
    ///
    /// # Panics
    ///
    /// Without a reference to give back.
    #[inline]
    pub fn decref(&self) -> bool {
        let Ok(old) = self.update(|word| (count(word, REF) > 0).then(|| word - REF)) else {
            panic!("FdMutex: decref without a reference");
        };
        is_final(old - REF)
    }

    /// Takes the lock of a direction with a reference, or counts the caller as queued.
    ///
    /// # Panics
    ///
    /// At 1,048,575 references, or as many tasks queued, at a time.
    #[inline]
    pub fn lock(&self, mode: Mode) -> Lock {
        let next = |word: u64| {
            (word & CLOSED == 0).then(|| match word & bit(mode) {
                0 => plus(word, REF) | bit(mode),
                _ => plus(word, queued(mode)),
            })
        };
        match self.update(next) {
            Err(_) => Lock::Closed,
            Ok(old) if old & bit(mode) == 0 => Lock::Locked,
            Ok(_) => Lock::Queued,
        }
    }

    /// Gives a lock back with its reference, or hands both over to the next queued task.
    ///
    /// # Panics
    ///
    /// If the lock is not held, or is at rest and no other reference is taken: its own must be taken first.
    #[inline]
    pub fn unlock(&self, mode: Mode) -> Unlock {
        let is_queued = |word: u64| word & (COUNT * queued(mode)) != 0;
        let next = |word: u64| {
            let less = if is_queued(word) { queued(mode) } else { REF + bit(mode) };
            (word & bit(mode) != 0 && word & (COUNT * REF) != 0).then(|| word - less)
        };
        let Ok(old) = self.update(next) else {
            not_held(mode);
        };
        if is_queued(old) {
            Unlock::HandedOver
        } else if is_final(old - REF - bit(mode)) {
            Unlock::Last
        } else {
            Unlock::Free
        }
    }

    /// Gives back a lock at rest, after [`FdMutex::incref`] was refused to its operation; true if that made the word final:
    /// the caller closes the number.
    ///
    /// # Panics
    ///
    /// If the descriptor is open.
    pub fn leave_at_rest(&self, mode: Mode) -> bool {
        match self.update(|word| (word & CLOSED != 0).then_some(word & !bit(mode))) {
            Ok(old) => becomes_final(old, old & !bit(mode)),
            Err(_) => panic!("FdMutex: a lock at rest is left on an open descriptor"),
        }
    }

    /// The closer waits for locks at rest no longer; true if that made the word final: the caller closes the number.
    ///
    /// # Panics
    ///
    /// If the descriptor is open.
    pub fn abandon(&self) -> bool {
        match self.update(|word| (word & CLOSED != 0).then_some(word | ABANDONED)) {
            Ok(old) => becomes_final(old, old | ABANDONED),
            Err(_) => panic!("FdMutex: an open descriptor is abandoned"),
        }
    }

    /// A queued task gives up. False if it is not counted any more: the lock is on its way to it, or the
    /// descriptor was closed.
    pub fn leave(&self, mode: Mode) -> bool {
        self.update(|word| (count(word, queued(mode)) > 0).then(|| word - queued(mode))).is_ok()
    }

    /// Returns whether [`FdMutex::incref_and_close`] has been called.
    ///
    /// # Memory ordering
    ///
    /// Acquires what the closer did before.
    pub fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0 // pair: fd_mutex::update
    }

    /// Moves the word by `next` until it succeeds or refuses; gives the word as it was before.
    #[inline]
    fn update(&self, next: impl Fn(u64) -> Option<u64>) -> Result<u64, u64> {
        // alone: a first guess; the compare-exchange decides
        let mut old = self.word.load(Ordering::Relaxed);
        while let Some(new) = next(old) {
            // AcqRel: every change both takes over and passes on; the last one has seen all others.
            match self.word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed) // pair: fd_mutex::update, fd_mutex::is_closed
            {
                Ok(_) => return Ok(old),
                Err(found) => old = found,
            }
        }
        Err(old)
    }
}

/// Raises a count by one; its neighbours' bits stay as they are.
#[inline(always)]
fn plus(word: u64, one: u64) -> u64 {
    if word & (COUNT * one) == COUNT * one {
        too_many();
    }
    word + one
}

#[cold]
fn too_many() -> ! {
    panic!("FdMutex: too many concurrent operations on one descriptor (limit 1,048,575)")
}

#[cold]
fn not_held(mode: Mode) -> ! {
    panic!("FdMutex: unlock of a {mode:?} lock that is not held")
}

/// Returns whether a word is closed with nothing left to wait for.
#[inline(always)]
fn is_final(word: u64) -> bool {
    word & CLOSED != 0 && is_closed_final(word)
}

/// The rest of [`is_final`], out of the way of the open descriptors.
#[cold]
fn is_closed_final(word: u64) -> bool {
    let locks = bit(Mode::Read) | bit(Mode::Write);
    count(word, REF) == 0 && (word & ABANDONED != 0 || word & locks == 0)
}

#[inline(always)]
fn becomes_final(old: u64, new: u64) -> bool {
    !is_final(old) && is_final(new)
}
