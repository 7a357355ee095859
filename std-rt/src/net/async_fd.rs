//! Any other descriptor that the kernel can poll.

use std::task::ready;

use super::methods::*;
use crate::error::uninterrupted;
use crate::netpoll::Netpoll;
use crate::sys::{OwnedBy, Watch, socket};

/// The condition that an operation on an [`AsyncFd`] waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Interest {
    /// Input to read, or a connection to accept.
    Read,
    /// Space to write.
    Write,
    /// An exceptional condition (`POLLPRI`): an urgent byte of a TCP stream, a change of
    /// `/proc/self/mountinfo` or of a file of sysfs, whose reads are always ready. For an [`AsyncFd`] that
    /// was created for it.
    Priority,
    /// A queued or permanent error, or a hang-up (`POLLERR`, `POLLHUP`): a message in a socket's error queue,
    /// a pipe without a reader. For an [`AsyncFd`] that was created for it.
    Error,
}

impl Interest {
    /// Returns the direction of a descriptor that is watched for reads and writes.
    pub(crate) fn mode(self) -> Option<Mode> {
        match self {
            Interest::Read => Some(Mode::Read),
            Interest::Write => Some(Mode::Write),
            Interest::Priority | Interest::Error => None,
        }
    }

    /// Returns how a descriptor is watched for it.
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

/// Any descriptor that the kernel can poll, in a value of the user that owns it: a pipe, a terminal, an
/// eventfd, a timerfd, inotify, a tunnel, a socket of a kind that this crate does not offer.
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
/// It is a reader and a writer of futures-io, and with the feature `tokio` of tokio, if `&T` is a [`Read`](io::Read) or a
/// [`Write`](io::Write) of std, as those of files, pipes and sockets are. The bytes are read and written by `T`.
///
/// Operations of one direction follow each other in the order of their first polls. Two `AsyncFd` of one
/// descriptor, even of duplicates, are not ordered among each other.
///
/// Dropping it deregisters the descriptor, and then drops the value.
#[derive(Debug)]
pub struct AsyncFd<T: AsFd> {
    fd: Fd<OwnedBy<T>>,
    /// The condition that it is watched for in place of reads and writes.
    special: Option<Interest>,
}

impl<T: AsFd> Descriptor for AsyncFd<T> {
    type Owner = OwnedBy<T>;

    fn fd(&self) -> &Fd<OwnedBy<T>> {
        &self.fd
    }
}

methods!([T: AsFd] AsyncFd<T>: deadlines);

impl<T: AsFd> AsyncFd<T> {
    /// Watches the descriptor of `value`, which must always return the same one, and makes it non-blocking.
    /// All duplicates become non-blocking, also in other processes; so open a terminal that you share with a
    /// shell anew.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` for a file that the kernel cannot poll, such as a regular file, a directory or
    /// `/dev/null`: it is always ready, and may block a thread; [`spawn_blocking`](crate::spawn_blocking) is
    /// for those. Returns `AlreadyExists` if this very descriptor is watched already; the kernel's other
    /// errors. `value` is dropped then.
    pub fn new(value: T) -> io::Result<Self> {
        Self::with_interest(value, Interest::Read)
    }

    /// Watches the descriptor as [`new`](AsyncFd::new) does; with [`Interest::Priority`] or
    /// [`Interest::Error`], for that alone. Operations with any other interest are refused then: for those,
    /// watch a duplicate.
    ///
    /// This example waits for a change of the mounts, which an ordinary read of the file cannot wait for:
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
    /// Returns the errors of [`new`](AsyncFd::new); `Unsupported` for the two on systems with kqueue.
    pub fn with_interest(value: T, interest: Interest) -> io::Result<Self> {
        let number = value.as_fd().as_raw_fd();
        let failed = |error| io::Error::from(OpError::new("watch", error).on(number));
        let fd = Netpoll::current().and_then(|netpoll| Fd::from_owner(netpoll, value, interest.kind()));
        let fd = fd.map_err(|error| failed(explained(error)))?;
        fd.with(|fd| socket::set_nonblocking(fd, true)).map_err(failed)?;
        Ok(Self { fd, special: interest.mode().is_none().then_some(interest) })
    }

    /// Waits until a read is worth a try. It is a hint: the read may still return `WouldBlock`.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future did nothing. It has no [turn](crate::net#turns) to keep.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed; `TimedOut` if the read deadline passes; `Unsupported` if the kernel
    /// reports an error and nothing else, as at the writing end of a pipe without a reader.
    pub async fn readable(&self) -> io::Result<()> {
        self.wait_for("readable", Interest::Read).await
    }

    /// Waits until a write is worth a try. It is a hint: the write may still return `WouldBlock`.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future did nothing. It has no [turn](crate::net#turns) to keep.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed; `TimedOut` if the write deadline passes.
    pub async fn writable(&self) -> io::Result<()> {
        self.wait_for("writable", Interest::Write).await
    }

