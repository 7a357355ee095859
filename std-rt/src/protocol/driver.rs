//! The choice of the thread that drives a runtime without threads of its own.
//!
//! Several threads may be in `block_on` of such a runtime at once. One of them holds the worker slot and runs the tasks; the
//! others wait until either their own future has been woken or the slot is free.
//!
//! | state | a thread takes it | the holder leaves | a waiter's future is woken |
//! |---|---|---|---|
//! | free, no thread waits | held | - | - |
//! | held, n wait | it waits, n + 1 | free, all n are unparked | it stops waiting, n - 1 |
//! | free, n were told | held by the first that looks | - | it stops waiting |
//!
//! The lock holds the truth; a token only says "look again". Foreign code may consume a token while a future is polled:
//! std's channels, `thread::scope` and a nested `block_on` all park on it. So a thread looks at the state after it has
//! polled and before every park, and between that look and the park no foreign code runs:
//!
//! 1. The slot becomes free before the look: the thread sees it and takes it.
//! 2. After the look: the thread is in the list, so the one that leaves unparks it, and nothing consumes the token before
//!    the park does.
//! 3. The thread is woken for its future, and the slot becomes free at the same time: it leaves the list under the lock. It
//!    either takes the slot there, or it looks again after its future has been polled. All other waiters have been
//!    unparked too.
//!
//! # Crossed waits
//!
//! A thread that drives one runtime may call `block_on` of another one. If that one is driven by a second thread, which
//! waits in turn for the first runtime, neither is driven any more. [`WaitGraph`] has the threads that wait while they drive.
//! Under its lock a thread follows the chain from the slot that it wants to its holder, from there to the slot for which
//! that one waits, and so on, and enters itself unless that leads back. Holders that wait do not change, so the thread that
//! would close a circle sees all of it, and is the only one that is refused.

use std::sync::Arc;

use crate::sync::thread::{self, Thread, ThreadId};
use crate::sync::{Mutex, lock};

/// The slot of the one worker of a runtime without threads; the thread that holds it drives the runtime.
#[derive(Debug, Default)]
pub struct WorkerSlot(Mutex<SlotState>);

#[derive(Debug, Default)]
struct SlotState {
    holder: Option<ThreadId>,
    /// The threads that are in [`WorkerSlot::wait`], each at most once.
    waiting: Vec<Thread>,
}

/// The wait would be for this thread itself: the thread that holds the slot waits, over others perhaps, for the slot that
/// this one holds.
#[derive(Debug)]
pub struct Deadlock;

impl WorkerSlot {
    /// Takes the slot if it is free; returns true if so.
    pub fn try_acquire(&self) -> bool {
        lock(&self.0).try_acquire(thread::current().id())
    }

    /// Waits until this thread has the slot (true) or, while another thread has it, `is_woken` holds (false). The code that
    /// makes `is_woken` hold unparks this thread afterwards. A thread that drives another runtime passes `waits`.
    ///
    /// # Errors
    ///
    /// Returns [`Deadlock`] if the threads would wait for each other.
    pub fn wait(
        self: &Arc<Self>,
        waits: Option<&WaitGraph>,
        is_woken: impl Fn() -> bool,
    ) -> Result<bool, Deadlock> {
        let this = thread::current();
        let mut entry = None;
        loop {
            let over = lock(&self.0).look(&this, &is_woken);
            if let Some(taken) = over {
                return Ok(taken);
            }
            if let (Some(waits), None) = (waits, &entry) {
                entry = waits.enter(this.id(), self);
                if entry.is_none() {
                    lock(&self.0).forget(&this);
                    return Err(Deadlock);
                }
            }
            thread::park();
        }
    }

    /// Releases the slot and unparks every thread that waits.
    pub fn release(&self) {
        let mut state = lock(&self.0);
        state.holder = None;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.iter().for_each(Thread::unpark);
    }

    fn holder(&self) -> Option<ThreadId> {
        lock(&self.0).holder
    }
}

impl SlotState {
    fn try_acquire(&mut self, this: ThreadId) -> bool {
        let free = self.holder.is_none();
        if free {
            self.holder = Some(this);
        }
        free
    }

    /// Returns whether the slot was taken if the wait is over; else enters the thread into the list.
    fn look(&mut self, this: &Thread, is_woken: impl Fn() -> bool) -> Option<bool> {
        // Also if the future is woken: it may yield again and again until a task has had its turn.
        let taken = self.try_acquire(this.id());
        if taken || is_woken() {
            self.forget(this);
            return Some(taken);
        }
        if self.waiting.iter().all(|other| other.id() != this.id()) {
            self.waiting.push(this.clone());
        }
        None
    }

    fn forget(&mut self, this: &Thread) {
        self.waiting.retain(|other| other.id() != this.id());
    }
}

/// The threads that drive one runtime and wait for the slot of another one, each with that slot. One for all runtimes.
#[derive(Debug)]
pub struct WaitGraph(Mutex<Vec<(ThreadId, Arc<WorkerSlot>)>>);

impl Default for WaitGraph {
    fn default() -> Self {
        Self::new()
    }
}

impl WaitGraph {
    /// Creates an empty list.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Enters the thread, or returns `None` if it would close a circle.
    fn enter(&self, this: ThreadId, slot: &Arc<WorkerSlot>) -> Option<Entry<'_>> {
        let mut waits = lock(&self.0);
        let mut next = slot;
        // As many steps as there are threads that wait: one that has just taken its slot is in a circle by itself.
        for _ in 0..=waits.len() {
            let Some(holder) = next.holder() else { break };
            if holder == this {
                return None;
            }
            let Some((_, wanted)) = waits.iter().find(|(waiter, _)| *waiter == holder) else { break };
            next = wanted;
        }
        waits.push((this, slot.clone()));
        Some(Entry(self, this))
    }
}

/// An entry in the list.
struct Entry<'a>(&'a WaitGraph, ThreadId);

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        lock(&self.0.0).retain(|(waiter, _)| *waiter != self.1);
    }
}
