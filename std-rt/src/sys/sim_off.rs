//! Simulation switched off: the calls are the kernel's, and the functions compile to nothing. [`sim.rs`](../sim.rs) is its
//! counterpart in builds with `--cfg netpoll_sim`, and has the contract of each function.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::BorrowedFd;

pub(super) use rustix::{buffer, event, io as rw, net};

/// Returns false: no thread is in a simulation.
#[inline(always)]
pub fn is_active() -> bool {
    false
}

/// Returns `None`: the kernel knows the state of the connection.
#[allow(dead_code, reason = "only Linux asks for it")]
#[inline(always)]
pub(super) fn tcp_state(_fd: BorrowedFd<'_>) -> Option<u8> {
    None
}

/// Starts a thread that ends by itself; see [`start_thread`](super::start_thread).
///
/// # Errors
///
/// As [`start_thread`](super::start_thread).
pub fn start_detached(
    name: String,
    stack_size: Option<usize>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    super::start_thread(name, stack_size, body).map(drop)
}

/// Asks the system's resolver for the addresses of a name. It blocks.
///
/// # Errors
///
/// Returns the resolver's error.
pub fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (host, port).to_socket_addrs().map(Vec::from_iter)
}
