//! The ids of tasks, and the one that this thread polls.
//!
//! An id is the address of the task's cell: it takes no memory, and is that task's alone while anything refers to it.

use std::fmt;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use crate::context;

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
/// Panics outside of a task: in the future of `block_on`, in a closure of [`spawn_blocking`](crate::spawn_blocking) and on
/// any other thread. [`try_id`] returns `None` there.
#[track_caller]
pub fn id() -> Id {
    try_id().expect("task::id() was called outside of a task")
}

/// Returns the id of the task that calls, or `None` outside of a task.
pub fn try_id() -> Option<Id> {
    NonZeroUsize::new(context::with(|context| context.task.get())).map(Id)
}

/// Sets the task of this thread. A worker sets it before each poll, and sets none before it runs code that is no task's.
#[inline]
pub(crate) fn set_current(id: Option<Id>) {
    context::with(|context| context.task.set(id.map_or(0, |id| id.0.get())));
}

/// A guard that restores the thread's task when it is dropped.
#[must_use]
pub(crate) struct CurrentTask(Option<Id>);

impl CurrentTask {
    /// Creates the guard that restores the present task.
    pub(crate) fn keep() -> Self {
        Self(try_id())
    }

    /// Restores the task, after other tasks have run.
    pub(crate) fn restore(&self) {
        set_current(self.0);
    }
}

impl Drop for CurrentTask {
    fn drop(&mut self) {
        self.restore();
    }
}
