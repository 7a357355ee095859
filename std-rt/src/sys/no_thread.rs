//! What the kernel keeps per thread: nothing that this crate could set, here. [`thread.rs`](../thread.rs) is for Linux.

use std::io;

/// Refused: the kernel ends a timed wait when it is due, and has no slack to set.
///
/// # Errors
///
/// `Unsupported`, always.
pub fn set_timer_slack(_nanoseconds: u64) -> io::Result<u64> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no timer slack"))
}
