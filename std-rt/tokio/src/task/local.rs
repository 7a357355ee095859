//! Tasks that stay on their thread.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::{JoinHandle, coop};
use crate::runtime::{self, Id, Runtime};

/// A set of tasks that stay on this thread, and so need not be `Send`. They run while the set is awaited.
///
/// Dropped: every task that has not ended is cancelled.
pub struct LocalSet {
    inner: netpoll_rt::task::LocalSet,
    /// Its address is the id of the set.
    id: Rc<u8>,
}

impl LocalSet {
    /// Creates an empty set for this thread.
    pub fn new() -> Self {
        Self { inner: netpoll_rt::task::LocalSet::new(), id: Rc::new(0) }
    }

    /// Returns the set of netpoll-rt.
    pub(super) fn as_netpoll(&self) -> &netpoll_rt::task::LocalSet {
        &self.inner
    }

    /// Lets [`spawn_local`] start tasks of this set until the guard is dropped.
    pub fn enter(&self) -> LocalEnterGuard {
        LocalEnterGuard(self.inner.enter())
    }

    /// Starts a task of this set. It runs when the set is awaited next.
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        JoinHandle::from_netpoll(self.inner.spawn_local(coop::turns(future)))
    }

    /// Runs a future to its end on this thread, by [`Runtime::block_on`], and tasks of this set meanwhile.
    ///
    /// # Panics
    ///
    /// As [`Runtime::block_on`].
    #[track_caller]
    pub fn block_on<F>(&self, rt: &Runtime, future: F) -> F::Output
    where
        F: Future,
    {
        rt.block_on(self.run_until(future))
    }

    /// Runs tasks of this set until a future is ready, and returns its value.
    ///
    /// # Cancel safety
    ///
    /// Dropped: the future is dropped. The tasks stay in the set.
    pub async fn run_until<F>(&self, future: F) -> F::Output
    where
        F: Future,
    {
        self.inner.run_until(future).await
    }

    /// Returns the id of the set, which no other set of the process has at the same time.
    pub fn id(&self) -> Id {
        Id::of_address(Rc::as_ptr(&self.id).addr())
    }
}

impl Future for LocalSet {
    type Output = ();

    /// Runs tasks, and is ready when all have ended.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

impl Default for LocalSet {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for LocalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSet").finish()
    }
}

/// The guard of a thread that has entered a [`LocalSet`].
#[must_use = "dropped at once, the guard has no effect"]
pub struct LocalEnterGuard(#[expect(dead_code, reason = "a guard")] netpoll_rt::task::LocalEnterGuard);

impl fmt::Debug for LocalEnterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalEnterGuard").finish()
    }
}

/// Starts a task that stays on this thread: of the [`LocalSet`] or the
/// [`LocalRuntime`](crate::runtime::LocalRuntime) that the thread is in.
///
/// # Panics
///
/// Panics elsewhere.
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    match set_of_runtime() {
        Some(set) => set.spawn_local(future),
        None => JoinHandle::from_netpoll(netpoll_rt::spawn_local(coop::turns(future))),
    }
}

/// Returns the set of the [`LocalRuntime`](crate::runtime::LocalRuntime) that gets the tasks of this thread; `None` if a
/// [`LocalSet`] gets them.
///
/// # Panics
///
/// Panics if none of the two gets them.
#[track_caller]
pub(super) fn set_of_runtime() -> Option<Rc<LocalSet>> {
    if netpoll_rt::task::LocalSet::is_entered() {
        return None;
    }
    match runtime::local_set() {
        Some(Some(set)) => Some(set),
        Some(None) => panic!(
            "Local tasks can only be spawned on a LocalRuntime from the thread the runtime was created on"
        ),
        None => {
            panic!("`spawn_local` called from outside of a `task::LocalSet` or `runtime::LocalRuntime`")
        }
    }
}
