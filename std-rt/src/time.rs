//! Sleeps, timeouts and intervals: timers of the current runtime, as exact as the kernel's nanoseconds, and
//! never early.
//!
//! # The runtime of a timer
//!
//! A sleep, and so a timeout or an interval, belongs to no runtime permanently. Each poll leaves the timer
//! with the runtime that the polling thread runs for, or with the default one on a thread without a runtime.
//! When that runtime ends, the task is woken and its next poll moves the timer: a sleep that began in a
//! runtime that has ended completes on time in another. A runtime with one worker fires its timers while a
//! thread is in its `block_on`.

mod interval;
mod sleep;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::coop::{self, Cooperative, cooperative};
use crate::netpoll::clock;
#[doc(inline)]
pub use interval::MissedTicks as MissedTickBehavior;
pub use interval::{Interval, MissedTicks, interval, interval_at};
pub(crate) use sleep::Timer;
pub use sleep::{Sleep, sleep, sleep_until};
#[doc(no_inline)]
pub use std::time::{Duration, Instant};

pin_project! {
    /// The future of [`timeout`] and [`timeout_at`].
    #[must_use = "a timeout does nothing until it is awaited"]
    #[derive(Debug)]
    pub struct Timeout<F> {
        #[pin]
        future: Cooperative<F>,
        timer: Timer,
    }
}

/// Runs `future` for at most `duration`. Returns its value, or an error of kind `TimedOut` if the time is
/// over first. A value that is ready at the first poll is returned even if `duration` is zero.
///
/// The time also ends while every operation of `future` is ready at once, on any executor: they count against
/// the budget of the task's turn, or against one of 128 operations if there is none. A `future` that computes
/// without an `await` is not interrupted.
///
/// For sockets a deadline costs less: `set_read_deadline` is a store, while this arms a timer each time.
///
/// # Cancel safety
///
/// Dropped before it is ready: `future` is dropped with it.
///
/// # Panics
///
/// Panics as [`sleep`] does.
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout { future: cooperative(future), timer: Timer::new(clock::after(duration)) }
}

/// Runs `future` until `deadline` at most; otherwise as [`timeout`].
///
/// ```
/// # use std::time::{Duration, Instant};
/// use netpoll_rt::time::{sleep, timeout_at};
///
/// # netpoll_rt::block_on(async {
/// let deadline = Instant::now() + Duration::from_millis(5);
/// assert!(timeout_at(deadline, sleep(Duration::MAX)).await.is_err());
/// # });
/// ```
///
/// # Cancel safety
///
/// Dropped before it is ready: `future` is dropped with it.
///
/// # Panics
///
/// Panics as [`sleep`] does.
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout { future: cooperative(future), timer: Timer::new(clock::tick(deadline)) }
}

impl<F> Timeout<F> {
    /// Returns the future whose time is limited.
    pub fn get_ref(&self) -> &F {
        self.future.get_ref()
    }

    /// Returns the future whose time is limited, to be changed.
    pub fn get_mut(&mut self) -> &mut F {
        self.future.get_mut()
    }

    /// Returns the future without its limit.
    pub fn into_inner(self) -> F {
        self.future.into_inner()
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = io::Result<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Without a budget a future that is always ready would never return, and its time would never be
        // over.
        let bound = coop::is_unlimited().then(|| coop::replace_budget(coop::DEFAULT));
        if let Poll::Ready(value) = this.future.poll(cx) {
            return Poll::Ready(Ok(value));
        }
        drop(bound);
        this.timer.poll(cx).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the timeout is over")))
    }
}
