//! A task's waker: a pointer to its cell, and a reference.

#![expect(unsafe_code, reason = "a waker is a reference to a task cell")]

use std::mem::ManuallyDrop;
use std::process;
use std::ptr::{self, NonNull};
use std::task::{RawWaker, RawWakerVTable, Waker};

use netpoll_core::sched::task::Action;

use super::raw::run_action;
use super::{Header, Runnable};

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// Wakes a task and returns it, to be put into a queue; `None` if it is in one already, or has ended.
///
/// # Errors
///
/// Returns a waker that is not a task's.
#[inline]
pub fn wake_to_runnable(waker: Waker) -> Result<Option<Runnable>, Waker> {
    if !ptr::eq(waker.vtable(), &TABLE) {
        return Err(waker);
    }
    let waker = ManuallyDrop::new(waker);
    // SAFETY: INV-11: the table is that of this file.
    let task = unsafe { cell(waker.data()) };
    // SAFETY: INV-11: the waker has a reference.
    let then = unsafe { task.as_ref() }.state.wake_by_value();
    if then == Action::Schedule {
        // The word gave the task to the caller.
        return Ok(Some(Runnable(task)));
    }
    // SAFETY: INV-11: the word has said so.
    unsafe { run_action(task, then) }
    Ok(None)
}

/// Returns a waker without a reference of its own, for one poll.
///
/// # Safety
///
/// INV-11: the cell is there for as long as the waker is used.
pub unsafe fn waker_ref(task: NonNull<Header>) -> ManuallyDrop<Waker> {
    let raw = RawWaker::new(task.as_ptr().cast_const().cast(), &TABLE);
    // SAFETY: INV-11: what is made of it by `clone` has a reference; the rest is the caller's.
    ManuallyDrop::new(unsafe { Waker::from_raw(raw) })
}

/// # Safety
///
/// INV-11: the pointer is a waker's of this file.
unsafe fn cell(data: *const ()) -> NonNull<Header> {
    // SAFETY: INV-11: it points to a cell.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
}

/// # Safety
///
/// INV-11: the pointer is a waker's of this file.
unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: INV-11: the caller's.
    let task = unsafe { cell(data) };
    // SAFETY: INV-11: the waker has a reference, or its borrower does.
    if !unsafe { task.as_ref() }.state.add_ref() {
        // Only leaked wakers can be that many. As for `Arc`, going on would free what is in use.
        process::abort();
    }
    RawWaker::new(data, &TABLE)
}

/// # Safety
///
/// INV-11: the pointer is a waker's of this file, whose reference goes.
unsafe fn wake(data: *const ()) {
    // SAFETY: INV-11: the caller's.
    let task = unsafe { cell(data) };
    // SAFETY: INV-11: the waker has a reference.
    let then = unsafe { task.as_ref() }.state.wake_by_value();
    // SAFETY: INV-11: the word has said so.
    unsafe { run_action(task, then) }
}

/// # Safety
///
/// INV-11: the pointer is a waker's of this file.
unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: INV-11: the caller's.
    let task = unsafe { cell(data) };
    // SAFETY: INV-11: the waker has a reference, or its borrower does.
    let then = unsafe { task.as_ref() }.state.wake();
    // SAFETY: INV-11: the word has said so.
    unsafe { run_action(task, then) }
}

/// # Safety
///
/// INV-11: the pointer is a waker's of this file, whose reference goes.
unsafe fn drop_waker(data: *const ()) {
    // SAFETY: INV-11: the caller's.
    let task = unsafe { cell(data) };
    // SAFETY: INV-11: the waker has a reference.
    let then = unsafe { task.as_ref() }.state.drop_ref();
    // SAFETY: INV-11: the word has said so.
    unsafe { run_action(task, then) }
}
