//! Connecting by name: several addresses, raced.
//!
//! Each layer knows only the one below:
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
use std::pin::Pin;
use std::time::{Duration, Instant};

use super::addr::ToSocketAddrs;
use super::{TcpSocket, TcpStream};
use crate::coop;
use crate::error::OpError;
use crate::time;
use errors::{AddressErrors, timed_out, unresolved};
use plan::Plan;

/// The number of further attempts, as in Go, of a dial that connected to itself or lost its port to another socket.
const REDIALS: u8 = 2;

/// Connects to the first of the target's addresses that answers.
///
/// The future is small where the address is known, as in most programs that dial often. What a name takes, or a race, is
/// in a box: beside a look-up it does not count.
pub(super) fn connect(
    target: impl ToSocketAddrs,
    deadline: Option<Instant>,
) -> impl Future<Output = io::Result<TcpStream>> {
    let target = match target.number() {
        Some(address) => Target::Number(address),
        None => Target::Name(Box::pin(connect_by_name(target, deadline))),
    };
    async move {
        coop::proceed().await;
        match target {
            Target::Number(address) if is_late(deadline) => Err(timed_out(address)),
            Target::Number(address) => {
                connect_to(&address, deadline).await.unwrap_or_else(|_| Err(timed_out(address)))
            }
            Target::Name(named) => named.await,
        }
    }
}

enum Target<F> {
    Number(SocketAddr),
    Name(Pin<Box<F>>),
}

/// A deadline that has passed is not given the try that is granted to who is ready at once, and asks no resolver.
fn is_late(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// Connects to one address, unless the deadline comes first.
fn connect_to(
    address: &SocketAddr,
    deadline: Option<Instant>,
) -> time::Timeout<impl Future<Output = io::Result<TcpStream>>> {
    by(deadline, retry_self_connect(address, move || dial_once(address)))
}

async fn connect_by_name(target: impl ToSocketAddrs, deadline: Option<Instant>) -> io::Result<TcpStream> {
    let name = target.name();
    if name.is_some() && is_late(deadline) {
        return Err(unresolved(name));
    }
    let Ok(addresses) = by(deadline, target.to_socket_addrs()).await else {
        return Err(unresolved(name));
    };
    let addresses = addresses?;
    if let [address] = addresses[..] {
        if is_late(deadline) {
            return Err(timed_out(address));
        }
        return connect_to(&address, deadline).await.unwrap_or_else(|_| Err(timed_out(address)));
    }
    let dial = async |address| retry_self_connect(&address, || dial_once(&address)).await;
    race::race(Plan::new(addresses, Instant::now(), deadline), name, dial).await
}

/// What the future gives, unless the deadline comes first.
fn by<F: Future>(deadline: Option<Instant>, future: F) -> time::Timeout<F> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    time::timeout(left.unwrap_or(Duration::MAX), future)
}

async fn dial_once(address: &SocketAddr) -> io::Result<TcpStream> {
    TcpSocket::of(address)?.connect_to(address).await
}

/// Dials again where the dial says nothing of the address:
///
/// 1. The kernel chose, for this side, the very port that is dialed, where nobody listens: the socket then connects to itself
///    (the simultaneous open of TCP), and what it sends it receives.
/// 2. `EADDRNOTAVAIL`: the port that the kernel chose was taken by another before it was used.
///
/// Dropped: the dial is dropped.
///
/// # Errors
///
/// Returns those of the last dial; `ConnectionRefused` if it still connected to itself, since no socket listens there.
pub async fn retry_self_connect<F: Future<Output = io::Result<TcpStream>>>(
    address: &SocketAddr,
    mut dial: impl FnMut() -> F,
) -> io::Result<TcpStream> {
    for _ in 0..REDIALS {
        let dialed = dial().await;
        if !should_redial(&dialed, *address) {
            return dialed;
        }
    }
    let last = dial().await;
    if should_redial(&last, *address) { last.and_then(|_| Err(self_connect_error(*address))) } else { last }
}

fn should_redial(dialed: &io::Result<TcpStream>, address: SocketAddr) -> bool {
    match dialed {
        Ok(stream) => is_self_connect(stream, address),
        Err(error) => error.kind() == io::ErrorKind::AddrNotAvailable,
    }
}

/// Returns whether both ends have the same address (Go's `selfConnect`). If the other end has none any more, there was
/// another end.
fn is_self_connect(stream: &TcpStream, dialed: SocketAddr) -> bool {
    // The second question is asked of hardly any.
    let suspect = stream.local_addr().ok().filter(|local| local.port() == dialed.port());
    suspect.is_some_and(|local| stream.peer_addr().is_ok_and(|peer| peer == local))
}

fn self_connect_error(address: SocketAddr) -> io::Error {
    let why = io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens: it connected to itself");
    OpError::new("connect", why).between(None, Some(address.into())).into()
}

/// Returns the value of the first address for which `attempt` succeeds.
pub(super) fn first_of<T>(
    op: &'static str,
    name: Option<String>,
    addresses: Vec<SocketAddr>,
    mut attempt: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut errors = Vec::new();
    for address in addresses {
        match attempt(address) {
            Ok(value) => return Ok(value),
            Err(error) => errors.push((address, error)),
        }
    }
    Err(AddressErrors::error(op, name, errors, false))
}
