//! Stands for [`rustix::fs`]: files are the real ones, but a FIFO is simulated.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

pub use rustix::fs::*;
use rustix::path::Arg;

use super::{Errno, Result, current, on};
use crate::sys::pipe::Access as PipeAccess;

/// The most bytes that a copy moves at once.
const PIECE: usize = 64 << 10;

/// Stands for [`rustix::fs::open`].
pub fn open(path: impl Arg, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let fd = rustix::fs::open(path, flags, mode)?;
    let Some(kernel) = current() else { return Ok(fd) };
    let file = fstat(&fd)?;
    if FileType::from_raw_mode(file.st_mode) == FileType::Fifo {
        let access = flags & OFlags::RWMODE;
        let access = PipeAccess { read: access != OFlags::WRONLY, write: access != OFlags::RDONLY };
        let mut world = kernel.lock();
        let host = world.current;
        let id = world.open_fifo(host, (file.st_dev, file.st_ino), access);
        world.attach(fd.as_raw_fd(), id);
    }
    Ok(fd)
}

/// Stands for [`rustix::fs::sendfile`], from the cursor of the file.
pub fn sendfile(to: impl AsFd, from: impl AsFd, _: Option<&mut u64>, length: usize) -> Result<usize> {
    let (to, from) = (to.as_fd(), from.as_fd());
    let space = on(to, |world, id| world.pipe_space(id).ok_or(Errno::INVAL));
    let Some(space) = space else { return rustix::fs::sendfile(to, from, None, length) };
    let space = space?.min(length).min(PIECE);
    if space == 0 {
        return Err(Errno::AGAIN);
    }
    let mut bytes = vec![0; space];
    let n = rustix::io::read(from, &mut bytes)?;
    on(to, |world, id| world.write_whole(id, &bytes[..n])).unwrap_or(Err(Errno::BADF))
}
