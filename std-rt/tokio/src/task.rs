//! Tasks, sets of them, and what a task calls on itself.

pub mod coop;
mod id;
mod join;
mod join_set;
mod local;

use std::future::Future;

#[doc(hidden)]
#[deprecated = "Moved to tokio::task::coop"]
pub use coop::{Unconstrained, consume_budget, unconstrained};
pub use id::{Id, id, try_id};
pub use join::{AbortHandle, JoinError, JoinHandle};
pub use join_set::JoinSet;
pub use local::{LocalEnterGuard, LocalSet, spawn_local};
pub use upstream::task::{LocalKey, futures};

use crate::runtime::{Handle, context};

/// Starts a task on the runtime that this thread is in.
///
/// # Panics
///
/// Panics if the thread is in no runtime.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Handle::current().spawn(future)
}

/// Runs a closure that blocks on a thread of the pool of the runtime that this thread is in.
///
/// # Panics
///
/// Panics if the thread is in no runtime.
#[track_caller]
pub fn spawn_blocking<F, R>(f: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    Handle::current().spawn_blocking(f)
}

/// Runs a closure that blocks on this thread, and lets it block: within it, `block_on` and the calls of channels that block
/// are possible. Another thread becomes the worker, so that all other tasks go on; see
/// `netpoll_rt::task::block_in_place`.
///
/// # Panics
///
/// Panics in a runtime of [`new_current_thread`](crate::runtime::Builder::new_current_thread), and in a [`LocalSet`].
#[track_caller]
pub fn block_in_place<F, R>(f: F) -> R
where
    F: FnOnce() -> R,
{
    netpoll_rt::task::block_in_place(|| context::exit(f))
}

/// Lets every other task that is runnable have its turn.
///
/// # Cancel safety
///
/// Dropped: nothing has happened.
pub async fn yield_now() {
    netpoll_rt::yield_now().await
}
