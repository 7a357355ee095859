//! Connecting by name, to several addresses in a race.
//!
//! Each layer knows only the one below:
//!
//! | file | duty |
//! |---|---|
//! | this one | from a name to addresses, from an address to a connection that is not to itself |
//! | `race` | runs attempts concurrently, for two addresses or more |
//! | `plan` | the order, the next start, the shares of the time |
//! | `errors` | the errors of all addresses in one |
//! | `config` | the sockets of the attempts, as a user wants them |

pub mod config;
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

/// The number of further attempts, as in Go, of a dial that connected to itself or lost its port to another
/// socket.
const REDIALS: u8 = 2;

/// Connects to the first of the target's addresses that answers.
///
/// The future is small if the address is numeric, as in most programs that connect often. The state of a
/// look-up or a race is in a box: the allocation costs little beside the look-up.
pub(super) fn connect<C: Connector>(
    target: impl ToSocketAddrs,
    deadline: Option<Instant>,
    connector: C,
) -> impl Future<Output = io::Result<TcpStream>> {
    let target = match target.number() {
        Some(address) => Target::Number(address),
        None => Target::Name(Box::pin(connect_by_name(target, deadline, connector))),
    };
    async move {
        coop::proceed().await;
        match target {
            Target::Number(address) if is_late(deadline) => Err(timed_out(address)),
            Target::Number(address) => {
                connect_to(&address, deadline, connector).await.unwrap_or_else(|_| Err(timed_out(address)))
            }
            Target::Name(named) => named.await,
        }
    }
}

/// The sockets with which a connect makes its attempts.
pub(super) trait Connector: Copy {
    /// Creates a socket that is ready to connect to an address.
    ///
    /// # Errors
    ///
    /// Returns the error of the attempt at this address.
    fn socket(&self, address: &SocketAddr) -> io::Result<TcpSocket>;

    /// Returns the time from the start of one attempt to that of the next.
    fn delay(&self) -> Duration {
        plan::DELAY
    }
}

/// A connect without a configuration.
impl Connector for () {
    fn socket(&self, address: &SocketAddr) -> io::Result<TcpSocket> {
        TcpSocket::of(address)
    }
}

enum Target<F> {
    Number(SocketAddr),
    Name(Pin<Box<F>>),
}

/// Returns whether the deadline has passed. Then there is neither an attempt nor a look-up.
fn is_late(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= time::now())
}

/// Connects to one address, unless the deadline comes first.
fn connect_to<C: Connector>(
    address: &SocketAddr,
    deadline: Option<Instant>,
    connector: C,
) -> time::Timeout<impl Future<Output = io::Result<TcpStream>>> {
    by(deadline, retry_self_connect(address, move || dial_once(address, connector)))
}

async fn connect_by_name(
    target: impl ToSocketAddrs,
    deadline: Option<Instant>,
    connector: impl Connector,
) -> io::Result<TcpStream> {
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
        return connect_to(&address, deadline, connector).await.unwrap_or_else(|_| Err(timed_out(address)));
    }
    let dial = async |address| retry_self_connect(&address, || dial_once(&address, connector)).await;
    let plan = Plan::new(addresses, time::now(), deadline).with_delay(connector.delay());
    race::race(plan, name, dial).await
}

/// Runs the future until the deadline.
fn by<F: Future>(deadline: Option<Instant>, future: F) -> time::Timeout<F> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(time::now()));
    time::timeout(left.unwrap_or(Duration::MAX), future)
}

async fn dial_once(address: &SocketAddr, connector: impl Connector) -> io::Result<TcpStream> {
    connector.socket(address)?.connect_to(address).await
}

/// Dials again if the result says nothing about the address:
///
/// 1. No socket listens at the port, and the kernel chose the same port for this side: the socket connects to
///    itself (the simultaneous open of TCP), and receives the bytes that it sends.
/// 2. `EADDRNOTAVAIL`: another socket took the port that the kernel chose before it was used.
///
/// # Cancel safety
///
/// Dropped before it is ready: the dial is dropped.
///
/// # Errors
///
/// Returns the error of the last dial; `ConnectionRefused` if it connected to itself, because no socket
/// listens there.
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

/// Returns whether both ends have the same address (Go's `selfConnect`). A connection to itself always has a
/// peer's address.
fn is_self_connect(stream: &TcpStream, dialed: SocketAddr) -> bool {
    // Few connections need the second call.
    let suspect = stream.local_addr().ok().filter(|local| local.port() == dialed.port());
    suspect.is_some_and(|local| stream.peer_addr().is_ok_and(|peer| peer == local))
}

fn self_connect_error(address: SocketAddr) -> io::Error {
    let why =
        io::Error::new(io::ErrorKind::ConnectionRefused, "no socket listens there: it connected to itself");
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
