//! Every arrow of the diagram in `sema.rs`, in one thread. (Only a second thread sees BUSY: see
//! `loom-tests`.)

use std::task::Waker;

use netpoll_core::poll::sema::{Arm, Armed, Commit, ParkedTask, Sema, Unblock};

use crate::common::Task;

/// A semaphore with the 24 bits of a 32-bit target.
type S = Sema;

fn arm(sema: &S) -> Armed<'_> {
    match sema.arm() {
        Arm::Armed(armed) => armed,
        other => panic!("no right to park, but {other:?}"),
    }
}

fn park(sema: &S, waker: &Waker) -> Option<Waker> {
    let (end, displaced) = arm(sema).commit(waker);
    assert_eq!(end, Commit::Parked);
    assert!(sema.is_parked());
    displaced.into_waker()
}

fn woken(unblock: Unblock) -> Waker {
    match unblock {
        Unblock::Woke(waker) => waker,
        other => panic!("a task was parked: {other:?}"),
    }
}

/// Asserts NIL: no readiness to take, and a right to park that can be given up.
fn assert_nil(sema: &S) {
    assert!(!sema.take() && !sema.is_parked());
    assert!(arm(sema).abort().is_none());
    assert_eq!(usize::from(sema.is_parked()), 0);
}

#[test]
fn arrows_1_and_2_a_readiness_is_left_and_taken_once() {
    let sema = S::new();
    assert!(matches!(sema.unblock(0, true), Unblock::Nobody));
    assert!(matches!(sema.unblock(0, true), Unblock::Nobody), "readiness does not add up");
    assert!(sema.take());
    assert_nil(&sema);
}

#[test]
fn arrow_4_a_readiness_is_consumed_by_arm() {
    let sema = S::new();
    assert!(matches!(sema.unblock(0, true), Unblock::Nobody));
    assert!(matches!(sema.arm(), Arm::Ready));
    assert_nil(&sema);
}

#[test]
fn a_close_leaves_a_readiness_alone() {
    let sema = S::new();
    assert!(matches!(sema.unblock(0, true), Unblock::Nobody));
    assert!(matches!(sema.unblock(0, false), Unblock::Nobody));
    assert!(sema.take());
    assert!(matches!(sema.unblock(0, false), Unblock::Nobody));
    assert!(!sema.take());
}

#[test]
fn arrow_3_only_one_may_be_between_arm_and_its_end() {
    let sema = S::new();
    let armed = arm(&sema);
    assert!(matches!(sema.arm(), Arm::Double));
    assert!(!sema.is_parked());
    drop(armed);
    assert_nil(&sema);
}

#[test]
fn arrow_5_a_close_before_the_commit_is_noticed_by_it() {
    let sema = S::new();
    let (task, waker) = Task::new();
    let armed = arm(&sema);
    assert!(matches!(sema.unblock(0, false), Unblock::Nobody));
    let (end, displaced) = armed.commit(&waker);
    assert_eq!(end, Commit::Unblocked);
    assert!(displaced.is_none());
    assert_eq!(task.wakers(), 1, "the slot keeps no waker of a task that does not sleep");
    assert_nil(&sema);
}

#[test]
fn arrow_6_an_event_before_the_commit_is_consumed_by_it() {
    let sema = S::new();
    let (task, waker) = Task::new();
    let armed = arm(&sema);
    assert!(matches!(sema.unblock(0, true), Unblock::Nobody));
    assert_eq!(armed.commit(&waker).0, Commit::Ready);
    assert_eq!((task.wakers(), task.wakes()), (1, 0));
    assert_nil(&sema);
}

#[test]
fn arrow_6_an_event_before_the_abort_stays() {
    let sema = S::new();
    let armed = arm(&sema);
    assert!(matches!(sema.unblock(0, true), Unblock::Nobody));
    assert!(armed.abort().is_none());
    assert!(sema.take());
    assert_nil(&sema);
}

