//! The order of the addresses, when the next attempt starts, how long each may take: no sockets, no clock.
//!
//! | rule | from |
//! |---|---|
//! | families take turns, beginning with that of the first address; within one, the resolver's order stays | RFC 8305 section 4, a First Address Family Count of 1 |
//! | the next attempt starts 250 ms after the one before, or as soon as that one has failed | RFC 8305 section 5 |
//! | an attempt gets an equal share of the time that is left, but 2 s if there are that many | Go's `partialDeadline` |
//!
//! An attempt that fails later than 250 ms after its start hastens nothing: the next has started already.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// From the start of one attempt to that of the next.
pub const DELAY: Duration = Duration::from_millis(250);

/// The least share of an attempt, as long as there is that much.
pub const SHARE: Duration = Duration::from_secs(2);

/// What is to be tried and when.
#[derive(Debug)]
pub struct Plan {
    order: Vec<SocketAddr>,
    /// So many attempts have been started.
    started: usize,
    /// When the next one starts.
    next: Instant,
    deadline: Option<Instant>,
}

/// An attempt to be started now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Its place in the order.
    pub place: usize,
    /// Where to.
    pub address: SocketAddr,
    /// When to give it up.
    pub until: Option<Instant>,
}

impl Plan {
    /// A plan for the addresses, in the resolver's order, that begins `now` and is over at `deadline`.
    pub fn new(addresses: Vec<SocketAddr>, now: Instant, deadline: Option<Instant>) -> Self {
        Self { order: interleaved(addresses), started: 0, next: now, deadline }
    }

    /// The addresses in the order in which they are tried.
    pub fn order(&self) -> &[SocketAddr] {
        &self.order
    }

    /// The attempt to start now, if any; to be asked until there is none.
    pub fn start(&mut self, now: Instant) -> Option<Attempt> {
        if self.is_over(now) || self.next_start().is_none_or(|at| now < at) {
            return None;
        }
        let place = self.started;
        let until = self.deadline.map(|deadline| self.share(now, deadline));
        self.started += 1;
        self.next = now + DELAY;
        Some(Attempt { place, address: self.order[place], until })
    }

    /// The attempt at this place has failed.
    pub fn failed(&mut self, place: usize, now: Instant) {
        if place + 1 == self.started {
            self.next = now;
        }
    }

    /// When [`Plan::start`] has the next one; none if there will be none.
    pub fn next_start(&self) -> Option<Instant> {
        (self.started < self.order.len() && !self.is_over(self.next)).then_some(self.next)
    }

    /// Whether the deadline has passed.
    pub fn is_over(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Until when the attempt that starts now may take.
    fn share(&self, now: Instant, deadline: Instant) -> Instant {
        let (left, waiting) = (deadline - now, self.order.len() - self.started);
        // More addresses than fit into 32 bits have no share that matters.
        let equal = left / u32::try_from(waiting).unwrap_or(u32::MAX);
        now + equal.max(SHARE).min(left)
    }
}

/// The families in turn, beginning with the first one's; within a family the order stays.
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
