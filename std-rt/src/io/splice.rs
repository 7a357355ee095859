//! The copy between sockets and pipes within the kernel: into an intermediate pipe, and out of it.
//!
//! That pays for large pieces, and costs more than a read and a write for small ones. So a copy alternates
//! between two modes:
//!
//! | mode | a piece | changes to the other mode |
//! |---|---|---|
//! | small | is read into a buffer of the thread, and written at once as far as the sink takes it | when it filled the buffer |
//! | large | is spliced | when it was small, or there was none |
//!
//! The copy waits for its source only in the first mode. There it owns neither a buffer nor a pipe, and the
//! short-read hint saves the call that would find nothing. So it never relies on `EAGAIN` of splice(2), which
//! a TCP socket returns at the mark of an urgent byte whatever is behind it, nor on 0, which it returns at
//! the mark once the peer's end of the stream is queued. The end is a read that returns 0.
//!
//! Bytes are moved in only while the pipe is empty, and moved out until it is empty again. So an `EAGAIN` of
//! the move out comes from the sink.

use std::cell::Cell;
use std::io;
use std::os::fd::BorrowedFd;

use netpoll_core::Mode;

use super::endpoints::{CopyEnd, Stream, nonzero};
use super::error::CopyFault;
use super::options::Copied;
use super::{Coop, buffered};
use crate::coop;
use crate::netpoll::pipes::Pipe;
use crate::sys;
use crate::sys::splice::{is_refused, splice_in};

/// The number of bytes from which a piece is spliced.
const SPLICE_THRESHOLD: usize = 16 * 1024;

thread_local! {
    /// Used within one poll, never across two; empty while it is taken out.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `work` with this thread's buffer of [`SPLICE_THRESHOLD`] bytes. The variable is empty meanwhile:
/// `work` may wake a task whose waker, which is foreign code, polls another copy on this thread. That copy
/// gets a buffer of its own, and so does a copy in the destructor of another variable of the thread.
fn with_buffer<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    buffer.resize(SPLICE_THRESHOLD, 0);
    let result = work(&mut buffer);
    // If the variable has been destroyed, the buffer is freed.
    let _ = BUFFER.try_with(|place| place.set(buffer));
    result
}

/// The reason why splicing ended.
enum SpliceEnd {
    /// The input was small, absent, or at its end: only a read tells which.
    Small,
    /// The kernel refuses these two, or no descriptor is free for a pipe.
    Refused,
}

/// Copies until the end, or the limit.
pub(super) async fn copy(from: Stream<'_>, to: Stream<'_>, copied: &mut Copied<'_>) -> Result<(), CopyFault> {
    let mut coop = Coop::new();
    loop {
        coop.tick().await;
        if copied.left(SPLICE_THRESHOLD) == 0 {
            return Ok(());
        }
        match copy_small(from, to, copied).await? {
            0 => return Ok(()),
            SPLICE_THRESHOLD => {}
            _ => continue,
        }
        match splice_large(from, to, copied, &mut coop).await? {
            SpliceEnd::Small => {}
            SpliceEnd::Refused => {
                return buffered::copy(CopyEnd::Stream(from), CopyEnd::Stream(to), copied).await;
            }
        }
    }
}

/// Waits for input and copies up to [`SPLICE_THRESHOLD`] bytes. Returns how many, 0 at the end.
async fn copy_small(from: Stream<'_>, to: Stream<'_>, copied: &mut Copied<'_>) -> Result<usize, CopyFault> {
    let mut passed = (0, Ok(Vec::new()));
    let most = copied.left(SPLICE_THRESHOLD);
    let read = from.fd.read(false, |fd| {
        with_buffer(|buffer| {
            let read = from.kind.read(fd, &mut buffer[..most])?;
            passed = pass_on(to, &buffer[..read.n]);
            Ok(read)
        })
    });
    let n = read.await.map_err(|error| from.read_error(error))?;
    let (at_once, rest) = passed;
    let pipes = from.fd.netpoll().pipes();
    copied.add(at_once);
    pipes.buffered.add(at_once);
    let rest = rest.map_err(|error| to.write_error(error))?;
    to.write_all(&rest, copied, |n| pipes.buffered.add(n)).await?;
    Ok(n)
}

