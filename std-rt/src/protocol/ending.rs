//! The end of a runtime: the rules by which tasks are dropped and threads are awaited.
//!
//! A runtime is ended by one thread, the *ender*. From then on no task is polled. A task that is woken or spawned after the
//! runtime was closed is *deferred*: its future is only dropped, by the ender.
//!
//! | state | a task is deferred | a thread of the runtime ends | the ender |
//! |---|---|---|---|
//! | open | - | - | - |
//! | ending | queued here, the ender is told | the ender is told | cancels, drops the deferred tasks, waits for the threads |
//! | ended | given back, the caller drops it | it cancels the tasks that its last turn has left | has returned |
//!
//! 1. The ender cancels parked and queued tasks *before* it waits. A task that is in its turn may block on what one of
//!    them holds.
//! 2. It goes on dropping deferred tasks *while* it waits, for the same reason. A waker only queues: the code that wakes may
//!    hold a lock that the dropped future takes, and a chain of tasks that await each other would be dropped in one stack.
//! 3. When a thread has ended, the ender cancels once more: the last turn may have parked its task or queued others.
//! 4. The ender returns when no other thread is left, or when its time is over. It declares the end under the lock under
//!    which it has seen the queue empty, so every task that is queued has a thread that drops it.
//! 5. A thread that ends after that cancels the tasks that its own last turn has left. Several threads may cancel at once; the
//!    queues that they take tasks from must allow that.
//!
//! # Crossed ends
//!
//! A task may end another runtime. If a task of that one ends the first, then each ender is a thread for which the other one
//! waits. [`Enders`] has the threads that end a runtime, each with the threads for which it waits. Before an ender waits, it
//! enters itself, and leaves out each thread that waits for it, over others perhaps: those are not awaited, as if the limit of
//! time were over. Entries are made under one lock. So of the enders in a circle the last to enter sees all others, and does
//! not wait; they go on when its thread ends.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::sync::thread::{self, JoinHandle, ThreadId};
use crate::sync::{Condvar, Mutex, MutexGuard, lock};
use crate::sys::thread_body;

/// The threads of one runtime, and the tasks that its ender is to drop.
#[derive(Debug)]
pub struct Ending<T> {
    state: Mutex<EndingState<T>>,
    /// A thread has ended, or a task is deferred. The ender alone waits for it.
    changed: Condvar,
    enders: Arc<Enders>,
}

#[derive(Debug)]
struct EndingState<T> {
    ended: bool,
    running: Vec<ThreadId>,
    deferred: VecDeque<T>,
}

/// The threads that end a runtime, each with the threads for which it waits. One list for all runtimes.
#[derive(Debug, Default)]
pub struct Enders(Mutex<Vec<(ThreadId, Vec<ThreadId>)>>);

impl Enders {
    /// Enters the ender `this`, which waits for `threads`, in place of its entry of before, and takes out of them those that
    /// wait for `this`.
    fn enter(&self, this: ThreadId, threads: &mut Vec<ThreadId>) {
        let mut enders = lock(&self.0);
        enders.retain(|(ender, _)| *ender != this);
        threads.retain(|&thread| !waits_for(&enders, thread, this));
        enders.push((this, threads.clone()));
    }

    fn leave(&self, this: ThreadId) {
        lock(&self.0).retain(|(ender, _)| *ender != this);
    }
}

/// Returns whether a thread waits for another one, over others perhaps.
fn waits_for(enders: &[(ThreadId, Vec<ThreadId>)], thread: ThreadId, other: ThreadId) -> bool {
    let mut reached = vec![thread];
    let mut next = 0;
    while let Some(&thread) = reached.get(next) {
        next += 1;
        let awaited = enders.iter().filter(|(ender, _)| *ender == thread).flat_map(|(_, threads)| threads);
        for &thread in awaited {
            if !reached.contains(&thread) {
                reached.push(thread);
            }
        }
    }
    reached.contains(&other)
}

