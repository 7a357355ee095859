//! Models of `sema`: who owns the waker slot, and what a readiness carries with it.

use std::sync::Arc;
use std::task::Waker;

use loom::thread;
use netpoll_core::poll::sema::{Arm, Commit, Sema, Unblock};
use netpoll_core::poll::waiters::Waiters;

use super::support::{Counted, Plain, race, race3};
use crate::harness::{Expect, Model};

/// The models of this word.
pub const MODELS: &[Model] = &[
    green("m03_payload_through_take", 2, None, payload_through_take),
    green("m03_payload_through_arm", 2, None, payload_through_arm),
    green("m03_payload_through_commit", 2, None, payload_through_commit),
    green("m04_event_against_close_take_one_waker", 2, None, event_against_close),
    green("m04_event_against_close_and_park", 3, Some(3), event_against_close_and_park),
    green("m04b_second_poll_against_event", 2, None, || second_poll(true)),
    green("m04b_second_poll_against_close", 2, None, || second_poll(false)),
    green("m04b_same_waker_against_event_and_close", 3, Some(3), || second_poll_against_two(true)),
    green("m04b_other_waker_against_event_and_close", 3, Some(3), || second_poll_against_two(false)),
    green("m08_retract_against_event_keeps_it", 2, None, || retract(true)),
    green("m08_retract_against_close", 2, None, || retract(false)),
    green("m08_retract_and_park_against_event", 2, None, || retract_and_park(true)),
    green("m08_retract_and_park_against_close", 2, None, || retract_and_park(false)),
    green("m08_abort_against_event_keeps_it", 2, None, abort_against_event),
];

const fn green(name: &'static str, threads: usize, bound: Option<usize>, body: fn()) -> Model {
    Model { name, threads, bound, expect: Expect::Green, body }
}

/// One semaphore, the count of its waiters, and plain data that an event brings.
struct Rig {
    sema: Sema<2>,
    waiters: Waiters,
    payload: Plain<usize>,
}

impl Rig {
    fn new() -> Arc<Rig> {
        Arc::new(Rig { sema: Sema::new(), waiters: Waiters::new(), payload: Plain::new(0) })
    }

    /// Polls until no winner is under way: none if the task was not parked, because there was a readiness.
    fn park(&self, waker: &Waker) -> Option<Commit> {
        loop {
            match self.sema.arm(&self.waiters) {
                Arm::Ready => return None,
                Arm::Busy => thread::yield_now(),
                Arm::Double => panic!("model: two tasks between arm and its end"),
                Arm::Armed(armed) => {
                    let (end, displaced) = armed.commit(waker);
                    displaced.wake();
                    return Some(end);
                }
            }
        }
    }

    /// Unblocks, wakes, and lets the count fall; true if somebody was parked.
    fn unblock(&self, ready: bool) -> bool {
        match self.sema.unblock(0, ready) {
            Unblock::Stale => panic!("model: the event is of this generation"),
            Unblock::Nobody => false,
            Unblock::Woke(waker) => {
                waker.wake();
                self.waiters.sub(1);
                true
            }
        }
    }

    /// Ends a model: the slot is empty and nobody is counted.
    fn give_up(&self) {
        drop(self.sema.retract(&self.waiters));
        let left = self.waiters.get();
        assert!(left == 0, "model: {left} waiters are counted, and nobody waits");
        assert!(!self.sema.is_parked(), "model: the task has given up and is parked");
    }
}

/// Brings a payload and unblocks, with nothing else between the threads: no kernel's lock and no task that is woken.
fn payload(consume: fn(&Rig) -> bool) {
    let rig = Rig::new();
    race(
        &rig,
        |rig| {
            if consume(rig) {
                assert!(rig.payload.get() == 1, "model: a readiness without what it stands for");
            }
        },
        |rig| {
            rig.payload.set(1);
            rig.unblock(true)
        },
    );
    rig.give_up();
}

fn payload_through_take() {
    payload(|rig| rig.sema.take());
}

fn payload_through_arm() {
    payload(|rig| match rig.sema.arm(&rig.waiters) {
        Arm::Ready => true,
        Arm::Armed(armed) => {
            armed.abort().wake();
            false
        }
        Arm::Busy | Arm::Double => panic!("model: nobody else arms"),
    });
}

fn payload_through_commit() {
    payload(|rig| match rig.sema.arm(&rig.waiters) {
        Arm::Armed(armed) => armed.commit(Waker::noop()).0 == Commit::Ready,
        _ => false,
    });
}

/// A parked task, an event and a close: one of the two has the waker.
fn event_against_close() {
    let rig = Rig::new();
    let (task, waker) = Counted::waker();
    assert!(rig.park(&waker) == Some(Commit::Parked), "model: nothing forbids to park");
    drop(waker);
    let (event, close) = race(&rig, |rig| rig.unblock(true), |rig| rig.unblock(false));
    assert!(event != close && task.wakes() == 1, "model: one of two takes the waker");
    assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
    assert!(rig.sema.take(), "model: the event was lost");
    rig.give_up();
}

