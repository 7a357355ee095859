//! Signals, as a descriptor that becomes readable.
//!
//! | backend | the descriptor | the handler |
//! |---|---|---|
//! | kqueue | a kqueue of its own with one filter (`EVFILT_SIGNAL`): `signals` in [`kqueue.rs`](../backend/kqueue.rs) | does nothing |
//! | others | a pipe: [`signal_pipe.rs`](../signal_pipe.rs) | writes a byte |
//!
//! Both need a handler, because without one the signal's default action would end the process: a filter
//! reports signals and does not take them. A signalfd, Linux's filter, takes them, but only in a process
//! whose every thread blocks the signal. Threads that were started before the runtime, by a library or by
//! `main`, do not, and the kernel delivers the signal to one of them. A handler works on whichever thread is
//! interrupted.
//!
//! The crate signal-hook-registry owns the handler, because a process has only one for each signal: it keeps
//! a list of actions and calls the previous handler.
//!
//! - **INV-301** An action of a listener in the registry makes at most a getpid(2) and one write(2) on a
//!   descriptor of its own and nothing else: no allocation, no lock, no panic, and no fault injection, whose
//!   table has a lock. The registry itself preserves `errno`.
//!
//! # The default action
//!
//! [`restore_default`] gives the default action of a signal back to a program that has listened to it.
//!
//! The handler itself stays installed, because it belongs to the registry and other parts of the program may
//! use it. Restoring adds an action to its list that has the effect of the default action.
//!
//! | default action | signals | effect |
//! |---|---|---|
//! | end the process | all others | sets the signal's disposition to the default and raises it again |
//! | stop the process | `SIGTSTP`, `SIGTTIN`, `SIGTTOU` | raises `SIGSTOP` |
//! | none | `SIGCHLD`, `SIGCONT`, `SIGURG`, `SIGWINCH` | none |
//!
//! - **INV-306** The action calls signal(2), raise(3) and pthread_sigmask(3) and nothing else: no allocation,
//!   no lock, no panic. POSIX lists all three as async-signal-safe.
//! - **INV-305** Before anything reads a set of signals, sigemptyset(3) has initialized it, which fails for
//!   no valid pointer.

#![expect(
    unsafe_code,
    reason = "registers an action that runs in a signal handler, and sets the mask of a thread"
)]

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::fmt;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use netpoll_core::sync::Flag;
use signal_hook_registry::{FORBIDDEN, SigId};

pub use super::signal_source::{SignalWriter, drain, new_source};
use super::{signal_source, sim};

/// A kind of signal.
///
/// The constants name the signals that programs commonly listen to; [`from_raw`](SignalKind::from_raw)
/// accepts any number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignalKind(c_int);

impl SignalKind {
    /// `SIGALRM`: a timer of alarm(2) or setitimer(2) expired.
    pub const ALARM: Self = Self(libc::SIGALRM);
    /// `SIGCHLD`: a child process ended or stopped.
    pub const CHILD: Self = Self(libc::SIGCHLD);
    /// `SIGHUP`: the terminal was closed; daemons reload their configuration.
    pub const HANGUP: Self = Self(libc::SIGHUP);
    /// `SIGINT`: Ctrl-C.
    pub const INTERRUPT: Self = Self(libc::SIGINT);
    /// `SIGIO`: a descriptor is ready that reports it by a signal.
    pub const IO: Self = Self(libc::SIGIO);
    /// `SIGPIPE`: a write to a pipe or a connection without a reader.
    pub const PIPE: Self = Self(libc::SIGPIPE);
    /// `SIGQUIT`: Ctrl-\.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// `SIGTERM`: a request to end the process.
    pub const TERMINATE: Self = Self(libc::SIGTERM);
    /// `SIGUSR1`.
    pub const USER1: Self = Self(libc::SIGUSR1);
    /// `SIGUSR2`.
    pub const USER2: Self = Self(libc::SIGUSR2);
    /// `SIGWINCH`: the size of the terminal's window changed.
    pub const WINDOW_CHANGE: Self = Self(libc::SIGWINCH);

