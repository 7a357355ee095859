//! A timer as a future: [`Timer`], which the rest of the crate waits with, and [`Sleep`], which also knows its deadline.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::coop::Charge;
use crate::netpoll::clock::FAR;
use crate::netpoll::{Netpoll, Renewed, TimerId, clock, local_clock};
use crate::trace::{Awaited, OpTrace, Resource};

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
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    Sleep::new(local_clock::after(duration), Location::caller())
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
#[track_caller]
pub fn sleep_until(at: Instant) -> Sleep {
    Sleep::new(clock::tick(at), Location::caller())
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// [`reset`](Self::reset) gives it another deadline, for instance to postpone an idle timeout at each message:
///
/// ```
/// # use std::future::Future;
/// # use std::pin::pin;
/// # use std::time::{Duration, Instant};
/// use netpoll_rt::time::sleep;
///
/// const IDLE: Duration = Duration::from_millis(5);
///
/// # netpoll_rt::block_on(async {
/// let mut idle = pin!(sleep(IDLE));
/// # for _message in 0..3 {
/// // At each message:
/// idle.as_mut().reset(Instant::now() + IDLE);
/// # }
/// idle.await;
/// # });
/// ```
#[must_use = "a sleep does nothing until it is awaited"]
pub struct Sleep {
    timer: Timer,
    /// The tick of the deadline. The timer loses it when it fires.
    at: u64,
    resource: Resource,
    trace: OpTrace,
}

impl Sleep {
    fn new(at: u64, location: &'static Location<'static>) -> Self {
        // Armed like any other, so that a reset finds its waker.
        let at = at.min(FAR);
        Self { timer: Timer::new(at), at, resource: Resource::sleep(location), trace: OpTrace::new() }
    }

    /// Returns the instant at which it ends. If that is beyond the range of the clock, it returns one some 292 years
    /// after the start of the machine.
    pub fn deadline(&self) -> Instant {
        clock::instant(self.at)
    }

    /// Returns true once the deadline has passed, whether or not the sleep was polled.
    pub fn is_elapsed(&self) -> bool {
        self.at <= local_clock::now()
    }

    /// Sets another deadline, earlier or later, also after the sleep has completed.
    ///
    /// A task that waits for it is woken at the new deadline. The timer is moved and not armed again, which within one slot
    /// of the wheel (a far deadline that moves a little) takes a lock and a store or two. A sleep that has completed must be
    /// polled again before it wakes the task.
    pub fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        self.at = clock::tick(deadline).min(FAR);
        let at = self.at;
        self.timer.reset(at);
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("at_ns", &self.at).field("timer", &self.timer).finish()
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let polling = this.trace.begin(&this.resource, Awaited::Elapsed);
        polling.end(this.timer.poll(cx))
    }
}

/// A timer of the runtime that polls it, in 24 bytes: with many timers, the memory traffic takes most of the time.
pub(crate) struct Timer {
    state: TimerState,
}

enum TimerState {
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

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Timer");
        match &self.state {
            TimerState::New(at) => f.field("at_ns", at),
            TimerState::Armed { id, .. } => f.field("armed", id),
            TimerState::Refused | TimerState::Over => f.field("over", &true),
        };
        f.finish_non_exhaustive()
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let TimerState::Armed { netpoll, id } = &self.state {
            netpoll.drop_timer(*id);
        }
    }
}

impl Timer {
    /// Creates a timer that is due at a tick.
    pub(crate) fn new(at: u64) -> Self {
        Self { state: TimerState::New(at) }
    }

    /// Makes it due at another tick. If it is armed, the task is woken then.
    pub(crate) fn reset(&mut self, at: u64) {
        let moved = matches!(&self.state, TimerState::Armed { netpoll, id } if netpoll.move_timer(*id, at));
        if !moved {
            // An armed one that was not moved is gone from its wheel, and its task was woken.
            self.state = TimerState::New(at);
        }
    }

    /// Polls it, for the future that contains it.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        // After a wait it costs nothing, because the other tasks have had their turns.
        let mut charge = Charge::First;
        loop {
            match &self.state {
                TimerState::Refused => return self.over(cx, Charge::Refused),
                TimerState::Over => return self.over(cx, charge),
                TimerState::New(clock::LATEST) => return Poll::Pending,
                // The timer moves to this thread's runtime: the one before may have no thread that polls.
                TimerState::Armed { netpoll, id } if netpoll.prefers_current_poller() => {
                    charge = Charge::Waited;
                    self.state = netpoll.take_timer(*id).map_or(TimerState::Over, TimerState::New);
                }
                // The waker may be another one this time. A timer that is gone has fired, so the clock need
                // not be read.
                TimerState::Armed { netpoll, id } => {
                    charge = Charge::Waited;
                    match netpoll.renew_timer(*id, cx.waker()) {
                        Renewed::Armed => return Poll::Pending,
                        Renewed::Fired => self.state = TimerState::Over,
                        Renewed::Gone(at) => self.state = TimerState::New(at),
                    }
                }
                TimerState::New(at) => {
                    let at = *at;
                    let netpoll = Netpoll::for_sleep();
                    let netpoll =
                        netpoll.unwrap_or_else(|error| panic!("sleep: no runtime can be started: {error}"));
                    if netpoll.is_over(at) {
                        return self.over(cx, charge);
                    } else if let Some(id) = netpoll.add_timer(at, cx.waker().clone()) {
                        self.state = TimerState::Armed { netpoll, id };
                        return Poll::Pending;
                    }
                    // Its runtime has ended just now: the loop tries another.
                }
            }
        }
    }

    /// Completes the timer. If it has not waited in this poll, it counts against the turn's budget.
    fn over(&mut self, cx: &Context<'_>, charge: Charge) -> Poll<()> {
        let taken = charge.poll_proceed(cx);
        self.state = if taken.is_ready() { TimerState::Over } else { TimerState::Refused };
        taken
    }
}
