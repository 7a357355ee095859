//! The close that leaves the peer time to read.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use netpoll_core::Modes;

use super::TcpStream;
use crate::coop;
use crate::error::is_closed;
use crate::sys::socket::recv;
use crate::time::timeout;

/// How many bytes are read and forgotten at a time.
const PIECE: usize = 8 * 1024;

impl TcpStream {
    /// Closes the connection so that the peer gets everything that was written, also if it is still sending: shuts the
    /// writing half down, reads and forgets what comes until the peer ends its stream, and closes. Returns true if the peer
    /// ended its stream, false if one of the limits was reached first or a read found that the connection was reset.
    ///
    /// That is for a server that answers before it has read the whole request, such as one that refuses an upload: see
    /// [closing](TcpStream#closing) for what a plain close does then. `time` bounds the wait, from this call on; `bytes`
    /// bounds what is read, or a peer that never stops sending would be served all that time. At a limit the connection is
    /// closed as by [`close`](Self::close), so the kernel resets it if input is left. A few seconds and some 100 KiB are
    /// common: nginx waits 5 s for each piece and 30 s in all, Apache 2 s and 30 s, Go 0.5 s.
    ///
    /// The read deadline is cleared, for it may be what made the server give up. Reads that wait when this is called go
    /// first; what they get is theirs.
    ///
    /// Dropped: the writing half is shut down, and the stream is open.
    ///
    /// # Errors
    ///
    /// Returns an error if the stream was closed before or meanwhile, and what close(2) says.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use netpoll_rt::net::{TcpListener, TcpStream};
    /// /// Refuses a request whose body is still on its way.
    /// async fn refuse(stream: TcpStream) -> std::io::Result<()> {
    ///     stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\n\r\n").await?;
    ///     stream.close_lingering(Duration::from_secs(2), 256 * 1024).await?;
    ///     Ok(())
    /// }
    /// # netpoll_rt::block_on(async {
    /// #     let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// #     let client = TcpStream::connect(listener.local_addr()?).await?;
    /// #     client.write_all(&[0; 4096]).await?;
    /// #     let refused = netpoll_rt::spawn(refuse(listener.accept().await?.0));
    /// #     let mut answer = Vec::new();
    /// #     while client.read_buf(&mut answer).await? > 0 {}
    /// #     assert!(answer.starts_with(b"HTTP/1.1 413"));
    /// #     drop(client);
    /// #     refused.await.unwrap()
    /// # }).unwrap();
    /// ```
    pub async fn close_lingering(&self, time: Duration, bytes: u64) -> io::Result<bool> {
        coop::proceed().await;
        let ended =
            self.end_and_drain(time, bytes).await.map_err(|error| self.error("close_lingering", error))?;
        self.close().await?;
        Ok(ended)
    }

    /// Everything but the close. Returns an error only if the stream is closed.
    async fn end_and_drain(&self, time: Duration, bytes: u64) -> io::Result<bool> {
        match self.fd.shutdown(Shutdown::Write) {
            Err(error) if is_closed(&error) => return Err(error),
            // `NotConnected`: the connection has ended in both directions, or was reset. The reads say which, at once.
            Err(_) | Ok(()) => {}
        }
        self.fd.set_deadline(Modes::READ, None)?;
        timeout(time, self.forget_input(bytes)).await.unwrap_or(Ok(false))
    }

    /// Reads to the peer's end; false after more than `most` bytes, or an error.
    async fn forget_input(&self, most: u64) -> io::Result<bool> {
        let mut left = most;
        loop {
            match self.fd.read(false, |fd| recv(fd, &mut [0; PIECE])).await {
                Ok(0) => return Ok(true),
                Ok(n) => match left.checked_sub(n as u64) {
                    Some(rest) => left = rest,
                    None => return Ok(false),
                },
                Err(error) if is_closed(&error) => return Err(error),
                // A reset: the peer takes nothing any more.
                Err(_) => return Ok(false),
            }
        }
    }
}
