//! The copy from a file to a socket or a pipe within the kernel.
//!
//! A read of a file waits for the disk, so a thread of the pool makes it: it moves a piece into a pipe with
//! sendfile(2). The task moves the piece on with splice(2), as an operation of the sink like any other: after
//! those that came before it, under the write lock, until the sink's deadline or its close. So no byte is
//! written out of turn, and none after the copy is dropped.
//!
//! | position of the piece | if the copy fails or is dropped | the file's cursor |
//! |---|---|---|
//! | on its way into the pipe, on the thread | the thread ends its work; the pipe is closed | is moved back behind the bytes that the sink took |
//! | in the pipe | the pipe is closed | the same |
//! | in the sink | nothing happens | stays |

use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use netpoll_core::Mode;

use super::endpoints::{CopyEnd, Stream};
use super::error::CopyFault;
use super::options::Copied;
use super::splice::{drain, drain_pipe};
use super::{Coop, buffered};
use crate::error::uninterrupted;
use crate::fs::File;
use crate::netpoll::pipes::Pipe;
use crate::sys::splice::{is_refused, send_file};

/// The bytes that were read from a file and that the sink has not taken. Its drop moves the file's cursor
/// back by that many, in the order of the file's queue: after the thread that reads, and before any operation
/// that begins later.
pub(super) struct Unsent<'a> {
    file: &'a File,
    count: Arc<Mutex<usize>>,
}

impl<'a> Unsent<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        Unsent { file, count: Arc::default() }
    }

    /// Returns a function by which a thread counts the bytes that it has read, also if the copy was dropped
    /// meanwhile.
    fn counter(&self) -> impl Fn(usize) + Send + 'static {
        let count = self.count.clone();
        move |n| *locked(&count) += n
    }

    /// Reads a piece of at most `most` bytes at the cursor into a buffer.
    pub(super) async fn read(&self, mut buffer: Vec<u8>, most: usize) -> io::Result<(usize, Vec<u8>)> {
        let read = self.counter();
        let trip = self.file.run_ordered("read", move |mut file| {
            let n = uninterrupted(|| file.read(&mut buffer[..most]))?;
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
        // If this is the last reference, no thread is reading, so a count of 0 stays.
        if Arc::strong_count(&self.count) == 1 && *locked(&self.count) == 0 {
            return;
        }
        let count = self.count.clone();
        self.file.run_ordered_detached(move |mut file| {
            if let Ok(unsent @ 1..) = i64::try_from(*locked(&count)) {
                // A file without positions, such as a FIFO, cannot take bytes back; the copy's documentation
                // says so.
                let _ = file.seek(SeekFrom::Current(-unsent));
            }
        });
    }
}

/// Locks the count. A panic cannot leave a number half changed.
fn locked(count: &Mutex<usize>) -> std::sync::MutexGuard<'_, usize> {
    count.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The result of one trip to the pool.
struct Trip {
    pipe: Pipe,
    then: io::Result<Then>,
}

enum Then {
    /// The pipe is full; the file has more.
    More,
    /// A read found the end.
    End,
    /// The kernel refuses this file, or does not see the bytes that a read of it finds.
    Refused,
}

/// Copies until the end of the file, or the limit.
pub(super) async fn copy(from: &File, to: Stream<'_>, copied: &mut Copied<'_>) -> Result<(), CopyFault> {
    // Without descriptors left for a pipe, or where there is no sendfile(2), the copy goes through a buffer.
    if let Ok(mut pipe) = to.fd.netpoll().pipes().take() {
        let unsent = Unsent::new(from);
        let mut coop = Coop::new();
        loop {
            // The thread may be as fast as this task, which then never waits.
            coop.tick().await;
            // A deadline that has passed, or a close, ends the copy before a read in vain.
            to.fd.try_shared(Mode::Write, |_| Ok(())).map_err(|error| to.write_error(error))?;
            let most = copied.left(usize::MAX);
            if most == 0 {
                return Ok(());
            }
            let read = unsent.counter();
            let trip = from.run_ordered("copy from", move |file| Ok(fill(file, pipe, most, read)));
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
    buffered::copy(CopyEnd::File(from), CopyEnd::Stream(to), copied).await
}

/// Moves all bytes of the pipe to the sink. Returns false if the kernel refused, so that a part went through
/// a buffer.
async fn send(
    pipe: &mut Pipe,
    to: Stream<'_>,
    copied: &mut Copied<'_>,
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

/// Moves bytes of the file into the pipe until it is full or has `most` bytes, on a thread that may wait for the disk.
fn fill(file: &std::fs::File, mut pipe: Pipe, most: usize, read: impl Fn(usize)) -> Trip {
    let then = loop {
        let left = most - pipe.held();
        if left == 0 {
            break Ok(Then::More);
        }
        match pipe.fill(|pipe, room| send_file(file.as_fd(), pipe, room.min(left))) {
            Ok(0) => break at_end(file).map(|end| if end { Then::End } else { Then::Refused }),
            Ok(n) => read(n),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && pipe.held() > 0 => {
                break Ok(Then::More);
            }
            // An empty pipe has space, so `WouldBlock` does not tell when to try again.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_refused(&error) => {
                break Ok(Then::Refused);
            }
            Err(error) => break Err(error),
        }
    };
    Trip { pipe, then }
}

/// Returns whether the file's cursor is at its end, by a read.
fn at_end(mut file: &std::fs::File) -> io::Result<bool> {
    let found = uninterrupted(|| file.read(&mut [0]))?;
    if found > 0 {
        file.seek(SeekFrom::Current(-1))?;
    }
    Ok(found == 0)
}
