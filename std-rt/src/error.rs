//! What an error of a descriptor says: which operation, between which addresses, and why.

mod at_path;
mod refused;

use std::error::Error;
use std::fmt;
use std::io;

use netpoll_core::PollErr;

use crate::sys::{Address, Exhausted};
pub(crate) use at_path::at_path;
pub(crate) use refused::no_thread;

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
        first(&self.source).raw_os_error()
    }

    /// What its reader can do about it, or what usually is behind it; the end of the error's text.
    pub fn hint(&self) -> Option<&'static str> {
        let addresses = || [&self.local, &self.peer].into_iter().flatten();
        hint(self.op, addresses().any(|address| address.unix().is_some()), &self.source)
    }

    /// The kernel's own timeout has a number, that of a deadline has nothing but its kind: errors of deadlines come
    /// often, so what they say is said here, without an allocation.
    fn is_deadline(&self) -> bool {
        self.source.kind() == io::ErrorKind::TimedOut
            && self.source.raw_os_error().is_none()
            && self.source.get_ref().is_none()
    }
}

/// What to do about an error, as far as its operation and the kernel's answer say. `unix`: the socket has a name on this
/// machine, not an address of IP.
fn hint(op: &str, unix: bool, error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind as Kind;
    if let Some(exhausted) = Exhausted::from_error(error) {
        return Some(hint_of_exhaustion(exhausted));
    }
    // Without the kernel's number it is an error of ours, which has said all.
    error.raw_os_error()?;
    let hint = match (op, error.kind()) {
        ("bind", Kind::AddrInUse) if unix => {
            "the name is there already; unlink it if nobody listens any more"
        }
        ("bind", Kind::PermissionDenied) if unix => "the folder must be writable",
        ("connect", Kind::NotFound) if unix => "no socket has this name",
        ("connect", Kind::ConnectionRefused) if unix => "nobody listens at this name any more",
        ("bind" | "listen", Kind::AddrInUse) => {
            "another socket has this address: `ss -anp` shows whose; port 0 takes a free one"
        }
        ("bind", Kind::AddrNotAvailable) => "no interface of this host has this address",
        ("bind", Kind::PermissionDenied) => {
            "ports below net.ipv4.ip_unprivileged_port_start (1024) need CAP_NET_BIND_SERVICE"
        }
        ("connect", Kind::ConnectionRefused) => "nobody listens there",
        ("connect", Kind::AddrNotAvailable) => {
            "no local port is left towards it: see net.ipv4.ip_local_port_range"
        }
        ("connect", Kind::TimedOut) => "nobody answered: the host is down, or a firewall drops packets",
        (_, Kind::TimedOut) => "the peer takes nothing any more: it, its host or the network is stuck",
        (_, Kind::ConnectionReset) => "the peer aborted, or closed before it had read everything",
        (_, Kind::BrokenPipe) => "nobody reads any more: the other end is closed, or this half was shut down",
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
        match self.is_deadline() {
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
    first(error).get_ref().is_some_and(|inner| inner.is::<Closed>())
}

/// Why nothing will end a wait: nobody polls for it any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unavailable {
    /// The runtime was dropped or shut down.
    Ended,
    /// This process was forked from the one whose runtime it is.
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

/// Returns whether an error says that the descriptor belongs to a runtime that cannot serve it any more: the runtime was
/// dropped or shut down, or it belongs to the process that this one was forked from.
///
/// An operation that would have to wait fails so, and so does one that waits when the runtime ends. The kind of the error
/// is [`Other`](io::ErrorKind::Other). What can be done without waiting still succeeds, and `close` works.
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
    first(error).get_ref().is_some_and(|inner| inner.is::<Unavailable>())
}

/// The error that was there first, within those that name an operation, a path or a count.
fn first(mut error: &io::Error) -> &io::Error {
    while let Some(inner) = error.get_ref().and_then(Error::source).and_then(<dyn Error>::downcast_ref) {
        error = inner;
    }
    error
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

/// The kernel has reported an error and nothing else, and a read finds nothing: a wait could last for ever.
pub(crate) fn not_pollable() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "the kernel reports an error on it and nothing to read, so it cannot be waited for",
    )
}

/// Why a wait was refused, as an error of io.
#[cold]
pub(crate) fn refused(why: PollErr) -> io::Error {
    match why {
        PollErr::Closing => closed(),
        // Costs no allocation; `OpError` knows it by its having nothing else.
        PollErr::Timeout => io::ErrorKind::TimedOut.into(),
        PollErr::Ended => Unavailable::Ended.into(),
        PollErr::DoubleWait => io::Error::other("two tasks wait in one direction of one descriptor"),
    }
}
