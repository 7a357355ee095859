//! The operations on one file, one after another on the blocking pool: the kernel's cursor is one for all of them.
//!
//! | the future of an operation is dropped | what happens |
//! |---|---|
//! | before its first poll | nothing: it is not in the queue yet |
//! | while it is in the queue | nothing: its turn is skipped |
//! | while a thread is at it | it goes on to its end, and the next one waits for that; its result is dropped |

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A file and what is to be done with it.
#[derive(Debug)]
pub(super) struct Queue {
    file: File,
    jobs: Mutex<Jobs>,
    /// Who wants the file itself, once nobody uses it any more.
    heir: Mutex<Option<Arc<Reply<File>>>>,
}

/// An operation, which returns how to tell its task.
type Job = Box<dyn FnOnce(&File) -> Tell + Send>;
type Tell = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    /// A thread is at them, and will look here again before it goes.
    served: bool,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").field("waiting", &self.waiting.len()).field("served", &self.served).finish()
    }
}

impl Queue {
    pub(super) fn new(file: File) -> Arc<Self> {
        Arc::new(Self { file, jobs: Mutex::default(), heir: Mutex::default() })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Puts an operation at the end of the queue.
    pub(super) fn put<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&File) -> T + Send + 'static,
    ) -> Answer<T> {
        let (answer, reply) = Answer::new();
        let job = Box::new(move |file: &File| -> Tell {
            if !reply.is_awaited() {
                return Box::new(|| ());
            }
            let value = call(file);
            Box::new(move || reply.give(value))
        });
        self.enqueue(job);
        answer
    }

    /// Puts an operation at the end of the queue that happens in any case and that nobody waits for.
    pub(super) fn put_detached(self: &Arc<Self>, call: impl FnOnce(&File) + Send + 'static) {
        self.enqueue(Box::new(move |file: &File| -> Tell {
            call(file);
            Box::new(|| ())
        }));
    }

    fn enqueue(self: &Arc<Self>, job: Job) {
        let serve = {
            let mut jobs = locked(&self.jobs);
            jobs.waiting.push_back(job);
            !std::mem::replace(&mut jobs.served, true)
        };
        if serve {
            let queue = self.clone();
            blocking::unblock(move || queue.serve()).detach();
        }
    }

    /// Does an operation that needs no order beside the queue.
    pub(super) fn beside<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&File) -> T + Send + 'static,
    ) -> Answer<T> {
        let (answer, reply) = Answer::new();
        let queue = self.clone();
        let job = move || {
            let value = reply.is_awaited().then(|| call(&queue.file));
            queue.leave();
            value.into_iter().for_each(|value| reply.give(value));
        };
        blocking::unblock(job).detach();
        answer
    }

    /// The file itself, once what is under way has ended.
    pub(super) fn release(self: Arc<Self>) -> Answer<File> {
        let (answer, reply) = Answer::new();
        *locked(&self.heir) = Some(reply);
        self.leave();
        answer
    }

    /// Does what is in the queue. A task is told after this thread has let go of the file: dropped then, it is closed.
    fn serve(self: Arc<Self>) {
        let mut tell: Tell = Box::new(|| ());
        loop {
            let job = {
                let mut jobs = locked(&self.jobs);
                let job = jobs.waiting.pop_front();
                jobs.served = job.is_some();
                job
            };
            let Some(job) = job else { break };
            tell();
            tell = job(&self.file);
        }
        self.leave();
        tell();
    }

    /// The last one to go hands the file to its heir.
    fn leave(self: Arc<Self>) {
        if let Some(queue) = Arc::into_inner(self) {
            let heir = queue.heir.into_inner().unwrap_or_else(PoisonError::into_inner);
            if let Some(heir) = heir {
                heir.give(queue.file);
            }
        }
    }
}

/// Nothing foreign runs under these locks, and each value is whole between two calls.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a thread leaves the result of an operation.
#[derive(Debug)]
struct Reply<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
enum State<T> {
    Awaited(Option<Waker>),
    /// Nobody wants it any more, or somebody has it.
    Over,
    There(T),
}

impl<T> Reply<T> {
    fn is_awaited(&self) -> bool {
        matches!(*locked(&self.state), State::Awaited(_))
    }

    fn give(&self, value: T) {
        let before = {
            let mut state = locked(&self.state);
            let next = match *state {
                State::Awaited(_) => State::There(value),
                // The value is dropped after the lock, for it may be a file to be closed.
                _ => return drop((state, value)),
            };
            std::mem::replace(&mut *state, next)
        };
        if let State::Awaited(Some(waker)) = before {
            waker.wake();
        }
    }
}

/// The result of an operation, when it comes. Dropped: see the module.
#[derive(Debug)]
#[must_use = "an operation whose answer is dropped may be skipped"]
pub(super) struct Answer<T> {
    reply: Arc<Reply<T>>,
}

impl<T> Answer<T> {
    fn new() -> (Self, Arc<Reply<T>>) {
        let reply = Arc::new(Reply { state: Mutex::new(State::Awaited(None)) });
        (Self { reply: reply.clone() }, reply)
    }
}

impl<T> Future for Answer<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // A waker of the user's is cloned and dropped outside of the lock.
        let waker = cx.waker().clone();
        let before = {
            let mut state = locked(&self.reply.state);
            let next = match *state {
                State::Awaited(_) => State::Awaited(Some(waker)),
                _ => State::Over,
            };
            std::mem::replace(&mut *state, next)
        };
        match before {
            State::There(value) => Poll::Ready(value),
            State::Awaited(_) => Poll::Pending,
            State::Over => panic!("an operation on a file was polled after it had given its result"),
        }
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let before = std::mem::replace(&mut *locked(&self.reply.state), State::Over);
        drop(before);
    }
}
