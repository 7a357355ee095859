//! The options of [`rustix::net::sockopt`]. A simulated socket keeps its options in its real descriptor, except those that the simulated
//! kernel knows.

use std::os::fd::AsFd;

pub use rustix::net::sockopt::*;

use super::super::{Body, Result, either, on};
use super::Errno;

/// Stands for [`rustix::net::sockopt::socket_error`].
pub fn socket_error(fd: impl AsFd) -> Result<std::result::Result<(), Errno>> {
    let fd = fd.as_fd();
    let taken = |world: &mut super::super::World, id| Ok(world.socket(id).error.take().map_or(Ok(()), Err));
    either(fd, taken, || rustix::net::sockopt::socket_error(fd))
}

/// Stands for [`rustix::net::sockopt::socket_acceptconn`].
pub fn socket_acceptconn(fd: impl AsFd) -> Result<bool> {
    let fd = fd.as_fd();
    let listens =
        |world: &mut super::super::World, id| Ok(matches!(world.socket(id).body, Body::Listener(_)));
    either(fd, listens, || rustix::net::sockopt::socket_acceptconn(fd))
}

/// Stands for [`rustix::net::sockopt::set_socket_oobinline`].
pub fn set_socket_oobinline(fd: impl AsFd, is_inline: bool) -> Result<()> {
    let fd = fd.as_fd();
    rustix::net::sockopt::set_socket_oobinline(fd, is_inline)?;
    on(fd, |world, id| world.set_urgent_inline(id, is_inline));
    Ok(())
}

/// Stands for [`rustix::net::sockopt::set_socket_recv_buffer_size`].
pub fn set_socket_recv_buffer_size(fd: impl AsFd, bytes: usize) -> Result<()> {
    let fd = fd.as_fd();
    rustix::net::sockopt::set_socket_recv_buffer_size(fd, bytes)?;
    // One half of the kernel's memory is for its own records.
    let bytes = rustix::net::sockopt::socket_recv_buffer_size(fd)? / 2;
    on(fd, |world, id| world.set_recv_buffer(id, bytes));
    Ok(())
}

/// Stands for [`rustix::net::sockopt::set_socket_send_buffer_size`].
pub fn set_socket_send_buffer_size(fd: impl AsFd, bytes: usize) -> Result<()> {
    let fd = fd.as_fd();
    rustix::net::sockopt::set_socket_send_buffer_size(fd, bytes)?;
    let bytes = rustix::net::sockopt::socket_send_buffer_size(fd)? / 2;
    on(fd, |world, id| world.set_send_buffer(id, bytes));
    Ok(())
}
