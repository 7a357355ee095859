//! The future that adds the operation and the descriptor to an error.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The future of [`map_err`].
pub(crate) struct MapErr<O, E> {
    operation: O,
    map: E,
}

/// Maps the error of `operation` by `map`.
#[inline]
pub(crate) fn map_err<T, O, E>(operation: O, map: E) -> MapErr<O, E>
where
    O: Future<Output = io::Result<T>> + Unpin,
    E: FnMut(io::Error) -> io::Error + Unpin,
{
    MapErr { operation, map }
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
            Poll::Ready(Err(error)) => Poll::Ready(Err((self.map)(error))),
            polled => polled,
        }
    }
}

/// Maps an error out of line, since a deadline may be set before each read.
#[inline]
pub(crate) fn cold_err(done: io::Result<()>, say: impl FnOnce(io::Error) -> io::Error) -> io::Result<()> {
    #[cold]
    #[inline(never)]
    fn refused(error: io::Error, say: impl FnOnce(io::Error) -> io::Error) -> io::Error {
        say(error)
    }
    done.map_err(|error| refused(error, say))
}
