// The examples of these files need more of hyper and tokio than the features bring; `tests/features` compiles and runs them.
#![cfg_attr(not(doctest), doc = include_str!("../README.md"))]
#![cfg_attr(not(doctest), doc = include_str!("features.md"))]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! # Glossary
//!
//! The terms of the sources, from the kernel's side up, beside those of Go's runtime and of tokio.
//!
//! | here | Go | tokio, mio and others |
//! |---|---|---|
//! | `Netpoll` | `netpoll` and its globals | `io::Driver` |
//! | `PollDesc` | `pollDesc` | `ScheduledIo` |
//! | `PollRegistration`, owned; core's `Registration` is borrowed | `pollDesc` in `poll.FD` | `Registration` |
//! | poller lock, `PollGuard` | `sched.lastpoll` is 0 | the driver's `TryLock` |
//! | break | `netpollBreak` | `Waker` of mio |
//! | `PollBuffer` | `events [128]epollevent` and `gList` | `mio::Events` |
//! | `Wheel`, `flush_removed` | `timers` heap, `cleanHead` | `Wheel`, - |
//! | `Coalescer` | - | timer slack of the kernel |
//! | `tick` | `nanotime` | ticks of `TimeSource` |
//! | `FdWaiter` | the retry loop of `net/http` | - |
//! | standby thread | the poll of `sysmon` | - |
//! | `Fd` | `poll.FD` | `PollEvented`, `AsyncFd` |
//! | `FdKind::ByteStream`, short-read hint | `FD.IsStream` | readiness cleared by a short read |
//! | `FdOwner`; `SharedFd`, `OwnedBy` | `FD.Sysfd` | `AsyncFd<T>` |
//! | `pin_fd` | `RawConn.Control` | `AsFd` |
//! | `Op` | `FD.Read`, `FD.Write` | `async_io` |
//! | `Fd::waiters`, `end_hand_over` | `fdMutex` with its semaphores | `Semaphore` |
//! | `PollWakers` | - | `Waiters` of `ScheduledIo` |
//! | `Sched`, `SchedHandle` | `schedt` | `scheduler::Handle` |
//! | `Worker`, `Remote` | `p` and `m` | `Core`, `Remote` |
//! | `WorkerSlot`, of a runtime without threads | `m` that acquires a `p` | the core of `current_thread` |
//! | `Context`, `EnterGuard` | `getg().m.p` | `Context`, `SetCurrentGuard` |
//! | `next_task`, `find_remote` | `schedule`, `findRunnable` | `next_task`, `steal_work` |
//! | `schedule_local`, `schedule_remote` | `runqput`, `globrunqput` | `schedule_local`, `push_remote_task` |
//! | `inject` | `injectglist` | inject queue |
//! | `StealBuffer`, `take_over_queue` | `runqgrab`, `handoffp` | - |
//! | `sysmon` | `sysmon` | - |
//! | `prepare_park`, `unpark` | `stopm`, `startm` | `transition_to_parked`, `transition_from_parked` |
//! | `Runnable` | `*g` | `Notified`; `Runnable` of async-task |
//! | `Schedule`, `Locals` | - | `Schedule`, the context of `LocalSet` |
//! | `TaskShard` | `allgs` | `OwnedTasks` |
//! | `TaskMeta`, `TaskName` | `g.gopc` | `TaskMeta`, task names of tokio-console |
//! | `WorkerStats` | `p.schedtick`, `p.status` | `WorkerMetrics` |
//! | `TaskRef`, `JoinHandle` | - | `RawTask`, `JoinHandle` |
//! | `Body`, `TaskResult` | - | `Stage`, `Result` of a task |
//! | `coop`, `proceed`, `BudgetGuard` | preemption | `coop`, `poll_proceed`, `ResetGuard` |
//! | `drop_task`, `defer_drop` | - | shutdown of `OwnedTasks` |
//! | `CopyFault`, an error of one side | - | `io::copy`'s error |
//! | `Process`, `ExitEvent` | `os.Process` with its pidfd | `PidfdReaper`, `Reaper` |
//! | `Orphan` | - | `OrphanQueue` |
//!
//! Where the field's word is not taken: the registration has a longer name because core's is a `Registration` already. The
//! socket's kind is a `SocketKind`, since rustix has a `SocketType`. A task's result is a `TaskResult`, since `Output` is
//! the associated type of every future.
//!
//! # Where an event goes
//!
//! The files through which an event of the kernel goes until the task that waits for it runs. They are steps of a read as well,
//! which is listed below.
//!
//! 1. `worker.rs`: a worker without tasks locks the poller.
//! 2. `netpoll/poll.rs`: `PollGuard::block` waits, and delivers each event to the descriptor that its key names.
//! 3. `sys/backend/epoll.rs`: epoll_pwait2(2) returns the events.
//! 4. `core/src/poll/desc.rs`: `PollDesc::ready` records the event, if the generation is that of the key.
//! 5. `core/src/poll/sema.rs`: the state word of the direction returns the waker.
//! 6. `sched/context.rs`: `inject_woken` puts the task into the ring of the worker.
//! 7. `task/cell.rs`: the waker becomes a `Runnable`, which polls the future.
//!
//! # Where a read goes
//!
//! The files through which [`TcpStream::read`](net::TcpStream::read) goes when there is nothing to read, in this order: down
//! to the task's parking, and from the event back to the task. Words that answer a question and call nothing further (the
//! locks of core, the budget, the short-read hint, the lookup of a key) have files named after them and are not listed.
//!
//! 1. `net/bytes.rs`: `read` passes recv(2) to the descriptor.
//! 2. `net/methods.rs`: `MapErr`, the future that the task polls, describes an error.
//! 3. `fd/calls.rs`: `Fd::read` makes an operation of the call.
//! 4. `fd/op.rs`: `Op` takes the lock of the direction, drops an old readiness, makes the call, and parks after it.
//! 5. `sys/socket.rs`: recv(2) returns `EAGAIN`.
//! 6. `netpoll/registration.rs`: `PollRegistration` parks the task and requests the event from a level-triggered backend.
//! 7. `core/src/poll/registration.rs`: `Registration::park` arms, looks at the state of the descriptor once more, and commits.
//! 8. `core/src/poll/sema.rs`: the state word of the direction takes the waker.
//! 9. `worker.rs`: a worker without tasks locks the poller, blocks in it, and wakes the tasks that it returns.
//! 10. `netpoll/poll.rs`: `PollGuard::block` publishes until when it sleeps, waits, and delivers the events.
//! 11. `sys/backend/epoll.rs`: epoll_pwait2(2) returns the event.
//! 12. `core/src/poll/desc.rs`: `PollDesc::ready` checks the generation and takes the waker out of the word of step 8.
//! 13. `sched/context.rs`: `inject_woken` puts the task into the ring of the worker.
//! 14. `task/cell.rs`: the waker becomes a `Runnable`, and `Runnable::run` polls the future of step 2 again.
//!
//! # Where a deadline goes
//!
//! The files through which [`set_read_deadline`](net::TcpStream::set_read_deadline) goes while a read waits, until the
//! deadline wakes the reader; from there it goes on as a read does after step 12. The clock and the deadline's own word answer
//! a question, and the lock of the wheel calls nothing further.
//!
//! 1. `net/methods.rs`: `set_read_deadline` describes an error.
//! 2. `fd/deadline.rs`: `Fd::set_deadline` lets the tasks that wait for a lock of the descriptor look at it.
//! 3. `netpoll/deadlines.rs`: `PollRegistration::set_deadline` converts the instant and puts the entry into the wheel.
//! 4. `core/src/poll/registration.rs`: `Registration::set_deadline` publishes it; `postpone` is enough for a later one.
//! 5. `netpoll_core::timer`: `Wheel` keeps the entry until it is due.
//! 6. `netpoll/poll.rs`: a break ends a sleep that would be too long; the poll sleeps until the entry is due and fires it.
//! 7. `core/src/poll/desc.rs`: `PollDesc::expire` makes the deadline expired, unless it was moved.
//! 8. `core/src/poll/sema.rs`: the state word of the direction returns the waker.
//!
//! # Where a spawned task goes
//!
//! From the call of [`spawn`] within a task to the first poll of the new task, file by file:
//!
//! 1. `lib.rs`: [`spawn`] asks for the scheduler that this thread works for.
//! 2. `sched/context.rs`: `SchedHandle::current` reads it from the context of the thread; `schedule_local` of step 5 finds the
//!    queue of the thread's worker there.
//! 3. `sched/handle.rs`: `SchedHandle::spawn` counts the task, creates it and schedules it.
//! 4. `task/meta.rs`: the spawn location becomes the word by which dumps name the task.
//! 5. `task/cell.rs`: `new_task` allocates the cell, with the handle and the first `Runnable`; the function of its table
//!    passes that to `schedule_local`.
//! 6. `sched/remote.rs`: `Remote::put` puts the task into the slot of the worker, from where it displaces the previous one.
//! 7. `core/src/sched/run_queue.rs`: the slot and the ring are words of core.
//! 8. `worker.rs`: `Worker::run` takes the task when the current one has returned, and calls `Runnable::run`, which is in the
//!    file of step 5 and polls the future.
//!
//! A thread that is no worker of the runtime puts the task into the global queue instead, and wakes a worker.

