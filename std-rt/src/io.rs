//! Copying from one end to another, by the kernel where it can.
//!
//! | from | to | how |
//! |---|---|---|
//! | socket or pipe | socket or pipe | splice(2), through a pipe: the bytes never enter this process |
//! | file | socket or pipe | sendfile(2), on the blocking pool, since the disk may make it wait |
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
mod ends;
mod error;
mod file;
mod splice;
mod turn;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use crate::error::is_closed;
pub use ends::{CopyBoth, CopyFrom, CopyTo};
use ends::{Sink, Source};
use error::Fault;
pub use error::{CopyError, Side};

/// Copies from `reader` to `writer` until the end of the first, and returns how many bytes that were. A file is read from
/// its cursor on, and written at it.
///
/// Both deadlines hold: the read deadline of the one while it waits for bytes, the write deadline of the other while it
/// waits for room. The end of the stream is not passed on: see `shutdown`. The copy takes its turn among the reads of the
/// one and the writes of the other for each piece, so bytes of another task may come in between.
///
/// The kernel raises `SIGPIPE` when it copies to an end that is gone, which Rust programs ignore unless they have been
/// told not to; the copy says `BrokenPipe`.
///
/// Dropped: what has been read and not yet been written is lost, up to 256 KiB. From a file up to 2 MiB more may still be
/// sent, by the thread that is at it.
///
/// # Errors
///
/// Those of the reads and the writes, with a [`CopyError`] in it that says how many bytes `writer` has taken and which
/// side failed. `TimedOut`, for a deadline: the copy can be started again, but what had been read and not yet been
/// written is lost, as when it is dropped.
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
        both(half(a, b, &mut there), async { half(b, a, &mut back).await.map_err(Fault::of_the_way_back) });
    match both.await {
        Ok(()) => Ok((there, back)),
        Err(fault) => Err(CopyError::new(fault, there, Some(back)).into()),
    }
}

/// One direction, and its end.
async fn half<A, B>(from: &A, to: &B, copied: &mut u64) -> Result<(), Fault>
where
    A: CopyBoth + ?Sized,
    B: CopyBoth + ?Sized,
{
    one_way(from.source(), to.sink(), copied).await?;
    match to.end() {
        // It is gone, which is for the other direction to say.
        Err(error) if error.kind() == io::ErrorKind::NotConnected && !is_closed(&error) => Ok(()),
        result => result.map_err(Fault::second),
    }
}

async fn one_way(from: Source<'_>, to: Sink<'_>, copied: &mut u64) -> Result<(), Fault> {
    match (from, to) {
        (Source::Stream(from), Sink::Stream(to)) => splice::copy(from, to, copied).await,
        (Source::File(from), Sink::Stream(to)) => file::copy(from, to, copied).await,
        (from, to @ Sink::File(_)) => buffered::copy(from, to, copied).await,
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
