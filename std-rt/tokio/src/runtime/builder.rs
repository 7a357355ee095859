//! The builder of a runtime.

use std::env::{self, VarError};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use netpoll_rt::time::Clock;

use super::context;
use super::handle::Info;
use super::{LocalOptions, LocalRuntime, Runtime};
use crate::time::NEEDS_CURRENT_THREAD;

/// The variable of the environment with the number of workers of a runtime for which none is set.
const WORKERS: &str = "TOKIO_WORKER_THREADS";

/// The name of the threads.
const THREAD_NAME: &str = "tokio-rt-worker";

/// The most workers of a runtime of netpoll-rt.
const MAX_WORKERS: usize = 256;
/// The most threads of its pool.
const MAX_BLOCKING: usize = 10_000;
/// The most events of one poll.
const MAX_EVENTS: usize = 256;

/// A builder of runtimes.
pub struct Builder {
    inner: netpoll_rt::Builder,
    worker_threads: Option<usize>,
    start_paused: bool,
    info: Info,
}

impl Builder {
    /// Creates a builder of a runtime whose tasks run on the thread that is in [`Runtime::block_on`].
    pub fn new_current_thread() -> Self {
        Self::new(true)
    }

    /// Creates a builder of a runtime with threads.
    pub fn new_multi_thread() -> Self {
        Self::new(false)
    }

    fn new(current_thread: bool) -> Self {
        let inner = netpoll_rt::Runtime::builder()
            .budget(128)
            .wait_for_blocking(true)
            .thread_name_fn(|| THREAD_NAME.to_owned())
            .around_worker(|run| context::enter(run));
        Self {
            inner,
            worker_threads: None,
            start_paused: false,
            info: Info { current_thread, is_local: false, has_io: false, has_time: false, name: None },
        }
    }

    /// Changes a setting of netpoll-rt's builder.
    fn set(&mut self, change: impl FnOnce(netpoll_rt::Builder) -> netpoll_rt::Builder) -> &mut Self {
        self.inner = change(self.inner.clone());
        self
    }

    /// Enables sockets and timers, which are always enabled here.
    pub fn enable_all(&mut self) -> &mut Self {
        self.enable_io().enable_time()
    }

    /// Enables sockets. Without it they panic, as tokio's, though the runtime has a poller.
    pub fn enable_io(&mut self) -> &mut Self {
        self.info.has_io = true;
        self
    }

    /// Enables timers. Without it they panic, as tokio's, though the runtime has a wheel.
    pub fn enable_time(&mut self) -> &mut Self {
        self.info.has_time = true;
        self
    }

    /// Sets the number of worker threads; more than 256 are 256. It has no effect on a runtime of
    /// [`new_current_thread`](Self::new_current_thread).
    ///
    /// # Panics
    ///
    /// Panics if the number is 0.
    #[track_caller]
    pub fn worker_threads(&mut self, val: usize) -> &mut Self {
        assert!(val > 0, "Worker threads cannot be set to 0");
        self.worker_threads = Some(val);
        self
    }

    /// Sets how many threads may run closures of `spawn_blocking`; more than 10,000 are 10,000.
    ///
    /// # Panics
    ///
    /// Panics if the number is 0.
    #[track_caller]
    pub fn max_blocking_threads(&mut self, val: usize) -> &mut Self {
        assert!(val > 0, "Max blocking threads cannot be set to 0");
        self.set(|inner| inner.max_blocking_threads(val.min(MAX_BLOCKING)))
    }

    /// Sets the name of the runtime, which [`Handle::name`](super::Handle::name) returns.
    ///
    /// # Panics
    ///
    /// Panics if the name is empty or all whitespace.
    #[track_caller]
    pub fn name(&mut self, val: impl Into<String>) -> &mut Self {
        let name = val.into();
        assert!(!name.trim().is_empty(), "runtime name shouldn't be empty");
        self.info.name = Some(name);
        self
    }

    /// Sets the name of the threads.
    pub fn thread_name(&mut self, val: impl Into<String>) -> &mut Self {
        let name = val.into();
        self.thread_name_fn(move || name.clone())
    }

    /// Sets a function that returns the name of each thread.
    pub fn thread_name_fn<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn() -> String + Send + Sync + 'static,
    {
        self.set(|inner| inner.thread_name_fn(f))
    }

    /// Sets the bytes of the threads' stacks.
    pub fn thread_stack_size(&mut self, val: usize) -> &mut Self {
        self.set(|inner| inner.thread_stack_size(val))
    }

    /// Sets a function that each thread of the runtime calls when it has started.
    pub fn on_thread_start<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn() + Send + Sync + 'static,
    {
        self.set(|inner| inner.on_thread_start(f))
    }

    /// Sets a function that each thread of the runtime calls when it ends.
    pub fn on_thread_stop<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn() + Send + Sync + 'static,
    {
        self.set(|inner| inner.on_thread_stop(f))
    }

