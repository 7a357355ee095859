//! What a thread is in: a runtime that it has entered, and whether it drives tasks and so must not block.
//!
//! tokio's own channels and locks ask their own thread-local state whether they may block (`blocking_recv` and the like). So
//! a thread that runs tasks is put into that state by `block_on` of a runtime that nothing drives, around the whole run.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::LazyLock;
use std::task::Poll;

use super::Handle;
use crate::task::coop;

/// A runtime of upstream without threads, drivers and tasks. Only its `block_on` is used.
static UPSTREAM: LazyLock<upstream::runtime::Runtime> = LazyLock::new(|| {
    let runtime = upstream::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime without drivers needs nothing of the system")
});

thread_local! {
    /// True while the thread drives tasks or a future of `block_on`.
    static DRIVES: Cell<bool> = const { Cell::new(false) };
    /// The number of guards of [`Handle::enter`] on this thread.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Calls a function on a thread that drives tasks from now on, until it returns.
///
/// # Panics
///
/// Panics if the thread drives tasks already.
#[track_caller]
pub(crate) fn enter<R>(run: impl FnOnce() -> R) -> R {
    coop::prepare();
    let mut run = Some(run);
    // The handle's `block_on`, unlike the runtime's, makes no scheduler current to which wakers would be deferred.
    UPSTREAM.handle().block_on(upstream::task::coop::unconstrained(poll_fn(move |_| {
        let _drives = Drives::set(true);
        Poll::Ready(run.take().expect("a future is polled no more after it was ready")())
    })))
}

/// Calls a function on a thread that may block meanwhile, whatever it drives.
pub(crate) fn exit<R>(run: impl FnOnce() -> R) -> R {
    if !DRIVES.get() {
        return run();
    }
    let _drives = Drives::set(false);
    coop::without_budget(|| upstream::task::block_in_place(run))
}

/// Takes upstream's budget at its beginning, on a thread that drives nothing.
pub(crate) fn with_full_budget(mut take: impl FnMut(&mut std::task::Context<'_>)) {
    UPSTREAM.handle().block_on(poll_fn(|cx| {
        take(cx);
        Poll::Ready(())
    }));
}

/// # Panics
///
/// Panics if the thread drives tasks: dropping a runtime waits.
#[track_caller]
pub(super) fn assert_may_block() {
    if DRIVES.get() && !std::thread::panicking() {
        panic!(
            "Cannot drop a runtime in a context where blocking is not allowed. This happens when a runtime is dropped \
             from within an asynchronous context."
        );
    }
}

/// A guard that restores what the thread drove before.
struct Drives(bool);

impl Drives {
    fn set(drives: bool) -> Self {
        Self(DRIVES.replace(drives))
    }
}

impl Drop for Drives {
    fn drop(&mut self) {
        DRIVES.set(self.0);
    }
}

/// The guard of a thread that has entered a runtime; made by [`Handle::enter`].
///
/// # Panics
///
/// Its drop panics unless the guards of a thread are dropped in the reverse order.
#[must_use = "Creating and dropping a guard does nothing"]
pub struct EnterGuard<'a> {
    // Dropped first. It has the `Drop` in place of the guard, which borrows: as with tokio's guard, a runtime can be moved
    // while an unused guard is still in scope.
    _depth: Depth,
    _entered: netpoll_rt::EnterGuard<'a>,
    handle: PhantomData<&'a Handle>,
}

/// The number of guards of this thread when a guard was made, itself included.
struct Depth(usize);

impl<'a> EnterGuard<'a> {
    pub(super) fn new(handle: &'a Handle) -> Self {
        let depth = DEPTH.get() + 1;
        DEPTH.set(depth);
        Self { _depth: Depth(depth), _entered: handle.as_netpoll().enter(), handle: PhantomData }
    }
}

impl Drop for Depth {
    fn drop(&mut self) {
        if DEPTH.get() == self.0 {
            DEPTH.set(self.0 - 1);
        } else if !std::thread::panicking() {
            panic!(
                "`EnterGuard` values dropped out of order. Guards returned by `tokio::runtime::Handle::enter()` must be \
                 dropped in the reverse order as they were acquired."
            );
        }
    }
}

impl fmt::Debug for EnterGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnterGuard").finish_non_exhaustive()
    }
}
