//! The state that a file keeps between two polls, for the traits of other crates, which keep no future.
//!
//! One operation at a time is in the queue of the file, and owns the buffer meanwhile.
//!
//! | state | a poll for bytes | a write | a seek |
//! |---|---|---|---|
//! | nothing is kept | starts a read, waits | copies the bytes, starts a write, is ready at once | starts, waits |
//! | bytes were read ahead of the caller | takes from them | first moves the cursor back behind the bytes that were taken | the same |
//! | a read is in the queue | waits for it | waits, then as above | the same |
//! | a write is in the queue | waits, then starts a read | waits; an error of it is that of this write | waits, then starts |
//! | a write has failed | as without it | returns the error | as without it |
//! | a seek is in the queue | waits, then starts a read | waits, then starts | the same seek: waits for it; another: waits, then starts |
//!
//! A write that was accepted is made in any case, also if the file is dropped. Its error is returned by the next write or
//! flush.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::queue::{Queue, undone};
use super::{File, MAX_PIECE};
use crate::coop;
use crate::error::uninterrupted;
use crate::protocol::file_queue::Receiver;

/// The operation in the queue.
enum Busy {
    Read(Receiver<io::Result<Vec<u8>>>),
    Write(Receiver<io::Result<Vec<u8>>>),
    Seek(SeekFrom, Receiver<io::Result<u64>>),
}

/// The result of an operation that was in the queue.
enum Done {
    Read(io::Result<()>),
    Wrote,
    Sought(SeekFrom, io::Result<u64>),
}

/// The state that polls keep.
#[derive(Default)]
pub(super) struct Polled {
    busy: Option<Busy>,
    /// Bytes that were read, and the memory of the next operation.
    buffer: Vec<u8>,
    /// The number of bytes at the front of `buffer` that the caller has taken.
    taken: usize,
    /// The error of a write that was accepted.
    error: Option<io::Error>,
    /// The seek that the next [`File::poll_sought`] makes.
    seek: Option<SeekFrom>,
    /// The position after the last seek.
    position: u64,
}

impl std::fmt::Debug for Polled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Polled").field("busy", &self.busy.is_some()).field("unread", &self.unread()).finish()
    }
}

impl Polled {
    fn unread(&self) -> usize {
        self.buffer.len() - self.taken
    }

    /// Waits for the operation in the queue; `None` if there is none.
    fn poll_busy(&mut self, cx: &mut Context<'_>) -> Poll<Option<Done>> {
        let done = match &mut self.busy {
            None => return Poll::Ready(None),
            Some(Busy::Read(read)) => {
                let read = ready!(Pin::new(read).poll(cx)).unwrap_or_else(undone);
                Done::Read(read.map(|buffer| (self.buffer, self.taken) = (buffer, 0)))
            }
            Some(Busy::Write(write)) => {
                match ready!(Pin::new(write).poll(cx)).unwrap_or_else(undone) {
                    Ok(buffer) => (self.buffer, self.taken) = (buffer, 0),
                    Err(error) => self.error = Some(error),
                }
                Done::Wrote
            }
            Some(Busy::Seek(to, seek)) => {
                let sought = ready!(Pin::new(seek).poll(cx)).unwrap_or_else(undone);
                Done::Sought(*to, sought.inspect(|position| self.position = *position))
            }
        };
        self.busy = None;
        Poll::Ready(Some(done))
    }

    /// Returns the memory of the next operation, and how far the cursor is ahead of the caller.
    fn take_buffer(&mut self) -> (Vec<u8>, i64) {
        let ahead = self.unread() as i64;
        let mut buffer = std::mem::take(&mut self.buffer);
        self.taken = 0;
        buffer.clear();
        (buffer, ahead)
    }

    fn start_read(&mut self, queue: &Queue, length: usize) {
        let (mut buffer, _) = self.take_buffer();
        let read = queue.start(false, move |file| {
            buffer.resize(length, 0);
            let n = uninterrupted(|| (&mut &*file).read(&mut buffer))?;
            buffer.truncate(n);
            Ok(buffer)
        });
        self.busy = Some(Busy::Read(read));
    }