#[test]
fn arrows_7_and_8_a_close_takes_the_waker_and_leaves_nothing() {
    let sema = S::new();
    let (task, waker) = Task::new();
    assert!(park(&sema, &waker).is_none());
    assert_eq!((usize::from(sema.is_parked()), task.wakers()), (1, 2));

    let out = woken(sema.unblock(0, false));
    assert!(out.will_wake(&waker) && task.wakes() == 0, "core wakes no task");
    assert!(matches!(sema.unblock(0, false), Unblock::Nobody));
    assert!(!sema.is_parked());
    out.wake();
    assert_eq!((task.wakes(), task.wakers()), (1, 1));
    assert_nil(&sema);
}

#[test]
fn arrow_9_an_event_takes_the_waker_and_leaves_a_readiness() {
    let sema = S::new();
    let (task, waker) = Task::new();
    assert!(park(&sema, &waker).is_none());
    drop(woken(sema.unblock(0, true)));
    assert_eq!((task.wakers(), task.wakes()), (1, 0));
    assert!(sema.take());
    assert_nil(&sema);
}

#[test]
fn arrow_10_a_second_poll_keeps_the_waker() {
    let sema = S::new();
    let (task, waker) = Task::new();
    assert!(park(&sema, &waker).is_none());
    for _ in 0..3 {
        assert!(park(&sema, &waker.clone()).is_none());
        assert_eq!((usize::from(sema.is_parked()), task.wakers()), (1, 2), "one parking, one waker");
    }
    drop(sema.retract().expect("no thread has taken it"));
    assert_eq!(task.wakers(), 1);
    assert_nil(&sema);
}

#[test]
fn arrow_10_a_takeover_returns_the_displaced_waker() {
    let sema = S::new();
    let ((first, first_waker), (second, second_waker)) = (Task::new(), Task::new());
    assert!(park(&sema, &first_waker).is_none());
    let displaced = park(&sema, &second_waker).expect("the first task's waker was in the slot");
    assert!(displaced.will_wake(&first_waker));
    drop(displaced);
    assert_eq!((usize::from(sema.is_parked()), first.wakers(), second.wakers()), (1, 1, 2));
    assert!(woken(sema.unblock(0, true)).will_wake(&second_waker));
    assert_eq!((first.wakes(), second.wakes(), second.wakers()), (0, 0, 1));
}

#[test]
fn an_aborted_takeover_returns_the_displaced_waker() {
    let sema = S::new();
    let (task, waker) = Task::new();
    assert!(park(&sema, &waker).is_none());
    let armed = arm(&sema);
    assert!(matches!(sema.unblock(0, false), Unblock::Nobody), "a close in between finds WAIT");
    let displaced =
        armed.abort().into_waker().expect("the task that took the parking over wakes the first task");
    assert!(displaced.will_wake(&waker));
    drop(displaced);
    assert_eq!((usize::from(sema.is_parked()), task.wakers(), task.wakes()), (0, 1, 0));
    assert_nil(&sema);
}

#[test]
fn a_takeover_that_is_dropped_wakes_the_displaced_task() {
    let sema = S::new();
    let (task, waker) = Task::new();
    assert!(park(&sema, &waker).is_none());
    drop(arm(&sema));
    assert_eq!((usize::from(sema.is_parked()), task.wakers(), task.wakes()), (0, 1, 1));
    assert_nil(&sema);
}

/// The waker in the slot may be that of other waits than the one that polls now.
#[test]
fn a_takeover_with_the_same_waker_returns_it_if_it_does_not_park() {
    for ready in [true, false] {
        let sema = S::new();
        let (task, waker) = Task::new();
        assert!(park(&sema, &waker).is_none());
        let armed = arm(&sema);
        assert!(matches!(sema.unblock(0, ready), Unblock::Nobody));
        let (end, displaced) = armed.commit(&waker);
        assert_eq!(end, if ready { Commit::Ready } else { Commit::Unblocked });
        assert!(!displaced.is_none(), "the wait of the parking that was taken over is ended too");
        displaced.wake();
        assert_eq!((usize::from(sema.is_parked()), task.wakers(), task.wakes()), (0, 1, 1));
        assert_nil(&sema);
    }
}

