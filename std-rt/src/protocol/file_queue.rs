//! The operations on one file, one after another on threads of a pool: the kernel's cursor is one for all of them.
//!
//! | the future of an operation is dropped | what happens |
//! |---|---|
//! | before its first poll | nothing: it is not in the queue yet |
//! | while it is in the queue | nothing: its turn is skipped, unless it is kept |
//! | while a thread is at it | it goes on to its end, and the next one waits for that; its result is dropped |
//!
//! # The thread that serves
//!
//! | jobs wait | served | `put` | the thread that serves takes the next job |
//! |---|---|---|---|
//! | no | no | one waits, served; a thread is asked for | - |
//! | no | yes | one waits | there is none: not served, and the thread goes |
//! | yes | yes | one more waits | one less waits; the thread does it |
//!
//! Jobs wait without being served only between the two steps of a `put`. A pool that has no thread for the work says so by
//! [`Service::refuse`], and each job that waits is told; one that drops the [`Service`] drops these jobs, in one step with
//! the mark that they are served, so that the next `put` asks for a thread again.
//!
//! # The result
//!
//! A job that panics, and one that is dropped undone, leave no value: their [`Receiver`] gives `None`. A `Receiver` always
//! gets a result, since a `Sender` that is dropped sends `None`. A task is woken after the thread has given up its share of
//! the file, so that a file which is dropped then is closed.

use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::job::Refusal;
use crate::foreign;
use crate::sync::{Mutex, lock};

/// A file and the operations that are to be done with it.
pub struct Queue<F> {
    file: F,
    jobs: Mutex<Jobs<F>>,
    /// The task that gets the file itself once no operation uses it any more.
    into_std_waiter: Mutex<Option<Sender<F>>>,
}

/// An operation, which is told if no thread makes it. It returns how to tell its task.
type Job<F> = Box<dyn FnOnce(&F, Result<(), Refusal>) -> Notify + Send>;
type Notify = Box<dyn FnOnce() + Send>;

struct Jobs<F> {
    waiting: VecDeque<Job<F>>,
    /// Set while a thread serves the jobs or has been asked for, and will look here again before it goes.
    served: bool,
}

impl<F: Send + Sync + 'static> Queue<F> {
    /// Creates the queue of a file.
    pub fn new(file: F) -> Arc<Self> {
        let jobs = Jobs { waiting: VecDeque::new(), served: false };
        Arc::new(Self { file, jobs: Mutex::new(jobs), into_std_waiter: Mutex::new(None) })
    }

    /// Returns the file.
    pub fn file(&self) -> &F {
        &self.file
    }

    /// Puts an operation at the end of the queue. `start` is called if no thread serves it: it gives the service to a thread
    /// of the pool. The operation itself is told if there is none.
    pub fn put<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&F, Result<(), Refusal>) -> T + Send + 'static,
        start: impl FnOnce(Service<F>),
    ) -> Receiver<T> {
        self.put_job(false, call, start)
    }

    /// Does the same as [`Queue::put`], for an operation that is not skipped if its future is dropped.
    pub fn put_kept<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&F, Result<(), Refusal>) -> T + Send + 'static,
        start: impl FnOnce(Service<F>),
    ) -> Receiver<T> {
        self.put_job(true, call, start)
    }

    fn put_job<T: Send + 'static>(
        self: &Arc<Self>,
        kept: bool,
        call: impl FnOnce(&F, Result<(), Refusal>) -> T + Send + 'static,
        start: impl FnOnce(Service<F>),
    ) -> Receiver<T> {
        let (receiver, sender) = Receiver::new();
        let job = Box::new(move |file: &F, thread: Result<(), Refusal>| -> Notify {
            if !kept && !sender.is_awaited() {
                return Box::new(|| ());
            }
            let value = call(file, thread);
            Box::new(move || sender.give(value))
        });
        self.enqueue(job, start);
        receiver
    }

    /// Puts an operation at the end of the queue that happens in any case and that no task waits for. It must not wait for the
    /// disk: without a thread of the pool it is made by the thread that finds this out.
    pub fn put_detached(
        self: &Arc<Self>,
        call: impl FnOnce(&F) + Send + 'static,
        start: impl FnOnce(Service<F>),
    ) {
        let job = Box::new(move |file: &F, _thread: Result<(), Refusal>| -> Notify {
            call(file);
            Box::new(|| ())
        });
        self.enqueue(job, start);
    }

    fn enqueue(self: &Arc<Self>, job: Job<F>, start: impl FnOnce(Service<F>)) {
        let serve = {
            let mut jobs = lock(&self.jobs);
            jobs.waiting.push_back(job);
            !mem::replace(&mut jobs.served, true)
        };
        if serve {
            start(Service(Some(self.clone())));
        }
    }

    /// Returns a reference to the file, for an operation that needs no order and does not pass through the queue.
    pub fn file_ref(self: &Arc<Self>) -> FileRef<F> {
        FileRef(Some(self.clone()))
    }

    /// Gives up this reference. The result is the file itself, once every operation under way has ended.
    pub fn release(self: Arc<Self>) -> Receiver<F> {
        let (receiver, sender) = Receiver::new();
        *lock(&self.into_std_waiter) = Some(sender);
        drop(FileRef(Some(self)));
        receiver
    }

    /// Takes the next job. Without one it marks the queue as not served.
    fn next(&self) -> Option<Job<F>> {
        let mut jobs = lock(&self.jobs);
        let job = jobs.waiting.pop_front();
        jobs.served = job.is_some();
        job
    }
}

