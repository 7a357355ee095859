//! A child of the test's process, to test the effect of fork(2) on a runtime and the events that end a process.
//!
//! - **INV-501** A call of this file concerns the test's process, or the child that it has forked, as a whole, and no memory
//!   of it but places of its own. The child runs this program's code as a program that forks does: the allocator is the C
//!   library's, which survives fork(2).

#![expect(unsafe_code, reason = "forks, and ends the child")]

use std::any::Any;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;
use std::thread;

/// Seconds after which the kernel ends a child that hangs.
const LIMIT: u32 = 20;

/// The end of a child.
#[derive(Debug)]
pub struct Ended {
    /// The exit status.
    pub status: ExitStatus,
    /// The child's standard error output.
    pub told: String,
}

impl Ended {
    /// Asserts that the child reached the end of its body.
    #[track_caller]
    pub fn well(&self) {
        assert!(self.status.success(), "{self:?}");
    }

    /// Asserts that the child ended itself, not the limit, and wrote `why`.
    #[track_caller]
    pub fn told(&self, why: &str) {
        assert!(!self.status.success() && self.status.signal() != Some(libc::SIGALRM), "it hung: {self:?}");
        assert!(self.told.contains(why), "{why} was expected: {self:?}");
    }
}

/// A running child.
pub struct Running {
    pid: libc::pid_t,
    told: PipeReader,
}

impl Running {
    /// Waits for the end of the child.
    pub fn end(mut self) -> Ended {
        let mut told = Vec::new();
        self.told.read_to_end(&mut told).unwrap();
        let status = wait(self.pid).expect("no other thread waits for it");
        Ended { status, told: String::from_utf8_lossy(&told).into_owned() }
    }
}

/// Runs `body` in a child and waits for its end. A panic ends the child and is written to its standard error output.
pub fn forked(body: impl FnOnce()) -> Ended {
    // Only the child drops it.
    let body = ManuallyDrop::new(body);
    match fork() {
        Some(running) => running.end(),
        None => exit(catch_unwind(AssertUnwindSafe(ManuallyDrop::into_inner(body)))),
    }
}

/// Ends a child, after writing the message if its body panicked.
pub fn exit(ended: thread::Result<()>) -> ! {
    if let Err(payload) = &ended {
        // Not `eprintln`, whose output the harness keeps until the test ends.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "{}", message(&**payload)).unwrap();
    }
    // SAFETY: INV-501: it ends the process without running the handlers that the parent has registered for its own end.
    unsafe { libc::_exit(if ended.is_ok() { 0 } else { 101 }) }
}

/// Forks the process. Returns `None` in the child, which the kernel ends if it hangs.
pub fn fork() -> Option<Running> {
    let (told, writer) = std::io::pipe().unwrap();
    // SAFETY: INV-501: the child goes on with a copy of this thread, and ends by _exit(2) or a signal.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            limit(&writer);
            None
        }
        pid => Some(Running { pid, told }),
    }
}

fn limit(told: &PipeWriter) {
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: INV-501: it changes nothing but when this process ends.
    unsafe { libc::alarm(LIMIT) };
    // SAFETY: INV-501: the limit is this function's, and there for as long as the call takes.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core) };
    // SAFETY: INV-501: both numbers are open, and no code of the process closes the second.
    unsafe { libc::dup2(told.as_raw_fd(), libc::STDERR_FILENO) };
}

/// Returns the message of a panic.
pub fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text")
}

/// Returns `None` if there is no such child.
fn wait(pid: libc::pid_t) -> Option<ExitStatus> {
    let mut status = 0;
    // SAFETY: INV-501: the place of a status, and a child of this process.
    while unsafe { libc::waitpid(pid, &raw mut status, 0) } == -1 {
        let error = std::io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ECHILD) {
            return None;
        }
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
    }
    Some(ExitStatus::from_raw(status))
}

/// Waits for a child by its number, as code does that knows nothing of the child's owner. Returns `None` if the owner has
/// reaped it.
pub fn wait_for_number(number: u32) -> Option<ExitStatus> {
    wait(number.cast_signed())
}

/// Lets the child that a command starts fail between fork(2) and execve(2).
pub fn fail_before_exec(command: &mut netpoll_rt::process::Command, errno: i32) {
    // SAFETY: the closure calls nothing and allocates nothing.
    unsafe { command.pre_exec(move || Err(std::io::Error::from_raw_os_error(errno))) };
}

/// Lets this process ignore a signal, or gives it its default action again.
pub fn ignore(signal: i32, ignored: bool) {
    // SAFETY: INV-501: neither action is a function.
    unsafe { libc::signal(signal, if ignored { libc::SIG_IGN } else { libc::SIG_DFL }) };
}

/// Sends a signal to this process.
pub fn raise(signal: i32) {
    // SAFETY: INV-501: a signal that has a handler.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

/// Closes a descriptor by its number, without owning it.
pub fn close_number(number: RawFd) {
    // SAFETY: INV-501: none: to see what this does is the purpose.
    unsafe { libc::close(number) };
}

/// Takes a descriptor out of an epoll, without owning either: what is written to it wakes no thread that waits there, as if it
/// had been closed directly behind the write.
#[cfg(target_os = "linux")]
pub fn forget_number(epoll: RawFd, number: RawFd) {
    // SAFETY: INV-501: the event of a removal is not read.
    let removed = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, number, std::ptr::null_mut()) };
    assert_eq!(removed, 0, "{}", std::io::Error::last_os_error());
}
