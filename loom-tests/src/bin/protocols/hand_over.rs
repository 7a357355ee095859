//! A worker that goes from thread to thread: one thread is the worker, and no offer is forgotten.

use std::sync::Arc;
use std::time::Duration;

use netpoll_rt::internal::protocol::hand_over::{Claim, Offer, Spares};
use netpoll_rt::internal::sync::thread::{self, JoinHandle};
use netpoll_rt::internal::sync::{Condvar, Mutex, lock};

use crate::harness::{Expect, Model};

pub const MODELS: &[Model] = &[
    model("hand_over::call_returns_while_the_successor_starts", 2, Expect::Green, || {
        returns_beside_the_successor::<Claim>();
    }),
    model("hand_over::control_look_and_claim_are_two_steps", 2, Expect::Assertion, || {
        returns_beside_the_successor::<TwoSteps>();
    }),
    model("hand_over::offer_beside_the_end_of_a_spare", 0, Expect::Green, || {
        two_offers::<Spares>(Duration::ZERO);
    }),
    model("hand_over::control_spare_ends_without_looking", 0, Expect::Deadlock, || {
        two_offers::<Forgetful>(Duration::ZERO);
    }),
    model("hand_over::runtime_closes_beside_an_offer", 2, Expect::Green, || close_beside_an_offer(true)),
    model("hand_over::control_spares_are_not_closed", 2, Expect::Deadlock, || close_beside_an_offer(false)),
    model("hand_over::runtime_closes_beside_a_call", 2, Expect::Green, || close_beside_a_call(true)),
    model("hand_over::control_calls_are_not_told", 2, Expect::Deadlock, || close_beside_a_call(false)),
];

const fn model(name: &'static str, bound: usize, expect: Expect, body: fn()) -> Model {
    Model { name, threads: 3, bound: Some(bound), expect, body }
}

/// A worker, of which one thread at a time may be in [`Worker::act`].
#[derive(Default)]
struct Worker {
    acts: Mutex<bool>,
    acted: Mutex<usize>,
    changed: Condvar,
}

impl Worker {
    /// Touches the state that only the worker may touch.
    fn act(&self) {
        let before = std::mem::replace(&mut *lock(&self.acts), true);
        assert!(!before, "model: two threads are one worker");
        *lock(&self.acts) = false;
        *lock(&self.acted) += 1;
        self.changed.notify_all();
    }

    /// Waits for a turn of the worker, as a call does that waits for another task.
    fn wait_for(&self, turns: usize) {
        let mut acted = lock(&self.acted);
        while *acted < turns {
            acted = self.changed.wait(acted).expect("nothing panics under the lock");
        }
    }
}

/// The right of the first.
trait First: Default + Send + Sync + 'static {
    fn is_first(&self) -> bool;
}

impl First for Claim {
    fn is_first(&self) -> bool {
        self.claim()
    }
}

/// A claim whose look and mark are two steps, which is the fault.
#[derive(Default)]
struct TwoSteps(Mutex<bool>);

impl First for TwoSteps {
    fn is_first(&self) -> bool {
        let claimed = *lock(&self.0);
        *lock(&self.0) = true;
        !claimed
    }
}

/// Lets the thread that offered come back while the successor starts. Both ask, and one is the worker.
fn returns_beside_the_successor<C: First>() {
    let (worker, claim) = (Arc::new(Worker::default()), Arc::new(C::default()));
    worker.act();
    let asks = |worker: &Worker, claim: &C| {
        let first = claim.is_first();
        if first {
            worker.act();
        }
        usize::from(first)
    };
    let successor = {
        let (worker, claim) = (worker.clone(), claim.clone());
        thread::spawn(move || asks(&worker, &claim))
    };
    let first = asks(&worker, &claim);
    let firsts = first + successor.join().expect("it has not panicked");
    assert_eq!(firsts, 1, "model: one thread is the worker");
}

