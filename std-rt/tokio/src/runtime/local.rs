//! A runtime whose tasks need not be `Send`.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::{Builder, EnterGuard, Handle, Id, Runtime, RuntimeMetrics};
use crate::task::{JoinHandle, LocalSet};

/// The settings of a [`LocalRuntime`], of which there are none yet.
#[derive(Default, Debug)]
#[non_exhaustive]
pub struct LocalOptions {
    not_send: PhantomData<*mut u8>,
}

/// A runtime on one thread, on which [`spawn_local`](crate::task::spawn_local) works everywhere.
///
/// Dropped: it shuts down, as [`Runtime`] does.
pub struct LocalRuntime {
    set: Rc<LocalSet>,
    runtime: Runtime,
}

thread_local! {
    /// The sets of the runtimes that were created on this thread, by the ids of the runtimes.
    static SETS: RefCell<Vec<(Id, Weak<LocalSet>)>> = const { RefCell::new(Vec::new()) };
}

/// Returns the set of the runtime that this thread is in, if that is a [`LocalRuntime`]: `Some(None)` if it was created on
/// another thread, or is being dropped.
pub(crate) fn local_set() -> Option<Option<Rc<LocalSet>>> {
    let handle = Handle::try_current().ok().filter(Handle::is_local)?;
    let id = handle.id();
    // It fails only while the thread ends.
    let set = SETS
        .try_with(|sets| sets.borrow().iter().find(|(of, _)| *of == id).and_then(|(_, set)| set.upgrade()));
    Some(set.ok().flatten())
}

impl LocalRuntime {
    pub(super) fn new_with(runtime: Runtime) -> Self {
        let set = Rc::new(LocalSet::new());
        SETS.with_borrow_mut(|sets| {
            sets.retain(|(_, set)| set.strong_count() > 0);
            sets.push((runtime.handle().id(), Rc::downgrade(&set)));
        });
        Self { set, runtime }
    }

    /// Creates a runtime with the defaults of [`Builder`].
    ///
    /// # Errors
    ///
    /// Returns an error if [`Builder::build_local`] does.
    pub fn new() -> io::Result<Self> {
        Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
    }

    /// Returns the handle of the runtime.
    pub fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    /// Starts a task that stays on this thread.
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.set.spawn_local(future)
    }

    /// Runs a closure that blocks on a thread of the runtime's pool.
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, func: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.runtime.spawn_blocking(func)
    }

    /// Runs a future to its end on this thread, and the tasks meanwhile.
    ///
    /// # Panics
    ///
    /// As [`Runtime::block_on`].
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _entered = self.set.enter();
        self.set.block_on(&self.runtime, future)
    }

    /// Makes this runtime that of the thread until the guard is dropped.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Shuts the runtime down, and waits no longer than `duration` for closures that are running.
    pub fn shutdown_timeout(mut self, duration: Duration) {
        self.end_tasks();
        self.runtime.shut_down(duration);
    }

    /// Shuts the runtime down without waiting for closures that are running.
    pub fn shutdown_background(self) {
        self.shutdown_timeout(Duration::ZERO);
    }

    /// Returns the metrics of the runtime.
    pub fn metrics(&self) -> RuntimeMetrics {
        self.runtime.metrics()
    }

    /// Drops the tasks of this thread, within the runtime.
    fn end_tasks(&mut self) {
        let _entered = self.runtime.enter();
        drop(mem::take(&mut self.set));
    }
}

impl Drop for LocalRuntime {
    fn drop(&mut self) {
        self.end_tasks();
    }
}

impl fmt::Debug for LocalRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalRuntime").field("handle", self.handle()).finish_non_exhaustive()
    }
}

impl std::panic::UnwindSafe for LocalRuntime {}

impl std::panic::RefUnwindSafe for LocalRuntime {}
