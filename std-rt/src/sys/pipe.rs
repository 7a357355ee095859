//! Pipes, and named ones: what a descriptor is, how it is opened, how much it holds.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fcntl_getfl, fstat, open};
use rustix::io::retry_on_intr;

pub use super::pipe_birth::pipe;
pub use super::pipe_size::{capacity, set_capacity};
use super::{Call, door};

/// What a descriptor may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// It can be read.
    pub read: bool,
    /// It can be written.
    pub write: bool,
}

impl Access {
    /// For reading only.
    pub const READ: Access = Access { read: true, write: false };
    /// For writing only.
    pub const WRITE: Access = Access { read: false, write: true };
    /// For both.
    pub const BOTH: Access = Access { read: true, write: true };
}

/// Opens what has a name, non-blocking and close-on-exec, never as the process's terminal; creates nothing.
///
/// # Errors
///
/// `ENXIO`: a FIFO, for writing only, that nobody has open for reading.
pub fn open_path(path: &Path, access: Access) -> io::Result<OwnedFd> {
    let access = match access {
        Access { read: true, write: true } => OFlags::RDWR,
        Access { write: true, .. } => OFlags::WRONLY,
        Access { .. } => OFlags::RDONLY,
    };
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(retry_on_intr(|| {
        door::ask_new(Call::OpenFile)?;
        open(path, flags, Mode::empty())
    })?)
}

/// What a descriptor can be used for, by its open file's mode.
pub fn access(fd: BorrowedFd<'_>) -> io::Result<Access> {
    let mode = fcntl_getfl(fd)? & OFlags::RWMODE;
    Ok(Access { read: mode != OFlags::WRONLY, write: mode != OFlags::RDONLY })
}

/// `None` for a pipe or a FIFO; else what the descriptor is, in words.
pub fn no_pipe(fd: BorrowedFd<'_>) -> io::Result<Option<&'static str>> {
    Ok(match FileType::from_raw_mode(fstat(fd)?.st_mode) {
        FileType::Fifo => None,
        FileType::RegularFile => Some("a regular file"),
        FileType::Directory => Some("a directory"),
        FileType::Socket => Some("a socket"),
        FileType::CharacterDevice => Some("a character device"),
        FileType::BlockDevice => Some("a block device"),
        _ => Some("something else"),
    })
}
