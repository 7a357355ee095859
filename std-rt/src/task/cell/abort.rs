//! The handle that cancels a task and does not wait for it.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::{Id, TaskPtr, TaskRef};

/// The permission to abort a task, without its value; from [`JoinHandle::abort_handle`](super::JoinHandle::abort_handle) or
/// [`JoinSet::spawn`](crate::task::JoinSet::spawn).
///
/// Dropped: the task goes on. The handle keeps the memory of the task, though not its future or its value, which are dropped
/// when the task ends.
pub struct AbortHandle(TaskRef);

// SAFETY: a handle changes only the state word, and schedules the task if that grants the right; a waker does the same, from
// any thread.
unsafe impl Send for AbortHandle {}

// SAFETY: see above; a shared reference does no more.
unsafe impl Sync for AbortHandle {}

impl UnwindSafe for AbortHandle {}

impl RefUnwindSafe for AbortHandle {}

impl AbortHandle {
    /// Creates the handle of a task, for a caller that has the [`JoinHandle`](super::JoinHandle).
    pub(super) fn new(task: TaskPtr) -> Self {
        Self(task.add_ref())
    }

    /// Cancels the task; see [`JoinHandle::abort`](super::JoinHandle::abort). May be called from any thread, also for a task
    /// of [`spawn_local`](crate::spawn_local), whose future is dropped on its own thread.
    pub fn abort(&self) {
        self.0.task().cancel();
    }

    /// Returns true once the task has ended, also by a panic or an abort.
    pub fn is_finished(&self) -> bool {
        self.0.task().state.is_complete()
    }

    /// Returns the id of the task.
    pub fn id(&self) -> Id {
        self.0.task().id()
    }
}

impl Clone for AbortHandle {
    fn clone(&self) -> Self {
        Self::new(self.0.task())
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("AbortHandle");
        f.field("id", &self.id()).field("finished", &self.is_finished()).finish()
    }
}
