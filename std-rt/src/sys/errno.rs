//! Error numbers: the exhaustion that a system call reports and for which std has no error kind.

use std::io;

use rustix::io::Errno;

/// A resource that is used up or missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exhausted {
    /// The process has as many descriptors as it may (`EMFILE`).
    ProcessDescriptors,
    /// The whole system has as many open files as it may (`ENFILE`).
    SystemDescriptors,
    /// The kernel has no memory for the request (`ENOBUFS`, `ENOMEM`).
    Memory,
    /// The host does not have this address family (`EAFNOSUPPORT`).
    Family,
}

impl Exhausted {
    /// Returns the exhausted resource, if the error names one.
    pub fn from_error(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE => Some(Self::ProcessDescriptors),
            Errno::NFILE => Some(Self::SystemDescriptors),
            Errno::NOBUFS | Errno::NOMEM => Some(Self::Memory),
            Errno::AFNOSUPPORT => Some(Self::Family),
            _ => None,
        }
    }
}

/// Returns the error number that the last failed call of the C library has left.
pub(super) fn last() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
