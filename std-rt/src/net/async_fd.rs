//! Any other descriptor that the kernel can poll.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

use netpoll_core::{Mode, Modes};

use crate::coop;
use crate::error::OpError;
use crate::fd::{Fd, FdKind};
use crate::netpoll::Netpoll;
use crate::sys::{OwnedBy, Watch, socket};

/// What an operation on an [`AsyncFd`] waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Interest {
    /// Something to read, or to accept.
    Read,
    /// Room to write.
    Write,
    /// What is out of the ordinary (`POLLPRI`): an urgent byte of a TCP stream, a change of `/proc/self/mountinfo` or of
    /// a file of sysfs, whose reads are always ready. For an [`AsyncFd`] that was made for it.
    Priority,
    /// An error that is queued or for good, or a hang-up (`POLLERR`, `POLLHUP`): a message in a socket's error queue, a
    /// pipe that nobody reads any more. For an [`AsyncFd`] that was made for it.
    Error,
}

impl Interest {
    /// The direction that it is of a descriptor that is watched for reads and writes.
    pub(crate) fn mode(self) -> Option<Mode> {
        match self {
            Interest::Read => Some(Mode::Read),
            Interest::Write => Some(Mode::Write),
            Interest::Priority | Interest::Error => None,
        }
    }

    /// How a descriptor is watched for it.
    fn kind(self) -> FdKind {
        match self {
            Interest::Read | Interest::Write => FdKind::Other,
            Interest::Priority => FdKind::Special(Watch::Priority),
            Interest::Error => FdKind::Special(Watch::Error),
        }
    }

    pub(crate) fn refusal() -> io::Error {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "the descriptor is not watched for that: make an AsyncFd of a duplicate of it, with_interest",
        )
    }
}

/// Any descriptor that the kernel can poll, inside a value of yours that owns it: a pipe, a terminal, an eventfd, a
/// timerfd, inotify, a tunnel, a socket of a kind that this crate does not have.
///
/// ```
/// # use std::io::{Read, Write};
/// use netpoll_rt::net::{AsyncFd, Interest};
///
/// # netpoll_rt::block_on(async {
/// let (reader, mut writer) = std::io::pipe()?;
/// let reader = AsyncFd::new(reader)?;
/// writer.write_all(b"through a pipe")?;
/// let mut buffer = [0; 64];
/// let n = reader.with_io(Interest::Read, |mut pipe| pipe.read(&mut buffer)).await?;
/// assert_eq!(&buffer[..n], b"through a pipe");
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
///
/// Operations in one direction follow each other in the order in which they came. Two `AsyncFd` of one descriptor, even
/// through duplicates, do not know of each other.
///
/// Dropped: the poller forgets the descriptor, then the value is dropped.
#[derive(Debug)]
pub struct AsyncFd<T: AsFd> {
    fd: Fd<OwnedBy<T>>,
    /// What it is watched for in place of reads and writes.
    special: Option<Interest>,
}

impl<T: AsFd> AsyncFd<T> {
    /// Watches the descriptor of `value`, which must always be the same one, and makes it non-blocking. That holds for all
    /// duplicates, also in other processes; a terminal that you share with a shell is better opened anew.
    ///
    /// # Errors
    ///
    /// `Unsupported` for what the kernel cannot poll, such as a regular file, a directory or `/dev/null`: it is always
    /// ready, and may block a thread; [`spawn_blocking`](crate::spawn_blocking) is for those. `AlreadyExists` if this
    /// very descriptor is watched already. Others of the kernel. `value` is dropped then.
    pub fn new(value: T) -> io::Result<Self> {
        Self::with_interest(value, Interest::Read)
    }

