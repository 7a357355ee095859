//! Second handles.

use std::io;

use super::{TcpListener, TcpStream};

impl TcpListener {
    /// A second handle on the same listening socket, watched for itself: each connection goes to one of the two, both of
    /// which are woken if both wait. Closing one leaves the other listening. Deadlines are each handle's own; options
    /// are the socket's.
    ///
    /// To spread connections over tasks, share one listener instead: accept takes `&self`, and wakes one.
    ///
    /// # Errors
    ///
    /// Closed; no descriptors left (`EMFILE`).
    pub fn dup(&self) -> io::Result<Self> {
        self.fd.dup().map(|fd| Self { fd }).map_err(|error| self.error("dup", error))
    }
}

impl TcpStream {
    /// A second handle on the same connection, watched for itself. Both read and write the same bytes: what one has read
    /// the other does not get, and operations of the two are not put in order. Closing one leaves the connection to the
    /// other, and the peer sees its end when both are closed; but [`shutdown`](Self::shutdown) ends a half of the
    /// connection, through whichever handle. Deadlines are each handle's own; options are the connection's.
    ///
    /// To use a stream from several tasks, share one instead (in an `Arc`): every operation takes `&self`.
    ///
    /// # Errors
    ///
    /// Closed; no descriptors left (`EMFILE`).
    pub fn dup(&self) -> io::Result<Self> {
        let fd = self.fd.dup().map_err(|error| self.error("dup", error))?;
        Ok(Self { fd, peer: self.peer.clone() })
    }
}
