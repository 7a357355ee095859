//! The pool of a runtime for work that blocks, as the rest of the crate uses it: the names of its threads, the bound of each
//! kind of work, and the repeated request for a thread that the kernel refused. The pool itself is
//! [`protocol::pool`](crate::protocol::pool).

#![expect(unsafe_code, reason = "declares the scheduler of the tasks that a thread of the pool ends")]

use std::io;
use std::panic::{self, Location};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use crate::coop;
use crate::error::no_thread;
use crate::protocol::job::{Begun, CallContext, Failure, Job, Refusal};
use crate::protocol::pool::{Class, Limits, Pool};
use crate::sched::{EnterGuard, Hooks, SchedHandle, ThreadNames};
use crate::sys::{self, ForkEpoch};
use crate::task::{
    self, CurrentTask, JoinHandle, LocalQueues, Runnable, Schedule, Scheduled, TaskMeta, UNREGISTERED,
};
use crate::time::sleep;
use crate::trace::{self, TaskSpan};

/// The time after a refused thread for which a pool with other threads asks the kernel for no more, and the first pause of
/// [`keep_asking`].
const RETRY: Duration = Duration::from_millis(10);

/// The longest pause of [`keep_asking`].
const MAX_RETRY: Duration = Duration::from_secs(1);

/// The reserve of each class of work, as a part of the pool's bound, and its maximum in threads.
const RESERVE_PART: usize = 8;
const MAX_RESERVE: usize = 16;

/// The name of the pool's threads, without [`Builder::thread_name`](crate::Builder::thread_name).
const POOL_NAME: &str = "netpoll-pool";

/// The settings of a pool's threads.
pub(crate) struct Threads {
    pub names: ThreadNames,
    /// The bytes of their stacks.
    pub stack_size: Option<usize>,
    pub hooks: Hooks,
}

impl Threads {
    /// Starts a thread. It is not joined: it ends by itself, and its job may not end at all.
    fn start(
        &self,
        timer_slack: Option<u64>,
        number: usize,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<()> {
        let (name, hooks) = (self.names.get(POOL_NAME, "-pool", number), self.hooks.clone());
        let body = move || {
            if let Some(slack) = timer_slack {
                // If it fails, the thread's sleeps are exact and cost more.
                let _ = sys::set_timer_slack(slack);
            }
            let _hooks = hooks.enter_thread();
            body();
        };
        sys::start_detached(name, self.stack_size, body)
    }
}

/// Creates a pool.
pub(crate) fn pool(start: Threads, threads: usize, keep_alive: Duration) -> Arc<Pool> {
    let reserve = (threads / RESERVE_PART).clamp(1, MAX_RESERVE);
    // The caller and the jobs that run need a processor, too.
    let arrivals = thread::available_parallelism().map_or(1, |cpus| cpus.get().div_ceil(2));
    let limits = Limits { threads, reserve, arrivals, keep_alive, retry: RETRY };
    let epoch = ForkEpoch::current().ok();
    let is_owner_process = move || epoch.is_none_or(ForkEpoch::is_current);
    // That of the thread which creates the runtime. Workers have almost none, and a thread that they start inherits it: each
    // sleep in a closure would then need an interrupt of its own.
    let timer_slack = sys::timer_slack().ok();
    Pool::new(limits, is_owner_process, move |number, body| start.start(timer_slack, number, body))
}

/// Hands a job to the pool of the runtime that this thread runs for, or else of the default one.
pub(crate) fn submit(class: Class, job: Arc<dyn Job>) -> io::Result<()> {
    let sched = current()?;
    if sched.pool().submit(class, job) {
        keep_asking(&sched);
    }
    Ok(())
}

/// Runs a call of this crate on a thread of that pool. A panic goes on in the future that waits.
pub(crate) async fn run<T: Send + 'static>(
    class: Class,
    call: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let sched = match current() {
        Ok(sched) => sched,
        Err(error) => return coop::refuse(error).await,
    };
    let (run, refused) = sched.pool().run(class, call);
    if refused {
        keep_asking(&sched);
    }
    drop(sched);
    match run.await {
        Ok(value) => Ok(value),
        // The pool may have refused at once, without a wait.
        Err(Failure::Refused(why)) => coop::refuse(no_thread(why)).await,
        Err(failure) => unwind(failure),
    }
}

