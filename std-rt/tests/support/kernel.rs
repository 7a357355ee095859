//! Questions to the kernel without the crate, by calls that all systems have.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::{SendFlags, send};
use rustix::process::{Resource, getgid, getrlimit, getuid};

/// Returns whether a started process does not inherit the descriptor.
pub fn is_cloexec(fd: impl AsFd) -> bool {
    fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC)
}

/// Returns whether calls on the open file do not wait.
pub fn is_nonblocking(fd: impl AsFd) -> bool {
    fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
}

/// Returns whether a read would complete now.
pub fn is_readable(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut fds, Some(&Timespec::default()))).unwrap() == 1
}

/// Sends one urgent byte (`MSG_OOB`); the peer's reads stop at its mark.
pub fn send_urgent(fd: impl AsFd, byte: u8) -> std::io::Result<()> {
    let sent = rustix::io::retry_on_intr(|| send(&fd, &[byte], SendFlags::OOB))?;
    assert_eq!(sent, 1);
    Ok(())
}

/// Returns the largest number of descriptors that this process may have.
pub fn most_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| limit.try_into().ok()).unwrap_or(usize::MAX)
}

/// Returns the user and the group of this process.
pub fn user_and_group() -> (u32, u32) {
    (getuid().as_raw(), getgid().as_raw())
}

/// Returns whether the kernel shows the state of a process, as Linux does. Some tests need it.
pub fn has_proc() -> bool {
    Path::new("/proc/self/task").exists()
}

/// Returns the files that exist on this system.
pub fn existing<T: AsRef<Path>>(files: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    files.into_iter().filter(|file| file.as_ref().exists())
}

/// Binds this thread, and those that it starts, to the CPU that it runs on. Returns false if the system has no such call.
pub fn use_one_cpu() -> bool {
    #[cfg(target_os = "linux")]
    {
        let mut one = rustix::thread::CpuSet::new();
        one.set(rustix::thread::sched_getcpu());
        rustix::thread::sched_setaffinity(None, &one).is_ok()
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// The limit of a user's threads, for a process that was started to have one.
#[cfg(target_os = "linux")]
pub struct ThreadLimit(rustix::process::Rlimit);

#[cfg(target_os = "linux")]
impl ThreadLimit {
    /// Binds this thread, and those that it starts from now on, to the limit: the superuser becomes another user.
    pub fn bind() -> Self {
        if getuid().is_root() {
            let user = rustix::process::Uid::from_raw(20_000 + std::process::id() % 30_000);
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        }
        Self(getrlimit(Resource::Nproc))
    }

    /// Lowers the limit, so that the kernel creates no more threads.
    pub fn lower(&self) {
        let none = rustix::process::Rlimit { current: Some(0), maximum: self.0.maximum };
        rustix::process::setrlimit(Resource::Nproc, none).unwrap();
    }

    /// Restores the limit.
    pub fn raise(&self) {
        rustix::process::setrlimit(Resource::Nproc, self.0).unwrap();
    }
}
