//! Concurrent attempts at several addresses: the first that succeeds wins, and the others are dropped.
//!
//! [`Plan`] decides and this file executes: it polls the running attempts, has one timer for the next start
//! or end of a share, and keeps the errors.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::errors::{AddressErrors, timed_out};
use super::plan::{Attempt, Plan};
use crate::netpoll::clock;
use crate::time::{self, Timer};

/// Executes a plan. `name` is the name of the addresses, if they were looked up.
///
/// # Cancel safety
///
/// Dropped before it is ready: the running attempts are dropped.
///
/// # Errors
///
/// Returns the errors of all addresses in the plan's order, as [`AddressErrors`], with the kind of the first,
/// or `TimedOut` if the deadline has passed.
pub async fn race<T, F: Future<Output = io::Result<T>>>(
    plan: Plan,
    name: Option<String>,
    attempt: impl FnMut(SocketAddr) -> F,
) -> io::Result<T> {
    let failed = plan.order().iter().map(|_| None).collect();
    let mut race = Race { plan, attempt, running: Vec::new(), failed, timer: None };
    match poll_fn(|cx| race.poll(cx)).await {
        Some(winner) => Ok(winner),
        None => Err(race.into_error(name)),
    }
}

struct Race<A, F> {
    plan: Plan,
    attempt: A,
    /// The running attempts, in the order of their start.
    running: Vec<(Attempt, Pin<Box<F>>)>,
    /// The errors, by position in the order.
    failed: Vec<Option<io::Error>>,
    /// The timer of the next start, or of the next end of a share.
    timer: Option<Timer>,
}

impl<T, A, F> Race<A, F>
where
    A: FnMut(SocketAddr) -> F,
    F: Future<Output = io::Result<T>>,
{
    /// Returns the winner; `None` if all have failed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut polled = 0;
        loop {
            if let Some(winner) = self.poll_running(cx, polled) {
                return Poll::Ready(Some(winner));
            }
            let now = time::now();
            self.give_up(now);
            if let Some(attempt) = self.plan.start(now) {
                polled = self.running.len();
                self.running.push((attempt, Box::pin((self.attempt)(attempt.address))));
                continue;
            }
            if self.running.is_empty() {
                return Poll::Ready(None);
            }
            ready!(self.poll_timer(cx));
            polled = self.running.len();
        }
    }

    /// Polls the running attempts, starting with index `from`.
    fn poll_running(&mut self, cx: &mut Context<'_>, mut from: usize) -> Option<T> {
        while let Some((attempt, future)) = self.running.get_mut(from) {
            match future.as_mut().poll(cx) {
                Poll::Pending => from += 1,
                Poll::Ready(Ok(winner)) => return Some(winner),
                Poll::Ready(Err(error)) => {
                    let place = attempt.place;
                    self.running.remove(from);
                    self.failed(place, error);
                }
            }
        }
        None
    }

    /// Ends the attempts whose share of the time is over.
    fn give_up(&mut self, now: Instant) {
        let over = |(attempt, _): &mut (Attempt, _)| attempt.until.is_some_and(|until| until <= now);
        for (attempt, future) in self.running.extract_if(.., over).collect::<Vec<_>>() {
            drop(future);
            self.failed(attempt.place, timed_out(attempt.address));
        }
    }

    fn failed(&mut self, place: usize, error: io::Error) {
        self.failed[place] = Some(error);
        self.plan.failed(place, time::now());
    }

    /// Is ready when an attempt starts or ends by its share.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let untils = self.running.iter().filter_map(|(attempt, _)| attempt.until);
        match self.plan.next_start().into_iter().chain(untils).min() {
            Some(at) => self.timer.insert(Timer::new(clock::tick(at))).poll(cx),
            None => {
                self.timer = None;
                Poll::Pending
            }
        }
    }

    /// Returns the error after all attempts have failed.
    fn into_error(self, name: Option<String>) -> io::Error {
        let passed = self.plan.is_over(time::now());
        let each = self.plan.order().iter().zip(self.failed);
        let each = each.map(|(address, error)| (*address, error.unwrap_or_else(|| timed_out(*address))));
        AddressErrors::error("connect", name, each.collect(), passed)
    }
}
