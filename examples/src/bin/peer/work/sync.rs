//! What the measurements wait for. The runtime has no such things on purpose; these are as plain as they can be, so that
//! waking and scheduling is what is measured.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use netpoll_core::sync::Flag;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Replaces the waker unless it wakes the same task.
fn keep(slot: &mut Option<Waker>, cx: &Context<'_>) {
    if slot.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
        *slot = Some(cx.waker().clone());
    }
}

/// Two parties take turns. The flag says that it is the second's.
#[derive(Default)]
pub struct Baton {
    second: Flag,
    waiting: [Mutex<Option<Waker>>; 2],
}

impl Baton {
    /// One party's side of so many round trips.
    pub async fn play(&self, party: usize, rounds: u64) {
        for _ in 0..rounds {
            poll_fn(|cx| self.poll_turn(party, cx)).await;
            if party == 0 {
                self.second.set()
            } else {
                self.second.clear()
            };
            let waiting = lock(&self.waiting[1 - party]).take();
            if let Some(waker) = waiting {
                waker.wake();
            }
        }
    }

    fn poll_turn(&self, party: usize, cx: &Context<'_>) -> Poll<()> {
        let mine = || self.second.is_set() == (party == 1);
        if mine() {
            return Poll::Ready(());
        }
        keep(&mut lock(&self.waiting[party]), cx);
        // Whoever passed the baton before our waker was there did so under the lock's order: seen here.
        if mine() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Something that happens once and one task waits for.
#[derive(Default)]
pub struct Once(Mutex<(bool, Option<Waker>)>);

impl Once {
    pub fn happen(&self) {
        let waker = {
            let mut state = lock(&self.0);
            state.0 = true;
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub async fn wait(&self) {
        poll_fn(|cx| {
            let mut state = lock(&self.0);
            if state.0 {
                return Poll::Ready(());
            }
            keep(&mut state.1, cx);
            Poll::Pending
        })
        .await;
    }
}

/// Counts to nought.
pub struct Countdown(Mutex<u64>);

impl Countdown {
    pub fn from(n: u64) -> Self {
        Self(Mutex::new(n))
    }

    /// True for the last.
    pub fn is_last(&self) -> bool {
        let mut left = lock(&self.0);
        *left -= 1;
        *left == 0
    }
}