mod blocking;
mod compat;
mod context;
mod coop;
pub mod dump;
mod error;
mod fd;
mod foreign;
pub mod fs;
#[cfg(all(doc, not(doctest)))]
pub mod guide;
pub mod io;
mod metrics;
mod moderation;
pub mod net;
mod netpoll;
pub mod poll;
pub mod process;
mod protocol;
mod runtime;
mod sched;
pub mod signal;
#[cfg(netpoll_sim)]
pub mod sim;
mod spin;
mod sync;
mod sys;
mod sysmon;
pub mod task;
pub mod time;
mod timer;
#[cfg(feature = "tracing")]
mod trace;
#[cfg(not(feature = "tracing"))]
#[path = "trace_off.rs"]
mod trace;
mod worker;

/// The modules that the tests and tools of this repository use beyond the public API. A build without
/// `--cfg netpoll_internal` does not have it, so that the compiler finds what the crate itself does not use.
#[cfg(netpoll_internal)]
#[doc(hidden)]
#[allow(missing_docs, reason = "each module repeats the one that it is named after")]
pub mod internal {
    pub mod error {
        pub use crate::error::*;
    }
    pub mod fd {
        pub use crate::fd::*;
    }
    pub mod moderation {
        pub use crate::moderation::*;
    }
    pub mod netpoll {
        pub use crate::netpoll::*;
    }
    pub mod protocol {
        pub use crate::protocol::*;
    }
    pub mod spin {
        pub use crate::spin::*;
    }
    pub mod sync {
        pub use crate::sync::*;
    }
    pub mod sys {
        pub use crate::sys::*;
    }
    pub mod timer {
        pub use crate::timer::*;
    }
}

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

