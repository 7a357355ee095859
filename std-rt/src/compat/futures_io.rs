//! The traits of futures-io: `AsyncRead`, `AsyncWrite` and `AsyncSeek`.

use std::io::{self, IoSlice, IoSliceMut, Read, SeekFrom, Write};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncSeek, AsyncWrite};

use crate::fs::File;
use crate::net::stream::{ByteRead, ByteWrite};
use crate::net::{
    AsyncFd, Interest, OwnedReadHalf, OwnedWriteHalf, PipeReader, PipeWriter, Split, TcpStream, UnixStream,
};

macro_rules! read {
    ($([$($generics:tt)*] $type:ty),+ $(,)?) => {
        $(read!(@ [$($generics)*] $type); read!(@ [$($generics)*] &$type);)+
    };
    (@ [$($generics:tt)*] $for:ty) => {
        /// The deadline applies as for `read`. Nothing is held between two polls: a task that loses interest
        /// after `Pending` delays no other, and tasks that await `read` go before those that poll.
        impl<$($generics)*> AsyncRead for $for {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_fill(cx, buffer)
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffers: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                self.poll_fill(cx, buffers)
            }
        }
    };
}

macro_rules! async_fd {
    ($($for:ty),+) => {$(
        /// Reads by the `Read` of `&T`. The deadline applies as for `with_io`, and nothing is held between two polls.
        impl<T: AsFd> AsyncRead for $for
        where
            for<'a> &'a T: Read,
        {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_with_io(cx, "read", Interest::Read, |mut value| value.read(buffer))
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffers: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                self.poll_with_io(cx, "readv", Interest::Read, |mut value| value.read_vectored(buffers))
            }
        }

        /// Writes by the `Write` of `&T`. The deadline applies as for `with_io`, and nothing is held between two polls.
        /// `poll_close` flushes and ends nothing: the value is closed when it is dropped.
        impl<T: AsFd> AsyncWrite for $for
        where
            for<'a> &'a T: Write,
        {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_with_io(cx, "write", Interest::Write, |mut value| value.write(bytes))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.poll_with_io(cx, "writev", Interest::Write, |mut value| value.write_vectored(buffers))
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let flush = |mut value: &T| value.flush().map(|()| 0);
                self.poll_with_io(cx, "flush", Interest::Write, flush).map_ok(|_| ())
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_flush(cx)
            }
        }
    )+};
}

async_fd!(AsyncFd<T>, &AsyncFd<T>);
read!([] TcpStream, [] UnixStream, [S: Split] OwnedReadHalf<S>, [] PipeReader);
impl_write!(
    AsyncWrite, poll_close, {},
    "`poll_close` shuts down the writing half: the peer reads the end of the stream, and this side may still read. \
     A connection that has ended already is no error.":
    [] TcpStream, [] UnixStream, [S: Split] OwnedWriteHalf<S>
);
impl_write!(
    AsyncWrite, poll_close, {},
    "`poll_close` closes this end, as `close` does: the reader reads the end once no other writer is left.":
    [] PipeWriter
);

/// Reads at the cursor; [the type](File#the-traits-of-other-crates) says more.
impl AsyncRead for File {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(self.poll_bytes(cx, buffer.len()))?;
        let n = bytes.len().min(buffer.len());
        buffer[..n].copy_from_slice(&bytes[..n]);
        self.take_read(n);
        Poll::Ready(Ok(n))
    }
}

/// Accepts bytes for the cursor; [the type](File#the-traits-of-other-crates) says more. `poll_close` flushes.
impl AsyncWrite for File {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_accept_bytes(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// Moves the cursor, from behind the bytes that were taken.
impl AsyncSeek for File {
    fn poll_seek(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        self.set_seek(to);
        self.poll_sought(cx)
    }
}
