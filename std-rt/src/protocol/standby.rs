//! The standby thread, which polls the kernel for a runtime without threads while no thread drives it.
//!
//! The tasks of such a runtime wait until a thread is in its `block_on`. But its descriptors can be used by tasks of other
//! runtimes and executors, and these must not wait for such a thread. For them a *standby* thread polls. It is started when it
//! is first needed, makes room for every thread that drives, and ends when no task is parked any more.
//!
//! | drivers | standby | [`begin`](Standby::begin) | [`end`](Standby::end) | [`want`](Standby::want) | [`may_poll`](Standby::may_poll) |
//! |---|---|---|---|---|---|
//! | none | absent | drivers + 1 | - | must be started | - |
//! | none | polls | breaks its poll, waits for it, drivers + 1 | - | nothing | - |
//! | none | looks | drivers + 1 | - | nothing | polls, or ends if it is not wanted |
//! | some | absent | drivers + 1 | drivers - 1; the last has it started if it is wanted | it is wanted | - |
//! | some | looks | drivers + 1 | drivers - 1; the last wakes it | it is wanted | waits, or ends |
//!
//! # Why no task is forgotten
//!
//! A task parks first and calls `want` then. The standby asks under the lock whether a task is parked before it ends:
//!
//! 1. `want` comes before that look: the parking is seen, and it stays.
//! 2. After it: the standby is absent by then, and is started again.

use crate::sync::{Condvar, Mutex, MutexGuard, lock};
use std::sync::PoisonError;

/// The standby of one runtime.
#[derive(Debug, Default)]
pub struct Standby {
    state: Mutex<StandbyState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct StandbyState {
    /// Threads that drive the runtime, or are about to. A nested `block_on` counts again.
    drivers: usize,
    /// A task that is not the runtime's own has parked.
    wanted: bool,
    /// The thread exists, or is being started.
    exists: bool,
    /// The thread is in the poller.
    polls: bool,
    /// The runtime has ended.
    over: bool,
}

impl StandbyState {
    /// Returns true if the caller must start the thread.
    fn starts(&mut self) -> bool {
        let starts = self.wanted && self.drivers == 0 && !self.over && !self.exists;
        self.exists |= starts;
        starts
    }
}

impl Standby {
    /// Counts a thread that begins to drive, and waits until the standby is out of the poller. `break_poll` ends the poll that
    /// the standby is in, or the next one.
    pub fn begin(&self, break_poll: impl Fn()) {
        let mut state = lock(&self.state);
        state.drivers += 1;
        if state.polls {
            drop(state);
            break_poll();
            state = lock(&self.state);
            while state.polls {
                state = self.wait(state);
            }
        }
    }

    /// Counts a thread that stops driving. Returns true if the caller must start the standby.
    #[must_use]
    pub fn end(&self) -> bool {
        let mut state = lock(&self.state);
        state.drivers -= 1;
        let starts = state.starts();
        drop(state);
        self.changed.notify_all();
        starts
    }

    /// Records that a task which is not the runtime's own has parked. Returns true if the caller must start the standby.
    #[must_use]
    pub fn want(&self) -> bool {
        let mut state = lock(&self.state);
        state.wanted = true;
        state.starts()
    }

    /// Records that the standby could not be started.
    pub fn not_started(&self) {
        lock(&self.state).exists = false;
    }

    /// Waits until the standby may poll. Returns false if it is to end, because no task is parked or the runtime has ended.
    pub fn may_poll(&self, any_parked: impl Fn() -> bool) -> bool {
        let mut state = lock(&self.state);
        loop {
            state.wanted &= any_parked();
            if state.over || !state.wanted {
                state.exists = false;
                return false;
            }
            if state.drivers == 0 {
                state.polls = true;
                return true;
            }
            state = self.wait(state);
        }
    }

    /// Records that the standby is out of the poller.
    pub fn polled(&self) {
        lock(&self.state).polls = false;
        self.changed.notify_all();
    }

    /// Ends the standby with its runtime; it is not started any more. `break_poll` is as in
    /// [`begin`](Standby::begin).
    pub fn close(&self, break_poll: impl Fn()) {
        let mut state = lock(&self.state);
        state.over = true;
        let polls = state.polls;
        drop(state);
        if polls {
            break_poll();
        }
        self.changed.notify_all();
    }

    fn wait<'a>(&self, state: MutexGuard<'a, StandbyState>) -> MutexGuard<'a, StandbyState> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}
