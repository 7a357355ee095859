//! The rule by which a worker that has polled, or stolen, wakes another one: to run a part of its tasks, and to poll in its
//! place while it runs them.
//!
//! To wake a worker costs some microseconds of both, and it arrives some tens of microseconds later. If the tasks that are
//! ready have ended by then, the wake was in vain. If one of them takes long, those behind it wait although another worker
//! sleeps, and so does every event that comes meanwhile, since the poller is free. A worker cannot know how long a task will
//! take, so it learns from the past:
//!
//! | event | consequence |
//! |---|---|
//! | tasks are ready that would take 100 us at the mean time of the last ones | another worker is woken |
//! | fewer are ready, and a wake is due | another worker is woken, and one wake less is due |
//! | a worker has run tasks without a poll | the mean follows, by at most three eighths: the kernel may have run another thread meanwhile |
//! | the same for 5 ms or more | one wake is due for each 5 ms, 2,000 at most |
//!
//! So wakes that turn out to be in vain cost about a thousandth of the time for which tasks and events may have waited. A
//! runtime begins with some wakes due.
//!
//! For a task in the global queue a worker is woken without a guess, unless that is a *stream*: a worker naps again and again
//! because many tasks come there ([`moderation`](crate::moderation)). Then the rule above decides as long as a worker is awake,
//! which looks there soon.
//!
//! Where the guess is wrong, the monitor wakes a worker after 10 ms at most, and the stream ends. **A runtime
//! without the monitor does not guess**: it wakes a worker for every task that is ready. There no event waits for a task while a
//! worker sleeps.

use netpoll_core::sync::RelaxedUsize;

/// The time that the ready tasks must take, in nanoseconds, to be worth a wake: twice the time until a woken worker arrives.
const WORTH: u64 = 100_000;

/// The time of one task, in nanoseconds, beyond which it counts no more.
const LONG: u64 = 2 * WORTH;

/// The least mean time of a task, in nanoseconds: that of an empty one. From 0 it could not grow.
const SHORT: u64 = 100;

/// The time in nanoseconds after which a busy worker polls, by the mean time of its tasks: ten times as long as the poll and
/// the wake of a task by it.
const POLL_AFTER: u64 = 200_000;

/// The time of a long run, in nanoseconds, that pays for one wake: more than the time for which the kernel runs another
/// thread in between.
const PRICE: u64 = 5_000_000;

/// The most wakes that are due at a time.
const MOST: usize = 2_000;

/// The wakes that are due when a runtime begins.
const FIRST: usize = 64;

/// The knowledge of the workers of one runtime about its tasks.
#[derive(Debug)]
pub struct WakeRule {
    /// False if no monitor corrects a wrong guess.
    guesses: bool,
    due: RelaxedUsize,
    /// The mean time of a task in nanoseconds.
    mean: RelaxedUsize,
    /// 1 while tasks come to the global queue in a stream.
    stream: RelaxedUsize,
}

impl WakeRule {
    /// Creates the state of a new runtime, which has a monitor or not.
    pub(super) fn new(monitored: bool) -> Self {
        let (due, mean) = (RelaxedUsize::new(), RelaxedUsize::new());
        due.set(FIRST);
        Self { guesses: monitored, due, mean, stream: RelaxedUsize::new() }
    }

    /// Records whether tasks come to the global queue in a stream.
    pub fn set_stream(&self, is_stream: bool) {
        self.stream.set(is_stream.into());
    }

    /// Returns a worker's share of `waiting` tasks in the global queue: all in a stream, since no other worker is woken for them.
    pub(super) fn share(&self, waiting: usize, workers: usize) -> usize {
        if self.stream.get() == 0 { waiting.div_ceil(workers) } else { waiting }
    }

    /// Returns whether to wake a worker, if `waiting` tasks are in the global queue and another worker is awake.
    pub(super) fn is_worth_in_global(&self, waiting: usize) -> bool {
        if self.stream.get() == 0 { waiting > 0 } else { self.is_worth(waiting) }
    }

    /// Returns false if no monitor corrects a wrong guess.
    #[inline]
    pub(super) fn guesses(&self) -> bool {
        self.guesses
    }

    /// Records that a worker has looked for tasks `n` times and run them for `nanoseconds` without a poll. Of two workers that
    /// do so at once, one may be forgotten. Returns whether these tasks were long, 200 us each or more.
    #[inline]
    pub fn ran(&self, nanoseconds: u64, n: u64) -> bool {
        let mean = (self.mean.get() as u64).max(SHORT);
        let each = nanoseconds / n.max(1);
        self.mean.set((mean - mean / 8 + each.min(LONG).min(4 * mean) / 8) as usize);
        if nanoseconds >= PRICE {
            self.due.set((self.due.get() + (nanoseconds / PRICE) as usize).min(MOST));
        }
        each >= LONG
    }

    /// Returns the number of tasks after which a worker polls: `most`, or fewer if these would take longer than 200 us.
    #[inline]
    pub fn poll_interval(&self, most: u32) -> u32 {
        let mean = (self.mean.get() as u64).max(SHORT);
        (POLL_AFTER / mean).clamp(1, most.into()) as u32
    }

    /// Returns whether to wake a worker, if `ready` tasks are in the rings.
    #[inline]
    pub(super) fn is_worth(&self, ready: usize) -> bool {
        if ready == 0 || !self.guesses || ready as u64 * self.mean.get() as u64 >= WORTH {
            return ready > 0;
        }
        let due = self.due.get();
        if due > 0 {
            self.due.set(due - 1);
        }
        due > 0
    }
}
