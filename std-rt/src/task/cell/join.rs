//! The handle of a task, which waits for it, cancels it and takes its result, and the error of a task without a value.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use super::{AbortHandle, CurrentTask, Id, RawBody, Runnable, TaskPtr, TaskResult};
use crate::coop::Charge;
use crate::error::no_thread;
use crate::protocol::job::Refusal;

/// The result of a task, once it has ended.
///
/// Awaiting it gives the task's value, or a [`JoinError`] if the task panicked or was aborted.
///
/// Dropped: the task goes on, detached.
pub struct JoinHandle<T> {
    task: TaskPtr,
    /// Set once the handle has given the result: the cell may be gone then, and `task` is only its id.
    given: bool,
    charge: Charge,
    result: PhantomData<T>,
}

// SAFETY: a handle can take a `T` or the payload of a panic out of the cell, and both are `Send`, as is the join waker.
unsafe impl<T: Send> Send for JoinHandle<T> {}

// SAFETY: a shared reference to a handle changes only the state word, and schedules the task if that grants the right; any
// thread may do both.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> Unpin for JoinHandle<T> {}

impl<T> UnwindSafe for JoinHandle<T> {}

impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("JoinHandle");
        f.field("id", &self.id()).field("finished", &self.is_finished()).finish()
    }
}

impl<T> JoinHandle<T> {
    /// Creates the handle of a new task, whose future has the output `T`.
    pub(super) fn new(task: TaskPtr) -> Self {
        Self { task, given: false, charge: Charge::First, result: PhantomData }
    }

    /// Returns the task, unless the handle has given its result.
    fn task(&self) -> Option<TaskPtr> {
        (!self.given).then_some(self.task)
    }

    /// Returns true once the task has ended, also by a panic or an abort.
    pub fn is_finished(&self) -> bool {
        self.task().is_none_or(|task| task.state.is_complete())
    }

    /// Returns the id of the task.
    pub fn id(&self) -> Id {
        self.task.id()
    }

    /// Cancels the task: its future is dropped where it waits, or after the poll that it is in. Awaiting the handle
    /// then gives a [`JoinError`] for which [`JoinError::is_cancelled`] is true, or the value if the task was faster. If the
    /// future panics while it is dropped, [`JoinError::is_panic`] is true instead.
    pub fn abort(&self) {
        if let Some(task) = self.task() {
            task.cancel();
        }
    }