/// The threads that wait for an offer.
trait Waits: Default + Send + Sync + 'static {
    fn give(&self, offer: Offer) -> Result<(), Offer>;
    fn wait(&self, keep_alive: Duration) -> Option<Offer>;
    fn close(&self);
}

impl Waits for Spares {
    fn give(&self, offer: Offer) -> Result<(), Offer> {
        Spares::give(self, offer)
    }

    fn wait(&self, keep_alive: Duration) -> Option<Offer> {
        Spares::wait(self, keep_alive)
    }

    fn close(&self) {
        Spares::close(self);
    }
}

/// A list on which a thread whose time is over stays, which is the fault.
#[derive(Default)]
struct Forgetful(Mutex<(usize, Vec<Offer>, bool)>, Condvar);

impl Waits for Forgetful {
    fn give(&self, offer: Offer) -> Result<(), Offer> {
        let mut state = lock(&self.0);
        if state.0 == 0 {
            return Err(offer);
        }
        state.0 -= 1;
        state.1.push(offer);
        self.1.notify_one();
        Ok(())
    }

    fn wait(&self, keep_alive: Duration) -> Option<Offer> {
        let mut state = lock(&self.0);
        state.0 += 1;
        if !state.2 {
            state = self.1.wait_timeout(state, keep_alive).expect("nothing panics under the lock").0;
        }
        state.1.pop()
    }

    fn close(&self) {
        lock(&self.0).2 = true;
        self.1.notify_all();
    }
}

/// Runs a thread of the runtime: a worker whenever it gets one.
fn start<W: Waits>(
    spares: &Arc<W>,
    workers: &Arc<[Worker; 2]>,
    first: Offer,
    keep_alive: Duration,
) -> JoinHandle<()> {
    let (spares, workers) = (spares.clone(), workers.clone());
    thread::spawn(move || {
        let mut next = Some(first);
        while let Some(offer) = next {
            if offer.claim.claim() {
                workers[offer.worker].act();
            }
            next = spares.wait(keep_alive);
        }
    })
}

/// Offers two workers, one after the other, and waits each time for a turn of the worker.
fn two_offers<W: Waits>(keep_alive: Duration) {
    let (spares, workers) = (Arc::new(W::default()), Arc::<[Worker; 2]>::default());
    let mut threads = Vec::new();
    for worker in 0..2 {
        if let Err(offer) = spares.give(Offer::new(worker)) {
            threads.push(start(&spares, &workers, offer, keep_alive));
        }
        workers[worker].wait_for(1);
    }
    spares.close();
    threads.into_iter().for_each(|thread| thread.join().expect("it has not panicked"));
}

/// Ends the runtime while a worker is offered. All threads end, and one of them at most was the worker.
fn close_beside_an_offer(closes: bool) {
    let (spares, workers) = (Arc::new(Spares::default()), Arc::<[Worker; 2]>::default());
    let spare = start(&spares, &workers, Offer::new(0), Duration::MAX);
    workers[0].wait_for(1);
    let closing = {
        let spares = spares.clone();
        thread::spawn(move || {
            if closes {
                spares.close();
            }
        })
    };
    let offer = Offer::new(1);
    let claim = offer.claim.clone();
    // Without a spare the thread that offers is the first to ask.
    let _given = spares.give(offer);
    if claim.claim() {
        workers[1].act();
    }
    closing.join().expect("it has not panicked");
    spare.join().expect("it has not panicked");
    assert_eq!(*lock(&workers[1].acted), 1, "model: one thread was the worker");
}

/// Ends the runtime while a thread waits in its call, away from its worker, until it sees that.
fn close_beside_a_call(tells: bool) {
    let (spares, ends) = (Arc::new(Spares::default()), Arc::new(Mutex::new(false)));
    let calling = {
        let (spares, ends) = (spares.clone(), ends.clone());
        thread::spawn(move || {
            let left = spares.leave();
            while left && !*lock(&ends) {
                thread::park();
            }
            if left {
                spares.come_back();
            }
        })
    };
    *lock(&ends) = true;
    if tells {
        spares.close();
    }
    calling.join().expect("it has not panicked");
}
