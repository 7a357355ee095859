//! Readiness, attempts that do not wait, and reads and writes of several buffers.

use std::io::{self, IoSlice, IoSliceMut};

use netpoll_core::poll_key::Mode;

use super::TcpStream;
use crate::sys::socket as sys;

impl TcpStream {
    /// Waits until a read is worth a try: bytes have come, or the end of the stream, or an error. With
    /// [`TcpStream::try_read`] this is the way to write a server with many idle connections, none of which holds a buffer:
    ///
    /// ```
    /// # use std::io::{self, ErrorKind};
    /// # use netpoll_rt::net::{TcpListener, TcpStream};
    /// # use std::cell::RefCell;
    /// thread_local! {
    ///     /// One for each thread, however many connections there are.
    ///     static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 16 * 1024]);
    /// }
    ///
    /// /// How many bytes the peer sends before it ends the stream.
    /// async fn count(stream: TcpStream) -> io::Result<usize> {
    ///     let mut count = 0;
    ///     loop {
    ///         stream.readable().await?;
    ///         match BUFFER.with_borrow_mut(|buffer| stream.try_read(buffer)) {
    ///             Ok(0) => return Ok(count),
    ///             Ok(n) => count += n,
    ///             Err(error) if error.kind() == ErrorKind::WouldBlock => {}
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    /// }
    /// # netpoll_rt::block_on(async {
    /// #     let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// #     let client = TcpStream::connect(listener.local_addr()?).await?;
    /// #     let counted = netpoll_rt::spawn(count(listener.accept().await?.0));
    /// #     client.write_all(b"twelve bytes").await?;
    /// #     drop(client);
    /// #     assert_eq!(counted.await.unwrap()?, 12);
    /// #     io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// It is a hint: the read may still find nothing. It waits its turn among the reads, in order.
    ///
    /// Dropped: nothing has happened.
    ///
    /// # Errors
    ///
    /// Closed, `TimedOut` for the read deadline. What has gone wrong with the connection is for the read to say.
    pub async fn readable(&self) -> io::Result<()> {
        self.fd.readiness(Mode::Read).await.map_err(|error| self.fd.error("readable", error))
    }

    /// Waits until a write is worth a try: there is room, or an error. A hint, and in turn, as [`TcpStream::readable`].
    ///
    /// Dropped: nothing has happened.
    ///
    /// # Errors
    ///
    /// Closed, `TimedOut` for the write deadline. What has gone wrong with the connection is for the write to say.
    pub async fn writable(&self) -> io::Result<()> {
        self.fd.readiness(Mode::Write).await.map_err(|error| self.fd.error("writable", error))
    }

    /// Reads what has come, up to the length of `buffer`, and never waits. 0 is the end of the stream, or an empty
    /// buffer.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing has come, or if another task is reading or waits to; see [`TcpStream::readable`]. Others
    /// as [`TcpStream::read`].
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fd.try_read(buffer.is_empty(), |fd| sys::recv(fd, buffer));
        read.map_err(|error| self.tried("read", error))
    }

    /// Writes what the kernel takes, and never waits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if it takes nothing, or if another task is writing or waits to; see [`TcpStream::writable`]. Others
    /// as [`TcpStream::write`].
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.fd.try_run(Mode::Write, |fd| sys::send(fd, bytes));
        written.map_err(|error| self.tried("write", error))
    }

    /// `WouldBlock` is an answer, not a failure; it costs no look at the addresses.
    fn tried(&self, op: &'static str, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::WouldBlock { error } else { self.fd.error(op, error) }
    }

    /// Reads as [`TcpStream::read`] does, into several buffers in order: each is filled before the next. At most 1024 of
    /// them are used, and 1 GiB.
    ///
    /// Dropped: nothing has been read.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::read`].
    pub async fn readv(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let read = self.fd.read(no_room(buffers), |fd| sys::recvv(fd, buffers));
        read.await.map_err(|error| self.fd.error("readv", error))
    }

    /// Writes as [`TcpStream::write`] does, from several buffers in order. At most 1024 of them are used, and 1 GiB.
    ///
    /// Dropped: nothing has been written.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::write`].
    pub async fn writev(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.fd.run(Mode::Write, |fd| sys::sendv(fd, buffers));
        written.await.map_err(|error| self.fd.error("writev", error))
    }
}

/// No byte fits into any of them.
pub(super) fn no_room(buffers: &[IoSliceMut<'_>]) -> bool {
    buffers.iter().all(|buffer| buffer.is_empty())
}
