//! The metrics of a runtime.

use std::fmt;

use crate::sched::Sched;

/// The metrics of a runtime since its creation. They are read one after the other while the runtime goes on, so they may
/// differ by the events in between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// Worker threads, or 1 for a runtime that runs on the thread of `block_on`.
    pub workers: usize,
    /// The kernel's pollers: see [`Builder::pollers`](crate::Builder::pollers).
    pub pollers: usize,
    /// Tasks that have not ended.
    pub tasks: usize,
    /// Tasks parked on a descriptor now, by a look at each descriptor.
    pub waiters: usize,
    /// Descriptors open now.
    pub descriptors: usize,
    /// Timers outstanding now.
    pub timers: usize,
    /// Calls of the kernel's wait.
    pub polls: usize,
    /// Calls of the kernel's wait that made no task ready.
    pub empty_polls: usize,
    /// Events that the kernel reported.
    pub events: usize,
    /// Breaks written to the poller.
    pub breaks_sent: usize,
    /// Breaks that needed no write, since one was under way.
    pub breaks_coalesced: usize,
    /// Events of descriptors that were gone, refused by their generation.
    pub stale_events: usize,
    /// Timers armed or moved earlier.
    pub timers_armed: usize,
    /// Timers put back when they came due, since their deadline had been moved later meanwhile.
    pub timers_rearmed: usize,
    /// Timers that came due.
    pub timers_fired: usize,
    /// Tasks taken from another worker's queue.
    pub steals: usize,
    /// Times that a worker went to sleep while another one polled.
    pub parks: usize,
    /// Times that a worker spun before it would sleep, and found work.
    pub spin_hits: usize,
    /// Times that a worker spun in vain, and slept.
    pub spin_misses: usize,
    /// Turns in which a task held its worker for longer than [`Builder::stuck_after`](crate::Builder::stuck_after).
    pub stuck_tasks: usize,
    /// Threads for work that blocks now: see [`Builder::max_blocking_threads`](crate::Builder::max_blocking_threads).
    pub blocking_threads: usize,
    /// Threads for work that blocks that are idle now.
    pub idle_blocking_threads: usize,
    /// Closures, operations on files and name look-ups that wait for a thread now.
    pub blocking_queue_depth: usize,
    /// Closures, operations on files and name look-ups that a thread has taken.
    pub blocking_jobs: usize,
    /// Threads for work that blocks that the kernel refused to create.
    pub blocking_threads_refused: usize,
}

impl Metrics {
    pub(crate) fn of(sched: &Sched) -> Self {
        let (netpoll, tasks) = (sched.netpoll(), sched.counts());
        let (counts, pool) = (netpoll.counts(), sched.pool().counts());
        Self {
            workers: sched.workers(),
            pollers: netpoll.pollers(),
            tasks: sched.living(),
            waiters: netpoll.waiters(),
            descriptors: netpoll.descriptors(),
            timers: netpoll.timers(),
            polls: counts.polls.get(),
            empty_polls: counts.empty_polls.get(),
            events: counts.events.get(),
            breaks_sent: counts.breaks_sent.get(),
            breaks_coalesced: counts.breaks_coalesced.get(),
            stale_events: counts.stale_events.get(),
            timers_armed: netpoll.timers_armed(),
            timers_rearmed: counts.timers_rearmed.get(),
            timers_fired: counts.timers_fired.get(),
            steals: tasks.steals.get(),
            parks: tasks.parks.get(),
            spin_hits: tasks.spin_hits.get(),
            spin_misses: tasks.spin_misses.get(),
            stuck_tasks: tasks.stuck.get(),
            blocking_threads: pool.threads,
            idle_blocking_threads: pool.idle,
            blocking_queue_depth: pool.queued,
            blocking_jobs: pool.jobs,
            blocking_threads_refused: pool.refused,
        }
    }
}

/// Writes all metrics in one line, for people; its form may change.
impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { polls, empty_polls, events, stale_events, breaks_sent, breaks_coalesced, .. } = self;
        write!(f, "polls {polls} ({empty_polls} empty), events {events} ({stale_events} stale), ")?;
        write!(f, "breaks {breaks_sent} sent and {breaks_coalesced} coalesced, ")?;
        let Self { timers, timers_armed, timers_rearmed, timers_fired, .. } = self;
        write!(
            f,
            "timers {timers} ({timers_armed} armed, {timers_rearmed} re-armed, {timers_fired} fired), "
        )?;
        let Self { waiters, tasks, steals, parks, spin_hits, spin_misses, stuck_tasks, .. } = self;
        write!(f, "tasks {tasks} ({waiters} waiting), steals {steals}, parks {parks}, ")?;
        write!(f, "spins {spin_hits} hit and {spin_misses} missed, stuck {stuck_tasks}, ")?;
        let Self { blocking_threads, idle_blocking_threads, blocking_queue_depth, blocking_jobs, .. } = self;
        write!(
            f,
            "blocking threads {blocking_threads} ({idle_blocking_threads} idle, {} refused), ",
            self.blocking_threads_refused
        )?;
        write!(f, "jobs {blocking_jobs} ({blocking_queue_depth} waiting)")
    }
}
