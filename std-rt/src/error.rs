//! The errors of descriptors and files: the operation, the addresses or the path, the cause, and a hint.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use netpoll_core::PollErr;

use crate::protocol::job::Refusal;
use crate::sys::{Address, Exhausted};

/// The error inside an [`io::Error`] of a socket: the operation, the addresses as far as they are known, the
/// cause.
pub struct OpError {
    op: &'static str,
    fd: Option<i32>,
    local: Option<Address>,
    peer: Option<Address>,
    source: io::Error,
}

impl OpError {
    /// Creates the error of an operation that has no descriptor or address yet, such as `resolve`. It keeps
    /// the kind of `source`.
    pub(crate) fn new(op: &'static str, source: io::Error) -> Self {
        OpError { op, fd: None, local: None, peer: None, source }
    }

    /// Adds the descriptor's number.
    pub(crate) fn on(mut self, fd: i32) -> Self {
        self.fd = Some(fd);
        self
    }

    /// Adds the addresses, as far as they are known.
    pub(crate) fn between(mut self, local: Option<Address>, peer: Option<Address>) -> Self {
        (self.local, self.peer) = (local, peer);
        self
    }

    /// Returns the operation, such as `read` or `accept`.
    pub fn op(&self) -> &'static str {
        self.op
    }

    /// Returns the address on this side, if the socket has one.
    pub fn local(&self) -> Option<&Address> {
        self.local.as_ref()
    }

    /// Returns the address on the other side, if it is known.
    pub fn peer(&self) -> Option<&Address> {
        self.peer.as_ref()
    }

    /// Returns the number that the descriptor had, if there was one.
    pub fn fd(&self) -> Option<i32> {
        self.fd
    }

    /// Returns the number of the kernel's error, if it was the kernel's.
    pub fn raw_os_error(&self) -> Option<i32> {
        innermost(&self.source).raw_os_error()
    }

    /// Returns advice, or the usual cause; the text of the error ends with it.
    pub fn hint(&self) -> Option<&'static str> {
        let mut addresses = [&self.local, &self.peer].into_iter().flatten();
        hint(self.op, addresses.any(|address| address.unix().is_some()), &self.source)
    }
}

/// Returns whether an error is that of a deadline. The kernel's own timeout has a number; a deadline's error
/// has nothing but its kind. Errors of deadlines come often, so their text is added when it is shown, without
/// an allocation.
pub(crate) fn is_deadline(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none() && error.get_ref().is_none()
}

/// Returns advice for an error, as far as the operation and the kernel's answer tell. `unix` says that the
/// socket has a name on this machine, not an IP address.
fn hint(op: &str, unix: bool, error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind as Kind;
    if let Some(exhausted) = Exhausted::from_error(error) {
        return Some(hint_of_exhaustion(exhausted));
    }
    // An error without the kernel's number is one of this crate, whose text is complete.
    error.raw_os_error()?;
    let hint = match (op, error.kind()) {
        ("bind", Kind::AddrInUse) if unix => "the name exists; unlink it if no socket listens there any more",
        ("bind", Kind::PermissionDenied) if unix => "the folder must be writable",
        ("connect", Kind::NotFound) if unix => "no socket has this name",
        ("connect", Kind::ConnectionRefused) if unix => "no socket listens at this name any more",
        ("bind" | "listen", Kind::AddrInUse) => {
            "another socket has this address: `ss -anp` shows whose; port 0 takes a free one"
        }
        ("bind", Kind::AddrNotAvailable) => "no interface of this host has this address",
        ("bind", Kind::PermissionDenied) => {
            "ports below net.ipv4.ip_unprivileged_port_start (1024) need CAP_NET_BIND_SERVICE"
        }
        ("connect", Kind::ConnectionRefused) => "no socket listens there",
        ("connect", Kind::AddrNotAvailable) => {
            "no local port is left towards it: see net.ipv4.ip_local_port_range"
        }
        ("connect", Kind::TimedOut) => "no answer came: the host is down, or a firewall drops packets",
        (_, Kind::TimedOut) => "the peer takes nothing any more: it, its host or the network is stuck",
        (_, Kind::ConnectionReset) => "the peer aborted, or closed before it had read everything",
        (_, Kind::BrokenPipe) => {
            "the stream has no reader any more: the other end is closed, or this half was shut down"
        }
        (_, Kind::HostUnreachable | Kind::NetworkUnreachable) => "no route leads there",
        _ => return None,
    };
    Some(hint)
}

fn hint_of_exhaustion(exhausted: Exhausted) -> &'static str {
    match exhausted {
        Exhausted::ProcessDescriptors => "this process has as many descriptors as it may: raise `ulimit -n`",
        Exhausted::SystemDescriptors => {
            "the whole system has as many open files as it may: raise fs.file-max"
        }
        Exhausted::Memory => {
            "the kernel has no memory for it: see net.ipv4.tcp_mem and the limits of the container"
        }
        Exhausted::Family => "this host does not have this kind of address; is IPv6 switched off?",
    }
}

