//! A timer of a poller.

use std::io;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use crate::netpoll::{Netpoll, Renewed, TimerId, clock};

/// A timer, which wakes a task once. Dropping it disarms it.
#[derive(Debug)]
#[must_use = "a timer does nothing until it is polled"]
pub struct Timer {
    netpoll: Arc<Netpoll>,
    at: u64,
    armed: Option<TimerId>,
}

impl Timer {
    pub(super) fn new(netpoll: Arc<Netpoll>, at: Instant) -> Self {
        Self { netpoll, at: clock::tick(at), armed: None }
    }

    /// Polls the timer. Ready means that its time is over. Pending means that `waker` is woken then; it replaces the waker of
    /// an earlier call.
    ///
    /// # Errors
    ///
    /// Returns [`runtime_ended`](crate::runtime_ended) if its poller was dropped before the time is over, or this is a forked
    /// child.
    ///
    /// # Panics
    ///
    /// Panics if 2^32 - 1 timers are armed.
    pub fn poll(&mut self, waker: &Waker) -> Poll<io::Result<()>> {
        if let Some(id) = self.armed {
            match self.netpoll.renew_timer(id, waker) {
                Renewed::Armed => return Poll::Pending,
                Renewed::Fired | Renewed::Gone(_) => self.armed = None,
            }
        }
        if self.is_over() {
            return Poll::Ready(Ok(()));
        }
        self.netpoll.check()?;
        self.armed = self.netpoll.add_timer(self.at, waker.clone());
        match self.armed {
            Some(_) => Poll::Pending,
            // The poller has ended just now.
            None => Poll::Ready(self.netpoll.check().map_err(io::Error::from)),
        }
    }

    /// Moves the timer to another time, earlier or later, also after it has fired. If a task waits for it, the task is woken
    /// then; at once, by this call, if that is a time which has passed.
    pub fn reset(&mut self, at: Instant) {
        self.at = clock::tick(at);
        if let Some(id) = self.armed
            && !self.netpoll.move_timer(id, self.at)
        {
            self.armed = None;
        }
    }

    /// Returns whether the time is over.
    pub fn is_over(&self) -> bool {
        self.netpoll.is_over(self.at)
    }

    /// Returns the time at which it is due.
    pub fn deadline(&self) -> Instant {
        clock::instant(self.at)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(id) = self.armed {
            self.netpoll.drop_timer(id);
        }
    }
}
