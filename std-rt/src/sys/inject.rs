//! Fault injection: a table of faults that is consulted before every system call. Compiled only with `--cfg
//! netpoll_door`; in an ordinary build [`inject_off.rs`](../inject_off.rs) takes its place, whose functions
//! compile to nothing.
//!
//! [`Table::install`] puts a [`Table`] of [`Rule`]s in force for the whole process. Dropping the guard
//! removes it, and asserts that every rule was hit. Without an installed table the environment variable
//! `NETPOLL_DOOR` is in force, which is read at the first call (see [`parse`]), so that a whole suite can run
//! under it.
//!
//! A fault never breaks the kernel's own contract:
//!
//! | fault | what else happens |
//! |---|---|
//! | `EAGAIN` | the direction's readiness is queued for the next wait, because the kernel sends no new edge |
//! | `EAGAIN` of a break | a break becomes pending, as the kernel's own `EAGAIN` means |
//! | `EINTR` of connect(2) | the call is made, and continues in the kernel |
//! | any error of close(2) | the call is made: the number is free |
//! | an error of deregistration other than `EINTR` | the call is made: no more events come |
//! | a shortened read | the result names the shortened length, so the read never counts as having emptied the queue |
//!
//! # For a backend
//!
//! 1. `Poller` has a field [`PollerHook`], made by `init` with a descriptor to which eight written bytes end
//!    the wait (the waker's). `open` calls [`PollerHook::opened`] after the kernel has accepted the
//!    descriptor; `close` calls [`PollerHook::closing`] before the kernel is told.
//! 2. `Events` has a field [`EventBatch`]. Its `len` is [`EventBatch::len`] or else the kernel's, its `get`
//!    is [`EventBatch::get`] or else the kernel's; `iter` uses both.
//! 3. `wait` passes the timeout that [`PollerHook::cap_timeout`] returns to the kernel. At its end, also
//!    after an error, it calls [`PollerHook::alter`] with the kernel's events without the break. The caller's
//!    timeout decides whether a break is consumed.

mod rules;
mod state;

use std::cell::Cell;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use rustix::io::Errno;

use super::{Call, PerProcess};
pub use rules::{Entry, EventFault, Installed, Rule, Table};
use state::TableState;
pub(super) use state::{EventBatch, PollerHook};
pub use state::{send, send_error};

/// Stands for the descriptor of a call that has none yet.
const NONE: RawFd = -1;

/// The table in force: the installed one, or that of the environment variable. A child of fork(2) begins with the latter: the
/// lock of its parent may be held for ever.
static STATE: PerProcess<Mutex<Option<TableState>>> = PerProcess::new();

fn state() -> MutexGuard<'static, Option<TableState>> {
    // A test that fails in a coverage assertion poisons the lock; the tests after it must still run.
    let mut state = STATE.get().lock().unwrap_or_else(PoisonError::into_inner);
    if state.is_none() {
        *state = Some(TableState::new(from_environment()));
    }
    state
}

/// Runs `change` on the table in force.
fn with<T>(change: impl FnOnce(&mut TableState) -> T) -> T {
    let mut state = state();
    change(state.get_or_insert_with(|| TableState::new(Table::new(0))))
}