#[test]
fn an_event_during_a_takeover_is_consumed_and_counted_once() {
    let sema = S::new();
    let ((first, first_waker), (second, second_waker)) = (Task::new(), Task::new());
    assert!(park(&sema, &first_waker).is_none());
    let armed = arm(&sema);
    assert!(matches!(sema.unblock(0, true), Unblock::Nobody));
    let (end, displaced) = armed.commit(&second_waker);
    assert_eq!(end, Commit::Ready);
    assert!(displaced.into_waker().is_some_and(|displaced| displaced.will_wake(&first_waker)));
    assert_eq!((usize::from(sema.is_parked()), first.wakers(), second.wakers()), (0, 1, 1));
    assert_nil(&sema);
}

#[test]
fn a_dropped_future_takes_its_waker_back_and_leaves_a_readiness() {
    let sema = S::new();
    let (task, waker) = Task::new();
    assert!(sema.retract().is_none());
    assert_nil(&sema);

    assert!(park(&sema, &waker).is_none());
    drop(woken(sema.unblock(0, true)));
    assert!(sema.retract().is_none());
    assert!(sema.take(), "the readiness is for the next waiter");
    assert_eq!((task.wakers(), task.wakes(), usize::from(sema.is_parked())), (1, 0, 0));
}

#[test]
fn a_stale_event_wakes_no_task() {
    let sema = S::new();
    let (task, waker) = Task::new();
    let Arm::Armed(armed) = sema.arm() else { panic!("no other task arms") };
    assert_eq!(armed.commit(&waker).0, Commit::Parked);
    for fdseq in [1, 2, 3, 1 << 16, u32::MAX] {
        assert!(matches!(sema.unblock(fdseq, true), Unblock::Stale));
        assert!(matches!(sema.unblock(fdseq, false), Unblock::Stale));
    }
    assert!(sema.is_parked());
    assert_eq!((task.wakes(), task.wakers(), usize::from(sema.is_parked())), (0, 2, 1));
    assert!(sema.retract().is_some());
}

/// The waker in the slot is dropped with the semaphore.
#[test]
fn dropping_a_semaphore_drops_its_waker() {
    let (task, waker) = Task::new();
    let sema = S::new();
    assert!(park(&sema, &waker).is_none());
    drop(sema);
    assert_eq!(task.wakers(), 1);
}

#[test]
fn a_parked_task_is_recognized_until_another_one_arms() {
    let (sema, parked) = (S::new(), ParkedTask::new());
    let ((_first, first_waker), (_second, second_waker)) = (Task::new(), Task::new());
    assert!(!sema.is_parked_as(&parked, 0) && !sema.is_parked_as(&parked, 1));
    let (end, displaced) = arm(&sema).commit_named(&first_waker, &parked, 1);
    assert!(end == Commit::Parked && displaced.is_none());
    assert!(sema.is_parked() && sema.is_parked_as(&parked, 1) && !sema.is_parked_as(&parked, 2));

    // A readiness or a close ends it.
    for ready in [true, false] {
        assert!(woken(sema.unblock(0, ready)).will_wake(&first_waker));
        assert!(!sema.is_parked_as(&parked, 1));
        sema.take();
        let (end, _) = arm(&sema).commit_named(&first_waker, &parked, 1);
        assert!(end == Commit::Parked && sema.is_parked_as(&parked, 1));
    }

    // A task without a number takes the parking over.
    assert!(park(&sema, &second_waker).is_some());
    assert!(!sema.is_parked_as(&parked, 1));

    // A number is left although an event has come between, and the next parking has none.
    let armed = arm(&sema);
    assert!(matches!(sema.unblock(0, true), Unblock::Nobody));
    assert_eq!(armed.commit_named(&first_waker, &parked, 1).0, Commit::Ready);
    assert!(!sema.is_parked_as(&parked, 1));
    assert!(park(&sema, &second_waker).is_none());
    assert!(!sema.is_parked_as(&parked, 1));
    drop(sema.retract());
    assert_nil(&sema);
}
