//! The budget of a turn, for futures that are not this crate's.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::coop;

/// Takes one operation from the budget of the task's turn; if the turn is over, the others have theirs first.
///
/// A loop that computes, or that awaits only what is always ready, gives way by it:
///
/// ```
/// use netpoll_rt::task;
///
/// # netpoll_rt::block_on(async {
/// let mut sum = 0_u64;
/// for n in 0..100_000 {
///     sum += n;
///     task::take_turn().await;
/// }
/// assert_eq!(sum, 4_999_950_000);
/// # });
/// ```
///
/// [`yield_now`](crate::yield_now) gives way each time; this does so once in
/// [`Builder::budget`](crate::Builder::budget) calls. Outside of a task, on a thread that runs none, it does nothing.
///
/// # Cancel safety
///
/// Dropped: nothing has happened.
pub fn take_turn() -> TakeTurn {
    TakeTurn(coop::proceed())
}

/// The future of [`take_turn`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct TakeTurn(coop::Proceed);

impl Future for TakeTurn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Takes one operation from the budget of the task's turn, for a `poll` function that is about to try something.
///
/// Pending if the turn is over; the task has been woken for its next one. Ready with a [`TurnTaken`] otherwise: tell it
/// with [`made_progress`](TurnTaken::made_progress) that the function returns `Ready`. If it is dropped without that, as
/// when the function turns out to be pending, it gives the operation back.
///
/// ```
/// # use std::collections::VecDeque;
/// # use std::task::{Context, Poll, Waker, ready};
/// use netpoll_rt::task;
///
/// # struct Receiver<T> { queue: VecDeque<T>, waker: Option<Waker> }
/// # impl<T> Receiver<T> {
/// fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<T> {
///     let turn = ready!(task::poll_take_turn(cx));
///     let Some(value) = self.queue.pop_front() else {
///         self.waker = Some(cx.waker().clone());
///         return Poll::Pending;
///     };
///     turn.made_progress();
///     Poll::Ready(value)
/// }
/// # }
/// ```
pub fn poll_take_turn(cx: &mut Context<'_>) -> Poll<TurnTaken> {
    coop::poll_proceed(cx).map(|()| TurnTaken { kept: false })
}

/// One operation of a turn's budget; made by [`poll_take_turn`].
///
/// Dropped: it is given back, unless [`made_progress`](Self::made_progress) was called.
#[derive(Debug)]
#[must_use = "dropped at once, it gives the operation back"]
pub struct TurnTaken {
    kept: bool,
}

impl TurnTaken {
    /// Keeps the operation counted: something was ready.
    pub fn made_progress(mut self) {
        self.kept = true;
    }
}

impl Drop for TurnTaken {
    fn drop(&mut self) {
        if !self.kept {
            coop::refund();
        }
    }
}
