//! A runtime: workers on a scheduler and a poller, and the handle by which tasks and other threads use it.
//!
//! [`block_on`] has the call that runs a future and, in a runtime without threads, the tasks; [`shutdown`] says what happens
//! to a task when the runtime ends.

mod block_in_place;
mod block_on;
mod builder;
mod enter;
mod local_set;
mod shutdown;
mod spawn_set;

use std::any::Any;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::sync::Arc;

use crate::blocking;
use crate::dump::Dump;
use crate::metrics::Metrics;
use crate::netpoll::Netpoll;
use crate::protocol::driver::WorkerSlot;
use crate::sched::{SchedHandle, sched_of_worker};
use crate::task::{JoinHandle, TaskMeta};
use crate::trace::{self, TaskSpan};
use crate::worker::Worker;
pub use block_in_place::block_in_place;
pub use builder::Builder;
use builder::StopToken;
pub use enter::{EnterGuard, Wrapped};
pub use local_set::{LocalEnterGuard, LocalSet};
use shutdown::ThreadSet;

/// The runtime's threads wait to the nanosecond, not to the kernel's usual 50 us more.
const TIMER_SLACK_NANOSECONDS: u64 = 1;

/// Workers, their queues and their poller.
///
/// Dropping it shuts it down, in this order:
///
/// 1. No task is polled again. A task that is spawned from now on is cancelled at once.
/// 2. Every task that is parked or queued is cancelled: the thread that drops the runtime drops its future, and its
///    [`JoinHandle`] says so. A task that is woken meanwhile is dropped by that thread too, not by the code that wakes it.
/// 3. The drop waits for the tasks that are being polled, and their workers end. Such a task may block on a lock that a
///    cancelled one held. It is cancelled when its poll is over.
///
/// The drop does not wait for closures of [`spawn_blocking`](Runtime::spawn_blocking) and operations on files, unless
/// [`Builder::wait_for_blocking`] says so: one that a thread has begun runs to its end, and its value is dropped; one that
/// waits for a thread to be free is never run.
/// [`Runtime::shutdown_timeout`] has a limit of time. A runtime may be in a `thread_local!`: it ends with its thread.
///
/// No wait of another runtime outlasts it: an operation on one of its descriptors that waits there, or would have to, fails
/// ([`runtime_ended`](crate::runtime_ended)), and a sleep goes on where it is polled.
///
/// # fork(2)
///
/// A child of fork(2) has the runtime's memory and none of its threads. There `block_on`, `spawn` and `spawn_blocking` panic
/// with a message, operations that have to wait fail ([`runtime_ended`](crate::runtime_ended)), handles of tasks say that
/// they are cancelled, and a drop, of the runtime or of a socket, closes the child's copy and leaves the parent alone. A
/// `Runtime` that the child creates works. A child that returns into the poll of a task ends with a message. All of this
/// holds for the default runtime too: if it was started before the fork, the child needs a runtime of its own.
pub struct Runtime {
    handle: Handle,
    /// The slot of the one worker, if the runtime has no threads.
    worker_slot: Option<Arc<WorkerSlot>>,
    threads: ThreadSet,
    /// Ends the thread that waits for `SIGQUIT`, if there is one.
    quit: Option<Arc<StopToken>>,
    wait_for_blocking: bool,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("workers", &self.handle.sched.workers()).finish_non_exhaustive()
    }
}

impl Runtime {
    /// Creates a runtime with the defaults of [`Builder`].
    ///
    /// # Errors
    ///
    /// Returns an error if [`Builder::build`] does.
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// Returns a [`Builder`] for a runtime with other settings.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Starts a task.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Starts a task with a name; see [`Handle::spawn_named`].
    #[track_caller]
    pub fn spawn_named<F>(&self, name: impl Into<Arc<str>>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn_named(name, future)
    }

    /// Runs a closure that blocks on a thread of this runtime's pool; see [`spawn_blocking`](crate::spawn_blocking).
    #[track_caller]
    pub fn spawn_blocking<F, T>(&self, closure: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.handle.spawn_blocking(closure)
    }

    /// Returns the handle by which other threads spawn tasks here and read the metrics.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Returns the metrics of this runtime.
    pub fn metrics(&self) -> Metrics {
        self.handle.metrics()
    }

    /// Returns a description of the current state of this runtime; see [`Handle::dump`].
    pub fn dump(&self) -> Dump {
        self.handle.dump()
    }
}

