//! Copying from one end to another, by the kernel where it can.
//!
//! | from | to | how |
//! |---|---|---|
//! | socket or pipe | socket or pipe | splice(2), through a pipe: the bytes never enter this process |
//! | file | socket or pipe | sendfile(2) into a pipe, on the blocking pool, since the disk may make it wait; then splice(2) |
//! | anything | file | through a buffer |
//! | what the kernel refuses, and on systems other than Linux | | through a buffer |
//!
//! For other readers and writers, such as a stream of TLS, there is `copy` of `futures-lite` or `futures`, which works
//! through the traits of futures-io.
//!
//! ```
//! # use netpoll_rt::net::{TcpListener, TcpStream};
//! use netpoll_rt::io::copy_bidirectional;
//!
//! /// Connects a client to a server and carries what they say, until both have ended.
//! async fn forward(client: TcpStream, server: &str) -> std::io::Result<(u64, u64)> {
//!     let server = TcpStream::connect(server).await?;
//!     copy_bidirectional(&client, &server).await
//! }
//! ```

mod buffered;
mod endpoints;
mod error;
mod file;
mod splice;
mod yielding;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

pub use endpoints::{CopyBoth, CopyFrom, CopyTo};
use endpoints::{CopySink, CopySource};
use error::CopyFault;
pub use error::{CopyError, Side};

/// Copies from `reader` to `writer` until the end of `reader`, and returns how many bytes that were. A file is read from its
/// cursor on, and written at it.
///
/// The end is a read that finds it, so an urgent byte of TCP does not end the copy; the byte itself is not copied. Both
/// deadlines hold: the read deadline of `reader` while the copy waits for bytes, the write deadline of `writer` while it
/// waits for room. The end of the stream is not passed on: see `shutdown`.
///
/// The copy queues among the reads of `reader` and the writes of `writer` for each piece. Bytes of another task may come
/// between two pieces, but no piece comes into the middle of another task's `write_all`.
///
/// If the kernel refuses splice(2) or sendfile(2), be it for these two descriptors or by a filter of system calls (seccomp),
/// or if no descriptors are left for a pipe, the copy goes through a buffer.
///
/// A copy to a socket raises no `SIGPIPE`, whatever the program's action for it; the copy returns `BrokenPipe`. A copy to a
/// [`PipeWriter`](crate::net::pipe::PipeWriter) raises it as every write to a pipe does.
///
/// # Cancel safety
///
/// Dropped, or failed: nothing is written to `writer` any more, unless that is a file of which a thread writes a piece, and
/// what has been read and not been written is lost. Of a stream that is up to 256 KiB. Of a file it is nothing unless
/// `writer` is a file as well: its cursor is moved back behind what `writer` has taken, before the next operation on the
/// file. A file without places, such as a FIFO that was opened by [`File`](crate::fs::File), cannot take bytes back.
///
/// # Errors
///
/// Returns the error of the read or the write that failed, with its kind. A [`CopyError`] in it says how many bytes
/// `writer` has taken and which side failed. `TimedOut`, for a deadline: the copy can be started again, without what was
/// lost.
pub async fn copy<R, W>(reader: &R, writer: &W) -> io::Result<u64>
where
    R: CopyFrom + ?Sized,
    W: CopyTo + ?Sized,
{
    let mut copied = 0;
    match one_way(reader.source(), writer.sink(), &mut copied).await {
        Ok(()) => Ok(copied),
        Err(fault) => Err(CopyError::new(fault, copied, None).into()),
    }
}

/// Copies both ways at once until both have ended, and returns how many bytes went from `a` to `b` and from `b` to `a`.
/// When one of them ends its stream, the other's writing half is shut down, so that its peer reads the end too, while the
/// other direction goes on.
///
/// Dropped: as [`copy`], in both directions.
///
/// # Errors
///
/// As [`copy`]; the first error ends both directions. The [`CopyError`] in it has both counts.
pub async fn copy_bidirectional<A, B>(a: &A, b: &B) -> io::Result<(u64, u64)>
where
    A: CopyBoth + ?Sized,
    B: CopyBoth + ?Sized,
{
    let (mut there, mut back) = (0, 0);
    let both =
        both(half(a, b, &mut there), async { half(b, a, &mut back).await.map_err(CopyFault::swap_sides) });
    match both.await {
        Ok(()) => Ok((there, back)),
        Err(fault) => Err(CopyError::new(fault, there, Some(back)).into()),
    }
}

/// One direction, and its end.
async fn half<A, B>(from: &A, to: &B, copied: &mut u64) -> Result<(), CopyFault>
where
    A: CopyBoth + ?Sized,
    B: CopyBoth + ?Sized,
{
    one_way(from.source(), to.sink(), copied).await?;
    to.end().map_err(CopyFault::second)
}

async fn one_way(from: CopySource<'_>, to: CopySink<'_>, copied: &mut u64) -> Result<(), CopyFault> {
    match (from, to) {
        (CopySource::Stream(from), CopySink::Stream(to)) => splice::copy(from, to, copied).await,
        (CopySource::File(from), CopySink::Stream(to)) => file::copy(from, to, copied).await,
        (from, to @ CopySink::File(_)) => buffered::copy(from, to, copied).await,
    }
}

/// Runs two futures until both have succeeded or one has failed.
async fn both<E>(
    one: impl Future<Output = Result<(), E>>,
    other: impl Future<Output = Result<(), E>>,
) -> Result<(), E> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let mut done = [false; 2];
    poll_fn(|cx| {
        if !done[0]
            && let Poll::Ready(result) = one.as_mut().poll(cx)
        {
            result?;
            done[0] = true;
        }
        if !done[1]
            && let Poll::Ready(result) = other.as_mut().poll(cx)
        {
            result?;
            done[1] = true;
        }
        if done == [true; 2] { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}
