//! Simulation switched off: the calls are the kernel's, and the functions compile to nothing. [`sim.rs`](../sim.rs) is its
//! counterpart in builds with `--cfg netpoll_sim`, and has the contract of each function.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
#[allow(unused_imports, reason = "Apple's systems have calls of their own")]
pub(super) use rustix::pipe;
pub(super) use rustix::{buffer, event, fs, io as rw, net};

use super::signal_source::SignalWriter;

/// The registration of a signal's listener in a simulation; there is none.
pub(super) type Listening = std::convert::Infallible;

/// Returns false: no thread is in a simulation.
#[inline(always)]
pub fn is_active() -> bool {
    false
}

/// Returns 0: the tasks run in their order.
#[inline(always)]
pub fn choose_task(_n: usize) -> usize {
    0
}

/// Returns `None`: the kernel knows the state of the connection.
#[allow(dead_code, reason = "only Linux asks for it")]
#[inline(always)]
pub(super) fn tcp_state(_fd: BorrowedFd<'_>) -> Option<u8> {
    None
}

/// Returns `None`: the kernel knows the peer.
#[allow(dead_code, reason = "only Linux asks for it")]
#[inline(always)]
pub(super) fn peer_credentials(_fd: BorrowedFd<'_>) -> Option<Result<(i32, u32, u32), Errno>> {
    None
}

/// Returns the writer: the process has the handlers.
#[inline(always)]
pub(super) fn listen(_number: i32, writer: SignalWriter) -> Result<Listening, SignalWriter> {
    Err(writer)
}

/// Returns false: the process has the handlers.
#[inline(always)]
pub(super) fn restore_default(_number: i32) -> bool {
    false
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

/// Returns the body of a thread as it is.
#[inline(always)]
pub fn thread_body<F: FnOnce() + Send + 'static>(body: F) -> F {
    body
}

/// Does nothing: the join waits for the thread.
#[inline(always)]
pub fn wait_for_end<T>(_id: T) {}

/// Asks the system's resolver for the addresses of a name. It blocks.
///
/// # Errors
///
/// Returns the resolver's error.
pub fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (host, port).to_socket_addrs().map(Vec::from_iter)
}
