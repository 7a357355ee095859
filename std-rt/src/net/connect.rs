//! Connecting by name: several addresses, raced.
//!
//! Each floor knows only the one below:
//!
//! | file | duty |
//! |---|---|
//! | this one | from a name to addresses, from an address to a connection that is not one with ourselves |
//! | `race` | runs attempts side by side, for two addresses or more |
//! | `plan` | the order, the next start, the shares of the time |
//! | `errors` | every address's error in one |

pub mod errors;
pub mod plan;
pub mod race;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::addr::ToSocketAddrs;
use super::{TcpSocket, TcpStream};
use crate::error::OpError;
use crate::time;
use errors::{AddressErrors, timed_out, unresolved};
use plan::Plan;

/// As many attempts more as Go makes, of a dial that met itself or lost its port to another.
const REDIALS: usize = 2;

/// Connects to the first of the target's addresses that answers.
pub(super) async fn connect(target: impl ToSocketAddrs, deadline: Option<Instant>) -> io::Result<TcpStream> {
    let name = target.name();
    // A deadline that has passed is not given the try that is granted to who is ready at once, and asks no resolver.
    let is_late = || deadline.is_some_and(|deadline| deadline <= Instant::now());
    if name.is_some() && is_late() {
        return Err(unresolved(name));
    }
    let Some(addresses) = by(deadline, target.to_socket_addrs()).await else {
        return Err(unresolved(name));
    };
    let addresses = addresses?;
    if addresses.len() != 1 {
        return race::race(Plan::new(addresses, Instant::now(), deadline), name, dial).await;
    }
    let address = addresses[0];
    if is_late() {
        return Err(timed_out(address));
    }
    by(deadline, dial(address)).await.unwrap_or_else(|| Err(timed_out(address)))
}

/// What the future gives, unless the deadline comes first.
async fn by<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    let Some(deadline) = deadline else { return Some(future.await) };
    time::timeout(deadline.saturating_duration_since(Instant::now()), future).await.ok()
}

/// Connects to one address.
async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    redialed(address, || dial_once(address)).await
}

async fn dial_once(address: SocketAddr) -> io::Result<TcpStream> {
    TcpSocket::of(&address)?.connect(address).await
}

/// Dials again where the dial says nothing of the address:
///
/// 1. The kernel chose, for this side, the very port that is dialed, where nobody listens: the socket then met itself
///    (the simultaneous open of TCP), and what it sends it receives.
/// 2. `EADDRNOTAVAIL`: the port that the kernel chose was taken by another before it was used.
///
/// Dropped: the dial is dropped.
///
/// # Errors
///
/// Those of the last dial; `ConnectionRefused` if it still met itself, for it is true that nobody listens.
pub async fn redialed<F: Future<Output = io::Result<TcpStream>>>(
    address: SocketAddr,
    mut dial: impl FnMut() -> F,
) -> io::Result<TcpStream> {
    let mut redials = 0..REDIALS;
    loop {
        let dialed = dial().await;
        let again = match &dialed {
            Ok(stream) => met_itself(stream, address),
            Err(error) => error.kind() == io::ErrorKind::AddrNotAvailable,
        };
        if !again {
            return dialed;
        }
        if redials.next().is_none() {
            return dialed.and_then(|_| Err(nobody(address)));
        }
    }
}

/// Both ends have the same address. Where the other end has none any more, there was another end.
fn met_itself(stream: &TcpStream, dialed: SocketAddr) -> bool {
    // The second question is asked of hardly any.
    let suspect = stream.local_addr().ok().filter(|local| local.port() == dialed.port());
    suspect.is_some_and(|local| stream.peer_addr().is_ok_and(|peer| peer == local))
}

fn nobody(address: SocketAddr) -> io::Error {
    let why = io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens: it connected to itself");
    OpError::new("connect", why).between(None, Some(address.into())).into()
}

/// Tries one address after the other, for an operation that does not wait.
pub(super) async fn first_of<T>(
    op: &'static str,
    target: impl ToSocketAddrs,
    mut attempt: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let name = target.name();
    let mut errors = Vec::new();
    for address in target.to_socket_addrs().await? {
        match attempt(address) {
            Ok(value) => return Ok(value),
            Err(error) => errors.push((address, error)),
        }
    }
    Err(AddressErrors::told(op, name, errors, false))
}