/// Runs a closure of the user on a thread of that runtime's pool; within it the thread works for the runtime.
#[track_caller]
pub(crate) fn spawn<T: Send + 'static>(
    sched: &Arc<SchedHandle>,
    closure: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    sched.netpoll().assert_owner_process("spawn_blocking");
    let (of_pool, location) = (sched.for_no_worker().clone(), Location::caller());
    let span = TaskSpan::new(trace::BLOCKING, None, location);
    let (run, call) = sched.pool().new_call(Class::Closure, OfRuntime(of_pool));
    let task = async move { run.await.unwrap_or_else(|failure| unwind(failure)) };
    let on_pool = OnPool { sched: sched.clone(), call: call.begun() };
    let (task, handle) = task::new_task(on_pool, TaskMeta::new(location), TaskSpan::none(), task);
    // The id is this task's alone as long as the call has a reference.
    let reference = handle.abort_handle();
    // The task waits for the call from now on. No worker is needed for that, and none when the call returns.
    task.run();
    // A runtime that has begun to end meanwhile may not have seen the task.
    if sched.is_closed() {
        handle.abort();
    }
    let refused = call.submit(move || {
        let _current = CurrentTask::replace(reference.id());
        span.call(closure)
    });
    if refused {
        keep_asking(sched);
    }
    handle
}

/// The context of a closure: its thread works for the runtime, and ends the closure's task itself, in place of a run queue.
struct OfRuntime(Arc<SchedHandle>);

impl CallContext for OfRuntime {
    type Guard = EnterGuard;

    fn enter(&self) -> EnterGuard {
        self.0.enter()
    }

    fn wake(&self, waker: Waker) {
        // `None`: the task was aborted.
        if let Ok(Some(task)) = task::wake_to_runnable(waker) {
            let _current = CurrentTask::replace(task.id());
            task.run();
        }
    }
}

/// The scheduler of a closure's task. The thread of the pool that ends the call ends the task as well, so that waiting for it
/// does not depend on the workers, nor on a thread that drives a runtime without them.
struct OnPool {
    sched: Arc<SchedHandle>,
    /// Says whether a thread has begun the closure. It keeps the memory of the call until the task's is freed, most often by
    /// the thread that spawned it: the allocator's lock is then not contended by the threads of the pool.
    call: Arc<dyn Begun>,
}

// SAFETY: `for_any_worker` is false.
unsafe impl Schedule for OnPool {
    fn for_any_worker() -> bool {
        false
    }

    fn registers() -> bool {
        true
    }

    /// Drops a task that was aborted. If a thread has begun the closure, that runs no foreign code. Else the closure is dropped
    /// too: on a worker, or, as a runtime without threads may never be driven, on the pool.
    fn schedule(task: Scheduled<Self>, yielded: bool) {
        let OnPool { sched, call } = task.sched();
        let (sched, begun) = (sched.clone(), call.is_begun());
        let task = Runnable::from(task);
        if begun {
            return drop(task);
        }
        if !sched.is_threadless() || sched.is_closed() {
            return sched.put(task, yielded);
        }
        let aborted = Aborted { task: Mutex::new(task), sched: sched.for_no_worker().clone() };
        if sched.pool().submit(Class::Drop, Arc::new(aborted)) {
            keep_asking(&sched);
        }
    }

    fn started(&self) {
        Schedule::started(&self.sched);
    }

    fn register(&self, waker: Waker) -> u32 {
        if self.sched.config().waits_for_blocking { UNREGISTERED } else { self.sched.register(waker) }
    }

    fn ended(&self, key: Option<u32>) {
        Schedule::ended(&self.sched, key);
    }

    fn may_cancel(&self) -> bool {
        !(self.sched.config().waits_for_blocking && self.call.is_begun())
    }

    fn is_owner_process(&self) -> bool {
        self.sched.netpoll().is_owner_process()
    }
}

/// A task that was aborted, and is still to be dropped.
struct Aborted {
    /// In a mutex only so that the job is `Sync`.
    #[expect(dead_code, reason = "it is dropped")]
    task: Mutex<Runnable>,
    sched: Arc<SchedHandle>,
}

impl Job for Aborted {
    fn run(self: Arc<Self>) -> Option<Arc<dyn Job>> {
        let _entered = self.sched.clone().enter();
        drop(self);
        None
    }

    fn refuse(self: Arc<Self>, _why: Refusal) {
        self.run();
    }

    fn is_wanted(&self) -> bool {
        true
    }
}

fn current() -> io::Result<Arc<SchedHandle>> {
    SchedHandle::current().map_or_else(crate::default_sched, Ok)
}

/// Asks the kernel for a thread until no job lacks one. The task ends with its runtime, when no job waits any more.
fn keep_asking(sched: &Arc<SchedHandle>) {
    let pool = sched.pool().clone();
    let asking = async move {
        let mut pause = RETRY;
        loop {
            sleep(pause).await;
            if !pool.retry() {
                return;
            }
            pause = (pause * 2).min(MAX_RETRY);
        }
    };
    drop(sched.clone().spawn(Location::caller(), asking));
}

/// Ends a task without a result of the pool. A [`Refusal`] travels as the payload: the task's handle knows it.
fn unwind(failure: Failure) -> ! {
    match failure {
        Failure::Panic(payload) => panic::resume_unwind(payload),
        Failure::Refused(why) => panic::resume_unwind(Box::<Refusal>::new(why)),
    }
}
