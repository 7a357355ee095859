//! Stands for [`rustix::pipe`].

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

pub use rustix::pipe::*;

use super::{Errno, Result, current, on};
use crate::sys::sim::faults::FaultKind;

/// Stands for [`rustix::pipe::pipe_with`].
pub fn pipe_with(flags: PipeFlags) -> Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(flags)?;
    let Some(kernel) = current() else { return Ok((reader, writer)) };
    let mut world = kernel.lock();
    let host = world.current;
    if world.fault(FaultKind::NoDescriptor, 0) {
        drop(world);
        return Err(Errno::MFILE);
    }
    let ends = world.add_pipe(host);
    world.attach(reader.as_raw_fd(), ends.0);
    world.attach(writer.as_raw_fd(), ends.1);
    Ok((reader, writer))
}

/// Stands for [`rustix::pipe::fcntl_setpipe_size`].
pub fn fcntl_setpipe_size(fd: impl AsFd, bytes: usize) -> Result<usize> {
    let fd = fd.as_fd();
    let size = rustix::pipe::fcntl_setpipe_size(fd, bytes)?;
    on(fd, |world, id| world.set_pipe_capacity(id, size));
    Ok(size)
}

/// Stands for [`rustix::pipe::splice`], without offsets. Both descriptors are simulated, or neither.
pub fn splice(
    from: impl AsFd,
    _: Option<&mut u64>,
    to: impl AsFd,
    _: Option<&mut u64>,
    length: usize,
    flags: SpliceFlags,
) -> Result<usize> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let spliced = on(from, |world, from| match world.id_of(to.as_raw_fd()) {
        Some(to) => world.splice(from, to, length),
        None => Err(Errno::INVAL),
    });
    spliced.unwrap_or_else(|| rustix::pipe::splice(from, None, to, None, length, flags))
}