    /// Creates the kind of a signal number. [`signal`](crate::signal::signal) refuses one that cannot be
    /// listened to.
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// Returns its number on this system.
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// Returns its name, if it is one of the constants.
    fn name(self) -> Option<&'static str> {
        let names = [
            (Self::ALARM, "SIGALRM"),
            (Self::CHILD, "SIGCHLD"),
            (Self::HANGUP, "SIGHUP"),
            (Self::INTERRUPT, "SIGINT"),
            (Self::IO, "SIGIO"),
            (Self::PIPE, "SIGPIPE"),
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

/// The registration of a listener: each signal of its kind is reported to the descriptor of the listener
/// while it lives.
#[derive(Debug)]
pub enum Registration {
    /// A registration with the process.
    Process(SigId),
    /// A registration with a host of a simulation.
    Simulated(#[allow(dead_code, reason = "ends the registration when it is dropped")] sim::Listening),
}

impl Drop for Registration {
    /// Removes the action. Its values are dropped when this returns: the registry waits for a handler that
    /// runs it.
    fn drop(&mut self) {
        if let Registration::Process(id) = self {
            // False means that other code has cleared the signal's whole list, which has the same effect.
            signal_hook_registry::unregister(*id);
        }
    }
}

/// Starts to report each signal of `kind` at `source`, which was created with `writer`. The signal's default
/// action is disabled for the rest of the process. `source` must be closed after the registration has ended,
/// or a signal in between would raise `SIGPIPE`.
///
/// # Errors
///
/// Returns `InvalidInput` for a signal that no program can handle, or none safely; the kernel's error if the
/// filter cannot be added. No action is registered then.
pub fn listen(kind: SignalKind, source: BorrowedFd<'_>, writer: SignalWriter) -> io::Result<Registration> {
    if FORBIDDEN.contains(&kind.0) {
        return Err(not_for_listening(kind));
    }
    let writer = match sim::listen(kind.0, writer) {
        Ok(listening) => return Ok(Registration::Simulated(listening)),
        Err(writer) => writer,
    };
    // SAFETY: the action is async-signal-safe (INV-301): `notify` makes a getpid(2) and a write(2) on a
    // non-blocking descriptor that the action owns, or does nothing.
    let registered = unsafe { signal_hook_registry::register(kind.0, move || writer.notify()) };
    let registration = Registration::Process(checked(kind, registered)?);
    // Registration has succeeded, so the number is that of a signal.
    signal_source::watch(source, kind.0)?;
    suspend_default(kind);
    // This comes after the handler is installed, because a pending signal is delivered at once. In a process
    // whose every thread has inherited a mask that blocks the signal no handler would ever run.
    unblock(kind.0)?;
    Ok(registration)
}

/// Converts the registry's error for a signal.
fn checked(kind: SignalKind, registered: io::Result<SigId>) -> io::Result<SigId> {
    registered.map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => not_for_listening(kind),
        _ => error,
    })
}

fn not_for_listening(kind: SignalKind) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, format!("{kind} is not a signal that a program can listen to"))
}
/// The flag of each signal whose default action was ever restored: whether it is in force. The action, which stays
/// registered for ever, holds the flag too.
static WANTED: Mutex<BTreeMap<SignalKind, Arc<Flag>>> = Mutex::new(BTreeMap::new());

fn wanted() -> MutexGuard<'static, BTreeMap<SignalKind, Arc<Flag>>> {
    // No foreign code runs under the lock.
    WANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Restores the default action of a signal.
///
/// # Errors
///
/// Returns `InvalidInput` for a signal that no program can handle, or none safely.
pub fn restore_default(kind: SignalKind) -> io::Result<()> {
    if FORBIDDEN.contains(&kind.0) {
        return Err(not_for_listening(kind));
    }
    if sim::restore_default(kind.0) {
        return Ok(());
    }
    let mut wanted = wanted();
    if let Some(flag) = wanted.get(&kind) {
        flag.set();
        return Ok(());
    }
    let flag = Arc::new(Flag::new());
    let seen = flag.clone();
    let action = move || {
        if seen.is_set() {
            act(kind.0);
        }
    };
    // SAFETY: the action is async-signal-safe (INV-306): it loads a flag that it owns and calls `act`,
    // which makes only calls that POSIX allows in a handler. It stays in the list forever; the flag decides
    // whether it does anything.
    checked(kind, unsafe { signal_hook_registry::register(kind.0, action) })?;
    flag.set();
    wanted.insert(kind, flag);
    Ok(())
}

/// Disables the default action of a signal again, because a listener was registered.
fn suspend_default(kind: SignalKind) {
    if let Some(flag) = wanted().get(&kind) {
        flag.clear();
    }
}

/// Performs the default action; runs in the handler.
fn act(number: c_int) {
    match number {
        libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGWINCH => {}
        libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => raise(libc::SIGSTOP),
        _ => {
            // SAFETY: signal(2) is async-signal-safe (INV-306), and `SIG_DFL` is no function that could be
            // unsound to call.
            unsafe { libc::signal(number, libc::SIG_DFL) };
            raise(number);
            // The process ends here: the handler's own signal is blocked while it runs.
            let _ = unblock(number);
        }
    }
}

fn raise(number: c_int) {
    // SAFETY: raise(3) is async-signal-safe (INV-306), accesses no memory of the caller and refuses an
    // unknown number.
    unsafe { libc::raise(number) };
}

/// Unblocks a signal on the calling thread.
///
/// # Errors
///
/// Returns `EINVAL` for a number that is no signal's.
fn unblock(number: c_int) -> io::Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the pointer is that of a live local of the right type, borrowed exclusively; the call only
    // writes to it.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: sigemptyset(3) has initialized the set (INV-305).
    let mut set = unsafe { set.assume_init() };
    // SAFETY: the set is a live, initialized local borrowed exclusively. The call refuses a number that is no
    // signal's.
    if unsafe { libc::sigaddset(&mut set, number) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the set is a live, initialized local that the call only reads; the null pointer says that the
    // previous mask is not wanted.
    let errno = unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, ptr::null_mut()) };
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}
