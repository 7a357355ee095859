//! The metadata of a task: its spawn location or its name, in one word that a worker publishes while it runs the task.
//!
//! - **INV-401** The word of a spawn location is the address of a `&'static Location`, its low bits clear. Only this file makes
//!   a word. A `Location` is never written and never freed, so a thread that reads the word at any time may look there.

#![expect(unsafe_code, reason = "a spawn location is published as one word")]

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use netpoll_core::sync::RelaxedUsize;
use pin_project_lite::pin_project;
use slab::Slab;

use crate::sys::ForkEpoch;

/// Set if the rest of the word is an index into the list of names, and not a location.
const NAMED: usize = 1;

/// Set if the task stays on the thread that spawned it.
const LOCAL: usize = 2;

const BITS: u32 = 2;

const _: () = assert!(align_of::<Location<'static>>() >= 1 << BITS, "the low bits of a location are free");

/// The spawn location of a task, or its index in the list of names; never 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskMeta(usize);

impl TaskMeta {
    /// Creates the metadata of a task without a name.
    #[inline]
    pub fn new(location: &'static Location<'static>) -> Self {
        Self(ptr::from_ref(location).expose_provenance())
    }

    /// Returns the metadata of the same task, marked as one that stays on its thread.
    pub fn local(self) -> Self {
        Self(self.0 | LOCAL)
    }

    /// Returns true if the task stays on its thread.
    #[inline]
    pub fn is_local(self) -> bool {
        self.0 & LOCAL != 0
    }
}

/// The word by which a worker publishes the task that it runs; 0 if it runs none.
#[derive(Debug, Default)]
pub struct RunningTask(RelaxedUsize);

impl RunningTask {
    /// Publishes a task, or that there is none.
    #[inline]
    pub fn set(&self, task: Option<TaskMeta>) {
        self.0.set(task.map_or(0, |task| task.0));
    }

    /// Returns the task that was published last, or one published shortly before.
    pub fn get(&self) -> Option<TaskMeta> {
        let word = self.0.get();
        (word != 0).then_some(TaskMeta(word))
    }
}

/// The name of a task, and the location that spawned it.
#[derive(Clone, Debug)]
pub struct TaskName {
    /// The name, if the task was given one.
    pub name: Option<Arc<str>>,
    /// The call of `spawn`.
    pub location: &'static Location<'static>,
}

/// The names of the tasks of one runtime that have one.
#[derive(Debug)]
pub struct TaskNames {
    names: Mutex<Slab<TaskName>>,
    /// The process whose tasks they are. In a child of fork(2) the lock may be held for ever.
    epoch: ForkEpoch,
}

impl TaskNames {
    /// Creates the list of a runtime of this process.
    pub fn new(epoch: ForkEpoch) -> Arc<Self> {
        Arc::new(Self { names: Mutex::default(), epoch })
    }

    fn lock(&self) -> MutexGuard<'_, Slab<TaskName>> {
        // No foreign code runs under it.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters the name of a future that is to be a task. The name leaves the list when the future is dropped.
    pub fn add<F>(
        self: &Arc<Self>,
        name: Arc<str>,
        location: &'static Location<'static>,
        future: F,
    ) -> (TaskMeta, NamedFuture<F>) {
        let index = self.lock().insert(TaskName { name: Some(name), location });
        let entry = NameEntry { names: self.clone(), index };
        (TaskMeta(index << BITS | NAMED), NamedFuture { future, entry })
    }

    /// Returns the name of a task; `None` if it had one and has ended meanwhile.
    pub fn get(&self, TaskMeta(word): TaskMeta) -> Option<TaskName> {
        if word & NAMED != 0 {
            return self.lock().get(word >> BITS).cloned();
        }
        let location = ptr::with_exposed_provenance::<Location<'static>>(word & !LOCAL);
        // SAFETY: INV-401: a word that is no name came from a `&'static Location`, in `TaskMeta::new`.
        let location = unsafe { location.as_ref() }?;
        Some(TaskName { name: None, location })
    }
}

/// An entry in the list of names.
#[derive(Debug)]
struct NameEntry {
    names: Arc<TaskNames>,
    index: usize,
}

impl Drop for NameEntry {
    fn drop(&mut self) {
        if self.names.epoch.is_current() {
            let name = self.names.lock().try_remove(self.index);
            drop(name);
        }
    }
}

pin_project! {
    /// A future with a name.
    pub struct NamedFuture<F> {
        #[pin]
        future: F,
        entry: NameEntry,
    }
}

impl<F: Future> Future for NamedFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}
