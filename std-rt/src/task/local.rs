//! Tasks that stay on their thread: they need not be `Send`.
//!
//! They are in the same queues as all others. That is sound because a runtime of one worker has one thread at a time that
//! runs tasks, and because it leaves its place only after every task that stays on it is gone: [`Locals::end`] drops
//! them, wherever they are. Should a mistake hand one to another thread all the same, the process ends there before
//! anybody touches the future.
//!
//! - **INV-404** A task that stays on its thread is run and dropped by that thread: the table below.
//!
//! | where the task is when the thread leaves | how it is dropped |
//! |---|---|
//! | in the ring, the slot or the global queue | taken out of there |
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

use super::JoinHandle;
use crate::foreign::catch_panic;
use crate::sched::{self, Runnable, Sched, SchedHandle, Schedule, TaskMeta};

/// The tasks that stay on the thread that made this, while it is the worker of a runtime.
#[derive(Debug)]
pub struct Locals {
    thread: Thread,
    state: Mutex<LocalsState>,
}

#[derive(Debug, Default)]
struct LocalsState {
    /// The thread is leaving: nobody is to be put into a queue any more.
    closed: bool,
    /// Every task that has not ended; its waker once it has one.
    tasks: Slab<Option<Waker>>,
    /// Runnable tasks that came too late, to be dropped by the thread.
    late: Vec<Runnable>,
}

impl Locals {
    /// Creates an empty list for the calling thread.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { thread: thread::current(), state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, LocalsState> {
        // No task's code runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a task runnable, from whatever thread.
    fn put_task(&self, task: Runnable, yielded: bool) {
        let mut state = self.lock();
        if state.closed {
            state.late.push(task);
        } else {
            drop(state);
            sched::schedule_task(task, yielded);
            // 1. The thread begins to leave after this look: it finds the task in the queue. 2. Before it: it may have looked
            // there already, and is told to look again.
            if !self.lock().closed {
                return;
            }
        }
        self.thread.unpark();
    }

    /// The thread leaves its place: drops every task of it, and returns when all are gone. Called on that thread, while it is
    /// still the runtime's worker.
    pub fn end(&self, sched: &Sched) {
        self.lock().closed = true;
        while !self.lock().tasks.is_empty() {
            let mut found = sched.take_local_tasks();
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

impl Schedule for Arc<Locals> {
    fn schedule(self, task: Runnable, yielded: bool) {
        self.put_task(task, yielded);
    }
}

/// A task's place among those of its thread.
struct Place {
    locals: Arc<Locals>,
    place: usize,
}

impl Place {
    /// Nobody but its thread touches the future.
    fn check_thread(&self) {
        if thread::current().id() != self.locals.thread.id() {
            process::abort();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waker = self.locals.lock().tasks.try_remove(self.place);
        drop(waker);
    }
}

pin_project! {
    struct LocalFuture<F> {
        #[pin]
        future: F,
        place: Place,
    }

    impl<F> PinnedDrop for LocalFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            this.place.check_thread();
        }
    }
}

impl<F: Future> Future for LocalFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.place.check_thread();
        this.future.poll(cx)
    }
}

/// Starts a task that stays on this thread, which is the runtime's worker.
pub fn spawn_local<F>(
    sched: Arc<SchedHandle>,
    locals: &Arc<Locals>,
    meta: TaskMeta,
    future: F,
) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let place = locals.lock().tasks.insert(None);
    let of = Place { locals: locals.clone(), place };
    let future = LocalFuture { future, place: of };
    // SAFETY: INV-404.
    let (task, joiner) = unsafe { sched::new_local_task(sched, meta.local(), locals.clone(), future) };
    locals.lock().tasks[place] = Some(task.waker());
    task.schedule();
    JoinHandle::new(joiner)
}
