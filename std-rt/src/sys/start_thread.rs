//! Threads.

use std::io;
use std::thread::{Builder, JoinHandle};

use rustix::io::Errno;

use super::{Call, door};

/// Starts a thread with a name, which must not contain a null. Linux shows its first 15 bytes.
///
/// # Errors
///
/// The kernel's: `EAGAIN` where the user (`RLIMIT_NPROC`), the cgroup (`pids.max`) or the system has as many threads as it
/// may, or no memory for a stack.
pub fn start_thread(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // No signal interrupts it, so an injected interruption is none.
    while let Err(errno) = door::ask_new(Call::StartThread) {
        if errno != Errno::INTR {
            return Err(errno.into());
        }
    }
    Builder::new().name(name).spawn(body)
}
