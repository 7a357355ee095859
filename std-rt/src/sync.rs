//! Locks, condition variables and park tokens for the protocols between threads.
//!
//! A build for users gets the types of std. A build with `--cfg netpoll_shuttle` gets those of the model checker
//! `shuttle`, so that `cargo xtask protocols` runs the real text of each module under `protocol` in every order that
//! its bounds allow. A protocol takes every lock, token and thread from here; a lock that only guards data, and that
//! no thread waits for while it holds another one, may be std's.
//!
//! The checker sees every lock, unlock, wait, notification, park, unpark, spawn and join: each is a point where another
//! thread may go on. A park may return without a token, foreign code may consume a token, and a wait with a time limit
//! may time out at any point after it began. The checker does not see the words of core, which are plain atomics in that
//! build. A protocol whose race is on such a word is a loom model instead.

#[cfg(netpoll_shuttle)]
mod checked;

#[cfg(netpoll_shuttle)]
pub use checked::{Condvar, Mutex, MutexGuard, thread};
#[cfg(not(netpoll_shuttle))]
pub use std::{
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};

use std::sync::PoisonError;

/// Locks, also after a panic of a thread that held the lock. For state that is consistent at each step, and under which
/// no foreign code runs.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
