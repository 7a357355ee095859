//! Linux and Android: the calls that other systems lack, or have in another form.

#![expect(unsafe_code, reason = "rustix lacks some socket options")]

pub mod splice;

use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Instant;

pub use libc::POLLRDHUP;
use libc::c_int;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, ipproto, socket_with, sockopt,
};
use rustix::thread::{current_timer_slack, set_current_timer_slack};
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

use super::SocketAddrExt;
use crate::sys::call::{retry, retry_errno};
use crate::sys::sim::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
use crate::sys::unix::Credentials;
use crate::sys::{Call, errno, fd, sim, socket};

fn set_int(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    retry(Call::SetOption, fd, || setsockopt(fd, level, name, &value.to_ne_bytes()))
}

fn int(fd: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<c_int> {
    let mut value = [0; size_of::<c_int>()];
    retry(Call::GetOption, fd, || getsockopt(fd, level, name, &mut value))?;
    Ok(c_int::from_ne_bytes(value))
}

/// Sets how many milliseconds sent bytes may stay unacknowledged before the connection is given up
/// (`TCP_USER_TIMEOUT`); 0 selects the kernel's default.
///
/// # Errors
///
/// Returns `EINVAL` beyond `i32::MAX`.
pub fn set_user_timeout(fd: BorrowedFd<'_>, ms: u32) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_tcp_user_timeout(fd, ms))
}

/// Returns the value of [`set_user_timeout`].
pub fn user_timeout(fd: BorrowedFd<'_>) -> io::Result<u32> {
    retry(Call::GetOption, fd, || sockopt::tcp_user_timeout(fd))
}

/// Disables delayed acknowledgements until the kernel enables them again (`TCP_QUICKACK`).
pub fn set_quickack(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    retry(Call::SetOption, fd, || sockopt::set_tcp_quickack(fd, on))
}

/// Returns whether acknowledgements are currently sent without delay.
pub fn quickack(fd: BorrowedFd<'_>) -> io::Result<bool> {
    retry(Call::GetOption, fd, || sockopt::tcp_quickack(fd))
}

/// Sets how many connections with data in their first packet may be pending (`TCP_FASTOPEN`); the kernel
/// limits it to the maximum backlog.
pub fn set_fastopen(fd: BorrowedFd<'_>, queue: u32) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, c_int::try_from(queue).unwrap_or(c_int::MAX))
}

/// Returns the value of [`set_fastopen`], as the kernel has limited it.
pub fn fastopen(fd: BorrowedFd<'_>) -> io::Result<u32> {
    // A queue length is never negative.
    int(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN).map(|queue| u32::try_from(queue).unwrap_or(0))
}

/// Defers connecting to the first write, if the peer is known to allow that (`TCP_FASTOPEN_CONNECT`).
pub fn set_fastopen_connect(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, on.into())
}

/// Returns the value of [`set_fastopen_connect`].
pub fn fastopen_connect(fd: BorrowedFd<'_>) -> io::Result<bool> {
    int(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT).map(|on| on != 0)
}

/// Lets bind choose no port for port 0, so that connect chooses it by both addresses (`IP_BIND_ADDRESS_NO_PORT`).
pub fn set_bind_address_no_port(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, on.into())
}

/// Returns the value of [`set_bind_address_no_port`].
pub fn bind_address_no_port(fd: BorrowedFd<'_>) -> io::Result<bool> {
    int(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT).map(|on| on != 0)
}

/// Creates a socket of Multipath TCP, or returns `None` where the kernel has none, or has it disabled.
///
/// # Errors
///
/// Returns the errors of socket(2) that TCP would have as well.
pub fn mptcp_socket(family: AddressFamily) -> Result<Option<OwnedFd>, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    match socket_with(family, SocketType::STREAM, flags, Some(ipproto::MPTCP)) {
        Ok(fd) => Ok(Some(fd)),
        // In order: no such protocol, disabled by `net.mptcp.enabled`, kernels before 5.6, a filter of system calls.
        Err(Errno::PROTONOSUPPORT | Errno::NOPROTOOPT | Errno::INVAL | Errno::PERM | Errno::ACCESS) => {
            Ok(None)
        }
        Err(errno) => Err(errno),
    }
}

