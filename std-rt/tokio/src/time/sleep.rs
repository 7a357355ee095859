//! A sleep that belongs to the runtime in whose context it was created.

use std::future::Future;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll};

use netpoll_rt::{Handle, time};
use pin_project_lite::pin_project;

use super::{Duration, Instant, LONGEST};
use crate::runtime::SHUTTING_DOWN;

/// Waits until `deadline`.
///
/// # Panics
///
/// Panics outside of a runtime, also before it is polled. The poll of a sleep whose runtime has ended panics.
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::at(deadline)
}

/// Waits for `duration`, for 30 years at most.
///
/// # Panics
///
/// Panics outside of a runtime, also before it is polled. The poll of a sleep whose runtime has ended panics.
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    Sleep::at(Instant::now() + duration.min(LONGEST))
}

pin_project! {
    /// The future of [`sleep`] and [`sleep_until`]. It moves only before its first poll, as tokio's.
    #[project(!Unpin)]
    #[derive(Debug)]
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct Sleep {
        delay: Delay,
        // tokio's is not `Unpin` either: code that compiles here compiles there.
        pinned: PhantomPinned,
    }
}

impl Sleep {
    #[track_caller]
    pub(super) fn at(deadline: Instant) -> Self {
        Sleep { delay: Delay::new(deadline), pinned: PhantomPinned }
    }

    /// Returns the instant at which it ends.
    pub fn deadline(&self) -> Instant {
        self.delay.deadline()
    }

    /// Returns whether it was polled, or reset, and its deadline has passed.
    pub fn is_elapsed(&self) -> bool {
        self.delay.is_armed && self.delay.timer.is_elapsed()
    }

    /// Sets another deadline, earlier or later, also after it has completed. A task that waits for it is woken then.
    pub fn reset(self: Pin<&mut Self>, deadline: Instant) {
        self.project().delay.reset(deadline);
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().delay.poll(cx)
    }
}

/// A sleep that may be moved, for the types that contain one.
#[derive(Debug)]
pub(super) struct Delay {
    deadline: Instant,
    /// The runtime that fires the timer.
    handle: Handle,
    timer: time::Sleep,
    /// Set once the timer was polled or reset; tokio registers it then.
    is_armed: bool,
}

impl Delay {
    #[track_caller]
    pub(super) fn new(deadline: Instant) -> Self {
        let handle = crate::runtime::timers();
        let timer = time::sleep_until(deadline.into_std());
        Self { deadline, handle, timer, is_armed: false }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        self.is_armed = true;
        Pin::new(&mut self.timer).reset(deadline.into_std());
    }

    /// # Panics
    ///
    /// Panics if the runtime has ended, also after the deadline.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.handle.has_ended() {
            panic!("{SHUTTING_DOWN}");
        }
        self.is_armed = true;
        // A guard costs an allocation, and most sleeps are polled where they were created.
        let _entered = (!self.handle.is_current()).then(|| self.handle.enter());
        Pin::new(&mut self.timer).poll(cx)
    }
}
