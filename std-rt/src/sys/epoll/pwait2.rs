//! The one call of epoll that rustix lacks, behind a safe function.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use rustix::event::epoll;

/// The kernel's `struct __kernel_timespec`: 64 bits each on every architecture, unlike libc's `timespec`.
#[repr(C)]
struct KernelTimespec {
    tv_sec: i64,
    tv_nsec: i64,
}

// The kernel writes `struct epoll_event` where rustix's type is read.
const _: () = assert!(size_of::<epoll::Event>() == size_of::<libc::epoll_event>());
const _: () =
    assert!(std::mem::offset_of!(epoll::Event, data) == std::mem::offset_of!(libc::epoll_event, u64));

/// `epoll_pwait2`: epoll_wait with a timeout in nanoseconds, no signal mask. rustix offers it only by forcing it on
/// every wait (`linux_5_11`), which breaks older kernels.
///
/// Returns how many of `events`, from the front, were filled. `timeout` must be at most `i64::MAX` seconds, else
/// the call fails with `InvalidInput`; so does an empty `events`. ENOSYS (Linux before 5.11) and EPERM (seccomp)
/// mean that the call is not to be had.
pub(super) fn epoll_pwait2(
    epoll: BorrowedFd<'_>,
    events: &mut [epoll::Event],
    timeout: Duration,
) -> io::Result<usize> {
    let Ok(tv_sec) = i64::try_from(timeout.as_secs()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let timeout = KernelTimespec { tv_sec, tv_nsec: i64::from(timeout.subsec_nanos()) };
    let room = libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: INV-7 keeps `epoll` open through the borrow. The kernel writes at most `room` entries into `events`,
    // which is borrowed exclusively, is at least that long and whose type takes any bits; it reads `timeout`, which
    // outlives the call. A null signal mask leaves the mask alone and its size unread.
    let filled = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            events.as_mut_ptr(),
            room,
            &raw const timeout,
            std::ptr::null::<libc::sigset_t>(),
            0_usize,
        )
    };
    // Negative is the only failure: the count is at most `room`.
    usize::try_from(filled).map_err(|_| io::Error::last_os_error())
}
