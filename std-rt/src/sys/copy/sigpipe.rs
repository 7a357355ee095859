//! A system call without the `SIGPIPE` that the kernel sends along with `EPIPE`.
//!
//! sendto(2) has `MSG_NOSIGNAL`; splice(2) to a socket has nothing like it, and `SIGPIPE` ends a process that has its default
//! action in force, as programs have that were started by another language, or that set it back for their output.
//!
//! The kernel sends the signal to the thread that made the call, before the call returns. So it is blocked on this thread
//! for the call, and taken out of the thread's pending signals if the call says `EPIPE`.
//!
//! | the program's action for `SIGPIPE` | what the call costs |
//! |---|---|
//! | ignore, as Rust's `main` sets it | one system call more, to learn that |
//! | default, or a handler | four more; one again after an `EPIPE` |
//!
//! - **INV-311** Each pointer that is passed to the C library here is null where that is allowed, or of a local value that
//!   lives until the call has returned, is borrowed exclusively if the call writes to it, and has the size and the
//!   alignment of the type that the call expects. Those types are plain data.

use std::{mem, ptr};

use libc::{SIGPIPE, sigset_t, timespec};
use rustix::io::Errno;

/// Makes `call`; the `SIGPIPE` that it may raise never arrives.
///
/// 1. A `SIGPIPE` of another cause that was pending before stays pending: a second one is not told apart from it, so none
///    is taken. 2. One of another cause that comes during the call and is sent to the whole process stays as well, for the
///    kernel takes the thread's own first.
pub(super) fn without_sigpipe<T>(call: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    if is_ignored() {
        return call();
    }
    let mask = block();
    let was_pending = is_pending();
    let result = call();
    if matches!(result, Err(Errno::PIPE)) && !was_pending {
        take();
    }
    restore(&mask);
    result
}

/// Returns the set that has only `SIGPIPE` in it.
fn only_sigpipe() -> sigset_t {
    // SAFETY: INV-311: numbers, for which zero is a value.
    let mut set = unsafe { mem::zeroed() };
    // SAFETY: INV-311: the set is initialized, and the call writes to it.
    unsafe { libc::sigemptyset(&raw mut set) };
    // SAFETY: INV-311: the same set. The call cannot fail for a signal that exists.
    unsafe { libc::sigaddset(&raw mut set, SIGPIPE) };
    set
}

fn is_ignored() -> bool {
    // SAFETY: INV-311: numbers and pointers that may be null, for which zero is a value.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: INV-311: without a new action the call only writes the one in force to `action`. It cannot fail for a signal
    // that exists.
    unsafe { libc::sigaction(SIGPIPE, ptr::null(), &raw mut action) };
    action.sa_sigaction == libc::SIG_IGN
}

/// Blocks `SIGPIPE` on this thread; returns the thread's mask before.
fn block() -> sigset_t {
    let blocked = only_sigpipe();
    let mut before = blocked;
    // SAFETY: INV-311: both sets are initialized, and the call writes to the second. The mask is this thread's alone.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before) };
    before
}

fn restore(mask: &sigset_t) {
    // SAFETY: INV-311: the set is initialized by `block`; the place for the mask before may be null.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const *mask, ptr::null_mut()) };
}

fn is_pending() -> bool {
    let mut pending = only_sigpipe();
    // SAFETY: INV-311: the set is initialized, and the call writes to it. If it fails, which it does for no set that can be
    // written to, the set still says that the signal is pending, and none is taken.
    unsafe { libc::sigpending(&raw mut pending) };
    // SAFETY: INV-311: the same set, which is only read.
    unsafe { libc::sigismember(&raw const pending, SIGPIPE) == 1 }
}

/// Takes `SIGPIPE` out of the pending signals, and does not wait if it is not there.
fn take() {
    let set = only_sigpipe();
    let at_once = timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        // SAFETY: INV-311: the set and the time are initialized and only read; the place for details may be null.
        let taken = unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const at_once) };
        // Another signal may have interrupted it.
        if taken != -1 || std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return;
        }
    }
}
