//! `block_on`: a thread that runs a future to its end, and tasks meanwhile.

use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use netpoll_core::sync::Flag;

use super::{Handle, Runtime, TIMER_SLACK_NANOSECONDS, local_set};
use crate::context;
use crate::coop;
use crate::protocol::driver::{Deadlock, WaitGraph, WorkerSlot};
use crate::sched::{CurrentGuard, EnterGuard, SchedHandle, is_worker_thread};
use crate::sys;
use crate::task::{CurrentTask, TaskMeta, end_turn, is_in_turn};
use crate::trace::{self, TaskSpan};
use crate::worker::Worker;

/// Calls of `block_on` within each other on one thread, over all runtimes. Each keeps a part of the stack: 128 KiB for each
/// on a thread with 2 MiB.
const MAX_NESTED: usize = 16;

impl Runtime {
    /// Runs a future to its end on this thread and returns its value; tasks that it spawns run meanwhile, on the
    /// workers, or on this thread if the runtime has no others ([`Builder::workers(1)`](crate::Builder::workers)).
    ///
    /// May be called from several threads at once. Of a runtime without threads one of them runs the tasks, and when it
    /// leaves, another one does.
    ///
    /// # Within a task
    ///
    /// A task may call it, of its own runtime or of another one, as a stopgap where code that is not async has to wait. The
    /// worker then runs other tasks on top of the one that called, so:
    ///
    /// - A call returns only after the calls that were made on top of it, whichever future is ready first. A task that waits
    ///   in here for another one which waits in here for the first hangs both.
    /// - At most 16 calls may be within each other on one thread, over all runtimes. This bounds the stack; the next one
    ///   panics. Many tasks of one worker that call it at once are within each other, too.
    ///
    /// Await the future instead, or move the code that waits to [`spawn_blocking`](crate::spawn_blocking), from where
    /// `block_on` is never nested.
    ///
    /// # Panics
    ///
    /// - If the future panics.
    /// - If 16 calls are within each other on this thread already.
    /// - If this thread runs the tasks of a runtime without threads, and the thread that runs those of this one waits, in
    ///   `block_on`, for that runtime: neither would get on.
    /// - In a process that was forked from the one that made the runtime.
    /// - If the kernel refuses to wait for events, since a descriptor of the runtime was closed by its number. With
    ///   `workers(1)` it panics; otherwise a message on the standard error output says so and the process is aborted, as every
    ///   task would wait for ever.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        block_on(&self.handle.sched, self.worker_slot.as_ref(), future)
    }
}

impl Handle {
    /// Runs a future to its end on this thread and returns its value, as [`Runtime::block_on`] does, with which it shares
    /// the limits within a task and the panics. The runtime's workers run its tasks meanwhile.
    ///
    /// A runtime of [`workers(1)`](crate::Builder::workers) has no workers, and **a handle does not drive it**: its tasks run
    /// while a thread is in [`Runtime::block_on`], as with tokio's `current_thread`. The future itself does not depend on
    /// that: its sockets are polled by the standby thread, its sleeps are left with the default runtime, and closures of
    /// [`spawn_blocking`](crate::spawn_blocking), files and names are served by the pool. A wait for a task of the runtime lasts
    /// until a thread drives it, or it ends. Within
    /// `Runtime::block_on`, on the thread that runs the tasks, the call runs them.
    ///
    /// The runtime may end meanwhile. The future goes on then: its tasks are cancelled, its operations on the runtime's
    /// descriptors fail ([`runtime_ended`](crate::runtime_ended)), and its sleeps end in time.
    ///
    /// # Panics
    ///
    /// As [`Runtime::block_on`].
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        block_on(&self.sched, None, future)
    }
}

