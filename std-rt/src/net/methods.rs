//! The operations that several types have in common, each written and documented once.
//!
//! A type that takes them has a field `fd`, an [`Fd`](crate::fd::Fd), and a method `error(&self, op, error)` that says
//! which operation failed, on which descriptor and between which addresses. What reads and what writes is an argument:
//! `recv` and `send` for a socket, `read` and `write` for a pipe.

mod deadlines;
mod futures;
mod map_err;

/// Reading bytes: `read read_buf readv read_exact readable try_read set_read_deadline`.
macro_rules! read_methods {
    ($type:ty, $read:path, $read_buf:path, $readv:path) => {
        impl $type {
            /// Reads what has come, up to the length of `buffer`; waits if nothing has. 0 is the end of the stream, or an
            /// empty buffer, for which nothing is waited.
            ///
            /// Dropped: nothing has been read.
            ///
            /// Not polled: it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Closed, `TimedOut` for the read deadline, `ConnectionReset` and others of the kernel.
            #[inline]
            pub fn read(
                &self,
                buffer: &mut [u8],
            ) -> impl std::future::Future<Output = std::io::Result<usize>> {
                let read = self.fd.read(buffer.is_empty(), |fd| $read(fd, buffer));
                $crate::net::methods::map_err(read, |error| self.error("read", error))
            }

            /// Reads what has come into the room that `buffer` has left, and appends it: that room need not be filled with
            /// anything before. If there is none, there is soon: 1 KiB or more. Waits if nothing has come; 0 is the end of
            /// the stream.
            ///
            /// Dropped: nothing has been read.
            ///
            /// Not polled: it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// As [`read`](Self::read).
            #[inline]
            pub fn read_buf(
                &self,
                buffer: &mut Vec<u8>,
            ) -> impl std::future::Future<Output = std::io::Result<usize>> {
                let read = self.fd.read(false, |fd| $read_buf(fd, buffer));
                $crate::net::methods::map_err(read, |error| self.error("read_buf", error))
            }

            /// Reads until `buffer` is full.
            ///
            /// Dropped: some bytes may have been read, and are lost.
            ///
            /// Not polled: it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// As [`read`](Self::read), and `UnexpectedEof` if the stream ends first.
            pub async fn read_exact(&self, mut buffer: &mut [u8]) -> std::io::Result<()> {
                if buffer.is_empty() {
                    $crate::coop::proceed().await;
                }
                while !buffer.is_empty() {
                    match self.read(buffer).await? {
                        0 => {
                            return Err(self.error("read_exact", std::io::ErrorKind::UnexpectedEof.into()));
                        }
                        n => buffer = &mut buffer[n..],
                    }
                }
                Ok(())
            }

            /// Reads as [`read`](Self::read) does, into several buffers in order: each is filled before the next. At most
            /// 1024 of them are used, and 1 GiB.
            ///
            /// Dropped: nothing has been read.
            ///
            /// Not polled: it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// As [`read`](Self::read).
            pub fn readv(
                &self,
                buffers: &mut [std::io::IoSliceMut<'_>],
            ) -> impl std::future::Future<Output = std::io::Result<usize>> {
                let read = self.fd.read($crate::net::methods::no_room(buffers), |fd| $readv(fd, buffers));
                $crate::net::methods::map_err(read, |error| self.error("readv", error))
            }

            /// Waits until a read is worth a try: bytes have come, or the end of the stream, or an error. With
            /// [`try_read`](Self::try_read) this is the way to have many idle connections, none of which holds a buffer;
            /// [`TcpStream`](crate::net::TcpStream) shows it.
            ///
            /// It is a hint: the read may still find nothing. While another task awaits a read it waits for the end of that, as
            /// what comes is for that one. Several that wait in `readable` are all told.
            ///
            /// Dropped: nothing has happened.
            ///
            /// Not polled: it is in nobody's way, see [turns](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Closed, `TimedOut` for the read deadline. What else has gone wrong is for the read to say.
            pub async fn readable(&self) -> std::io::Result<()> {
                let readable = self.fd.readiness($crate::fd::ReadMode);
                readable.await.map_err(|error| self.error("readable", error))
            }

            /// Reads what has come, up to the length of `buffer`, and never waits. 0 is the end of the stream, or an empty
            /// buffer.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if nothing has come, or if another task is reading or awaits a read; see
            /// [`readable`](Self::readable). Others as [`read`](Self::read).
            pub fn try_read(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let read = self.fd.try_read(buffer.is_empty(), |fd| $read(fd, buffer));
                read.map_err(|error| {
                    $crate::net::methods::map_err_unless_would_block(error, |error| self.error("read", error))
                })
            }
        }

        $crate::net::methods::read_deadline!($type);
    };
}

/// Writing bytes: `write write_all writev writable try_write set_write_deadline`.
macro_rules! write_methods {
    ($type:ty, $write:path, $writev:path) => {
        impl $type {
            /// Writes what the kernel takes, at least one byte unless `bytes` is empty; waits if it takes none.
            ///
            /// Dropped: nothing has been written.
            ///
            /// Not polled: it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Closed, `TimedOut` for the write deadline, `BrokenPipe` or `ConnectionReset` when the other end is gone.
            #[inline]
            pub fn write(&self, bytes: &[u8]) -> impl std::future::Future<Output = std::io::Result<usize>> {
                let written = self.fd.write(|fd| $write(fd, bytes));
                $crate::net::methods::map_err(written, |error| self.error("write", error))
            }

            /// Writes all of `bytes`; another task's bytes do not come in between.
            ///
            /// Dropped: any part of them may have been written.
            ///
            /// Not polled: it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// As [`write`](Self::write); any part may have been written.
            #[inline]
            pub fn write_all(&self, bytes: &[u8]) -> impl std::future::Future<Output = std::io::Result<()>> {
                let written = self.fd.write_all(bytes, $write);
                $crate::net::methods::map_err(written, |error| self.error("write", error))
            }

            /// Writes as [`write`](Self::write) does, from several buffers in order. At most 1024 of them are used, and
            /// 1 GiB.
            ///
            /// Dropped: nothing has been written.
            ///
            /// Not polled: it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// As [`write`](Self::write).
            pub fn writev(
                &self,
                buffers: &[std::io::IoSlice<'_>],
            ) -> impl std::future::Future<Output = std::io::Result<usize>> {
                let written = self.fd.write(|fd| $writev(fd, buffers));
                $crate::net::methods::map_err(written, |error| self.error("writev", error))
            }

            /// Waits until a write is worth a try: there is room, or an error. A hint; while another task awaits a write it
            /// waits for the end of that. Several that wait in `writable` are all told.
            ///
            /// Dropped: nothing has happened.
            ///
            /// Not polled: it is in nobody's way, see [turns](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Closed, `TimedOut` for the write deadline. What else has gone wrong is for the write to say.
            pub async fn writable(&self) -> std::io::Result<()> {
                let writable = self.fd.readiness($crate::fd::WriteMode);
                writable.await.map_err(|error| self.error("writable", error))
            }

            /// Writes what the kernel takes, and never waits.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if it takes nothing, or if another task is writing or awaits a write; see
            /// [`writable`](Self::writable). Others as [`write`](Self::write).
            pub fn try_write(&self, bytes: &[u8]) -> std::io::Result<usize> {
                let written =
                    self.fd.try_run($crate::fd::WriteMode, |fd| $crate::coop::counted($write(fd, bytes)));
                written.map_err(|error| {
                    $crate::net::methods::map_err_unless_would_block(error, |error| {
                        self.error("write", error)
                    })
                })
            }
        }

        $crate::net::methods::write_deadline!($type);
    };
}

/// A type with a field `fd`, for the floors above.
pub(crate) trait Descriptor {
    fn fd(&self) -> &Fd;
}

/// What every descriptor of ours has: `close with_io`, and the number for others.
macro_rules! descriptor_methods {
    ($type:ty) => {
        impl $crate::net::methods::Descriptor for $type {
            fn fd(&self) -> &$crate::fd::Fd {
                &self.fd
            }
        }

        impl $type {
            /// Closes it: everything that waits fails with closed, in whatever task. When this returns the descriptor's number
            /// is free, and the kernel has begun to end what it stood for. An operation whose future is not polled any more
            /// does not hold it up: polled later, it says closed. What becomes of bytes that are still on their way is said
            /// at the type.
            ///
            /// One call of `as_fd` postpones both until this value is dropped, however long ago it was: waiting ends here as
            /// ever, but a peer reads no end, and a port stays taken.
            ///
            /// Dropped: the closing goes on without the wait.
            ///
            /// # Errors
            ///
            /// Closed, if it was already.
            pub async fn close(&self) -> std::io::Result<()> {
                let closed = self.fd.close().await;
                $crate::coop::proceed().await;
                closed.map_err(|error| self.error("close", error))
            }

            /// Calls `io` with the descriptor until it says something other than `WouldBlock` or `Interrupted`, and waits
            /// for the interest in between: for calls that this crate does not have. The first call is made before anything is
            /// waited for. It takes its turn in that direction, and deadlines hold. `io` must not block, and must say `WouldBlock` only when the kernel did.
            ///
            /// Dropped: `io` has said nothing but `WouldBlock`.
            ///
            /// Not polled: it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// What `io` says; closed, `TimedOut` for the deadline of that direction; `InvalidInput` for an interest other
            /// than reads and writes, for which [`AsyncFd::with_interest`](crate::net::AsyncFd::with_interest) watches a
            /// duplicate.
            pub async fn with_io<R>(
                &self,
                interest: $crate::net::Interest,
                mut io: impl FnMut(std::os::fd::BorrowedFd<'_>) -> std::io::Result<R>,
            ) -> std::io::Result<R> {
                let Some(mode) = interest.mode() else {
                    let refused = self.error("with_io", $crate::net::Interest::refusal());
                    return $crate::coop::refuse(refused).await;
                };
                self.fd.mark_other_writers();
                let called = self.fd.run(mode, move |fd| {
                    loop {
                        match io(fd) {
                            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                            result => return result,
                        }
                    }
                });
                called.await.map_err(|error| self.error("with_io", error))
            }
        }

        /// For options that this crate does not have.
        ///
        /// The number stays ours: do not close it, do not make it blocking, and know that a duplicate keeps the open file
        /// alive, be it a connection or a port. To read or write through it is to compete with the operations of this
        /// value. Once it has been asked for, it stays open until this value is dropped; `close` ends all waiting, as ever,
        /// but what it stands for ends only then.
        ///
        /// # Panics
        ///
        /// If this was closed before.
        impl std::os::fd::AsFd for $type {
            #[track_caller]
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.fd.pin_fd()
            }
        }
    };
}

/// What connected sockets have: `shutdown peer_closed`.
macro_rules! connected_methods {
    ($type:ty) => {
        impl $type {
            /// Shuts down one half or both: the peer reads the end, or our reads do.
            ///
            /// # Errors
            ///
            /// Closed, `NotConnected` when the peer is gone.
            pub fn shutdown(&self, how: std::net::Shutdown) -> std::io::Result<()> {
                self.fd.shutdown(how).map_err(|error| self.error("shutdown", error))
            }

            /// Returns true once the poller has seen that the peer closed or shut down its writing half, or reset the
            /// connection; one load, no system call. What came before may still be unread.
            ///
            /// After this side has shut down its own reading half the poller cannot tell the two apart, so a system call
            /// asks the kernel. It knows of a TCP peer on Linux. Of any other peer it knows the close alone, and not even
            /// that once both halves were shut down here: then this stays as it was, unless an error comes.
            pub fn peer_closed(&self) -> bool {
                self.fd.peer_closed()
            }

            /// Shuts down the writing half for a trait whose users close what may be gone already: then there is nothing to
            /// be shut down, and that is no error.
            #[allow(dead_code, reason = "not every type with a connection is a stream of bytes")]
            pub(crate) fn end_writing(&self) -> std::io::Result<()> {
                match self.shutdown(std::net::Shutdown::Write) {
                    Err(error)
                        if error.kind() == std::io::ErrorKind::NotConnected
                            && !$crate::error::is_closed(&error) =>
                    {
                        Ok(())
                    }
                    result => result,
                }
            }
        }
    };
}

/// `peek`, of a stream socket.
macro_rules! peek_method {
    ($type:ty) => {
        impl $type {
            /// Reads as [`read`](Self::read) does, but leaves the bytes where they are.
            ///
            /// Dropped: nothing has happened.
            ///
            /// Not polled: it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// As [`read`](Self::read).
            pub async fn peek(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let peeked = self.fd.read(buffer.is_empty(), |fd| {
                    // The bytes are still there, however few.
                    let read = $crate::sys::socket::peek(fd, buffer)?;
                    Ok($crate::sys::socket::Read { drained: false, ..read })
                });
                peeked.await.map_err(|error| self.error("peek", error))
            }
        }
    };
}

pub(crate) use deadlines::{both_deadlines, read_deadline, write_deadline};
pub(crate) use futures::{futures_read, futures_write};
pub(crate) use {connected_methods, descriptor_methods, peek_method, read_methods, write_methods};

use std::io::{self, IoSliceMut};

use crate::fd::Fd;
pub(crate) use map_err::{cold_err, map_err};

/// No byte fits into any of them.
pub(crate) fn no_room(buffers: &[IoSliceMut<'_>]) -> bool {
    buffers.iter().all(|buffer| buffer.is_empty())
}

/// `WouldBlock` is an answer, not a failure; it costs no look at the addresses.
pub(crate) fn map_err_unless_would_block(
    error: io::Error,
    map_err: impl FnOnce(io::Error) -> io::Error,
) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { error } else { map_err(error) }
}
