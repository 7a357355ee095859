//! The handles of a task, and the error of a task without a value.

use std::any::Any;
use std::error;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use super::Id;

/// The result of a task, once it has ended.
///
/// Dropped: the task goes on, detached.
pub struct JoinHandle<T> {
    inner: netpoll_rt::JoinHandle<T>,
    /// Set once it has given the result.
    given: bool,
}

impl<T> JoinHandle<T> {
    pub(crate) fn from_netpoll(inner: netpoll_rt::JoinHandle<T>) -> Self {
        Self { inner, given: false }
    }

    /// Cancels the task.
    pub fn abort(&self) {
        self.inner.abort();
    }

    /// Returns true once the task has ended.
    pub fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }

    /// Returns a handle that cancels the task.
    #[must_use = "abort handles do nothing unless `.abort` is called"]
    pub fn abort_handle(&self) -> AbortHandle {
        if self.given {
            return AbortHandle { task: Err(self.inner.id()) };
        }
        AbortHandle::from_netpoll(self.inner.abort_handle())
    }

    /// Returns the id of the task.
    pub fn id(&self) -> Id {
        Id(self.inner.id())
    }
}

impl<T> Unpin for JoinHandle<T> {}

impl<T> UnwindSafe for JoinHandle<T> {}

impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    ///
    /// Panics if it is polled again after it was ready.
    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.inner).poll(cx);
        self.given |= polled.is_ready();
        polled.map_err(JoinError::from_netpoll)
    }
}

impl<T: fmt::Debug> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("id", &self.id()).finish()
    }
}

/// The permission to cancel a task, without its value.
///
/// Dropped: the task goes on.
#[derive(Clone)]
pub struct AbortHandle {
    /// The id alone, if the task had ended and its result was taken when the handle was made.
    task: Result<netpoll_rt::task::AbortHandle, netpoll_rt::task::Id>,
}

impl AbortHandle {
    pub(super) fn from_netpoll(inner: netpoll_rt::task::AbortHandle) -> Self {
        Self { task: Ok(inner) }
    }

    /// Cancels the task.
    pub fn abort(&self) {
        if let Ok(task) = &self.task {
            task.abort();
        }
    }

    /// Returns true once the task has ended.
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().map_or(true, |task| task.is_finished())
    }

    /// Returns the id of the task.
    pub fn id(&self) -> Id {
        Id(match &self.task {
            Ok(task) => task.id(),
            Err(id) => *id,
        })
    }
}

impl UnwindSafe for AbortHandle {}

impl RefUnwindSafe for AbortHandle {}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle").field("id", &self.id()).finish()
    }
}

/// The error of a task that was cancelled or has panicked.
pub struct JoinError {
    id: Id,
    why: Why,
}

enum Why {
    Cancelled,
    /// In a mutex only so that the error is `Sync`.
    Panic(Mutex<Box<dyn Any + Send>>),
}

impl JoinError {
    pub(super) fn from_netpoll(error: netpoll_rt::JoinError) -> Self {
        let id = Id(error.id());
        let why = error.into_panic().map_or(Why::Cancelled, |payload| Why::Panic(Mutex::new(payload)));
        Self { id, why }
    }

    /// Returns true if the task was cancelled: by [`JoinHandle::abort`], or since its runtime was shut down.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.why, Why::Cancelled)
    }

    /// Returns true if the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.why, Why::Panic(_))
    }

    /// Returns the payload of the panic.
    ///
    /// # Panics
    ///
    /// Panics if the task did not.
    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        self.try_into_panic().expect("`JoinError` reason is not a panic.")
    }

    /// Returns the payload of the panic.
    ///
    /// # Errors
    ///
    /// Returns the error itself if the task did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send + 'static>, Self> {
        match self.why {
            Why::Panic(payload) => Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner)),
            Why::Cancelled => Err(self),
        }
    }

    /// Returns the id of the task.
    pub fn id(&self) -> Id {
        self.id
    }
}

/// Returns the message of a panic, if it is text.
fn text(payload: &Mutex<Box<dyn Any + Send>>) -> Option<String> {
    let payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&'static str>().map(|text| (*text).to_owned()))
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Cancelled => write!(f, "task {} was cancelled", self.id),
            Why::Panic(payload) => match text(payload) {
                Some(text) => write!(f, "task {} panicked with message {text:?}", self.id),
                None => write!(f, "task {} panicked", self.id),
            },
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Cancelled => write!(f, "JoinError::Cancelled({:?})", self.id),
            Why::Panic(payload) => match text(payload) {
                Some(text) => write!(f, "JoinError::Panic({:?}, {text:?}, ...)", self.id),
                None => write!(f, "JoinError::Panic({:?}, ...)", self.id),
            },
        }
    }
}

impl error::Error for JoinError {}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> Self {
        Self::other(if error.is_panic() { "task panicked" } else { "task was cancelled" })
    }
}
