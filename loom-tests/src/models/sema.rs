//! Models of `sema`: the owner of the waker slot, and the memory that a readiness orders.

use std::sync::Arc;
use std::task::Waker;

use loom::thread;
use netpoll_core::poll::sema::{Arm, Commit, Sema, Unblock};

use super::support::{Counted, Plain, race, race3};
use crate::harness::{Model, green};

/// The models of this file.
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
    green("m04b_readiness_taken_from_a_busy_winner", 2, None, taken_from_winner),
    green("m04b_two_polls_against_event_and_close", 3, Some(3), two_polls),
    green("m08_retract_against_event_keeps_it", 2, None, || retract(true)),
    green("m08_retract_against_close", 2, None, || retract(false)),
    green("m08_retract_and_park_against_event", 2, None, || retract_and_park(true)),
    green("m08_retract_and_park_against_close", 2, None, || retract_and_park(false)),
    green("m08_abort_against_event_keeps_it", 2, None, abort_against_event),
];

/// A semaphore, and plain data that an event brings.
struct Parking {
    sema: Sema,
    payload: Plain<usize>,
}

impl Parking {
    fn new() -> Arc<Parking> {
        Arc::new(Parking { sema: Sema::new(), payload: Plain::new(0) })
    }

    /// Creates a semaphore with a parked task.
    fn parked() -> Arc<Parking> {
        let parking = Parking::new();
        assert!(parking.poll() == Some(Commit::Parked), "model: the task may park");
        parking
    }

    /// Polls once. Returns `None` if BUSY was set or there was a readiness.
    fn poll(&self) -> Option<Commit> {
        match self.sema.arm() {
            Arm::Armed(armed) => Some(armed.commit(Waker::noop()).0),
            Arm::Ready | Arm::Busy => None,
            Arm::Double => panic!("model: two tasks between arm and its end"),
        }
    }