    fn start_write(&mut self, queue: &Queue, bytes: &[u8]) {
        let (mut buffer, ahead) = self.take_buffer();
        buffer.extend_from_slice(bytes);
        let write = queue.start(true, move |mut file| {
            move_back(file, ahead)?;
            file.write_all(&buffer)?;
            buffer.clear();
            Ok(buffer)
        });
        self.busy = Some(Busy::Write(write));
    }

    fn start_seek(&mut self, queue: &Queue, to: SeekFrom) {
        let (buffer, ahead) = self.take_buffer();
        self.buffer = buffer;
        let seek = queue.start(false, move |mut file| {
            move_back(file, ahead)?;
            file.seek(to)
        });
        self.busy = Some(Busy::Seek(to, seek));
    }
}

/// Moves the cursor back behind the bytes that the caller has taken.
fn move_back(mut file: &std::fs::File, ahead: i64) -> io::Result<()> {
    if ahead > 0 {
        file.seek(SeekFrom::Current(-ahead))?;
    }
    Ok(())
}

impl File {
    /// Returns bytes at the cursor, at least one unless the file ends or `length` is 0; [`File::take_read`] takes them.
    pub(crate) fn poll_bytes(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<io::Result<&[u8]>> {
        if length == 0 || self.polled.unread() > 0 {
            ready!(coop::poll_proceed(cx));
            let unread = if length == 0 { &[] } else { &self.polled.buffer[self.polled.taken..] };
            return Poll::Ready(Ok(unread));
        }
        loop {
            match ready!(self.polled.poll_busy(cx)) {
                Some(Done::Read(Ok(()))) => return Poll::Ready(Ok(&self.polled.buffer)),
                Some(Done::Read(Err(error))) => return Poll::Ready(Err(self.error("read", error))),
                Some(Done::Wrote | Done::Sought(..)) => {}
                None => self.polled.start_read(&self.queue, length.min(MAX_PIECE)),
            }
        }
    }

    /// Takes bytes that [`File::poll_bytes`] has returned.
    pub(crate) fn take_read(&mut self, n: usize) {
        self.polled.taken += n;
    }

    /// Accepts bytes to be written at the cursor, at most [`MAX_PIECE`], and returns how many.
    pub(crate) fn poll_accept_bytes(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(coop::poll_proceed(cx));
        if self.poll_idle(cx).is_pending() {
            coop::refund();
            return Poll::Pending;
        }
        if let Some(error) = self.polled.error.take() {
            return Poll::Ready(Err(self.error("write", error)));
        }
        let n = bytes.len().min(MAX_PIECE);
        if n > 0 {
            self.polled.start_write(&self.queue, &bytes[..n]);
        }
        Poll::Ready(Ok(n))
    }

    /// Waits until the bytes that were accepted are written, and returns the error of that.
    pub(crate) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(coop::poll_proceed(cx));
        if self.poll_idle(cx).is_pending() {
            coop::refund();
            return Poll::Pending;
        }
        Poll::Ready(match self.polled.error.take() {
            Some(error) => Err(self.error("write", error)),
            None => Ok(()),
        })
    }

    /// Waits until no operation is in the queue. The bytes that a read has found are kept.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while ready!(self.polled.poll_busy(cx)).is_some() {}
        Poll::Ready(())
    }

    /// Sets the seek that the next [`File::poll_sought`] makes.
    pub(crate) fn set_seek(&mut self, to: SeekFrom) {
        self.polled.seek = Some(to);
    }

    /// Makes the seek that was set, and returns the position; without one, returns that after the last one.
    pub(crate) fn poll_sought(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        loop {
            match ready!(self.polled.poll_busy(cx)) {
                Some(Done::Sought(done, sought)) if self.polled.seek == Some(done) => {
                    self.polled.seek = None;
                    return Poll::Ready(sought.map_err(|error| self.error("seek", error)));
                }
                Some(_) => {}
                None => match self.polled.seek {
                    Some(to) => self.polled.start_seek(&self.queue, to),
                    None => return coop::poll_proceed(cx).map(|()| Ok(self.polled.position)),
                },
            }
        }
    }
}
