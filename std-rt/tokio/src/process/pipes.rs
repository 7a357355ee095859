//! The pipes of a child process.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use netpoll_rt::net::pipe::{PipeReader, PipeWriter};
use upstream::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::io::buffer::poll_pipe;

macro_rules! pipe {
    ($type:ident, $inner:ident, $doc:literal) => {
        #[doc = $doc]
        ///
        /// Dropped: it is closed.
        #[derive(Debug)]
        pub struct $type {
            inner: $inner,
        }

        impl $type {
            pub(super) fn new(inner: $inner) -> Self {
                Self { inner }
            }

            pub(super) fn into_inner(self) -> $inner {
                self.inner
            }

            /// Takes over a pipe of std, in the current runtime.
            ///
            /// # Errors
            ///
            /// Returns an error if the runtime has ended, or the pipe cannot be registered with it.
            ///
            /// # Panics
            ///
            /// Panics outside of a runtime, and in one without sockets, whose driver tokio's pipes need.
            #[track_caller]
            pub fn from_std(inner: std::process::$type) -> io::Result<Self> {
                crate::runtime::assert_has_io();
                $inner::from_owned(OwnedFd::from(inner)).map(Self::new)
            }

            /// Returns the descriptor, which blocks from now on.
            ///
            /// # Errors
            ///
            /// Returns the kernel's error.
            pub fn into_owned_fd(self) -> io::Result<OwnedFd> {
                self.into_inner().into_blocking()
            }
        }

        /// Makes a standard stream of another child of it.
        impl TryFrom<$type> for Stdio {
            type Error = io::Error;

            fn try_from(pipe: $type) -> io::Result<Stdio> {
                pipe.into_owned_fd().map(Stdio::from)
            }
        }

        impl AsFd for $type {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.inner.as_fd()
            }
        }

        impl AsRawFd for $type {
            fn as_raw_fd(&self) -> RawFd {
                self.inner.as_fd().as_raw_fd()
            }
        }
    };
}

pipe!(ChildStdin, PipeWriter, "The pipe to the standard input of a child.");
pipe!(ChildStdout, PipeReader, "The pipe from the standard output of a child.");
pipe!(ChildStderr, PipeReader, "The pipe from the standard error output of a child.");

impl AsyncWrite for ChildStdin {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        futures_io::AsyncWrite::poll_write(Pin::new(&mut self.inner), cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        futures_io::AsyncWrite::poll_write_vectored(Pin::new(&mut self.inner), cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Closes nothing: the drop does.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ChildStdout {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        poll_pipe(&self.inner, cx, buf)
    }
}

impl AsyncRead for ChildStderr {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        poll_pipe(&self.inner, cx, buf)
    }
}
