//! The halves of a stream, written once for TCP and for Unix streams.

/// Writes the halves of a stream type into a module that imports the type.
macro_rules! halves {
    ($stream:ident, $address:ty) => {
        /// The reading half of a stream, which borrows it.
        #[derive(Debug)]
        pub struct ReadHalf<'a>(pub(super) &'a $stream);

        /// The writing half of a stream, which borrows it.
        #[derive(Debug)]
        pub struct WriteHalf<'a>(pub(super) &'a $stream);

        /// The reading half of a stream, which owns it together with the writing half.
        #[derive(Debug)]
        pub struct OwnedReadHalf(std::sync::Arc<$stream>);

        /// The writing half of a stream, which owns it together with the reading half. Dropping it ends the stream for the
        /// peer.
        #[derive(Debug)]
        pub struct OwnedWriteHalf {
            stream: std::sync::Arc<$stream>,
            ends_on_drop: bool,
        }

        /// The error of halves of different streams that were to be united.
        #[derive(Debug)]
        pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

        impl std::fmt::Display for ReuniteError {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("tried to reunite halves that are not from the same socket")
            }
        }

        impl std::error::Error for ReuniteError {}

        impl<'a> ReadHalf<'a> {
            fn stream(&self) -> &$stream {
                self.0
            }
        }

        impl<'a> WriteHalf<'a> {
            fn stream(&self) -> &$stream {
                self.0
            }

            fn end(&mut self) -> std::io::Result<()> {
                self.0.end_writing()
            }
        }

        impl OwnedReadHalf {
            pub(super) fn pair(stream: $stream) -> (Self, OwnedWriteHalf) {
                let stream = std::sync::Arc::new(stream);
                (Self(stream.clone()), OwnedWriteHalf { stream, ends_on_drop: true })
            }

            fn stream(&self) -> &$stream {
                &self.0
            }

            /// Unites the halves of a stream.
            ///
            /// # Errors
            ///
            /// Returns both halves if they are of different streams.
            pub fn reunite(self, other: OwnedWriteHalf) -> Result<$stream, ReuniteError> {
                if !std::sync::Arc::ptr_eq(&self.0, &other.stream) {
                    return Err(ReuniteError(self, other));
                }
                other.forget();
                Ok(std::sync::Arc::into_inner(self.0).expect("a stream has no other halves"))
            }
        }

        impl OwnedWriteHalf {
            fn stream(&self) -> &$stream {
                &self.stream
            }

            fn end(&mut self) -> std::io::Result<()> {
                self.stream.end_writing()?;
                self.ends_on_drop = false;
                Ok(())
            }

            /// Unites the halves of a stream.
            ///
            /// # Errors
            ///
            /// Returns both halves if they are of different streams.
            pub fn reunite(self, other: OwnedReadHalf) -> Result<$stream, ReuniteError> {
                other.reunite(self)
            }

            /// Drops it without ending the stream.
            pub fn forget(mut self) {
                self.ends_on_drop = false;
            }
        }

        impl Drop for OwnedWriteHalf {
            fn drop(&mut self) {
                if self.ends_on_drop {
                    // An error says that the connection has ended already.
                    let _ = self.stream.end_writing();
                }
            }
        }

        $crate::net::halves::halves!(@read ReadHalf<'_>, $stream, $address);
        $crate::net::halves::halves!(@read OwnedReadHalf, $stream, $address);
        $crate::net::halves::halves!(@write WriteHalf<'_>, $stream, $address);
        $crate::net::halves::halves!(@write OwnedWriteHalf, $stream, $address);
    };

    (@both $half:ty, $stream:ident, $address:ty) => {
        impl $half {
            /// Waits until one of the conditions of `interest` holds, and returns those that do.
            ///
            /// # Errors
            ///
            /// Returns an error if the runtime has ended.
            pub async fn ready(&self, interest: $crate::io::Interest) -> std::io::Result<$crate::io::Ready> {
                self.stream().ready(interest).await
            }

            /// Returns the address of the peer.
            ///
            /// # Errors
            ///
            /// Returns the kernel's error.
            pub fn peer_addr(&self) -> std::io::Result<$address> {
                self.stream().peer_addr()
            }

            /// Returns the address on this side.
            ///
            /// # Errors
            ///
            /// Returns the kernel's error.
            pub fn local_addr(&self) -> std::io::Result<$address> {
                self.stream().local_addr()
            }
        }

        impl AsRef<$stream> for $half {
            fn as_ref(&self) -> &$stream {
                self.stream()
            }
        }
    };

    (@read $half:ty, $stream:ident, $address:ty) => {
        $crate::net::halves::halves!(@both $half, $stream, $address);

        impl $half {
            /// Waits for input.
            ///
            /// # Errors
            ///
            /// Returns an error if the runtime has ended.
            pub async fn readable(&self) -> std::io::Result<()> {
                self.stream().readable().await
            }

            /// Reads if it is readable, and never waits.
            ///
            /// # Errors
            ///
            /// Returns `WouldBlock` if it is not readable; the kernel's error.
            pub fn try_read(&self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.stream().try_read(buf)
            }

            /// Reads into several buffers, as [`try_read`](Self::try_read) does.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`try_read`](Self::try_read).
            pub fn try_read_vectored(&self, bufs: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
                self.stream().try_read_vectored(bufs)
            }

            /// Reads into a buffer that need not be initialized, as [`try_read`](Self::try_read) does.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`try_read`](Self::try_read).
            pub fn try_read_buf<B: bytes::BufMut>(&self, buf: &mut B) -> std::io::Result<usize> {
                self.stream().try_read_buf(buf)
            }
        }

        $crate::net::methods::methods!(@reader $half, |this| this.stream());
    };

    (@write $half:ty, $stream:ident, $address:ty) => {
        $crate::net::halves::halves!(@both $half, $stream, $address);

        impl $half {
            /// Waits for space to write.
            ///
            /// # Errors
            ///
            /// Returns an error if the runtime has ended.
            pub async fn writable(&self) -> std::io::Result<()> {
                self.stream().writable().await
            }

            /// Writes if there is space, and never waits.
            ///
            /// # Errors
            ///
            /// Returns `WouldBlock` if there is no space; the kernel's error.
            pub fn try_write(&self, buf: &[u8]) -> std::io::Result<usize> {
                self.stream().try_write(buf)
            }

            /// Writes several buffers, as [`try_write`](Self::try_write) does.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`try_write`](Self::try_write).
            pub fn try_write_vectored(&self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                self.stream().try_write_vectored(bufs)
            }

            fn poll_write_priv(
                &self,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.stream().poll_write_priv(cx, buf)
            }

            fn poll_write_vectored_priv(
                &self,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.stream().poll_write_vectored_priv(cx, bufs)
            }
        }

        $crate::net::methods::methods!(@writer $half, |this| this.end());
    };
}

pub(crate) use halves;
