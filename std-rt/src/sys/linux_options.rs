//! Options that only Linux has. [`no_linux_options.rs`](../no_linux_options.rs) is its twin for the others.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use libc::c_int;
use rustix::io::Errno;
use rustix::net::sockopt;

use super::socket_options::{get, set};
use super::{libc_room, socket};

fn set_int(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set(fd, || libc_room::set_option(fd, level, name, &value.to_ne_bytes()))
}

fn int(fd: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<c_int> {
    let mut value = [0; size_of::<c_int>()];
    get(fd, || libc_room::option(fd, level, name, &mut value))?;
    Ok(c_int::from_ne_bytes(value))
}

/// Milliseconds that bytes may stay unacknowledged before the connection is given up (`TCP_USER_TIMEOUT`); 0 leaves it
/// to the kernel.
///
/// # Errors
///
/// `EINVAL` beyond `i32::MAX`.
pub fn set_user_timeout(fd: BorrowedFd<'_>, ms: u32) -> io::Result<()> {
    set(fd, || sockopt::set_tcp_user_timeout(fd, ms))
}

/// What [`set_user_timeout`] set.
pub fn user_timeout(fd: BorrowedFd<'_>) -> io::Result<u32> {
    get(fd, || sockopt::tcp_user_timeout(fd))
}

/// Acknowledges at once instead of waiting for company, until the kernel thinks otherwise (`TCP_QUICKACK`).
pub fn set_quickack(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set(fd, || sockopt::set_tcp_quickack(fd, on))
}

/// Whether acknowledgements are sent at once now.
pub fn quickack(fd: BorrowedFd<'_>) -> io::Result<bool> {
    get(fd, || sockopt::tcp_quickack(fd))
}

/// How many connections may wait that came with data in their first packet (`TCP_FASTOPEN`); the kernel cuts it to its
/// limit on the backlog.
pub fn set_fastopen(fd: BorrowedFd<'_>, queue: u32) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, c_int::try_from(queue).unwrap_or(c_int::MAX))
}

/// What [`set_fastopen`] set, as the kernel cut it.
pub fn fastopen(fd: BorrowedFd<'_>) -> io::Result<u32> {
    // A length: never negative.
    int(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN).map(|queue| u32::try_from(queue).unwrap_or(0))
}

/// Connects with the first write instead of before it, if the peer has been seen to allow that
/// (`TCP_FASTOPEN_CONNECT`).
pub fn set_fastopen_connect(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, on.into())
}

/// What [`set_fastopen_connect`] set.
pub fn fastopen_connect(fd: BorrowedFd<'_>) -> io::Result<bool> {
    int(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT).map(|on| on != 0)
}

/// Keeps the socket to one interface, by its name; an empty one frees it (`SO_BINDTODEVICE`).
///
/// # Errors
///
/// `ENODEV`; `EPERM` to change what is set already, without `CAP_NET_RAW`; `EINVAL` for a name of 16 bytes or more.
pub fn set_device(fd: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    if name.len() >= libc::IFNAMSIZ {
        // The kernel would take the first 15 bytes, and so perhaps another interface.
        return Err(Errno::INVAL.into());
    }
    set(fd, || libc_room::set_option(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name))
}

/// The name of the interface that the socket is kept to, empty if none.
pub fn device(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut name = [0; libc::IFNAMSIZ];
    let length = get(fd, || libc_room::option(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &mut name))?;
    // The length counts the zero at the end.
    Ok(name[..length].iter().copied().take_while(|byte| *byte != 0).collect())
}

/// Returns whether a TCP connection has received its peer's end of the stream, or is over (`TCP_INFO`); `None` for a socket
/// of another protocol.
pub(super) fn has_tcp_peer_ended(fd: BorrowedFd<'_>) -> Option<bool> {
    // The states of the kernel's include/net/tcp_states.h that follow a FIN of the peer, or the end of it all.
    const TIME_WAIT: u8 = 6;
    const CLOSE: u8 = 7;
    const CLOSE_WAIT: u8 = 8;
    const LAST_ACK: u8 = 9;
    const CLOSING: u8 = 11;
    // The state is the first byte of `struct tcp_info`, of which the kernel hands out as much as is asked for.
    let mut state = [0];
    get(fd, || libc_room::option(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut state)).ok()?;
    Some(matches!(state[0], TIME_WAIT | CLOSE | CLOSE_WAIT | LAST_ACK | CLOSING))
}

/// As [`socket::send`], on TCP. The first write of a fast open whose cookie was forgotten since connect sends the
/// handshake and none of the bytes (`EINPROGRESS`): they are to be written again once the connection stands.
#[inline]
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    socket::send(fd, bytes).map_err(connecting)
}

/// As [`send`], of several buffers.
#[inline]
pub fn sendv(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    socket::sendv(fd, buffers).map_err(connecting)
}

fn connecting(error: io::Error) -> io::Error {
    if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) { Errno::AGAIN.into() } else { error }
}