/// Writes the bytes that the sink takes now. Returns how many these are, and the rest.
fn pass_on(to: Stream<'_>, bytes: &[u8]) -> (usize, io::Result<Vec<u8>>) {
    if bytes.is_empty() {
        return (0, Ok(Vec::new()));
    }
    match to.fd.run(Mode::Write, |fd| to.kind.write(fd, bytes)).try_once() {
        Ok(n) => (n, Ok(bytes[n..].to_vec())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => (0, Ok(bytes.to_vec())),
        Err(error) => (0, Err(error)),
    }
}

/// Splices as long as pieces are large.
async fn splice_large(
    from: Stream<'_>,
    to: Stream<'_>,
    copied: &mut Copied<'_>,
    coop: &mut Coop,
) -> Result<SpliceEnd, CopyFault> {
    let pipes = from.fd.netpoll().pipes();
    // If no descriptor is free for a pipe, the copy continues without one.
    let Ok(mut pipe) = pipes.take() else { return Ok(SpliceEnd::Refused) };
    loop {
        let most = copied.left(usize::MAX);
        if most == 0 {
            return Ok(SpliceEnd::Small);
        }
        let moved = from.fd.run(Mode::Read, |fd| fill(&mut pipe, fd, most)).try_once();
        let moved = match moved {
            // 0 is no end: splice(2) also returns it at the mark of an urgent byte.
            Ok(None | Some(0)) => return Ok(SpliceEnd::Small),
            Ok(Some(moved)) => moved,
            // Another task reads, or waits in a read: this copy waits behind it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(SpliceEnd::Small),
            Err(error) if is_refused(&error) => return Ok(SpliceEnd::Refused),
            Err(error) => return Err(from.read_error(error)),
        };
        coop::count_bytes(moved);
        if !drain(&mut pipe, to, copied, |n| pipes.spliced.add(n)).await? {
            drain_pipe(&mut pipe, to, copied, |n| pipes.buffered.add(n)).await?;
            return Ok(SpliceEnd::Refused);
        }
        if moved < SPLICE_THRESHOLD {
            return Ok(SpliceEnd::Small);
        }
        coop.tick().await;
    }
}

/// Moves at most `most` bytes into the pipe. Returns `None` if splice(2) finds no input, which must not set the short-read
/// hint.
fn fill(pipe: &mut Pipe, fd: BorrowedFd<'_>, most: usize) -> io::Result<Option<usize>> {
    match pipe.fill(|pipe, room| splice_in(fd, pipe, room.min(most))) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}

/// Moves all bytes of the pipe to the sink, and counts them in `copied` and by `on_moved`, piece by piece.
/// Returns false if the kernel refuses this sink, with the rest still in the pipe.
pub(super) async fn drain(
    pipe: &mut Pipe,
    to: Stream<'_>,
    copied: &mut Copied<'_>,
    mut on_moved: impl FnMut(usize),
) -> Result<bool, CopyFault> {
    while pipe.held() > 0 {
        let moved =
            to.fd.run(Mode::Write, |fd| pipe.empty(|pipe, length| to.kind.splice(pipe, fd, length))).await;
        match nonzero(moved) {
            Ok(n) => {
                // First: the hook of `copied` may panic.
                on_moved(n);
                copied.add(n);
            }
            Err(error) if is_refused(&error) => return Ok(false),
            Err(error) => return Err(to.write_error(error)),
        }
    }
    Ok(true)
}

/// Writes the bytes that are left in the pipe through a buffer, counted as by [`drain`].
pub(super) async fn drain_pipe(
    pipe: &mut Pipe,
    to: Stream<'_>,
    copied: &mut Copied<'_>,
    mut on_written: impl FnMut(usize),
) -> Result<(), CopyFault> {
    let mut buffer = vec![0; pipe.held()];
    while pipe.held() > 0 {
        let read = pipe.empty(|pipe, length| Ok(sys::socket::read(pipe, &mut buffer[..length])?.n));
        let n = nonzero(read).map_err(CopyFault::first)?;
        to.write_all(&buffer[..n], copied, &mut on_written).await?;
    }
    Ok(())
}
