//! A task's life in one word: how often it has been woken, who refers to it, whether it has ended.
//!
//! The memory that the word stands in is the scheduler's. The word says who may touch the future, the value and the
//! memory, and when.
//!
//! # States
//!
//! | | idle | queued or running | complete |
//! |---|---|---|---|
//! | in the word | no wakes | wakes | COMPLETE |
//! | the future is touched by | nobody | who got the task out of its queue: the *runner* | nobody, it is gone |
//! | [`wake`](TaskState::wake) | → queued, by who woke it | one wake more | nothing |
//! | [`cancel`](TaskState::cancel) | CANCEL, → queued | CANCEL, one wake more | nothing |
//! | [`start`](TaskState::start_poll) | - | remembers the wakes so far | - |
//! | [`rest`](TaskState::finish_poll) | - | takes those off: → idle, or → queued if there are more | - |
//! | [`complete`](TaskState::complete) | - | → complete | - |
//! | last reference goes, no handle | → queued with CANCEL | nothing | the memory is free |
//!
//! Wakes are counted, and the runner takes off what it saw before it polled. So the start of a turn is a load, and a turn
//! costs two read-modify-writes: the wake and the rest. A task's state would need two more, as RUNNING has to be set and
//! a wake during the run has to be told from one before it.
//!
//! A task in a queue, or running, has no reference for that: while it has wakes and is not complete, nobody frees the
//! memory. A complete task keeps the wakes that it had, so that nobody queues it again.
//!
//! # Bounds
//!
//! Wakes stop counting at half of their width. The runner never takes that many off, so one that was not counted finds the
//! task queued again. References are the caller's to bound, see [`TaskState::add_ref`].
//!
//! # The joiner
//!
//! One handle waits for the end. Its waker lies in a slot beside the word:
//!
//! | JOIN_WAKER | COMPLETE | the slot is touched by |
//! |---|---|---|
//! | - | any | the handle |
//! | set | - | nobody |
//! | set | set | the runner, until it drops the reference that [`Completion::JoinWaker`] gave it |
//!
//! The value is the runner's until COMPLETE, then the handle's. If the handle is gone the value is gone before that.

use crate::sync::{AtomicUsize, Ordering};

/// There is a handle.
const HANDLE: usize = 1 << 0;
/// The future is gone, and the value is the handle's.
const COMPLETE: usize = 1 << 1;
/// The future is to be dropped instead of polled; there are wakes until it is.
const CANCEL: usize = 1 << 2;
/// The handle's waker is in the slot.
const JOIN_WAKER: usize = 1 << 3;
const FLAGS: u32 = 4;
const WAKE: usize = 1 << FLAGS;

/// Bits of the count of wakes. On a 64-bit machine flags and wakes have half of the word and references the other half.
///
/// On a 32-bit machine references have 24 bits, so that [`TaskState::add_ref`] refuses none of the first 8,388,608: as many
/// wakers of one task are 64 MiB. The price is that a task which is woken eight times or more before its turn ends has one
/// turn in vain.
pub const WAKE_BITS: u32 = if usize::BITS < 64 { 4 } else { usize::BITS / 2 - FLAGS };

/// The word. `BITS` is the width of the count of wakes.
#[derive(Debug)]
pub struct TaskState<const BITS: u32 = WAKE_BITS> {
    word: AtomicUsize,
}

/// What a change of the word leaves to do for who made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Action {
    /// Nothing. Without a reference of its own the caller may not touch the task any more.
    Nothing,
    /// The task is the caller's, to be put into a queue.
    Schedule,
    /// The memory is the caller's, to be freed.
    Free,
}

/// The wakes that a turn answers.
#[derive(Debug)]
#[must_use]
pub struct WakeCount(usize);

/// How [`TaskState::finish_poll`] left the task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum PollResult {
    /// Idle: whoever wakes it has it.
    Idle,
    /// It was woken meanwhile, and is the caller's still: into a queue again.
    Again,
    /// Nobody is left who could wake it, and it is the caller's still: to be dropped.
    Orphan,
}

/// How [`TaskState::complete`] left the task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Completion {
    /// Somebody refers to it still; the caller does not touch it any more.
    Kept,
    /// The waker in the slot is the caller's to take, and a reference, to be dropped after that.
    JoinWaker,
    /// The memory is the caller's, to be freed.
    Free,
    /// Not changed: the handle is gone, and the value that was left for it is the caller's to drop.
    HandleGone,
}