    /// Waits for an interest: [`readable`](AsyncFd::readable), [`writable`](AsyncFd::writable), or the one
    /// that this was created for with [`with_interest`](AsyncFd::with_interest). It is a hint. An event that
    /// the kernel reports only once, such as a change of a file of `/proc` or sysfs, is reported by this and
    /// by nothing later.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future did nothing. It has no [turn](crate::net#turns) to keep.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`readable`](AsyncFd::readable), with the read deadline for
    /// [`Interest::Priority`] and [`Interest::Error`]; `InvalidInput` for an interest that it is not watched
    /// for.
    pub async fn ready(&self, interest: Interest) -> io::Result<()> {
        self.wait_for("ready", interest).await
    }

    /// Polls once for [`readable`](AsyncFd::readable), or for the one interest that this was created for (tokio's
    /// `poll_read_ready`). The poll consumes the event that makes it ready. Nothing is held between two polls.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`readable`](AsyncFd::readable).
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fd.poll_ready(ReadMode, cx).map_err(|error| self.error("readable", error))
    }

    /// Polls once for [`writable`](AsyncFd::writable) (tokio's `poll_write_ready`). The poll consumes the event that
    /// makes it ready. Nothing is held between two polls.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`writable`](AsyncFd::writable); `InvalidInput` if it was created for another interest.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.special.is_some() {
            ready!(coop::poll_proceed(cx));
            return Poll::Ready(Err(self.error("writable", Interest::refusal())));
        }
        self.fd.poll_ready(WriteMode, cx).map_err(|error| self.error("writable", error))
    }

    /// Calls `io` once, and never waits: after [`poll_readable`](AsyncFd::poll_readable) or [`readable`](AsyncFd::readable), or
    /// their counterparts for writes. `WouldBlock` clears the remembered readiness, so `io` must return it only if the kernel
    /// did, for a call of this direction. `io` is called whether or not an event was reported.
    ///
    /// # Errors
    ///
    /// Returns the error of `io` as it is, also `WouldBlock` and `Interrupted`. Returns an error if it is closed; `TimedOut` if
    /// the deadline of the direction has passed; `WouldBlock` if another task runs or waits in an operation of the direction;
    /// `InvalidInput` for an interest that it is not watched for.
    pub fn try_io<R>(&self, interest: Interest, io: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        let Some(mode) = self.mode(interest) else {
            return Err(self.error("try_io", Interest::refusal()));
        };
        self.attempted("try_io", self.fd.try_io(mode, false, |_| io(self.fd.get_ref())))
    }

    async fn wait_for(&self, op: &'static str, interest: Interest) -> io::Result<()> {
        match self.mode(interest) {
            Some(mode) => self.fd.readiness(mode).await.map_err(|error| self.error(op, error)),
            None => coop::refuse(self.error(op, Interest::refusal())).await,
        }
    }

    /// Returns the direction of an interest, if it is watched for that.
    fn mode(&self, interest: Interest) -> Option<Mode> {
        match self.special {
            Some(special) => (special == interest).then_some(Mode::Read),
            None => interest.mode(),
        }
    }

    /// Calls `io` until it returns something other than `WouldBlock` or `Interrupted`, and waits for the
    /// interest in between. `io` must not block, and must return `WouldBlock` only if the kernel did: it is
    /// not called again before the kernel reports an event.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: `io` has returned nothing but `WouldBlock`. While it is not polled, it
    /// keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the error of `io`; the errors of [`AsyncFd::ready`].
    pub async fn with_io<R>(
        &self,
        interest: Interest,
        mut io: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        match self.mode(interest) {
            Some(mode) => self.fd.run(mode, |_| uninterrupted(|| io(self.fd.get_ref()))).await,
            None => coop::refuse(self.error("with_io", Interest::refusal())).await,
        }
    }

    /// Polls once as [`with_io`](AsyncFd::with_io) does, for the traits of other crates.
    pub(crate) fn poll_with_io(
        &self,
        cx: &mut Context<'_>,
        op: &'static str,
        interest: Interest,
        mut io: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let Some(mode) = self.mode(interest) else {
            return coop::poll_proceed(cx).map(|()| Err(self.error(op, Interest::refusal())));
        };
        let call = |_: BorrowedFd<'_>| coop::counted(uninterrupted(|| io(self.fd.get_ref())));
        self.fd.run(mode, call).poll_once(cx)
    }

    /// Ends all operations: those that wait now and those that come later fail, and the poller forgets the
    /// descriptor. The number belongs to the value, and stays open until the value is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the close continues, and this does not wait for it.
    ///
    /// # Errors
    ///
    /// Returns an error if it was closed before.
    pub async fn close(&self) -> io::Result<()> {
        let closed = self.fd.close().await;
        coop::proceed().await;
        closed.map_err(|error| self.error("close", error))
    }

    /// Returns the value. Calls that do not wait can be made on it directly; its reads and writes compete
    /// with the operations.
    pub fn get_ref(&self) -> &T {
        self.fd.get_ref()
    }

    /// Returns the value, deregistered and still non-blocking.
    pub fn into_inner(self) -> T {
        self.fd.into_inner()
    }
}

impl<T: AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

/// Explains the kernel's "not permitted", which means that the file has no readiness to wait for.
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
