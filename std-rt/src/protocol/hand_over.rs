//! A worker that is handed from thread to thread: which thread is the worker, and the threads that wait to become one.
//!
//! A thread that is about to block within a task offers its worker. Another thread, the *successor*, takes the offer unless
//! the first one is back before. The first to [`claim`](Claim::claim) is the worker:
//!
//! | the thread that offered | the successor | the worker is |
//! |---|---|---|
//! | blocks | is on its way | no thread |
//! | claims first, and goes on as the worker | finds the claim and waits for another offer | the same thread as before |
//! | blocks | claims first, and runs tasks | the successor |
//! | finds the claim, ends its task's turn, and waits for an offer | runs tasks | the successor |
//!
//! A thread without a worker is a *spare*:
//!
//! | a spare | leaves that state when | then |
//! |---|---|---|
//! | waits, is on the list | an offer takes it off the list | it has the offer |
//! | waits, is on the list | its time is over: it takes itself off the list | it ends |
//! | waits | the list is closed | it ends, and an offer that it has is dropped |
//!
//! A thread that has offered its worker may wait in its call for the runtime's tasks or events, and the runtime's end waits for the
//! thread. So the list knows the threads that are in such a call, and unparks them when it is closed.
//!
//! An offer is given to a spare under the lock under which that one is on the list, so it is never given to one that ends. If
//! none is on the list, the caller starts a thread. An offer that is dropped leaves its worker to the thread that offered it,
//! which claims it when it is back.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::sync::thread::{self, Thread};
use crate::sync::{Condvar, Mutex, MutexGuard, lock};

/// The right to be a worker, for the first of two threads that asks.
#[derive(Debug, Default)]
pub struct Claim(Mutex<bool>);

impl Claim {
    /// Returns true for the first caller, which is the worker from now on. All that the thread
    /// which offered the worker did before happens before that.
    #[must_use = "a thread without the claim must not touch the worker"]
    pub fn claim(&self) -> bool {
        let mut claimed = lock(&self.0);
        !std::mem::replace(&mut *claimed, true)
    }
}

/// A worker for the thread that claims it.
#[derive(Debug)]
pub struct Offer {
    /// The worker's number.
    pub worker: usize,
    /// The claim, which the thread that offers has too.
    pub claim: Arc<Claim>,
}

impl Offer {
    /// Creates the offer of a worker.
    pub fn new(worker: usize) -> Self {
        Self { worker, claim: Arc::default() }
    }
}

/// The threads of one runtime that wait to become a worker.
#[derive(Debug, Default)]
pub struct Spares(Mutex<SparesState>);

#[derive(Debug, Default)]
struct SparesState {
    /// The condition variables of the threads that wait. The last one that came is the first to go.
    idle: Vec<Arc<Condvar>>,
    /// One offer for each thread that was taken off the list and has not looked yet.
    offers: Vec<Offer>,
    /// The threads that have offered their worker and are not back.
    away: Vec<Thread>,
    /// The threads that were started for an offer, less those that have ended since: as many threads as there are beside one
    /// for each worker.
    started: usize,
    closed: bool,
}

impl Spares {
    /// Records that this thread is about to offer its worker. Returns false if the list is closed: then it must not.
    #[must_use = "a worker is not offered any more when the runtime ends"]
    pub fn leave(&self) -> bool {
        let mut state = lock(&self.0);
        if !state.closed {
            state.away.push(thread::current());
        }
        !state.closed
    }

    /// Records that this thread is back from the call for which it has offered its worker.
    pub fn come_back(&self) {
        let this = thread::current().id();
        let mut state = lock(&self.0);
        let place = state.away.iter().rposition(|thread| thread.id() == this);
        let gone = place.map(|place| state.away.swap_remove(place));
        drop(state);
        drop(gone);
    }

    /// Gives an offer to a thread that waits.
    ///
    /// # Errors
    ///
    /// Returns the offer if no thread waits.
    pub fn give(&self, offer: Offer) -> Result<(), Offer> {
        let mut state = lock(&self.0);
        let Some(spare) = state.idle.pop() else { return Err(offer) };
        state.offers.push(offer);
        drop(state);
        spare.notify_one();
        Ok(())
    }

    /// Counts a thread that is about to be started for an offer. Returns false if there are `most` already: then the offer has
    /// no thread.
    #[must_use = "a runtime has no more threads than its bound"]
    pub fn may_start(&self, most: usize) -> bool {
        let mut state = lock(&self.0);
        let may = state.started < most;
        state.started += usize::from(may);
        may
    }

    /// Takes back the count of a thread that could not be started.
    pub fn not_started(&self) {
        lock(&self.0).started -= 1;
    }

    /// Waits for an offer, on a thread that is no worker. Returns `None` if the thread is to end.
    pub fn wait(&self, keep_alive: Duration) -> Option<Offer> {
        let wake = Arc::new(Condvar::new());
        let mut state = lock(&self.0);
        if state.closed {
            return None;
        }
        state.idle.push(wake.clone());
        loop {
            let timed_out;
            (state, timed_out) = wait_once(state, &wake, keep_alive);
            if state.closed {
                return None;
            }
            let Some(place) = state.idle.iter().rposition(|other| Arc::ptr_eq(other, &wake)) else {
                // Each thread that was taken off the list has one.
                return state.offers.pop();
            };
            if timed_out {
                state.idle.remove(place);
                // A thread of the models was not counted.
                state.started = state.started.saturating_sub(1);
                return None;
            }
        }
    }

    /// Ends the threads that wait now or later, and unparks those that have offered their worker. Offers that no thread has
    /// taken are dropped.
    pub fn close(&self) {
        let mut state = lock(&self.0);
        state.closed = true;
        let idle = std::mem::take(&mut state.idle);
        let (offers, away) = (std::mem::take(&mut state.offers), state.away.clone());
        drop(state);
        away.iter().for_each(Thread::unpark);
        // Those that were taken off the list for an offer have been notified.
        idle.iter().for_each(|spare| spare.notify_one());
        drop(offers);
    }
}

fn wait_once<'a>(
    state: MutexGuard<'a, SparesState>,
    wake: &Condvar,
    keep_alive: Duration,
) -> (MutexGuard<'a, SparesState>, bool) {
    if keep_alive == Duration::MAX {
        return (wake.wait(state).unwrap_or_else(PoisonError::into_inner), false);
    }
    let (state, result) = wake.wait_timeout(state, keep_alive).unwrap_or_else(PoisonError::into_inner);
    (state, result.timed_out())
}
