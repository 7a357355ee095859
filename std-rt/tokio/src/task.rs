//! Tasks, sets of them, and what a task calls on itself.

/// Spawns a task.
pub fn spawn() {}