    /// Sets a function that a worker calls before it sleeps.
    pub fn on_thread_park<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn() + Send + Sync + 'static,
    {
        self.set(|inner| inner.on_thread_park(f))
    }

    /// Sets a function that a worker calls after it has slept.
    pub fn on_thread_unpark<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn() + Send + Sync + 'static,
    {
        self.set(|inner| inner.on_thread_unpark(f))
    }

    /// Sets for how long an idle thread for closures waits before it ends.
    pub fn thread_keep_alive(&mut self, duration: Duration) -> &mut Self {
        self.set(|inner| inner.thread_keep_alive(duration))
    }

    /// Sets the number of tasks between two looks at the kernel.
    ///
    /// # Panics
    ///
    /// Panics if the number is 0.
    #[track_caller]
    pub fn event_interval(&mut self, val: u32) -> &mut Self {
        assert!(val > 0, "event_interval must be greater than 0");
        self.set(|inner| inner.event_interval(val))
    }

    /// Sets how many events one poll takes; more than 256 are 256.
    ///
    /// # Panics
    ///
    /// Panics if the number is 0.
    #[track_caller]
    pub fn max_io_events_per_tick(&mut self, capacity: usize) -> &mut Self {
        assert!(capacity > 0, "max_io_events_per_tick must be greater than 0");
        self.set(|inner| inner.events_per_poll(capacity.min(MAX_EVENTS)))
    }

    /// Sets how many events one poll takes while the worker has tasks; more than 256 are 256. netpoll-rt has one bound for all
    /// polls, so this one holds for those of an idle worker as well.
    ///
    /// # Panics
    ///
    /// Panics if the number is 0.
    #[track_caller]
    pub fn max_io_events_per_busy_tick(&mut self, capacity: usize) -> &mut Self {
        assert!(capacity > 0, "max_io_events_per_busy_tick must be non-zero");
        self.set(|inner| inner.events_per_poll(capacity.min(MAX_EVENTS)))
    }

    /// Checks the number of tasks between two looks at the global queue, which is 61 here whatever is set.
    ///
    /// # Panics
    ///
    /// Panics if the number is 0.
    #[track_caller]
    pub fn global_queue_interval(&mut self, val: u32) -> &mut Self {
        assert!(val > 0, "global_queue_interval must be greater than 0");
        self
    }

    /// Sets whether the clock of the runtime is [paused](crate::time::pause) from the start.
    pub fn start_paused(&mut self, start_paused: bool) -> &mut Self {
        self.start_paused = start_paused;
        self
    }

    /// Creates the runtime.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no descriptors or threads left, or a setting is out of range.
    ///
    /// # Panics
    ///
    /// - If the number of workers is not set and the variable `TOKIO_WORKER_THREADS` is not a number above 0.
    /// - If the clock is to be paused and the runtime is not one of [`new_current_thread`](Self::new_current_thread).
    #[track_caller]
    pub fn build(&mut self) -> io::Result<Runtime> {
        let builder = self.inner.clone().extension(Arc::new(self.info.clone()));
        let builder = if self.info.current_thread {
            // tokio runs the tasks of one thread in order, and tests rely on it.
            builder.workers(1).lifo_slot(false).clock(if self.start_paused {
                Clock::paused()
            } else {
                Clock::system()
            })
        } else {
            assert!(!self.start_paused, "{NEEDS_CURRENT_THREAD}");
            let workers = self.worker_threads.or_else(workers_of_environment);
            workers.into_iter().fold(builder, |builder, n| builder.worker_threads(n.min(MAX_WORKERS)))
        };
        builder.build().map(Runtime::from_netpoll)
    }

    /// Creates a runtime whose tasks need not be `Send`.
    ///
    /// # Errors
    ///
    /// Returns an error if [`build`](Self::build) does.
    ///
    /// # Panics
    ///
    /// Panics if the builder is one of [`new_multi_thread`](Self::new_multi_thread).
    #[track_caller]
    pub fn build_local(&mut self, _options: LocalOptions) -> io::Result<LocalRuntime> {
        assert!(self.info.current_thread, "multi_thread is not supported for LocalRuntime");
        self.info.is_local = true;
        let built = self.build();
        self.info.is_local = false;
        built.map(LocalRuntime::new_with)
    }
}

/// Returns the number of workers that the environment asks for.
#[track_caller]
fn workers_of_environment() -> Option<usize> {
    let value = match env::var(WORKERS) {
        Ok(value) => value,
        Err(VarError::NotPresent) => return None,
        Err(VarError::NotUnicode(value)) => panic!("\"{WORKERS}\" must be valid unicode, value: {value:?}"),
    };
    match value.parse() {
        Ok(0) => panic!("\"{WORKERS}\" cannot be set to 0"),
        Ok(workers) => Some(workers),
        Err(error) => panic!("\"{WORKERS}\" must be usize, error: {error}, value: {value}"),
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("info", &self.info)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
