//! Copies between two descriptors within the kernel: splice(2) and sendfile(2).
//!
//! A count of 0 never proves the end of a stream: splice(2) returns 0 at an urgent mark once the peer's FIN
//! is queued, and sendfile(2) returns 0 at the file length that the kernel has cached. Only a read that
//! returns 0 is an end.
//!
//! # `SIGPIPE`
//!
//! sendto(2) has `MSG_NOSIGNAL`. splice(2) to a socket has no equivalent, and `SIGPIPE` ends a process that
//! has its default action: programs started by another language, or programs that restored it for their
//! output.
//!
//! The kernel sends the signal to the calling thread before the call returns. So the signal is blocked on
//! this thread for the duration of the call, and removed from the thread's pending signals if the call
//! returns `EPIPE`.
//!
//! | the program's action for `SIGPIPE` | cost |
//! |---|---|
//! | ignore, as Rust's `main` sets it | one system call more, which reads the action |
//! | default, or a handler | four more, and one more after an `EPIPE` |
//!
//! - **INV-311** Each pointer passed to the C library here is null where that is allowed, or points to a
//!   local value that lives until the call has returned, is borrowed exclusively if the call writes to it,
//!   and has the size and alignment of the type that the call expects. Those types are plain data.

#![expect(unsafe_code, reason = "rustix has neither the signal mask nor the pending signals of a thread")]

use std::os::fd::BorrowedFd;
use std::{io, mem, ptr};

use libc::{SIGPIPE, sigset_t, timespec};
use rustix::io::Errno;

use crate::sys::call::{retry, retry_errno};
use crate::sys::sim::fs::sendfile;
use crate::sys::sim::pipe::{SpliceFlags, splice};
use crate::sys::{Call, inject};

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// Moves at most `length` bytes from a socket or pipe into the pipe. A result of 0 says that nothing was
/// moved, not why. `WouldBlock` means that the source is not readable, provided that the pipe is empty.
pub fn splice_in(from: BorrowedFd<'_>, pipe: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    let length = inject::truncate(Call::SpliceIn, from, length);
    retry(Call::SpliceIn, from, || splice(from, None, pipe, None, length, FLAGS))
}

/// Moves at most `length` bytes from a non-empty pipe to another pipe. `WouldBlock` means that the sink is
/// not writable. If the sink has no reader, the kernel raises `SIGPIPE`, which Rust programs ignore by
/// default, and returns `EPIPE`.
pub fn splice_to_pipe(pipe: BorrowedFd<'_>, to: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    let length = inject::truncate(Call::SpliceOut, to, length);
    retry(Call::SpliceOut, to, || splice(pipe, None, to, None, length, FLAGS))
}

/// Moves at most `length` bytes from a non-empty pipe to a socket. `WouldBlock` means that the sink is not
/// writable; it also stands for a fast open that has sent only its handshake (`EINPROGRESS`). Raises no
/// `SIGPIPE`, as `send` does not: if the peer is gone, the error is `EPIPE`.
pub fn splice_to_socket(pipe: BorrowedFd<'_>, to: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    let length = inject::truncate(Call::SpliceOut, to, length);
    let moved =
        retry_errno(Call::SpliceOut, to, || without_sigpipe(|| splice(pipe, None, to, None, length, FLAGS)));
    Ok(moved.map_err(|errno| if errno == Errno::INPROGRESS { Errno::AGAIN } else { errno })?)
}

/// Moves at most `length` bytes of a file into the pipe, from the file's cursor, which it advances. Blocks on
/// the disk. A result of 0 says that nothing was moved, not why. `WouldBlock` means that the pipe is full.
pub fn send_file(file: BorrowedFd<'_>, pipe: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    let length = inject::truncate(Call::SendFile, pipe, length);
    retry(Call::SendFile, pipe, || sendfile(pipe, file, None, length))
}

/// Returns whether the kernel cannot copy between these two descriptors, or has no such call, and has moved
/// nothing. `EPERM` comes from a seccomp filter; no socket returns it as an error of its own, so no socket
/// error is mistaken for a refusal.
pub fn is_refused(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM]
        .into_iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Runs `call` and suppresses the `SIGPIPE` that it may raise.
///
/// 1. A `SIGPIPE` that was pending before stays pending: a second one cannot be told apart from it, so none
///    is removed.
/// 2. A `SIGPIPE` sent to the whole process during the call stays pending too, because the kernel hands out
///    the thread's own signal first.
fn without_sigpipe<T>(call: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
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
    // SAFETY: INV-311: `sigset_t` consists of integers, for which all zeroes is a valid value.
    let mut set = unsafe { mem::zeroed() };
    // SAFETY: INV-311: `set` is a live local, initialized above and exclusively borrowed; the call writes
    // only to it.
    unsafe { libc::sigemptyset(&raw mut set) };
    // SAFETY: INV-311: the same local, made a valid set by the call above. It fails only for a number that is
    // no signal.
    unsafe { libc::sigaddset(&raw mut set, SIGPIPE) };
    set
}

fn is_ignored() -> bool {
    // SAFETY: INV-311: `sigaction` consists of integers and pointers that may be null, for which all zeroes
    // is a valid value.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: INV-311: the null pointer says that no action is installed, so the call only writes the current
    // one to `action`, a live local borrowed exclusively. It fails only for a number that is no signal.
    unsafe { libc::sigaction(SIGPIPE, ptr::null(), &raw mut action) };
    action.sa_sigaction == libc::SIG_IGN
}

/// Blocks `SIGPIPE` on this thread and returns the thread's previous mask.
fn block() -> sigset_t {
    let blocked = only_sigpipe();
    let mut before = blocked;
    // SAFETY: INV-311: both sets are live, initialized locals; the call reads the first and writes the
    // second. It changes the mask of this thread only.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before) };
    before
}

fn restore(mask: &sigset_t) {
    // SAFETY: INV-311: `mask` was initialized by `block`; the null pointer says that the previous mask is not
    // wanted.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const *mask, ptr::null_mut()) };
}

fn is_pending() -> bool {
    let mut pending = only_sigpipe();
    // SAFETY: INV-311: the set is a live, initialized local borrowed exclusively. The call fails only for a
    // set that cannot be written; then the set still names `SIGPIPE` as pending, and no signal is removed.
    unsafe { libc::sigpending(&raw mut pending) };
    // SAFETY: INV-311: the same local, which the call only reads.
    unsafe { libc::sigismember(&raw const pending, SIGPIPE) == 1 }
}

/// Removes `SIGPIPE` from the pending signals; returns at once if it is not pending.
fn take() {
    let set = only_sigpipe();
    let at_once = timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        // SAFETY: INV-311: the set and the timeout are live, initialized locals, only read; the null pointer
        // says that no details are wanted.
        let taken = unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const at_once) };
        // Another signal may have interrupted the call.
        if taken != -1 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}
