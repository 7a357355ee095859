//! The budget of a turn, for the futures of other crates and for a future with a budget of its own.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::coop::{self, TakeTurn};

/// Takes one operation from the budget of the task's turn. If the turn is over, all other tasks get a turn first.
///
/// A loop that computes, or that awaits only futures that are always ready, yields by it:
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
/// [`yield_now`](crate::yield_now) yields each time; this function yields once in
/// [`Builder::budget`](crate::Builder::budget) calls. On a thread that runs no tasks it does nothing.
///
/// # Cancel safety
///
/// Dropped: nothing has happened.
pub fn take_turn() -> TakeTurn {
    coop::proceed()
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

/// Returns whether the task's turn has operations left, for a future that has to tell why another one is pending. Always true
/// on a thread that runs no tasks.
///
/// ```
/// use netpoll_rt::task;
///
/// # netpoll_rt::block_on(async {
/// assert!(task::has_budget_remaining());
/// # });
/// ```
pub fn has_budget_remaining() -> bool {
    !coop::is_exhausted()
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

pin_project! {
    /// A future with a budget of its own; made by [`with_budget`] and [`unconstrained`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Budgeted<F> {
        #[pin]
        future: F,
        operations: u64,
    }
}

impl<F> fmt::Debug for Budgeted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgeted").field("operations", &self.operations).finish_non_exhaustive()
    }
}

/// Lets a future make at most `operations` operations in one turn, whatever the
/// [`Builder::budget`](crate::Builder::budget) of its runtime, and move 2 KiB for each of them; then its task goes to the end
/// of the queue. 0 is no bound.
///
/// ```
/// use netpoll_rt::task;
///
/// # async fn copy_a_backup() {}
/// # netpoll_rt::block_on(async {
/// // Others come first more often.
/// netpoll_rt::spawn(task::with_budget(8, copy_a_backup())).await
/// # }).unwrap();
/// ```
///
/// It works with any executor. The rest of the task keeps its own budget.
pub fn with_budget<F: Future>(operations: u32, future: F) -> Budgeted<F> {
    Budgeted { future, operations: units(operations) }
}

/// Lets a future make as many operations in one turn as it finds something for: [`with_budget`] of 0. While its sockets
/// always have something to give, no other task gets a turn on its worker.
pub fn unconstrained<F: Future>(future: F) -> Budgeted<F> {
    with_budget(0, future)
}

/// Converts the budget of a setting to the units of the thread's count.
pub(crate) fn units(operations: u32) -> u64 {
    if operations == 0 { coop::UNLIMITED } else { u64::from(operations) }
}

impl<F: Future> Future for Budgeted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // Put back also if the future panics.
        let _guard = coop::replace_budget(*this.operations);
        this.future.poll(cx)
    }
}
