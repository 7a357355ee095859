//! The clock of a runtime, which a test may pause.

use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::netpoll::{PollBuffer, clock, local_clock};
use crate::sched::SchedHandle;

/// The clock of a runtime, for [`Builder::clock`](crate::Builder::clock).
#[derive(Clone, Debug, Default)]
pub struct Clock {
    pub(crate) is_paused: bool,
}

impl Clock {
    /// Creates the clock of the system, which is the default.
    pub fn system() -> Self {
        Self::default()
    }

    /// Creates a clock that is paused from the start, see [`pause`](fn@pause).
    pub fn paused() -> Self {
        Self { is_paused: true }
    }
}

/// Returns the current instant of the current runtime's clock. Unless that was [paused](fn@pause), and outside of a runtime,
/// it is [`Instant::now`].
///
/// A thread for work that blocks goes by the clock of its runtime, too.
pub fn now() -> Instant {
    local_clock::instant()
}

/// Returns whether the clock of the current runtime is paused; false outside of a runtime.
pub fn is_paused() -> bool {
    SchedHandle::current().is_some_and(|sched| sched.netpoll().is_paused())
}

/// Pauses the clock of the current runtime. The module has [the rules](super#a-paused-clock).
///
/// # Panics
///
/// - If the thread is in no runtime.
/// - If the runtime is not one of [`workers(1)`](crate::Builder::workers): other threads would go on while the clock stands.
/// - If the clock is paused already.
#[track_caller]
pub fn pause() {
    let sched = current("pause");
    assert!(
        sched.is_threadless(),
        "netpoll: time::pause needs a runtime of `Builder::workers(1)`, and this one has threads for its tasks"
    );
    assert!(sched.netpoll().pause(), "netpoll: time::pause: the clock is paused already");
}

/// Lets the clock of the current runtime go on from where it stands. It stays as far from the system's as it is then.
///
/// # Panics
///
/// - If the thread is in no runtime.
/// - If the clock is not paused.
#[track_caller]
pub fn resume() {
    assert!(current("resume").netpoll().resume(), "netpoll: time::resume: the clock is not paused");
}

/// Moves the paused clock of the current runtime forward, all at once. The tasks whose timers are due then are made runnable, in
/// the order of their deadlines, and the caller comes after them, unless they are hundreds. Each finds the clock at its new
/// time.
///
/// `sleep(duration).await` stops at each timer on the way instead, and does not return before each task there has nothing to
/// do any more.
///
/// # Cancel safety
///
/// Dropped after its first poll: the clock has moved.
///
/// # Panics
///
/// Panics when it is awaited
/// - in no runtime,
/// - if the clock is not paused,
/// - if the new time is beyond the range of the clock, 292 years.
pub async fn advance(duration: Duration) {
    move_clock(&current("advance"), duration);
    // A turn for the tasks, and then for this one.
    let mut had_turn = false;
    poll_fn(|cx| {
        if mem::replace(&mut had_turn, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Moves the paused clock and makes the tasks runnable whose timers are due then.
fn move_clock(sched: &SchedHandle, duration: Duration) {
    let netpoll = sched.netpoll();
    assert!(netpoll.is_paused(), "netpoll: time::advance: the clock is not paused");
    let mut now = netpoll.now();
    let end = clock::later(now, duration);
    assert!(end < clock::FAR, "netpoll: time::advance: {duration:?} is beyond the range of the clock");
    let mut buffer = PollBuffer::new();
    loop {
        now = clock::step(now, end);
        netpoll.advance_to(now);
        // The worker of the runtime is not asleep if it is this thread; otherwise the change of the clock has woken it.
        while netpoll.fire_due(&mut buffer) {
            sched.inject(&mut buffer);
        }
        if now == end {
            return;
        }
    }
}

/// Returns the runtime that this thread works for.
#[track_caller]
fn current(what: &str) -> Arc<SchedHandle> {
    SchedHandle::current().unwrap_or_else(|| panic!("netpoll: time::{what}: this thread is in no runtime"))
}
