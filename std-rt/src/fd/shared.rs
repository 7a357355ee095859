//! Operations that need no order among themselves: a datagram is sent or received whole, by whoever comes.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use netpoll_core::Mode;

use super::Fd;
use crate::coop::{self, Moved};
use crate::error;
use crate::sys::{self, FdOwner, SharedFd};

impl<S: FdOwner> Fd<S> {
    /// Makes a call under a reference only, so that several tasks make it at the same time. One that finds nothing takes
    /// the direction's lock, tries again and waits, as [`Fd::run`] does.
    ///
    /// Dropped: the call has not succeeded, and a readiness that came stays for the next one.
    ///
    /// # Errors
    ///
    /// Closed, the deadline, what the call says.
    pub async fn shared<T: Moved>(
        &self,
        mode: Mode,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        coop::proceed().await;
        match self.try_shared(mode, &mut call) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.run(mode, |fd| coop::counted(call(fd))).await
            }
            result => result,
        }
    }

    /// One attempt of [`Fd::shared`].
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the call says so; others as there.
    pub fn try_shared<T: Moved>(
        &self,
        mode: Mode,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.with(|fd| {
            self.desc().check_err(mode).map_err(error::refused)?;
            coop::counted(call(fd))
        })
    }

    /// A second number for the same open file, close-on-exec.
    ///
    /// # Errors
    ///
    /// Closed; `EMFILE`.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.with(sys::socket::duplicate)
    }
}

impl Fd<SharedFd> {
    /// A second handle on the same open file: watched by the same poller, with deadlines and queues of its own.
    ///
    /// # Errors
    ///
    /// Closed; `EMFILE`; those of watching a descriptor.
    pub fn dup(&self) -> io::Result<Self> {
        // The same kind: what a short read means is the open file's, and the kernel reports each edge to both handles, so
        // a read through one takes none away from the other.
        let second = Fd::new(self.netpoll().clone(), self.duplicate()?, self.kind)?;
        self.share_shutdown_with(&second);
        Ok(second)
    }
}
