//! The state word of a task: the number of its wakes, its references, and whether it is complete.
//!
//! The scheduler owns the memory of the task. The state word determines which thread may touch the future,
//! the output and the memory, and when.
//!
//! **INV-11** A task's memory is freed once, by the thread that its state word tells to ([`Action::Free`],
//! [`Completion::Free`]). Any other thread that uses it has a reference, the handle, or the task out of a
//! queue.
//!
//! **INV-12** A task's future and its output are touched by the thread that has the task out of a queue until
//! the task is complete, then by the handle. The join waker's slot is touched by the thread in the table
//! below.
//!
//! # States
//!
//! | | idle | queued or running | complete |
//! |---|---|---|---|
//! | in the word | no wakes | wakes | COMPLETE |
//! | the future is touched by | no thread | the thread that got the task out of its queue: the *runner* | no thread, it is dropped |
//! | [`wake`](TaskState::wake) | → queued, by the caller | one wake more | no change |
//! | [`cancel`](TaskState::cancel) | CANCEL, → queued | CANCEL, one wake more | no change |
//! | [`start_poll`](TaskState::start_poll) | - | reads the number of wakes | - |
//! | [`finish_poll`](TaskState::finish_poll) | - | subtracts it: → idle, or → queued if there are more | - |
//! | [`complete`](TaskState::complete) | - | → complete | - |
//! | last reference dropped, no handle | → queued with CANCEL | no change | the memory is free |
//!
//! Wakes are counted, and the runner subtracts the number that it read before the poll. So the start of a
//! poll is a load, and a poll costs two read-modify-writes: the wake and the end of the poll. A RUNNING bit
//! would need two more: to set the bit, and to distinguish a wake during the poll from one before it.
//!
//! A task needs no reference for being queued or running: while it has wakes and is not complete, no thread
//! frees the memory. A complete task keeps its wakes, so that no thread queues it again.
//!
//! # Bounds
//!
//! Counting of wakes stops at half of their width. The runner never subtracts that many, so a task with a
//! wake that was not counted is queued again. The caller bounds the number of references, see
//! [`TaskState::add_ref`].
//!
//! # The join waker
//!
//! One handle waits for the task. Its waker is in a slot beside the word:
//!
//! | JOIN_WAKER | COMPLETE | the slot is touched by |
//! |---|---|---|
//! | - | any | the handle |
//! | set | - | no thread |
//! | set | set | the runner, until it drops the reference that [`Completion::JoinWaker`] gave it |
//!
//! The output belongs to the runner until COMPLETE, then to the handle. If the handle is dropped before
//! COMPLETE, the runner drops the output.

use crate::sync::{AtomicUsize, Ordering, const_fn};

/// Set while the task has a handle.
const HANDLE: usize = 1 << 0;
/// Set once the future is dropped and the output belongs to the handle.
const COMPLETE: usize = 1 << 1;
/// Set if the future is to be dropped instead of polled. The task has wakes until then.
const CANCEL: usize = 1 << 2;
/// Set while the handle's waker is in the slot (tokio's `JOIN_WAKER`).
const JOIN_WAKER: usize = 1 << 3;
const FLAGS: u32 = 4;
const WAKE: usize = 1 << FLAGS;

/// The number of bits of the count of wakes. On a 64-bit machine flags and wakes have half of the word and
/// references the other half.
///
/// On a 32-bit machine references have 24 bits, so [`TaskState::add_ref`] accepts the first 8,388,608, and
/// that many wakers of one task take 64 MiB. The price is that a task which is woken eight times or more
/// before its poll ends is polled once in vain.
pub const WAKE_BITS: u32 = if usize::BITS < 64 { 4 } else { usize::BITS / 2 - FLAGS };

/// The state word of a task. `BITS` is the width of the count of wakes.
#[derive(Debug)]
pub struct TaskState<const BITS: u32 = WAKE_BITS> {
    word: AtomicUsize,
}