/// Runs a future on this thread. With the slot of a runtime without threads it runs the tasks, too, when the slot is free.
#[track_caller]
fn block_on<F: Future>(
    sched: &Arc<SchedHandle>,
    worker_slot: Option<&Arc<WorkerSlot>>,
    future: F,
) -> F::Output {
    let (_, future) = TaskSpan::new(trace::BLOCK_ON, None, Location::caller()).around(future);
    sched.netpoll().assert_owner_process("block_on");
    let _nested = Nested::enter();
    let _entered = Entered::new(sched, worker_slot.is_some());
    // A set of this thread runs no task until this call ends.
    let _outside = local_set::leave();
    // The budget of the task that called, if one did, is restored afterwards.
    let _guard = coop::replace_budget(coop::UNLIMITED);
    let worker = match Worker::current(sched) {
        Some(worker) => Some(worker.index()),
        None => worker_slot.map(|_| 0),
    };
    let (woken, thread) = (Flag::new(), thread::current());
    let block_on_waker = Arc::new(BlockOnWaker { woken, thread, sched: sched.clone(), worker });
    let waker = Waker::from(block_on_waker.clone());
    let mut cx = Context::from_waker(&waker);
    // Tasks that run meanwhile are not the one that called, if one did.
    let caller = CurrentTask::keep();
    let mut future = pin!(future);
    let mut worker_guard = try_acquire_worker(sched, worker_slot);
    block_on_waker.woken.set();
    loop {
        // A turn begins, also where the thread runs no tasks.
        coop::set_budget(sched.config().budget);
        caller.restore();
        if block_on_waker.woken.clear()
            && let Poll::Ready(value) = future.as_mut().poll(&mut cx)
        {
            return value;
        }
        end_turn();
        // The future may have forked: in the child the tasks and the events are the parent's, and the workers are not there.
        sched.netpoll().assert_owner_process("block_on");
        // A task within has handed the worker over: this thread waits for the future alone.
        worker_guard = worker_guard.filter(|guard| !guard.worker.is_handed_over());
        match (&worker_guard, worker_slot) {
            // The runtime ends: no worker runs a task or polls any more. Its end waits for this call, if that is in a task, so
            // the waits of the future end here.
            (Some(_), _) if sched.is_closed() => end_waits(sched, &block_on_waker.woken),
            // The future yielded: every task that is runnable has a turn first.
            (Some(worker_guard), _) if block_on_waker.woken.is_set() => worker_guard.worker.run_ready(),
            (Some(worker_guard), _) => {
                worker_guard.worker.run(Some(&block_on_waker.woken));
                worker_guard.worker.run_queued();
            }
            (None, Some(worker_slot)) => {
                worker_guard = wait_for_worker(sched, worker_slot, || block_on_waker.woken.is_set())
            }
            // The same for a thread of the runtime that has given its worker away.
            (None, None) if sched.is_closed() && sched.ending().waits_for_this_thread() => {
                end_waits(sched, &block_on_waker.woken)
            }
            (None, None) => park_until(&block_on_waker.woken),
        }
    }
}

/// Ends the waits on the poller of a runtime that ends, and parks the thread until the future is woken.
#[cold]
fn end_waits(sched: &SchedHandle, woken: &Flag) {
    if sched.netpoll().check().is_ok() {
        sched.netpoll().end();
    }
    park_until(woken);
}

/// Parks the thread unless the future is woken.
fn park_until(woken: &Flag) {
    if !woken.is_set() {
        thread::park();
    }
}

/// The guard of a thread in `block_on`.
enum Entered {
    /// The scheduler, which has threads, or the thread may become its worker.
    Sched(#[expect(dead_code, reason = "a guard")] EnterGuard),
    /// Only the place of new tasks and descriptors: the thread does not drive the runtime, which has no threads.
    Current(#[expect(dead_code, reason = "a guard")] CurrentGuard),
}

impl Entered {
    fn new(sched: &Arc<SchedHandle>, may_drive: bool) -> Self {
        if may_drive || !sched.is_threadless() {
            Self::Sched(sched.enter())
        } else {
            Self::Current(sched.enter_current())
        }
    }
}

/// A call of `block_on` on this thread.
struct Nested;

impl Nested {
    fn enter() -> Self {
        let depth = context::with(|context| context.block_on_depth.get());
        if depth == MAX_NESTED {
            too_deep();
        }
        context::with(|context| context.block_on_depth.set(depth + 1));
        Self
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        context::with(|context| context.block_on_depth.update(|depth| depth - 1));
    }
}

#[cold]
fn too_deep() -> ! {
    panic!(
        "netpoll: block_on is called within block_on, {MAX_NESTED} deep on this thread: each call runs other tasks on top \
         of the one that called, and ends only after theirs; await the future, or call block_on within spawn_blocking"
    )
}

/// The waker of the future that `block_on` runs.
struct BlockOnWaker {
    woken: Flag,
    thread: Thread,
    sched: Arc<SchedHandle>,
    /// The worker that the thread is, or may become.
    worker: Option<usize>,
}

impl Wake for BlockOnWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.woken.set() {
            self.thread.unpark();
            if let Some(worker) = self.worker {
                // The thread may sleep in the poller.
                self.sched.break_poll_of(worker);
            }
        }
    }
}

