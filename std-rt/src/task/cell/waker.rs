//! The waker of a task: a pointer to the cell, with a counted reference.

use std::mem::{self, ManuallyDrop};
use std::ptr::{self, NonNull};
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::{Runnable, TaskPtr, TaskRef};
use crate::task::id::is_turn_of;

/// The functions of a task's waker.
pub(super) static WAKER: RawWakerVTable = RawWakerVTable::new(clone_waker, wake, wake_by_ref, drop_waker);

/// Wakes a task and returns it, to be put into a queue; `None` if it is in one already, or has ended.
///
/// # Errors
///
/// Returns a waker that is not a task's.
#[inline]
pub fn wake_to_runnable(waker: Waker) -> Result<Option<Runnable>, Waker> {
    if !ptr::eq(waker.vtable(), &WAKER) {
        return Err(waker);
    }
    let waker = ManuallyDrop::new(waker);
    // SAFETY: only this module makes wakers with this table, which is a static, so the pointer is that of a task.
    let task = unsafe { task_of_waker(waker.data()) };
    task.trace.waker("waker.wake");
    // The waker is not used any more, and its reference goes to this value.
    Ok(TaskRef::new(task).wake_by_value())
}

/// Returns a number that no other living task has, if the waker is that of the task whose turn it is on this thread. A thread that
/// has a clone of another task's waker gets `None`: one thread at a time uses a number (INV-15).
#[inline]
pub fn task_number(waker: &Waker) -> Option<usize> {
    let number = waker.data().addr();
    (ptr::eq(waker.vtable(), &WAKER) && is_turn_of(number)).then_some(number)
}

impl TaskPtr {
    /// Returns a waker that is not reported to a subscriber, for a caller that has one of the rights.
    pub(super) fn new_waker(self) -> Waker {
        // SAFETY: the functions of `WAKER` expect a pointer to a cell and a reference, which this has just added.
        unsafe { Waker::from_raw(self.new_raw_waker()) }
    }

    /// Adds a reference, which goes to the new waker.
    #[inline]
    fn new_raw_waker(self) -> RawWaker {
        mem::forget(self.add_ref());
        RawWaker::new(self.0.as_ptr().cast_const().cast(), &WAKER)
    }
}

/// # Safety
///
/// The pointer is that of a waker with the table [`WAKER`] which has not been dropped.
#[inline]
unsafe fn task_of_waker(data: *const ()) -> TaskPtr {
    // SAFETY: the caller's duty; `borrowed_waker` made the pointer from one that is not null.
    TaskPtr(unsafe { NonNull::new_unchecked(data.cast_mut().cast()) })
}

/// # Safety
///
/// As [`task_of_waker`].
unsafe fn clone_waker(data: *const ()) -> RawWaker {
    // SAFETY: the caller's duty.
    let task = unsafe { task_of_waker(data) };
    task.trace.waker("waker.clone");
    task.new_raw_waker()
}

/// # Safety
///
/// As [`task_of_waker`]; the waker ends here.
unsafe fn wake(data: *const ()) {
    // SAFETY: the caller's duty.
    let task = unsafe { task_of_waker(data) };
    task.trace.waker("waker.wake");
    if let Some(task) = TaskRef::new(task).wake_by_value() {
        task.schedule();
    }
}

/// # Safety
///
/// As [`task_of_waker`].
unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the caller's duty.
    let task = unsafe { task_of_waker(data) };
    task.trace.waker("waker.wake_by_ref");
    task.wake();
}

/// # Safety
///
/// As [`task_of_waker`]; the waker ends here.
unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the caller's duty.
    let task = unsafe { task_of_waker(data) };
    task.trace.waker("waker.drop");
    drop(TaskRef::new(task));
}
