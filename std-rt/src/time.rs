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

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use crate::coop::{self, Charge, Cooperative, cooperative};
use crate::netpoll::{Netpoll, Renewed, TimerId, clock};
pub use interval::{Interval, MissedTicks, interval, interval_at};

/// Waits for `duration`, and not less. A sleep of zero is ready at once, and counts against the budget of its
/// task's turn as every operation does. A duration that is too long for the clock never ends.
///
/// # Cancel safety
///
/// Dropped before it is ready: the timer is disarmed.
///
/// # Panics
///
/// Panics when it is polled outside of a runtime, if the default one cannot be started, or was started before
/// this process was forked.
pub fn sleep(duration: Duration) -> Sleep {
    Sleep { state: SleepState::New(clock::after(duration)) }
}

/// Waits until `at`, and not less. It is ready at once if that has passed.
///
/// # Cancel safety
///
/// Dropped before it is ready: the timer is disarmed.
///
/// # Panics
///
/// Panics as [`sleep`] does.
pub fn sleep_until(at: Instant) -> Sleep {
    Sleep { state: SleepState::New(clock::tick(at)) }
}

/// The future of [`sleep`] and [`sleep_until`].
#[must_use = "a sleep does nothing until it is awaited"]
pub struct Sleep {
    state: SleepState,
}

/// The state of a sleep, in 24 bytes: with many timers, the memory traffic takes most of the time.
enum SleepState {
    /// It was not polled yet. [`LATEST`](clock::LATEST) never comes.
    New(u64),
    Armed {
        netpoll: Arc<Netpoll>,
        id: TimerId,
    },
    /// The time is over, but the turn's budget was spent: the next poll is ready.
    Refused,
    /// The time is over.
    Over,
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Sleep");
        match &self.state {
            SleepState::New(at) => f.field("at_ns", at),
            SleepState::Armed { id, .. } => f.field("armed", id),
            SleepState::Refused | SleepState::Over => f.field("over", &true),
        };
        f.finish_non_exhaustive()
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let SleepState::Armed { netpoll, id } = &self.state {
            netpoll.drop_timer(*id);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // After a wait it costs nothing, because the other tasks have had their turns.
        let mut charge = Charge::First;
        loop {
            match &self.state {
                SleepState::Refused => return self.over(cx, Charge::Refused),
                SleepState::Over => return self.over(cx, charge),
                SleepState::New(clock::LATEST) => return Poll::Pending,
                // The timer moves to this thread's runtime: the one before may have no thread that polls.
                SleepState::Armed { netpoll, id } if netpoll.prefers_current_poller() => {
                    charge = Charge::Waited;
                    self.state = netpoll.take_timer(*id).map_or(SleepState::Over, SleepState::New);
                }
                // The waker may be another one this time. A timer that is gone has fired, so the clock need
                // not be read.
                SleepState::Armed { netpoll, id } => {
                    charge = Charge::Waited;
                    match netpoll.renew_timer(*id, cx.waker()) {
                        Renewed::Armed => return Poll::Pending,
                        Renewed::Fired => self.state = SleepState::Over,
                        Renewed::Gone(at) => self.state = SleepState::New(at),
                    }
                }
                SleepState::New(at) => {
                    let at = *at;
                    let netpoll = Netpoll::for_sleep();
                    let netpoll =
                        netpoll.unwrap_or_else(|error| panic!("sleep: no runtime can be started: {error}"));
                    if netpoll.is_over(at) {
                        return self.over(cx, charge);
                    } else if let Some(id) = netpoll.add_timer(at, cx.waker().clone()) {
                        self.state = SleepState::Armed { netpoll, id };
                        return Poll::Pending;
                    }
                    // Its runtime has ended just now: the loop tries another.
                }
            }
        }
    }
}

impl Sleep {
    /// Completes the sleep. If it has not waited in this poll, it counts against the turn's budget.
    fn over(&mut self, cx: &Context<'_>, charge: Charge) -> Poll<()> {
        let taken = charge.poll_proceed(cx);
        self.state = if taken.is_ready() { SleepState::Over } else { SleepState::Refused };
        taken
    }
}

pin_project! {
    /// The future of [`timeout`].
    #[must_use = "a timeout does nothing until it is awaited"]
    #[derive(Debug)]
    pub struct Timeout<F> {
        #[pin]
        future: Cooperative<F>,
        #[pin]
        sleep: Sleep,
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
    Timeout { future: cooperative(future), sleep: sleep(duration) }
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
        this.sleep.poll(cx).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the timeout is over")))
    }
}
