//! The traits of hyper 1: `Read`, `Write`, `Timer` and `Executor`.

#![expect(unsafe_code, reason = "reads into the uninitialized part of hyper's buffers")]

use std::future::Future;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Executor, Read, ReadBufCursor, Sleep, Timer, Write};

use crate::net::stream::{ByteRead, ByteWrite};
use crate::net::{OwnedReadHalf, OwnedWriteHalf, PipeReader, PipeWriter, Split, TcpStream, UnixStream};
use crate::runtime::Handle;
use crate::time;

/// Reads into the uninitialized part of a buffer. `fill` is [`ByteRead::poll_fill`]: it returns the number of bytes at the
/// front of its argument that it has initialized.
#[inline]
fn read_into(
    mut buffer: ReadBufCursor<'_>,
    fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<()>> {
    // SAFETY: `poll_fill` writes nothing but initialized bytes, so no byte that was initialized becomes uninitialized.
    let n = ready!(fill(unsafe { buffer.as_mut() }))?;
    // SAFETY: `poll_fill` has initialized the first `n` bytes of the slice above, as the kernel has counted them.
    unsafe { buffer.advance(n) };
    Poll::Ready(Ok(()))
}

macro_rules! read {
    ($([$($generics:tt)*] $type:ty),+ $(,)?) => {
        $(read!(@ [$($generics)*] $type); read!(@ [$($generics)*] &$type);)+
    };
    (@ [$($generics:tt)*] $for:ty) => {
        /// The bytes go into hyper's uninitialized buffer. The deadline applies as for `read`, and nothing is held
        /// between two polls.
        impl<$($generics)*> Read for $for {
            #[inline]
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                read_into(buffer, |room| self.poll_fill(cx, room))
            }
        }
    };
}

read!([] TcpStream, [] UnixStream, [S: Split] OwnedReadHalf<S>, [] PipeReader);
impl_write!(
    Write, poll_shutdown, { fn is_write_vectored(&self) -> bool { true } },
    "`poll_shutdown` shuts down the writing half. A connection that has ended already is no error.":
    [] TcpStream, [] UnixStream, [S: Split] OwnedWriteHalf<S>
);
impl_write!(
    Write, poll_shutdown, { fn is_write_vectored(&self) -> bool { true } },
    "`poll_shutdown` closes this end.": [] PipeWriter
);

/// Starts a task for each future, as [`Handle::spawn`] does. It runs without a handle, until it ends or the runtime does.
impl<F> Executor<F> for Handle
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[track_caller]
    fn execute(&self, future: F) {
        drop(self.spawn(future));
    }
}

/// Sleeps as [`time::sleep`] does: a timer belongs to the runtime of the task that polls it, whichever handle made it.
///
/// [`time::sleep`]: crate::time::sleep
impl Timer for Handle {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(time::sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(time::sleep_until(deadline))
    }

    /// Moves the sleep in its place.
    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<time::Sleep>() {
            Some(sleep) => sleep.reset(deadline),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

impl Sleep for time::Sleep {}
