//! What is the user's, and may panic when it is dropped: a task's future and its value. async-task ends the process for
//! that, so it does not come to know of it.

use std::future::Future;
use std::mem::needs_drop;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::sched::quietly;

pin_project! {
    /// A future; there until it is dropped.
    pub(super) struct Contained<F> {
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Contained<F> {
        fn drop(this: Pin<&mut Self>) {
            if needs_drop::<F>() {
                quietly(|| this.project().future.set(None));
            }
        }
    }
}

impl<F> Contained<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future: Some(future) }
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Value<F::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.project().future.as_pin_mut().expect("it is there until it is dropped");
        future.poll(cx).map(|value| Value(Some(value)))
    }
}

/// A task's value; there until it is taken out or dropped.
pub(super) struct Value<T>(Option<T>);

impl<T> Value<T> {
    pub(super) fn take(mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T> Drop for Value<T> {
    fn drop(&mut self) {
        if needs_drop::<T>() {
            quietly(|| self.0 = None);
        }
    }
}