pub use dump::Dump;
pub use error::{OpError, is_closed, runtime_ended};
pub use metrics::Metrics;
pub use runtime::{Builder, EnterGuard, Handle, Runtime, Wrapped, worker_index};
pub use sys::Address;
pub use sysmon::StuckTask;
pub use task::{JoinError, JoinHandle};

/// Runs an `async fn main` on a runtime. Needs the feature `macros`.
///
/// ```
/// #[netpoll_rt::main]
/// async fn main() -> std::io::Result<()> {
///     let listener = netpoll_rt::net::TcpListener::bind("127.0.0.1:0").await?;
///     println!("listens on {}", listener.local_addr()?);
///     Ok(())
/// }
/// ```
///
/// The program above is the same as a `main` that passes its body to [`block_on`]: it runs on the default runtime, which
/// has a worker for each CPU and also serves the threads that call [`spawn`] outside of any runtime. Tasks that still run when
/// `main` returns end with the process.
///
/// | argument | effect |
/// |---|---|
/// | `workers = 4` | [`Builder::workers`], 1 to 256; with 1 all tasks run on the thread of `main` |
/// | `name = "web"` | [`Builder::thread_name`] |
/// | `paused` | the clock is [paused](time#a-paused-clock) from the start; needs `workers = 1`, which [`test`](macro@test) has |
/// | `crate = "path"` | the path of this crate, where it is not `::netpoll_rt` |
///
/// With `workers`, `name` or `paused` the function creates a [`Runtime`] of its own and drops it at its end, which cancels the tasks
/// that still run:
///
/// ```
/// #[netpoll_rt::main(workers = 4, name = "web")]
/// async fn main() {
///     let answer = netpoll_rt::spawn(async { 6 * 7 }).await.expect("the task does not panic");
///     assert_eq!(answer, 42);
/// }
/// ```
///
/// The function may have any name, visibility, attributes and return type, but neither arguments nor generic parameters.
///
/// # Panics
///
/// If the runtime cannot be started.
#[cfg(feature = "macros")]
pub use netpoll_macros::main;

