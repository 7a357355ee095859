//! A runtime's handle, for other threads and for tasks.

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use crate::blocking;
use crate::dump::Dump;
use crate::metrics::Metrics;
use crate::netpoll::Netpoll;
use crate::sched::SchedHandle;
use crate::task::{self, JoinHandle};

/// A runtime for other threads: cheap to clone, and of no use to anybody once the runtime is dropped, when tasks spawned
/// through it are cancelled at once.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) sched: Arc<SchedHandle>,
}

impl Handle {
    /// The handle of the runtime that this thread runs for, if any.
    pub fn try_current() -> Option<Self> {
        SchedHandle::current().map(|sched| Self { sched })
    }

    /// Starts a task.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        task::spawn(self.sched.clone(), Location::caller(), future)
    }

    /// Starts a task with a name, by which a [`Dump`] and a [`StuckTask`](crate::StuckTask) call it. A task without one
    /// goes by the place that spawned it, which costs nothing; a name costs a lock at either end of its life.
    #[track_caller]
    pub fn spawn_named<F>(&self, name: impl Into<Arc<str>>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        task::spawn_named(self.sched.clone(), name.into(), Location::caller(), future)
    }

    /// Runs a closure that blocks on a thread of this runtime's pool; see [`spawn_blocking`](crate::spawn_blocking).
    #[track_caller]
    pub fn spawn_blocking<F, T>(&self, closure: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        blocking::spawn(&self.sched, closure)
    }

    /// Tasks that are parked on a descriptor; tasks that sleep are not among them.
    pub fn waiters(&self) -> usize {
        self.sched.netpoll().waiters()
    }

    /// The numbers of the runtime.
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&self.sched)
    }

    /// What the runtime is doing: every worker, every descriptor and who waits for it, and the numbers. It stops nobody;
    /// it costs two system calls for each descriptor.
    pub fn dump(&self) -> Dump {
        Dump::of(&self.sched)
    }

    pub(crate) fn into_sched(self) -> Arc<SchedHandle> {
        self.sched
    }

    pub(crate) fn netpoll(&self) -> Arc<Netpoll> {
        self.sched.netpoll().clone()
    }
}
