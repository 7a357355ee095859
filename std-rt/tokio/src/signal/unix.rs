//! Signals of Unix systems.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::raw::c_int;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use netpoll_rt::Handle;
use netpoll_rt::signal as netpoll;
use upstream::sync::watch;

use super::relay;

/// The number of a signal.
#[derive(Debug, Clone, Copy, Hash, PartialEq, Eq)]
pub struct SignalKind(c_int);

impl SignalKind {
    /// Returns the kind of a number.
    pub const fn from_raw(signum: c_int) -> Self {
        Self(signum)
    }

    /// Returns the number on this system.
    pub const fn as_raw_value(&self) -> c_int {
        self.0
    }

    /// Returns `SIGALRM`: a timer of alarm(2) or setitimer(2) expired.
    pub const fn alarm() -> Self {
        Self(netpoll::SignalKind::ALARM.as_raw())
    }

    /// Returns `SIGCHLD`: a child process ended or stopped.
    pub const fn child() -> Self {
        Self(netpoll::SignalKind::CHILD.as_raw())
    }

    /// Returns `SIGHUP`: the terminal was closed; daemons read their configuration again.
    pub const fn hangup() -> Self {
        Self(netpoll::SignalKind::HANGUP.as_raw())
    }

    /// Returns `SIGINT`: Ctrl-C.
    pub const fn interrupt() -> Self {
        Self(netpoll::SignalKind::INTERRUPT.as_raw())
    }

    /// Returns `SIGIO`: a descriptor is ready that reports it by a signal.
    pub const fn io() -> Self {
        Self(netpoll::SignalKind::IO.as_raw())
    }

    /// Returns `SIGPIPE`: a write to a pipe or a connection without a reader.
    pub const fn pipe() -> Self {
        Self(netpoll::SignalKind::PIPE.as_raw())
    }

    /// Returns `SIGQUIT`: Ctrl-\.
    pub const fn quit() -> Self {
        Self(netpoll::SignalKind::QUIT.as_raw())
    }

    /// Returns `SIGTERM`: a request to end the process.
    pub const fn terminate() -> Self {
        Self(netpoll::SignalKind::TERMINATE.as_raw())
    }

    /// Returns `SIGUSR1`.
    pub const fn user_defined1() -> Self {
        Self(netpoll::SignalKind::USER1.as_raw())
    }

    /// Returns `SIGUSR2`.
    pub const fn user_defined2() -> Self {
        Self(netpoll::SignalKind::USER2.as_raw())
    }

    /// Returns `SIGWINCH`: the size of the terminal's window changed.
    pub const fn window_change() -> Self {
        Self(netpoll::SignalKind::WINDOW_CHANGE.as_raw())
    }
}

impl From<c_int> for SignalKind {
    fn from(signum: c_int) -> Self {
        Self::from_raw(signum)
    }
}

impl From<SignalKind> for c_int {
    fn from(kind: SignalKind) -> Self {
        kind.as_raw_value()
    }
}

/// Listens to a signal from now on. A signal that came since the last listener of this runtime was dropped is received as well.
///
/// # Errors
///
/// Returns an error of kind `Other` for a signal that no program can listen to, and the kernel's error if no descriptor is
/// free; the first listener of a signal in a runtime takes two.
///
/// # Panics
///
/// Panics outside of a runtime, and in one without sockets, whose driver tokio's signals need.
#[track_caller]
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    crate::runtime::assert_has_io();
    let receiver = listen(crate::runtime::current(), kind)?;
    Ok(Signal { kind, next: next(receiver) })
}

fn listen(runtime: Handle, kind: SignalKind) -> io::Result<watch::Receiver<()>> {
    relay::subscribe(runtime, netpoll::SignalKind::from_raw(kind.0)).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => io::Error::other(error),
        _ => error,
    })
}

/// The wait for the next signal, which returns whether there was one, or the relay has ended.
type Next = Pin<Box<dyn Future<Output = (bool, watch::Receiver<()>)> + Send + Sync>>;

fn next(mut receiver: watch::Receiver<()>) -> Next {
    Box::pin(async {
        let received = receiver.changed().await.is_ok();
        (received, receiver)
    })
}

/// A listener for one signal; made by [`signal`].
///
/// Signals that come faster than they are received count as one. A listener works on in another runtime when its own has
/// ended.
#[must_use = "streams do nothing unless polled"]
pub struct Signal {
    kind: SignalKind,
    next: Next,
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Signal {
    /// Waits for the next signal. It returns `None` only if the runtime of the listener has ended and this thread is in no
    /// other.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: no signal is lost.
    pub async fn recv(&mut self) -> Option<()> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Polls for the next signal, for a hand-written future; otherwise as [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        loop {
            let (received, receiver) = ready!(self.next.as_mut().poll(cx));
            // After the end of its runtime the listener moves to the current one.
            let moved = Handle::try_current().filter(|_| !received).map(|runtime| listen(runtime, self.kind));
            match moved {
                Some(Ok(moved)) => self.next = next(moved),
                _ => {
                    self.next = next(receiver);
                    return Poll::Ready(received.then_some(()));
                }
            }
        }
    }
}
