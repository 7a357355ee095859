//! The order of the addresses, the start of each attempt, and its share of the time, without sockets or a
//! clock.
//!
//! | rule | from |
//! |---|---|
//! | families alternate, starting with that of the first address; within a family, the resolver's order stays | RFC 8305 section 4, a First Address Family Count of 1 |
//! | the next attempt starts 250 ms after the one before, or as soon as that one has failed | RFC 8305 section 5 |
//! | an attempt gets an equal share of the time that is left, but 2 s if there are that many | Go's `partialDeadline` |
//!
//! An attempt that fails later than 250 ms after its start has no effect on the next, which has started
//! already.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The time from the start of one attempt to that of the next.
pub const DELAY: Duration = Duration::from_millis(250);

/// The smallest share of an attempt, as long as that much is left.
pub const SHARE: Duration = Duration::from_secs(2);

/// A delay that no program lives to see.
const FAR: Duration = Duration::from_secs(1 << 32);

/// The attempts and their times.
#[derive(Debug)]
pub struct Plan {
    order: Vec<SocketAddr>,
    /// The number of attempts that have started.
    started: usize,
    /// The start of the next attempt.
    next: Instant,
    deadline: Option<Instant>,
    /// The time from the start of one attempt to that of the next.
    delay: Duration,
}

/// An attempt to be started now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Its position in the order.
    pub place: usize,
    /// The address to connect to.
    pub address: SocketAddr,
    /// The end of its share of the time.
    pub until: Option<Instant>,
}

impl Plan {
    /// Creates a plan for the addresses, in the resolver's order, that begins `now` and is over at
    /// `deadline`.
    pub fn new(addresses: Vec<SocketAddr>, now: Instant, deadline: Option<Instant>) -> Self {
        Self { order: interleaved(addresses), started: 0, next: now, deadline, delay: DELAY }
    }

    /// Sets the time from the start of one attempt to that of the next, instead of [`DELAY`].
    #[must_use]
    pub fn with_delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Returns the addresses in the order of the attempts.
    pub fn order(&self) -> &[SocketAddr] {
        &self.order
    }

    /// Returns the attempt to start now, if any. Call it until there is none.
    pub fn start(&mut self, now: Instant) -> Option<Attempt> {
        if self.is_over(now) || self.next_start().is_none_or(|at| now < at) {
            return None;
        }
        let place = self.started;
        let until = self.deadline.map(|deadline| self.share(now, deadline));
        self.started += 1;
        // A delay beyond the clock is as good as none of the attempts after it.
        self.next = now.checked_add(self.delay).unwrap_or_else(|| now + FAR);
        Some(Attempt { place, address: self.order[place], until })
    }

    /// Records that the attempt at this position has failed.
    pub fn failed(&mut self, place: usize, now: Instant) {
        if place + 1 == self.started {
            self.next = now;
        }
    }

    /// Returns the time at which [`Plan::start`] has the next attempt; `None` if there will be none.
    pub fn next_start(&self) -> Option<Instant> {
        (self.started < self.order.len() && !self.is_over(self.next)).then_some(self.next)
    }

    /// Returns whether the deadline has passed.
    pub fn is_over(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Returns the end of the share of an attempt that starts now.
    fn share(&self, now: Instant, deadline: Instant) -> Instant {
        let (left, waiting) = (deadline - now, self.order.len() - self.started);
        // With more addresses than fit into 32 bits the share does not matter.
        let equal = left / u32::try_from(waiting).unwrap_or(u32::MAX);
        now + equal.max(SHARE).min(left)
    }
}

/// Returns the families alternately, starting with the first one's; within a family the order stays.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv4) else { return addresses };
    let length = addresses.len();
    let (preferred, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first);
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    let mut order = Vec::with_capacity(length);
    while order.len() < length {
        order.extend(preferred.next());
        order.extend(other.next());
    }
    order
}
