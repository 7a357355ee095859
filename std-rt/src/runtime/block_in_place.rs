//! Code that blocks within a task, while another thread becomes the worker.
//!
//! The protocol is [`hand_over`](crate::protocol::hand_over): which of the two threads is the worker, and where threads come
//! from. In addition, a thread that has offered its worker is marked: it touches neither the ring nor the wheel nor the
//! statistics of the worker until it has claimed it. The claim orders the accesses of the one thread before those of the
//! other. The runtime's end waits for all of these threads.

use std::io;
use std::panic::panic_any;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use super::{builder, local_set, shutdown};
use crate::coop;
use crate::protocol::hand_over::{Claim, Offer};
use crate::sched::{LentWorker, SchedHandle, StealBuffer, sched_of_worker};
use crate::task::{TaskMeta, is_in_turn};
use crate::worker::Worker;

/// Runs a closure that blocks on this thread, and returns its value. If the thread is a worker, another thread becomes the
/// worker, so that all other tasks go on, also if every worker is in here.
///
/// ```
/// use netpoll_rt::{Runtime, task};
///
/// let runtime = Runtime::builder().workers(2).build()?;
/// let read = runtime.spawn(async {
///     let text = String::from("on the stack of the task");
///     // The closure may borrow from the task.
///     task::block_in_place(|| text.len())
/// });
/// assert_eq!(runtime.block_on(read)?, 24);
/// # std::io::Result::Ok(())
/// ```
///
/// [`spawn_blocking`](crate::spawn_blocking) takes a closure that owns what it uses, leaves the other futures of this task
/// running, and costs less: this function wakes a thread each time, or starts one if none waits.
/// The task itself waits: other futures that it has joined make no progress. In the closure,
/// [`block_on`](crate::Handle::block_on) is possible and takes no worker.
///
/// On a thread that is no worker (outside of a runtime, in `block_on` of a runtime with threads, in `spawn_blocking`) it
/// only calls the closure.
///
/// At most [`max_blocking_threads`](crate::Builder::max_blocking_threads) threads are started for this function, 512 by
/// default, beside one for each worker. If there are as many, or the system has no thread to give, it calls the closure, the
/// other workers get the tasks that wait for this one, and if every worker is in such a call the tasks wait until one
/// returns. In a child of fork(2) it only calls the closure.
///
/// # Panics
///
/// - If the closure panics.
/// - On a runtime of [`workers(1)`](crate::Builder::workers), within `block_on`: its tasks cannot go to another thread.
/// - In a [`LocalSet`](crate::task::LocalSet), whose tasks cannot either.
#[track_caller]
pub fn block_in_place<T>(closure: impl FnOnce() -> T) -> T {
    if local_set::is_polled() || drives_threadless() {
        panic_any(
            "netpoll: block_in_place: can call blocking only when running on the multi-threaded runtime; in a LocalSet \
             and on a runtime of workers(1) the tasks stay on this thread, so use spawn_blocking",
        );
    }
    // The closure is no turn of a task.
    let _budget = coop::replace_budget(coop::UNLIMITED);
    let _successor = Successor::start();
    closure()
}

/// Returns whether this thread runs the tasks of a runtime without threads, whichever runtime is current: a task of it may wait
/// in `block_on` of another one.
fn drives_threadless() -> bool {
    sched_of_worker().is_some_and(|sched| sched.is_threadless())
}

/// The thread that becomes the worker of this thread.
struct Successor {
    sched: Arc<SchedHandle>,
    worker: Rc<Worker>,
    /// `None` once it is decided which thread is the worker.
    handed_over: Option<LentWorker>,
    /// The task that calls.
    running: Option<TaskMeta>,
    claim: Arc<Claim>,
}

impl Successor {
    /// Hands over the worker that this thread is. Returns `None` if it is none, or there is no thread. Code that is no task's
    /// (a hook, a waker that the worker wakes) keeps the worker: it is called within the worker's own steps. So do the tasks that
    /// such code runs by `block_on`.
    fn start() -> Option<Self> {
        // In a child of fork(2) the lists may be locked for ever, and no other thread is there.
        let sched = sched_of_worker().filter(|sched| is_in_turn() && sched.netpoll().is_owner_process())?;
        // The timers that this thread has dropped are still in the wheel. The drop of their wakers is foreign code, which may
        // hand the worker over itself: from the next line on there is none.
        sched.netpoll().flush_removed();
        let worker = Worker::current(&sched)?;
        let index = worker.index();
        if worker.is_kept() {
            sched.take_over_queue(index, &StealBuffer::new());
            return None;
        }
        if !sched.spares().leave() {
            return None;
        }
        let handed_over = Some(sched.hand_over());
        worker.set_handed_over(true);
        let (running, offer) = (worker.stats().take_running(), Offer::new(index));
        let claim = offer.claim.clone();
        let started = sched.spares().give(offer).or_else(|offer| start_thread(&sched, offer));
        // The runtime's end waits for the thread by its own list. Without a thread the drop of this value takes the worker back.
        let successor = Self { sched, worker, handed_over, running, claim };
        if started.is_err() {
            let sched = successor.sched.clone();
            drop(successor);
            sched.take_over_queue(index, &StealBuffer::new());
            return None;
        }
        Some(successor)
    }
}

/// Starts a thread that becomes the worker, unless there are as many as the runtime may have.
fn start_thread(sched: &Arc<SchedHandle>, offer: Offer) -> io::Result<()> {
    if !sched.spares().may_start(sched.config().most_successors) {
        return Err(io::ErrorKind::QuotaExceeded.into());
    }
    let name = thread::current().name().unwrap_or_default().to_owned();
    let body = builder::worker(sched.clone(), offer);
    let started = shutdown::start_thread(sched, name, sched.config().stack_size, body);
    started.map(drop).inspect_err(|_| sched.spares().not_started())
}

impl Drop for Successor {
    fn drop(&mut self) {
        let Some(handed_over) = self.handed_over.take() else { return };
        if !self.sched.netpoll().is_owner_process() {
            // The closure has forked. The successor is the parent's, and the lists may be locked for ever.
            return;
        }
        self.sched.spares().come_back();
        if self.claim.claim() {
            handed_over.take_back();
            self.worker.set_handed_over(false);
            self.worker.stats().restore_running(self.running);
        }
    }
}
