//! The jobs of a pool, and the job that makes a call for a future.
//!
//! | stage | leaves it when | next stage | what happens |
//! |---|---|---|---|
//! | new | the call is submitted | queued | the pool has the job |
//! | new | the future is dropped | over | the call is dropped when it is submitted |
//! | queued | a thread takes it | running | the call is made |
//! | queued | the pool refuses it | done | the future is woken |
//! | queued | the future is dropped | over | the call is dropped, and never made |
//! | running | the call returns or panics | done | the future is woken |
//! | running | the future is dropped | over | the call goes on; its result is dropped on the pool's thread |
//! | done | the future is polled | over | it gives the result |
//! | done | the future is dropped | over | the result is dropped |
//!
//! A thread that leaves a stage holds the lock for the change alone; calls, results and wakers are foreign, and are
//! cloned, called and dropped outside of it.

use std::any::Any;
use std::future::Future;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::pool::{Class, Pool};
use crate::sync::{Mutex, lock};

/// Work for a thread of the pool. A panic in it is caught and dropped.
pub trait Job: Send + Sync {
    /// Does the work on a thread of the pool, or a part of it. Returns itself if there is more: then it goes to the end of
    /// its queue.
    fn run(self: Arc<Self>) -> Option<Arc<dyn Job>>;

    /// Ends the job without its work.
    fn refuse(self: Arc<Self>, why: Refusal);

    /// Returns false if no future waits for the work any more, so that it need not be done.
    fn is_wanted(&self) -> bool;
}

/// The reason for which a job was not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The pool has no thread, and the kernel made none: its error number, if it gave one.
    NoThread(Option<i32>),
    /// The pool was closed.
    Closed,
    /// The process was forked from the one that has the pool's threads.
    Forked,
}

/// The reason for which a call has no result.
#[derive(Debug)]
pub enum Failure {
    /// The call panicked with this.
    Panic(Box<dyn Any + Send>),
    /// The call was not made.
    Refused(Refusal),
}

/// The context of a call: its thread enters it for the call, and wakes the future in it.
pub trait CallContext: Send + Sync + 'static {
    /// The guard of a thread that has entered the context. It leaves the context when it is dropped.
    type Guard;

    /// Enters the context, for the call or its refusal, the drop of a result and the wake of the future.
    fn enter(&self) -> Self::Guard;

    /// Wakes the future, in the context.
    fn wake(&self, waker: Waker) {
        waker.wake();
    }
}

/// The context of a call that needs none.
pub struct NoContext;

impl CallContext for NoContext {
    type Guard = ();

    fn enter(&self) {}
}

/// A call, for the question whether it has begun.
pub trait Begun: Send + Sync {
    /// Returns whether a thread of the pool has begun the call, or nothing is left of it to begin.
    fn is_begun(&self) -> bool;
}

/// The state that the future and the pool share.
struct Shared<F, T, C> {
    stage: Mutex<Stage<F, T>>,
    context: C,
}

enum Stage<F, T> {
    New(Option<Waker>),
    Queued(F, Option<Waker>),
    Running(Option<Waker>),
    Done(Result<T, Failure>),
    Over,
}

impl<F, T, C: CallContext> Shared<F, T, C> {
    /// Leaves the result, if the future still waits for it.
    fn finish(&self, result: Result<T, Failure>) {
        let before = {
            let mut stage = lock(&self.stage);
            if matches!(*stage, Stage::Over) {
                drop(stage);
                return drop(result);
            }
            mem::replace(&mut *stage, Stage::Done(result))
        };
        if let Stage::Queued(_, Some(waker)) | Stage::Running(Some(waker)) = before {
            self.context.wake(waker);
        }
    }
}