/// A handle of a runtime for other threads, cheap to clone. Once the runtime is dropped, tasks that are spawned through the
/// handle are cancelled at once.
///
/// # Which runtime something belongs to
///
/// A thread has a *current* runtime: that of the youngest [`enter`](Handle::enter) guard or `block_on` that it is in, else
/// that of the task or the closure that it runs, else none. Without one, the process-wide default runtime takes its place.
///
/// | what | belongs to | for how long |
/// |---|---|---|
/// | a task of [`spawn`](crate::spawn), [`spawn_blocking`](crate::spawn_blocking) or a [`JoinSet`](crate::task::JoinSet) | the current runtime of the thread that spawns it | always |
/// | a socket, a pipe, an [`AsyncFd`](crate::net::AsyncFd) | the current runtime of the thread that makes it; of a future, that polls it | until it is closed |
/// | an accepted connection, a clone of a socket | the runtime of its listener, of the first one | until it is closed |
/// | a sleep, a timeout, an interval | the current runtime of the thread that polls it; see [`time`](crate::time) | until the next poll |
/// | an operation on a file, a name look-up | the pool of the current runtime of the thread that polls it first | until it is done |
/// | a task of [`spawn_local`](crate::spawn_local) | the [`LocalSet`](crate::task::LocalSet) that the thread polls, else the thread that is in the current runtime's `block_on` | until that is dropped or ends |
///
/// A socket may be awaited anywhere, under any executor: the threads of its own runtime poll it and wake the task.
/// [`Handle::wrap`] binds what a future makes to a runtime.
#[derive(Clone, Debug)]
pub struct Handle {
    sched: Arc<SchedHandle>,
}

impl Handle {
    /// Returns the handle of the runtime that this thread runs for, if any.
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
        self.sched.clone().spawn(Location::caller(), future)
    }

    /// Starts a task with a name, by which a [`Dump`] and a [`StuckTask`](crate::StuckTask) call it. A task without one
    /// goes by its spawn location, which costs nothing; a name costs a lock when the task starts and when it ends.
    #[track_caller]
    pub fn spawn_named<F>(&self, name: impl Into<Arc<str>>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.sched.clone().spawn_named(name.into(), Location::caller(), future)
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

    /// Returns a number that no other runtime of the process has at the same time.
    pub fn id(&self) -> usize {
        Arc::as_ptr(self.sched.ending()).addr()
    }

    /// Returns the value of [`Builder::extension`], if there is one of that type.
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.sched.extension()?.downcast_ref()
    }

    /// Returns whether the runtime has ended, so that operations on its descriptors fail
    /// ([`runtime_ended`](crate::runtime_ended)) and its timers have moved to another one. True as well in a child of fork(2).
    pub fn has_ended(&self) -> bool {
        self.sched.netpoll().check().is_err()
    }

    /// Returns the number of tasks that are parked on a descriptor, by a look at each descriptor. Tasks that sleep are not
    /// among them.
    pub fn waiters(&self) -> usize {
        self.sched.netpoll().waiters()
    }

    /// Returns the metrics of the runtime.
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&self.sched)
    }

    /// Returns a description of the current state of the runtime: every worker, every descriptor and the tasks that wait for
    /// it, and the metrics. It stops no thread, and costs two system calls for each descriptor.
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

/// Returns the number of the worker that this thread is, of whatever runtime, counted from 0. `None` on any other thread: in
/// a closure of [`spawn_blocking`](crate::spawn_blocking) or [`task::block_in_place`](crate::task::block_in_place), or in
/// `block_on` of a runtime that has threads.
///
/// ```
/// use netpoll_rt::{Runtime, worker_index};
///
/// let runtime = Runtime::builder().workers(1).build()?;
/// assert_eq!(runtime.block_on(async { worker_index() }), Some(0));
/// assert_eq!(worker_index(), None);
/// # std::io::Result::Ok(())
/// ```
pub fn worker_index() -> Option<usize> {
    Some(Worker::current(&*sched_of_worker()?)?.index())
}

/// Starts a task on this thread, see [`crate::spawn_local`].
#[track_caller]
pub(crate) fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    if let Some(set) = local_set::current() {
        return local_set::spawn_into(&set, future);
    }
    let location = Location::caller();
    let (meta, span) = (TaskMeta::new(location), TaskSpan::new(trace::LOCAL, None, location));
    let sched = SchedHandle::current();
    let worker =
        sched.as_ref().filter(|sched| sched.is_threadless()).and_then(|sched| Worker::current(sched));
    match (sched, worker) {
        (Some(_), Some(worker)) => worker.locals().spawn(meta, span, future),
        (sched, _) => panic!("{}", no_place_for_local_tasks(sched.as_deref())),
    }
}

#[cold]
fn no_place_for_local_tasks(sched: Option<&SchedHandle>) -> String {
    let why = match sched {
        None => "this thread is in no runtime's block_on".to_owned(),
        Some(sched) if sched.is_threadless() => {
            "another thread is in block_on of this runtime and runs its tasks".to_owned()
        }
        Some(sched) if sched.workers() == 1 => {
            "this runtime has a thread of its own for its tasks".to_owned()
        }
        Some(sched) => {
            format!("this runtime has {} workers, whose tasks go from thread to thread", sched.workers())
        }
    };
    format!(
        "netpoll: spawn_local needs a thread that runs all tasks of its runtime, and {why}; call it within \
         `Runtime::builder().workers(1).build()?.block_on(...)` or `task::LocalSet::run_until`, or use `spawn` for a \
         future that is Send"
    )
}
