//! The metadata of a task: its spawn location or its name, in one word that a worker publishes while it runs the task.

use std::panic::Location;
use std::sync::Arc;

use super::{Sched, SchedHandle, lock, word};

/// The place of a named task in the list of names, instead of a location.
const NAMED: usize = 1;

/// The task stays on the thread that spawned it.
const LOCAL: usize = 2;

const BITS: u32 = 2;

const _: () = assert!(align_of::<Location<'static>>() >= 1 << BITS, "the low bits of a location are free");

/// A task's spawn location, or its place in the list of names; never 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskMeta(usize);

impl TaskMeta {
    /// Creates the metadata of a task without a name.
    #[inline]
    pub fn new(location: &'static Location<'static>) -> Self {
        Self(word::from_location(location))
    }

    /// Marks a task that stays on its thread.
    pub fn local(self) -> Self {
        Self(self.0 | LOCAL)
    }

    /// Returns true if the task stays on its thread.
    pub fn is_local(self) -> bool {
        self.0 & LOCAL != 0
    }

    pub(super) fn to_word(self) -> usize {
        self.0
    }
}

/// The name of a task, and the location that spawned it.
#[derive(Clone, Debug)]
pub struct TaskName {
    /// None for a task that was given no name.
    pub name: Option<Arc<str>>,
    /// The call of `spawn`.
    pub location: &'static Location<'static>,
}

/// Keeps a task's name in the list while the task lives.
#[derive(Debug)]
pub struct NameGuard {
    sched: Arc<SchedHandle>,
    place: usize,
}

impl Drop for NameGuard {
    fn drop(&mut self) {
        let named = lock(&self.sched.names).try_remove(self.place);
        drop(named);
    }
}

impl SchedHandle {
    /// Enters a task's name into the list, for as long as the guard lives.
    pub fn name_task(
        self: &Arc<Self>,
        name: Arc<str>,
        location: &'static Location<'static>,
    ) -> (TaskMeta, NameGuard) {
        let place = lock(&self.names).insert(TaskName { name: Some(name), location });
        (TaskMeta(place << BITS | NAMED), NameGuard { sched: self.clone(), place })
    }
}

impl Sched {
    /// Returns the name of the task of a word; `None` for no task, or one that has ended meanwhile.
    pub(super) fn named(&self, word: usize) -> Option<TaskName> {
        if word & NAMED != 0 {
            return lock(&self.names).get(word >> BITS).cloned();
        }
        let location = word::to_location(word & !LOCAL)?;
        Some(TaskName { name: None, location })
    }
}
