//! The end of a runtime, and of its tasks.
//!
//! # What happens to a task at shutdown
//!
//! A runtime is shut down by dropping it or by [`Runtime::shutdown_timeout`]. The thread that does so is the *ender*.
//!
//! | the task | what happens to it | what its [`JoinHandle`](crate::JoinHandle) gives |
//! |---|---|---|
//! | waits, for I/O, a timer, another task or anything else | the ender drops its future | cancelled |
//! | is in a run queue | the ender takes it out and drops its future | cancelled |
//! | is being polled | the poll goes on to its end; the ender waits for it, then the future is dropped | its value if that poll returned it, else cancelled |
//! | is woken after the shutdown began | it is not polled: the ender drops its future, not the code that wakes it | cancelled |
//! | is spawned after the shutdown began | its future is dropped at once, in `spawn` | cancelled |
//! | stays on the thread of `block_on` ([`spawn_local`](crate::spawn_local)) | it is gone by then: that thread drops it when it leaves `block_on` | cancelled |
//! | is a closure of `spawn_blocking` that waits for a thread to be free | it is dropped and never runs | cancelled |
//! | is a closure of `spawn_blocking` for which a thread is starting or woken | it is dropped, or the thread is first and runs it; it runs with [`wait_for_blocking`](crate::Builder::wait_for_blocking) | as below if it runs, else cancelled |
//! | is a closure of `spawn_blocking` that a thread runs | it runs to its end, and the ender does not wait for it; its value is dropped | cancelled; its value with [`wait_for_blocking`](crate::Builder::wait_for_blocking) |
//! | is polled past the limit of `shutdown_timeout` | its thread is left to itself; if the poll ever ends, that thread drops the future and ends | as if the limit had been longer |
//!
//! A future that panics while it is dropped makes its handle say so ([`is_panic`](crate::JoinError::is_panic)) and harms no
//! other task.
//!
//! # In which order
//!
//! 1. The scheduler is closed: it refuses tasks, and no worker begins another poll. The pool for work that blocks refuses
//!    the jobs that wait in it, except those for which a thread is on its way.
//! 2. The ender cancels: it takes every task out of the run queues and drops it, then it wakes every task that waits, which
//!    makes it one of those that are woken after the shutdown began.
//! 3. It waits until every thread of the runtime has ended, and drops tasks that are woken meanwhile. After each thread that
//!    ends it cancels once more. A thread that ends another runtime, and so waits for the ender, is left to itself.
//! 4. The poller ends: operations on the runtime's descriptors that are polled elsewhere fail from then on
//!    ([`runtime_ended`](crate::runtime_ended)), and sleeps move to another poller. It ends before step 3 has, if a worker is in
//!    `block_on`: that call is within a poll, and no thread polls for it any more.
//!
//! Steps 2 and 3, and why no task is forgotten in them, are the protocol of [`crate::protocol::ending`], which a checker
//! runs. In a child of fork(2) none of this happens: the threads are the parent's, and their locks in any state.

use std::io;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Runtime;
use crate::sched::{SchedHandle, drop_task};
use crate::sync::thread::{self, JoinHandle};
use crate::sys;

impl Runtime {
    /// Shuts the runtime down as dropping it does, but waits no longer than `limit` for tasks that are being polled. Returns
    /// true if everything has ended.
    ///
    /// If not, a task keeps a worker's thread busy, and both are left to themselves: every other task is gone, and should
    /// that poll ever return, the task is cancelled and the thread ends. Until then the thread, and the runtime's own
    /// descriptors, stay. The futures of cancelled tasks are dropped on this thread, and the limit does not bound that.
    pub fn shutdown_timeout(mut self, limit: Duration) -> bool {
        self.end(Instant::now().checked_add(limit))
    }

    /// Shuts the runtime down as [`shutdown_timeout`](Self::shutdown_timeout) does with no time at all: it waits for no task
    /// that is being polled. So it may be called where waiting is not possible, within a task for instance.
    pub fn shutdown_background(self) {
        self.shutdown_timeout(Duration::ZERO);
    }

    /// Ends the runtime, by the deadline or without a limit. Returns false if a thread was left to itself.
    fn end(&mut self, deadline: Option<Instant>) -> bool {
        if !self.handle.sched.netpoll().is_owner_process() {
            // The values that are shared with the parent are not dropped here.
            mem::forget(self.handle.clone());
            return true;
        }
        self.handle.sched.close();
        self.handle.sched.pool().close();
        if let Some(quit) = &self.quit {
            quit.request();
        }
        let ended = self.threads.end(deadline);
        self.handle.sched.netpoll().end();
        let pool_ended = !self.wait_for_blocking || self.handle.sched.pool().wait_for_end(deadline);
        ended && pool_ended
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.threads.have_ended() {
            self.end(None);
        }
    }
}

/// The threads of one runtime.
pub(super) struct ThreadSet {
    sched: Arc<SchedHandle>,
    stack_size: Option<usize>,
    handles: Vec<JoinHandle<()>>,
}

impl ThreadSet {
    /// Creates the set of a runtime that has no threads yet.
    pub(super) fn new(sched: Arc<SchedHandle>, stack_size: Option<usize>) -> Self {
        Self { sched, stack_size, handles: Vec::new() }
    }

    /// Starts a thread.
    pub(super) fn start(&mut self, name: String, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.handles.push(start_thread(&self.sched, name, self.stack_size, body)?);
        Ok(())
    }

    /// Returns true once [`ThreadSet::end`] has returned.
    fn have_ended(&self) -> bool {
        self.sched.ending().is_ended()
    }

    /// Drops every task of a closed scheduler, and waits for the threads. Returns false if a thread had not ended by the
    /// deadline and was left to itself. The thread that calls is not waited for.
    fn end(&mut self, deadline: Option<Instant>) -> bool {
        let _entered = self.sched.enter();
        let ended = self.sched.ending().end(deadline, || cancel(&self.sched), drop_task);
        for handle in self.handles.drain(..) {
            if ended && handle.thread().id() != thread::current().id() {
                sys::wait_for_end(handle.thread().id());
                // A worker's panic was printed where it happened.
                let _ = handle.join();
            }
        }
        ended
    }
}

/// Starts a thread that the end of the runtime waits for.
pub(super) fn start_thread(
    sched: &Arc<SchedHandle>,
    name: String,
    stack_size: Option<usize>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let of_cancel = sched.clone();
    let named = thread::Builder::new().name(name);
    let builder = stack_size.into_iter().fold(named, thread::Builder::stack_size);
    sched.ending().start(builder, body, move || cancel(&of_cancel))
}

/// Cancels every task of a closed scheduler, except those that are being polled.
fn cancel(sched: &Arc<SchedHandle>) {
    let _entered = sched.enter();
    sched.cancel_all();
}
