//! Futures whose time is limited.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::error::Elapsed;
use super::{Duration, Instant, Sleep};

/// Runs `future` for at most `duration`. One that is ready at the first poll is ready even if `duration` is zero; a duration
/// that is too long for the clock is no limit.
///
/// # Cancel safety
///
/// Dropped before it is ready: `future` is dropped with it.
///
/// # Panics
///
/// Panics outside of a runtime, also before it is polled.
#[track_caller]
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    #[expect(clippy::manual_map, reason = "a panic within `map` would not have the caller's location")]
    let delay = match Instant::now().checked_add(duration) {
        Some(deadline) => Some(Sleep::at(deadline)),
        None => None,
    };
    Timeout { value: future.into_future(), delay }
}

/// Runs `future` until `deadline` at most; otherwise as [`timeout`].
///
/// # Cancel safety
///
/// Dropped before it is ready: `future` is dropped with it.
///
/// # Panics
///
/// Panics outside of a runtime, also before it is polled.
#[track_caller]
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout { value: future.into_future(), delay: Some(Sleep::at(deadline)) }
}

pin_project! {
    /// The future of [`timeout`] and [`timeout_at`].
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    #[derive(Debug)]
    pub struct Timeout<T> {
        #[pin]
        value: T,
        #[pin]
        delay: Option<Sleep>,
    }
}

impl<T> Timeout<T> {
    /// Returns the future whose time is limited.
    pub fn get_ref(&self) -> &T {
        &self.value
    }

    /// Returns the future whose time is limited, to be changed.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.value
    }

    /// Returns the future without its limit.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T: Future> Future for Timeout<T> {
    type Output = Result<T::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(value) = this.value.poll(cx) {
            return Poll::Ready(Ok(value));
        }
        // If the future has spent the turn's budget, the sleep may be refused once. Netpoll-rt refuses it no second time, so
        // the time of a future that always spends its budget ends in the next turn.
        match this.delay.as_pin_mut() {
            Some(delay) => delay.poll(cx).map(|()| Err(Elapsed::new())),
            None => Poll::Pending,
        }
    }
}
