//! The creation of threads, and the detection of forks.
//!
//! fork(2) copies the memory of a process but only the calling thread, and the child shares the kernel's side
//! of every descriptor: an epoll, an eventfd or a pipe of the parent stays the parent's. A handler that the C
//! library runs in each child counts the forks, so that a check costs one load. A child of the bare system
//! call (`syscall(SYS_fork)`, `clone`) is not noticed; in such a child most of the C library is broken as
//! well.
//!
//! - **INV-304** The handler only increments a counter that is never freed, and sets the timer slack of the
//!   thread. It runs between fork(2) and its return, when a lock may be held by a thread that does not exist
//!   in the child.

#![expect(unsafe_code, reason = "declares pthread_atfork, which neither rustix nor libc has on Linux")]

use std::ffi::c_int;
use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{Builder, JoinHandle};

use netpoll_core::sync::Counter;
use rustix::io::Errno;

use super::{Call, inject, platform};

// SAFETY: the declaration is that of POSIX. Calling it is safe for any handlers, null included: it only
// stores the pointers.
unsafe extern "C" {
    /// Registers handlers of fork(2). POSIX has it; the libc crate does not declare it for Linux.
    safe fn pthread_atfork(
        prepare: Option<extern "C" fn()>,
        parent: Option<extern "C" fn()>,
        child: Option<extern "C" fn()>,
    ) -> c_int;
}

/// The number of forks that led to this process since the handler was installed.
static FORKS: OnceLock<Counter> = OnceLock::new();

extern "C" fn count() {
    if let Some(forks) = FORKS.get() {
        forks.inc();
    }
    // The runtime of a worker that forks does not go on in the child.
    platform::reset_timer_slack();
}

/// An identification of the process that made a value, to be compared after a possible fork.
#[derive(Clone, Copy, Debug)]
pub struct ForkEpoch {
    forks: &'static Counter,
    made: usize,
}

impl ForkEpoch {
    /// Returns the epoch of this process, and installs the handler on the first call.
    ///
    /// # Errors
    ///
    /// Returns `ENOMEM` if the C library has no memory for the handler.
    pub fn current() -> io::Result<Self> {
        /// Has a value once the handler is installed. The lock is taken until then only: a child may find it held for ever.
        static INSTALLED: OnceLock<()> = OnceLock::new();
        static INSTALLS: Mutex<()> = Mutex::new(());
        let forks = FORKS.get_or_init(Counter::new);
        if INSTALLED.get().is_none() {
            let _installs = INSTALLS.lock().unwrap_or_else(PoisonError::into_inner);
            if INSTALLED.get().is_none() {
                match pthread_atfork(None, None, Some(count)) {
                    0 => INSTALLED.get_or_init(|| ()),
                    number => return Err(io::Error::from_raw_os_error(number)),
                };
            }
        }
        Ok(Self { forks, made: forks.get() })
    }

    /// Returns whether this is the process that made the value, and not a child of it.
    #[inline]
    pub fn is_current(self) -> bool {
        self.forks.get() == self.made
    }
}

/// A value in a static of which each process has its own, made when it is first used there. So a lock that a
/// thread of the parent held during fork(2), which is never unlocked in the child, is not that of the child.
///
/// Only the first use in a process may meet a fork: a child of a thread beside it finds the value in the making.
pub struct PerProcess<T: 'static> {
    first: Place<T>,
}

/// The place of an entry: that of a process, or of a child that came from it.
type Place<T> = OnceLock<Box<Entry<T>>>;

struct Entry<T: 'static> {
    /// The process that made it; `None` if the handler of forks could not be installed.
    epoch: Option<ForkEpoch>,
    value: T,
    /// The value of a child.
    next: Place<T>,
}

impl<T: Default> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Default> PerProcess<T> {
    /// Creates the place of the values.
    pub const fn new() -> Self {
        Self { first: OnceLock::new() }
    }

    /// Returns the value of this process.
    pub fn get(&self) -> &T {
        let mut place = &self.first;
        loop {
            let entry = place.get_or_init(|| {
                let epoch = ForkEpoch::current().ok();
                Box::new(Entry { epoch, value: T::default(), next: OnceLock::new() })
            });
            if entry.is_current() {
                return &entry.value;
            }
            place = &entry.next;
        }
    }

    /// Returns the value of this process, if it was used here before.
    #[inline]
    pub fn get_used(&self) -> Option<&T> {
        let mut entry = self.first.get()?;
        while !entry.is_current() {
            entry = entry.next.get()?;
        }
        Some(&entry.value)
    }
}

impl<T> Entry<T> {
    fn is_current(&self) -> bool {
        self.epoch.is_none_or(ForkEpoch::is_current)
    }
}

/// Starts a thread with a name, which must not contain a zero byte. Linux shows its first 15 bytes.
///
/// # Errors
///
/// Returns `EAGAIN` if the user (`RLIMIT_NPROC`), the cgroup (`pids.max`) or the system has reached its limit
/// of threads, or there is no memory for a stack.
pub fn start_thread(
    name: String,
    stack_size: Option<usize>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    // No signal interrupts pthread_create(3), so an injected `EINTR` is ignored.
    while let Err(errno) = inject::before_new(Call::StartThread) {
        if errno != Errno::INTR {
            return Err(errno.into());
        }
    }
    stack_size.into_iter().fold(Builder::new().name(name), Builder::stack_size).spawn(body)
}
