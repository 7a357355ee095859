//! The errors of several addresses in one.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use netpoll_core::PollErr;

use crate::error::{self, OpError};

const PASSED: &str = "the deadline has passed";

/// The errors of all addresses, in the order of the attempts. It is inside the error of an operation that
/// tried several, such as [`TcpStream::connect`](crate::net::TcpStream::connect) and
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
    /// The name that was looked up, if the addresses came from one.
    name: Option<String>,
    /// The addresses with their errors, at least one.
    errors: Vec<(SocketAddr, io::Error)>,
}

impl AddressErrors {
    /// Returns the errors of the single addresses, if `error` is of an operation that tried several.
    pub fn of(error: &io::Error) -> Option<&Self> {
        cause(error).get_ref()?.downcast_ref()
    }

    /// Returns each address with the error that an attempt at this address alone would have returned. For an
    /// address whose time was too short that is `TimedOut`.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &io::Error)> {
        self.errors.iter().map(|(address, error)| (*address, error))
    }

    /// Returns the error of an operation that has tried all of these: the error of a single address as it is,
    /// several as a list. The kind is that of the first, unless the deadline has `passed`.
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
                late if error::is_deadline(late) => f.write_str(PASSED)?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

/// The error of the first address is the source; [`AddressErrors::iter`] has the others.
impl Error for AddressErrors {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.errors.first().map(|(_, error)| error as _)
    }
}

/// Returns the cause of an error, without the operation and its addresses.
pub(in crate::net) fn cause(error: &io::Error) -> &io::Error {
    let op = error.get_ref().and_then(|inner| inner.downcast_ref::<OpError>());
    op.and_then(|op| op.source()?.downcast_ref()).unwrap_or(error)
}

/// Returns the error of an address that did not answer before the deadline, or was not tried.
pub(super) fn timed_out(address: SocketAddr) -> io::Error {
    OpError::new("connect", error::refused(PollErr::Timeout)).between(None, Some(address.into())).into()
}

/// Returns the error of a look-up that did not end before the deadline. Without a name, it was a user's own
/// conversion.
pub(super) fn unresolved(name: Option<String>) -> io::Error {
    let why = match name {
        Some(name) => io::Error::new(io::ErrorKind::TimedOut, format!("{name}: {PASSED}")),
        None => error::refused(PollErr::Timeout),
    };
    OpError::new("resolve", why).into()
}

/// Returns the error of a user's empty list of addresses.
fn none_given(op: &'static str) -> io::Error {
    OpError::new(op, io::Error::new(io::ErrorKind::InvalidInput, "no address was given")).into()
}
