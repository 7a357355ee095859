//! The part of a cell that one thread at a time has for itself: the future of a task, and then its result.

use std::future::Future;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::{TaskResult, UNREGISTERED};
use crate::foreign::catch_panic;

pin_project! {
    /// The part of a cell that one thread at a time has for itself. `key` is the task's key in the list of its scheduler, or
    /// `UNREGISTERED`. (An `Option` would be twice as large, and beside the tag it needs no room of its own.)
    #[project = BodyProjection]
    pub(super) enum Body<F: Future> {
        Running { key: u32, #[pin] future: F },
        // `None` once the result is taken, or if the task was cancelled.
        Finished { key: u32, result: Option<TaskResult<F::Output>> },
    }
}

/// A [`Body`] of any type.
pub(super) trait RawBody {
    /// Drops the future in place of a poll.
    fn cancel(&mut self);

    /// Drops the future or the result.
    fn clear(&mut self);

    /// Moves the result out of a task that has ended.
    ///
    /// # Safety
    ///
    /// `into` points to an `Option<TaskResult<T>>`, where `T` is the output of the task's future.
    unsafe fn take(&mut self, into: *mut ());

    /// Returns the task's key.
    fn key(&self) -> u32;
}

impl<F: Future> Body<F> {
    #[inline]
    fn pinned(&mut self) -> Pin<&mut Self> {
        // SAFETY: this is called for the body of a cell only. A cell is a box that stays where it is until it is dropped, and
        // the body is changed by way of this function alone.
        unsafe { Pin::new_unchecked(self) }
    }

    /// Drops the future or the result, and leaves `result` in its place.
    pub(super) fn finish(&mut self, result: Option<TaskResult<F::Output>>) {
        let key = self.key();
        self.pinned().set(Body::Finished { key, result });
    }

    /// Polls the future. If that waits for the first time, `register` returns the task's key.
    #[inline]
    pub(super) fn poll(
        &mut self,
        waker: &Waker,
        register: impl FnOnce() -> u32,
    ) -> Poll<TaskResult<F::Output>> {
        let mut cx = Context::from_waker(waker);
        let polled = panic::catch_unwind(AssertUnwindSafe(|| {
            let panics = Unwinding(self);
            let BodyProjection::Running { key, future } = panics.0.pinned().project() else {
                unreachable!("a task that has ended is not polled")
            };
            let polled = future.poll(&mut cx);
            if polled.is_pending() && *key == UNREGISTERED {
                *key = register();
            }
            mem::forget(panics);
            polled
        }));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    }
}

/// Drops a future that panics, as a value on the stack of its poll would be: while the thread is panicking.
struct Unwinding<'a, F: Future>(&'a mut Body<F>);

impl<F: Future> Drop for Unwinding<'_, F> {
    #[cold]
    fn drop(&mut self) {
        self.0.clear();
    }
}

impl<F: Future> RawBody for Body<F> {
    fn cancel(&mut self) {
        let dropped = panic::catch_unwind(AssertUnwindSafe(|| self.finish(None)));
        // A future that panics while it is dropped makes that panic the result of the task.
        if let Err(payload) = dropped {
            self.finish(Some(Err(payload)));
        }
    }

    fn clear(&mut self) {
        catch_panic(|| self.finish(None));
    }

    unsafe fn take(&mut self, into: *mut ()) {
        let BodyProjection::Finished { result, .. } = self.pinned().project() else {
            unreachable!("a task that is complete has no future")
        };
        let result = result.take();
        // SAFETY: the caller passes a pointer to such a value. It holds `None`, so nothing is lost by not dropping it.
        unsafe { into.cast::<Option<TaskResult<F::Output>>>().write(result) }
    }

    #[inline]
    fn key(&self) -> u32 {
        match self {
            Body::Running { key, .. } | Body::Finished { key, .. } => *key,
        }
    }
}