/// The threads that drive one runtime and wait for another one.
static WAIT_GRAPH: WaitGraph = WaitGraph::new();

/// Returns a worker for this thread: the one that it is already, or the one of a runtime without threads if its slot is free.
fn try_acquire_worker<'a>(
    sched: &Arc<SchedHandle>,
    worker_slot: Option<&'a Arc<WorkerSlot>>,
) -> Option<WorkerGuard<'a>> {
    if let Some(worker) = Worker::current(sched) {
        return Some(WorkerGuard::new(worker, None));
    }
    let worker_slot = worker_slot?;
    worker_slot.try_acquire().then(|| WorkerGuard::acquired(sched, worker_slot))
}

/// Waits until this thread has the worker slot of a runtime without threads, or `is_woken` holds.
fn wait_for_worker<'a>(
    sched: &Arc<SchedHandle>,
    worker_slot: &'a Arc<WorkerSlot>,
    is_woken: impl Fn() -> bool,
) -> Option<WorkerGuard<'a>> {
    match worker_slot.wait(is_worker_thread().then_some(&WAIT_GRAPH), is_woken) {
        Ok(taken) => taken.then(|| WorkerGuard::acquired(sched, worker_slot)),
        Err(Deadlock) => panic!(
            "netpoll: block_on would wait for ever: this thread runs the tasks of one runtime and calls block_on of \
             another one, whose thread waits in block_on for the first; await the future, or use \
             spawn_blocking for one of the two calls"
        ),
    }
}

/// The guard of a thread that is a worker.
struct WorkerGuard<'a> {
    worker: Rc<Worker>,
    /// The slot of a runtime without threads, to be released; `None` for a thread that was a worker before.
    worker_slot: Option<&'a WorkerSlot>,
    /// The task that called, if the thread was this worker before.
    running: Option<TaskMeta>,
    /// Whether the thread was to stay the worker before.
    kept: bool,
    timer_slack: Option<u64>,
    _entered: EnterGuard,
}

impl<'a> WorkerGuard<'a> {
    /// Creates the guard of a thread that has the slot of the one worker.
    fn acquired(sched: &Arc<SchedHandle>, worker_slot: &'a WorkerSlot) -> Self {
        Self::new(Rc::new(Worker::new(sched, 0)), Some(worker_slot))
    }

    fn new(worker: Rc<Worker>, worker_slot: Option<&'a WorkerSlot>) -> Self {
        let timer_slack = worker_slot.and_then(|_| sys::set_timer_slack(TIMER_SLACK_NANOSECONDS).ok());
        let entered = worker.enter();
        let running = worker.stats().take_running();
        // Called within the worker's own steps, as by a hook, which go on afterwards.
        let kept = worker.set_kept(worker.is_kept() || worker_slot.is_none() && !is_in_turn());
        Self { worker, worker_slot, running, kept, timer_slack, _entered: entered }
    }
}

impl Drop for WorkerGuard<'_> {
    fn drop(&mut self) {
        if self.worker_slot.is_some() {
            self.worker.drop_locals();
        }
        self.worker.set_kept(self.kept);
        if !self.worker.is_handed_over() {
            self.worker.stats().restore_running(self.running);
        }
        if let Some(slack) = self.timer_slack {
            // The value was in force before, so the kernel accepts it.
            let _ = sys::set_timer_slack(slack);
        }
        if let Some(worker_slot) = self.worker_slot {
            worker_slot.release();
        }
    }
}
