//! The default action of a signal, given back to a process that has handlers.
//!
//! The handler itself stays where it is, for it is the registry's and other parts of the program may use it. What a
//! program asks for is an action in its list that does what the kernel would have done.
//!
//! | default action | signals | what the action does |
//! |---|---|---|
//! | ends the process | all others | makes the default the signal's disposition and raises it again |
//! | stops the process | `SIGTSTP`, `SIGTTIN`, `SIGTTOU` | raises `SIGSTOP` |
//! | nothing | `SIGCHLD`, `SIGCONT`, `SIGURG`, `SIGWINCH` | nothing |
//!
//! - **INV-304** The action calls signal(2), raise(3) and pthread_sigmask(3) and nothing else: no allocation, no lock, no
//!   panic. POSIX lists all three among the functions that a handler may call.
//! - **INV-305** A set of signals is made by sigemptyset(3), which fails for no valid place, before anything reads it.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use netpoll_core::waiters::BreakFlag;
use signal_hook_registry::FORBIDDEN;

use super::{SignalKind, checked, not_for_listening};

/// Whether the default action is wanted, for each signal for which that was ever asked. The actions hold the flags too,
/// so these are never freed.
static WANTED: Mutex<BTreeMap<SignalKind, &'static BreakFlag>> = Mutex::new(BTreeMap::new());

fn wanted() -> MutexGuard<'static, BTreeMap<SignalKind, &'static BreakFlag>> {
    // Nothing foreign runs under it.
    WANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on a signal of this kind does what it does by default.
///
/// # Errors
///
/// `InvalidInput` for a signal that no program can handle, or none safely.
pub fn restore(kind: SignalKind) -> io::Result<()> {
    if FORBIDDEN.contains(&kind.0) {
        return Err(not_for_listening(kind));
    }
    let mut wanted = wanted();
    if let Some(flag) = wanted.get(&kind) {
        flag.set();
        return Ok(());
    }
    let flag: &BreakFlag = Box::leak(Box::default());
    let action = move || {
        if flag.is_set() {
            act(kind.0);
        }
    };
    // Never taken out of the list again: whether it does something is the flag's to say.
    // SAFETY: INV-304: `act` does only what a handler may, and what the closure holds is never freed.
    checked(kind, unsafe { signal_hook_registry::register(kind.0, action) })?;
    flag.set();
    wanted.insert(kind, flag);
    Ok(())
}

/// A listener has come, which takes the default action away again.
pub fn suspend(kind: SignalKind) {
    if let Some(flag) = wanted().get(&kind) {
        flag.clear();
    }
}

/// In the handler: what the kernel would do.
fn act(number: c_int) {
    match number {
        libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGWINCH => {}
        libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => raise(libc::SIGSTOP),
        _ => {
            // SAFETY: INV-304; it installs no handler, but the default.
            unsafe { libc::signal(number, libc::SIG_DFL) };
            raise(number);
            // Here it ends: the handler's own signal is blocked while it runs.
            let _ = unblock(number);
        }
    }
}

fn raise(number: c_int) {
    // SAFETY: INV-304; raise(3) takes any number.
    unsafe { libc::raise(number) };
}

/// Lets the calling thread take a signal.
///
/// # Errors
///
/// `EINVAL` for a number that is no signal's.
pub fn unblock(number: c_int) -> io::Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: INV-305: it is a valid place for a set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: INV-305: sigemptyset has initialised it.
    let mut set = unsafe { set.assume_init() };
    // SAFETY: INV-305: it is a set; a number that is no signal's is refused.
    if unsafe { libc::sigaddset(&mut set, number) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: INV-305: the set is only read; the null pointer says that the mask of before is not asked for.
    let errno = unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, ptr::null_mut()) };
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}
