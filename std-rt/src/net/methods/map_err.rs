//! An operation whose error says which it was, and on what.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Made by [`map_err`].
pub(crate) struct MapErr<O, E> {
    operation: O,
    tell: E,
}

/// Passes an error of `operation` on as `tell` makes it.
#[inline]
pub(crate) fn map_err<T, O, E>(operation: O, tell: E) -> MapErr<O, E>
where
    O: Future<Output = io::Result<T>> + Unpin,
    E: FnMut(io::Error) -> io::Error + Unpin,
{
    MapErr { operation, tell }
}

impl<T, O, E> Future for MapErr<O, E>
where
    O: Future<Output = io::Result<T>> + Unpin,
    E: FnMut(io::Error) -> io::Error + Unpin,
{
    type Output = io::Result<T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match Pin::new(&mut self.operation).poll(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err((self.tell)(error))),
            polled => polled,
        }
    }
}

/// What to make of a refusal stands apart, since a deadline may be set before each read.
#[inline]
pub(crate) fn cold_err(done: io::Result<()>, say: impl FnOnce(io::Error) -> io::Error) -> io::Result<()> {
    #[cold]
    #[inline(never)]
    fn refused(error: io::Error, say: impl FnOnce(io::Error) -> io::Error) -> io::Error {
        say(error)
    }
    done.map_err(|error| refused(error, say))
}
