//! The budget of a task's turn (tokio's coop): operations and bytes, counted in the same units.
//!
//! A socket that is always ready never makes its task wait, and without a bound the task would keep its worker forever. A
//! worker fills the budget up before each turn. A thread that is no worker has no bound, because its executor has rules of
//! its own.
//!
//! | a future of this crate | costs |
//! |---|---|
//! | is ready at its first poll, with a value or with an error | 1 unit |
//! | moves bytes | 1 unit more for each [`UNIT`] of them |
//! | has waited before it is ready | only its bytes: the other tasks have had their turns |
//! | is pending | nothing |
//! | finds the budget spent at its first poll | nothing: it is pending, and its task is woken for another turn |
//! | is polled again after that | its full price, and it is not refused a second time |
//!
//! The last row is why a future that stands behind one that is always ready (`or`, a biased `select`) does not starve.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::context;

/// A budget that no turn can spend.
pub const UNLIMITED: u64 = u64::MAX;

/// The number of bytes that cost as much as an operation. By default a turn moves 256 KiB at most and one operation more. To
/// copy them takes the kernel some 50 µs, a hundred times as long as the change to the next task.
pub const UNIT: usize = 2048;

/// A guard that restores the thread's previous budget when it is dropped.
#[must_use]
pub struct BudgetGuard(u64);

/// Replaces the thread's budget until the guard is dropped.
pub fn replace_budget(units: u64) -> BudgetGuard {
    BudgetGuard(context::with(|context| context.budget.replace(units)))
}

impl Drop for BudgetGuard {
    fn drop(&mut self) {
        set_budget(self.0);
    }
}

/// Sets the budget of a turn that begins.
#[inline]
pub fn set_budget(units: u64) {
    context::with(|context| context.budget.set(units));
}

/// Returns whether the budget of the turn is exhausted.
#[inline]
pub fn is_exhausted() -> bool {
    remaining() == 0
}

/// Returns whether the thread has no bound.
pub fn is_unlimited() -> bool {
    remaining() > UNLIMITED / 2
}

/// Returns the units that are left of the turn.
#[inline]
pub fn remaining() -> u64 {
    context::with(|context| context.budget.get())
}

/// Takes one unit, for an operation that has not waited. Returns `Pending`, with the task woken already, if the turn is over.
///
/// Not inlined: the operations are generic and so compiled elsewhere, where the thread's variable is far away.
pub fn poll_proceed(cx: &Context<'_>) -> Poll<()> {
    match remaining() {
        0 => poll_yield(cx),
        left => {
            set_budget(left - 1);
            Poll::Ready(())
        }
    }
}

/// Gives back the unit of an operation that turned out to be pending.
pub fn refund() {
    set_budget(remaining().saturating_add(1));
}

/// Takes units for an operation that is done already; the rest never falls below zero. Returns whether the turn is over.
pub fn spend(units: u64) -> bool {
    let left = remaining().saturating_sub(units);
    set_budget(left);
    left == 0
}

/// Takes the units of bytes that were moved. Fewer than a [`UNIT`] are part of their operation, which most are.
#[inline(always)]
pub fn count_bytes(n: usize) {
    if n >= UNIT {
        spend((n / UNIT) as u64);
    }
}

/// A result that says how many bytes a call has moved.
pub trait Moved {
    /// Returns the number of bytes.
    fn bytes(&self) -> usize;
}

impl Moved for usize {
    #[inline(always)]
    fn bytes(&self) -> usize {
        *self
    }
}

/// The number of bytes, and their sender.
impl<A> Moved for (usize, A) {
    fn bytes(&self) -> usize {
        self.0
    }
}

/// Takes the units of the bytes that `result` speaks of, and passes it on.
#[inline(always)]
pub fn counted<T: Moved, E>(result: Result<T, E>) -> Result<T, E> {
    if let Ok(moved) = &result {
        count_bytes(moved.bytes());
    }
    result
}

/// A result without bytes.
impl Moved for () {
    fn bytes(&self) -> usize {
        0
    }
}

/// Takes one unit for an error that comes before anything was tried, and passes it on.
///
/// Dropped: nothing has happened.
pub async fn refuse<T>(error: std::io::Error) -> std::io::Result<T> {
    proceed().await;
    Err(error)
}

/// The price of a future at its next poll, if that is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Charge {
    /// One unit, or a refusal: it has not been polled yet.
    First,
    /// One unit, without a refusal, since it was refused once.
    Refused,
    /// No unit: it has waited.
    Waited,
}

impl Charge {
    /// Takes these units. Returns `Pending`, with the task woken already, if the turn is over.
    #[inline]
    pub fn poll_proceed(self, cx: &Context<'_>) -> Poll<()> {
        match self {
            Charge::First => return poll_proceed(cx),
            Charge::Refused => {
                spend(1);
            }
            Charge::Waited => {}
        }
        Poll::Ready(())
    }
}

/// The future of [`take_turn`](crate::task::take_turn).
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct TakeTurn {
    charge: Charge,
}

/// Takes one unit; a turn that is over ends first.
pub fn proceed() -> TakeTurn {
    TakeTurn { charge: Charge::First }
}

impl Future for TakeTurn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        std::mem::replace(&mut self.charge, Charge::Refused).poll_proceed(cx)
    }
}

/// The number of refusals after which a future proceeds. A turn with that many refusals is one of an executor within a task,
/// whose `block_on` polls again and again.
const REFUSALS: u32 = 1024;

/// The units of a turn, unless a runtime or a future has its own.
pub const DEFAULT: u64 = 128;

/// Wakes the task of `cx` for another turn.
#[cold]
pub fn poll_yield(cx: &Context<'_>) -> Poll<()> {
    // Never reset: it is enough that few turns proceed.
    let refused = context::with(|context| context.refusals.get()) + 1;
    context::with(|context| context.refusals.set(refused % REFUSALS));
    if refused == REFUSALS {
        set_budget(DEFAULT - 1);
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Makes a future count against the budget of its task's turn, as the futures of this crate do.
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
/// costs nothing: the other tasks have had their turns.
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

impl<F> Cooperative<F> {
    /// Returns the future.
    pub(crate) fn get_ref(&self) -> &F {
        &self.future
    }

    /// Returns the future, to be changed.
    pub(crate) fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// Returns the future alone.
    pub(crate) fn into_inner(self) -> F {
        self.future
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
