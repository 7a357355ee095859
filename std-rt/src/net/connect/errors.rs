//! Why none of several addresses would do.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use netpoll_core::PollErr;

use crate::error::{self, OpError};

const PASSED: &str = "the deadline has passed";

/// The errors of all addresses that were tried in vain, in the order in which they were tried: inside the error of an
/// operation that had several to choose from, such as [`TcpStream::connect`](crate::net::TcpStream::connect) and
/// [`TcpListener::bind`](crate::net::TcpListener::bind).
///
/// ```
/// # use netpoll_rt::net::{AddressErrors, TcpStream};
/// # netpoll_rt::block_on(async {
/// # let ports: Vec<_> = (0..2).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
/// # let closed: Vec<_> = ports.iter().map(|port| port.local_addr().unwrap()).collect();
/// # drop(ports);
/// let error = TcpStream::connect(&closed[..]).await.unwrap_err();
/// for (address, error) in AddressErrors::of(&error).expect("there were two").iter() {
///     println!("{address}: {error}");
/// }
/// # });
/// ```
#[derive(Debug)]
pub struct AddressErrors {
    /// What was looked up, if the addresses came from a name.
    name: Option<String>,
    /// At least one.
    errors: Vec<(SocketAddr, io::Error)>,
}

impl AddressErrors {
    /// The errors of the single addresses, if `error` is of an operation that tried several.
    pub fn of(error: &io::Error) -> Option<&Self> {
        cause(error).get_ref()?.downcast_ref()
    }

    /// Each address and what became of it: the error that an attempt at this address alone would have given. Those that
    /// time was too short for have one of kind `TimedOut`.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &io::Error)> {
        self.errors.iter().map(|(address, error)| (*address, error))
    }

    /// What an operation says that has tried all of these: the error of a single address as it is, more of them as a
    /// list. The kind is that of the first, unless the deadline has `passed`.
    pub(in crate::net) fn error(
        op: &'static str,
        name: Option<String>,
        mut errors: Vec<(SocketAddr, io::Error)>,
        passed: bool,
    ) -> io::Error {
        let kind = match errors.first() {
            None => return none_given(op),
            Some(_) if passed => io::ErrorKind::TimedOut,
            Some((_, error)) => error.kind(),
        };
        if errors.len() == 1 {
            return errors.remove(0).1;
        }
        OpError::new(op, io::Error::new(kind, AddressErrors { name, errors })).into()
    }
}

impl fmt::Display for AddressErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}: ")?;
        }
        write!(f, "{} addresses failed", self.errors.len())?;
        for (place, (address, error)) in self.errors.iter().enumerate() {
            let mark = if place == 0 { ":" } else { ";" };
            write!(f, "{mark} {address}: ")?;
            match cause(error) {
                late if is_deadline(late) => f.write_str(PASSED)?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

/// The first address's error goes on the chain; [`AddressErrors::iter`] has the others.
impl Error for AddressErrors {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.errors.first().map(|(_, error)| error as _)
    }
}

/// What went wrong, without the operation and its addresses.
pub(in crate::net) fn cause(error: &io::Error) -> &io::Error {
    let op = error.get_ref().and_then(|inner| inner.downcast_ref::<OpError>());
    op.and_then(|op| op.source()?.downcast_ref()).unwrap_or(error)
}

/// A deadline's error has nothing but its kind, the kernel's own timeout has a number.
fn is_deadline(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none() && error.get_ref().is_none()
}

/// The deadline passed before this address had answered, or been tried.
pub(super) fn timed_out(address: SocketAddr) -> io::Error {
    OpError::new("connect", error::refused(PollErr::Timeout)).between(None, Some(address.into())).into()
}

/// The deadline passed while the name was looked up; without one, while somebody's own addresses were made.
pub(super) fn unresolved(name: Option<String>) -> io::Error {
    let why = match name {
        Some(name) => io::Error::new(io::ErrorKind::TimedOut, format!("{name}: {PASSED}")),
        None => error::refused(PollErr::Timeout),
    };
    OpError::new("resolve", why).into()
}

/// Somebody's own list of addresses was empty.
fn none_given(op: &'static str) -> io::Error {
    OpError::new(op, io::Error::new(io::ErrorKind::InvalidInput, "no address was given")).into()
}