impl<T> Default for Ending<T> {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl<T> Ending<T> {
    /// Creates the state of a runtime that has not ended. `enders` is that of all runtimes.
    pub fn new(enders: Arc<Enders>) -> Self {
        let state = EndingState { ended: false, running: Vec::new(), deferred: VecDeque::new() };
        Self { state: Mutex::new(state), changed: Condvar::new(), enders }
    }

    /// Leaves a task of a closed runtime to the ender. Returns the task once the end is declared: then the caller drops it.
    pub fn defer_drop(&self, task: T) -> Option<T> {
        let mut state = lock(&self.state);
        if state.ended {
            return Some(task);
        }
        state.deferred.push_back(task);
        drop(state);
        self.changed.notify_one();
        None
    }

    /// Returns whether this thread is one that the end waits for.
    pub fn waits_for_this_thread(&self) -> bool {
        let this = thread::current().id();
        lock(&self.state).running.contains(&this)
    }

    /// Returns true once [`Ending::end`] has declared the end.
    pub fn is_ended(&self) -> bool {
        lock(&self.state).ended
    }

    /// Ends the runtime, which is closed. `cancel` takes every task that is parked or in a queue, and drops or defers it;
    /// `drop_task` drops one. Neither is called under the lock. Returns false if a thread had not ended by the deadline. The
    /// thread that calls may be one of the runtime's, and is not waited for; neither is one that waits for it in here. Such a
    /// thread counts as one that had not ended.
    pub fn end(&self, deadline: Option<Instant>, cancel: impl Fn(), drop_task: impl Fn(T)) -> bool {
        let this = thread::current().id();
        let (mut left, mut expired) = (usize::MAX, false);
        let mut state = lock(&self.state);
        loop {
            let mut others: Vec<_> = state.running.iter().copied().filter(|other| *other != this).collect();
            let running = others.len();
            if running < left {
                left = running;
                drop(state);
                cancel();
                state = lock(&self.state);
                continue;
            }
            self.enders.enter(this, &mut others);
            if expired || others.is_empty() && state.deferred.is_empty() {
                state.ended = true;
                let deferred = std::mem::take(&mut state.deferred);
                drop(state);
                self.enders.leave(this);
                deferred.into_iter().for_each(drop_task);
                return running == 0;
            } else if let Some(task) = state.deferred.pop_front() {
                drop(state);
                drop_task(task);
                // A task that wakes others endlessly does not postpone the deadline.
                expired = deadline.is_some_and(|at| at <= Instant::now());
                state = lock(&self.state);
            } else {
                (state, expired) = self.wait(state, deadline);
            }
        }
    }

    /// Waits for a change. The second value says that the deadline has passed.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, EndingState<T>>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, EndingState<T>>, bool) {
        let Some(deadline) = deadline else {
            return (self.changed.wait(state).unwrap_or_else(PoisonError::into_inner), false);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        (waited.0, waited.1.timed_out())
    }
}

impl<T: Send + 'static> Ending<T> {
    /// Starts a thread of the runtime. `cancel` is that of [`Ending::end`], for a thread that ends after the end.
    ///
    /// # Errors
    ///
    /// Returns the error of the kernel if it has no thread to give.
    pub fn start(
        self: &Arc<Self>,
        builder: thread::Builder,
        body: impl FnOnce() + Send + 'static,
        cancel: impl Fn() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let ending = self.clone();
        // A thread that ends at once waits here for its entry.
        let mut state = lock(&self.state);
        let handle = builder.spawn(thread_body(move || {
            let _exit = Exit { ending, cancel };
            body();
        }))?;
        state.running.push(handle.thread().id());
        Ok(handle)
    }
}

/// The end of a thread, also if its body panics.
struct Exit<T, C: Fn()> {
    ending: Arc<Ending<T>>,
    cancel: C,
}

impl<T, C: Fn()> Drop for Exit<T, C> {
    fn drop(&mut self) {
        let this = thread::current().id();
        let mut state = lock(&self.ending.state);
        state.running.retain(|&other| other != this);
        let ended = state.ended;
        drop(state);
        if ended {
            (self.cancel)();
        }
        self.ending.changed.notify_one();
    }
}
