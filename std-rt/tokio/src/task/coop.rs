//! The budget of a task's turn, which is two: that of netpoll-rt, against which sockets, timers and handles count, and that of
//! tokio's own channels and locks. Each has 128 operations.
//!
//! # How upstream's budget is set
//!
//! Its budget is a thread-local variable that only its own scheduler fills. But the guard of its public `poll_proceed`
//! remembers the budget from before, and sets the variable to it when it is dropped without progress. So each thread that runs
//! tasks keeps one guard, the token, that remembers the full budget. Before each turn the token is dropped, which fills the
//! budget, and the next token is taken, for one operation. All of it happens within upstream's `unconstrained`, which
//! restores what was before the turn: no bound, so that other code on the thread is never refused.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem::ManuallyDrop;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use netpoll_rt::task::{Budgeted, TurnTaken};
use pin_project_lite::pin_project;
use upstream::task::coop as upstream_coop;

use crate::runtime::context;

thread_local! {
    /// The token. It is not dropped with the thread: the drop would only set a variable that ends, too.
    static TOKEN: ManuallyDrop<Cell<Option<upstream_coop::RestoreOnPending>>> =
        const { ManuallyDrop::new(Cell::new(None)) };
}

/// Takes a token that remembers upstream's budget, which must be full, unless the thread has one.
pub(crate) fn take_first_token(cx: &mut Context<'_>) {
    TOKEN.with(|token| {
        let kept = token.take();
        let taken = kept.or_else(|| match upstream_coop::poll_proceed(cx) {
            Poll::Ready(first) => Some(first),
            Poll::Pending => None,
        });
        token.set(taken);
    });
}

/// Fills upstream's budget.
#[inline]
fn fill(cx: &mut Context<'_>) {
    TOKEN.with(|token| {
        let Some(full) = token.take() else { return fill_first(cx) };
        drop(full);
        if let Poll::Ready(next) = upstream_coop::poll_proceed(cx) {
            token.set(Some(next));
        }
    });
}

/// Takes the first token of a thread that polls tasks and is in no `block_on`, and fills the budget.
#[cold]
fn fill_first(cx: &mut Context<'_>) {
    context::with_full_budget(take_first_token);
    // There is one now, unless the thread is in a runtime of upstream's own, whose budget counts then.
    if let Some(full) = TOKEN.with(|token| token.take()) {
        drop(full);
        if let Poll::Ready(next) = upstream_coop::poll_proceed(cx) {
            TOKEN.with(|token| token.set(Some(next)));
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
            fill(cx);
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

/// Returns whether the turn has operations left.
pub fn has_budget_remaining() -> bool {
    upstream_coop::has_budget_remaining()
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
