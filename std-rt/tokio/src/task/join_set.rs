//! A set of tasks that are awaited together.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic;
use std::task::{Context, Poll};

use super::{AbortHandle, Id, JoinError, LocalSet, coop, local};
use crate::runtime::Handle;

/// A set of tasks, whose results are taken in the order in which they end.
///
/// Dropped: every task that has not ended is cancelled.
#[must_use = "a `JoinSet` aborts all of its tasks when it is dropped"]
pub struct JoinSet<T> {
    inner: netpoll_rt::task::JoinSet<T>,
}

impl<T> JoinSet<T> {
    /// Creates an empty set.
    pub fn new() -> Self {
        Self { inner: netpoll_rt::task::JoinSet::new() }
    }

    /// Returns the number of tasks in the set.
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Returns whether the set has no task.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }
}

impl<T: 'static> JoinSet<T> {
    /// Starts a task on the runtime that this thread is in, and adds it to the set.
    ///
    /// # Panics
    ///
    /// Panics if the thread is in no runtime.
    #[track_caller]
    pub fn spawn<F>(&mut self, task: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        self.spawn_on(task, &Handle::current())
    }

    /// Starts a task on that runtime, and adds it to the set.
    #[track_caller]
    pub fn spawn_on<F>(&mut self, task: F, handle: &Handle) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        AbortHandle::from_netpoll(self.inner.spawn_on(coop::turns(task), handle.as_netpoll()))
    }

    /// Starts a task that stays on this thread, as [`spawn_local`](super::spawn_local) does, and adds it to the set.
    ///
    /// # Panics
    ///
    /// As [`spawn_local`](super::spawn_local).
    #[track_caller]
    pub fn spawn_local<F>(&mut self, task: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        match local::set_of_runtime() {
            Some(set) => self.spawn_local_on(task, &set),
            None => AbortHandle::from_netpoll(self.inner.spawn_local(coop::turns(task))),
        }
    }

    /// Starts a task of a [`LocalSet`], and adds it to the set.
    #[track_caller]
    pub fn spawn_local_on<F>(&mut self, task: F, local_set: &LocalSet) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        AbortHandle::from_netpoll(self.inner.spawn_local_on(coop::turns(task), local_set.as_netpoll()))
    }

    /// Runs a closure that blocks on the pool of the runtime that this thread is in, and adds its task to the set.
    ///
    /// # Panics
    ///
    /// Panics if the thread is in no runtime.
    #[track_caller]
    pub fn spawn_blocking<F>(&mut self, f: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        self.spawn_blocking_on(f, &Handle::current())
    }

    /// Runs a closure that blocks on the pool of that runtime, and adds its task to the set.
    #[track_caller]
    pub fn spawn_blocking_on<F>(&mut self, f: F, handle: &Handle) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        AbortHandle::from_netpoll(self.inner.spawn_blocking_on(f, handle.as_netpoll()))
    }

    /// Waits until a task has ended and returns its result. `None`: the set is empty.
    ///
    /// # Cancel safety
    ///
    /// Dropped: no result is lost.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|cx| self.poll_join_next(cx)).await
    }

    /// Waits as [`join_next`](Self::join_next) does, and returns the id of the task with its value.
    ///
    /// # Cancel safety
    ///
    /// Dropped: no result is lost.
    pub async fn join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        poll_fn(|cx| self.poll_join_next_with_id(cx)).await
    }

    /// Returns the result of a task that has ended, if there is one.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.inner.try_join_next().map(|result| result.map_err(JoinError::from_netpoll))
    }

    /// Returns the result of a task that has ended, if there is one, with the id of the task.
    pub fn try_join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        self.inner.try_join_next_with_id().map(with_id)
    }

    /// Cancels every task and waits until all have ended.
    ///
    /// # Cancel safety
    ///
    /// Dropped: the tasks are cancelled, and those that have not ended are still in the set.
    pub async fn shutdown(&mut self) {
        self.inner.shutdown().await
    }

    /// Waits for every task and returns the values, in the order in which the tasks ended.
    ///
    /// # Panics
    ///
    /// Panics if a task did, or was cancelled. The others are cancelled then.
    pub async fn join_all(mut self) -> Vec<T> {
        let mut values = Vec::with_capacity(self.len());
        while let Some(result) = self.join_next().await {
            match result {
                Ok(value) => values.push(value),
                Err(error) if error.is_panic() => panic::resume_unwind(error.into_panic()),
                Err(error) => panic!("{error}"),
            }
        }
        values
    }

    /// Cancels every task. They stay in the set until their results are taken.
    pub fn abort_all(&mut self) {
        self.inner.abort_all();
    }

    /// Removes every task from the set, without cancelling it.
    pub fn detach_all(&mut self) {
        self.inner.detach_all();
    }

    /// Polls for the result of a task that has ended. The task of the last call is woken.
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        self.inner.poll_join_next(cx).map(|taken| taken.map(|result| result.map_err(JoinError::from_netpoll)))
    }

    /// Polls for the result of a task that has ended, with the id of the task.
    pub fn poll_join_next_with_id(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<(Id, T), JoinError>>> {
        self.inner.poll_join_next_with_id(cx).map(|taken| taken.map(with_id))
    }
}

fn with_id<T>(
    result: Result<(netpoll_rt::task::Id, T), netpoll_rt::JoinError>,
) -> Result<(Id, T), JoinError> {
    result.map(|(id, value)| (Id(id), value)).map_err(JoinError::from_netpoll)
}

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish()
    }
}

/// Starts a task for each future, on the runtime that this thread is in.
impl<T, F> FromIterator<F> for JoinSet<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    fn from_iter<I: IntoIterator<Item = F>>(iter: I) -> Self {
        let mut set = Self::new();
        set.extend(iter);
        set
    }
}

/// Starts a task for each future, on the runtime that this thread is in.
impl<T, F> Extend<F> for JoinSet<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    fn extend<I: IntoIterator<Item = F>>(&mut self, iter: I) {
        for task in iter {
            self.spawn(task);
        }
    }
}
