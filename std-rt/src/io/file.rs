//! The copy from a file to a socket or a pipe within the kernel.
//!
//! Reading a file waits for the disk, so a thread of the pool does it: it moves a piece into a pipe of ours with sendfile(2).
//! The task moves the piece on with splice(2), as an operation of the sink like any other: after those that came before it,
//! under the write lock, until the sink's deadline or its close. So nothing is ever written past the operations of other
//! tasks, and once the copy is dropped nothing is written any more.
//!
//! | where the piece is | the copy fails or is dropped | the file's cursor |
//! |---|---|---|
//! | on its way into the pipe, on the thread | the thread goes on to its end; the pipe is closed | is moved back behind what the sink took |
//! | in the pipe | the pipe is closed | the same |
//! | in the sink | nothing | stays |

use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use netpoll_core::Mode;

use super::buffered;
use super::endpoints::{CopySink, CopySource, Stream};
use super::error::CopyFault;
use super::splice::{drain, drain_pipe};
use super::yielding::Coop;
use crate::fs::File;
use crate::netpoll::pipes::Pipe;
use crate::sys::splice::{is_refused, send_file};

/// The bytes that were read from a file and that the sink has not taken. When it is dropped the file's cursor is moved
/// back by as many, in turn: after the thread that reads, and before any operation that is begun later.
pub(super) struct Unsent<'a> {
    file: &'a File,
    count: Arc<Mutex<usize>>,
}

impl<'a> Unsent<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        Unsent { file, count: Arc::default() }
    }

    /// Counts what a thread reads, and when it has read it: also if nobody awaits that any more.
    fn counter(&self) -> impl Fn(usize) + Send + 'static {
        let count = self.count.clone();
        move |n| *locked(&count) += n
    }

    /// Reads a piece at the cursor into a buffer.
    pub(super) async fn read(&self, mut buffer: Vec<u8>) -> io::Result<(usize, Vec<u8>)> {
        let read = self.counter();
        let trip = self.file.run_ordered("read", move |mut file| {
            let n = uninterrupted(|| file.read(&mut buffer))?;
            read(n);
            Ok((n, buffer))
        });
        trip.await
    }

    /// Subtracts the bytes that the sink has taken.
    pub(super) fn mark_sent(&self, n: usize) {
        *locked(&self.count) -= n;
    }
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        // With the last reference in hand no thread is reading, so a count of 0 stays.
        if Arc::strong_count(&self.count) == 1 && *locked(&self.count) == 0 {
            return;
        }
        let count = self.count.clone();
        self.file.run_ordered_detached(move |mut file| {
            if let Ok(unsent @ 1..) = i64::try_from(*locked(&count)) {
                // A file without places, such as a FIFO, cannot take bytes back; the copy's documentation says so.
                let _ = file.seek(SeekFrom::Current(-unsent));
            }
        });
    }
}

/// A number is whole between two calls.
fn locked(count: &Mutex<usize>) -> std::sync::MutexGuard<'_, usize> {
    count.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A signal ends a call of some file systems early.
fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// What one trip to the pool came to.
struct Trip {
    pipe: Pipe,
    then: io::Result<Then>,
}

enum Then {
    /// The pipe is full; the file has more.
    More,
    /// A read has found the end.
    End,
    /// The kernel does not do it for this file, or does not see what a read of it finds.
    Refused,
}

/// Copies until the end of the file.
pub(super) async fn copy(from: &File, to: Stream<'_>, copied: &mut u64) -> Result<(), CopyFault> {
    // Without descriptors left for a pipe, or where there is no sendfile(2), the copy goes through a buffer.
    if let Ok(mut pipe) = to.fd.netpoll().pipes().take() {
        let unsent = Unsent::new(from);
        let mut coop = Coop::new();
        loop {
            // The thread may be as fast as this task, which then never waits.
            coop.tick().await;
            // A deadline that has passed, or a close, ends the copy before anything is read for nothing.
            to.fd.try_shared(Mode::Write, |_| Ok(())).map_err(|error| to.write_error(error))?;
            let read = unsent.counter();
            let trip = from.run_ordered("copy from", move |file| Ok(fill(file, pipe, read)));
            let trip = trip.await.map_err(CopyFault::first)?;
            pipe = trip.pipe;
            let all_spliced = send(&mut pipe, to, copied, &unsent).await?;
            match trip.then.map_err(|error| CopyFault::first(from.error("copy from", error)))? {
                Then::More if all_spliced => {}
                Then::End => return Ok(()),
                Then::More | Then::Refused => break,
            }
        }
    }
    buffered::copy(CopySource::File(from), CopySink::Stream(to), copied).await
}

/// Moves all bytes of the pipe to the sink; false if the kernel did not do that, so that a part went through a buffer.
async fn send(
    pipe: &mut Pipe,
    to: Stream<'_>,
    copied: &mut u64,
    unsent: &Unsent<'_>,
) -> Result<bool, CopyFault> {
    let pipes = to.fd.netpoll().pipes();
    let mut spliced = |n| {
        pipes.sent.add(n);
        unsent.mark_sent(n);
    };
    if drain(pipe, to, copied, &mut spliced).await? {
        return Ok(true);
    }
    let buffered = |n| {
        pipes.buffered.add(n);
        unsent.mark_sent(n);
    };
    drain_pipe(pipe, to, copied, buffered).await?;
    Ok(false)
}

/// Moves bytes of the file into the pipe until it is full, on a thread that may wait for the disk.
fn fill(file: &std::fs::File, mut pipe: Pipe, read: impl Fn(usize)) -> Trip {
    let then = loop {
        match pipe.fill(|pipe, room| send_file(file.as_fd(), pipe, room)) {
            Ok(0) => break at_end(file).map(|end| if end { Then::End } else { Then::Refused }),
            Ok(n) => read(n),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && pipe.held() > 0 => {
                break Ok(Then::More);
            }
            // An empty pipe has room, so such an answer is of no use.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_refused(&error) => {
                break Ok(Then::Refused);
            }
            Err(error) => break Err(error),
        }
    };
    Trip { pipe, then }
}

/// Asks the file itself for its end.
fn at_end(mut file: &std::fs::File) -> io::Result<bool> {
    let found = uninterrupted(|| file.read(&mut [0]))?;
    if found > 0 {
        file.seek(SeekFrom::Current(-1))?;
    }
    Ok(found == 0)
}
