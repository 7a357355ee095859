//! A set of tasks that are awaited together, in the order in which they end.
//!
//! Each member's handle has a waker of its own, a [`Member`], which appends the member's key to a list. So the set never
//! looks for a task that has ended: it takes the first key of the list.
//!
//! - A key is in the list once, and only after its task is complete: the task takes the waker out when it completes.
//! - A key in the list is that of a member. A set that gives up its members ([`JoinSet::detach_all`]) gives up the list too,
//!   to which their wakers still append.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::panic;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};

use slab::Slab;

use super::{AbortHandle, Id, JoinError, JoinHandle};
use crate::coop::Charge;
use crate::foreign::WakerSlot;
use crate::sync::{Mutex, lock};
use crate::sys::ForkEpoch;

/// A set of tasks, whose results are taken in the order in which they end.
///
/// Taking a result costs the same however many tasks the set has. A task of a set takes some 60 bytes more than one with a
/// [`JoinHandle`].
///
/// Dropped: every task that has not ended is aborted.
///
/// ```
/// use netpoll_rt::task::JoinSet;
///
/// # netpoll_rt::block_on(async {
/// let mut squares = JoinSet::new();
/// for n in 1..=10 {
///     squares.spawn(async move { n * n });
/// }
/// let mut sum = 0;
/// while let Some(square) = squares.join_next().await {
///     sum += square?;
/// }
/// assert_eq!(sum, 385);
/// # Ok::<_, netpoll_rt::JoinError>(())
/// # }).unwrap();
/// ```
pub struct JoinSet<T> {
    members: Slab<JoinHandle<T>>,
    ended: Arc<Ended>,
    charge: Charge,
    /// The process that has the tasks; `None` before the first one.
    epoch: Option<ForkEpoch>,
}

/// The members that have ended.
#[derive(Default)]
struct Ended {
    keys: Mutex<VecDeque<usize>>,
    /// The task that waits for one.
    waker: WakerSlot,
}

/// The waker of one member's handle.
struct Member {
    ended: Arc<Ended>,
    key: usize,
}

impl Wake for Member {
    fn wake(self: Arc<Self>) {
        lock(&self.ended.keys).push_back(self.key);
        self.ended.waker.wake();
    }
}

impl<T> JoinSet<T> {
    /// Creates an empty set.
    pub fn new() -> Self {
        Self { members: Slab::new(), ended: Arc::default(), charge: Charge::First, epoch: None }
    }

    /// Returns the number of tasks whose results were not taken yet.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns whether the set has no task.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Adds a task of the current process.
    pub(crate) fn insert(&mut self, handle: JoinHandle<T>) -> AbortHandle {
        let abort_handle = handle.abort_handle();
        if self.epoch.is_none() {
            // The handler of fork(2) was installed for the runtime of this task.
            self.epoch = ForkEpoch::current().ok();
        }
        let key = self.members.insert(handle);
        let member = Arc::new(Member { ended: self.ended.clone(), key });
        let waker = Waker::from(member.clone());
        if !self.members[key].set_waker(&waker) {
            member.wake();
        }
        abort_handle
    }

    /// Returns true in a child of the process that has the tasks, where no thread runs them.
    fn is_forked(&self) -> bool {
        self.epoch.is_some_and(|epoch| !epoch.is_current())
    }

    /// Returns true if there is a result, or no task to wait for.
    fn is_ready(&self) -> bool {
        self.is_empty() || self.is_forked() || !lock(&self.ended.keys).is_empty()
    }

    /// Takes the result of a task that has ended, if there is one.
    fn take(&mut self) -> Option<(Id, Result<T, JoinError>)> {
        if self.is_forked() {
            // The list's lock may be held by a thread that the child has not.
            let (key, handle) = self.members.iter().next()?;
            let id = handle.id();
            self.members.remove(key);
            return Some((id, Err(JoinError::cancelled(id))));
        }
        let key = lock(&self.ended.keys).pop_front()?;
        let handle = self.members.remove(key);
        Some((handle.id(), handle.into_result()))
    }

    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Id, Result<T, JoinError>)>> {
        if !self.is_ready() {
            // Dropped after the next look: a task that ends in that drop wakes the new waker.
            let _before = self.ended.waker.replace(cx.waker());
            // A task that ended before the waker was there is seen now.
            if !self.is_ready() {
                self.charge = Charge::Waited;
                return Poll::Pending;
            }
        }
        ready!(mem::replace(&mut self.charge, Charge::Refused).poll_proceed(cx));
        self.charge = Charge::First;
        Poll::Ready(self.take())
    }

    /// Waits until a task has ended and returns its value, or the error of a task without one. `None`: the set is empty.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: no result is lost.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|cx| self.poll_join_next(cx)).await
    }

    /// Waits as [`join_next`](Self::join_next) does, and returns the id of the task with its value; an error has it as well
    /// ([`JoinError::id`]).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: no result is lost.
    pub async fn join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        poll_fn(|cx| self.poll_join_next_with_id(cx)).await
    }

    /// Returns the result of a task that has ended; `None` if there is none now, or the set is empty.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.take().map(|(_, result)| result)
    }

    /// Returns the result of a task that has ended as [`try_join_next`](Self::try_join_next) does, with the id of the task.
    pub fn try_join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        self.take().map(with_id)
    }

    /// Polls as [`join_next`](Self::join_next) does, for a hand-written future. The task of the last call is woken.
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        self.poll_take(cx).map(|taken| taken.map(|(_, result)| result))
    }

    /// Polls as [`join_next_with_id`](Self::join_next_with_id) does, for a hand-written future.
    pub fn poll_join_next_with_id(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<(Id, T), JoinError>>> {
        self.poll_take(cx).map(|taken| taken.map(with_id))
    }

    /// Waits for every task and returns the values, in the order in which the tasks ended.
    ///
    /// # Panics
    ///
    /// Panics if a task panicked, with the same payload, or if one was aborted. The others are aborted then.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the tasks are aborted, and the values so far are lost.
    pub async fn join_all(mut self) -> Vec<T> {
        let mut values = Vec::with_capacity(self.len());
        while let Some(result) = self.join_next().await {
            match result.map_err(JoinError::try_into_panic) {
                Ok(value) => values.push(value),
                Err(Ok(payload)) => panic::resume_unwind(payload),
                Err(Err(error)) => panic!("JoinSet::join_all: {error}"),
            }
        }
        values
    }

    /// Aborts every task; see [`JoinHandle::abort`]. They stay in the set until their results are taken.
    pub fn abort_all(&mut self) {
        self.members.iter().for_each(|(_, handle)| handle.abort());
    }

    /// Aborts every task and waits until all have ended. The set is empty then.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the tasks are aborted, and those that have not ended are still in the set.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }

    /// Removes every task from the set, without aborting it: they go on, detached.
    pub fn detach_all(&mut self) {
        self.ended = Arc::default();
        self.members.clear();
    }
}

fn with_id<T>((id, result): (Id, Result<T, JoinError>)) -> Result<(Id, T), JoinError> {
    result.map(|value| (id, value))
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.abort_all();
    }
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
