//! Child processes: start, end and signals.
//!
//! std forks and executes. It resets the mask of blocked signals and `SIGPIPE`, and reports the error of an
//! execve(2) that fails; an own copy of that would be worse. The number that it returns is the child's until
//! the child is reaped, by [`reap`] or by other code of this process.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};

use rustix::io::Errno;
pub use rustix::process::Pid;
use rustix::process::{Signal, WaitOptions, kill_process, waitpid};

use super::signal::SignalKind;
use super::{Call, platform};
use crate::sys::call::{retry, retry_new};

/// The signal that ends a process and cannot be handled.
pub const KILL: SignalKind = SignalKind::from_raw(libc::SIGKILL);

/// Starts a child. It blocks the thread until the child has executed its program, or could not.
///
/// # Errors
///
/// Returns `EAGAIN` at the limit of processes; `ENOMEM`; `EMFILE` or `ENFILE` for the pipes; the error of
/// execve(2) or of a closure that runs before it.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    retry_new(Call::StartChild, || Ok(()))?;
    // The child inherits the slack of the thread that starts it, and a worker has the least.
    let slack = platform::reset_timer_slack();
    let started = command.spawn();
    if let Some(slack) = slack {
        // The value was in force before, so the kernel accepts it.
        let _ = platform::set_timer_slack(slack);
    }
    started
}

/// Opens a descriptor of a child that is readable once the child has ended. Returns `None` if the system has
/// none, if a filter of system calls forbids it, or if there is no such child.
///
/// # Errors
///
/// Returns `EMFILE`, `ENFILE` or `ENOMEM`.
pub fn open(pid: Pid) -> io::Result<Option<OwnedFd>> {
    match retry_new(Call::OpenChild, || platform::open_process(pid)) {
        Err(error) if !is_exhaustion(&error) => Ok(None),
        opened => opened.map(Some),
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// Reaps a child that has ended and returns its status; `None` if it has not ended. Never waits.
///
/// # Errors
///
/// Returns `ECHILD` if there is no such child: other code has reaped it, or the kernel has, because the
/// process ignores `SIGCHLD`.
pub fn reap(pid: Pid) -> io::Result<Option<ExitStatus>> {
    let reaped = retry_new(Call::ReapChild, || waitpid(Some(pid), WaitOptions::NOHANG))?;
    Ok(reaped.map(|(_, status)| ExitStatus::from_raw(status.as_raw())))
}

/// Reaps the child of a descriptor of [`open`] as [`reap`] does. It never reaps another process, even if that
/// has the number meanwhile.
///
/// # Errors
///
/// Returns the errors of [`reap`].
pub fn reap_by(fd: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    let reaped = retry(Call::ReapChild, fd, || platform::reap_process(fd))?;
    Ok(reaped.map(ExitStatus::from_raw))
}

/// Returns whether the error is that of a child that other code has reaped.
pub fn is_no_child(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::CHILD)
}

/// Sends a signal to a child by its number, which must not have been reaped.
///
/// # Errors
///
/// Returns `EPERM` if it runs as another user; `InvalidInput` for a number that no signal has.
pub fn kill(pid: Pid, kind: SignalKind) -> io::Result<()> {
    let signal = named(kind)?;
    retry_new(Call::SignalChild, || kill_process(pid, signal))
}

/// Sends a signal to the child of a descriptor of [`open`].
///
/// # Errors
///
/// Returns `ESRCH` if the child was reaped; the errors of [`kill`].
pub fn signal(fd: BorrowedFd<'_>, kind: SignalKind) -> io::Result<()> {
    let signal = named(kind)?;
    retry(Call::SignalChild, fd, || platform::signal_process(fd, signal))
}

fn named(kind: SignalKind) -> io::Result<Signal> {
    Signal::from_named_raw(kind.as_raw()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{kind} is not a signal that can be sent"))
    })
}
