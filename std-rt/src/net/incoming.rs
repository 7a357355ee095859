//! The accept loop of a server.
//!
//! When descriptors or memory run out, accept(2) fails at once, as often as it is called, and the connection
//! stays in the queue: a loop that continues spins, and a loop that stops ends the server. [`Incoming`] waits
//! instead, for the first of these:
//!
//! | event that ends the wait | source |
//! |---|---|
//! | a descriptor of this process was closed | [`fd_limit`] wakes the task, at once |
//! | anything else has become free | a timer: 5 ms, doubled each time that the attempt fails, at most 1 s |
//! | the listener is closed, or its deadline passes | the listener's poller |
//!
//! A connection that arrives meanwhile causes no attempt.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use netpoll_core::Mode;

use super::connect::errors::cause;
use super::methods::Descriptor;
use crate::coop;
use crate::error::is_closed;
use crate::fd::{Fd, FdKind};
use crate::netpoll::{fd_limit, local_clock};
use crate::sys::{Exhausted, SharedFd, socket};
use crate::time::Timer;

/// A listener. [`accept`] and [`Incoming`] are written for any.
pub trait Accept: Descriptor<Owner = SharedFd> {
    /// The address that accept(2) returns.
    type Peer;
    /// A connection, as the user gets it.
    type Connection;
    /// The kind of its connections.
    const KIND: FdKind;

    /// Calls accept(2).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error. The caller skips connections that were aborted.
    fn take(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, Self::Peer)>;

    /// Returns the user's side of a connection that is registered.
    fn connection(fd: Fd, peer: Self::Peer) -> Self::Connection;
}

/// The result of accept(2).
type Taken<L> = (OwnedFd, <L as Accept>::Peer);

/// Accepts one connection. If the future is dropped, no connection is lost.
pub(super) async fn accept<L: Accept>(listener: &L) -> io::Result<L::Connection> {
    let taken = listener.fd().run(Mode::Read, take_sound::<L>).await;
    accepted(listener, taken)
}

/// Polls for one connection.
pub(super) fn poll_accept<L: Accept>(listener: &L, cx: &mut Context<'_>) -> Poll<io::Result<L::Connection>> {
    let taken = listener.fd().run(Mode::Read, take_sound::<L>).poll_once(cx);
    taken.map(|taken| accepted(listener, taken))
}

/// Registers a connection with the listener's poller.
fn accepted<L: Accept>(listener: &L, taken: io::Result<Taken<L>>) -> io::Result<L::Connection> {
    let connection = taken.and_then(|(fd, peer)| {
        let fd = Fd::new(listener.fd().netpoll().clone(), fd, L::KIND)?;
        Ok(L::connection(fd, peer))
    });
    connection.map_err(|error| listener.error("accept", error))
}

/// Takes a connection, and skips those that were aborted while they waited.
fn take_sound<L: Accept>(fd: BorrowedFd<'_>) -> io::Result<Taken<L>> {
    loop {
        match L::take(fd) {
            Err(error) if socket::is_aborted(&error) => {}
            result => return result,
        }
    }
}

/// Returns whether an error means that descriptors or memory ran out, so that a later attempt may succeed.
fn is_exhausted(error: &io::Error) -> bool {
    let exhausted = Exhausted::from_error(cause(error));
    exhausted.is_some_and(|resource| resource != Exhausted::Family)
}

/// The connections of a listener, one after the other, without end: the loop of a server that survives
/// running out of descriptors. [`TcpListener::incoming`](super::TcpListener::incoming) creates it.
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
/// It is a `Stream` as well. Its own [`next`](Incoming::next) hides that of a stream's extension trait; the
/// other adapters work as usual: `listener.incoming().take(3)`.
///
/// Several may accept from one listener, and plain `accept` beside them.
///
/// Dropping it changes nothing at the listener, and no connection is lost, with one exception: a connection
/// that was accepted and could not be registered yet, because memory ran out, is closed.
pub struct Incoming<'a, L: Accept> {
    listener: &'a L,
    /// Present while the last attempt found no descriptor.
    backoff: Option<AcceptBackoff>,
    exhausted_count: usize,
    /// A connection that was accepted, and that could not be registered because memory or slots ran out.
    taken: Option<Taken<L>>,
    /// Set once the stream has returned the error that the listener is closed.
    ended: bool,
}

// No field is pinned.
impl<L: Accept> Unpin for Incoming<'_, L> {}

#[derive(Default)]
struct AcceptBackoff {
    fd_waiter: fd_limit::FdWaiter,
    /// The number of times that the timer ran out.
    rounds: u32,
    timer: Option<Timer>,
}

impl AcceptBackoff {
    /// The first wait for a descriptor, as in Go's `net/http`.
    const SHORTEST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);

    /// Returns `Ready` when one more attempt is worth it.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.fd_waiter.register(cx.waker()) {
            return Poll::Ready(());
        }
        let delay = Self::SHORTEST.saturating_mul(1 << self.rounds).min(Self::LONGEST);
        ready!(self.timer.get_or_insert_with(|| Timer::new(local_clock::after(delay))).poll(cx));
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

    /// Returns the next connection and the peer's address. While no descriptor or memory is free, it waits,
    /// and tries again when a connection of this process is closed, and from time to time.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future lost no connection. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns an error if the listener is closed; each later call returns it again, so end the loop. Returns
    /// `TimedOut` if the listener's deadline passes, and the kernel's other errors; the loop may continue
    /// after these. Never returns `EMFILE`, `ENFILE`, `ENOBUFS` or `ENOMEM`.
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

    /// Returns how many attempts to accept found no descriptor or no memory so far. A server should log a
    /// rise.
    pub fn exhausted_count(&self) -> usize {
        self.exhausted_count
    }

    /// Returns `Ready` when an attempt is worth it, or with the reason why there will be none: the listener
    /// is closed, or its deadline has passed. A connection that arrives may wake the task, and is not looked
    /// at.
    fn poll_retry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(backoff) = &mut self.backoff else { return Poll::Ready(Ok(())) };
        if backoff.poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let over = self.listener.fd().poll_over(cx, Mode::Read);
        over.map(|over| {
            over.map(|never| match never {}).map_err(|error| self.listener.error("accept", error))
        })
    }

    /// Returns the result for the user; `None` if the attempt is to be repeated after a wait.
    fn finish(&mut self, taken: io::Result<Taken<L>>) -> Option<io::Result<L::Connection>> {
        let connection = taken.and_then(|taken| self.register(taken));
        if connection.as_ref().is_err_and(is_exhausted) {
            self.exhausted_count += 1;
            self.backoff.get_or_insert_default();
            return None;
        }
        self.backoff = None;
        Some(connection.map_err(|error| self.listener.error("accept", error)))
    }

    /// Registers a connection. One for which memory is short at the moment is kept for the next attempt.
    fn register(&mut self, (fd, peer): Taken<L>) -> io::Result<L::Connection> {
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
                None => ready!(self.listener.fd().run(Mode::Read, take_sound::<L>).poll_once(cx)),
            };
            if let Some(result) = self.finish(taken) {
                return Poll::Ready(result);
            }
        }
    }
}

/// Ends after the error that the listener is closed, and only then. Nothing is held between two polls.
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
