//! What a [`Netpoll`](super::Netpoll)(super::Netpoll) counts.

use netpoll_core::sync::Counter;

/// Numbers of one [`Netpoll`](super::Netpoll) since it was made.
#[derive(Debug, Default)]
pub struct Counts {
    /// Calls of the kernel's wait.
    pub polls: Counter,
    /// Of these, calls that made no task ready: no event, no timer.
    pub empty_polls: Counter,
    /// Events that the kernel reported.
    pub events: Counter,
    /// Breaks written to the poller.
    pub breaks_sent: Counter,
    /// Breaks that needed no write, since one was under way.
    pub breaks_coalesced: Counter,
    /// Events of a descriptor that was gone, refused by their generation.
    pub stale_events: Counter,
    /// Timers put back when they came due, since the deadline had been moved later meanwhile.
    pub timers_rearmed: Counter,
    /// Entries of the wheel that came due.
    pub timers_fired: Counter,
}
