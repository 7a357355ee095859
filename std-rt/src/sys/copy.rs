//! Moving bytes between two descriptors within the kernel: Linux. [`no_copy.rs`](../no_copy.rs) is for the other systems.
//!
//! Where the other end is gone the kernel raises `SIGPIPE`, which Rust programs ignore by default, and returns `EPIPE`.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::sendfile;
use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{SpliceFlags, splice};

use super::{Call, door};

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// Moves at most `length` bytes from a socket or a pipe into the pipe; 0 is the end of the source. If the pipe is empty,
/// `WouldBlock` is the source's word.
pub fn splice_in(from: BorrowedFd<'_>, pipe: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    let length = door::cut(Call::SpliceIn, from, length);
    Ok(retry_on_intr(|| {
        door::ask(Call::SpliceIn, from)?;
        splice(from, None, pipe, None, length, FLAGS)
    })?)
}

/// Moves at most `length` bytes from the pipe, which has them, to a socket or a pipe. `WouldBlock` is the sink's word.
pub fn splice_out(pipe: BorrowedFd<'_>, to: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    let length = door::cut(Call::SpliceOut, to, length);
    Ok(retry_on_intr(|| {
        door::ask(Call::SpliceOut, to)?;
        splice(pipe, None, to, None, length, FLAGS)
    })?)
}

/// Sends at most `length` bytes of a file, from its cursor on, which moves; 0 is its end. It waits for the disk.
pub fn send_file(file: BorrowedFd<'_>, to: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    let length = door::cut(Call::SendFile, to, length);
    Ok(retry_on_intr(|| {
        door::ask(Call::SendFile, to)?;
        sendfile(to, file, None, length)
    })?)
}

/// True if the kernel has no such copy for these two descriptors, or at all, and has moved nothing.
pub fn is_refused(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP]
        .into_iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// True for an error of [`send_file`] that is the file's, not the sink's.
pub fn is_of_the_disk(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}
