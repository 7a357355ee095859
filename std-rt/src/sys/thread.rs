//! What the kernel keeps per thread.

use std::io;
use std::num::NonZeroU64;

use rustix::thread::{current_timer_slack, set_current_timer_slack};

/// Sets how late, in nanoseconds, the kernel may end a timed wait of the calling thread in order to end several
/// together, and returns the value before. 0 asks for the thread's default (usually 50 µs); 1 is the least.
///
/// # Errors
///
/// The kernel's; `ERANGE` when `nanoseconds` does not fit the target's word. The slack is then as before.
pub fn set_timer_slack(nanoseconds: u64) -> io::Result<u64> {
    let before = current_timer_slack()?;
    set_current_timer_slack(NonZeroU64::new(nanoseconds))?;
    Ok(before)
}
