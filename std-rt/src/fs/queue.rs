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
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::blocking;
use crate::error::no_thread;
use crate::protocol::job::{Job as PoolJob, Refusal};
use crate::protocol::pool::Class;

/// How many operations on one file a thread of the pool makes before it looks after other work.
const TURNS: usize = 16;

/// A file and what is to be done with it.
#[derive(Debug)]
pub(super) struct Queue {
    file: File,
    jobs: Mutex<Jobs>,
    /// Who wants the file itself, once nobody uses it any more.
    heir: Mutex<Option<Arc<Reply<File>>>>,
}

/// An operation, which is told if no thread makes it. It returns how to tell its task.
type Job = Box<dyn FnOnce(&File, io::Result<()>) -> Tell + Send>;
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
        call: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> Answer<io::Result<T>> {
        let (answer, reply) = Answer::new();
        let job = Box::new(move |file: &File, thread: io::Result<()>| -> Tell {
            if !reply.is_awaited() {
                return Box::new(|| ());
            }
            let value = thread.and_then(|()| call(file));
            Box::new(move || reply.give(value))
        });
        self.enqueue(job);
        answer
    }

    /// Puts an operation at the end of the queue that happens in any case and that nobody waits for. It must not wait for
    /// the disk: without a thread of the pool it is made by the one that finds this out.
    pub(super) fn put_detached(self: &Arc<Self>, call: impl FnOnce(&File) + Send + 'static) {
        self.enqueue(Box::new(move |file: &File, _thread: io::Result<()>| -> Tell {
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
            // Without a runtime, since the default one cannot be started.
            if let Err(error) = blocking::submit(Class::File, self.clone()) {
                self.fail(|| io::Error::new(error.kind(), error.to_string()));
            }
        }
    }

    /// Does an operation that needs no order beside the queue.
    pub(super) async fn beside<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let queue = self.clone();
        let job = move || {
            let value = call(&queue.file);
            queue.leave();
            value
        };
        blocking::run(Class::File, job).await?
    }

    /// The file itself, once what is under way has ended.
    pub(super) fn release(self: Arc<Self>) -> Answer<File> {
        let (answer, reply) = Answer::new();
        *locked(&self.heir) = Some(reply);
        self.leave();
        answer
    }

    /// Does what is in the queue, or a part of it: returns the file if there is more. A task is told after this thread has
    /// let go of the file: dropped then, it is closed.
    fn serve(self: Arc<Self>) -> Option<Arc<Self>> {
        let mut tell: Tell = Box::new(|| ());
        for _ in 0..TURNS {
            let Some(job) = self.next() else {
                self.leave();
                tell();
                return None;
            };
            tell();
            tell = job(&self.file, Ok(()));
        }
        tell();
        Some(self)
    }

    /// The next operation; without one the file is served no more.
    fn next(&self) -> Option<Job> {
        let mut jobs = locked(&self.jobs);
        let job = jobs.waiting.pop_front();
        jobs.served = job.is_some();
        job
    }

    /// Ends every operation in the queue with an error: no thread makes them.
    fn fail(&self, error: impl Fn() -> io::Error) {
        while let Some(job) = self.next() {
            job(&self.file, Err(error()))();
        }
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

/// A file with operations in its queue is a job for the pool.
impl PoolJob for Queue {
    fn run(self: Arc<Self>) -> Option<Arc<dyn PoolJob>> {
        self.serve().map(|queue| queue as _)
    }

    fn refuse(self: Arc<Self>, why: Refusal) {
        self.fail(|| no_thread(why));
        self.leave();
    }

    fn is_wanted(&self) -> bool {
        true
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