/// A reference to the file. Dropping the last one gives the file to the task that waits in [`Queue::release`].
pub struct FileRef<F: Send + Sync + 'static>(Option<Arc<Queue<F>>>);

impl<F: Send + Sync + 'static> FileRef<F> {
    /// Returns the file.
    pub fn file(&self) -> &F {
        &self.queue().file
    }

    fn queue(&self) -> &Queue<F> {
        self.0.as_ref().expect("a share is there until it is dropped")
    }
}

impl<F: Send + Sync + 'static> Drop for FileRef<F> {
    fn drop(&mut self) {
        let Some(queue) = self.0.take().and_then(Arc::into_inner) else { return };
        let into_std_waiter = lock(&queue.into_std_waiter).take();
        if let Some(into_std_waiter) = into_std_waiter {
            into_std_waiter.give(queue.file);
        }
    }
}

/// The duty to do the jobs of a queue, for a thread that may block. If it is dropped undone, these jobs are dropped too.
pub struct Service<F: Send + Sync + 'static>(Option<Arc<Queue<F>>>);

impl<F: Send + Sync + 'static> Service<F> {
    /// Does the jobs in the queue, at most `turns`; returns itself if there may be more. A panic of a job or of a waker does
    /// not keep the other jobs from being done.
    pub fn run(mut self, turns: usize) -> Option<Self> {
        let share = FileRef(self.0.take());
        let mut notify: Notify = Box::new(|| ());
        for _ in 0..turns {
            let Some(job) = share.queue().next() else {
                drop(share);
                foreign::catch_panic(notify);
                return None;
            };
            foreign::catch_panic(mem::replace(&mut notify, Box::new(|| ())));
            foreign::catch_panic(|| notify = job(share.file(), Ok(())));
        }
        foreign::catch_panic(notify);
        let FileRef(queue) = &mut { share };
        Some(Self(queue.take()))
    }

    /// Tells each operation in the queue that no thread makes it.
    pub fn refuse(mut self, why: Refusal) {
        let share = FileRef(self.0.take());
        while let Some(job) = share.queue().next() {
            let mut notify: Notify = Box::new(|| ());
            foreign::catch_panic(|| notify = job(share.file(), Err(why)));
            foreign::catch_panic(notify);
        }
    }
}

impl<F: Send + Sync + 'static> Drop for Service<F> {
    fn drop(&mut self) {
        let Some(queue) = self.0.take() else { return };
        let share = FileRef(Some(queue));
        let undone = {
            let mut jobs = lock(&share.queue().jobs);
            jobs.served = false;
            mem::take(&mut jobs.waiting)
        };
        for job in undone {
            foreign::catch_panic(|| drop(job));
        }
    }
}

/// The sender of the result of an operation.
struct Sender<T>(Arc<Mutex<OneshotState<T>>>);

enum OneshotState<T> {
    Awaited(Option<Waker>),
    /// The future is dropped, or has the result.
    Over,
    /// The result; `None` if the operation gives none.
    There(Option<T>),
}

impl<T> Sender<T> {
    fn is_awaited(&self) -> bool {
        matches!(*lock(&self.0), OneshotState::Awaited(_))
    }

    fn give(self, value: T) {
        self.say(Some(value));
    }

    /// Sends the result unless one was sent before.
    fn say(&self, value: Option<T>) {
        let before = {
            let mut state = lock(&self.0);
            let next = match *state {
                OneshotState::Awaited(_) => OneshotState::There(value),
                // The value is dropped after the lock, for it may be a file to be closed.
                _ => return drop((state, value)),
            };
            mem::replace(&mut *state, next)
        };
        if let OneshotState::Awaited(waker) = before {
            foreign::wake_all(waker);
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.say(None);
    }
}

/// A future of the result of an operation. `None` means that the operation has panicked, or that the pool has dropped it.
///
/// Dropped: see the module.
#[must_use = "an operation whose answer is dropped may be skipped"]
pub struct Receiver<T>(Arc<Mutex<OneshotState<T>>>);

impl<T> Receiver<T> {
    fn new() -> (Self, Sender<T>) {
        let state = Arc::new(Mutex::new(OneshotState::Awaited(None)));
        (Self(state.clone()), Sender(state))
    }
}

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        // Wakers are cloned and dropped outside of the lock.
        let waker = cx.waker().clone();
        let before = {
            let mut state = lock(&self.0);
            let next = match *state {
                OneshotState::Awaited(_) => OneshotState::Awaited(Some(waker)),
                _ => OneshotState::Over,
            };
            mem::replace(&mut *state, next)
        };
        match before {
            OneshotState::There(value) => Poll::Ready(value),
            OneshotState::Awaited(_) => Poll::Pending,
            OneshotState::Over => panic!("an operation on a file was polled after it had given its result"),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let before = mem::replace(&mut *lock(&self.0), OneshotState::Over);
        drop(before);
    }
}
