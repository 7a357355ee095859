//! Linux: descriptors of processes. Android has them too, but the filter of its apps may end a process for the call.

use std::ffi::c_int;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

/// Opens a descriptor of a child that is readable once the child has ended (pidfd_open(2), Linux 5.3). It is
/// close-on-exec.
///
/// # Errors
///
/// Returns `ENOSYS` or `EINVAL` on a kernel before 5.4, and `EPERM` or `ENOSYS` under a filter of system
/// calls; `ESRCH` or `ECHILD` if there is no such child; `EMFILE`, `ENFILE`.
pub fn open_process(pid: Pid) -> Result<OwnedFd, Errno> {
    let fd = pidfd_open(pid, PidfdFlags::empty())?;
    // If other code has reaped the child, the number may be another process's. This call fails then, and also if
    // the kernel cannot wait for a descriptor.
    wait_by(fd.as_fd(), WaitIdOptions::NOWAIT)?;
    Ok(fd)
}

/// Reaps the child of a descriptor if it has ended, and returns its status in the form of wait(2).
///
/// # Errors
///
/// Returns `ECHILD` if it was reaped already.
pub fn reap_process(fd: BorrowedFd<'_>) -> Result<Option<c_int>, Errno> {
    wait_by(fd, WaitIdOptions::empty())
}

fn wait_by(fd: BorrowedFd<'_>, options: WaitIdOptions) -> Result<Option<c_int>, Errno> {
    let options = options | WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let Some(ended) = waitid(WaitId::PidFd(fd), options)? else { return Ok(None) };
    Ok(Some(match (ended.exit_status(), ended.terminating_signal()) {
        (Some(code), _) => (code & 0xff) << 8,
        // The bit of a core dump.
        (None, signal) => signal.unwrap_or(0) | if ended.dumped() { 0x80 } else { 0 },
    }))
}

/// Sends a signal to the process of a descriptor (pidfd_send_signal(2)).
///
/// # Errors
///
/// Returns `ESRCH` if the process was reaped; `EPERM` if it runs as another user.
pub fn signal_process(fd: BorrowedFd<'_>, signal: Signal) -> Result<(), Errno> {
    pidfd_send_signal(fd, signal)
}