impl<const BITS: u32> Default for TaskState<BITS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BITS: u32> TaskState<BITS> {
    const REF: usize = WAKE << BITS;
    const WAKES: usize = Self::REF - WAKE;
    const REFS: usize = !(Self::REF - 1);
    /// So many wakes are as good as more.
    const MAX_WAKES: usize = WAKE << (BITS - 1);

    /// A task that was just made: it is the caller's, to be put into a queue, and has a handle. With one bit for the wakes no
    /// turn could take one off, so that does not compile:
    ///
    /// ```compile_fail,E0080
    /// netpoll_core::task::TaskState::<1>::new();
    /// ```
    pub fn new() -> Self {
        const {
            assert!(
                BITS >= 2 && BITS + FLAGS < usize::BITS,
                "two bits of wakes at least, and one of references"
            )
        };
        Self { word: AtomicUsize::new(WAKE | HANDLE) }
    }

    /// One wake more, if it counts still.
    fn woken(word: usize) -> usize {
        if word & Self::WAKES < Self::MAX_WAKES { word + WAKE } else { word }
    }

    fn is_queued(word: usize) -> bool {
        word & Self::WAKES != 0
    }

    /// No reference and no handle.
    fn is_unreferenced(word: usize) -> bool {
        word & (Self::REFS | HANDLE) == 0
    }

    /// Somebody with a reference: the task is to have a turn. [`Action::Schedule`] or nothing.
    ///
    /// # Memory ordering
    ///
    /// What happened before is visible to the turn that follows.
    #[inline]
    pub fn wake(&self) -> Action {
        self.wake_with(0)
    }

