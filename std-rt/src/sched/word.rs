//! A task as the one word that the run queues carry.

use std::ptr::NonNull;

use async_task::Runnable;

/// The word of a task that is to be run; it owns the task's reference.
pub(super) fn from_task(task: Runnable) -> usize {
    task.into_raw().as_ptr().expose_provenance()
}

/// The task of a word that came out of a queue.
pub(super) fn to_task(word: usize) -> Runnable {
    let pointer = NonNull::new(std::ptr::with_exposed_provenance_mut(word));
    let pointer = pointer.expect("INV-9: only words of tasks are put into a queue");
    // SAFETY: INV-9: the word came from `from_task` and came out of its queue once, so this is its only owner.
    unsafe { Runnable::from_raw(pointer) }
}