/// Runs an `async fn` as a test, on a runtime of its own. Needs the feature `macros`.
///
/// ```
/// # mod tests {
/// use netpoll_rt::net::{TcpListener, TcpStream};
///
/// #[netpoll_rt::test]
/// async fn connects() -> std::io::Result<()> {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     TcpStream::connect(listener.local_addr()?).await?;
///     Ok(())
/// }
/// # }
/// ```
///
/// With `paused` the test does not wait for its timers: when it has nothing else to do, the [clock](time#a-paused-clock)
/// moves to the next one.
///
/// ```
/// # mod tests {
/// # use std::time::Duration;
/// use netpoll_rt::time;
///
/// #[netpoll_rt::test(paused)]
/// async fn a_day_takes_no_time() {
///     let start = time::now();
///     time::sleep(Duration::from_secs(86_400)).await;
///     assert_eq!(time::now() - start, Duration::from_secs(86_400));
/// }
/// # }
/// ```
///
/// The arguments are those of [`main`](macro@main). Without `workers` the runtime has one worker, and all tasks run on the
/// thread of the test. The runtime ends with the test, and its tasks are cancelled. `#[should_panic]`, `#[ignore]` and
/// tests that return a `Result` work as they do with `#[test]`.
///
/// # Panics
///
/// If the runtime cannot be started.
#[cfg(feature = "macros")]
pub use netpoll_macros::test;

/// The process-wide default runtime: started on first use, never shut down.
static DEFAULT: OnceLock<Runtime> = OnceLock::new();

fn default_runtime() -> std::io::Result<&'static Runtime> {
    if let Some(runtime) = DEFAULT.get() {
        return Ok(runtime);
    }
    // Two threads may start one each; one of them is kept and the other ended again.
    let runtime = Runtime::new()?;
    Ok(DEFAULT.get_or_init(|| runtime))
}

pub(crate) fn default_netpoll() -> std::io::Result<Arc<netpoll::Netpoll>> {
    default_runtime().map(|runtime| runtime.handle().netpoll())
}

pub(crate) fn default_sched() -> std::io::Result<Arc<sched::SchedHandle>> {
    default_runtime().map(|runtime| runtime.handle().clone().into_sched())
}

/// Runs a future to its end on this thread and returns its value; see [`Runtime::block_on`]. The runtime is the
/// process-wide default one, which is started when it is first needed and has a worker with a thread for each CPU.
///
/// Within a task it is a stopgap with limits: at most 16 calls may be within each other on one thread, and they end in the
/// reverse order; see [`Runtime::block_on`].
///
/// # Panics
///
/// - If the future panics.
/// - If 16 calls of `block_on` are within each other on this thread already.
/// - If the default runtime cannot be started for want of descriptors or threads.
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    started().block_on(future)
}

