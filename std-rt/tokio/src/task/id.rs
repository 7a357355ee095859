//! The ids of tasks.

use std::fmt;

/// The id of a task. No two tasks have the same one at the same time.
#[derive(Clone, Copy, Debug, Hash, Eq, PartialEq, PartialOrd, Ord)]
pub struct Id(pub(super) netpoll_rt::task::Id);

/// Returns the id of the task that calls.
///
/// # Panics
///
/// Panics outside of a task.
#[track_caller]
pub fn id() -> Id {
    try_id().expect("Can't get a task id when not inside a task")
}

/// Returns the id of the task that calls, or `None` outside of a task.
pub fn try_id() -> Option<Id> {
    netpoll_rt::task::try_id().map(Id)
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
