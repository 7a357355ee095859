//! Copies from one descriptor to another, within the kernel where possible.
//!
//! | from | to | how |
//! |---|---|---|
//! | socket or pipe | socket or pipe | splice(2), through a pipe: the bytes never enter this process |
//! | file | socket or pipe | sendfile(2) into a pipe, on the blocking pool, because the disk may make it wait; then splice(2) |
//! | anything | file | through a buffer |
//! | two that the kernel refuses; any on systems other than Linux | | through a buffer |
//!
//! For other readers and writers, such as a TLS stream, there is `copy` of `futures-lite` or `futures`, which
//! uses the traits of futures-io.
//!
//! ```
//! # use netpoll_rt::net::{TcpListener, TcpStream};
//! use netpoll_rt::io::copy_bidirectional;
//!
//! /// Connects a client to a server and copies both ways until both have ended.
//! async fn forward(client: TcpStream, server: &str) -> std::io::Result<(u64, u64)> {
//!     let server = TcpStream::connect(server).await?;
//!     copy_bidirectional(&client, &server).await
//! }
//! ```

mod buffered;
mod endpoints;
mod error;
mod file;
mod options;
mod splice;

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;

use crate::coop;
use endpoints::CopyEnd;
pub use endpoints::{CopyBoth, CopyFrom, CopyTo};
use error::CopyFault;
pub use error::{CopyError, Side};
use options::Copied;
pub use options::CopyOptions;

/// Copies from `reader` to `writer` until the end of `reader`, and returns the number of bytes. A file is
/// read from its cursor on, and written at its cursor.
///
/// The end is a read that finds it, so an urgent byte of TCP does not end the copy; the byte itself is not
/// copied. Both deadlines apply: the read deadline of `reader` while the copy waits for input, the write
/// deadline of `writer` while it waits for space. The end of the stream is not passed on; see `shutdown`.
///
/// The copy queues among the reads of `reader` and the writes of `writer` for each piece. Bytes of another
/// task may come between two pieces, but no piece comes into the middle of another task's `write_all`.
///
/// If the kernel refuses splice(2) or sendfile(2), for these two descriptors or by a filter of system calls
/// (seccomp), or if no descriptor is free for a pipe, the copy goes through a buffer.
///
/// A copy to a socket raises no `SIGPIPE`, whatever the program's action for it; the copy returns
/// `BrokenPipe`. A copy to a [`PipeWriter`](crate::net::pipe::PipeWriter) raises it as every write to a pipe
/// does.
///
/// # Cancel safety
///
/// Dropped, or failed: no byte is written to `writer` any more, unless `writer` is a file and a thread is
/// writing a piece. Bytes that were read and not written are lost. Of a stream these are up to 256 KiB. Of a
/// file no byte is lost unless `writer` is a file as well: before the next operation on the file, its cursor
/// is moved back behind the bytes that `writer` has taken. A file without positions, such as a FIFO opened by
/// [`File`](crate::fs::File), cannot take bytes back.
///
/// # Errors
///
/// Returns the error of the read or the write that failed, with its kind. A [`CopyError`] in it tells how
/// many bytes `writer` has taken and which side failed. After `TimedOut`, for a deadline, the copy can be
/// started again, without the bytes that were lost.
pub async fn copy<R, W>(reader: &R, writer: &W) -> io::Result<u64>
where
    R: CopyFrom + ?Sized,
    W: CopyTo + ?Sized,
{
    let mut copied = Copied::unlimited();
    match one_way(reader.end(), writer.end(), &mut copied).await {
        Ok(()) => Ok(copied.count()),
        Err(fault) => Err(CopyError::new(fault, copied.count(), None).into()),
    }
}

/// Copies both ways at once until both have ended, and returns how many bytes went from `a` to `b` and from
/// `b` to `a`. When one of them ends its stream, the writing half of the other is shut down, so that its peer
/// reads the end too, while the other direction continues.
///
/// # Cancel safety
///
/// Dropped: the same as for [`copy`], in both directions.
///
/// # Errors
///
/// Returns the errors of [`copy`]; the first error ends both directions. The [`CopyError`] in it has both
/// counts.
pub async fn copy_bidirectional<A, B>(a: &A, b: &B) -> io::Result<(u64, u64)>
where
    A: CopyBoth + ?Sized,
    B: CopyBoth + ?Sized,
{
    let (mut there, mut back) = (Copied::unlimited(), Copied::unlimited());
    let both =
        both(half(a, b, &mut there), async { half(b, a, &mut back).await.map_err(CopyFault::swap_sides) });
    match both.await {
        Ok(()) => Ok((there.count(), back.count())),
        Err(fault) => Err(CopyError::new(fault, there.count(), Some(back.count())).into()),
    }
}

/// Copies in one direction, and passes on the end.
async fn half<A, B>(from: &A, to: &B, copied: &mut Copied<'_>) -> Result<(), CopyFault>
where
    A: CopyBoth + ?Sized,
    B: CopyBoth + ?Sized,
{
    one_way(from.end(), to.end(), copied).await?;
    to.end_writing().map_err(CopyFault::second)
}

async fn one_way(from: CopyEnd<'_>, to: CopyEnd<'_>, copied: &mut Copied<'_>) -> Result<(), CopyFault> {
    match (from, to) {
        (CopyEnd::Stream(from), CopyEnd::Stream(to)) => splice::copy(from, to, copied).await,
        (CopyEnd::File(from), CopyEnd::Stream(to)) => file::copy(from, to, copied).await,
        (from, to @ CopyEnd::File(_)) => buffered::copy(from, to, copied).await,
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

/// The cooperative budget of a copy (tokio's coop). A copy whose source and sink are always ready never
/// waits, so it counts against the budget of its task's turn, by its bytes. Without a budget it yields from
/// time to time to other tasks, and to the other direction of the same task.
#[derive(Debug)]
struct Coop {
    left: usize,
}

impl Coop {
    /// The number of pieces after which a copy yields: 4 MiB, where no budget ends its turn sooner.
    const PIECES: usize = 16;

    fn new() -> Self {
        Coop { left: Self::PIECES }
    }

    /// Counts a piece. At the end of the budget it yields, so that all other tasks come first.
    async fn tick(&mut self) {
        if self.left > 0 {
            self.left -= 1;
            return coop::proceed().await;
        }
        self.left = Self::PIECES;
        let mut waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
