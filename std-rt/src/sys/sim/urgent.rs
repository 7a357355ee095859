//! The calls for urgent bytes of TCP, on the simulated kernel and on Linux. This crate makes none of them: they are for tests of
//! the calls that meet such a byte.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::net::{RecvFlags, SendFlags};

use super::calls::net;

/// Sends bytes, of which the last one is urgent.
///
/// # Errors
///
/// Returns the kernel's error.
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(net::send(fd, bytes, SendFlags::OOB | SendFlags::NOSIGNAL)?)
}

/// Takes the urgent byte by itself; 0 bytes are the end of the stream.
///
/// # Errors
///
/// Returns `WouldBlock` if it has not arrived, and `InvalidInput` if there is none.
pub fn recv(fd: BorrowedFd<'_>, byte: &mut [u8; 1]) -> io::Result<usize> {
    Ok(net::recv(fd, &mut byte[..], RecvFlags::OOB).map(|(_, n)| n)?)
}

/// Sets whether an urgent byte is read with the others.
///
/// # Errors
///
/// Returns the kernel's error.
pub fn set_inline(fd: BorrowedFd<'_>, is_inline: bool) -> io::Result<()> {
    Ok(net::sockopt::set_socket_oobinline(fd, is_inline)?)
}
