//! What tests ask the kernel past the crate, in ways that all systems have.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::process::{Resource, getgid, getrlimit, getuid};

/// A process that is started does not get the number.
pub fn is_cloexec(fd: impl AsFd) -> bool {
    fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC)
}

/// Calls on the open file do not wait.
pub fn is_nonblocking(fd: impl AsFd) -> bool {
    fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
}

/// How many descriptors this process may have.
pub fn most_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| limit.try_into().ok()).unwrap_or(usize::MAX)
}

/// Whose process this is.
pub fn user_and_group() -> (u32, u32) {
    (getuid().as_raw(), getgid().as_raw())
}

/// The kernel shows what a process is at, as Linux does. What needs it can be tested only there.
pub fn has_proc() -> bool {
    Path::new("/proc/self/task").exists()
}

/// Those files that this system has.
pub fn existing<T: AsRef<Path>>(files: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    files.into_iter().filter(|file| file.as_ref().exists())
}

/// Ties this thread, and those that it starts, to the CPU that it runs on; false where the system has no call for it.
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
