//! Pipes and FIFOs: creation, opening, access mode, capacity.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

pub use super::platform::{pipe_capacity as capacity, set_pipe_capacity as set_capacity};
use super::sim::fs::{FileType, Mode, OFlags, fcntl_getfl, fstat, open};
use super::{Call, platform};
use crate::sys::call::retry_new;

/// The directions that a descriptor may be used in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// True if it can be read.
    pub read: bool,
    /// True if it can be written.
    pub write: bool,
}

impl Access {
    /// Read only.
    pub const READ: Access = Access { read: true, write: false };
    /// Write only.
    pub const WRITE: Access = Access { read: false, write: true };
    /// Both directions.
    pub const BOTH: Access = Access { read: true, write: true };
}

/// Creates a pipe; returns the end to read and the end to write. Both are close-on-exec and non-blocking.
///
/// # Errors
///
/// Returns `EMFILE` or `ENFILE`.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    retry_new(Call::Pipe, platform::pipe)
}

/// Opens a file, non-blocking and close-on-exec, and never as the controlling terminal. Creates nothing.
///
/// # Errors
///
/// Returns `ENXIO` for a FIFO that is opened for writing only while no process has it open for reading.
pub fn open_path(path: &Path, access: Access) -> io::Result<OwnedFd> {
    let access = match access {
        Access { read: true, write: true } => OFlags::RDWR,
        Access { write: true, .. } => OFlags::WRONLY,
        Access { .. } => OFlags::RDONLY,
    };
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    retry_new(Call::OpenFile, || open(path, flags, Mode::empty()))
}

/// Returns the access mode of a descriptor's open file.
pub fn access(fd: BorrowedFd<'_>) -> io::Result<Access> {
    let mode = fcntl_getfl(fd)? & OFlags::RWMODE;
    Ok(Access { read: mode != OFlags::WRONLY, write: mode != OFlags::RDONLY })
}

/// Returns `None` for a pipe or a FIFO, else what kind of file the descriptor is, in words.
pub fn check_is_fifo(fd: BorrowedFd<'_>) -> io::Result<Option<&'static str>> {
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
