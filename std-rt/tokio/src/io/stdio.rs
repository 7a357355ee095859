//! The standard input, output and error output of this process.
//!
//! A thread of the pool makes every call, because these descriptors may be files, which do not report readiness, and are
//! shared with other processes, which would see it if they became non-blocking.

use std::future::Future;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use netpoll_rt::JoinHandle;
use upstream::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::evented::shutdown;
use crate::blocking::{self, Buffer, MAX_BUFFER, failed};

/// A stream of std that threads of the pool use.
#[derive(Debug)]
struct Blocking {
    /// Empty while a job has it.
    buffer: Buffer,
    job: Option<JoinHandle<(io::Result<()>, Buffer)>>,
    /// Set if something was written since the last flush.
    needs_flush: bool,
}

impl Blocking {
    fn new() -> Self {
        Self { buffer: Buffer::default(), job: None, needs_flush: false }
    }

    /// Waits for the job, if there is one, and returns whether there was.
    fn poll_job(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(job) = &mut self.job else { return Poll::Ready(Ok(false)) };
        let ended = ready!(Pin::new(job).poll(cx));
        self.job = None;
        let (result, buffer) = ended.map_err(failed)?;
        self.buffer = buffer;
        Poll::Ready(result.map(|()| true))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // A read that has found nothing has found the end.
        let mut has_read = false;
        while self.buffer.is_empty() && to.remaining() > 0 && !has_read {
            has_read = ready!(self.poll_job(cx))?;
            if !has_read {
                let (mut buffer, most) = (std::mem::take(&mut self.buffer), to.remaining().min(MAX_BUFFER));
                self.job = Some(blocking::spawn(move || {
                    let read = buffer.read_from(&mut io::stdin(), most);
                    (read.map(drop), buffer)
                }));
            }
        }
        self.buffer.move_to(to);
        Poll::Ready(Ok(()))
    }

    fn poll_write<S: Write + 'static>(
        &mut self,
        cx: &mut Context<'_>,
        from: &[u8],
        sink: fn() -> S,
    ) -> Poll<io::Result<usize>> {
        while ready!(self.poll_job(cx))? {}
        let mut buffer = std::mem::take(&mut self.buffer);
        let n = buffer.copy_from(&[IoSlice::new(from)], MAX_BUFFER);
        let job = blocking::spawn_mandatory(move || (buffer.write_to(&mut sink()), buffer));
        self.job = Some(job.ok_or_else(shutdown)?);
        self.needs_flush = true;
        Poll::Ready(Ok(n))
    }

    fn poll_flush<S: Write + 'static>(
        &mut self,
        cx: &mut Context<'_>,
        sink: fn() -> S,
    ) -> Poll<io::Result<()>> {
        loop {
            while ready!(self.poll_job(cx))? {}
            if !std::mem::take(&mut self.needs_flush) {
                return Poll::Ready(Ok(()));
            }
            let buffer = std::mem::take(&mut self.buffer);
            let job = blocking::spawn_mandatory(move || (sink().flush(), buffer));
            self.job = Some(job.ok_or_else(shutdown)?);
        }
    }
}

/// The standard input of this process; made by [`stdin`].
///
/// A read that is given up goes on, and keeps the bytes that it finds for the next one. A thread that reads delays the end
/// of the runtime until there is input.
#[derive(Debug)]
pub struct Stdin {
    std: io::Stdin,
    blocking: Blocking,
}

/// Returns the standard input of this process, which is for non-interactive uses: a line of a terminal is read by a thread
/// that cannot be interrupted.
pub fn stdin() -> Stdin {
    Stdin { std: io::stdin(), blocking: Blocking::new() }
}

impl AsyncRead for Stdin {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.blocking.poll_read(cx, buf)
    }
}

impl AsRawFd for Stdin {
    fn as_raw_fd(&self) -> RawFd {
        self.std.as_raw_fd()
    }
}

impl AsFd for Stdin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.std.as_fd()
    }
}

macro_rules! output {
    ($type:ident, $function:ident, $name:literal) => {
        #[doc = concat!("The ", $name, " of this process; made by [`", stringify!($function), "`].")]
        ///
        /// A write is ready once its bytes are copied; `flush` waits until they are written, and an error is that of the next
        /// operation. The bytes are written also if the runtime ends before; a write after its end fails. Bytes of several
        /// values, or of `println!`, may come in any order.
        #[derive(Debug)]
        pub struct $type {
            std: io::$type,
            blocking: Blocking,
        }

        #[doc = concat!("Returns the ", $name, " of this process.")]
        pub fn $function() -> $type {
            $type { std: io::$function(), blocking: Blocking::new() }
        }

        impl AsyncWrite for $type {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.blocking.poll_write(cx, buf, io::$function)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.blocking.poll_flush(cx, io::$function)
            }

            /// Ends nothing, and waits for nothing.
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }

        impl AsRawFd for $type {
            fn as_raw_fd(&self) -> RawFd {
                self.std.as_raw_fd()
            }
        }

        impl AsFd for $type {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.std.as_fd()
            }
        }
    };
}

output!(Stdout, stdout, "standard output");
output!(Stderr, stderr, "standard error output");