    /// The same, and the caller's flags with it.
    #[inline]
    fn wake_with(&self, flags: usize) -> Action {
        // alone: a first guess; the compare-exchange decides
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let new = Self::woken(word) | flags;
            // Release: the reason for the wake, to the turn that sees it.
            match self.word.compare_exchange(word, new, Ordering::Release, Ordering::Relaxed) // pair: task::start_poll
            {
                Ok(_) => return if Self::is_queued(word) { Action::Nothing } else { Action::Schedule },
                Err(found) => word = found,
            }
        }
    }

    /// Somebody with a reference, who gives it up: as [`TaskState::wake`], or the memory is free.
    #[inline]
    pub fn wake_by_value(&self) -> Action {
        // alone: a first guess; the compare-exchange decides
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & COMPLETE != 0 {
                return self.drop_ref();
            }
            let new = Self::woken(word) - Self::REF;
            // Release: the reason for the wake, to the turn that sees it; and all that was done under the reference, to
            // who finds none left.
            match self.word.compare_exchange(word, new, Ordering::Release, Ordering::Relaxed) // pair: task::start_poll, task::complete, task::drop_ref
            {
                Ok(_) => return if Self::is_queued(word) { Action::Nothing } else { Action::Schedule },
                Err(found) => word = found,
            }
        }
    }

    /// The future is to be dropped in place of its next turn. [`Action::Schedule`] or nothing.
    pub fn cancel(&self) -> Action {
        self.wake_with(CANCEL)
    }

    /// Somebody with a reference, or the runner: one more. False if there are so many that the caller must not go on,
    /// since the count might not hold the next ones.
    #[inline]
    pub fn add_ref(&self) -> bool {
        // alone: who has a reference may give another, and orders that
        self.word.fetch_add(Self::REF, Ordering::Relaxed) <= usize::MAX / 2
    }

    /// A reference goes. If it was the last of a task that has not ended, the task is scheduled to be dropped.
    ///
    /// # Memory ordering
    ///
    /// What was done under any reference is visible to who frees the memory.
    #[inline]
    pub fn drop_ref(&self) -> Action {
        // AcqRel: what was done under this reference, to who finds none left; and under the others, to us if we do.
        let word = self.word.fetch_sub(Self::REF, Ordering::AcqRel) - Self::REF; // pair: task::drop_ref, task::complete, task::wake_by_value, task::drop_handle, task::drop_complete_handle
        if !Self::is_unreferenced(word) {
            return Action::Nothing;
        }
        match word & COMPLETE {
            // Queued or running: its runner finds it forgotten. Idle: nobody knows it but we.
            0 if Self::is_queued(word) => Action::Nothing,
            0 => self.cancel(),
            _ => Action::Free,
        }
    }

    /// Runner: a turn begins, and answers the wakes so far; none if the task is to be dropped instead.
    #[inline]
    pub fn start_poll(&self) -> Option<WakeCount> {
        // Acquire: the reasons for the wakes, and what the turn before did.
        let word = self.word.load(Ordering::Acquire); // pair: task::wake_with, task::wake_by_value, task::finish_poll
        // One is left if some were not counted.
        let seen = (word & Self::WAKES).min(Self::MAX_WAKES - WAKE);
        (word & CANCEL == 0).then_some(WakeCount(seen))
    }

    /// Runner: the future is not ready.
    #[inline]
    pub fn finish_poll(&self, seen: WakeCount) -> PollResult {
        // Release: what the turn did, to the next one.
        let word = self.word.fetch_sub(seen.0, Ordering::Release) - seen.0; // pair: task::start_poll
        if Self::is_queued(word) {
            PollResult::Again
        } else if Self::is_unreferenced(word) {
            PollResult::Orphan
        } else {
            PollResult::Idle
        }
    }

    /// Runner: true if there is a handle, for which the value is to be left before [`TaskState::complete`].
    pub fn has_handle(&self) -> bool {
        // alone: a guess; `complete` decides
        self.word.load(Ordering::Relaxed) & HANDLE != 0
    }

    /// Runner: the future is gone, and the value is there if it was left `for_handle`.
    #[inline]
    pub fn complete(&self, for_handle: bool) -> Completion {
        // alone: a first guess; the compare-exchange decides
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if for_handle && word & HANDLE == 0 {
                return Completion::HandleGone;
            }
            let (new, then) = match word & JOIN_WAKER {
                0 if Self::is_unreferenced(word) => (word | COMPLETE, Completion::Free),
                0 => (word | COMPLETE, Completion::Kept),
                _ => ((word | COMPLETE) + Self::REF, Completion::JoinWaker),
            };
            // AcqRel: the value, to the handle; the waker in the slot, from the handle; and as in `drop_ref`.
            match self.word.compare_exchange(word, new, Ordering::AcqRel, Ordering::Relaxed) // pair: task::is_complete, task::register_join_waker, task::drop_ref, task::wake_by_value, task::drop_handle
            {
                Ok(_) => return then,
                Err(found) => word = found,
            }
        }
    }

    /// Handle: the task has ended and the value is its own.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.word.load(Ordering::Acquire) & COMPLETE != 0 // pair: task::complete
    }

    /// Handle: its waker is in the slot; false, and the slot is its own still, if the task has ended.
    pub fn register_join_waker(&self) -> bool {
        // Release: the waker, to the runner.
        self.change_join_waker(JOIN_WAKER, Ordering::Release) // pair: task::complete
    }

    /// Handle: the slot is its own again; false if the task has ended. Harmless if no waker was there.
    pub fn unregister_join_waker(&self) -> bool {
        // alone: the slot is as the handle left it
        self.change_join_waker(0, Ordering::Relaxed)
    }

    fn change_join_waker(&self, joiner: usize, order: Ordering) -> bool {
        // alone: a first guess; the compare-exchange decides
        let mut word = self.word.load(Ordering::Relaxed);
        while word & COMPLETE == 0 {
            let new = word & !JOIN_WAKER | joiner;
            if new == word {
                return true;
            }
            // alone: the callers say what it orders
            match self.word.compare_exchange(word, new, order, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(found) => word = found,
            }
        }
        // Acquires the value.
        !self.is_complete()
    }

    /// The handle goes. None if the task has ended: then the value is dropped first, and [`TaskState::drop_complete_handle`]
    /// follows. If the handle was the last that knew the task, the task is scheduled to be dropped.
    pub fn drop_handle(&self) -> Option<Action> {
        // alone: a first guess; the compare-exchange decides
        let mut word = self.word.load(Ordering::Relaxed);
        while word & COMPLETE == 0 {
            let left = word & !HANDLE;
            let orphan = Self::is_unreferenced(left) && !Self::is_queued(left);
            let new = if orphan { Self::woken(left) | CANCEL } else { left };
            // Release: all that the handle did, to who frees the memory.
            match self.word.compare_exchange(word, new, Ordering::Release, Ordering::Relaxed) // pair: task::complete, task::drop_ref
            {
                Ok(_) => return Some(if orphan { Action::Schedule } else { Action::Nothing }),
                Err(found) => word = found,
            }
        }
        // Acquires the value.
        if self.is_complete() { None } else { Some(Action::Nothing) }
    }

    /// The handle of a task that has ended goes; the value is gone.
    pub fn drop_complete_handle(&self) -> Action {
        // AcqRel: as in `drop_ref`.
        let word = self.word.fetch_sub(HANDLE, Ordering::AcqRel) - HANDLE; // pair: task::drop_ref
        if Self::is_unreferenced(word) { Action::Free } else { Action::Nothing }
    }
}
