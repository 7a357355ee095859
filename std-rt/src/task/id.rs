//! The ids of tasks, and the one that this thread polls.
//!
//! An id is the address of the task's cell: it takes no memory, and is that task's alone while anything refers to it. The
//! thread keeps it in one word with the mark [`TURN`], so that the mark costs a turn nothing.

use std::fmt;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use crate::context;

/// Set beside the id while a worker is in the code of a task, and not while it does its own work, also within a task. The low
/// bits of an address are free.
const TURN: usize = 1;

/// The id of a task.
///
/// No two tasks have the same id at the same time. It may be that of another task later, once the task has ended and its
/// [`JoinHandle`](super::JoinHandle), its [`AbortHandle`](super::AbortHandle)s and its wakers are gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(NonZeroUsize);

impl Id {
    /// Returns the id of the task whose cell is there.
    #[inline]
    pub(super) fn of_cell(cell: NonNull<()>) -> Self {
        Self(cell.addr())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}

/// Returns the id of the task that calls.
///
/// # Panics
///
/// Panics outside of a task: in the future of `block_on`, and on a thread that runs neither a task nor a closure of
/// [`spawn_blocking`](crate::spawn_blocking). [`try_id`] returns `None` there.
#[track_caller]
pub fn id() -> Id {
    try_id().expect("task::id() was called outside of a task")
}

/// Returns the id of the task that calls, or `None` outside of a task.
pub fn try_id() -> Option<Id> {
    NonZeroUsize::new(context::with(|context| context.task.get()) & !TURN).map(Id)
}

/// Sets the task of this thread, and that a worker begins its turn.
#[inline]
pub(crate) fn begin_turn(id: Id) {
    context::with(|context| context.task.set(id.0.get() | TURN));
}

/// Sets that this thread runs code that is no task's. A worker does so before its own work that calls foreign code.
#[inline]
pub(crate) fn end_turn() {
    context::with(|context| context.task.set(0));
}

/// Returns whether this thread is a worker's in the code of a task.
pub(crate) fn is_in_turn() -> bool {
    context::with(|context| context.task.get()) & TURN != 0
}

/// Returns whether this thread is a worker's in the code of the task whose cell has that address.
#[inline]
pub(super) fn is_turn_of(cell: usize) -> bool {
    context::with(|context| context.task.get()) == cell | TURN
}

/// Sets the task of this thread. A turn goes on.
pub(crate) fn set_current(id: Id) {
    context::with(|context| context.task.set(id.0.get() | context.task.get() & TURN));
}

/// A guard that restores the thread's task when it is dropped, and the mark of a turn.
#[must_use]
pub(crate) struct CurrentTask(usize);

impl CurrentTask {
    /// Creates the guard that restores the present task.
    pub(crate) fn keep() -> Self {
        Self(context::with(|context| context.task.get()))
    }

    /// Makes that task the one of this thread until the guard is dropped.
    pub(crate) fn replace(id: Id) -> Self {
        let before = Self::keep();
        set_current(id);
        before
    }

    /// Restores the task, after other tasks have run.
    pub(crate) fn restore(&self) {
        context::with(|context| context.task.set(self.0));
    }
}

impl Drop for CurrentTask {
    fn drop(&mut self) {
        self.restore();
    }
}
