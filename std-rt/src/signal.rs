//! Signals that are sent to the process: Ctrl-C, the request to terminate, and others.
//!
//! ```no_run
//! # async fn serve() {}
//! use netpoll_rt::signal;
//!
//! # netpoll_rt::block_on(async {
//! let stop = signal::terminate();
//! netpoll_rt::spawn(serve());
//! stop.await?;
//! println!("asked to terminate");
//! # std::io::Result::Ok(())
//! # }).unwrap();
//! ```
//!
//! # The signals of a listener
//!
//! Each listener receives every signal that comes after its creation, whether or not a task awaits it then,
//! and however many other listeners there are, in this runtime or in another. Signals that come faster than
//! they are received count as one, as they do in the kernel.
//!
//! # The default action
//!
//! By default most signals end the process. **The first listener of a signal changes that**: the signal has
//! no effect even after all its listeners are dropped, because only the program as a whole can know whether
//! the default is wanted again. [`restore_default`] restores it. This server lets its clients finish after
//! the first Ctrl-C, and ends at the second:
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
//! A process inherits the mask of blocked signals from its parent, and each thread from the one that started
//! it. If a signal were blocked in every thread, no listener would receive it. So the thread that calls
//! [`signal()`], or one of the functions that call it, unblocks the signal. That thread should live as long
//! as the listener: a worker, or the thread in `block_on`.
//!
//! # Other users
//!
//! Other users of the same signal, if they use signal-hook or tokio, work as before. A handler that was
//! installed with sigaction(2) before the first listener is called as well; a handler that is installed after
//! it replaces it. The kernel restarts system calls of other threads that a signal interrupts, where it
//! supports that.
//!
//! A child process that is started with [`std::process::Command`] has the default action again. A child of
//! fork(2) that continues with this program has the handlers and not the listeners: a signal that is sent to
//! it has no effect there, until it listens itself in a runtime of its own, and the listeners of its parent
//! do not receive it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
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
/// The listener belongs to the runtime that the calling thread runs for, or to the default one.
///
/// # Errors
///
/// Returns `InvalidInput` for a signal that cannot be listened to: `SIGKILL` and `SIGSTOP`, which the kernel
/// handles; `SIGSEGV`, `SIGILL` and `SIGFPE`, after which a thread cannot continue; a number that is no
/// signal. Returns an error if no descriptor is free (`EMFILE`, `ENFILE`); a listener takes two, or one with
/// kqueue.
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    let listening = Netpoll::current().and_then(|netpoll| Signal::listen(netpoll, kind));
    listening.map_err(|error| OpError::new("signal", error).into())
}

/// Restores the default action of a signal: the next one ends the process, if that is its default action.
/// Listeners receive the signal too, which for most signals is too late.
///
/// It lasts until the next listener of the signal is created. A signal that had no listener does not change,
/// unless it was ignored: after `nohup` a `SIGHUP` has no effect until this is called for it.
///
/// # Errors
///
/// Returns `InvalidInput` if the signal cannot be listened to, as [`signal()`] does.
pub fn restore_default(kind: SignalKind) -> io::Result<()> {
    sys::restore_default(kind).map_err(|error| OpError::new("restore_default", error).into())
}

/// Waits for Ctrl-C (`SIGINT`).
///
/// It listens from the call on, not from the first poll: a signal that comes in between is not lost. From
/// then on Ctrl-C does not end the process by itself; the [module](self) tells how to restore that.
///
/// The future resolves to an error if the listener could not be created; see [`signal()`].
///
/// # Cancel safety
///
/// Dropped before it is ready: the listener is dropped.
pub fn ctrl_c() -> Next {
    Next::of(SignalKind::INTERRUPT)
}

/// Waits for the request to terminate (`SIGTERM`), which service managers and `kill` send; otherwise as
/// [`ctrl_c`].
///
/// # Cancel safety
///
/// Dropped before it is ready: the listener is dropped.
pub fn terminate() -> Next {
    Next::of(SignalKind::TERMINATE)
}

/// Waits for `SIGHUP`, after which a daemon reads its configuration again; otherwise as [`ctrl_c`]. For more
/// than one signal use `signal(SignalKind::HANGUP)`.
///
/// # Cancel safety
///
/// Dropped before it is ready: the listener is dropped.
pub fn hangup() -> Next {
    Next::of(SignalKind::HANGUP)
}

/// A listener for one signal, created by [`signal()`].
///
/// As a [`Stream`] it repeats [`recv`](Signal::recv) without end.
///
/// Dropping it closes its descriptors. That does not restore the default action; [`restore_default`] does.
#[derive(Debug)]
pub struct Signal {
    /// The first field, so that it is dropped before the source is closed.
    _registration: sys::Registration,
    fd: Fd,
    kind: SignalKind,
}

impl Signal {
    /// Listens to a signal in the runtime of a poller.
    pub(crate) fn listen(netpoll: Arc<Netpoll>, kind: SignalKind) -> io::Result<Self> {
        let (source, writer) = sys::new_source()?;
        let fd = Fd::new(netpoll, source, FdKind::Other)?;
        let registration = fd.with(|source| sys::listen(kind, source, writer))?;
        Ok(Self { _registration: registration, fd, kind })
    }

    /// Returns the descriptor that becomes readable when a signal arrives.
    pub(crate) fn fd(&self) -> &Fd {
        &self.fd
    }

    /// Waits for the next signal. After a signal since the last call, or since the creation of the listener,
    /// it returns at once; several signals count as one.
    ///
    /// If several tasks wait on one listener, a signal wakes one of them, so give each task its own listener.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: no signal is lost.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEof` if another part of the program has removed all listeners of the signal; not
    /// with kqueue, which continues to report it.
    pub async fn recv(&self) -> io::Result<()> {
        self.fd.run(Mode::Read, sys::drain).await.map_err(|error| self.fd.error("signal", error))
    }

    /// Polls for the next signal as [`recv`](Signal::recv) does, for a hand-written future.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Signal::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.fd.run(Mode::Read, sys::drain).poll_once(cx);
        polled.map_err(|error| self.fd.error("signal", error))
    }

    /// Returns the signal that it listens to.
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

/// The future of the next signal, created by [`ctrl_c`], [`terminate`] and [`hangup`].
///
/// It can be awaited by `&mut`, beside other futures and as often as needed: after a signal it waits for the
/// next one.
///
/// Dropping it drops the listener.
#[derive(Debug)]
#[must_use = "the process ignores the signal while nobody awaits it"]
pub struct Next {
    /// The listener, or the error of its creation.
    signal: io::Result<Signal>,
}

impl Next {
    fn of(kind: SignalKind) -> Self {
        Self { signal: signal(kind) }
    }
}

impl Future for Next {
    /// An `Err` is one of [`signal()`] or of [`Signal::recv`].
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.signal {
            Ok(signal) => signal.poll_recv(cx),
            Err(error) => {
                ready!(coop::poll_proceed(cx));
                // A later poll returns an error of the same kind.
                let again = error.kind().into();
                Poll::Ready(Err(std::mem::replace(error, again)))
            }
        }
    }
}
