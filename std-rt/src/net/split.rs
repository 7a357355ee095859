//! The owned halves of a connection, for two tasks that own a direction each.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::sync::Arc;

use super::bytes::byte_methods;
use super::methods::*;
use super::{TcpStream, UnixStream};
use crate::sys::SharedFd;
use crate::sys::socket::Read;

/// A stream that can be split into halves: [`TcpStream`] and [`UnixStream`]. Sealed.
pub trait Split: ByteRead + ByteWrite + Descriptor<Owner = SharedFd> + Sized {
    /// The type of its addresses.
    type Address;

    #[doc(hidden)]
    fn local(&self) -> io::Result<Self::Address>;

    #[doc(hidden)]
    fn peer(&self) -> io::Result<Self::Address>;

    #[doc(hidden)]
    fn has_peer_closed(&self) -> bool;
}

/// Writes the functions of a stream that can be split.
macro_rules! split {
    ($type:ident, $address:ty) => {
        impl $type {
            /// Splits the connection into a half that reads and a half that writes, so that two tasks own one each. The
            /// connection is closed when both are dropped, and the peer reads the end as soon as the writing half is.
            ///
            /// Tasks can share a stream without halves, in an `Arc` or by reference, because every operation takes `&self`.
            pub fn into_split(self) -> (OwnedReadHalf<Self>, OwnedWriteHalf<Self>) {
                let stream = Arc::new(self);
                (OwnedReadHalf { stream: stream.clone() }, OwnedWriteHalf { stream, ends_on_drop: true })
            }
        }

        impl Split for $type {
            type Address = $address;

            fn local(&self) -> io::Result<Self::Address> {
                self.local_addr()
            }

            fn peer(&self) -> io::Result<Self::Address> {
                self.peer_addr()
            }

            fn has_peer_closed(&self) -> bool {
                self.peer_closed()
            }
        }
    };
}

split!(TcpStream, SocketAddr);
split!(UnixStream, UnixAddr);

/// The reading half of a connection, from [`TcpStream::into_split`] or [`UnixStream::into_split`].
///
/// Its methods are those of the stream, and take `&self`. Dropping it does not shut down the reading direction: the
/// connection is closed when both halves are dropped.
///
/// ```
/// # use netpoll_rt::net::{TcpListener, TcpStream};
/// use netpoll_rt::spawn;
///
/// # netpoll_rt::block_on(async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// let (reader, writer) = client.into_split();
/// let sent = spawn(async move { writer.write_all(b"request").await }); // drops `writer`: the server reads the end
/// # let echo = spawn(async move { netpoll_rt::io::copy(&server, &server).await });
/// let mut answer = Vec::new();
/// while reader.read_buf(&mut answer).await? > 0 {}
/// # assert_eq!(answer, b"request");
/// sent.await.unwrap()?;
/// # echo.await.unwrap()?;
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct OwnedReadHalf<S = TcpStream> {
    stream: Arc<S>,
}

/// The writing half of a connection, from [`TcpStream::into_split`] or [`UnixStream::into_split`].
///
/// Its methods are those of the stream, and take `&self`. Dropping it shuts down the writing direction, so that the peer
/// reads the end; [`forget`](Self::forget) drops it without that.
#[derive(Debug)]
pub struct OwnedWriteHalf<S: Split = TcpStream> {
    stream: Arc<S>,
    ends_on_drop: bool,
}

/// The error of [`OwnedReadHalf::reunite`]: the halves are not of one stream. It gives them back.
#[derive(Debug)]
pub struct ReuniteError<S: Split = TcpStream>(pub OwnedReadHalf<S>, pub OwnedWriteHalf<S>);

impl<S: Split> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reunite: the two halves are not of the same stream")
    }
}

impl<S: Split + fmt::Debug> Error for ReuniteError<S> {}

impl<S: Split> OwnedReadHalf<S> {
    /// Returns the stream that the two halves are of, with its deadlines.
    ///
    /// # Errors
    ///
    /// Returns an error, with both halves, if they are of different streams.
    pub fn reunite(self, other: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
        if !Arc::ptr_eq(&self.stream, &other.stream) {
            return Err(ReuniteError(self, other));
        }
        other.forget();
        Ok(Arc::into_inner(self.stream).expect("a stream has two halves, and both are here"))
    }

    /// Returns true once the poller has seen that the peer closed or shut down its writing half, or reset the connection;
    /// see [`TcpStream::peer_closed`].
    pub fn peer_closed(&self) -> bool {
        self.stream.has_peer_closed()
    }
}

impl<S: Split> OwnedWriteHalf<S> {
    /// Returns the stream that the two halves are of, with its deadlines.
    ///
    /// # Errors
    ///
    /// Returns an error, with both halves, if they are of different streams.
    pub fn reunite(self, other: OwnedReadHalf<S>) -> Result<S, ReuniteError<S>> {
        other.reunite(self)
    }

    /// Drops it without a shutdown: the peer reads the end only when the other half is dropped as well.
    pub fn forget(mut self) {
        self.ends_on_drop = false;
    }

    /// Shuts down the writing direction: the peer reads the end. A connection that has ended already is no error. The drop
    /// does the same, but cannot return an error.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: nothing has happened.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed.
    pub async fn shutdown(&self) -> io::Result<()> {
        coop::proceed().await;
        self.end()
    }
}

impl<S: Split> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        // In a forked child the connection is the parent's.
        if self.ends_on_drop && self.fd().netpoll().is_owner_process() {
            // An error means that the connection has ended, or is closed; no caller is left to be told.
            let _ = self.stream.end();
        }
    }
}

/// Writes what both halves have.
macro_rules! half {
    ($type:ident) => {
        impl<S: Split> Descriptor for $type<S> {
            type Owner = SharedFd;

            #[inline]
            fn fd(&self) -> &Fd {
                self.stream.fd()
            }

            fn error(&self, op: &'static str, error: io::Error) -> io::Error {
                self.stream.error(op, error)
            }
        }

        impl<S: Split> $type<S> {
            /// Returns the address on this side.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed.
            pub fn local_addr(&self) -> io::Result<S::Address> {
                self.stream.local()
            }

            /// Returns the address on the other side.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; `NotConnected` on a stream that had no peer when it was adopted.
            pub fn peer_addr(&self) -> io::Result<S::Address> {
                self.stream.peer()
            }
        }

        /// Borrows the stream, for its options and its other methods.
        impl<S: Split> AsRef<S> for $type<S> {
            fn as_ref(&self) -> &S {
                &self.stream
            }
        }
    };
}

half!(OwnedReadHalf);
half!(OwnedWriteHalf);
methods!([S: Split] OwnedReadHalf<S>: try_io(false));
methods!([S: Split] OwnedWriteHalf<S>: try_io(false));
byte_methods!([S: Split] OwnedReadHalf<S>: read, peek);
byte_methods!([S: Split] OwnedWriteHalf<S>: write);

impl<S: Split> ByteRead for OwnedReadHalf<S> {
    #[inline]
    fn fill<B: ReadBuffer + ?Sized>(fd: BorrowedFd<'_>, buffer: &mut B) -> io::Result<Read> {
        S::fill(fd, buffer)
    }
}

impl<S: Split> ByteWrite for OwnedWriteHalf<S> {
    #[inline]
    fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        S::send(fd, bytes)
    }

    #[inline]
    fn sendv(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        S::sendv(fd, buffers)
    }

    fn end(&self) -> io::Result<()> {
        self.stream.end()
    }
}
