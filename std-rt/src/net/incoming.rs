//! Accepting for as long as a server lives.
//!
//! When descriptors or memory run out, accept(2) fails at once, as often as it is called, and the connection stays in the
//! queue: a loop that just goes on spins, and one that stops is a dead server. [`Incoming`] waits instead, for whichever
//! comes first:
//!
//! | it ends the wait | how it is known |
//! |---|---|
//! | a descriptor of ours was closed | [`fd_limit`] wakes the task, at once |
//! | something else has become free | a timer: 5 ms, doubled each time that it was in vain, at most 1 s |
//! | the listener is closed, its deadline passes | the listener's poller tells |
//!
//! A connection that comes meanwhile is no reason to try.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use netpoll_core::Mode;

use super::connect::errors::cause;
use crate::coop;
use crate::error::is_closed;
use crate::fd::{Fd, FdKind};
use crate::netpoll::fd_limit;
use crate::sys::{Exhausted, socket};
use crate::time::{Sleep, sleep};

/// The first wait for a descriptor, as Go's `net/http` has it.
const SHORTEST: Duration = Duration::from_millis(5);

/// The longest.
const LONGEST: Duration = Duration::from_secs(1);

/// A listener: what it has of its own. The rest is [`accept`] and [`Incoming`].
pub trait Accept {
    /// What accept(2) says of the other end.
    type Peer;
    /// What the user gets.
    type Connection;
    /// The kind of its connections.
    const KIND: FdKind;

    /// The listening descriptor.
    fn fd(&self) -> &Fd;

    /// accept(2).
    ///
    /// # Errors
    ///
    /// The kernel's. Connections that were aborted are skipped above.
    fn take(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, Self::Peer)>;

    /// The user's side of a connection that is watched.
    fn connection(fd: Fd, peer: Self::Peer) -> Self::Connection;
}

/// One connection. The future is dropped: none is lost.
pub(super) async fn accept<L: Accept>(listener: &L) -> io::Result<L::Connection> {
    let taken = listener.fd().run(Mode::Read, take_sound::<L>);
    watched(listener, taken.await)
}

/// Ready with the reason once there will be no connections: closed, or past the deadline. A connection that comes may
/// wake, and is not looked at.
fn poll_over<L: Accept>(listener: &L, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let over = listener.fd().poll_over(cx, Mode::Read);
    over.map(|over| over.map(|never| match never {}).map_err(|error| refused(listener, error)))
}

/// Without those that were aborted while they waited.
fn take_sound<L: Accept>(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, L::Peer)> {
    loop {
        match L::take(fd) {
            Err(error) if socket::is_aborted(&error) => {}
            result => return result,
        }
    }
}

/// A listener has no other end to be named.
fn refused<L: Accept>(listener: &L, error: io::Error) -> io::Error {
    listener.fd().error_to("accept", error, None)
}

/// Returns whether an error means that descriptors or memory ran out, so that a later attempt may succeed.
fn is_exhausted(error: &io::Error) -> bool {
    let exhausted = Exhausted::from_error(cause(error));
    exhausted.is_some_and(|resource| resource != Exhausted::Family)
}

fn watched<L: Accept>(listener: &L, taken: io::Result<(OwnedFd, L::Peer)>) -> io::Result<L::Connection> {
    let watched = taken.and_then(|(fd, peer)| {
        let fd = Fd::new(listener.fd().netpoll().clone(), fd, L::KIND)?;
        Ok(L::connection(fd, peer))
    });
    watched.map_err(|error| refused(listener, error))
}

/// The connections of a listener, one after the other, without end: the loop of a server that survives running out of
/// descriptors. [`TcpListener::incoming`](super::TcpListener::incoming) makes it.
///
/// ```
/// # use netpoll_rt::net::{TcpListener, TcpStream};
/// # async fn serve(stream: TcpStream) {}
/// # netpoll_rt::block_on(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let mut incoming = listener.incoming();
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// loop {
///     let (stream, peer) = incoming.next().await?;
///     println!("{peer} is here; {} times no descriptor was left", incoming.exhausted_count());
///     netpoll_rt::spawn(serve(stream));
/// #   break;
/// }
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
///
/// It is a `Stream` as well. Where this crate's [`next`](Incoming::next) hides that of a stream's extension trait, the
/// other adapters are there all the same: `listener.incoming().take(3)`.
///
/// Several may accept from one listener, and plain `accept` beside them.
///
/// Dropped: the listener is as it was; no connection is lost, but for one that had been accepted and could not be watched
/// yet, since memory ran out: that is closed.
pub struct Incoming<'a, L: Accept> {
    listener: &'a L,
    /// Present while the last attempt found no descriptor.
    backoff: Option<AcceptBackoff>,
    exhausted_count: usize,
    /// A connection that was accepted, and for which there was no memory or place left to watch it.
    taken: Option<Taken<L>>,
    /// The stream has said that the listener is closed.
    ended: bool,
}

