//! Models of the break flag.

use std::sync::Arc;

use loom::sync::{Condvar, Mutex};
use netpoll_core::poll::break_flag::BreakFlag;

use super::support::{Posted, race, race3};
use crate::harness::{Expect, Model, green, red};

/// The models of this file.
pub const MODELS: &[Model] = &[
    green("m07_three_breaks_by_one_against_poller", 2, Some(4), || {
        one_breaker(Order::DrainThenClear);
    }),
    green("m07_two_breaks_against_poller", 3, Some(3), two_breakers),
    red("m07_clear_before_drain_loses_a_break", 2, Some(4), Expect::Deadlock, || {
        one_breaker(Order::ClearThenDrain);
    }),
];

/// The order of the poller's steps after a blocking poll.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    DrainThenClear,
    /// Faulty: a write that comes between the two is drained while its flag stays set, so no later break
    /// writes.
    ClearThenDrain,
}

/// The break flag, the break descriptor, and the work that is left for the poller.
struct Poller {
    flag: BreakFlag,
    writes: Mutex<usize>,
    readable: Condvar,
    work: [Posted; 3],
}

impl Poller {
    fn new() -> Arc<Poller> {
        let (flag, work) = (BreakFlag::new(), [(); 3].map(|()| Posted::new()));
        Arc::new(Poller { flag, writes: Mutex::new(0), readable: Condvar::new(), work })
    }

    fn leave(&self, work: usize) {
        self.work[work].post();
        if self.flag.set() {
            *self.writes.lock().expect("no model panics in the kernel") += 1;
            self.readable.notify_one();
        }
    }

    fn drain(&self) -> usize {
        std::mem::take(&mut *self.writes.lock().expect("no model panics in the kernel"))
    }

    /// Polls and blocks. Returns the number of writes that it drained.
    fn poll(&self, order: Order) -> usize {
        let mut writes = self.writes.lock().expect("no model panics in the kernel");
        while *writes == 0 {
            writes = self.readable.wait(writes).expect("no model panics in the kernel");
        }
        drop(writes);
        if order == Order::DrainThenClear {
            let drained = self.drain();
            assert!(self.flag.clear(), "model: a write without a flag");
            drained
        } else {
            self.flag.clear();
            self.drain()
        }
    }

    /// Polls until it has seen the first `n` pieces of work.
    fn poll_until(&self, n: usize, order: Order) {
        let mut polls = 0;
        while !self.work[..n].iter().all(Posted::is_posted) {
            let drained = self.poll(order);
            polls += 1;
            assert!(drained <= 1 || order == Order::ClearThenDrain, "model: {drained} writes for one poll");
            assert!(polls <= n, "model: {polls} polls for {n} breaks");
        }
    }
}

/// Three pieces of work, one after the other, each with its break.
fn one_breaker(order: Order) {
    let poller = Poller::new();
    race(
        &poller,
        move |poller| poller.poll_until(3, order),
        |poller| (0..3).for_each(|work| poller.leave(work)),
    );
}

fn two_breakers() {
    let poll = |poller: &Poller| poller.poll_until(2, Order::DrainThenClear);
    race3(&Poller::new(), poll, |poller| poller.leave(0), |poller| poller.leave(1));
}
