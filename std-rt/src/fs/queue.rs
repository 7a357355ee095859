//! The queue of a file, on the blocking pool; see [`file_queue`].

use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::protocol::file_queue;

/// A file and what is to be done with it.
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

    /// Makes an operation after those that were put before it.
    pub(super) async fn put<T: Send + 'static>(
        &self,
        call: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.0.put(call, serve).await.unwrap_or_else(undone)
    }

    /// Puts an operation at the end of the queue that happens in any case and that nobody waits for.
    pub(super) fn put_detached(&self, call: impl FnOnce(&File) + Send + 'static) {
        self.0.put_detached(call, serve);
    }

    /// Makes an operation that needs no order beside the queue.
    pub(super) async fn beside<T: Send + 'static>(
        &self,
        call: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.0.beside(call, |job| blocking::unblock(job).detach()).await.unwrap_or_else(undone)
    }

    /// The file itself, once what is under way has ended.
    ///
    /// # Panics
    ///
    /// If the pool has dropped an operation together with the file.
    pub(super) async fn release(self) -> File {
        let released = self.0.release().await;
        released.expect("the last operation that used the file hands it over, whatever became of it")
    }
}

fn serve(service: file_queue::Service<File>) {
    blocking::unblock(|| service.run()).detach();
}

fn undone<T>() -> io::Result<T> {
    Err(io::Error::other("the operation was not made: it panicked, or the pool of threads has dropped it"))
}
