//! The handle of a runtime.

use std::error;
use std::fmt;
use std::future::Future;

use super::{EnterGuard, RuntimeMetrics, context};
use crate::task::{JoinHandle, coop};

/// A handle of a runtime, cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    inner: netpoll_rt::Handle,
}

impl Handle {
    /// Wraps a handle of netpoll-rt, of whatever runtime.
    pub(crate) fn from_netpoll(inner: netpoll_rt::Handle) -> Self {
        Self { inner }
    }

    /// Returns the handle of netpoll-rt.
    pub(crate) fn as_netpoll(&self) -> &netpoll_rt::Handle {
        &self.inner
    }

    /// Returns the handle of the runtime that this thread is in.
    ///
    /// # Panics
    ///
    /// Panics if the thread is in no runtime.
    #[track_caller]
    pub fn current() -> Self {
        match Self::try_current() {
            Ok(handle) => handle,
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns the handle of the runtime that this thread is in.
    ///
    /// # Errors
    ///
    /// Returns an error if the thread is in no runtime.
    pub fn try_current() -> Result<Self, TryCurrentError> {
        netpoll_rt::Handle::try_current().map(Self::from_netpoll).ok_or(TryCurrentError(()))
    }

    /// Makes this runtime that of the thread until the guard is dropped.
    pub fn enter(&self) -> EnterGuard<'_> {
        EnterGuard::new(self)
    }

    /// Starts a task on the runtime. If that is shut down, the task is cancelled at once.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        JoinHandle::from_netpoll(self.inner.spawn(coop::turns(future)))
    }

    /// Runs a closure that blocks on a thread of the runtime's pool.
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, func: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        JoinHandle::from_netpoll(self.inner.spawn_blocking(func))
    }

    /// Runs a future to its end on this thread, within the runtime. A runtime of
    /// [`new_current_thread`](super::Builder::new_current_thread) is not driven by it.
    ///
    /// # Panics
    ///
    /// Panics if the future does, or within a task or another `block_on`.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        context::enter(|| self.inner.block_on(coop::turns(future)))
    }

    /// Returns the kind of the runtime. One that was not made by [`Builder`](super::Builder) has threads as far as this says.
    pub fn runtime_flavor(&self) -> RuntimeFlavor {
        match self.info() {
            Some(info) if info.current_thread => RuntimeFlavor::CurrentThread,
            _ => RuntimeFlavor::MultiThread,
        }
    }

    /// Returns the id of the runtime.
    pub fn id(&self) -> Id {
        Id(self.inner.id())
    }

    /// Returns the name of the runtime; `None` if [`Builder::name`](super::Builder::name) gave it none.
    pub fn name(&self) -> Option<&str> {
        self.info()?.name.as_deref()
    }

    /// Returns whether sockets were enabled; they are on a runtime that was not made by this crate.
    pub(super) fn has_io(&self) -> bool {
        self.info().is_none_or(|info| info.has_io)
    }

    /// Returns whether the runtime is a [`LocalRuntime`](super::LocalRuntime).
    pub(super) fn is_local(&self) -> bool {
        self.info().is_some_and(|info| info.is_local)
    }

    /// Returns whether timers were enabled; they are on a runtime that was not made by this crate.
    pub(super) fn has_time(&self) -> bool {
        self.info().is_none_or(|info| info.has_time)
    }

    /// Returns whether the clock may be paused. netpoll-rt knows it of a runtime that was not made by this crate.
    pub(crate) fn may_pause(&self) -> bool {
        self.info().is_none_or(|info| info.current_thread)
    }

    fn info(&self) -> Option<&Info> {
        self.inner.extension()
    }

    /// Returns the metrics of the runtime.
    pub fn metrics(&self) -> RuntimeMetrics {
        RuntimeMetrics::new(self.clone())
    }
}

impl std::panic::UnwindSafe for Handle {}

impl std::panic::RefUnwindSafe for Handle {}

/// What the facade keeps with a runtime of netpoll-rt.
#[derive(Clone, Debug)]
pub(super) struct Info {
    /// True if sockets were enabled.
    pub(super) has_io: bool,
    /// True if timers were enabled.
    pub(super) has_time: bool,
    /// True if the thread in `block_on` runs the tasks.
    pub current_thread: bool,
    /// True if it is a [`LocalRuntime`](super::LocalRuntime).
    pub(super) is_local: bool,
    pub name: Option<String>,
}

/// The id of a runtime. No two runtimes have the same one at the same time.
#[derive(Clone, Copy, Debug, Hash, Eq, PartialEq)]
pub struct Id(usize);

impl Id {
    /// Returns the id of what is at that address.
    pub(crate) fn of_address(address: usize) -> Self {
        Self(address)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The kind of a runtime's scheduler.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuntimeFlavor {
    /// The thread in `block_on` runs all tasks.
    CurrentThread,
    /// Threads of the runtime run the tasks.
    MultiThread,
}

/// The error of [`Handle::try_current`] on a thread that is in no runtime.
#[derive(Debug)]
pub struct TryCurrentError(());

impl TryCurrentError {
    /// Returns true: the thread is in no runtime.
    pub fn is_missing_context(&self) -> bool {
        true
    }

    /// Returns false: the state of the thread has no destructor, so it is there until the thread ends.
    pub fn is_thread_local_destroyed(&self) -> bool {
        false
    }
}

impl fmt::Display for TryCurrentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no reactor running, must be called from the context of a Tokio 1.x runtime")
    }
}

impl error::Error for TryCurrentError {}
