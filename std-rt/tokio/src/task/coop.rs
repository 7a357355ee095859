//! The budget of a task's turn, which is two: that of netpoll-rt, against which sockets, timers and handles count, and that of
//! tokio's own channels and locks. Each has 128 operations.
//!
//! # How upstream's budget is set
//!
//! Its budget is a thread-local variable that only its own scheduler fills. But the guard of its public `poll_proceed`
//! remembers the budget from before, and sets the variable to it when it is dropped without progress. One such guard, which
//! remembers the full budget, is kept for the whole process, and a copy of it is dropped before each turn. That happens
//! within upstream's `unconstrained`, which restores what was before the turn: no bound, so that other code on the thread is
//! never refused.

#![expect(
    unsafe_code,
    reason = "the guard of upstream that remembers the full budget is copied for each turn"
)]

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem::ManuallyDrop;
use std::pin::{Pin, pin};
use std::ptr;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker, ready};

use netpoll_rt::task::{Budgeted, TurnTaken};
use pin_project_lite::pin_project;
use upstream::task::coop as upstream_coop;

use crate::runtime::context;

/// The guard that remembers the full budget.
static FULL: LazyLock<Full> = LazyLock::new(|| {
    let mut full = None;
    context::with_full_budget(|cx| {
        if let Poll::Ready(guard) = upstream_coop::poll_proceed(cx) {
            full = Some(guard);
        }
    });
    Full(ManuallyDrop::new(full.expect("a budget that is full refuses no operation")))
});

struct Full(ManuallyDrop<upstream_coop::RestoreOnPending>);

// SAFETY: the value is a number in a cell. It is not written once it is here: no thread calls `made_progress` on it, and its
// drop, which reads it, is that of a copy. It refers to no thread: the drop sets the variable of the thread that drops.
unsafe impl Send for Full {}

// SAFETY: see above; a shared reference is only copied from.
unsafe impl Sync for Full {}

const _: () = assert!(
    size_of::<upstream_coop::RestoreOnPending>() == size_of::<Option<u8>>(),
    "upstream's guard is no longer a number, which may be copied"
);

/// Makes sure that the full budget is known, on a thread that drives nothing.
pub(crate) fn prepare() {
    LazyLock::force(&FULL);
}

/// Fills upstream's budget.
#[inline]
fn fill() {
    // SAFETY: the guard is a number in a cell, as the assertion above holds it to, and owns nothing, so that a copy of it is as
    // good as the original. The original is never dropped, and never written (see `Full`).
    drop(unsafe { ptr::read(&*FULL.0) });
}

/// Calls a function without upstream's budget, and restores that afterwards.
pub(crate) fn without_budget<R>(call: impl FnOnce() -> R) -> R {
    let _kept = Kept(match upstream_coop::poll_proceed(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(kept) => Some(kept),
        Poll::Pending => None,
    });
    call()
}

/// The budget of a turn that is interrupted, which the guard within restores if it was not spent.
struct Kept(Option<upstream_coop::RestoreOnPending>);

impl Drop for Kept {
    fn drop(&mut self) {
        if self.0.is_none() {
            // The thread has blocked meanwhile, and a new turn begins.
            fill();
        }
    }
}

/// Returns the future of a task: each poll of it is a turn with a full budget of upstream.
pub(crate) fn turns<F: Future>(future: F) -> Turns<F> {
    Turns { future }
}

pin_project! {
    /// The future of a task.
    pub(crate) struct Turns<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Turns<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut future = self.project().future;
        let turn = pin!(upstream_coop::unconstrained(poll_fn(|cx| {
            fill();
            future.as_mut().poll(cx)
        })));
        turn.poll(cx)
    }
}

/// Lets a future make any number of operations in one turn.
pub fn unconstrained<F>(inner: F) -> Unconstrained<F>
where
    F: Future,
{
    Unconstrained { inner: netpoll_rt::task::unconstrained(upstream_coop::unconstrained(inner)) }
}

pin_project! {
    /// The future of [`unconstrained`].
    #[must_use = "Unconstrained does nothing unless polled"]
    pub struct Unconstrained<F> {
        #[pin]
        inner: Budgeted<upstream_coop::Unconstrained<F>>,
    }
}

impl<F: Future> Future for Unconstrained<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().inner.poll(cx)
    }
}

impl<F> fmt::Debug for Unconstrained<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unconstrained").finish_non_exhaustive()
    }
}

/// Makes a future count against the budget.
pub fn cooperative<F: Future>(fut: F) -> Coop<F> {
    Coop { fut }
}

pin_project! {
    /// The future of [`cooperative`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct Coop<F: Future> {
        #[pin]
        fut: F,
    }
}

impl<F: Future> Future for Coop<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let turn = ready!(poll_proceed(cx));
        let polled = self.project().fut.poll(cx);
        if polled.is_ready() {
            turn.made_progress();
        }
        polled
    }
}

/// Takes one operation from the budget, and yields if the turn is over.
pub async fn consume_budget() {
    let mut charged = false;
    poll_fn(|cx| {
        if charged {
            return Poll::Ready(());
        }
        let turn = ready!(poll_proceed(cx));
        charged = true;
        turn.made_progress();
        Poll::Ready(())
    })
    .await
}

/// Returns whether the turn has operations left, of channels and of sockets.
pub fn has_budget_remaining() -> bool {
    upstream_coop::has_budget_remaining() && netpoll_rt::task::has_budget_remaining()
}

/// Takes one operation from the budget. Pending if the turn is over: the task has been woken for its next one.
pub fn poll_proceed(cx: &mut Context<'_>) -> Poll<RestoreOnPending> {
    let upstream = ready!(upstream_coop::poll_proceed(cx));
    let turn = ready!(netpoll_rt::task::poll_take_turn(cx));
    Poll::Ready(RestoreOnPending { upstream, turn: Cell::new(Some(turn)) })
}

/// One operation of the budget, made by [`poll_proceed`].
///
/// Dropped: it is given back, unless [`made_progress`](Self::made_progress) was called.
#[must_use]
pub struct RestoreOnPending {
    upstream: upstream_coop::RestoreOnPending,
    turn: Cell<Option<TurnTaken>>,
}

impl RestoreOnPending {
    /// Keeps the operation counted.
    pub fn made_progress(&self) {
        self.upstream.made_progress();
        if let Some(turn) = self.turn.take() {
            turn.made_progress();
        }
    }
}

impl fmt::Debug for RestoreOnPending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestoreOnPending").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}
