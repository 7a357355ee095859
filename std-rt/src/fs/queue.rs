//! The queue of a file, served by the pool of threads for work that blocks; see [`file_queue`].

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::blocking;
use crate::coop;
use crate::error::no_thread;
use crate::foreign;
use crate::protocol::file_queue::{self, Receiver, Service};
use crate::protocol::job::{Job, Refusal};
use crate::protocol::pool::Class;

/// The number of operations on one file after which a thread of the pool takes other work.
const TURNS: usize = 16;

/// A file and its pending operations.
pub(super) struct Queue(Arc<file_queue::Queue<File>>);

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Queue").field(self.file()).finish()
    }
}

impl Queue {
    pub(super) fn new(file: File) -> Self {
        Self(file_queue::Queue::new(file))
    }

    pub(super) fn file(&self) -> &File {
        self.0.file()
    }

    /// Runs an operation after those that were put before it.
    pub(super) async fn run_ordered<T: Send + 'static>(
        &self,
        call: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let made = self.start(false, call).await.unwrap_or_else(undone);
        if made.is_err() {
            // A pool may refuse at once, without a wait.
            coop::proceed().await;
        }
        made
    }

    /// Puts an operation at the end of the queue. One that is `kept` runs also if its future is dropped. The result is
    /// `None`, see [`undone`], if it was not made.
    pub(super) fn start<T: Send + 'static>(
        &self,
        kept: bool,
        call: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> Receiver<io::Result<T>> {
        let call = |file: &File, thread: Result<(), Refusal>| {
            thread.map_err(no_thread)?;
            call(file)
        };
        if kept { self.0.put_kept(call, serve) } else { self.0.put(call, serve) }
    }

    /// Puts an operation at the end of the queue that runs in any case, without a task that waits for it. It
    /// must not wait for the disk.
    pub(super) fn run_ordered_detached(&self, call: impl FnOnce(&File) + Send + 'static) {
        self.0.put_detached(call, serve);
    }

    /// Runs an operation that needs no order, beside the queue.
    pub(super) async fn run_unordered<T: Send + 'static>(
        &self,
        call: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let share = self.0.file_ref();
        let job = move || {
            let mut value = None;
            foreign::catch_panic(|| value = Some(call(share.file())));
            value
        };
        blocking::run(Class::File, job).await?.unwrap_or_else(undone)
    }

    /// Returns the file itself, once the operation that runs now has ended.
    ///
    /// # Panics
    ///
    /// Panics if the pool has dropped an operation together with the file.
    pub(super) async fn release(self) -> File {
        let released = self.0.release().await;
        released.expect("the last operation that used the file hands it over, whether it succeeded or not")
    }
}

/// A file with operations in its queue is a job for the pool.
struct Served(Mutex<Option<Service<File>>>);

impl Served {
    fn job(service: Service<File>) -> Arc<dyn Job> {
        Arc::new(Self(Mutex::new(Some(service))))
    }

    fn take(&self) -> Option<Service<File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Job for Served {
    fn run(self: Arc<Self>) -> Option<Arc<dyn Job>> {
        self.take()?.run(TURNS).map(Self::job)
    }

    fn refuse(self: Arc<Self>, why: Refusal) {
        if let Some(service) = self.take() {
            service.refuse(why);
        }
    }

    fn is_wanted(&self) -> bool {
        true
    }
}

fn serve(service: Service<File>) {
    // If there is no runtime, because the default one cannot be started, the job is dropped, and each
    // operation returns the error of `undone`.
    let _ = blocking::submit(Class::File, Served::job(service));
}

/// Returns the error of an operation that was dropped.
pub(super) fn undone<T>() -> io::Result<T> {
    Err(io::Error::other(
        "the operation was not made: it panicked, or there is no runtime with a thread for it",
    ))
}
