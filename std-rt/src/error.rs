//! What an error of a descriptor says: which operation, between which addresses, and why.

use std::error::Error;
use std::fmt;
use std::io;

use netpoll_core::poll_desc::PollErr;

use crate::sys::Address;

/// What is inside an [`io::Error`] of a socket: the operation, the addresses as far as they are known, the cause.
pub struct OpError {
    op: &'static str,
    fd: Option<i32>,
    local: Option<Address>,
    peer: Option<Address>,
    source: io::Error,
}

impl OpError {
    /// An error of an operation on no descriptor or address yet, such as `resolve`. The kind of `source` is kept.
    pub(crate) fn new(op: &'static str, source: io::Error) -> Self {
        OpError { op, fd: None, local: None, peer: None, source }
    }

    /// With the descriptor's number.
    pub(crate) fn on(mut self, fd: i32) -> Self {
        self.fd = Some(fd);
        self
    }

    /// With the addresses, as far as they are known.
    pub(crate) fn between(mut self, local: Option<Address>, peer: Option<Address>) -> Self {
        (self.local, self.peer) = (local, peer);
        self
    }

    /// The operation, such as `read` or `accept`.
    pub fn op(&self) -> &'static str {
        self.op
    }

    /// The address on this side, if the socket has one.
    pub fn local(&self) -> Option<&Address> {
        self.local.as_ref()
    }

    /// The address on the other side, if it is known.
    pub fn peer(&self) -> Option<&Address> {
        self.peer.as_ref()
    }

    /// The descriptor's number at that time, if there was one.
    pub fn fd(&self) -> Option<i32> {
        self.fd
    }

    /// The number that the kernel gave, if it was the kernel.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

/// As it is shown to people: this is what `main` prints of an error that it returns.
impl fmt::Debug for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op)?;
        match (&self.local, &self.peer) {
            (Some(local), Some(peer)) => write!(f, " {local}->{peer}")?,
            (Some(address), None) | (None, Some(address)) => write!(f, " {address}")?,
            (None, None) => {}
        }
        if let Some(fd) = self.fd {
            write!(f, " (fd {fd})")?;
        }
        write!(f, ": {}", self.source)
    }
}

impl From<OpError> for io::Error {
    fn from(error: OpError) -> Self {
        io::Error::new(error.source.kind(), error)
    }
}

impl Error for OpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// The descriptor was closed on this side.
#[derive(Debug)]
struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed by this program")
    }
}

impl Error for Closed {}

pub(crate) fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, Closed)
}

/// True for an error that says that the descriptor was closed on this side, before or during the operation. (The peer's
/// closing is `Ok(0)` for a read, `BrokenPipe` or `ConnectionReset` for a write.)
pub fn is_closed(error: &io::Error) -> bool {
    let inner = error.get_ref();
    let inner = match inner.and_then(|inner| inner.downcast_ref::<OpError>()) {
        Some(op) => op.source.get_ref(),
        None => inner,
    };
    inner.is_some_and(|inner| inner.is::<Closed>())
}

/// Why a wait was refused, as an error of io.
pub(crate) fn refused(why: PollErr) -> io::Error {
    match why {
        PollErr::Closing => closed(),
        PollErr::Timeout => io::Error::new(io::ErrorKind::TimedOut, "the deadline has passed"),
        PollErr::NotPollable => io::Error::new(
            io::ErrorKind::Unsupported,
            "the kernel reports an error on it and nothing to read, so it cannot be waited for",
        ),
        PollErr::DoubleWait => io::Error::other("two tasks wait in one direction of one descriptor"),
    }
}