    /// Watches the descriptor as [`new`](AsyncFd::new) does, and for [`Interest::Priority`] or [`Interest::Error`] for
    /// that alone. Operations with any other interest are then refused: for those, watch a duplicate.
    ///
    /// A change of what is mounted, which an ordinary read of this file cannot wait for:
    ///
    /// ```
    /// # use std::fs::File;
    /// use netpoll_rt::net::{AsyncFd, Interest};
    /// # use netpoll_rt::time::timeout;
    ///
    /// # #[cfg(target_os = "linux")]
    /// # netpoll_rt::block_on(async {
    /// let mounts = AsyncFd::with_interest(File::open("/proc/self/mountinfo")?, Interest::Priority)?;
    /// # let _ = timeout(std::time::Duration::from_millis(1), async {
    /// mounts.ready(Interest::Priority).await?;
    /// # std::io::Result::Ok(()) }).await;
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`new`](AsyncFd::new); `Unsupported` for the two on systems with kqueue.
    pub fn with_interest(value: T, interest: Interest) -> io::Result<Self> {
        let number = value.as_fd().as_raw_fd();
        let failed = |error| io::Error::from(OpError::new("watch", error).on(number));
        let fd = Netpoll::current().and_then(|netpoll| Fd::from_owner(netpoll, value, interest.kind()));
        let fd = fd.map_err(|error| failed(explained(error)))?;
        fd.with(|fd| socket::set_nonblocking(fd, true)).map_err(failed)?;
        Ok(Self { fd, special: interest.mode().is_none().then_some(interest) })
    }

    /// Waits until a read is worth a try. A hint: it may still say `WouldBlock`.
    ///
    /// Dropped: nothing has happened.
    ///
    /// Not polled: it is in nobody's way, see [turns](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Closed, `TimedOut` for the read deadline; `Unsupported` where the kernel reports an error and nothing else, as at
    /// the writing end of a pipe that nobody reads.
    pub async fn readable(&self) -> io::Result<()> {
        self.wait_for("readable", Interest::Read).await
    }

    /// As [`AsyncFd::readable`], for a write.
    ///
    /// Dropped: nothing has happened.
    ///
    /// Not polled: it is in nobody's way, see [turns](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Closed, `TimedOut` for the write deadline.
    pub async fn writable(&self) -> io::Result<()> {
        self.wait_for("writable", Interest::Write).await
    }

    /// Waits for an interest: [`readable`](AsyncFd::readable), [`writable`](AsyncFd::writable), or what this was made for
    /// with [`with_interest`](AsyncFd::with_interest). A hint; of what the kernel tells once (a change of a file of `/proc`
    /// or sysfs) it is all that is told.
    ///
    /// Dropped: nothing has happened.
    ///
    /// # Errors
    ///
    /// As [`readable`](AsyncFd::readable), with the read deadline for [`Interest::Priority`] and [`Interest::Error`];
    /// `InvalidInput` for an interest that it is not watched for.
    pub async fn ready(&self, interest: Interest) -> io::Result<()> {
        self.wait_for("ready", interest).await
    }

    async fn wait_for(&self, op: &'static str, interest: Interest) -> io::Result<()> {
        let Some(mode) = self.mode(interest) else {
            return coop::refuse(self.fd.error(op, Interest::refusal())).await;
        };
        self.fd.readiness(mode).await.map_err(|error| self.fd.error(op, error))
    }

    /// The direction of an interest, if it is watched for that.
    fn mode(&self, interest: Interest) -> Option<Mode> {
        match self.special {
            Some(special) => (special == interest).then_some(Mode::Read),
            None => interest.mode(),
        }
    }

    /// Calls `io` until it says something other than `WouldBlock` or `Interrupted`, and waits for the interest in
    /// between. `io` must not block, and must say `WouldBlock` only when the kernel did: until the kernel has news it is not
    /// called again.
    ///
    /// Dropped: `io` has said nothing but `WouldBlock`.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// What `io` says; and those of [`AsyncFd::ready`].
    pub async fn with_io<R>(
        &self,
        interest: Interest,
        mut io: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let io = |_: BorrowedFd<'_>| {
            loop {
                match io(self.fd.get_ref()) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => return result,
                }
            }
        };
        match self.mode(interest) {
            Some(mode) => self.fd.run(mode, io).await,
            None => coop::refuse(self.fd.error("with_io", Interest::refusal())).await,
        }
    }

    /// Sets the instant from which everything that waits for a read fails with `TimedOut`. It stays in force until the
    /// next; `None` clears it. What waits when it passes makes one last attempt.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn set_read_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.set_deadlines(Modes::READ, deadline)
    }

    /// As [`AsyncFd::set_read_deadline`], for writes.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn set_write_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.set_deadlines(Modes::WRITE, deadline)
    }

    /// As [`AsyncFd::set_read_deadline`], for both directions.
    ///
    /// # Errors
    ///
    /// Closed.
    pub fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.set_deadlines(Modes::BOTH, deadline)
    }

    fn set_deadlines(&self, modes: Modes, deadline: Option<Instant>) -> io::Result<()> {
        self.fd.set_deadline(modes, deadline).map_err(|error| self.fd.error("set_deadline", error))
    }

    /// Ends it: every operation fails from now on, what waits now too, and the poller forgets the descriptor. The number
    /// itself is the value's, and stays open until that is dropped, with the `AsyncFd`.
    ///
    /// Dropped: the ending goes on without the wait.
    ///
    /// # Errors
    ///
    /// Closed, if it was already.
    pub async fn close(&self) -> io::Result<()> {
        let closed = self.fd.close().await;
        coop::proceed().await;
        closed.map_err(|error| self.fd.error("close", error))
    }

    /// The value. Calls that do not wait can be made on it directly; what reads or writes competes with the operations.
    pub fn get_ref(&self) -> &T {
        self.fd.get_ref()
    }

    /// Gives the value back, no longer watched and still non-blocking.
    pub fn into_inner(self) -> T {
        self.fd.into_inner()
    }
}

impl<T: AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

/// The kernel says "not permitted" and means that there is nothing to wait for.
fn explained(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => io::Error::new(
            io::ErrorKind::Unsupported,
            "the kernel cannot poll it (regular files, directories and some devices are always ready): \
             read and write it with spawn_blocking",
        ),
        _ => error,
    }
}
