//! Which thread drives a runtime that has no threads of its own.
//!
//! Several threads may be in `block_on` of such a runtime at once. One of them holds the seat and runs the tasks; the
//! others wait until either their own future has been woken or the seat is free.
//!
//! | state | a thread takes it | the holder leaves | a waiter's future is woken |
//! |---|---|---|---|
//! | free, nobody waits | taken | - | - |
//! | taken, n wait | it waits, n + 1 | free, all n are unparked | it stops waiting, n - 1 |
//! | free, n wait | taken by the first that looks | - | it stops waiting, n - 1 |
//!
//! The lock holds the truth; a token only says "look again". Foreign code may consume a token while a future is polled:
//! std's channels, `thread::scope` and a nested `block_on` all park on it. So a thread looks at the state after it has
//! polled and before every park, and between that look and the park no foreign code runs:
//!
//! 1. The seat becomes free before the look: the thread sees it and takes it.
//! 2. After the look: the thread is in the list, so the one that leaves unparks it, and nothing consumes the token before
//!    the park does.
//! 3. The thread is woken for its future, and the seat becomes free at the same time: it leaves the list under the lock. It
//!    either has seen that the seat is free, or it looks again after its future has been polled. All other waiters have
//!    been unparked too.

use crate::sync::thread::{self, Thread};
use crate::sync::{Mutex, lock};

/// The seat of the thread that drives the runtime.
#[derive(Debug)]
pub struct Seat(Mutex<State>);

#[derive(Debug)]
struct State {
    free: bool,
    /// The threads that are in [`Seat::wait`], each at most once.
    waiting: Vec<Thread>,
}

impl Seat {
    /// Creates one that is free, or one that is never given out (for a runtime that has threads).
    pub fn new(free: bool) -> Self {
        Self(Mutex::new(State { free, waiting: Vec::new() }))
    }

    /// Takes the seat if it is free; true if so.
    pub fn try_take(&self) -> bool {
        std::mem::take(&mut lock(&self.0).free)
    }

    /// Waits until this thread has the seat (true) or `is_woken` holds (false). Whoever makes `is_woken` hold unparks this
    /// thread afterwards.
    pub fn wait(&self, is_woken: impl Fn() -> bool) -> bool {
        let this = thread::current();
        loop {
            let mut state = lock(&self.0);
            let woken = is_woken();
            let taken = !woken && std::mem::take(&mut state.free);
            let listed = state.waiting.iter().position(|other| other.id() == this.id());
            match listed {
                Some(at) if woken || taken => drop(state.waiting.swap_remove(at)),
                None if !woken && !taken => state.waiting.push(this.clone()),
                _ => {}
            }
            drop(state);
            if woken || taken {
                return taken;
            }
            thread::park();
        }
    }

    /// Gives the seat back and tells every thread that waits.
    pub fn give_back(&self) {
        let mut state = lock(&self.0);
        state.free = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.iter().for_each(Thread::unpark);
    }
}
