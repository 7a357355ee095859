//! Signals, as a descriptor that is readable.
//!
//! | where | the descriptor | what the handler does |
//! |---|---|---|
//! | kqueue | a kqueue of its own with one filter (`EVFILT_SIGNAL`): [`signals.rs`](../kqueue/signals.rs) | nothing |
//! | elsewhere | a pipe: [`signal_pipe.rs`](../signal_pipe.rs) | writes a byte |
//!
//! There is a handler in both, for without one the signal's default action would end the process: a filter is told of
//! signals, it does not take them. A signalfd, the filter of Linux, takes them, but only in a process whose every thread
//! blocks the signal. Threads that were started before the runtime, by a library or by `main`, do not; the kernel gives
//! the signal to one of them. A handler works whichever thread is interrupted.
//!
//! The crate signal-hook-registry owns the handler, because there is one for each signal in a process: it keeps the list
//! of who wants to be told, and calls on whatever handler was there before.
//!
//! - **INV-301** An action of a listener that is handed to the registry makes at most a getpid(2) and one write(2) on a
//!   descriptor of its own and nothing else: no allocation, no lock, no panic, and not the door, whose table of faults has a
//!   lock. The registry itself keeps `errno` as it was.

mod default_action;

use std::ffi::c_int;
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;

use signal_hook_registry::{FORBIDDEN, SigId};

use super::signal_source;
pub use super::signal_source::{Teller, source, take};
pub use default_action::restore as restore_default;

/// Which signal.
///
/// Those with a name here are the ones that programs listen to; [`from_raw`](SignalKind::from_raw) takes any number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignalKind(c_int);

impl SignalKind {
    /// `SIGALRM`: a timer of alarm(2) or setitimer(2) is over.
    pub const ALARM: Self = Self(libc::SIGALRM);
    /// `SIGCHLD`: a child process has ended or stopped.
    pub const CHILD: Self = Self(libc::SIGCHLD);
    /// `SIGHUP`: the terminal is gone; a daemon reads its configuration again.
    pub const HANGUP: Self = Self(libc::SIGHUP);
    /// `SIGINT`: Ctrl-C.
    pub const INTERRUPT: Self = Self(libc::SIGINT);
    /// `SIGQUIT`: Ctrl-\.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// `SIGTERM`: the polite request to end.
    pub const TERMINATE: Self = Self(libc::SIGTERM);
    /// `SIGUSR1`.
    pub const USER1: Self = Self(libc::SIGUSR1);
    /// `SIGUSR2`.
    pub const USER2: Self = Self(libc::SIGUSR2);
    /// `SIGWINCH`: the terminal's window has another size.
    pub const WINDOW_CHANGE: Self = Self(libc::SIGWINCH);

    /// The signal of a number. One that cannot be listened to is refused by [`signal`](crate::signal::signal).
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// Its number on this system.
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// Its name, if it is one of those above.
    fn name(self) -> Option<&'static str> {
        let names = [
            (Self::ALARM, "SIGALRM"),
            (Self::CHILD, "SIGCHLD"),
            (Self::HANGUP, "SIGHUP"),
            (Self::INTERRUPT, "SIGINT"),
            (Self::QUIT, "SIGQUIT"),
            (Self::TERMINATE, "SIGTERM"),
            (Self::USER1, "SIGUSR1"),
            (Self::USER2, "SIGUSR2"),
            (Self::WINDOW_CHANGE, "SIGWINCH"),
        ];
        names.into_iter().find_map(|(kind, name)| (kind == self).then_some(name))
    }
}

impl fmt::Display for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// While it lives, each signal of its kind is told to the descriptor that it was made with.
#[derive(Debug)]
pub struct Registration {
    id: SigId,
}

impl Drop for Registration {
    /// What belongs to the action is dropped when this returns: the registry waits for a handler that is at it.
    fn drop(&mut self) {
        // False if somebody else has cleared the signal's whole list, which is as good.
        signal_hook_registry::unregister(self.id);
    }
}

/// From now on each signal of `kind` makes `source` readable, which came with `teller`. The signal's default action is gone
/// for the rest of the process. The source is closed after the registration has ended, or a signal in between would raise
/// `SIGPIPE`.
///
/// # Errors
///
/// `InvalidInput` for a signal that no program can handle, or none safely; those of adding a filter. Nothing is registered
/// then.
pub fn listen(kind: SignalKind, source: BorrowedFd<'_>, teller: Teller) -> io::Result<Registration> {
    if FORBIDDEN.contains(&kind.0) {
        return Err(not_for_listening(kind));
    }
    // SAFETY: INV-301: what a teller does is a getpid(2) and a write(2) on a descriptor that it owns and that does not block, or nothing.
    let registered = unsafe { signal_hook_registry::register(kind.0, move || teller.tell()) };
    let registration = Registration { id: checked(kind, registered)? };
    // Now it is known to be the number of a signal.
    signal_source::watch(source, kind.0)?;
    default_action::suspend(kind);
    // After there is a handler: a signal that is pending already comes at once. Where every thread of the process has
    // inherited a mask that blocks it, no handler would ever run.
    default_action::unblock(kind.0)?;
    Ok(registration)
}

/// What the registry says of a signal.
fn checked(kind: SignalKind, registered: io::Result<SigId>) -> io::Result<SigId> {
    registered.map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => not_for_listening(kind),
        _ => error,
    })
}

fn not_for_listening(kind: SignalKind) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, format!("{kind} is not a signal that a program can listen to"))
}