/// The action that the thread which changed the state word must take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Action {
    /// The caller has nothing to do. Without a reference of its own it may not touch the task any more.
    Nothing,
    /// The caller puts the task into a queue.
    Schedule,
    /// The caller frees the memory.
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
    /// The task is idle. The thread that wakes it next queues it.
    Idle,
    /// The task was woken meanwhile. The caller puts it into a queue again.
    Again,
    /// The task has no reference or handle that could wake it. The caller drops it.
    Orphan,
}

/// The state in which [`TaskState::complete`] left the task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Completion {
    /// The task has other references. The caller does not touch it any more.
    Kept,
    /// A handle waits. The caller takes the waker out of the slot, and then drops the reference that it was
    /// given.
    JoinWaker,
    /// The caller frees the memory.
    Free,
    /// The state has not changed, because the handle is dropped. The caller drops the output that it left for
    /// the handle.
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
        /// Creates the state of a new task, which has a handle and which the caller puts into a queue. One
        /// bit for the wakes does not compile, since no poll could subtract a wake:
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

    /// Wakes the task. The caller has a reference. Returns [`Action::Schedule`] or [`Action::Nothing`].
    ///
    /// # Memory ordering
    ///
    /// Releases the caller's writes to the poll that follows.
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

    /// Wakes the task as [`TaskState::wake`] does, and drops the caller's reference. Returns [`Action::Free`]
    /// if the task is complete and the reference was the last.
    #[inline]
    pub fn wake_by_value(&self) -> Action {
        // alone: a first guess; the compare-exchange decides
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & COMPLETE != 0 {
                return self.drop_ref();
            }
            let new = Self::woken(word) - Self::REF;
            // Release: the reason for the wake, to the poll that sees it; and all accesses under the
            // reference, to the thread that finds none left.
            match self.word.compare_exchange(word, new, Ordering::Release, Ordering::Relaxed) // pair: task::start_poll, task::complete, task::drop_ref
            {
                Ok(_) => return if Self::is_queued(word) { Action::Nothing } else { Action::Schedule },
                Err(found) => word = found,
            }
        }
    }

    /// Requests that the future is dropped in place of its next poll. Returns [`Action::Schedule`] or
    /// [`Action::Nothing`].
    pub fn cancel(&self) -> Action {
        self.wake_with(CANCEL)
    }

    /// Adds a reference. The caller has one, has the handle or is the runner. Returns false if half of the
    /// count is used: the caller must not go on then, since the count might overflow.
    #[inline]
    pub fn add_ref(&self) -> bool {
        // alone: a thread that has a reference or the handle may pass on another, and orders that
        self.word.fetch_add(Self::REF, Ordering::Relaxed) <= usize::MAX / 2
    }

    /// Drops a reference. If it was the last of a task that is not complete, the task is scheduled to be
    /// dropped.
    ///
    /// # Memory ordering
    ///
    /// Accesses under any reference happen before the memory is freed.
    #[inline]
    pub fn drop_ref(&self) -> Action {
        // AcqRel: the accesses under this reference, to the thread that finds none left; and those under the
        // others, to this thread if it is that one.
        let word = self.word.fetch_sub(Self::REF, Ordering::AcqRel) - Self::REF; // pair: task::drop_ref, task::complete, task::wake_by_value, task::drop_handle, task::drop_complete_handle
        if !Self::is_unreferenced(word) {
            return Action::Nothing;
        }
        match word & COMPLETE {
            // Queued or running: its runner finds it without references. Idle: no other thread can reach it.
            0 if Self::is_queued(word) => Action::Nothing,
            0 => self.cancel(),
            _ => Action::Free,
        }
    }

    /// Starts a poll, which answers the wakes so far. Returns `None` if the task is to be dropped instead.
    /// For the runner.
    #[inline]
    pub fn start_poll(&self) -> Option<WakeCount> {
        // Acquire: the reasons for the wakes, and the writes of the previous poll.
        let word = self.word.load(Ordering::Acquire); // pair: task::wake_with, task::wake_by_value, task::finish_poll
        // A wake is left if some were not counted.
        let seen = (word & Self::WAKES).min(Self::MAX_WAKES - WAKE);
        (word & CANCEL == 0).then_some(WakeCount(seen))
    }

    /// Finishes a poll that returned `Pending`. For the runner.
    #[inline]
    pub fn finish_poll(&self, answered: WakeCount) -> PollResult {
        // Release: the writes of this poll, to the next one.
        let word = self.word.fetch_sub(answered.0, Ordering::Release) - answered.0; // pair: task::start_poll
        if Self::is_queued(word) {
            PollResult::Again
        } else if Self::is_unreferenced(word) {
            PollResult::Orphan
        } else {
            PollResult::Idle
        }
    }

    /// Returns whether there is a handle, for which the runner leaves the output before
    /// [`TaskState::complete`]. For the runner.
    pub fn has_handle(&self) -> bool {
        // alone: a guess; `complete` decides
        self.word.load(Ordering::Relaxed) & HANDLE != 0
    }

    /// Completes the task. Its future is dropped, and its output is in place if it was left `for_handle`. For
    /// the runner.
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
            // AcqRel: the output, to the handle; the waker in the slot, from the handle; and as in
            // `drop_ref`.
            match self.word.compare_exchange(word, new, Ordering::AcqRel, Ordering::Relaxed) // pair: task::is_complete, task::register_join_waker, task::drop_ref, task::wake_by_value, task::drop_handle
            {
                Ok(_) => return then,
                Err(found) => word = found,
            }
        }
    }

    /// Returns whether the task is complete, so that the output belongs to the handle.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.word.load(Ordering::Acquire) & COMPLETE != 0 // pair: task::complete
    }

    /// Publishes that the handle's waker is in the slot. Returns false if the task is complete; the slot
    /// still belongs to the handle then.
    pub fn register_join_waker(&self) -> bool {
        // Release: the waker, to the runner.
        self.change_join_waker(JOIN_WAKER, Ordering::Release) // pair: task::complete
    }

    /// Takes the slot back for the handle. Returns false if the task is complete. May be called without a
    /// waker in the slot.
    pub fn unregister_join_waker(&self) -> bool {
        // alone: no thread has touched the slot since the handle did
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
            // alone: the callers choose the order
            match self.word.compare_exchange(word, new, order, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(found) => word = found,
            }
        }
        // Acquires the output.
        !self.is_complete()
    }

    /// Drops the handle. Returns `None` if the task is complete: the caller then drops the output and calls
    /// [`TaskState::drop_complete_handle`]. If there is no reference either, the task is scheduled to be
    /// dropped.
    pub fn drop_handle(&self) -> Option<Action> {
        // alone: a first guess; the compare-exchange decides
        let mut word = self.word.load(Ordering::Relaxed);
        while word & COMPLETE == 0 {
            let left = word & !HANDLE;
            let orphan = Self::is_unreferenced(left) && !Self::is_queued(left);
            let new = if orphan { Self::woken(left) | CANCEL } else { left };
            // Release: the accesses of the handle, to the thread that frees the memory.
            match self.word.compare_exchange(word, new, Ordering::Release, Ordering::Relaxed) // pair: task::complete, task::drop_ref
            {
                Ok(_) => return Some(if orphan { Action::Schedule } else { Action::Nothing }),
                Err(found) => word = found,
            }
        }
        // Acquires the output.
        if self.is_complete() { None } else { Some(Action::Nothing) }
    }

    /// Drops the handle of a complete task, after its output.
    pub fn drop_complete_handle(&self) -> Action {
        // AcqRel: as in `drop_ref`.
        let word = self.word.fetch_sub(HANDLE, Ordering::AcqRel) - HANDLE; // pair: task::drop_ref
        if Self::is_unreferenced(word) { Action::Free } else { Action::Nothing }
    }
}
