//! Pipes that have a name in the file system.

use std::io;
use std::path::Path;

use super::{Access, PipeReader, PipeWriter, check, sys, watch};
use crate::error::{OpError, at_path};
use crate::fd::{Fd, FdKind};

impl PipeReader {
    /// Opens a FIFO for reading. Until somebody has opened it for writing, a read returns 0 at once.
    ///
    /// # Errors
    ///
    /// The kernel's, with the path: `NotFound`, `PermissionDenied`; `InvalidInput` for what is no FIFO, saying what it
    /// is.
    pub fn open_fifo(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { fd: open(path.as_ref(), Access::READ)? })
    }

    /// Opens a FIFO for reading, and for writing as well, so that its end never comes: writers may come and go, and a
    /// read waits for the next. POSIX does not say that this works; Linux and the BSDs do.
    ///
    /// # Errors
    ///
    /// As [`PipeReader::open_fifo`]; `PermissionDenied` also if it may not be written.
    pub fn open_fifo_for_ever(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { fd: open(path.as_ref(), Access::BOTH)? })
    }
}

impl PipeWriter {
    /// Opens a FIFO for writing.
    ///
    /// # Errors
    ///
    /// `ENXIO` (its kind has no name) if nobody has it open for reading: there is nothing to wait on, so try again later,
    /// or open it with [`open_fifo_for_ever`](PipeWriter::open_fifo_for_ever). Others as [`PipeReader::open_fifo`].
    pub fn open_fifo(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { fd: open(path.as_ref(), Access::WRITE)? })
    }

    /// Opens a FIFO for writing, and for reading as well, so that nobody else needs to have it open: what is written
    /// stays there until a reader comes, as far as it has room, and a write is never `BrokenPipe`. POSIX does not say
    /// that this works; Linux and the BSDs do.
    ///
    /// # Errors
    ///
    /// As [`PipeReader::open_fifo_for_ever`].
    pub fn open_fifo_for_ever(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { fd: open(path.as_ref(), Access::BOTH)? })
    }
}

fn open(path: &Path, access: Access) -> io::Result<Fd> {
    let failed = |source| OpError::new("open_fifo", at_path(path, source));
    let fd = sys::open_path(path, access).map_err(failed)?;
    check(&fd).map_err(failed)?;
    // Whoever else writes to it may do so in packets, behind which more may be.
    watch("open_fifo", fd, FdKind::Other)
}
