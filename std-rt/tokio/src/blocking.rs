//! Work that blocks, on the threads of netpoll-rt's pool, and the buffer that such work owns.

use std::cell::Cell;
use std::io::{self, IoSlice, Read, Write};
use std::ops::Range;

use netpoll_rt::{JoinError, JoinHandle};
use upstream::io::ReadBuf;

/// The largest number of bytes that one job reads or writes, unless a file has another limit.
pub(crate) const MAX_BUFFER: usize = 2 * 1024 * 1024;

thread_local! {
    /// The job that must run and that this thread submits at the moment.
    static SUBMISSION: Cell<Submission> = const { Cell::new(Submission::None) };
}

/// The submission of a job that must run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Submission {
    None,
    Begun,
    /// The runtime has dropped the job instead of taking it.
    Refused,
}

/// Starts a job on a thread of the current runtime's pool.
///
/// # Panics
///
/// Panics outside of a runtime.
#[track_caller]
pub(crate) fn spawn<T, F>(job: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    crate::runtime::current().spawn_blocking(job)
}

/// Starts a job that also runs if its runtime ends before a thread has taken it: the thread that ends the runtime runs it
/// then. Returns `None` if the runtime refuses the job because it has ended already; the job does not run then.
///
/// # Panics
///
/// Panics outside of a runtime.
#[track_caller]
pub(crate) fn spawn_mandatory<T, F>(job: F) -> Option<JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (runtime, mut job) = (crate::runtime::current(), Mandatory(Some(job)));
    SUBMISSION.set(Submission::Begun);
    // `run` is called in the closure and takes the job out.
    let handle = runtime.spawn_blocking(move || job.run().expect("a job runs once"));
    (SUBMISSION.replace(Submission::None) == Submission::Begun).then_some(handle)
}

/// A job that runs at the latest when it is dropped.
struct Mandatory<T, F: FnOnce() -> T>(Option<F>);

impl<T, F: FnOnce() -> T> Mandatory<T, F> {
    fn run(&mut self) -> Option<T> {
        self.0.take().map(|job| job())
    }
}

impl<T, F: FnOnce() -> T> Drop for Mandatory<T, F> {
    fn drop(&mut self) {
        // A job that is refused is dropped by the thread that submits it.
        if SUBMISSION.get() == Submission::None {
            self.run();
        } else {
            SUBMISSION.set(Submission::Refused);
        }
    }
}

/// Runs a job on a thread of the current runtime's pool.
///
/// Dropped: a job that a thread has taken goes on; one that waits for a thread runs as well.
pub(crate) async fn run<T, F>(job: F) -> io::Result<T>
where
    F: FnOnce() -> io::Result<T> + Send + 'static,
    T: Send + 'static,
{
    spawn(job).await.unwrap_or_else(|error| Err(failed(error)))
}

/// Converts the error of a job that panicked or that its runtime did not run.
pub(crate) fn failed(_: JoinError) -> io::Error {
    refused()
}

/// Returns the error of a job that its runtime refuses.
pub(crate) fn refused() -> io::Error {
    io::Error::other("background task failed")
}

/// The bytes between a job and the task that has started it.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// All of them are initialized, so that a job can read into them; the allocation is kept.
    bytes: Vec<u8>,
    /// The bytes that the task has not taken, or that the job has not written.
    held: Range<usize>,
}

impl Buffer {
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Drops the bytes that it holds, and returns their number.
    pub(crate) fn discard(&mut self) -> usize {
        std::mem::take(&mut self.held).len()
    }

    /// Moves bytes to the buffer of a task.
    pub(crate) fn move_to(&mut self, to: &mut ReadBuf<'_>) {
        let n = self.len().min(to.remaining());
        to.put_slice(&self.bytes[self.held.start..self.held.start + n]);
        self.held.start += n;
    }

    /// Copies at most `most` bytes in, in place of all that it held, and returns their number.
    pub(crate) fn copy_from(&mut self, from: &[IoSlice<'_>], most: usize) -> usize {
        self.bytes.clear();
        for slice in from {
            let n = slice.len().min(most - self.bytes.len());
            self.bytes.extend_from_slice(&slice[..n]);
        }
        self.held = 0..self.bytes.len();
        self.len()
    }

    /// Reads at most `most` bytes into an empty buffer.
    pub(crate) fn read_from(&mut self, source: &mut impl Read, most: usize) -> io::Result<usize> {
        if self.bytes.len() < most {
            // Zeroed by the system as far as possible, unlike bytes that are appended.
            self.bytes = vec![0; most];
        }
        loop {
            match source.read(&mut self.bytes[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    self.held = 0..*read.as_ref().unwrap_or(&0);
                    return read;
                }
            }
        }
    }

    /// Writes all bytes, and is empty afterwards in any case.
    pub(crate) fn write_to(&mut self, sink: &mut impl Write) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        sink.write_all(&self.bytes[held])
    }
}
