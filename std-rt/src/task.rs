//! Tasks: their handles, and how many operations they may make in one turn.
//!
//! A task is spawned with [`spawn`](crate::spawn), with a name by [`spawn_named`](crate::spawn_named), and by
//! [`spawn_local`](crate::spawn_local) if it is not `Send`.
//!
//! # The budget of a turn
//!
//! An operation that is always ready never waits, so a task may make a certain number of them in one turn, and move a
//! certain number of bytes; then all others come first. Every future of this crate counts. [`cooperative`] makes one of
//! another crate count, [`take_turn`] a step of your own, [`poll_take_turn`] what a `poll` function finds. The bound is
//! [`Builder::budget`](crate::Builder::budget) for all tasks of a runtime, [`with_budget`] and [`unconstrained`] for one.

mod build;
mod local;
mod turn;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use crate::coop::Charge;
pub use crate::coop::{Cooperative, cooperative};
use crate::error::no_thread;
use crate::protocol::job::Refusal;
use crate::sched::{self, AnyWorker, JoinCore, SchedHandle, TaskMeta};
pub use build::{Budgeted, unconstrained, with_budget};
pub(crate) use build::{spawn_named, units};
pub(crate) use local::{Locals, spawn_local};
pub use turn::{TakeTurn, TurnTaken, poll_take_turn, take_turn};

/// Starts a task. On a scheduler that is closed it is dropped at once, and its handle says cancelled.
pub(crate) fn spawn<F>(
    sched: Arc<SchedHandle>,
    location: &'static Location<'static>,
    future: F,
) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    start(sched, TaskMeta::new(location), future)
}

fn start<F>(sched: Arc<SchedHandle>, meta: TaskMeta, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    sched.netpoll().assert_owner_process("spawn");
    let closed = sched.is_closed();
    let (task, joiner) = sched::new_task(sched, meta, AnyWorker, future);
    if closed {
        sched::drop_task(task)
    } else {
        task.schedule()
    }
    JoinHandle::new(joiner)
}

/// The result of a task, once it has ended.
///
/// Awaiting it gives the task's value, or a [`JoinError`] if the task panicked or was aborted.
///
/// Dropped: the task goes on, detached.
pub struct JoinHandle<T> {
    joiner: JoinCore<T>,
    charge: Charge,
}

impl<T> UnwindSafe for JoinHandle<T> {}

impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}

impl<T> JoinHandle<T> {
    fn new(joiner: JoinCore<T>) -> Self {
        JoinHandle { joiner, charge: Charge::First }
    }

    /// True once the task has ended, whatever way.
    pub fn is_finished(&self) -> bool {
        self.joiner.is_finished()
    }
}

impl<T: Send + 'static> JoinHandle<T> {
    /// Cancels the task: its future is dropped where it waits, or after the poll that it is in. Awaiting the handle
    /// then gives a [`JoinError`] for which [`JoinError::is_cancelled`] is true, or the value if the task was faster. If the
    /// future panics while it is dropped, [`JoinError::is_panic`] is true instead.
    pub fn abort(&self) {
        self.joiner.cancel();
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    ///
    /// When polled again after it has given its result.
    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.is_finished() {
            ready!(std::mem::replace(&mut self.charge, Charge::Refused).poll_proceed(cx));
        } else {
            self.charge = Charge::Waited;
        }
        self.joiner.poll(cx).map(|outcome| match outcome {
            Some(outcome) => outcome.map_err(JoinError::of_payload),
            None => Err(JoinError { why: Why::Cancelled }),
        })
    }
}

/// Why a task has no value: it panicked, it was cancelled, or it is a closure of
/// [`spawn_blocking`](crate::spawn_blocking) that no thread could be had for.
pub struct JoinError {
    why: Why,
}

enum Why {
    Cancelled,
    /// In a mutex only so that the error is `Sync`.
    Panic(Mutex<Box<dyn Any + Send>>),
    /// Says so.
    Refused(io::Error),
}

impl JoinError {
    /// A panic, unless it stands for a refusal of the pool.
    fn of_payload(payload: Box<dyn Any + Send>) -> Self {
        let why = match payload.downcast::<Refusal>() {
            Ok(refusal) if *refusal == Refusal::Closed => Why::Cancelled,
            Ok(refusal) => Why::Refused(no_thread(*refusal)),
            Err(payload) => Why::Panic(Mutex::new(payload)),
        };
        Self { why }
    }

    /// Returns true if the task was aborted, or its runtime shut down; or if it belongs to the process that this one was
    /// forked from, where it goes on.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.why, Why::Cancelled)
    }

    /// Returns true if the task panicked, or its future did when it was dropped because the task was cancelled.
    pub fn is_panic(&self) -> bool {
        matches!(self.why, Why::Panic(_))
    }

    /// Returns true if a closure of [`spawn_blocking`](crate::spawn_blocking) was not run, because its runtime's pool had
    /// no thread and the kernel made none. It is the same error as that of an operation on a file then: see
    /// [`io::Error::from`].
    pub fn is_refused(&self) -> bool {
        matches!(self.why, Why::Refused(_))
    }

    /// Returns what the task panicked with, for [`std::panic::resume_unwind`]; none if it did not panic.
    pub fn into_panic(self) -> Option<Box<dyn Any + Send>> {
        match self.why {
            Why::Panic(payload) => Some(payload.into_inner().unwrap_or_else(PoisonError::into_inner)),
            Why::Cancelled | Why::Refused(_) => None,
        }
    }

    /// The message of the panic, if it is text.
    fn message(payload: &Mutex<Box<dyn Any + Send>>) -> String {
        let payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or("no message".to_owned())
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Panic(payload) => write!(f, "the task panicked: {}", Self::message(payload)),
            Why::Cancelled => f.write_str("the task was cancelled"),
            Why::Refused(error) => write!(f, "the closure was not run: {error}"),
        }
    }
}

impl std::error::Error for JoinError {}

/// For `?` in functions that return errors of io.
impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> Self {
        match error.why {
            Why::Refused(error) => error,
            _ => io::Error::other(error),
        }
    }
}
