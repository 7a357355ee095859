//! The synchronization of the measurements. It is as plain as possible, so that the measurements are of waking and
//! scheduling. Every function is `#[inline]`, so that a peer compiles it as if it were its own.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use netpoll_core::sync::Flag;

#[inline]
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stores this task's waker, unless the slot has it.
#[inline]
fn keep(slot: &mut Option<Waker>, cx: &Context<'_>) {
    if slot.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
        *slot = Some(cx.waker().clone());
    }
}

/// A baton that two parties pass to and fro. The flag is set when the second party has it.
#[derive(Default)]
pub struct Baton {
    second: Flag,
    waiting: [Mutex<Option<Waker>>; 2],
}

impl Baton {
    /// Plays one party of `rounds` round trips.
    #[inline]
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

    #[inline]
    fn poll_turn(&self, party: usize, cx: &Context<'_>) -> Poll<()> {
        let mine = || self.second.is_set() == (party == 1);
        if mine() {
            return Poll::Ready(());
        }
        keep(&mut lock(&self.waiting[party]), cx);
        // A party that passed the baton and then found no waker released the slot's lock before it was taken above, so
        // its change of the flag is visible here.
        if mine() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// An event that happens once and that one task awaits.
#[derive(Default)]
pub struct Once(Mutex<(bool, Option<Waker>)>);

impl Once {
    #[inline]
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

    #[inline]
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

/// A counter from a number down to zero.
pub struct Countdown(Mutex<u64>);

impl Countdown {
    #[inline]
    pub fn from(n: u64) -> Self {
        Self(Mutex::new(n))
    }

    /// Counts down and returns whether that was the last step.
    #[inline]
    pub fn is_last(&self) -> bool {
        let mut left = lock(&self.0);
        *left -= 1;
        *left == 0
    }
}