/// Returns whether a socket is of Multipath TCP and has not fallen back to TCP (`MPTCP_INFO`).
///
/// # Errors
///
/// Returns the errors of getsockopt(2), but for those by which a kernel says no.
pub fn is_mptcp(fd: BorrowedFd<'_>) -> io::Result<bool> {
    const SOL_MPTCP: c_int = 284;
    const MPTCP_INFO: c_int = 1;
    // Any part of `struct mptcp_info` will do.
    let mut info = [0; 8];
    match retry_errno(Call::GetOption, fd, || getsockopt(fd, SOL_MPTCP, MPTCP_INFO, &mut info)) {
        Ok(_) => Ok(true),
        // A socket of TCP, one that has fallen back, a kernel without it.
        Err(Errno::OPNOTSUPP | Errno::NOPROTOOPT | Errno::PROTONOSUPPORT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Binds the socket to a network interface by name; an empty name removes the binding (`SO_BINDTODEVICE`).
///
/// # Errors
///
/// Returns `ENODEV` for an unknown name; `EPERM` for a change without `CAP_NET_RAW`; `EINVAL` for 16 bytes or
/// more.
pub fn set_device(fd: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    if name.len() >= libc::IFNAMSIZ {
        // The kernel would truncate the name to 15 bytes, which may name another interface.
        return Err(Errno::INVAL.into());
    }
    retry(Call::SetOption, fd, || setsockopt(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name))
}

/// Returns the name of the interface that the socket is bound to, or an empty name.
pub fn device(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut name = [0; libc::IFNAMSIZ];
    let length =
        retry(Call::GetOption, fd, || getsockopt(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &mut name))?;
    // The length includes the terminating zero.
    Ok(name[..length].iter().copied().take_while(|byte| *byte != 0).collect())
}

/// Returns whether the peer of a TCP connection has sent its FIN, or the connection is over (`TCP_INFO`);
/// `None` for a socket of another protocol.
pub fn has_tcp_peer_ended(fd: BorrowedFd<'_>) -> Option<bool> {
    // The states of the kernel's include/net/tcp_states.h that follow the peer's FIN, or the end of the
    // connection.
    const TIME_WAIT: u8 = 6;
    const CLOSE: u8 = 7;
    const CLOSE_WAIT: u8 = 8;
    const LAST_ACK: u8 = 9;
    const CLOSING: u8 = 11;
    // The state is the first byte of `struct tcp_info`; the kernel returns as many bytes as are requested.
    if let Some(state) = sim::tcp_state(fd) {
        return Some(matches!(state, TIME_WAIT | CLOSE | CLOSE_WAIT | LAST_ACK | CLOSING));
    }
    let mut state = [0];
    retry(Call::GetOption, fd, || getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut state)).ok()?;
    Some(matches!(state[0], TIME_WAIT | CLOSE | CLOSE_WAIT | LAST_ACK | CLOSING))
}

/// Writes to a TCP socket as [`socket::send`] does. The first write of a fast open whose cookie was forgotten
/// since connect sends the handshake and none of the bytes (`EINPROGRESS`), so it becomes `WouldBlock`: write
/// again once connected.
#[inline]
pub fn send_tcp(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    socket::send(fd, bytes).map_err(connecting)
}

/// Writes several buffers as [`send_tcp`] does.
#[inline]
pub fn sendv_tcp(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    socket::sendv(fd, buffers).map_err(connecting)
}

fn connecting(error: io::Error) -> io::Error {
    if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) { Errno::AGAIN.into() } else { error }
}

/// Calls setsockopt(2) for an option that rustix does not have.
fn setsockopt(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &[u8]) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(value.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: `fd` is open for as long as it is borrowed (INV-7). The kernel reads `length` bytes of `value`,
    // which has exactly as many, and accepts any alignment.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), length) };
    if result == 0 { Ok(()) } else { Err(errno::last()) }
}

/// Calls getsockopt(2) for an option that rustix does not have; returns how many bytes of `value` the kernel
/// filled.
fn getsockopt(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &mut [u8]) -> Result<usize, Errno> {
    let mut length = libc::socklen_t::try_from(value.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: `fd` is open for as long as it is borrowed (INV-7). The kernel writes at most `length` bytes
    // into `value`, which is borrowed exclusively and has exactly as many, and their count into `length`, a
    // live local.
    let result =
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length) };
    if result != 0 {
        return Err(errno::last());
    }
    Ok(usize::try_from(length).map_or(value.len(), |length| length.min(value.len())))
}

/// Returns the abstract name of a Unix socket's address, if it has one.
pub fn abstract_name(address: &SocketAddr) -> Option<&[u8]> {
    address.as_abstract_name()
}

/// Creates the address of an abstract name.
///
/// # Errors
///
/// Returns `InvalidInput` for more than 107 bytes.
pub fn from_abstract_name(name: &[u8]) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name)
}

/// Creates the address of an abstract name in rustix's form.
pub fn abstract_name_to_kernel(name: &[u8]) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new_abstract_name(name)?)
}

/// Returns the abstract name of an address in rustix's form, if it has one.
pub fn abstract_name_from_kernel(address: &SocketAddrUnix) -> Option<&[u8]> {
    address.abstract_name()
}

/// The flags of a receive with descriptors: they are close-on-exec from the start.
pub const RECV_FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;

/// The space for the credentials that the kernel adds to received descriptors if the socket has `SO_PASSCRED`.
pub const SCM_CREDENTIALS_SPACE: usize = rustix::cmsg_space!(ScmCredentials(1));

/// Does nothing: [`RECV_FLAGS`] has made the received descriptors close-on-exec.
pub fn set_cloexec(_fds: &[OwnedFd]) -> Result<(), Errno> {
    Ok(())
}

/// Returns whether the reading half of a socket has ended.
pub fn is_read_ended(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(fd::poll_now(fd, PollFlags::RDHUP)?.contains(PollFlags::RDHUP))
}

