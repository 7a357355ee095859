//! Moving bytes between two descriptors within the kernel: Linux. [`no_copy.rs`](../no_copy.rs) is for the other systems.
//!
//! A count of 0 is never proof of an end: splice(2) says 0 at the mark of an urgent byte once the peer's end of the stream
//! is queued, and sendfile(2) says 0 at the length that the kernel has cached for a file. Only a read that returns 0 is an
//! end.

mod sigpipe;

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::sendfile;
use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{SpliceFlags, splice};

use super::{Call, door};
use sigpipe::without_sigpipe;

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// Moves at most `length` bytes from a socket or a pipe into the pipe. 0 says that nothing was moved, not why. If the pipe
/// is empty, `WouldBlock` is the source's word.
pub fn splice_in(from: BorrowedFd<'_>, pipe: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    let length = door::cut(Call::SpliceIn, from, length);
    Ok(retry_on_intr(|| {
        door::ask(Call::SpliceIn, from)?;
        splice(from, None, pipe, None, length, FLAGS)
    })?)
}

/// Moves at most `length` bytes from the pipe, which has them, to another pipe. `WouldBlock` is the sink's word. If nobody
/// reads the sink any more the kernel raises `SIGPIPE`, which Rust programs ignore by default, and returns `EPIPE`.
pub fn splice_to_pipe(pipe: BorrowedFd<'_>, to: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    let length = door::cut(Call::SpliceOut, to, length);
    Ok(retry_on_intr(|| {
        door::ask(Call::SpliceOut, to)?;
        splice(pipe, None, to, None, length, FLAGS)
    })?)
}

/// Moves at most `length` bytes from the pipe, which has them, to a socket. `WouldBlock` is the sink's word, also for a
/// fast open that has only sent its handshake (`EINPROGRESS`). Raises no `SIGPIPE`, as `send` does not: a peer that is gone
/// is `EPIPE`.
pub fn splice_to_socket(pipe: BorrowedFd<'_>, to: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    let length = door::cut(Call::SpliceOut, to, length);
    let moved = retry_on_intr(|| {
        door::ask(Call::SpliceOut, to)?;
        without_sigpipe(|| splice(pipe, None, to, None, length, FLAGS))
    });
    Ok(moved.map_err(|errno| if errno == Errno::INPROGRESS { Errno::AGAIN } else { errno })?)
}

/// Moves at most `length` bytes of a file into the pipe, from its cursor on, which moves. It waits for the disk. 0 says that
/// nothing was moved, not why. `WouldBlock` says that the pipe is full.
pub fn send_file(file: BorrowedFd<'_>, pipe: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    let length = door::cut(Call::SendFile, pipe, length);
    Ok(retry_on_intr(|| {
        door::ask(Call::SendFile, pipe)?;
        sendfile(pipe, file, None, length)
    })?)
}

/// True if the kernel has no such copy for these two descriptors, or at all, and has moved nothing. `EPERM` is what a
/// filter of system calls (seccomp) says; no socket has it as an error of its own, so no such error is lost.
pub fn is_refused(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM]
        .into_iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
