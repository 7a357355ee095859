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
//!
//! # A paused clock
//!
//! A test need not wait for its timers. The clock of a runtime of [`workers(1)`](crate::Builder::workers) can be paused: by
//! `#[netpoll_rt::test(paused)]`, by [`Builder::clock`](crate::Builder::clock) or by [`pause`]. It stands while there is a task
//! to run. When there is none, it moves to the next timer at once, so that hours pass in no time, and exactly:
//!
//! ```
//! use std::time::Duration;
//! use netpoll_rt::Runtime;
//! use netpoll_rt::time::{self, Clock, sleep, timeout};
//!
//! let runtime = Runtime::builder().workers(1).clock(Clock::paused()).build()?;
//! runtime.block_on(async {
//!     let start = time::now();
//!     let hours = Duration::from_secs(3 * 3600);
//!     assert!(timeout(hours, sleep(Duration::MAX)).await.is_err());
//!     assert_eq!(time::now() - start, hours);
//! });
//! # std::io::Result::Ok(())
//! ```
//!
//! **All times of the runtime go by its clock**: sleeps, timeouts and intervals, deadlines and timeouts of its sockets, limits
//! of connects and copies. Take instants from [`now`], since [`Instant::now`] is the system's. The limit of
//! [`Runtime::shutdown_timeout`](crate::Runtime::shutdown_timeout) is of the system's time, and so are the monitor's measurements.
//!
//! The clock moves by itself if all of this is true:
//!
//! 1. No task is runnable, and the kernel has no event when it is asked without a wait.
//! 2. No closure of [`spawn_blocking`](crate::spawn_blocking), operation on a file or name look-up is queued or runs.
//! 3. A timer is armed. It moves to the earliest one; timers of the same time fire together.
//!
//! Otherwise the thread sleeps until an event of the kernel or of another thread, as with any clock. If no timer is armed
//! and nothing can wake a task any more, it does so for ever: the runtime cannot know whether another thread has a waker.
//!
//! What other threads and processes do takes no time of a paused clock, so it moves on before they can answer. Let the peers of
//! a test run in its own runtime, or wait for others in a closure of `spawn_blocking`, during which the clock stands.
//!
//! A timer that is polled in another runtime than before keeps its instant, and goes by the clock of that one. One that is
//! polled where such a runtime is merely [entered](crate::Handle::enter) waits until a thread is in its `block_on`.

mod clock;
mod interval;
mod sleep;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::coop::{self, Cooperative, cooperative};
use crate::netpoll::{clock as ticks, local_clock};
pub use clock::{Clock, advance, is_paused, now, pause, resume};
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
    Timeout { future: cooperative(future), timer: Timer::new(local_clock::after(duration)) }
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
    Timeout { future: cooperative(future), timer: Timer::new(ticks::tick(deadline)) }
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
