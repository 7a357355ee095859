//! The door with a table of faults before every call. Built with `--cfg netpoll_door` only; in an ordinary build
//! [`door_off.rs`](../door_off.rs) stands here, and nothing of it is left in the program.
//!
//! A [`Table`] of [`Rule`]s is installed for the whole process by [`Table::install`] and taken away again when the guard
//! is dropped, which also asserts that every rule was hit. Without one the environment variable `NETPOLL_DOOR` is in
//! force, read at the first call (see [`settings`]), so that a whole suite can run under it.
//!
//! A fault never breaks the kernel's own contract:
//!
//! | fault | what the door does besides |
//! |---|---|
//! | `EAGAIN` | queues the direction's readiness for the next wait, since the kernel sends no new edge |
//! | `EAGAIN` of the break | makes the break pending: that is what it means there |
//! | `EINTR` of connect(2) | the call is made all the same, and goes on in the kernel |
//! | any error of close(2) | the call is made all the same: the number is gone |
//! | an error of what stops watching, but `EINTR` | the call is made all the same: nothing comes of it any more |
//! | a shortened read | the length really passed is told, so that it never counts as having emptied the queue |
//!
//! # For a backend
//!
//! 1. `Poller` has a field [`Watch`], made by `init` with a descriptor to which eight written bytes end the sleep (the
//!    break's); `open` calls [`Watch::opened`] after the kernel has taken the descriptor, `close` calls
//!    [`Watch::closing`] before the kernel is told.
//! 2. `Events` has a field [`Batch`]. Its `len` is [`Batch::len`] or else the kernel's, its `get` is [`Batch::get`] or
//!    else the kernel's; `iter` goes through both.
//! 3. `wait` gives the kernel the timeout that [`Watch::shorten`] returns, and calls [`Watch::disturb`] with the
//!    kernel's events in the end, whatever the kernel said, the break left out. Whether a break is consumed goes by the
//!    timeout that the caller gave.

mod events;
mod rules;
pub mod settings;
mod state;

use std::cell::Cell;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use rustix::io::Errno;

use super::Call;
pub(super) use events::{Batch, Watch};
pub use events::{send, send_error};
pub use rules::{Disturbance, Entry, Installed, Rule, Table};
use state::State;

/// The number of a call that has no descriptor yet.
const NONE: RawFd = -1;

/// The table in force: the installed one, or that of the environment.
static STATE: Mutex<Option<State>> = Mutex::new(None);

fn state() -> MutexGuard<'static, Option<State>> {
    // A test that failed a coverage assertion must not fail those after it.
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    if state.is_none() {
        *state = Some(State::new(settings::from_environment()));
    }
    state
}

/// Runs on the state in force.
fn with<T>(change: impl FnOnce(&mut State) -> T) -> T {
    let mut state = state();
    change(state.get_or_insert_with(|| State::new(Table::new(0))))
}

thread_local! {
    /// A watcher runs on this thread; what it calls itself is let through unseen.
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Asked before a call is made on a descriptor, each time that it is made.
pub(super) fn ask(call: Call, fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // A call that is told of its result as well is given there what the kernel says after it has been made.
    let before = |errno| match call {
        Call::Connect => errno != Errno::INTR,
        Call::PollerClose => errno == Errno::INTR,
        _ => true,
    };
    match judge(call, fd.as_raw_fd(), false, before) {
        Some(Errno::AGAIN) if call == Call::Break => {
            // Full is what the kernel would say: a break is pending. So there is one.
            rustix::io::write(fd, &1_u64.to_ne_bytes())?;
            Err(Errno::AGAIN)
        }
        Some(Errno::AGAIN) => {
            events::ready_again(call, fd.as_raw_fd());
            Err(Errno::AGAIN)
        }
        Some(errno) => Err(errno),
        None => Ok(()),
    }
}

/// Asked before a call that makes a descriptor, or that has none.
pub(super) fn ask_new(call: Call) -> Result<(), Errno> {
    judge(call, NONE, false, |_| true).map_or(Ok(()), Err)
}

/// How many of `length` bytes the call may pass to the kernel; at least one, unless it is none.
pub(super) fn cut(call: Call, fd: BorrowedFd<'_>, length: usize) -> usize {
    if length <= 1 { length } else { with(|state| state.cut(call, fd.as_raw_fd(), length)) }
}

/// Told the result of a call that the kernel carries out even when it reports an error: it has been made, whatever is
/// said of it.
pub(super) fn told<T>(call: Call, fd: impl AsRawFd, result: Result<T, Errno>) -> Result<T, Errno> {
    let goes_on = matches!(result, Ok(_) | Err(Errno::INPROGRESS));
    let after = |errno| match call {
        Call::Connect => errno == Errno::INTR && goes_on,
        Call::PollerClose => errno != Errno::INTR,
        _ => true,
    };
    judge(call, fd.as_raw_fd(), true, after).map_or(result, Err)
}

/// The error of the first rule that applies, and the log, and who watches. `made`: the call is made whatever comes.
fn judge(call: Call, fd: RawFd, made: bool, fits: impl Fn(Errno) -> bool) -> Option<Errno> {
    if WATCHING.get() {
        return None;
    }
    let (entry, watcher) = with(|state| state.judge(call, fd, made, fits));
    if let Some(watcher) = watcher {
        WATCHING.set(true);
        watcher(&entry);
        WATCHING.set(false);
    }
    entry.error
}