    /// Polls until BUSY is clear. Returns `None` if there was a readiness.
    fn park(&self, waker: &Waker) -> Option<Commit> {
        loop {
            match self.sema.arm() {
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

    /// Unblocks, wakes, and lowers the count. Returns whether a task was parked.
    fn unblock(&self, ready: bool) -> bool {
        match self.sema.unblock(0, ready) {
            Unblock::Stale => panic!("model: the event is of this generation"),
            Unblock::Nobody => false,
            Unblock::Woke(waker) => {
                waker.wake();
                true
            }
        }
    }

    /// Asserts that no thread owns the slot any more: a task can park, and give up.
    fn assert_free(&self) {
        self.sema.take();
        assert!(self.poll() == Some(Commit::Parked), "model: BUSY is left");
        self.give_up();
    }

    /// Ends a model: asserts that no task is parked.
    fn give_up(&self) {
        drop(self.sema.retract());
        assert!(!self.sema.is_parked(), "model: a task is still parked");
        assert!(!self.sema.is_parked(), "model: the task has given up and is parked");
    }
}

/// Writes a payload and unblocks. Nothing else orders the threads: no lock of a kernel and no wake.
fn payload(consume: fn(&Parking) -> bool) {
    let parking = Parking::new();
    race(
        &parking,
        |parking| {
            if consume(parking) {
                assert!(parking.payload.get() == 1, "model: a readiness without the data that it stands for");
            }
        },
        |parking| {
            parking.payload.set(1);
            parking.unblock(true)
        },
    );
    parking.give_up();
}

fn payload_through_take() {
    payload(|parking| parking.sema.take());
}

fn payload_through_arm() {
    payload(|parking| match parking.sema.arm() {
        Arm::Ready => true,
        Arm::Armed(armed) => {
            armed.abort().wake();
            false
        }
        Arm::Busy | Arm::Double => panic!("model: no other task arms"),
    });
}

fn payload_through_commit() {
    payload(|parking| match parking.sema.arm() {
        Arm::Armed(armed) => armed.commit(Waker::noop()).0 == Commit::Ready,
        _ => false,
    });
}

/// A task is parked, and an event and a close race: one of them gets the waker.
fn event_against_close() {
    let parking = Parking::new();
    let (task, waker) = Counted::waker();
    assert!(parking.park(&waker) == Some(Commit::Parked), "model: the task may park");
    drop(waker);
    let (event, close) = race(&parking, |parking| parking.unblock(true), |parking| parking.unblock(false));
    assert!(event != close && task.wakes() == 1, "model: one of two takes the waker");
    assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
    assert!(parking.sema.take(), "model: the event was lost");
    parking.give_up();
}

/// An event and a close race while the task parks: at most one gets the waker, and the event is not lost.
fn event_against_close_and_park() {
    let parking = Parking::new();
    let (task, waker) = Counted::waker();
    let park = |parking: &Parking| parking.park(&waker);
    let (end, event, close) =
        race3(&parking, park, |parking| parking.unblock(true), |parking| parking.unblock(false));
    let woken = usize::from(event) + usize::from(close);
    assert!(woken <= usize::from(end == Some(Commit::Parked)), "model: {woken} wakers are taken");
    let consumed = end.is_none() || end == Some(Commit::Ready);
    assert!(consumed || parking.sema.take(), "model: the event was lost");
    parking.give_up();
    drop(waker);
    assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
}

/// A task parks and is polled again with another waker although nothing woke it. The unblock beside it may be
/// anywhere between its compare-exchange and the clearing of BUSY.
fn second_poll(ready: bool) {
    let parking = Parking::new();
    let ((first, first_waker), (second, second_waker)) = (Counted::waker(), Counted::waker());
    let polls = |parking: &Parking| {
        let ends = [first_waker, second_waker].map(|waker| parking.park(&waker));
        ends.iter().filter(|end| end.is_none() || **end == Some(Commit::Ready)).count()
    };
    let (mut consumed, _) = race(&parking, polls, move |parking| parking.unblock(ready));
    consumed += usize::from(parking.sema.take());
    assert!(consumed == usize::from(ready), "model: {consumed} readinesses of one event or none");
    parking.give_up();
    for task in [first, second] {
        assert!(task.wakes() <= 1, "model: a task is woken once or displaced once");
        assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
    }
}

/// A second poll, with the waker of the first poll or another, between an event and a close.
fn second_poll_against_two(same: bool) {
    let parking = Parking::new();
    let ((first, first_waker), (second, second_waker)) = (Counted::waker(), Counted::waker());
    assert!(parking.park(&first_waker) == Some(Commit::Parked), "model: the task may park");
    let (waker, other) = if same { (first_waker, second_waker) } else { (second_waker, first_waker) };
    drop(other);
    let poll = |parking: &Parking| parking.park(&waker);
    let (end, ..) = race3(&parking, poll, |parking| parking.unblock(true), |parking| parking.unblock(false));
    let consumed = end.is_none() || end == Some(Commit::Ready);
    assert!(consumed || parking.sema.take(), "model: the event was lost");
    parking.give_up();
    drop(waker);
    assert!(same || first.wakes() == 1, "model: the first waker is returned, or displaced and woken");
    for task in [first, second] {
        assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
    }
}

/// A parked task gives up while another thread unblocks it: one of them gets the waker, and an event stays.
fn retract(ready: bool) {
    let parking = Parking::new();
    let (task, waker) = Counted::waker();
    assert!(parking.park(&waker) == Some(Commit::Parked), "model: the task may park");
    drop(waker);
    let ((), woken) =
        race(&parking, |parking| drop(parking.sema.retract()), move |parking| parking.unblock(ready));
    assert!(task.wakes() == usize::from(woken), "model: a waker was woken that no unblock returned");
    assert!(parking.sema.take() == ready, "model: the next waiter finds the event, and no other");
    parking.give_up();
    assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
}

/// A parked task gives up and another parks in its place: the unblock gets the waker of one of them.
fn retract_and_park(ready: bool) {
    let parking = Parking::new();
    let ((first, first_waker), (second, second_waker)) = (Counted::waker(), Counted::waker());
    assert!(parking.park(&first_waker) == Some(Commit::Parked), "model: the task may park");
    drop(first_waker);
    let change = |parking: &Parking| {
        drop(parking.sema.retract());
        parking.park(&second_waker)
    };
    let (end, _) = race(&parking, change, move |parking| parking.unblock(ready));
    let handed = second.wakes() == 1;
    let consumed = end.is_none() || end == Some(Commit::Ready);
    assert!(consumed || parking.sema.take() == ready, "model: the event was lost");
    assert!(first.wakes() == 0 || !handed, "model: one unblock woke two tasks");
    parking.give_up();
    drop(second_waker);
    for task in [first, second] {
        assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
    }
}

/// A task that has armed aborts while an event comes.
fn abort_against_event() {
    let parking = Parking::new();
    let abort = |parking: &Parking| match parking.sema.arm() {
        Arm::Armed(armed) => {
            armed.abort().wake();
            false
        }
        found => matches!(found, Arm::Ready),
    };
    let (consumed, woken) = race(&parking, abort, |parking| parking.unblock(true));
    assert!(!woken, "model: no task was parked");
    assert!(consumed != parking.sema.take(), "model: the event is consumed once");
    parking.give_up();
}

/// A readiness is consumed while the unblock still owns the slot: BUSY stays until the unblock clears it, and
/// no longer.
fn taken_from_winner() {
    let parking = Parking::parked();
    race(&parking, |parking| parking.sema.take(), |parking| parking.unblock(true));
    parking.assert_free();
}

/// The slot has no other writer while an unblock owns it, although the word has changed since.
fn two_polls() {
    let parking = Parking::parked();
    let polls = |parking: &Parking| [parking.poll(), parking.poll()];
    race3(&parking, polls, |parking| parking.unblock(true), |parking| parking.unblock(false));
    parking.assert_free();
}
