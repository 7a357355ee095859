//! Values of a task: [`task_local!`](crate::task_local), and the future that keeps one.
//!
//! The value is in the future while that is not polled, and in a variable of the thread while it is.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use pin_project_lite::pin_project;

/// Declares variables that each task has for itself, as `thread_local!` does for threads.
///
/// A value is set for a future by [`LocalKey::scope`], and is there whichever thread polls it. A task that this future spawns
/// does not have it.
///
/// ```
/// use netpoll_rt::{task_local, yield_now};
///
/// task_local! {
///     /// The number of the request that the task serves.
///     static REQUEST: u32;
/// }
///
/// # netpoll_rt::block_on(async {
/// let served = REQUEST.scope(7, async {
///     yield_now().await;
///     REQUEST.get()
/// });
/// assert_eq!(netpoll_rt::spawn(served).await.unwrap(), 7);
/// assert!(REQUEST.try_with(|_| ()).is_err());
/// # });
/// ```
#[macro_export]
macro_rules! task_local {
    () => {};
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $value:ty; $($rest:tt)*) => {
        $crate::task_local!($(#[$attribute])* $visibility static $name: $value);
        $crate::task_local!($($rest)*);
    };
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $value:ty) => {
        $(#[$attribute])*
        $visibility static $name: $crate::task::LocalKey<$value> = {
            ::std::thread_local! {
                static SLOT: ::std::cell::RefCell<::std::option::Option<$value>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }
            $crate::task::LocalKey::new(SLOT)
        };
    };
}

/// A variable of [`task_local!`](crate::task_local).
pub struct LocalKey<T: 'static> {
    slot: thread::LocalKey<RefCell<Option<T>>>,
}

impl<T> LocalKey<T> {
    /// Creates the key of a slot, for the macro.
    #[doc(hidden)]
    pub const fn new(slot: thread::LocalKey<RefCell<Option<T>>>) -> Self {
        Self { slot }
    }

    /// Sets the value for a future. Scopes of one key may be within each other: the inner value is in force. Tasks that a worker
    /// runs on top of the future, because that calls [`block_on`](crate::Runtime::block_on), see the value too.
    ///
    /// # Cancel safety
    ///
    /// That of the future. It is dropped with the value in force, which is dropped after it.
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> TaskLocalFuture<T, F> {
        TaskLocalFuture { key: self, value: Some(value), future: Some(future) }
    }

    /// Sets the value for a function.
    ///
    /// # Panics
    ///
    /// Panics if it is called within [`with`](Self::with) of this key, or if the thread is about to end.
    #[track_caller]
    pub fn sync_scope<R>(&'static self, value: T, function: impl FnOnce() -> R) -> R {
        let mut value = Some(value);
        let _scope = Scope::enter(self, &mut value).unwrap_or_else(|error| panic!("{error}"));
        function()
    }

    /// Calls a function with the value.
    ///
    /// # Panics
    ///
    /// Panics outside of a scope of this key.
    #[track_caller]
    pub fn with<R>(&'static self, function: impl FnOnce(&T) -> R) -> R {
        self.try_with(function).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Calls a function with the value.
    ///
    /// # Errors
    ///
    /// Returns an error outside of a scope of this key.
    pub fn try_with<R>(&'static self, function: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        let within = |slot: &RefCell<Option<T>>| slot.borrow().as_ref().map(function);
        self.slot.try_with(within).ok().flatten().ok_or(AccessError(()))
    }

    /// Returns a clone of the value.
    ///
    /// # Panics
    ///
    /// Panics outside of a scope of this key.
    #[track_caller]
    pub fn get(&'static self) -> T
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    /// Swaps the value of this thread.
    fn swap(&'static self, value: &mut Option<T>) -> Result<(), &'static str> {
        let swap = |slot: &RefCell<Option<T>>| {
            let mut slot = slot.try_borrow_mut().map_err(|_| BORROWED)?;
            mem::swap(&mut *slot, value);
            Ok(())
        };
        self.slot.try_with(swap).unwrap_or(Err(ENDED))
    }
}

const BORROWED: &str = "a task-local scope is entered within `with` of the same key";
const ENDED: &str = "a task-local scope is entered while its thread ends";

impl<T> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

/// The guard of a thread whose variable has the value of a scope.
struct Scope<'a, T: 'static> {
    key: &'static LocalKey<T>,
    /// The value of the scope around, in the meantime.
    value: &'a mut Option<T>,
}

impl<'a, T> Scope<'a, T> {
    fn enter(key: &'static LocalKey<T>, value: &'a mut Option<T>) -> Result<Self, &'static str> {
        key.swap(value).map(|()| Self { key, value })
    }
}

impl<T> Drop for Scope<'_, T> {
    fn drop(&mut self) {
        // `with` borrows the variable for the duration of a call, so here it is free, as it was when the scope began.
        let restored = self.key.swap(self.value);
        debug_assert_eq!(restored, Ok(()), "the variable is there as long as the scope");
    }
}

pin_project! {
    /// The future of [`LocalKey::scope`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct TaskLocalFuture<T: 'static, F> {
        key: &'static LocalKey<T>,
        // `None` while the future is polled, and once it was taken.
        value: Option<T>,
        // `None` once it has completed.
        #[pin]
        future: Option<F>,
    }

    impl<T: 'static, F> PinnedDrop for TaskLocalFuture<T, F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // Not on a thread that ends, which has no variables any more, nor within `with` of the same key: then the future
            // is dropped without the value.
            let _scope = Scope::enter(this.key, this.value);
            this.future.set(None);
        }
    }
}

impl<T, F> TaskLocalFuture<T, F> {
    /// Takes the value out. Later polls of the future are outside of a scope.
    pub fn take_value(self: Pin<&mut Self>) -> Option<T> {
        self.project().value.take()
    }
}

impl<T, F> fmt::Debug for TaskLocalFuture<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLocalFuture").finish_non_exhaustive()
    }
}

impl<T, F: Future> Future for TaskLocalFuture<T, F> {
    type Output = F::Output;

    /// Polls the future in the scope.
    ///
    /// # Panics
    ///
    /// Panics if it is polled again after it has completed, or within [`LocalKey::with`] of the same key.
    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let scope = Scope::enter(this.key, this.value).unwrap_or_else(|error| panic!("{error}"));
        let future = this.future.as_mut().as_pin_mut();
        let polled = future.expect("a TaskLocalFuture was polled after it had completed").poll(cx);
        if polled.is_ready() {
            this.future.set(None);
        }
        drop(scope);
        polled
    }
}

/// The error of [`LocalKey::try_with`]: the task is in no scope of the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccessError(());

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a task-local value was read outside of its scope")
    }
}

impl std::error::Error for AccessError {}