    /// Returns a handle that aborts the task, for code that does not wait for its value.
    ///
    /// # Panics
    ///
    /// Panics if this handle has given its result already.
    #[track_caller]
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle::new(self.task().expect("abort_handle of a JoinHandle that has given its result"))
    }

    /// Leaves a waker for the end of the task. Returns false if it has ended already, and the waker is not used.
    pub(in crate::task) fn set_waker(&mut self, waker: &Waker) -> bool {
        self.task().is_some_and(|task| Self::register(task, waker))
    }

    /// Returns the result of a task that has ended, which the handle gives once.
    pub(in crate::task) fn into_result(mut self) -> Result<T, JoinError> {
        self.give()
    }

    /// Leaves a waker for the end of a task. Returns false if the task is complete.
    fn register(task: TaskPtr, waker: &Waker) -> bool {
        // Foreign code, which may panic: the clone before the slot is taken back, and the drop of the previous waker after
        // the new one is registered.
        let waker = waker.clone();
        if !task.state.unregister_join_waker() {
            return false;
        }
        // SAFETY: JOIN_WAKER is clear and the task was not complete, so until `register_join_waker` the slot is the handle's,
        // which `poll` has borrowed exclusively. No foreign code runs in here.
        let previous = task.join_waker.with_mut(|slot| unsafe { (*slot).replace(waker) });
        let registered = task.state.register_join_waker();
        drop(previous);
        registered
    }

    /// Takes the result of a task that is complete, and releases the cell. `None`: the task was cancelled.
    fn take_result(&mut self) -> Option<TaskResult<T>> {
        let mut result = None::<TaskResult<T>>;
        if let Some(body) = self.complete_body() {
            // SAFETY: `T` is the output of the task's future, see `new`, so `result` has the type that the body writes.
            unsafe { body.take((&raw mut result).cast()) };
        }
        let task = self.task()?;
        self.given = true;
        let scheduled = task.run_action(task.state.drop_complete_handle());
        debug_assert!(scheduled.is_none(), "a task that is complete is not scheduled");
        result
    }

    /// Takes the result of a task that is complete, as the handle gives it.
    fn give(&mut self) -> Result<T, JoinError> {
        let id = self.id();
        match self.take_result() {
            Some(result) => result.map_err(|payload| JoinError::of_payload(id, payload)),
            None => Err(JoinError::cancelled(id)),
        }
    }

    /// Returns the part of the cell with the result, once the task is complete.
    fn complete_body(&mut self) -> Option<&mut dyn RawBody> {
        let task = self.task().filter(|task| task.state.is_complete())?;
        let body = (task.table.body)(task);
        // SAFETY: the table is that of the cell, so the pointer is that of the body. The task is complete, so the runner does
        // not touch the body any more (INV-12). Of the handle there is one, and it is borrowed exclusively.
        Some(unsafe { &mut *body })
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    ///
    /// Panics if it is polled again after it has given its result.
    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let task = self.task().expect("a JoinHandle was polled after it had given its result");
        if task.state.is_complete() {
            ready!(std::mem::replace(&mut self.charge, Charge::Refused).poll_proceed(cx));
        } else {
            self.charge = Charge::Waited;
            if Self::register(task, cx.waker()) {
                // In a child of the process that spawned it the task is a copy that no thread runs.
                let runs = task.sched().is_owner_process();
                return if runs { Poll::Pending } else { Poll::Ready(Err(JoinError::cancelled(task.id()))) };
            }
        }
        Poll::Ready(self.give())
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let Some(task) = self.task() else { return };
        let action = task.state.drop_handle().unwrap_or_else(|| {
            // The value is dropped as code of its task.
            let _before = CurrentTask::replace(task.id());
            self.complete_body().into_iter().for_each(RawBody::clear);
            task.state.drop_complete_handle()
        });
        task.run_action(action).into_iter().for_each(Runnable::schedule);
    }
}

/// The error of a task without a value: it panicked, it was cancelled, or it is a closure of
/// [`spawn_blocking`](crate::spawn_blocking) for which the kernel made no thread.
pub struct JoinError {
    id: Id,
    why: Why,
}

enum Why {
    Cancelled,
    /// The payload, in a mutex only so that the error is `Sync`.
    Panic(Mutex<Box<dyn Any + Send>>),
    /// The error of the pool.
    Refused(io::Error),
}

impl JoinError {
    /// Creates the error for a payload, which is a panic's or stands for a refusal of the pool.
    fn of_payload(id: Id, payload: Box<dyn Any + Send>) -> Self {
        let why = match payload.downcast::<Refusal>() {
            Ok(refusal) if *refusal == Refusal::Closed => Why::Cancelled,
            Ok(refusal) => Why::Refused(no_thread(*refusal)),
            Err(payload) => Why::Panic(Mutex::new(payload)),
        };
        Self { id, why }
    }

    /// Creates the error of a task that was cancelled.
    pub(in crate::task) fn cancelled(id: Id) -> Self {
        Self { id, why: Why::Cancelled }
    }

    /// Returns the id of the task.
    pub fn id(&self) -> Id {
        self.id
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

    /// Returns the payload of the task's panic, for [`std::panic::resume_unwind`]; `None` if it did not panic.
    pub fn into_panic(self) -> Option<Box<dyn Any + Send>> {
        self.try_into_panic().ok()
    }

    /// Returns the payload of the task's panic, for [`std::panic::resume_unwind`].
    ///
    /// # Errors
    ///
    /// Returns the error itself if the task did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        match self {
            Self { why: Why::Panic(payload), .. } => {
                Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
            other => Err(other),
        }
    }

    /// Returns the message of the panic, if it is text.
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

/// Converts the error for `?` in functions that return an [`io::Error`].
impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> Self {
        match error.why {
            Why::Refused(error) => error,
            _ => io::Error::other(error),
        }
    }
}
