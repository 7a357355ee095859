//! The runtime, its builder and its handle.

mod builder;
pub(crate) mod context;
mod handle;
mod local;
mod metrics;

use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

pub use builder::Builder;
pub use context::EnterGuard;
pub use handle::{Handle, Id, RuntimeFlavor, TryCurrentError};
pub(crate) use local::local_set;
pub use local::{LocalOptions, LocalRuntime};
pub use metrics::RuntimeMetrics;

use crate::task::{JoinHandle, coop};

/// Workers, their queues, their poller and their timers: a runtime of netpoll-rt with tokio's interface.
///
/// Dropped: it shuts down. Tasks are cancelled, and closures of [`spawn_blocking`](crate::task::spawn_blocking) that a
/// thread has begun are awaited.
pub struct Runtime {
    handle: Handle,
    /// `None` once it is shut down.
    inner: Option<netpoll_rt::Runtime>,
}

impl Runtime {
    /// Wraps a runtime of netpoll-rt.
    fn from_netpoll(runtime: netpoll_rt::Runtime) -> Self {
        Self { handle: Handle::from_netpoll(runtime.handle().clone()), inner: Some(runtime) }
    }

    /// Creates a multi-threaded runtime with the defaults of [`Builder`].
    ///
    /// # Errors
    ///
    /// Returns an error if [`Builder::build`] does.
    pub fn new() -> io::Result<Self> {
        Builder::new_multi_thread().enable_all().build()
    }

    /// Returns the handle of the runtime.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Starts a task on the runtime.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Runs a closure that blocks on a thread of the runtime's pool.
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, func: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.handle.spawn_blocking(func)
    }

    /// Runs a future to its end on this thread; on a runtime of [`Builder::new_current_thread`] this thread runs the tasks
    /// meanwhile.
    ///
    /// # Panics
    ///
    /// Panics if the future does, or within a task or another `block_on`.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        // Only `shutdown` takes it, and consumes the value.
        let runtime = self.inner.as_ref().expect("the runtime is shut down");
        context::enter(|| runtime.block_on(coop::turns(future)))
    }

    /// Makes this runtime that of the thread until the guard is dropped.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }

    /// Shuts the runtime down, and waits no longer than `duration` for tasks and closures that are running.
    pub fn shutdown_timeout(mut self, duration: Duration) {
        self.shut_down(duration);
    }

    /// Shuts the runtime down, for a value that is not used afterwards.
    fn shut_down(&mut self, duration: Duration) {
        if let Some(runtime) = self.inner.take() {
            runtime.shutdown_timeout(duration);
        }
    }

    /// Shuts the runtime down without waiting for tasks and closures that are running. It may be called within a task.
    pub fn shutdown_background(self) {
        self.shutdown_timeout(Duration::ZERO);
    }

    /// Returns the metrics of the runtime.
    pub fn metrics(&self) -> RuntimeMetrics {
        self.handle.metrics()
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.inner.take() {
            context::assert_may_block();
            drop(runtime);
        }
    }
}

/// Returns the number of the worker that this thread is, or `None` on any other thread.
pub fn worker_index() -> Option<usize> {
    netpoll_rt::worker_index()
}

/// Returns whether an error of an operation says that its runtime was shut down.
pub fn is_rt_shutdown_err(err: &io::Error) -> bool {
    crate::io::evented::is_shutdown(err)
}

impl std::panic::UnwindSafe for Runtime {}

impl std::panic::RefUnwindSafe for Runtime {}

/// The message of an operation whose runtime has ended.
pub(crate) const SHUTTING_DOWN: &str = "A Tokio 1.x context was found, but it is being shutdown.";

/// Returns the handle of netpoll-rt of the runtime that this thread is in.
///
/// # Panics
///
/// Panics outside of a runtime.
#[track_caller]
pub(crate) fn current() -> netpoll_rt::Handle {
    Handle::current().as_netpoll().clone()
}

/// Returns whether this thread is in a runtime that has sockets.
pub(crate) fn has_io() -> bool {
    Handle::try_current().is_ok_and(|handle| handle.has_io())
}

/// Does nothing on a thread that may make sockets.
///
/// # Panics
///
/// Panics outside of a runtime, and in one without sockets.
#[track_caller]
pub(crate) fn assert_has_io() {
    if !Handle::current().has_io() {
        panic!(
            "A Tokio 1.x context was found, but IO is disabled. Call `enable_io` on the runtime builder to enable IO."
        );
    }
}

/// Returns the runtime of new timers.
///
/// # Panics
///
/// Panics outside of a runtime, and in one without timers.
#[track_caller]
pub(crate) fn timers() -> netpoll_rt::Handle {
    let handle = Handle::current();
    if !handle.has_time() {
        panic!(
            "A Tokio 1.x context was found, but timers are disabled. Call `enable_time` on the runtime builder to enable \
             timers."
        );
    }
    handle.as_netpoll().clone()
}