/// Returns the credentials of the peer at the time it connected, listened, or created the pair
/// (`SO_PEERCRED`). rustix's type cannot represent the PID 0, which stands for a process that is not visible
/// in this namespace.
///
/// # Errors
///
/// Returns `ENOTCONN` if there is no peer.
pub fn peer_credentials(fd: BorrowedFd<'_>) -> io::Result<Credentials> {
    if let Some(peer) = sim::peer_credentials(fd) {
        let (pid, uid, gid) = peer?;
        return Ok(Credentials { pid: Some(pid), uid, gid });
    }
    let mut found = [0; size_of::<libc::ucred>()];
    retry(Call::GetOption, fd, || getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, &mut found))?;
    // `struct ucred` has three fields of four bytes: process, user, group.
    let number =
        |place: usize| found[4 * place..].first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    let (pid, uid, gid) = (number(0).cast_signed(), number(1), number(2));
    // The kernel's value for a socket without a peer.
    if (pid, uid) == (0, u32::MAX) {
        return Err(Errno::NOTCONN.into());
    }
    Ok(Credentials { pid: (pid != 0).then_some(pid), uid, gid })
}

/// Returns the capacity of a pipe in bytes.
pub fn pipe_capacity(fd: BorrowedFd<'_>) -> io::Result<usize> {
    retry(Call::GetOption, fd, || fcntl_getpipe_size(fd))
}

/// Requests a capacity of a pipe; returns the kernel's choice, which is no less.
///
/// # Errors
///
/// Returns `EPERM` beyond the system's limit; `EBUSY` if the content of the pipe would not fit.
pub fn set_pipe_capacity(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    retry(Call::SetOption, fd, || fcntl_setpipe_size(fd, bytes))
}

/// Returns how late, in nanoseconds, the kernel may end a timed wait of the calling thread. A new thread has the slack of
/// the thread that started it.
///
/// # Errors
///
/// Returns the kernel's.
pub fn timer_slack() -> io::Result<u64> {
    Ok(current_timer_slack()?)
}

/// The slack of the first thread that chose another one. The slack of any later thread may be a chosen one, because a thread
/// and a process inherit that of the thread which starts them.
static ORDINARY_SLACK: OnceLock<u64> = OnceLock::new();

/// The least slack, which a thread chooses that waits for a runtime's timers.
const LEAST_SLACK: u64 = 1;

/// Sets how late, in nanoseconds, the kernel may end a timed wait of the calling thread in order to end
/// several together, and returns the previous value. 0 selects the thread's default (usually 50 µs); 1 is the
/// minimum.
///
/// # Errors
///
/// Returns the kernel's; `ERANGE` if `nanoseconds` does not fit the target's word. The slack is then
/// unchanged.
pub fn set_timer_slack(nanoseconds: u64) -> io::Result<u64> {
    let before = timer_slack()?;
    ORDINARY_SLACK.get_or_init(|| before);
    set_current_timer_slack(NonZeroU64::new(nanoseconds))?;
    Ok(before)
}

/// Gives the calling thread the slack that threads have without this crate, if it has the least. Returns its previous slack
/// if it has changed. It takes no lock and no memory, so that a handler of fork(2) may call it.
pub fn reset_timer_slack() -> Option<u64> {
    let ordinary = *ORDINARY_SLACK.get()?;
    let before = timer_slack().ok().filter(|&slack| slack == LEAST_SLACK && slack != ordinary)?;
    set_current_timer_slack(NonZeroU64::new(ordinary)).ok().map(|()| before)
}

/// Number of pairs of readings among which the closest is picked.
const READINGS: usize = 16;

/// Returns the nanoseconds of the clock behind [`Instant`].
#[inline]
pub fn exact_now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Returns an instant and the exact clock's value at that time or shortly after, so that a tick derived from
/// it is never early.
#[inline]
pub fn anchor() -> (Instant, u64) {
    static KNOWN: OnceLock<(Instant, u64)> = OnceLock::new();
    *KNOWN.get_or_init(closest)
}

/// Returns the closest of several pairs of readings. An interruption between the two readings would delay
/// every deadline.
fn closest() -> (Instant, u64) {
    let reading = || {
        let before = exact_now();
        let instant = Instant::now();
        let after = exact_now();
        (after - before, (instant, after))
    };
    let mut best = reading();
    for _ in 0..READINGS {
        let next = reading();
        if next.0 < best.0 {
            best = next;
        }
    }
    best.1
}

/// Returns the nanoseconds of the same clock at the kernel's last tick.
#[inline]
pub fn coarse_now() -> u64 {
    nanoseconds(clock_gettime(ClockId::MonotonicCoarse))
}

/// Returns how far the coarse clock may be behind, in nanoseconds: two ticks, because one may be being
/// processed now. A kernel that is itself delayed, in a virtual machine, may miss a tick for longer.
pub fn coarse_error() -> u64 {
    static LAG: OnceLock<u64> = OnceLock::new();
    *LAG.get_or_init(|| 2 * nanoseconds(clock_getres(ClockId::MonotonicCoarse)))
}

#[inline]
fn nanoseconds(time: Timespec) -> u64 {
    // Both fields are non-negative, and 64 bits of nanoseconds last for 584 years after boot.
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}
