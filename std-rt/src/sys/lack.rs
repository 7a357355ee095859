//! What a system call lacked, for those of its errors that std has no kind for.

use std::io;

use rustix::io::Errno;

/// What there is no more of, or never was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lack {
    /// `EMFILE`: the process has as many descriptors as it may.
    ProcessDescriptors,
    /// `ENFILE`: all processes together have.
    SystemDescriptors,
    /// `ENOBUFS`, `ENOMEM`: the kernel has no memory for it.
    Memory,
    /// `EAFNOSUPPORT`: the host does not have this family of addresses.
    Family,
}

/// What the kernel lacked, if that is what the error says.
pub fn lack(error: &io::Error) -> Option<Lack> {
    match Errno::from_io_error(error)? {
        Errno::MFILE => Some(Lack::ProcessDescriptors),
        Errno::NFILE => Some(Lack::SystemDescriptors),
        Errno::NOBUFS | Errno::NOMEM => Some(Lack::Memory),
        Errno::AFNOSUPPORT => Some(Lack::Family),
        _ => None,
    }
}
