//! Work that blocks, as the rest of the crate hands it to a runtime's pool: how the pool's threads are made and named, how
//! much each kind of work may have, and how the kernel is asked again for a thread that it refused. The pool itself is
//! [`protocol::pool`](crate::protocol::pool).

use std::io;
use std::panic::{self, Location};
use std::sync::Arc;
use std::time::Duration;

use crate::coop;
use crate::error::no_thread;
use crate::protocol::job::{Failure, Job, Refusal};
use crate::protocol::pool::{Class, Limits, Pool};
use crate::sched::SchedHandle;
use crate::sys;
use crate::task::{self, JoinHandle};
use crate::time::sleep;

/// For how long the pool asks the kernel for no more threads after it was refused one and while it has others; after
/// which it does so although nothing happens; and how rarely at last.
const RETRY: Duration = Duration::from_millis(10);
const RETRY_AT_LAST: Duration = Duration::from_secs(1);

/// The part of a pool that each class of work has beyond its bound, and the most threads that this is.
const RESERVE_PART: usize = 8;
const MOST_RESERVE: usize = 16;

/// Creates a pool whose threads are called `name-0` and so on.
pub(crate) fn pool(name: String, threads: usize, keep_alive: Duration) -> Arc<Pool> {
    let reserve = (threads / RESERVE_PART).clamp(1, MOST_RESERVE);
    let limits = Limits { threads, reserve, keep_alive, retry: RETRY };
    // The thread is not joined: it ends by itself, and what it runs may not end at all.
    Pool::new(limits, move |number, body| sys::start_thread(format!("{name}-{number}"), body).map(drop))
}

/// Hands a job to the pool of the runtime that this thread runs for, or else of the default one.
pub(crate) fn submit(class: Class, job: Arc<dyn Job>) -> io::Result<()> {
    let sched = current()?;
    if sched.pool().submit(class, job) {
        keep_asking(&sched);
    }
    Ok(())
}

/// Makes a call of the library's on a thread of that pool. A panic goes on in the future that waits.
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
        // A pool that refuses may do so at once, without a wait.
        Err(Failure::Refused(why)) => coop::refuse(no_thread(why)).await,
        Err(failure) => unwind(failure),
    }
}

/// Makes a call of the user's on a thread of that runtime's pool; within it the thread runs for the runtime.
#[track_caller]
pub(crate) fn spawn<T: Send + 'static>(
    sched: &Arc<SchedHandle>,
    closure: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let of_pool = sched.for_no_worker();
    let (run, refused) = sched.pool().run(Class::Closure, move || {
        let _entered = of_pool.enter();
        closure()
    });
    if refused {
        keep_asking(sched);
    }
    let task = async move { run.await.unwrap_or_else(|failure| unwind(failure)) };
    task::spawn(sched.clone(), Location::caller(), task)
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
            pause = (pause * 2).min(RETRY_AT_LAST);
        }
    };
    drop(task::spawn(sched.clone(), Location::caller(), asking));
}

/// Ends a task that waited for the pool in vain. A [`Refusal`] travels as the payload: the task's handle knows it.
fn unwind(failure: Failure) -> ! {
    match failure {
        Failure::Panic(payload) => panic::resume_unwind(payload),
        Failure::Refused(why) => panic::resume_unwind(Box::<Refusal>::new(why)),
    }
}
