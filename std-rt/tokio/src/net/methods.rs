//! The methods that several types share. Each type has a field `io`, an [`Evented`](crate::io::evented::Evented) of std's type.

/// Writes groups of methods into a type; an arm that begins with `@` is a group.
macro_rules! methods {
    ($type:ident: $($group:ident $(($($argument:tt)*))?),+ $(,)?) => {
        $($crate::net::methods::methods!(@$group $type, $($($argument)*)?);)+
    };

    (@descriptor $type:ident,) => {
        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.io.get_ref().as_raw_fd()
            }
        }

        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.io.get_ref().as_fd()
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.io.fmt(f)
            }
        }
    };

    (@std $type:ident, $std:ty) => {
        impl $type {
            /// Takes over a socket of std, which must be non-blocking.
            ///
            /// # Errors
            ///
            /// Returns the error of the registration.
            ///
            /// # Panics
            ///
            /// Panics outside of a runtime.
            #[track_caller]
            pub fn from_std(socket: $std) -> std::io::Result<Self> {
                Ok(Self { io: $crate::io::evented::Evented::new(socket)? })
            }

            /// Returns the socket of std, which stays non-blocking.
            ///
            /// # Errors
            ///
            /// Returns no error; tokio's signature has one.
            pub fn into_std(self) -> std::io::Result<$std> {
                Ok(self.io.into_inner())
            }
        }

        /// Converts as `from_std` does.
        impl TryFrom<$std> for $type {
            type Error = std::io::Error;

            fn try_from(socket: $std) -> std::io::Result<Self> {
                Self::from_std(socket)
            }
        }
    };

    (@take_error $type:ident,) => {
        impl $type {
            /// Takes the error that is queued on the socket (`SO_ERROR`).
            ///
            /// # Errors
            ///
            /// Returns the kernel's error.
            pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
                self.io.get_ref().take_error()
            }
        }
    };

    (@ready $type:ident,) => {
        impl $type {
            /// Waits until one of the conditions of `interest` holds, and returns those that do.
            ///
            /// # Errors
            ///
            /// Returns an error if the runtime has ended.
            pub async fn ready(&self, interest: $crate::io::Interest) -> std::io::Result<$crate::io::Ready> {
                self.io.ready(interest).await
            }
        }
    };

    (@readable $type:ident, $poll:ident) => {
        impl $type {
            /// Waits for input. It stays ready until an attempt finds nothing.
            ///
            /// # Errors
            ///
            /// Returns an error if the runtime has ended.
            pub async fn readable(&self) -> std::io::Result<()> {
                self.io.ready($crate::io::Interest::READABLE).await.map(|_| ())
            }

            /// Polls for input. Of the tasks that poll, the last one is woken.
            ///
            /// # Errors
            ///
            /// Returns an error if the runtime has ended.
            pub fn $poll(&self, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
                self.io.poll_read_ready(cx)
            }
        }
    };

    (@writable $type:ident, $poll:ident) => {
        impl $type {
            /// Waits for space to write. It stays ready until an attempt finds none.
            ///
            /// # Errors
            ///
            /// Returns an error if the runtime has ended.
            pub async fn writable(&self) -> std::io::Result<()> {
                self.io.ready($crate::io::Interest::WRITABLE).await.map(|_| ())
            }

            /// Polls for space to write. Of the tasks that poll, the last one is woken.
            ///
            /// # Errors
            ///
            /// Returns an error if the runtime has ended.
            pub fn $poll(&self, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
                self.io.poll_write_ready(cx)
            }
        }
    };

    (@any_io $type:ident,) => {
        impl $type {
            /// Calls `f` once if one of the conditions holds. `WouldBlock` clears them, whether or not the kernel returned it.
            ///
            /// # Errors
            ///
            /// Returns the error of `f`; `WouldBlock` without a call if no condition holds.
            pub fn try_io<R>(
                &self,
                interest: $crate::io::Interest,
                f: impl FnOnce() -> std::io::Result<R>,
            ) -> std::io::Result<R> {
                self.io.try_io(interest, f)
            }

            /// Calls `f` when one of the conditions holds, until it returns something other than `WouldBlock`.
            ///
            /// # Errors
            ///
            /// Returns the error of `f`; an error if the runtime has ended.
            pub async fn async_io<R>(
                &self,
                interest: $crate::io::Interest,
                f: impl FnMut() -> std::io::Result<R>,
            ) -> std::io::Result<R> {
                self.io.async_io(interest, f).await
            }
        }
    };

    // Reads of bytes. `$try_read` is the function of `io/buffer.rs` for buffers of `bytes`.
    (@try_read $type:ident, $try_read:path) => {
        impl $type {
            /// Reads if it is readable, and never waits. 0 is the end, unless the buffer is empty.
            ///
            /// # Errors
            ///
            /// Returns `WouldBlock` if it is not readable; the kernel's error.
            pub fn try_read(&self, buf: &mut [u8]) -> std::io::Result<usize> {
                let mut io = self.io.get_ref();
                self.io.try_io($crate::io::Interest::READABLE, || std::io::Read::read(&mut io, buf))
            }

            /// Reads into several buffers, as [`try_read`](Self::try_read) does.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`try_read`](Self::try_read).
            pub fn try_read_vectored(&self, bufs: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
                let mut io = self.io.get_ref();
                self.io.try_io($crate::io::Interest::READABLE, || std::io::Read::read_vectored(&mut io, bufs))
            }

            /// Reads into a buffer that need not be initialized, as [`try_read`](Self::try_read) does.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`try_read`](Self::try_read).
            pub fn try_read_buf<B: bytes::BufMut>(&self, buf: &mut B) -> std::io::Result<usize> {
                $try_read(&self.io, buf)
            }
        }
    };

    (@try_write $type:ident,) => {
        impl $type {
            /// Writes if there is space, and never waits. Returns how many bytes the kernel took.
            ///
            /// # Errors
            ///
            /// Returns `WouldBlock` if there is no space; the kernel's error.
            pub fn try_write(&self, buf: &[u8]) -> std::io::Result<usize> {
                let mut io = self.io.get_ref();
                self.io.try_io($crate::io::Interest::WRITABLE, || std::io::Write::write(&mut io, buf))
            }

            /// Writes several buffers, as [`try_write`](Self::try_write) does.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`try_write`](Self::try_write).
            pub fn try_write_vectored(&self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                let mut io = self.io.get_ref();
                self.io.try_io($crate::io::Interest::WRITABLE, || std::io::Write::write_vectored(&mut io, bufs))
            }
        }
    };

    // The traits of a stream that can be split, and the functions that its halves use.
    (@stream $type:ident, $address:ty) => {
        impl $type {
            pub(super) fn poll_read_priv(
                &self,
                cx: &mut std::task::Context<'_>,
                buf: &mut $crate::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                $crate::io::buffer::poll_recv(&self.io, cx, buf)
            }

            pub(super) fn poll_write_priv(
                &self,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.io.poll_send(cx, buf)
            }

            pub(super) fn poll_write_vectored_priv(
                &self,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.io.poll_send_vectored(cx, bufs)
            }

            /// Shuts the writing half down. A connection that has ended already is no error.
            pub(super) fn end_writing(&self) -> std::io::Result<()> {
                match self.io.get_ref().shutdown(std::net::Shutdown::Write) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotConnected => Ok(()),
                    ended => ended,
                }
            }

            /// Splits it into halves that borrow it.
            pub fn split<'a>(&'a mut self) -> (ReadHalf<'a>, WriteHalf<'a>) {
                (ReadHalf(self), WriteHalf(self))
            }

            /// Splits it into halves that own it together. The peer reads the end as soon as the writing half is dropped.
            pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
                OwnedReadHalf::pair(self)
            }
        }

        $crate::net::methods::methods!(@reader $type, |this| this);
        $crate::net::methods::methods!(@writer $type, |this| this.end_writing());

        impl AsRef<Self> for $type {
            fn as_ref(&self) -> &Self {
                self
            }
        }
    };

    (@reader $type:ty, |$this:ident| $stream:expr) => {
        impl $crate::io::AsyncRead for $type {
            #[inline]
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut $crate::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let $this = &*self;
                $stream.poll_read_priv(cx, buf)
            }
        }
    };

    // `$end` ends the writing half.
    (@writer $type:ty, |$this:ident| $end:expr) => {
        impl $crate::io::AsyncWrite for $type {
            #[inline]
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.poll_write_priv(cx, buf)
            }

            #[inline]
            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.poll_write_vectored_priv(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            #[inline]
            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn poll_shutdown(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let $this = std::pin::Pin::into_inner(self);
                std::task::Poll::Ready($end)
            }
        }
    };
}

pub(crate) use methods;
