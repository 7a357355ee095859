//! The methods that the two kinds of sockets with messages have in common.

use std::io;

use crate::coop::Moved;
use crate::fd::Fd;
use crate::sys::{ancillary, unix};

impl Moved for ancillary::Received {
    fn bytes(&self) -> usize {
        self.n
    }
}

/// The moment at which the kernel is asked for the end of the messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum EofCheck {
    /// Only after the poller has seen a hang-up, which comes before a task would wait in vain.
    AfterHangUp,
    /// At once, for an operation that does not wait.
    Always,
}

/// Receives on a socket whose kernel reports the end by itself.
pub(super) fn recv_as_is<T>(
    _of: &Fd,
    _check: EofCheck,
    mut receive: impl FnMut() -> io::Result<T>,
    _end: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    receive()
}

/// Receives on a datagram socket. After its reading half was shut down such a socket reports `WouldBlock` for ever, while
/// poll(2) reports the end: then this returns `end`.
pub(super) fn recv_or_eof<T>(
    of: &Fd,
    check: EofCheck,
    mut receive: impl FnMut() -> io::Result<T>,
    end: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let received = receive();
    let nothing = |result: &io::Result<T>| {
        result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    };
    if !nothing(&received)
        || (check == EofCheck::AfterHangUp && !of.has_hung_up())
        || !of.with(unix::is_read_ended)?
    {
        return received;
    }
    // Something may have come before the shutdown and after the first try; nothing comes any more.
    let received = receive();
    if nothing(&received) { end() } else { received }
}

/// Messages: `recv try_recv peek send try_send send_fds recv_fds readable writable`. `$receive` is
/// [`recv_as_is`] or [`recv_or_eof`], `$zero` says what a receive of 0 is.
macro_rules! message_methods {
    ($type:ty, $receive:path, $zero:literal) => {
        impl $type {
            /// Receives one message, as much of it as `buffer` has room for: the rest is lost. Several tasks may receive;
            /// each message goes to one of them.
            ///
            #[doc = $zero]
            ///
            /// Dropped: nothing has been received.
            ///
            /// Not polled: it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Closed, `TimedOut` for the read deadline, and the kernel's.
            pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
                let received = self.fd.shared(Mode::Read, |fd| {
                    $receive(&self.fd, EofCheck::AfterHangUp, || unix::recv(fd, buffer), || Ok(0))
                });
                received.await.map_err(|error| self.error("recv", error))
            }

            /// Receives one message as [`recv`](Self::recv), and never waits.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if nothing has come; others as [`recv`](Self::recv).
            pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
                let received = self.fd.try_shared(Mode::Read, |fd| {
                    $receive(&self.fd, EofCheck::Always, || unix::recv(fd, buffer), || Ok(0))
                });
                received.map_err(|error| map_err_unless_would_block(error, |error| self.error("recv", error)))
            }

            /// As [`recv`](Self::recv), and leaves the message where it is.
            ///
            /// Dropped: nothing has happened.
            ///
            /// Not polled: it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// As [`recv`](Self::recv).
            pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
                let peeked = self.fd.shared(Mode::Read, |fd| {
                    $receive(&self.fd, EofCheck::AfterHangUp, || unix::peek(fd, buffer), || Ok(0))
                });
                peeked.await.map_err(|error| self.error("peek", error))
            }

            /// Sends one message, whole or not at all, to the socket that this one is connected to; waits while there is
            /// no room for it.
            ///
            /// Dropped: nothing has been sent.
            ///
            /// Not polled: it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Closed, `TimedOut` for the write deadline, and the kernel's: `EMSGSIZE` for a message that is larger than
            /// the send buffer; `NotConnected`; `BrokenPipe`, `ConnectionReset` or `ConnectionRefused` when the other end
            /// is gone. A kernel that says `ENOBUFS` for a full queue (the BSDs) is not waited for.
            pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
                let sent = self.fd.shared(Mode::Write, |fd| unix::send(fd, bytes));
                sent.await.map_err(|error| self.error("send", error))
            }

            /// Sends one message as [`send`](Self::send), and never waits.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if there is no room; others as [`send`](Self::send).
            pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
                let sent = self.fd.try_shared(Mode::Write, |fd| unix::send(fd, bytes));
                sent.map_err(|error| map_err_unless_would_block(error, |error| self.error("send", error)))
            }

            /// Sends one message, which may be empty, with descriptors. They stay open on this side.
            ///
            /// Dropped: nothing has been sent.
            ///
            /// Not polled: it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// As [`send`](Self::send); `InvalidInput` for more than [`MAX_FDS`](crate::net::unix::MAX_FDS) descriptors;
            /// `ETOOMANYREFS` if more are on their way than this process may have open.
            pub async fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
                let sent = self.fd.shared(Mode::Write, |fd| ancillary::send(fd, bytes, None, fds));
                sent.await.map_err(|error| self.error("send_fds", error))
            }

            /// Receives one message as [`recv`](Self::recv), with up to `max` descriptors that came with it (at most
            /// [`MAX_FDS`](crate::net::unix::MAX_FDS)). They are close-on-exec. Any other way of receiving closes them.
            ///
            /// Dropped: nothing has been received.
            ///
            /// Not polled: it keeps its [turn](crate::net#turns).
            ///
            /// # Errors
            ///
            /// As [`recv`](Self::recv); `InvalidData` if more descriptors came than `max`, or than this process may have
            /// open. All that came are closed then, and the message is lost.
            pub async fn recv_fds(&self, buffer: &mut [u8], max: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
                let received = self.fd.shared(Mode::Read, |fd| {
                    let receive = || ancillary::recv(fd, buffer, max);
                    $receive(&self.fd, EofCheck::AfterHangUp, receive, || Ok(ancillary::Received::end()))
                });
                let received = received.await.map_err(|error| self.error("recv_fds", error))?;
                Ok((received.n, received.fds))
            }

            /// Waits until [`try_recv`](Self::try_recv) is worth a try. A hint; it waits its turn among those who wait to
            /// receive, in order.
            ///
            /// Dropped: nothing has happened.
            ///
            /// Not polled: it is in nobody's way, see [turns](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Closed, `TimedOut` for the read deadline.
            pub async fn readable(&self) -> io::Result<()> {
                let readable = self.fd.readiness(Mode::Read);
                readable.await.map_err(|error| self.error("readable", error))
            }

            /// Waits until [`try_send`](Self::try_send) is worth a try. A hint; it waits its turn among those who wait to
            /// send, in order.
            ///
            /// Dropped: nothing has happened.
            ///
            /// Not polled: it is in nobody's way, see [turns](crate::net#turns).
            ///
            /// # Errors
            ///
            /// Closed, `TimedOut` for the write deadline.
            pub async fn writable(&self) -> io::Result<()> {
                let writable = self.fd.readiness(Mode::Write);
                writable.await.map_err(|error| self.error("writable", error))
            }
        }

        $crate::net::methods::read_deadline!($type);
        $crate::net::methods::write_deadline!($type);
    };
}

pub(super) use message_methods;
