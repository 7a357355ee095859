//! The traits of futures-io, for what reads and for what writes.

/// futures-io's `AsyncRead`, for a type and for a reference to one.
macro_rules! futures_read {
    ($type:ty, $read:path, $readv:path) => {
        $crate::net::methods::futures_read!(one $type, $type, $read, $readv);
        $crate::net::methods::futures_read!(one &$type, $type, $read, $readv);
    };
    (one $for:ty, $type:ty, $read:path, $readv:path) => {
        /// The deadline is in force as for `read`. Nothing is held between two polls: a task that loses interest after
        /// `Pending` stands in nobody's way, and tasks that await `read` go before those that poll.
        impl futures_io::AsyncRead for $for {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffer: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let read = self.fd.poll_read(cx, buffer.is_empty(), |fd| $read(fd, buffer));
                read.map_err(|error| self.error("read", error))
            }

            fn poll_read_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffers: &mut [std::io::IoSliceMut<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let empty = $crate::net::methods::no_room(buffers);
                let read = self.fd.poll_read(cx, empty, |fd| $readv(fd, buffers));
                read.map_err(|error| self.error("readv", error))
            }
        }
    };
}

/// futures-io's `AsyncWrite`, for a type and for a reference to one. `$end` is what `poll_close` does: `fn(&Self) ->
/// io::Result<()>`.
macro_rules! futures_write {
    ($type:ty, $write:path, $writev:path, $end:expr, $says:literal) => {
        $crate::net::methods::futures_write!(one $type, $type, $write, $writev, $end, $says);
        $crate::net::methods::futures_write!(one &$type, $type, $write, $writev, $end, $says);
    };
    (one $for:ty, $type:ty, $write:path, $writev:path, $end:expr, $says:literal) => {
        /// As for reading. Bytes go to the kernel at once, so there is nothing to flush.
        #[doc = $says]
        impl futures_io::AsyncWrite for $for {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let written = self.fd.poll_write(cx, |fd| $write(fd, bytes));
                written.map_err(|error| self.error("write", error))
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffers: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let written = self.fd.poll_write(cx, |fd| $writev(fd, buffers));
                written.map_err(|error| self.error("writev", error))
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                $crate::coop::poll_proceed(cx).map(Ok)
            }

            fn poll_close(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::ready!($crate::coop::poll_proceed(cx));
                let end: fn(&$type) -> std::io::Result<()> = $end;
                std::task::Poll::Ready(end(&self))
            }
        }
    };
}

pub(crate) use {futures_read, futures_write};