impl<F, T, C: CallContext> Job for Shared<F, T, C>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn run(self: Arc<Self>) -> Option<Arc<dyn Job>> {
        let call = {
            let mut stage = lock(&self.stage);
            match mem::replace(&mut *stage, Stage::Over) {
                Stage::Queued(call, waker) => {
                    *stage = Stage::Running(waker);
                    call
                }
                // The future was dropped, and dropped the call too.
                _ => return None,
            }
        };
        let _entered = self.context.enter();
        self.finish(panic::catch_unwind(AssertUnwindSafe(call)).map_err(Failure::Panic));
        None
    }

    fn refuse(self: Arc<Self>, why: Refusal) {
        let _entered = self.context.enter();
        self.finish(Err(Failure::Refused(why)));
    }

    fn is_wanted(&self) -> bool {
        !matches!(*lock(&self.stage), Stage::Over)
    }
}

impl<F: Send, T: Send, C: CallContext> Begun for Shared<F, T, C> {
    fn is_begun(&self) -> bool {
        !matches!(*lock(&self.stage), Stage::New(_) | Stage::Queued(..))
    }
}

/// A future of the result of a call on the pool.
///
/// Dropped: see the module.
#[must_use = "a call whose future is dropped may not be made"]
pub struct Run<F, T, C> {
    shared: Arc<Shared<F, T, C>>,
    class: Class,
    pool: Arc<Pool>,
}

/// A call that the pool does not have yet, while its future may wait already.
#[must_use = "the future of a call that is not submitted waits for ever"]
pub struct NewCall<F, T, C> {
    shared: Arc<Shared<F, T, C>>,
    class: Class,
    pool: Arc<Pool>,
}

impl Pool {
    /// Makes a call on a thread of the pool. It is queued at once. The second value is that of [`Pool::submit`].
    #[must_use = "a job may wait for a thread that nobody asks for again"]
    pub fn run<F, T>(self: &Arc<Self>, class: Class, call: F) -> (Run<F, T, NoContext>, bool)
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (run, new) = self.new_call(class, NoContext);
        (run, new.submit(call))
    }

    /// Creates the future of a call that is submitted afterwards.
    pub fn new_call<F, T, C>(self: &Arc<Self>, class: Class, context: C) -> (Run<F, T, C>, NewCall<F, T, C>) {
        let shared = Arc::new(Shared { stage: Mutex::new(Stage::New(None)), context });
        let new = NewCall { shared: shared.clone(), class, pool: self.clone() };
        (Run { shared, class, pool: self.clone() }, new)
    }
}

impl<F, T, C> NewCall<F, T, C>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
    C: CallContext,
{
    /// Returns the call for the question whether it has begun.
    pub fn begun(&self) -> Arc<dyn Begun> {
        self.shared.clone()
    }

    /// Queues the call, unless its future is gone. The value is that of [`Pool::submit`].
    #[must_use = "a job may wait for a thread that nobody asks for again"]
    pub fn submit(self, call: F) -> bool {
        let mut stage = lock(&self.shared.stage);
        let Stage::New(waker) = &mut *stage else {
            drop(stage);
            drop(call);
            return false;
        };
        *stage = Stage::Queued(call, waker.take());
        drop(stage);
        self.pool.submit(self.class, self.shared)
    }
}

impl<F, T, C> Future for Run<F, T, C> {
    type Output = Result<T, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut waker = Some(cx.waker().clone());
        let mut stage = lock(&self.shared.stage);
        let before = match &mut *stage {
            Stage::New(known) | Stage::Queued(_, known) | Stage::Running(known) => {
                mem::replace(known, waker.take())
            }
            Stage::Done(_) => {
                let Stage::Done(result) = mem::replace(&mut *stage, Stage::Over) else { unreachable!() };
                drop(stage);
                return Poll::Ready(result);
            }
            Stage::Over => panic!("a call on the pool was polled after it had given its result"),
        };
        drop(stage);
        drop(before);
        Poll::Pending
    }
}

impl<F, T, C> Drop for Run<F, T, C> {
    fn drop(&mut self) {
        let before = mem::replace(&mut *lock(&self.shared.stage), Stage::Over);
        if matches!(before, Stage::Queued(..)) {
            self.pool.abandoned(self.class);
        }
        drop(before);
    }
}
