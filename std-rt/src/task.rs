//! Tasks: their handles, and how many operations they may make in one turn.
//!
//! A task is spawned with [`spawn`](crate::spawn), with a name by [`spawn_named`](crate::spawn_named), and by
//! [`spawn_local`](crate::spawn_local) if it is not `Send`. An operation on a socket that is always ready never waits, so
//! a task may make a certain number of them in one turn, and then all others come first:
//! [`Builder::budget`](crate::Builder::budget) for all tasks of a runtime, [`with_budget`] and [`unconstrained`] for one.

mod build;
mod contained;
mod local;

// The cell itself (header, state, future in one allocation) is async-task's.
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{self, AssertUnwindSafe, Location};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use async_task::{FallibleTask, Runnable, ScheduleInfo, Task, WithInfo};
use pin_project_lite::pin_project;

use crate::sched::{self, Home, Meta, Origin};
pub use build::{Budgeted, unconstrained, with_budget};
pub(crate) use build::{spawn_named, turn};
use contained::{Contained, Value};
pub(crate) use local::{Locals, spawn_local};

pin_project! {
    /// A future that its scheduler finds while it waits, and that tells it when it is gone, finished or dropped.
    struct Registered<F> {
        #[pin]
        future: Contained<F>,
        entry: Entry,
    }
}

struct Entry {
    home: Arc<Home>,
    /// Its place in the list of tasks that wait; a task that has never waited is in a run queue or running, and needs none.
    place: Option<u32>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.home.task_ended(self.place);
    }
}

impl<F: Future> Future for Registered<F> {
    type Output = Value<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = this.future.poll(cx);
        if polled.is_pending() && this.entry.place.is_none() {
            this.entry.place = Some(this.entry.home.register_task(cx.waker().clone()));
        }
        polled
    }
}

/// Starts a task. On a scheduler that is closed it is dropped at once, and its handle says cancelled.
pub(crate) fn spawn<F>(
    home: Arc<Home>,
    location: &'static Location<'static>,
    future: F,
) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    start(home, Origin::new(location), future)
}

fn start<F>(home: Arc<Home>, origin: Origin, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    home.task_begins();
    let entry = Entry { home: home.clone(), place: None };
    let future = Registered { future: Contained::new(future), entry };
    // A task that was woken in its own poll has had its turn. This closure captures nothing: if it did, async-task would
    // keep the task alive around each call of it.
    let schedule = |task: Runnable<Meta>, info: ScheduleInfo| sched::put(task, info.woken_while_running);
    let (runnable, task) = async_task::Builder::new()
        .metadata(Meta { origin, home })
        .propagate_panic(true)
        .spawn(move |_| future, WithInfo(schedule));
    runnable.schedule();
    handle(task)
}

fn handle<T>(task: Task<Value<T>, Meta>) -> JoinHandle<T> {
    JoinHandle { state: Mutex::new(State::Running(task.fallible())) }
}

/// The result of a task, once it has ended.
///
/// Awaiting it gives the task's value, or a [`JoinError`] if the task panicked or was aborted.
///
/// Dropped: the task goes on, detached.
pub struct JoinHandle<T> {
    /// Cold: locked by `abort` and `is_finished`; awaiting has it exclusively.
    state: Mutex<State<T>>,
}

enum State<T> {
    Running(FallibleTask<Value<T>, Meta>),
    Aborting(Pin<Box<dyn Future<Output = Option<T>> + Send>>),
    Done,
}

impl<T> State<T> {
    fn is_finished(&self) -> bool {
        match self {
            State::Running(task) => task.is_finished(),
            State::Aborting(_) => false,
            State::Done => true,
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}

impl<T> JoinHandle<T> {
    /// True once the task has ended, whatever way.
    pub fn is_finished(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_finished()
    }
}

impl<T: Send + 'static> JoinHandle<T> {
    /// Cancels the task: its future is dropped where it waits, or after the poll that it is in. Awaiting the handle
    /// then gives a [`JoinError`] for which [`JoinError::is_cancelled`] is true, or the value if the task was faster.
    pub fn abort(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Done) {
            State::Running(task) => {
                let mut cancel: Pin<Box<dyn Future<Output = Option<T>> + Send>> =
                    Box::pin(async { task.cancel().await.and_then(Value::take) });
                // The first poll is what cancels; the value, if it is there already, is kept for who awaits.
                *state = match cancel.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(value) => State::Aborting(Box::pin(std::future::ready(value))),
                    Poll::Pending => State::Aborting(cancel),
                };
            }
            other => *state = other,
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let State::Running(task) = std::mem::replace(state, State::Done) {
            task.detach();
        }
    }
}

impl<T> Unpin for JoinHandle<T> {}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    ///
    /// When polled again after it has given its result.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        // A panic of the task comes out of its handle's poll.
        let polled = panic::catch_unwind(AssertUnwindSafe(|| match state {
            State::Running(task) => Pin::new(task).poll(cx).map(|value| value.and_then(Value::take)),
            State::Aborting(cancel) => cancel.as_mut().poll(cx),
            State::Done => panic!("a JoinHandle was polled after it had given its result"),
        }));
        let result = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Some(value))) => Ok(value),
            Ok(Poll::Ready(None)) => Err(JoinError { panic: None }),
            Err(payload) if matches!(state, State::Done) => panic::resume_unwind(payload),
            Err(payload) => Err(JoinError { panic: Some(Mutex::new(payload)) }),
        };
        *state = State::Done;
        Poll::Ready(result)
    }
}

/// Why a task has no value: it panicked, or it was cancelled.
pub struct JoinError {
    /// In a mutex only so that the error is `Sync`.
    panic: Option<Mutex<Box<dyn Any + Send>>>,
}

impl JoinError {
    /// The task was aborted, or its runtime shut down.
    pub fn is_cancelled(&self) -> bool {
        self.panic.is_none()
    }

    /// The task panicked.
    pub fn is_panic(&self) -> bool {
        self.panic.is_some()
    }

    /// What the task panicked with, for [`std::panic::resume_unwind`]; none if it was cancelled.
    pub fn into_panic(self) -> Option<Box<dyn Any + Send>> {
        self.panic.map(|payload| payload.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// The message of the panic, if it is text.
    fn message(&self) -> Option<String> {
        let payload = self.panic.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        Some(text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or("no message".to_owned()))
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            Some(message) => write!(f, "the task panicked: {message}"),
            None => f.write_str("the task was cancelled"),
        }
    }
}

impl std::error::Error for JoinError {}

/// For `?` in functions that return errors of io.
impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> Self {
        io::Error::other(error)
    }
}
