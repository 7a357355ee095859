//! The policy by which a worker that other threads wake over and over sleeps for a fixed time instead (the moderation of
//! interrupts by a network card).
//!
//! A thread that is no worker and puts task after task wakes a worker for the first one. If the tasks are short, the worker has
//! run all that are there before the next one is put: it parks, and the next put wakes it. So each few tasks cost the thread
//! and the worker a system call, and a change of the thread. A worker that naps takes all tasks that were put meanwhile, and
//! the threads that put them wake no worker, since it counts as searching.
//!
//! | the worker | event | consequence |
//! |---|---|---|
//! | sleeps | another thread wakes it within [`NAP`] | after `wanted` such waits in a row it naps |
//! | sleeps | it waits for longer | the count starts again |
//! | naps | [`MANY`] tasks or more wait at its end | it naps next time too, and `wanted` halves, down to 8 |
//! | naps | fewer wait | it sleeps next time, and `wanted` doubles, up to 8,192 |
//!
//! A nap for few tasks delays them by its length, as where a thread puts a task and waits for its result. So such naps soon
//! become as rare as one in 8,192 waits. Tasks that the worker runs later do not count: a task that was put may spawn many.

use std::time::Duration;

/// The length of a nap: the time that ready tasks may wait by [`WakeRule`](crate::sched::WakeRule) too.
pub const NAP: Duration = Duration::from_micros(100);

/// The number of tasks that are worth a nap.
pub const MANY: usize = 16;

/// The number of short waits in a row that make a worker nap, at first and at least.
const MIN_WANTED: u32 = 8;

/// The largest such number.
const MAX_WANTED: u32 = 8192;

/// The policy of one worker. It reads no clock: the caller passes the length of each wait, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Moderation {
    wanted: u32,
    streak: u32,
}

impl Default for Moderation {
    fn default() -> Self {
        Self::new()
    }
}

impl Moderation {
    /// Creates the policy of a worker that has not waited.
    pub const fn new() -> Self {
        Self { wanted: MIN_WANTED, streak: 0 }
    }

    /// Records that the worker has slept until another thread woke it.
    pub fn slept(&mut self, nanoseconds: u64) {
        let was_short = u128::from(nanoseconds) < NAP.as_nanos();
        self.streak = if was_short { self.streak.saturating_add(1) } else { 0 };
    }

    /// Records that the worker has napped, and how many tasks that other threads have put wait at the end of the nap.
    pub fn napped(&mut self, waiting: usize) {
        if waiting >= MANY {
            self.wanted = (self.wanted / 2).max(MIN_WANTED);
        } else {
            (self.wanted, self.streak) = ((self.wanted * 2).min(MAX_WANTED), 0);
        }
    }

    /// Returns whether the worker is to nap, now that it would sleep.
    pub fn is_nap_due(&self) -> bool {
        self.streak >= self.wanted
    }
}
