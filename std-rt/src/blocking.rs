//! The pool of a runtime for work that blocks, as the rest of the crate uses it: the names of its threads, the bound of each
//! kind of work, and the repeated request for a thread that the kernel refused. The pool itself is
//! [`protocol::pool`](crate::protocol::pool).

use std::io;
use std::panic::{self, Location};
use std::sync::Arc;
use std::time::Duration;

use crate::coop;
use crate::error::no_thread;
use crate::protocol::job::{Failure, Job, Refusal};
use crate::protocol::pool::{Class, Limits, Pool};
use crate::sched::{Hooks, SchedHandle, ThreadNames};
use crate::sys;
use crate::task::JoinHandle;
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
    fn start(&self, number: usize, body: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        let (name, hooks) = (self.names.get(POOL_NAME, "-pool", number), self.hooks.clone());
        let body = move || {
            let _hooks = hooks.enter_thread();
            body();
        };
        sys::start_thread(name, self.stack_size, body).map(drop)
    }
}

/// Creates a pool.
pub(crate) fn pool(start: Threads, threads: usize, keep_alive: Duration) -> Arc<Pool> {
    let reserve = (threads / RESERVE_PART).clamp(1, MAX_RESERVE);
    let limits = Limits { threads, reserve, keep_alive, retry: RETRY };
    Pool::new(limits, move |number, body| start.start(number, body))
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
    let (of_pool, location) = (sched.for_no_worker(), Location::caller());
    let span = TaskSpan::new(trace::BLOCKING, None, location);
    let (run, refused) = sched.pool().run(Class::Closure, move || {
        let _entered = of_pool.enter();
        span.call(closure)
    });
    if refused {
        keep_asking(sched);
    }
    let task = async move { run.await.unwrap_or_else(|failure| unwind(failure)) };
    sched.clone().spawn_waiter(location, task)
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
