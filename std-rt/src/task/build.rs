//! Tasks with a name, and futures with a budget of their own.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::{JoinHandle, start};
use crate::coop;
use crate::sched::{NameGuard, SchedHandle};

pin_project! {
    /// A future that takes its name out of the list when it is gone.
    pub(crate) struct NamedFuture<F> {
        #[pin]
        future: F,
        guard: NameGuard,
    }
}

impl<F: Future> Future for NamedFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

/// Starts a task that has a name.
pub(crate) fn spawn_named<F>(
    sched: Arc<SchedHandle>,
    name: Arc<str>,
    location: &'static Location<'static>,
    future: F,
) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (meta, guard) = sched.name_task(name, location);
    start(sched, meta, NamedFuture { future, guard })
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
/// It works with any executor. Within a task, what is around the future has its own budget still.
pub fn with_budget<F: Future>(operations: u32, future: F) -> Budgeted<F> {
    Budgeted { future, operations: units(operations) }
}

/// Lets a future make as many operations in one turn as it finds something for: [`with_budget`] of 0. While its sockets
/// always have something to give, nobody else has a turn on its worker.
pub fn unconstrained<F: Future>(future: F) -> Budgeted<F> {
    with_budget(0, future)
}

/// What a budget of a setting is in the thread's count.
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
