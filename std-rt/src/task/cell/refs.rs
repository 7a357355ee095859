//! Two of the rights to a cell: a counted reference, and the right to free the cell.

use std::mem::ManuallyDrop;

use super::{Runnable, TaskPtr};
use crate::foreign::catch_panic;

/// The right to free a cell, which happens when it is dropped.
pub(super) struct Memory(TaskPtr);

impl Drop for Memory {
    #[inline]
    fn drop(&mut self) {
        // The right goes on in this value.
        (self.0.table.free)(Memory(self.0));
    }
}

impl Memory {
    /// Creates the right, which the word has granted the caller.
    #[inline]
    pub(super) fn new(task: TaskPtr) -> Self {
        Self(task)
    }

    /// Frees the cell, for its table. `cell` returns a pointer of the type of the cell.
    #[inline(always)]
    pub(super) fn free_with<C>(self, cell: impl Fn(TaskPtr) -> *mut C) {
        let task = ManuallyDrop::new(self).0;
        // SAFETY: the word grants this right once, when no other right is left (INV-11), so no thread uses the cell any more.
        // `create` got the pointer from a box, and the table, which passes `cell`, was made for the type of that box.
        let cell = unsafe { Box::from_raw(cell(task)) };
        // A waker that was left in the slot may be foreign, and panic.
        catch_panic(|| drop(cell));
    }
}

/// A counted reference to a task, which its wakers have.
pub(super) struct TaskRef(TaskPtr);

impl TaskRef {
    /// Creates the value for a reference that the word has counted, and which the caller has.
    #[inline]
    pub(super) fn new(task: TaskPtr) -> Self {
        Self(task)
    }

    /// Returns the task.
    #[inline]
    pub(super) fn task(&self) -> TaskPtr {
        self.0
    }

    /// Wakes the task and gives up the reference. Returns the task if it is to be put into a queue.
    #[inline]
    pub(super) fn wake_by_value(self) -> Option<Runnable> {
        let task = ManuallyDrop::new(self).0;
        task.run_action(task.state.wake_by_value())
    }
}

impl Drop for TaskRef {
    #[inline]
    fn drop(&mut self) {
        // The last reference to a task that waits has it scheduled, to be dropped.
        if let Some(task) = self.0.run_action(self.0.state.drop_ref()) {
            task.schedule();
        }
    }
}