/// What accept(2) gives.
type Taken<L> = (OwnedFd, <L as Accept>::Peer);

// Nothing of it is pinned.
impl<L: Accept> Unpin for Incoming<'_, L> {}

#[derive(Default)]
struct AcceptBackoff {
    fd_waiter: fd_limit::FdWaiter,
    /// The number of times that the timer ran out.
    rounds: u32,
    timer: Option<Sleep>,
}

impl AcceptBackoff {
    /// Returns `Ready` when one more attempt is worth it.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.fd_waiter.register(cx.waker()) {
            return Poll::Ready(());
        }
        let delay = SHORTEST.saturating_mul(1 << self.rounds).min(LONGEST);
        ready!(Pin::new(self.timer.get_or_insert_with(|| sleep(delay))).poll(cx));
        self.timer = None;
        // Beyond a second it makes no difference, and the shift stays in range.
        self.rounds = (self.rounds + 1).min(8);
        Poll::Ready(())
    }
}

impl<'a, L: Accept> Incoming<'a, L> {
    pub(super) fn new(listener: &'a L) -> Self {
        Self { listener, backoff: None, exhausted_count: 0, taken: None, ended: false }
    }

    /// The next connection, and the peer's address. Without descriptors or memory it waits, and tries again when a
    /// connection of this process is closed, and now and then besides.
    ///
    /// Dropped: no connection is lost.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Closed, which ends the loop: it would be said again and again. `TimedOut` for the listener's deadline, and what
    /// else the kernel says; after these the loop may go on. Never `EMFILE`, `ENFILE`, `ENOBUFS` or `ENOMEM`.
    pub async fn next(&mut self) -> io::Result<L::Connection> {
        loop {
            poll_fn(|cx| self.poll_retry(cx)).await?;
            let taken = match self.taken.take() {
                Some(taken) => Ok(taken),
                None => self.listener.fd().run(Mode::Read, take_sound::<L>).await,
            };
            if let Some(result) = self.finish(taken) {
                return result;
            }
        }
    }

    /// Returns how many attempts to accept found no descriptor or no memory so far; worth a line in the log when it rises.
    pub fn exhausted_count(&self) -> usize {
        self.exhausted_count
    }

    /// Returns `Ready` when an attempt is worth it, or with the reason why there will be none.
    fn poll_retry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(backoff) = &mut self.backoff else { return Poll::Ready(Ok(())) };
        match backoff.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => poll_over(self.listener, cx),
        }
    }

    /// Returns the result for the user; `None` if the attempt is to be repeated after a wait.
    fn finish(&mut self, taken: io::Result<Taken<L>>) -> Option<io::Result<L::Connection>> {
        let connection = taken.and_then(|taken| self.watched(taken));
        if connection.as_ref().is_err_and(is_exhausted) {
            self.exhausted_count += 1;
            self.backoff.get_or_insert_default();
            return None;
        }
        self.backoff = None;
        Some(connection.map_err(|error| refused(self.listener, error)))
    }

    /// Has a connection watched. One that there is no room for at the moment is kept, for the next attempt.
    fn watched(&mut self, (fd, peer): Taken<L>) -> io::Result<L::Connection> {
        match Fd::try_new(self.listener.fd().netpoll(), fd, L::KIND) {
            Ok(fd) => Ok(L::connection(fd, peer)),
            Err((fd, error)) => {
                if is_exhausted(&error) {
                    self.taken = Some((fd, peer));
                }
                Err(error)
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<L::Connection>> {
        loop {
            ready!(self.poll_retry(cx))?;
            let taken = match self.taken.take() {
                Some(taken) => Ok(taken),
                None => ready!(self.listener.fd().poll_run(cx, Mode::Read, take_sound::<L>)),
            };
            if let Some(result) = self.finish(taken) {
                return Poll::Ready(result);
            }
        }
    }
}

/// Ends after the error that says that the listener is closed, and only then. Nothing is held between two polls.
impl<L: Accept> Stream for Incoming<'_, L> {
    type Item = io::Result<L::Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return coop::poll_proceed(cx).map(|()| None);
        }
        let result = ready!(self.poll(cx));
        self.ended = result.as_ref().is_err_and(is_closed);
        Poll::Ready(Some(result))
    }
}

impl<L: Accept + fmt::Debug> fmt::Debug for Incoming<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listener, exhausted_count, ended, .. } = self;
        let mut shown = f.debug_struct("Incoming");
        shown.field("listener", listener).field("exhausted_count", exhausted_count).field("ended", ended);
        shown.finish_non_exhaustive()
    }
}
