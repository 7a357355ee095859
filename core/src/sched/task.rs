//! A task's life in one state word: how often it has been woken, which references there are, whether it is complete.
//!
//! The memory that the state word stands in is the scheduler's. The word says which thread may touch the future, the value
//! and the memory, and when.
//!
//! # States
//!
//! | | idle | queued or running | complete |
//! |---|---|---|---|
//! | in the word | no wakes | wakes | COMPLETE |
//! | the future is touched by | no thread | the thread that got the task out of its queue: the *runner* | no thread, it is gone |
//! | [`wake`](TaskState::wake) | → queued, by the caller | one wake more | nothing |
//! | [`cancel`](TaskState::cancel) | CANCEL, → queued | CANCEL, one wake more | nothing |
//! | [`start_poll`](TaskState::start_poll) | - | remembers the wakes so far | - |
//! | [`finish_poll`](TaskState::finish_poll) | - | takes those off: → idle, or → queued if there are more | - |
//! | [`complete`](TaskState::complete) | - | → complete | - |
//! | last reference goes, no handle | → queued with CANCEL | nothing | the memory is free |
//!
//! Wakes are counted, and the runner takes off what it saw before it polled. So the start of a poll is a load, and a poll
//! costs two read-modify-writes: the wake and the end of the poll. A state with a RUNNING bit would need two more: the bit
//! has to be set, and a wake during the poll has to be told from one before it.
//!
//! A task in a queue, or running, has no reference for that: while it has wakes and is not complete, no thread frees the
//! memory. A complete task keeps the wakes that it had, so that no thread queues it again.
//!
//! # Bounds
//!
//! Wakes stop counting at half of their width. The runner never takes that many off, so one that was not counted finds the
//! task queued again. References are the caller's to bound, see [`TaskState::add_ref`].
//!
//! # The join waker
//!
//! One handle waits for the task. Its waker lies in a slot beside the word:
//!
//! | JOIN_WAKER | COMPLETE | the slot is touched by |
//! |---|---|---|
//! | - | any | the handle |
//! | set | - | no thread |
//! | set | set | the runner, until it drops the reference that [`Completion::JoinWaker`] gave it |
//!
//! The value is the runner's until COMPLETE, then the handle's. If the handle is gone the value is gone before that.

use crate::sync::{AtomicUsize, Ordering, const_fn};

/// Set while there is a handle.
const HANDLE: usize = 1 << 0;
/// Set once the future is gone, and the value is the handle's.
const COMPLETE: usize = 1 << 1;
/// Set if the future is to be dropped instead of polled; there are wakes until it is.
const CANCEL: usize = 1 << 2;
/// Set while the handle's waker is in the slot (tokio's `JOIN_WAKER`).
const JOIN_WAKER: usize = 1 << 3;
const FLAGS: u32 = 4;
const WAKE: usize = 1 << FLAGS;

/// Bits of the count of wakes. On a 64-bit machine flags and wakes have half of the word and references the other half.
///
/// On a 32-bit machine references have 24 bits, so that [`TaskState::add_ref`] refuses none of the first 8,388,608: as many
/// wakers of one task are 64 MiB. The price is that a task which is woken eight times or more before its poll ends is polled
/// once in vain.
pub const WAKE_BITS: u32 = if usize::BITS < 64 { 4 } else { usize::BITS / 2 - FLAGS };

/// The state word of a task. `BITS` is the width of the count of wakes.
#[derive(Debug)]
pub struct TaskState<const BITS: u32 = WAKE_BITS> {
    word: AtomicUsize,
}

/// The action that a change of the state word leaves to the thread that made it.
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

/// The number of wakes that a poll answers.
#[derive(Debug)]
#[must_use]
pub struct WakeCount(usize);

/// The state in which [`TaskState::finish_poll`] left the task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum PollResult {
    /// Idle: the thread that wakes it next has it.
    Idle,
    /// Woken meanwhile, and the caller's still: to be put into a queue again.
    Again,
    /// Without a reference or a handle that could wake it, and the caller's still: to be dropped.
    Orphan,
}