thread_local! {
    /// Whether a watcher runs on this thread. The calls that it makes itself are neither logged nor failed.
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Decides whether a call on a descriptor fails; called before each attempt.
pub(super) fn before(call: Call, fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // The rest of the errors of these two calls are injected by `after`, once the call has been made.
    let before = |errno| match call {
        Call::Connect => errno != Errno::INTR,
        Call::PollerClose => errno == Errno::INTR,
        _ => true,
    };
    match decide(call, fd.as_raw_fd(), false, before) {
        Some(Errno::AGAIN) if call == Call::Break => {
            // The kernel's `EAGAIN` says that the counter is full, so that a break is pending. Makes that
            // true.
            rustix::io::write(fd, &1_u64.to_ne_bytes())?;
            Err(Errno::AGAIN)
        }
        Some(Errno::AGAIN) => {
            state::ready_again(call, fd.as_raw_fd());
            Err(Errno::AGAIN)
        }
        Some(errno) => Err(errno),
        None => Ok(()),
    }
}

/// Decides whether a call that creates a descriptor, or needs none, fails.
pub(super) fn before_new(call: Call) -> Result<(), Errno> {
    decide(call, NONE, false, |_| true).map_or(Ok(()), Err)
}

/// Returns how many of `length` bytes the call may pass to the kernel; at least one, unless `length` is 0.
pub(super) fn truncate(call: Call, fd: BorrowedFd<'_>, length: usize) -> usize {
    if length <= 1 { length } else { with(|state| state.truncate(call, fd.as_raw_fd(), length)) }
}

/// Decides the result of a call that takes effect even when it returns an error; called with the kernel's
/// result after the call was made.
pub(super) fn after<T>(call: Call, fd: impl AsRawFd, result: Result<T, Errno>) -> Result<T, Errno> {
    let goes_on = matches!(result, Ok(_) | Err(Errno::INPROGRESS));
    let after = |errno| match call {
        Call::Connect => errno == Errno::INTR && goes_on,
        Call::PollerClose => errno != Errno::INTR,
        _ => true,
    };
    decide(call, fd.as_raw_fd(), true, after).map_or(result, Err)
}

/// Returns the error of the first rule that applies, logs the call and runs the watcher. `made`: the call has
/// been made.
fn decide(call: Call, fd: RawFd, made: bool, fits: impl Fn(Errno) -> bool) -> Option<Errno> {
    if WATCHING.get() {
        return None;
    }
    let (entry, watcher) = with(|state| state.decide(call, fd, made, fits));
    if let Some(watcher) = watcher {
        WATCHING.set(true);
        watcher(&entry);
        WATCHING.set(false);
    }
    entry.error
}

/// The calls that transfer bytes.
const BYTES: [Call; 4] = [Call::Recv, Call::Send, Call::Read, Call::Write];

/// Reads the environment variable `NETPOLL_DOOR`; returns a table without rules if it is not set.
///
/// # Panics
///
/// Panics if it holds an unknown word, because the missing fault would go unnoticed.
fn from_environment() -> Table {
    let words = std::env::var("NETPOLL_DOOR").unwrap_or_default();
    parse(&words).unwrap_or_else(|word| panic!("NETPOLL_DOOR: there is no `{word}`"))
}

/// Parses a table of words, separated by commas:
///
/// | word | rules |
/// |---|---|
/// | `seed=N` | the seed of random choices, 0 without it |
/// | `eintr-once` | every call fails with `EINTR` once before it is made |
/// | `short` | each read and write is shortened, one time in two |
/// | `eagain=K` | K times `EAGAIN` before each read, write and accept on a descriptor |
/// | `events` | events are spurious, duplicated, delayed up to 50 ms, reordered, one at a time, stale |
///
/// # Errors
///
/// Returns the word that is unknown.
pub fn parse(words: &str) -> Result<Table, String> {
    let mut table = Table::new(0);
    for word in words.split(',').filter(|word| !word.is_empty()) {
        let (name, number) = match word.split_once('=') {
            None => (word, None),
            Some((name, number)) => (name, Some(number.parse::<u32>().map_err(|_| word.to_owned())?)),
        };
        match (name, number) {
            ("seed", Some(seed)) => table.seed = seed.into(),
            ("eintr-once", None) => table.rules.push(Rule::any(Errno::INTR).before_each()),
            ("short", None) => table.rules.extend(BYTES.map(|call| Rule::short(call).chance(0.5))),
            ("eagain", Some(k)) => table.rules.push(Rule::any(Errno::AGAIN).repeat(k as usize)),
            ("events", None) => table.rules.extend(event_rules()),
            _ => return Err(word.to_owned()),
        }
    }
    Ok(table)
}

fn event_rules() -> impl Iterator<Item = Rule> {
    let most = Duration::from_millis(50);
    [
        (EventFault::Spurious, 0.3),
        (EventFault::Duplicate, 0.3),
        (EventFault::Both, 0.3),
        (EventFault::Delay(most), 0.1),
        (EventFault::Reorder, 0.5),
        (EventFault::One, 0.5),
        (EventFault::Stale(most), 0.5),
    ]
    .into_iter()
    .map(|(fault, probability)| Rule::events(fault).chance(probability))
}
