//! The traits of futures-io: `AsyncRead` and `AsyncWrite`.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use crate::net::stream::{ByteRead, ByteWrite};
use crate::net::{OwnedReadHalf, OwnedWriteHalf, PipeReader, PipeWriter, Split, TcpStream, UnixStream};

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

macro_rules! write {
    ($says:literal: $([$($generics:tt)*] $type:ty),+ $(,)?) => {
        $(write!(@ $says [$($generics)*] $type); write!(@ $says [$($generics)*] &$type);)+
    };
    (@ $says:literal [$($generics:tt)*] $for:ty) => {
        /// The deadline applies as for `write`, and nothing is held between two polls. Bytes go to the kernel
        /// at once, so there is nothing to flush.
        #[doc = $says]
        impl<$($generics)*> AsyncWrite for $for {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_send(cx, bytes)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.poll_sendv(cx, buffers)
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_flushed(cx)
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_end(cx)
            }
        }
    };
}

read!([] TcpStream, [] UnixStream, [S: Split] OwnedReadHalf<S>, [] PipeReader);
write!(
    "`poll_close` shuts down the writing half: the peer reads the end of the stream, and this side may still read. \
     A connection that has ended already is no error.":
    [] TcpStream, [] UnixStream, [S: Split] OwnedWriteHalf<S>
);
write!(
    "`poll_close` closes this end, as `close` does: the reader reads the end once no other writer is left.":
    [] PipeWriter
);
