//! The traits of tokio 1: `AsyncRead`, `AsyncWrite` and `AsyncSeek`.

#![expect(unsafe_code, reason = "reads into the uninitialized part of tokio's buffers")]

use std::io::{self, IoSlice, Read, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use crate::fs::File;
use crate::net::stream::{ByteRead, ByteWrite};
use crate::net::{
    AsyncFd, Interest, OwnedReadHalf, OwnedWriteHalf, PipeReader, PipeWriter, Split, TcpStream, UnixStream,
};

/// Reads into the uninitialized part of a buffer. `fill` is [`ByteRead::poll_fill`]: it returns the number of bytes at the
/// front of its argument that it has initialized.
#[inline]
fn read_into(
    buffer: &mut ReadBuf<'_>,
    fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<()>> {
    // SAFETY: `poll_fill` writes nothing but initialized bytes, so no byte that was initialized becomes uninitialized.
    let n = ready!(fill(unsafe { buffer.unfilled_mut() }))?;
    // SAFETY: `poll_fill` has initialized the first `n` bytes of the slice above, as the kernel has counted them.
    unsafe { buffer.assume_init(n) };
    buffer.advance(n);
    Poll::Ready(Ok(()))
}

macro_rules! read {
    ($([$($generics:tt)*] $type:ty),+ $(,)?) => {
        $(read!(@ [$($generics)*] $type); read!(@ [$($generics)*] &$type);)+
    };
    (@ [$($generics:tt)*] $for:ty) => {
        /// The bytes go into the uninitialized part of the buffer. The deadline applies as for `read`, and nothing is
        /// held between two polls.
        impl<$($generics)*> AsyncRead for $for {
            #[inline]
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                read_into(buffer, |room| self.poll_fill(cx, room))
            }
        }
    };
}

macro_rules! async_fd {
    ($($for:ty),+) => {$(
        /// Reads by the `Read` of `&T`, which needs initialized memory: the part of the buffer that was never filled is
        /// zeroed, once. The deadline applies as for `with_io`, and nothing is held between two polls.
        impl<T: AsFd> AsyncRead for $for
        where
            for<'a> &'a T: Read,
        {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let room = buffer.initialize_unfilled();
                let read = |mut value: &T| value.read(room);
                let n = ready!(self.poll_with_io(cx, "read", Interest::Read, read))?;
                buffer.advance(n);
                Poll::Ready(Ok(()))
            }
        }

        /// Writes by the `Write` of `&T`. The deadline applies as for `with_io`, and nothing is held between two polls.
        /// `poll_shutdown` flushes and ends nothing: the value is closed when it is dropped.
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

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let flush = |mut value: &T| value.flush().map(|()| 0);
                self.poll_with_io(cx, "flush", Interest::Write, flush).map_ok(|_| ())
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_flush(cx)
            }
        }
    )+};
}

async_fd!(AsyncFd<T>, &AsyncFd<T>);
read!([] TcpStream, [] UnixStream, [S: Split] OwnedReadHalf<S>, [] PipeReader);
impl_write!(
    AsyncWrite, poll_shutdown, { fn is_write_vectored(&self) -> bool { true } },
    "`poll_shutdown` shuts down the writing half. A connection that has ended already is no error.":
    [] TcpStream, [] UnixStream, [S: Split] OwnedWriteHalf<S>
);
impl_write!(
    AsyncWrite, poll_shutdown, { fn is_write_vectored(&self) -> bool { true } },
    "`poll_shutdown` closes this end.": [] PipeWriter
);

/// Reads at the cursor; [the type](File#the-traits-of-other-crates) says more.
impl AsyncRead for File {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = ready!(self.poll_bytes(cx, buffer.remaining()))?;
        let n = bytes.len().min(buffer.remaining());
        buffer.put_slice(&bytes[..n]);
        self.take_read(n);
        Poll::Ready(Ok(()))
    }
}

/// Accepts bytes for the cursor; [the type](File#the-traits-of-other-crates) says more. `poll_shutdown` flushes.
impl AsyncWrite for File {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_accept_bytes(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// Moves the cursor, from behind the bytes that were taken.
impl AsyncSeek for File {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        self.set_seek(to);
        Ok(())
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        self.poll_sought(cx)
    }
}
