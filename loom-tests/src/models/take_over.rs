//! Models of a parking that is taken over. One task has parked through a poll and holds no lock, another arms
//! in the same direction, and an event, a close or a timeout ends the wait in between. In every order the
//! first task is woken once.

use std::sync::Arc;
use std::task::Waker;

use loom::thread;
use netpoll_core::{Mode, Modes, Wait, When};

use super::support::{Counted, Socket, race, race3};
use crate::harness::{Model, green};

/// The models of this file.
pub const MODELS: &[Model] = &[
    green("m04c_take_over_against_close", 2, None, || take_over(Whose::Other, close)),
    green("m04c_take_over_against_past_deadline", 2, None, || take_over(Whose::Other, pass)),
    green("m04c_take_over_against_firing", 2, None, || take_over(Whose::Other, fire)),
    green("m04c_take_over_against_event", 2, None, || take_over(Whose::Other, Socket::arrive)),
    green("m04c_same_waker_against_close", 2, None, || take_over(Whose::Same, close)),
    green("m04c_same_waker_against_firing", 2, None, || take_over(Whose::Same, fire)),
    green("m04c_same_waker_against_event", 2, None, || take_over(Whose::Same, Socket::arrive)),
    green("m04c_second_poll_parks_anew", 1, None, second_poll),
    green("m04c_take_over_against_close_and_event", 3, Some(3), close_and_event),
    green("m04c_take_over_against_retract", 2, None, retract),
    green("m04c_two_take_overs_against_close", 3, Some(3), two_take_overs),
];

/// The owner of the waker that the second task brings.
#[derive(Clone, Copy, PartialEq)]
enum Whose {
    /// The second task itself.
    Other,
    /// The first task: one waker stands for both.
    Same,
}

const DUE: usize = 5;

fn close(socket: &Socket) {
    socket.evict();
}

fn pass(socket: &Socket) {
    let (list, _) =
        socket.desc.set_deadline(Modes::READ, When::Expired).expect("model: the descriptor is open");
    list.wake();
}

fn fire(socket: &Socket) {
    socket.desc.desc().expire(DUE).0.wake();
}

/// Creates a descriptor with a deadline and a parked task.
fn parked() -> (Arc<Socket>, Arc<Counted>, Waker) {
    let socket = Socket::new();
    let set = socket.desc.set_deadline(Modes::READ, When::At(DUE));
    assert!(set.is_ok(), "model: the descriptor is open");
    let (task, waker) = Counted::waker();
    assert!(socket.poll(Mode::Read, &waker) == Wait::Parked, "model: the task may park");
    (socket, task, waker)
}

/// Polls the second task once, which wakes the task that it displaces.
fn poll(socket: &Socket, waker: &Waker) -> Wait {
    loop {
        let (wait, displaced) = socket.desc.wait(Mode::Read, waker);
        displaced.wake();
        if wait != Wait::Again {
            return wait;
        }
        thread::yield_now();
    }
}

fn take_over(whose: Whose, end: fn(&Socket)) {
    let (socket, first, first_waker) = parked();
    let (second, second_waker) = Counted::waker();
    let waker = if whose == Whose::Same { first_waker.clone() } else { second_waker.clone() };
    let (wait, ()) = race(&socket, |socket| poll(socket, &waker), end);
    drop((waker, first_waker, second_waker));
    match whose {
        Whose::Other => {
            assert!(first.wakes() == 1, "model: the first task was woken {} times", first.wakes());
            let woken = usize::from(wait == Wait::Parked);
            assert!(second.wakes() == woken, "model: {wait:?}, then woken {} times", second.wakes());
        }
        Whose::Same => assert!(first.wakes() >= 1, "model: no thread woke the task, {wait:?}"),
    }
    socket.assert_no_waiters();
    assert!(Arc::strong_count(&first) == 1, "model: a waker is left over");
    assert!(Arc::strong_count(&second) == 1, "model: a waker is left over");
}

/// A parked task can be polled again at any time, and another task can take its place.
fn second_poll() {
    let (socket, first, first_waker) = parked();
    let (second, second_waker) = Counted::waker();
    for waker in [&first_waker, &second_waker, &second_waker] {
        let (wait, displaced) = socket.desc.wait(Mode::Read, waker);
        assert!(wait == Wait::Parked, "model: {wait:?} of a task that is polled again");
        displaced.wake();
    }
    close(&socket);
    drop((first_waker, second_waker));
    assert!((first.wakes(), second.wakes()) == (1, 1), "model: each of the two is woken once");
    socket.assert_no_waiters();
    assert!(Arc::strong_count(&first) == 1 && Arc::strong_count(&second) == 1, "model: a waker is left over");
}

fn close_and_event() {
    let (socket, first, waker) = parked();
    drop(waker);
    let (second, second_waker) = Counted::waker();
    let (wait, (), ()) = race3(&socket, |socket| poll(socket, &second_waker), close, Socket::arrive);
    drop(second_waker);
    assert!(first.wakes() == 1, "model: the first task was woken {} times", first.wakes());
    assert!(second.wakes() == usize::from(wait == Wait::Parked), "model: {wait:?} and {}", second.wakes());
    socket.assert_no_waiters();
    assert!(Arc::strong_count(&first) == 1 && Arc::strong_count(&second) == 1, "model: a waker is left over");
}

/// The first task gives up while the second takes its parking over. It may get the other's waker then, and
/// wakes it.
fn retract() {
    let (socket, first, waker) = parked();
    let (second, second_waker) = Counted::waker();
    let give_up = move |socket: &Socket| match socket.desc.retract(Mode::Read) {
        Some(own) if own.will_wake(&waker) => drop(own),
        Some(other) => other.wake(),
        None => {}
    };
    let (wait, ()) = race(&socket, |socket| poll(socket, &second_waker), give_up);
    drop(second_waker);
    assert!(wait == Wait::Parked, "model: {wait:?}, and nothing has happened");
    let asleep = socket.desc.desc().is_parked(Mode::Read);
    assert!(asleep || second.wakes() == 1, "model: the second task is neither parked nor woken");
    assert!(
        socket.desc.parked() == usize::from(asleep),
        "model: the count differs from the number of parked tasks"
    );
    assert!(Arc::strong_count(&first) == 1, "model: a waker is left over");
    socket.retract(Mode::Read);
    assert!(Arc::strong_count(&second) == 1, "model: a waker is left over");
}

/// Two tasks break the rule that one task at a time may arm (INV-2). They may be refused, and no task sleeps
/// for ever.
fn two_take_overs() {
    let (socket, first, waker) = parked();
    drop(waker);
    let ((second, second_waker), (third, third_waker)) = (Counted::waker(), Counted::waker());
    let once = |socket: &Socket, waker: &Waker| {
        let (wait, displaced) = socket.desc.wait(Mode::Read, waker);
        displaced.wake();
        wait
    };
    let other = move |socket: &Socket| once(socket, &third_waker);
    let (wait, other, ()) = race3(&socket, |socket| once(socket, &second_waker), other, close);
    drop(second_waker);
    assert!(first.wakes() == 1, "model: the first task was woken {} times", first.wakes());
    for (task, wait) in [(second, wait), (third, other)] {
        assert!(task.wakes() == usize::from(wait == Wait::Parked), "model: {wait:?} and {}", task.wakes());
        assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
    }
    socket.assert_no_waiters();
}
