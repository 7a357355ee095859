//! A task as the one word that the run queues carry, and the place that spawned it as the one that a worker shows.
//!
//! - **INV-401** A word that says where a task was spawned is a `&'static Location`, its low bits cleared, or 0: what it
//!   points to is never written and never freed, so whoever reads the word at whatever time may look there.

#![expect(unsafe_code, reason = "a task travels through the run queues as one word")]

use std::num::NonZeroUsize;
use std::panic::Location;
use std::ptr::NonNull;

use super::Runnable;

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

/// The word of a place in the source.
pub(super) fn from_location(location: &'static Location<'static>) -> usize {
    std::ptr::from_ref(location).expose_provenance()
}

/// The place of a word that came from [`from_location`]; none for 0.
pub(super) fn to_location(word: usize) -> Option<&'static Location<'static>> {
    let word = NonZeroUsize::new(word)?;
    let pointer = std::ptr::with_exposed_provenance::<Location<'static>>(word.get());
    // SAFETY: INV-401: the word came from a `&'static Location`, which is there for as long as the process runs.
    Some(unsafe { &*pointer })
}
