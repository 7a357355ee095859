//! A future of another crate that counts as those of this one do.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{Charge, is_exhausted, poll_yield, remaining, spend};

/// Makes a future count against the budget of its task's turn, as those of this crate do.
///
/// Without it the receiver of another crate's channel that is never empty keeps its worker for itself, while timers and
/// sockets wait:
///
/// ```
/// # async fn received() -> u32 { 7 } // as `receiver.recv()` of a channel
/// use netpoll_rt::task;
///
/// # netpoll_rt::block_on(async {
/// let value = task::cooperative(received()).await;
/// # assert_eq!(value, 7);
/// # });
/// ```
///
/// A future that is ready at its first poll costs one operation, unless it has taken some itself. One that has waited
/// costs nothing: the others have had their turns.
///
/// # Cancel safety
///
/// That of the future.
pub fn cooperative<F: Future>(future: F) -> Cooperative<F> {
    Cooperative { future, charge: Charge::First }
}

pin_project! {
    /// The future of [`cooperative`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Cooperative<F> {
        #[pin]
        future: F,
        charge: Charge,
    }
}

impl<F> fmt::Debug for Cooperative<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cooperative").field("charge", &self.charge).finish_non_exhaustive()
    }
}

impl<F: Future> Future for Cooperative<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if *this.charge == Charge::First && is_exhausted() {
            *this.charge = Charge::Refused;
            ready!(poll_yield(cx));
        }
        let before = remaining();
        let polled = this.future.poll(cx);
        if polled.is_pending() {
            *this.charge = Charge::Waited;
        } else if *this.charge != Charge::Waited && remaining() == before {
            spend(1);
        }
        polled
    }
}
