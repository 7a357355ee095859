//! Signals that are sent to the process: Ctrl-C, a request to end, and others.
//!
//! ```no_run
//! # async fn serve() {}
//! use netpoll_rt::signal;
//!
//! # netpoll_rt::block_on(async {
//! let stop = signal::terminate();
//! netpoll_rt::spawn(serve());
//! stop.await?;
//! println!("asked to end");
//! # std::io::Result::Ok(())
//! # }).unwrap();
//! ```
//!
//! # What a listener sees
//!
//! Each listener sees every signal that comes after it was made, whether anybody awaits it then or not, and however many
//! others there are, in this runtime or in another. Signals that come faster than they are received count as one, as they
//! do in the kernel.
//!
//! # The default action
//!
//! By default most signals end the process. **The first listener of a signal ends that**: also when all its listeners are
//! dropped the signal does nothing any more, because only the program as a whole can know whether the default is wanted
//! back. [`restore_default`] says so. A server that lets its clients finish after the first Ctrl-C, and ends at the second:
//!
//! ```no_run
//! # async fn finish() {}
//! use netpoll_rt::signal::{self, SignalKind};
//!
//! # netpoll_rt::block_on(async {
//! signal::ctrl_c().await?;
//! signal::restore_default(SignalKind::INTERRUPT)?;
//! finish().await;
//! # std::io::Result::Ok(())
//! # }).unwrap();
//! ```
//!
//! # Blocked signals
//!
//! A process inherits the mask of blocked signals from its parent, and each thread from the one that started it. Were a
//! signal blocked in every thread, no listener would be told. So the thread that calls [`signal()`], or one of the functions
//! that call it, takes the signal from then on. That should be a thread that lives as long as the listener: a worker, or the
//! one in `block_on`.
//!
//! # Other users
//!
//! Other users of the same signal, if they use signal-hook or tokio, go on as before; a handler that was installed with
//! sigaction(2) before the first listener is called as well, one that is installed after it takes its place. System calls
//! of other threads that a signal interrupts are restarted by the kernel where it does that at all.
//!
//! A child process that is started with [`std::process::Command`] has the default action again. A child of fork(2) that
//! goes on with this program has the handlers and not the listeners: a signal that is sent to it does nothing there, until
//! it listens itself in a runtime of its own, and the listeners of its parent are not told.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use netpoll_core::Mode;

use crate::coop;
use crate::error::OpError;
use crate::fd::{Fd, FdKind};
use crate::netpoll::Netpoll;
use crate::sys::signal as sys;

pub use crate::sys::signal::SignalKind;

/// Listens to a signal, from now on.
///
/// It belongs to the runtime that the calling thread runs for, or to the default one.
///
/// # Errors
///
/// `InvalidInput` for a signal that cannot be listened to: `SIGKILL` and `SIGSTOP`, which the kernel handles;
/// `SIGSEGV`, `SIGILL` and `SIGFPE`, after which a thread cannot go on; a number that is none. Without descriptors left
/// `EMFILE` or `ENFILE`; a listener takes two, or one with kqueue.
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    let listen = || {
        let (source, writer) = sys::new_source()?;
        let fd = Fd::new(Netpoll::current()?, source, FdKind::Other)?;
        let registration = fd.with(|source| sys::listen(kind, source, writer))?;
        Ok(Signal { _registration: registration, fd, kind })
    };
    listen().map_err(|error| OpError::new("signal", error).into())
}

/// Gives a signal its default action back: the next one ends the process, if that is what it does by default. Listeners
/// that live are told too, which for most signals is too late.
///
/// It lasts until the next listener of the signal is made. A signal that nobody has listened to is not changed by it, but
/// for one that was ignored: after `nohup` a `SIGHUP` does nothing, until this was called for it.
///
/// # Errors
///
/// Returns an error if the signal cannot be listened to: `InvalidInput`, as [`signal()`].
pub fn restore_default(kind: SignalKind) -> io::Result<()> {
    sys::restore_default(kind).map_err(|error| OpError::new("restore_default", error).into())
}

/// Waits for Ctrl-C (`SIGINT`).
///
/// It listens from the call on, not from the first poll: a signal that comes in between is not lost. From then on Ctrl-C
/// does not end the process by itself; the [module](self) says how that comes back.
///
/// The future resolves to an error if the listening could not begin, see [`signal()`].
///
/// Dropped: the listening ends.
pub fn ctrl_c() -> Next {
    Next::of(SignalKind::INTERRUPT)
}

/// Waits for the polite request to end (`SIGTERM`), which service managers and `kill` send; in all else as [`ctrl_c`].
///
/// Dropped: the listening ends.
pub fn terminate() -> Next {
    Next::of(SignalKind::TERMINATE)
}

/// Waits for `SIGHUP`, after which a daemon reads its configuration again; in all else as [`ctrl_c`]. For more than one
/// use `signal(SignalKind::HANGUP)`.
///
/// Dropped: the listening ends.
pub fn hangup() -> Next {
    Next::of(SignalKind::HANGUP)
}

/// Listens to one signal; made by [`signal()`].
///
/// As a [`Stream`] it gives what [`recv`](Signal::recv) does, without end.
///
/// Dropped: the listening ends and its descriptors are closed. The default action does not come back by that, but by
/// [`restore_default`].
#[derive(Debug)]
pub struct Signal {
    /// The first field, so that it ends before the source is closed.
    _registration: sys::Registration,
    fd: Fd,
    kind: SignalKind,
}

impl Signal {
    /// Waits for the next signal. One that came since the last call, or since the listener was made, is there at once;
    /// several count as one.
    ///
    /// If several tasks wait on one listener, a signal wakes one of them: give each its own.
    ///
    /// Dropped: no signal is lost.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if another part of the program has removed all listeners of the signal; not with kqueue, which goes
    /// on to tell of it.
    pub async fn recv(&self) -> io::Result<()> {
        self.fd.run(Mode::Read, sys::drain).await.map_err(|error| self.fd.error("signal", error))
    }

    /// One poll of [`recv`](Signal::recv), for futures of your own.
    ///
    /// # Errors
    ///
    /// As [`recv`](Signal::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.fd.poll_run(cx, Mode::Read, sys::drain);
        polled.map_err(|error| self.fd.error("signal", error))
    }

    /// Which signal it listens to.
    pub fn kind(&self) -> SignalKind {
        self.kind
    }
}

impl Stream for Signal {
    type Item = io::Result<()>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Some)
    }
}

/// The next signal, as a future; made by [`ctrl_c`], [`terminate`] and [`hangup`].
///
/// It can be awaited by `&mut`, beside other futures and as often as needed: after a signal it waits for the one after.
///
/// Dropped: the listening ends.
#[derive(Debug)]
#[must_use = "the process ignores the signal while nobody awaits it"]
pub struct Next {
    /// Or why the listening could not begin.
    signal: io::Result<Signal>,
}

impl Next {
    fn of(kind: SignalKind) -> Self {
        Self { signal: signal(kind) }
    }
}

impl Future for Next {
    /// `Err` says what kept it from listening, as [`signal()`] and [`Signal::recv`] do.
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.signal {
            Ok(signal) => signal.poll_recv(cx),
            Err(error) => {
                ready!(coop::poll_proceed(cx));
                // Whoever asks again gets the kind.
                let again = error.kind().into();
                Poll::Ready(Err(std::mem::replace(error, again)))
            }
        }
    }
}
