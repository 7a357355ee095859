//! Signals that are sent to this process.
//!
//! The first listener of a signal replaces its default action for the rest of the process.

mod relay;
pub mod unix;

use std::future::Future;
use std::io;

/// Waits for Ctrl-C (`SIGINT`). It listens from the call on, or outside of a runtime from the first poll on.
///
/// # Cancel safety
///
/// Dropped before it is ready: a signal that has come since is lost, and a later one is kept for the next call.
///
/// # Errors
///
/// Returns an error if no descriptor is free.
///
/// # Panics
///
/// The first poll panics outside of a runtime.
pub fn ctrl_c() -> impl Future<Output = io::Result<()>> {
    let listen = || unix::signal(unix::SignalKind::interrupt());
    let listener = crate::runtime::has_io().then(listen);
    async move { listener.unwrap_or_else(listen)?.recv().await.ok_or_else(ended) }
}

/// Returns the error of a wait that nothing can end any more.
fn ended() -> io::Error {
    io::Error::other("the runtime of the signal's listener has ended, and this thread is in no other")
}
