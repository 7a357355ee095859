//! Whether this is still the process that made a value. fork(2) copies all memory, but of the threads only the caller, and
//! the kernel's side of a descriptor is shared: an epoll, an eventfd or a pipe of the parent is the parent's, whoever holds
//! the number.
//!
//! A handler that the C library runs in each child counts the forks, so that asking costs a load. A child of the bare
//! system call (`syscall(SYS_fork)`, `clone`) is not noticed; in such a child most of the C library is broken as well.
//!
//! - **INV-304** The handler only adds to a counter that is never freed: it runs between fork(2) and its return, where a
//!   lock may be held by a thread that does not exist.

use std::ffi::c_int;
use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use netpoll_core::counter::Counter;

// SAFETY: INV-304: the declaration is that of POSIX, and any handler may be given, none too.
unsafe extern "C" {
    /// POSIX; the libc crate does not declare it for Linux.
    safe fn pthread_atfork(
        prepare: Option<extern "C" fn()>,
        parent: Option<extern "C" fn()>,
        child: Option<extern "C" fn()>,
    ) -> c_int;
}

/// The forks that led to this process since the handler was installed.
static FORKS: OnceLock<Counter> = OnceLock::new();

extern "C" fn count() {
    if let Some(forks) = FORKS.get() {
        forks.inc();
    }
}

/// The process that a value was made in.
#[derive(Clone, Copy, Debug)]
pub struct ForkEpoch {
    forks: &'static Counter,
    made: usize,
}

impl ForkEpoch {
    /// Returns that of this process.
    ///
    /// # Errors
    ///
    /// Returns `ENOMEM` if the C library has no room for the handler.
    pub fn current() -> io::Result<Self> {
        /// Whether the handler is installed.
        static INSTALLED: Mutex<bool> = Mutex::new(false);
        let forks = FORKS.get_or_init(Counter::new);
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if !*installed {
            match pthread_atfork(None, None, Some(count)) {
                0 => *installed = true,
                number => return Err(io::Error::from_raw_os_error(number)),
            }
        }
        Ok(Self { forks, made: forks.get() })
    }

    /// Returns whether this is the process that the value was made in, and not a child of it.
    #[inline]
    pub fn is_current(self) -> bool {
        self.forks.get() == self.made
    }
}
