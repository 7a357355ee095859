//! Tasks that stay on their thread: they need not be `Send`.
//!
//! Those of a runtime of one worker are in the same queues as all others. That is sound because such a runtime has one
//! thread at a time that runs tasks, and because that thread leaves the runtime only after every task that stays on it is
//! gone: [`Locals::end`] drops them, wherever they are. Those of a [`LocalSet`](crate::task::LocalSet) have a queue of their
//! own, from which only the thread of the set takes tasks, and which ends the same way. Should a mistake hand a task to
//! another thread nevertheless, the process is aborted before the future is touched.
//!
//! - **INV-404** A task that stays on its thread is polled and dropped by that thread: the table below.
//!
//! | where the task is when the thread leaves | how it is dropped |
//! |---|---|
//! | in the ring, the slot, the global queue or that of its set | taken out of there |
//! | waiting | woken, and so put into the list of those that come too late |
//! | just being woken by another thread | that thread puts it into the queue or the list; it is waited for |

#![expect(unsafe_code, reason = "a future that is not `Send` stays on its thread")]

use std::future::Future;
use std::pin::Pin;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, Thread};

use pin_project_lite::pin_project;
use slab::Slab;

use super::{JoinHandle, Runnable, Schedule, Scheduled, TaskMeta, new_local_task};
use crate::foreign::catch_panic;
use crate::trace::TaskSpan;

/// The run queues of tasks that stay on their thread. Other threads put tasks in, under a lock.
pub trait LocalQueues: Send + Sync + 'static {
    /// Puts a task into a run queue. `yielded`: it was woken while it ran.
    fn put(&self, task: Runnable, yielded: bool);

    /// Takes every task that stays on this thread out of the queues. The thread is the one that runs the tasks of the queues.
    fn take_local_tasks(&self) -> Vec<Runnable>;

    /// Counts a task that is created.
    fn started(&self);

    /// Counts a task that has ended.
    fn ended(&self);

    /// Returns whether this process is the one that runs the tasks, and not a fork of it.
    fn is_owner_process(&self) -> bool;
}

/// The tasks that stay on the thread that created this value: while the thread is the worker of a runtime, or those of a set.
#[derive(Debug)]
pub struct Locals<S> {
    queues: S,
    thread: Thread,
    state: Mutex<LocalsState>,
}

#[derive(Debug, Default)]
struct LocalsState {
    /// Set when the thread leaves: no task may be put into a queue any more.
    closed: bool,
    /// Every task that has not ended, with its waker once it has one.
    tasks: Slab<Option<Waker>>,
    /// Runnable tasks that came too late, to be dropped by the thread.
    late: Vec<Runnable>,
}

impl<S: LocalQueues> Locals<S> {
    /// Creates an empty list for the calling thread.
    pub fn new(queues: S) -> Arc<Self> {
        Arc::new(Self { queues, thread: thread::current(), state: Mutex::default() })
    }

    /// Returns the run queues.
    pub fn queues(&self) -> &S {
        &self.queues
    }

    /// Returns whether every task has ended.
    pub fn is_empty(&self) -> bool {
        self.lock().tasks.is_empty()
    }

    /// Starts a task that stays on this thread, which runs the tasks of the queues. After [`Locals::end`] has begun, it is
    /// dropped at once.
    pub fn spawn<F>(self: &Arc<Self>, meta: TaskMeta, span: TaskSpan, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let index = self.lock().tasks.insert(None);
        let future = LocalFuture { future, entry: Entry { locals: self.clone(), index } };
        // SAFETY: INV-404: this scheduler keeps the task on this thread, and `LocalFuture` makes sure of it.
        let (task, handle) = unsafe { new_local_task(self.clone(), meta, span, future) };
        let waker = task.waker();
        let mut state = self.lock();
        state.tasks[index] = Some(waker);
        let closed = state.closed;
        drop(state);
        if closed {
            catch_panic(|| drop(task));
        } else {
            task.schedule();
        }
        handle
    }

    /// Makes a task runnable, from any thread.
    fn put_task(&self, task: Runnable, yielded: bool) {
        let mut state = self.lock();
        if state.closed {
            state.late.push(task);
        } else {
            drop(state);
            self.queues.put(task, yielded);
            // 1. The thread begins to leave after this look: it finds the task in the queue. 2. Before it: it may have looked
            // there already, and is told to look again.
            if !self.lock().closed {
                return;
            }
        }
        self.thread.unpark();
    }

    /// Drops every task of this thread, and returns when all are gone. Called on that thread, while it is still the runtime's
    /// worker, or the set exists.
    pub fn end(&self) {
        self.lock().closed = true;
        while !self.lock().tasks.is_empty() {
            let mut found = self.queues.take_local_tasks();
            found.append(&mut self.lock().late);
            if !found.is_empty() {
                for task in found {
                    catch_panic(|| drop(task));
                }
                continue;
            }
            let waker = self.lock().tasks.iter_mut().find_map(|(_, waker)| waker.take());
            match waker {
                Some(waker) => waker.wake(),
                // Some thread is between the first and the last step of waking one.
                None => thread::park(),
            }
        }
    }
}

impl<S> Locals<S> {
    fn lock(&self) -> MutexGuard<'_, LocalsState> {
        // No task's code runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: `for_any_worker` is false.
unsafe impl<S: LocalQueues> Schedule for Arc<Locals<S>> {
    fn for_any_worker() -> bool {
        false
    }

    fn schedule(task: Scheduled<Self>, yielded: bool) {
        let locals = task.sched().clone();
        locals.put_task(task.into(), yielded);
    }

    fn started(&self) {
        self.queues.started();
    }

    fn register(&self, _waker: Waker) -> u32 {
        unreachable!("a task that stays on its thread is listed from the start")
    }

    fn ended(&self, _key: Option<u32>) {
        self.queues.ended();
    }

    fn is_owner_process(&self) -> bool {
        self.queues.is_owner_process()
    }
}

/// The entry of a task among those of its thread.
struct Entry<S> {
    locals: Arc<Locals<S>>,
    index: usize,
}

impl<S> Entry<S> {
    /// Makes sure that only the thread of the task touches the future.
    fn check_thread(&self) {
        if thread::current().id() != self.locals.thread.id() {
            process::abort();
        }
    }
}

impl<S> Drop for Entry<S> {
    fn drop(&mut self) {
        let waker = self.locals.lock().tasks.try_remove(self.index);
        drop(waker);
    }
}

pin_project! {
    struct LocalFuture<F, S> {
        #[pin]
        future: F,
        entry: Entry<S>,
    }

    impl<F, S> PinnedDrop for LocalFuture<F, S> {
        fn drop(this: Pin<&mut Self>) {
            this.entry.check_thread();
        }
    }
}

impl<F: Future, S> Future for LocalFuture<F, S> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.entry.check_thread();
        this.future.poll(cx)
    }
}