/// Starts a task on the runtime that this thread runs for, or on the default one.
///
/// # Panics
///
/// If the default runtime is needed and cannot be started.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let sched = match sched::SchedHandle::current() {
        Some(sched) => sched,
        None => started().handle().clone().into_sched(),
    };
    sched.spawn(Location::caller(), future)
}

/// Starts a task with a name; see [`Handle::spawn_named`].
///
/// # Panics
///
/// As [`spawn`].
#[track_caller]
pub fn spawn_named<F>(name: impl Into<Arc<str>>, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Handle::current().spawn_named(name, future)
}

/// Starts a task that need not be `Send`: it stays on this thread, which is in [`Runtime::block_on`] of a runtime of
/// [`workers(1)`](Builder::workers) and runs its tasks.
///
/// In a [`LocalSet`](task::LocalSet), on any runtime and under any executor, it starts a task of that set instead. The set is
/// the innermost one that this thread polls, or has entered.
///
/// Outside of one, the task lives no longer than that `block_on` (the outermost one of this thread): a task that has not ended by then is
/// cancelled there. So await its handle, or let the future of `block_on` go on for as long as the task is wanted.
///
/// [`abort`](JoinHandle::abort), also by an [`AbortHandle`](task::AbortHandle) on another thread, has its future dropped on
/// this one.
///
/// # Panics
///
/// On a thread that runs no tasks of a runtime of `workers(1)`: outside of its `block_on`, on a runtime with threads of its
/// own, or in a second `block_on` while another thread runs the tasks; unless it is in a `LocalSet`. The message says how to
/// get one.
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    runtime::spawn_local(future)
}

/// Runs a closure that blocks (a library's call, a long computation) on a thread of the pool of the runtime that this
/// thread runs for, or of the default one. Returns a handle with the closure's value.
///
/// The pool is the runtime's own. It starts threads when they are needed, as many as [`Builder::max_blocking_threads`]
/// says, and ends them when they have been idle for [`Builder::thread_keep_alive`]. The closure is queued at once; within
/// it [`spawn`] and [`Handle::current`] mean the same runtime.
///
/// | when | what becomes of the closure | the handle gives |
/// |---|---|---|
/// | it panics | | a [`JoinError`] with [`is_panic`](JoinError::is_panic) |
/// | [`abort`](JoinHandle::abort), or the runtime's end, before a thread began it | it is dropped and never runs | a [`JoinError`] with [`is_cancelled`](JoinError::is_cancelled) |
/// | the same while a thread runs it | it goes on to its end; its value is dropped. The runtime's end does not wait for it | the same |
/// | the kernel makes no thread, and the pool has threads | it waits for one of them | its value |
/// | the kernel makes no thread, and the pool has none | it is dropped and never runs | a [`JoinError`] with [`is_refused`](JoinError::is_refused) |
///
/// # Panics
///
/// As [`spawn`].
#[track_caller]
pub fn spawn_blocking<F, T>(closure: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Handle::current().spawn_blocking(closure)
}

/// Lets every other task that is runnable have its turn.
///
/// Dropped: nothing has happened.
pub async fn yield_now() {
    Yield { done: false }.await
}

struct Yield {
    done: bool,
}

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.done, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Handle {
    /// Returns the handle of the runtime that this thread runs for, or of the default one: the runtime that [`spawn`] uses.
    /// [`Handle::try_current`] starts no default one.
    ///
    /// # Panics
    ///
    /// If the default runtime is needed and cannot be started.
    #[track_caller]
    pub fn current() -> Self {
        Self::try_current().unwrap_or_else(|| started().handle().clone())
    }
}

#[track_caller]
fn started() -> &'static Runtime {
    match default_runtime() {
        Ok(runtime) => runtime,
        Err(error) => panic!("netpoll: the default runtime cannot be started: {error}"),
    }
}
