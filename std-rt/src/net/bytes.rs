//! The methods of streams of bytes: connections and pipes.
//!
//! See [`methods`](super::methods) for why this is a macro. The system calls are those of the type's
//! [`ByteRead`](super::stream::ByteRead) and [`ByteWrite`](super::stream::ByteWrite).

/// Writes groups of methods into a type that is a `ByteRead`, for `read` and `peek`, or a `ByteWrite`, for `write`.
macro_rules! byte_methods {
    ($type:ident: $($groups:tt)*) => {
        $crate::net::bytes::byte_methods!([] $type: $($groups)*);
    };
    ($generics:tt $type:ty: $($group:ident $(($($argument:tt)*))?),+) => {
        $($crate::net::bytes::byte_methods!(@$group $generics $type, $($($argument)*)?);)+
    };

    (@read [$($generics:tt)*] $type:ty,) => {
        impl<$($generics)*> $type {
            /// Reads the input that is there, up to the length of `buffer`; waits if there is none. Returns 0
            /// at the end of the stream, and at once for an empty buffer.
            ///
            /// # Cancel safety
            ///
            /// Dropped early, the future read nothing. Unpolled, it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; `TimedOut` if the read deadline passes; the kernel's others,
            /// such as `ConnectionReset`.
            #[inline]
            pub fn read(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
                let read = self.fd().read(buffer.is_full(), |fd| Self::fill(fd, buffer));
                map_err(read, |error| self.error("read", error))
            }

            /// Reads the input that is there into the spare capacity of `buffer`, and appends it. The
            /// capacity needs no initialization; a full buffer grows by 1 KiB or more first. Waits if there
            /// is no input. Returns 0 at the end of the stream.
            ///
            /// # Cancel safety
            ///
            /// Dropped early, the future read nothing. Unpolled, it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Returns the errors of [`read`](Self::read).
            #[inline]
            pub fn read_buf(&self, buffer: &mut Vec<u8>) -> impl Future<Output = io::Result<usize>> {
                let read = self.fd().read(buffer.is_full(), |fd| Self::fill(fd, buffer));
                map_err(read, |error| self.error("read_buf", error))
            }

            /// Reads until `buffer` is full.
            ///
            /// # Cancel safety
            ///
            /// Dropped before it is ready: a part may have been read, and is lost. While it is not polled, it
            /// keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Returns the errors of [`read`](Self::read); `UnexpectedEof` if the stream ends first.
            pub async fn read_exact(&self, mut buffer: &mut [u8]) -> io::Result<()> {
                if buffer.is_empty() {
                    coop::proceed().await;
                }
                while !buffer.is_empty() {
                    match self.read(buffer).await? {
                        0 => return Err(self.error("read_exact", io::ErrorKind::UnexpectedEof.into())),
                        n => buffer = &mut buffer[n..],
                    }
                }
                Ok(())
            }

            /// Reads as [`read`](Self::read) does, into several buffers: each is filled before the next. It
            /// uses at most 1024 of them, and 1 GiB.
            ///
            /// # Cancel safety
            ///
            /// Dropped early, the future read nothing. Unpolled, it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Returns the errors of [`read`](Self::read).
            pub fn readv(&self, buffers: &mut [IoSliceMut<'_>]) -> impl Future<Output = io::Result<usize>> {
                let read = self.fd().read(buffers.is_full(), |fd| Self::fill(fd, buffers));
                map_err(read, |error| self.error("readv", error))
            }

            /// Polls to read, as `poll_read` of the traits does, into memory that need not be initialized. Returns the
            /// number of bytes at the front of `buffer` that the kernel has filled; 0 is the end of the stream, unless
            /// the buffer is empty. Nothing is held between two polls.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`read`](Self::read).
            #[inline]
            pub fn poll_read_uninit(
                &self,
                cx: &mut Context<'_>,
                buffer: &mut [MaybeUninit<u8>],
            ) -> Poll<io::Result<usize>> {
                self.poll_fill(cx, buffer)
            }

            /// Reads the input that is there, up to the length of `buffer`, and never waits. Returns 0 at the
            /// end of the stream, and for an empty buffer.
            ///
            /// # Errors
            ///
            /// Returns `WouldBlock` if there is no input, or if another task reads or waits in a read (see
            /// [`readable`](Self::readable)); the other errors of [`read`](Self::read).
            pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
                self.attempted("read", self.fd().read(buffer.is_full(), |fd| Self::fill(fd, buffer)).try_once())
            }
        }

        $crate::net::methods::methods!([$($generics)*] $type: readable("try_read"), read_deadline);
    };

    (@write [$($generics:tt)*] $type:ty,) => {
        impl<$($generics)*> $type {
            /// Writes what the kernel takes, at least one byte unless `bytes` is empty; waits while it takes
            /// nothing.
            ///
            /// # Cancel safety
            ///
            /// Dropped early, the future wrote nothing. Unpolled, it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; `TimedOut` if the write deadline passes; `BrokenPipe` or
            /// `ConnectionReset` if the other end is gone.
            #[inline]
            pub fn write(&self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> {
                let written = self.fd().write(|fd| Self::send(fd, bytes));
                map_err(written, |error| self.error("write", error))
            }

            /// Writes all of `bytes`; the bytes of another task do not come in between.
            ///
            /// # Cancel safety
            ///
            /// Dropped before it is ready: any part of the bytes may have been written. While it is not
            /// polled, it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Returns the errors of [`write`](Self::write); any part may have been written.
            #[inline]
            pub fn write_all(&self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> {
                let written = self.fd().write_all(bytes, Self::send);
                map_err(written, |error| self.error("write", error))
            }

            /// Writes as [`write`](Self::write) does, from several buffers in order. It uses at most 1024 of
            /// them, and 1 GiB.
            ///
            /// # Cancel safety
            ///
            /// Dropped early, the future wrote nothing. Unpolled, it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Returns the errors of [`write`](Self::write).
            pub fn writev(&self, buffers: &[IoSlice<'_>]) -> impl Future<Output = io::Result<usize>> {
                let written = self.fd().write(|fd| Self::sendv(fd, buffers));
                map_err(written, |error| self.error("writev", error))
            }

            /// Writes what the kernel takes, and never waits.
            ///
            /// # Errors
            ///
            /// Returns `WouldBlock` if the kernel takes nothing, or if another task writes or waits in a
            /// write (see [`writable`](Self::writable)); the other errors of [`write`](Self::write).
            pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
                let written = self.fd().write(|fd| Self::send(fd, bytes)).try_once();
                self.attempted("write", written)
            }
        }

        $crate::net::methods::methods!([$($generics)*] $type: writable("try_write"), write_deadline);
    };

    (@peek [$($generics:tt)*] $type:ty,) => {
        impl<$($generics)*> $type {
            /// Reads as [`read`](Self::read) does, but leaves the bytes in the queue.
            ///
            /// # Cancel safety
            ///
            /// Dropped early, the future did nothing. Unpolled, it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Returns the errors of [`read`](Self::read).
            pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
                let peeked = self.fd().read(buffer.is_full(), |fd| {
                    // The bytes remain, however few they are.
                    let read = $crate::sys::socket::peek(fd, buffer)?;
                    Ok($crate::sys::socket::Read { drained: false, ..read })
                });
                peeked.await.map_err(|error| self.error("peek", error))
            }
        }
    };

    // An end of a pipe. `$access` is the field of `Access` that it needs.
    (@pipe_end [] $type:ty, $access:ident, $does:literal) => {
        impl $type {
            /// Takes over a descriptor that is this end of a pipe or a FIFO, and makes it non-blocking, with
            /// all its duplicates. A read may cost one system call more than on a pipe of this crate.
            ///
            /// # Errors
            ///
            /// Returns the error of the registration; `InvalidInput` for a descriptor that is no pipe
            #[doc = concat!("or cannot be ", $does, ". The descriptor is closed then.")]
            pub fn from_owned(fd: OwnedFd) -> io::Result<Self> {
                let wrong = concat!("this end of the pipe cannot be ", $does);
                Ok(Self { fd: adopt_end(fd, |access| access.$access, wrong)? })
            }

            /// Returns the descriptor, which stays non-blocking. No operation can be in flight, because it
            /// would borrow this value.
            ///
            /// # Errors
            ///
            /// Returns an error if it was closed before.
            pub fn into_owned(self) -> io::Result<OwnedFd> {
                give_away("into_owned", self.fd)
            }

            /// Returns the descriptor as a blocking one, with all its duplicates, as a child process expects
            /// its standard input or output. The other end does not change.
            ///
            /// # Errors
            ///
            /// Returns an error if it was closed before.
            pub fn into_blocking(self) -> io::Result<OwnedFd> {
                let fd = self.into_owned()?;
                set_nonblocking(fd.as_fd(), false).map_err(|error| OpError::new("into_blocking", error))?;
                Ok(fd)
            }

            /// Returns how many bytes the pipe holds.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; `Unsupported` on systems other than Linux.
            pub fn capacity(&self) -> io::Result<usize> {
                self.call("capacity", sys::capacity)
            }

            /// Requests a capacity in bytes, from 1 to the system's limit (`/proc/sys/fs/pipe-max-size`, 1
            /// MiB by default). Returns the capacity that the kernel chose: a power of two, at least a page,
            /// and not less than `bytes`.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; `PermissionDenied` beyond the limit; `ResourceBusy` if the
            /// bytes in the pipe would not fit; `Unsupported` on systems other than Linux.
            pub fn set_capacity(&self, bytes: usize) -> io::Result<usize> {
                self.call("set_capacity", |fd| sys::set_capacity(fd, bytes))
            }
        }
    };
}

pub(crate) use byte_methods;