/// Writes the same text as `Display`, because `main` prints an error that it returns by `Debug`.
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
        match is_deadline(&self.source) {
            true => f.write_str(": the deadline has passed")?,
            false => write!(f, ": {}", self.source)?,
        }
        self.hint().map_or(Ok(()), |hint| write!(f, "; {hint}"))
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

/// The cause of an error after a close on this side.
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

/// Returns whether an error says that the descriptor was closed on this side, before or during the operation.
/// (After a close of the peer a read returns `Ok(0)`, and a write fails with `BrokenPipe` or
/// `ConnectionReset`.)
pub fn is_closed(error: &io::Error) -> bool {
    innermost(error).get_ref().is_some_and(|inner| inner.is::<Closed>())
}

/// The reason why no thread polls for a wait any more, so that it would never end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unavailable {
    /// The runtime was dropped or shut down.
    Ended,
    /// The runtime belongs to the process that this one was forked from.
    Forked,
}

impl Unavailable {
    pub(crate) fn message(self) -> &'static str {
        match self {
            Unavailable::Ended => {
                "its runtime has ended, so nothing can wake a task that waits for it; \
                 keep that `Runtime` for as long as its descriptors are used"
            }
            Unavailable::Forked => {
                "its runtime belongs to the process that this one was forked from, and its threads are not here; \
                 make a `Runtime` after fork(2) and open the descriptors in it"
            }
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl Error for Unavailable {}

impl From<Unavailable> for io::Error {
    #[cold]
    fn from(gone: Unavailable) -> Self {
        io::Error::other(gone)
    }
}

/// Returns whether an error says that the descriptor belongs to a runtime that cannot serve it any more: the
/// runtime was dropped or shut down, or it belongs to the process that this one was forked from.
///
/// An operation that would have to wait fails with this error, and so does one that waits when the runtime
/// ends. The kind of the error is [`Other`](io::ErrorKind::Other). An operation that need not wait still
/// succeeds, and `close` works.
///
/// ```
/// # use netpoll_rt::{Runtime, net::UdpSocket};
/// let first = Runtime::new()?;
/// let socket = first.block_on(async { UdpSocket::bind("127.0.0.1:0").await })?;
/// drop(first);
/// let error = netpoll_rt::block_on(socket.recv(&mut [0; 16])).unwrap_err();
/// assert!(netpoll_rt::runtime_ended(&error));
/// # std::io::Result::Ok(())
/// ```
pub fn runtime_ended(error: &io::Error) -> bool {
    innermost(error).get_ref().is_some_and(|inner| inner.is::<Unavailable>())
}

/// Returns the original error, inside those that add an operation, a path or a count.
fn innermost(mut error: &io::Error) -> &io::Error {
    while let Some(inner) = error.get_ref().and_then(Error::source).and_then(<dyn Error>::downcast_ref) {
        error = inner;
    }
    error
}

/// Returns the error of a descriptor on which the kernel has reported an error and nothing else, and a read
/// finds nothing: a wait could last for ever.
pub(crate) fn not_pollable() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "the kernel reports an error on it and nothing to read, so it cannot be waited for",
    )
}

/// Returns the refusal of a wait as an error of io.
#[cold]
pub(crate) fn refused(why: PollErr) -> io::Error {
    match why {
        PollErr::Closing => closed(),
        // It allocates nothing; see `is_deadline`.
        PollErr::Timeout => io::ErrorKind::TimedOut.into(),
        PollErr::Ended => Unavailable::Ended.into(),
        PollErr::DoubleWait => io::Error::other("two tasks wait in one direction of one descriptor"),
    }
}

/// Repeats a call while a signal interrupts it.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A path, and the error of an operation on it.
#[derive(Debug)]
struct AtPath {
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for AtPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.source)
    }
}

impl Error for AtPath {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Adds the path to an error, whose kind is kept.
pub(crate) fn at_path(path: &Path, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), AtPath { path: path.to_owned(), source })
}

/// Returns the refusal of the pool of threads as an error of io.
pub(crate) fn no_thread(why: Refusal) -> io::Error {
    let (kind, number) = match why {
        Refusal::NoThread(number) => (io::ErrorKind::ResourceBusy, number),
        Refusal::Closed => (io::ErrorKind::NotConnected, None),
        Refusal::Forked => (io::ErrorKind::Unsupported, None),
    };
    io::Error::new(kind, Refused { why, source: number.map(io::Error::from_raw_os_error) })
}

/// A refusal of the pool. The kernel's error is its source, so that its number can be found; the kind of that
/// error, `WouldBlock`, would mislead a caller.
#[derive(Debug)]
struct Refused {
    why: Refusal,
    source: Option<io::Error>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, advice) = match self.why {
            Refusal::NoThread(_) => (
                "no thread for work that blocks can be started",
                "raise the limit on threads (RLIMIT_NPROC, pids.max of the cgroup), or run fewer",
            ),
            Refusal::Closed => ("its runtime has ended", "use a runtime that runs"),
            Refusal::Forked => (
                "this process was forked from the one that has the runtime's threads",
                "make a runtime after the fork, or exec",
            ),
        };
        f.write_str(what)?;
        self.source.as_ref().map_or(Ok(()), |source| write!(f, ": {source}"))?;
        write!(f, "; {advice}")
    }
}

impl Error for Refused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