/// The same while the task is on its way to park: at most one has the waker, and the event is not lost.
fn event_against_close_and_park() {
    let rig = Rig::new();
    let (task, waker) = Counted::waker();
    let park = |rig: &Rig| rig.park(&waker);
    let (end, event, close) = race3(&rig, park, |rig| rig.unblock(true), |rig| rig.unblock(false));
    let woken = usize::from(event) + usize::from(close);
    assert!(woken <= usize::from(end == Some(Commit::Parked)), "model: {woken} wakers are taken");
    let consumed = end.is_none() || end == Some(Commit::Ready);
    assert!(consumed || rig.sema.take(), "model: the event was lost");
    rig.give_up();
    drop(waker);
    assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
}

/// A task parks, is polled again with another waker although nothing woke it, and then parks once more: against
/// one who unblocks, and who may be anywhere between its compare-exchange and the end of its take.
fn second_poll(ready: bool) {
    let rig = Rig::new();
    let ((first, first_waker), (second, second_waker)) = (Counted::waker(), Counted::waker());
    let polls = |rig: &Rig| {
        let ends = [first_waker, second_waker].map(|waker| rig.park(&waker));
        ends.iter().filter(|end| end.is_none() || **end == Some(Commit::Ready)).count()
    };
    let (mut consumed, _) = race(&rig, polls, move |rig| rig.unblock(ready));
    consumed += usize::from(rig.sema.take());
    assert!(consumed == usize::from(ready), "model: {consumed} readinesses of one event or none");
    rig.give_up();
    for task in [first, second] {
        assert!(task.wakes() <= 1, "model: a task is woken once or displaced once");
        assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
    }
}

/// A second poll, with the waker of the first poll or another, between an event and a close.
fn second_poll_against_two(same: bool) {
    let rig = Rig::new();
    let ((first, first_waker), (second, second_waker)) = (Counted::waker(), Counted::waker());
    assert!(rig.park(&first_waker) == Some(Commit::Parked), "model: nothing forbids to park");
    let (waker, other) = if same { (first_waker, second_waker) } else { (second_waker, first_waker) };
    drop(other);
    let poll = |rig: &Rig| rig.park(&waker);
    let (end, ..) = race3(&rig, poll, |rig| rig.unblock(true), |rig| rig.unblock(false));
    let consumed = end.is_none() || end == Some(Commit::Ready);
    assert!(consumed || rig.sema.take(), "model: the event was lost");
    rig.give_up();
    drop(waker);
    assert!(same || first.wakes() == 1, "model: the first waker is handed up, or displaced and woken");
    for task in [first, second] {
        assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
    }
}

/// A parked task gives up while somebody unblocks it: the waker is his or the other's, and an event stays.
fn retract(ready: bool) {
    let rig = Rig::new();
    let (task, waker) = Counted::waker();
    assert!(rig.park(&waker) == Some(Commit::Parked), "model: nothing forbids to park");
    drop(waker);
    let ((), woken) = race(&rig, |rig| drop(rig.sema.retract(&rig.waiters)), move |rig| rig.unblock(ready));
    assert!(task.wakes() == usize::from(woken), "model: a waker that nobody handed up was woken");
    assert!(rig.sema.take() == ready, "model: the next waiter finds the event, and no other");
    rig.give_up();
    assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
}

/// A parked task gives up and another parks in its place: who unblocks has the waker of one of them.
fn retract_and_park(ready: bool) {
    let rig = Rig::new();
    let ((first, first_waker), (second, second_waker)) = (Counted::waker(), Counted::waker());
    assert!(rig.park(&first_waker) == Some(Commit::Parked), "model: nothing forbids to park");
    drop(first_waker);
    let change = |rig: &Rig| {
        drop(rig.sema.retract(&rig.waiters));
        rig.park(&second_waker)
    };
    let (end, _) = race(&rig, change, move |rig| rig.unblock(ready));
    let handed = second.wakes() == 1;
    let consumed = end.is_none() || end == Some(Commit::Ready);
    assert!(consumed || rig.sema.take() == ready, "model: the event was lost");
    assert!(first.wakes() == 0 || !handed, "model: one unblock woke two tasks");
    rig.give_up();
    drop(second_waker);
    for task in [first, second] {
        assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
    }
}

/// A task that has armed changes its mind while an event comes.
fn abort_against_event() {
    let rig = Rig::new();
    let abort = |rig: &Rig| match rig.sema.arm(&rig.waiters) {
        Arm::Armed(armed) => {
            armed.abort().wake();
            false
        }
        found => matches!(found, Arm::Ready),
    };
    let (consumed, woken) = race(&rig, abort, |rig| rig.unblock(true));
    assert!(!woken, "model: nobody was parked");
    assert!(consumed != rig.sema.take(), "model: the event is consumed once");
    rig.give_up();
}