/// The state in which [`TaskState::complete`] left the task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Completion {
    /// Referred to by others; the caller does not touch it any more.
    Kept,
    /// Joined: the waker in the slot is the caller's to take, and a reference, to be dropped after that.
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
    /// The number of wakes at which counting stops.
    const MAX_WAKES: usize = WAKE << (BITS - 1);

    const_fn! {
        /// Creates the state of a new task: it is the caller's, to be put into a queue, and has a handle. With one bit for the
        /// wakes no poll could take one off, so that does not compile:
        ///
        /// ```compile_fail,E0080
        /// netpoll_core::sched::task::TaskState::<1>::new();
        /// ```
        pub const fn new() -> Self {
            const {
                assert!(
                    BITS >= 2 && BITS + FLAGS < usize::BITS,
                    "two bits of wakes at least, and one of references"
                )
            };
            Self { word: AtomicUsize::new(WAKE | HANDLE) }
        }
    }

    /// Adds a wake to a word, unless counting has stopped.
    fn woken(word: usize) -> usize {
        if word & Self::WAKES < Self::MAX_WAKES { word + WAKE } else { word }
    }

    fn is_queued(word: usize) -> bool {
        word & Self::WAKES != 0
    }

    /// Returns whether a word has no reference and no handle.
    fn is_unreferenced(word: usize) -> bool {
        word & (Self::REFS | HANDLE) == 0
    }

    /// Wakes the task, for a caller with a reference. Returns [`Action::Schedule`] or nothing.
    ///
    /// # Memory ordering
    ///
    /// What happened before is visible to the poll that follows.
    #[inline]
    pub fn wake(&self) -> Action {
        self.wake_with(0)
    }

    /// Wakes the task and sets flags.
    #[inline]
    fn wake_with(&self, flags: usize) -> Action {
        // alone: a first guess; the compare-exchange decides
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let new = Self::woken(word) | flags;
            // Release: the reason for the wake, to the poll that sees it.
            match self.word.compare_exchange(word, new, Ordering::Release, Ordering::Relaxed) // pair: task::start_poll
            {
                Ok(_) => return if Self::is_queued(word) { Action::Nothing } else { Action::Schedule },
                Err(found) => word = found,
            }
        }
    }

    /// Wakes the task as [`TaskState::wake`] does, and drops the caller's reference. Returns [`Action::Free`] if the task is
    /// complete and the reference was the last.
    #[inline]
    pub fn wake_by_value(&self) -> Action {
        // alone: a first guess; the compare-exchange decides
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & COMPLETE != 0 {
                return self.drop_ref();
            }
            let new = Self::woken(word) - Self::REF;
            // Release: the reason for the wake, to the poll that sees it; and all that was done under the reference, to
            // the thread that finds none left.
            match self.word.compare_exchange(word, new, Ordering::Release, Ordering::Relaxed) // pair: task::start_poll, task::complete, task::drop_ref
            {
                Ok(_) => return if Self::is_queued(word) { Action::Nothing } else { Action::Schedule },
                Err(found) => word = found,
            }
        }
    }

    /// Asks that the future be dropped in place of its next poll. Returns [`Action::Schedule`] or nothing.
    pub fn cancel(&self) -> Action {
        self.wake_with(CANCEL)
    }

    /// Adds a reference, for a caller that has one or is the runner. Returns false if there are so many that the caller must
    /// not go on, since the count might not hold the next ones.
    #[inline]
    pub fn add_ref(&self) -> bool {
        // alone: a thread that has a reference may give another, and orders that
        self.word.fetch_add(Self::REF, Ordering::Relaxed) <= usize::MAX / 2
    }

    /// Drops a reference. If it was the last of a task that is not complete, the task is scheduled to be dropped.
    ///
    /// # Memory ordering
    ///
    /// What was done under any reference is visible to the thread that frees the memory.
    #[inline]
    pub fn drop_ref(&self) -> Action {
        // AcqRel: what was done under this reference, to the thread that finds none left; and under the others, to this one
        // if it does.
        let word = self.word.fetch_sub(Self::REF, Ordering::AcqRel) - Self::REF; // pair: task::drop_ref, task::complete, task::wake_by_value, task::drop_handle, task::drop_complete_handle
        if !Self::is_unreferenced(word) {
            return Action::Nothing;
        }
        match word & COMPLETE {
            // Queued or running: its runner finds it without references. Idle: no other thread knows it.
            0 if Self::is_queued(word) => Action::Nothing,
            0 => self.cancel(),
            _ => Action::Free,
        }
    }

    /// Starts a poll, which answers the wakes so far. Returns `None` if the task is to be dropped instead. For the runner.
    #[inline]
    pub fn start_poll(&self) -> Option<WakeCount> {
        // Acquire: the reasons for the wakes, and what the poll before did.
        let word = self.word.load(Ordering::Acquire); // pair: task::wake_with, task::wake_by_value, task::finish_poll
        // One is left if some were not counted.
        let seen = (word & Self::WAKES).min(Self::MAX_WAKES - WAKE);
        (word & CANCEL == 0).then_some(WakeCount(seen))
    }

    /// Finishes a poll that returned `Pending`. For the runner.
    #[inline]
    pub fn finish_poll(&self, answered: WakeCount) -> PollResult {
        // Release: what the poll did, to the next one.
        let word = self.word.fetch_sub(answered.0, Ordering::Release) - answered.0; // pair: task::start_poll
        if Self::is_queued(word) {
            PollResult::Again
        } else if Self::is_unreferenced(word) {
            PollResult::Orphan
        } else {
            PollResult::Idle
        }
    }

    /// Returns whether there is a handle, for which the value is to be left before [`TaskState::complete`]. For the runner.
    pub fn has_handle(&self) -> bool {
        // alone: a guess; `complete` decides
        self.word.load(Ordering::Relaxed) & HANDLE != 0
    }

    /// Completes the task: the future is gone, and the value is there if it was left `for_handle`. For the runner.
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

    /// Returns whether the task is complete, and the value the handle's.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.word.load(Ordering::Acquire) & COMPLETE != 0 // pair: task::complete
    }

    /// Publishes that the handle's waker is in the slot. Returns false, and the slot is the handle's still, if the task is
    /// complete.
    pub fn register_join_waker(&self) -> bool {
        // Release: the waker, to the runner.
        self.change_join_waker(JOIN_WAKER, Ordering::Release) // pair: task::complete
    }

    /// Takes the slot back for the handle. Returns false if the task is complete. Harmless if no waker was there.
    pub fn unregister_join_waker(&self) -> bool {
        // alone: the slot is as the handle left it
        self.change_join_waker(0, Ordering::Relaxed)
    }

    fn change_join_waker(&self, bit: usize, order: Ordering) -> bool {
        // alone: a first guess; the compare-exchange decides
        let mut word = self.word.load(Ordering::Relaxed);
        while word & COMPLETE == 0 {
            let new = word & !JOIN_WAKER | bit;
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

    /// Drops the handle. Returns `None` if the task is complete: then the caller drops the value first, and
    /// [`TaskState::drop_complete_handle`] follows. If there is no reference either, the task is scheduled to be dropped.
    pub fn drop_handle(&self) -> Option<Action> {
        // alone: a first guess; the compare-exchange decides
        let mut word = self.word.load(Ordering::Relaxed);
        while word & COMPLETE == 0 {
            let left = word & !HANDLE;
            let orphan = Self::is_unreferenced(left) && !Self::is_queued(left);
            let new = if orphan { Self::woken(left) | CANCEL } else { left };
            // Release: all that the handle did, to the thread that frees the memory.
            match self.word.compare_exchange(word, new, Ordering::Release, Ordering::Relaxed) // pair: task::complete, task::drop_ref
            {
                Ok(_) => return Some(if orphan { Action::Schedule } else { Action::Nothing }),
                Err(found) => word = found,
            }
        }
        // Acquires the value.
        if self.is_complete() { None } else { Some(Action::Nothing) }
    }

    /// Drops the handle of a task that is complete, after its value.
    pub fn drop_complete_handle(&self) -> Action {
        // AcqRel: as in `drop_ref`.
        let word = self.word.fetch_sub(HANDLE, Ordering::AcqRel) - HANDLE; // pair: task::drop_ref
        if Self::is_unreferenced(word) { Action::Free } else { Action::Nothing }
    }
}
