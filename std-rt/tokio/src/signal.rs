//! Signals that are sent to this process.
//!
//! The first listener of a signal replaces its default action for the rest of the process.

mod relay;
pub mod unix;

use std::io;

/// Waits for Ctrl-C (`SIGINT`), from the first poll on.
///
/// # Errors
///
/// Returns an error if no descriptor is free.
///
/// # Panics
///
/// Panics outside of a runtime.
pub async fn ctrl_c() -> io::Result<()> {
    unix::signal(unix::SignalKind::interrupt())?.recv().await.ok_or_else(ended)
}

/// Returns the error of a wait that nothing can end any more.
fn ended() -> io::Error {
    io::Error::other("the runtime of the signal's listener has ended, and this thread is in no other")
}
