//! Where a task comes from: who spawned it and what it is called, in one word that a worker shows while it runs it.

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
    /// A task without a name.
    #[inline]
    pub fn new(location: &'static Location<'static>) -> Self {
        Self(word::from_location(location))
    }

    /// The same for a task that stays on its thread.
    pub fn local(self) -> Self {
        Self(self.0 | LOCAL)
    }

    /// The task stays on its thread.
    pub fn is_local(self) -> bool {
        self.0 & LOCAL != 0
    }

    pub(super) fn to_word(self) -> usize {
        self.0
    }
}

/// What a task is called, and where it was spawned.
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
    /// What the task of a word is called; none for no task, or one that has ended meanwhile.
    pub(super) fn named(&self, word: usize) -> Option<TaskName> {
        if word & NAMED != 0 {
            return lock(&self.names).get(word >> BITS).cloned();
        }
        let location = word::to_location(word & !LOCAL)?;
        Some(TaskName { name: None, location })
    }
}
