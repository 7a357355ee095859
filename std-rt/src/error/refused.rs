//! Work that blocks and that no thread did.

use std::error::Error;
use std::fmt;
use std::io;

use crate::protocol::job::Refusal;

/// Returns a refusal as an error of io.
pub(crate) fn no_thread(why: Refusal) -> io::Error {
    let (kind, number) = match why {
        Refusal::NoThread(number) => (io::ErrorKind::ResourceBusy, number),
        Refusal::Closed => (io::ErrorKind::NotConnected, None),
        Refusal::Forked => (io::ErrorKind::Unsupported, None),
    };
    io::Error::new(kind, Refused { why, source: number.map(io::Error::from_raw_os_error) })
}

/// What is inside the error of a refusal. The kernel's error is its source, so that its number can be found; its kind,
/// `WouldBlock`, would mislead a caller.
#[derive(Debug)]
struct Refused {
    why: Refusal,
    source: Option<io::Error>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, advice) = match self.why {
            Refusal::NoThread(_) => (
                "no thread for work that blocks can be started",
                "raise the limit on threads (RLIMIT_NPROC, pids.max of the cgroup), or run fewer",
            ),
            Refusal::Closed => ("its runtime has ended", "use a runtime that runs"),
            Refusal::Forked => (
                "this process was forked from the one that has the runtime's threads",
                "make a runtime after the fork, or exec",
            ),
        };
        f.write_str(what)?;
        self.source.as_ref().map_or(Ok(()), |source| write!(f, ": {source}"))?;
        write!(f, "; {advice}")
    }
}

impl Error for Refused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
