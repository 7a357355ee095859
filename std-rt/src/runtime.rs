//! A runtime: workers on a scheduler and a poller, the way in (`block_on`, `spawn`) and the way out (drop).

mod block_on;
mod builder;
mod handle;
mod sigquit;
mod threads;
mod worker_slot;

use std::future::Future;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dump::Dump;
use crate::metrics::Metrics;
use crate::protocol::driver::WorkerSlot;
use crate::sched::{SchedHandle, TaskMeta};
use crate::task::{self, JoinHandle};
use crate::worker::{Worker, WorkerConfig};
pub use builder::Builder;
pub use handle::Handle;
use sigquit::StopToken;
use threads::ThreadSet;

/// The runtime's threads wait to the nanosecond, not to the kernel's usual 50 us more.
const TIMER_SLACK_NANOSECONDS: u64 = 1;

/// Workers, their queues and their poller.
///
/// Dropping it shuts it down, in this order:
///
/// 1. No task begins another turn. A task that is spawned from now on is cancelled at once.
/// 2. Every task that is parked or queued is cancelled: the thread that drops the runtime drops its future, and its
///    [`JoinHandle`] says so. A task that is woken meanwhile is dropped by that thread too, not by the code that wakes it.
/// 3. The drop waits for the tasks that are being polled, and their workers end. Such a task may block on what a cancelled
///    one holds. It is cancelled when its turn is over.
///
/// The drop does not wait for closures of [`spawn_blocking`](Runtime::spawn_blocking) and operations on files: one that a
/// thread has begun runs to its end, and its value is dropped; one that waits for a thread is never run. [`Runtime::shutdown_timeout`] waits no longer than it is told to. A runtime may be in a
/// `thread_local!`: it ends with its thread.
///
/// What it leaves behind does not wait for ever: an operation on one of its descriptors that waits in another runtime, or
/// would have to, fails ([`runtime_ended`](crate::runtime_ended)), and a sleep goes on where it is polled.
///
/// # fork(2)
///
/// A child of fork(2) has the runtime's memory and none of its threads. There `block_on`, `spawn` and `spawn_blocking` panic
/// with a message, operations that have to wait fail ([`runtime_ended`](crate::runtime_ended)), handles of tasks say that
/// they are cancelled, and a drop, of the runtime or of a socket, closes the child's copy and leaves the parent alone. A
/// `Runtime` that the child makes works. A child that returns into a task's turn ends with a message. The default runtime is
/// one like others: if it was started before the fork, the child needs one of its own.
pub struct Runtime {
    handle: Handle,
    worker_config: WorkerConfig,
    /// The slot of the one worker, if the runtime has no threads.
    worker_slot: Option<Arc<WorkerSlot>>,
    threads: ThreadSet,
    /// Ends the thread that waits for `SIGQUIT`, if there is one.
    quit: Option<Arc<StopToken>>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("workers", &self.handle.sched.workers()).finish_non_exhaustive()
    }
}

impl Runtime {
    /// A runtime with the defaults of [`Builder`].
    ///
    /// # Errors
    ///
    /// Those of [`Builder::build`].
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// A runtime with settings of your own.
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

    /// What can be given to other threads to spawn tasks here and to ask for numbers.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The numbers of this runtime.
    pub fn metrics(&self) -> Metrics {
        self.handle.metrics()
    }

    /// What this runtime is doing; see [`Handle::dump`].
    pub fn dump(&self) -> Dump {
        self.handle.dump()
    }

    /// Shuts the runtime down as dropping it does, but waits no longer than `limit` for tasks that are being polled; true
    /// if everything has ended.
    ///
    /// If not, a task keeps a worker's thread busy, and both are left to themselves: every other task is gone, and should
    /// that one ever end its turn, it is cancelled and the thread ends. Until then the thread, and the runtime's own
    /// descriptors, stay. What the futures of cancelled tasks do when they are dropped happens on this thread, and is not
    /// bounded.
    pub fn shutdown_timeout(mut self, limit: Duration) -> bool {
        self.end(Instant::now().checked_add(limit))
    }

    /// Ends the runtime, by the deadline or without a limit; false if a thread was left to itself.
    fn end(&mut self, deadline: Option<Instant>) -> bool {
        if !self.handle.sched.netpoll().is_owner_process() {
            // The threads are the parent's and their locks in any state. What is shared with it is not dropped here.
            std::mem::forget(self.handle.clone());
            return true;
        }
        self.handle.sched.close();
        self.handle.sched.pool().close();
        if let Some(quit) = &self.quit {
            quit.request();
        }
        let ended = self.threads.end(deadline);
        self.handle.sched.netpoll().end();
        ended
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.threads.have_ended() {
            self.end(None);
        }
    }
}

/// See [`crate::spawn_local`].
#[track_caller]
pub(crate) fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let meta = TaskMeta::new(Location::caller());
    let sched = SchedHandle::current();
    let worker =
        sched.as_ref().filter(|sched| sched.is_threadless()).and_then(|sched| Worker::current(sched));
    match (sched, worker) {
        (Some(sched), Some(worker)) => task::spawn_local(sched, worker.locals(), meta, future),
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
         `Runtime::builder().workers(1).build()?.block_on(...)`, or use `spawn` for a future that is Send"
    )
}
