//! A task's word, one thread.

use netpoll_core::task::{Finish, Rest, TaskState, Then};

fn idle() -> TaskState {
    let task = TaskState::new();
    let seen = task.start().expect("nobody has cancelled it");
    assert_eq!(task.rest(seen), Rest::Idle);
    task
}

#[test]
fn the_first_wake_schedules() {
    let task: TaskState = TaskState::default();
    assert_eq!(task.wake(), Then::Nothing, "it was made queued");
    let seen = task.start().unwrap();
    assert_eq!(task.rest(seen), Rest::Idle, "one turn answers both");
    assert_eq!([task.wake(), task.wake()], [Then::Schedule, Then::Nothing]);
    let seen = task.start().unwrap();
    assert_eq!(task.wake(), Then::Nothing);
    assert_eq!(task.rest(seen), Rest::Again);
    let seen = task.start().unwrap();
    assert_eq!(task.rest(seen), Rest::Idle);
}

#[test]
fn a_cancelled_task_has_no_turn() {
    let task = idle();
    assert_eq!([task.cancel(), task.cancel()], [Then::Schedule, Then::Nothing]);
    assert!(task.start().is_none());
    assert_eq!(task.finish(task.has_handle()), Finish::Kept);
    assert_eq!([task.cancel(), task.wake()], [Then::Nothing, Then::Nothing]);
    assert!(task.is_complete());
    assert_eq!(task.drop_handle(), None);
    assert_eq!(task.drop_ended_handle(), Then::Free);
}

#[test]
fn a_cancelled_turn_is_the_last() {
    let task: TaskState = TaskState::new();
    let seen = task.start().unwrap();
    assert_eq!(task.cancel(), Then::Nothing);
    assert_eq!(task.rest(seen), Rest::Again);
    assert!(task.start().is_none());
}

#[test]
fn the_last_that_knows_an_idle_task_has_it_dropped() {
    let task = idle();
    assert_eq!(task.drop_handle(), Some(Then::Schedule));
    assert!(task.start().is_none());
    assert_eq!(task.finish(false), Finish::Free);

    let task = idle();
    assert!(task.add_ref() && task.add_ref());
    assert_eq!(task.drop_handle(), Some(Then::Nothing));
    assert_eq!([task.drop_ref(), task.drop_ref()], [Then::Nothing, Then::Schedule]);
    assert!(task.start().is_none());
    assert_eq!(task.finish(false), Finish::Free);
}

#[test]
fn a_forgotten_task_is_dropped_by_its_runner() {
    let task: TaskState = TaskState::new();
    assert!(task.add_ref());
    assert_eq!(task.drop_handle(), Some(Then::Nothing));
    let seen = task.start().unwrap();
    assert_eq!(task.drop_ref(), Then::Nothing);
    assert_eq!(task.rest(seen), Rest::Orphan);
    assert_eq!(task.finish(false), Finish::Free);
}

#[test]
fn a_waker_goes_with_its_wake() {
    let task = idle();
    assert!(task.add_ref() && task.add_ref());
    assert_eq!([task.wake_by_value(), task.wake_by_value()], [Then::Schedule, Then::Nothing]);
    assert_eq!(task.drop_handle(), Some(Then::Nothing));
    let seen = task.start().unwrap();
    assert_eq!(task.rest(seen), Rest::Orphan);

    let task = idle();
    assert!(task.add_ref());
    assert_eq!(task.wake(), Then::Schedule);
    assert_eq!(task.drop_handle(), Some(Then::Nothing));
    assert_eq!(task.finish(false), Finish::Kept);
    assert_eq!(task.wake_by_value(), Then::Free, "the last reference of an ended task");
}

#[test]
fn the_joiner_is_told_once_and_keeps_the_memory_meanwhile() {
    let task: TaskState = TaskState::new();
    assert!(task.unjoin() && task.join() && task.unjoin() && task.join());
    assert!(task.has_handle());
    assert_eq!(task.finish(true), Finish::Joiner);
    assert!(task.is_complete() && !task.unjoin() && !task.join());
    assert_eq!(task.drop_ended_handle(), Then::Nothing);
    assert_eq!(task.drop_ref(), Then::Free);
}

#[test]
fn the_value_of_a_handle_that_goes_is_the_runners() {
    let task: TaskState = TaskState::new();
    assert!(task.has_handle());
    assert_eq!(task.drop_handle(), Some(Then::Nothing));
    assert_eq!(task.finish(true), Finish::HandleGone);
    assert!(!task.is_complete());
    assert_eq!(task.finish(false), Finish::Free);
}

/// Two bits count three wakes; from two on they are as good as more.
#[test]
fn too_many_wakes_are_not_lost() {
    let task: TaskState<2> = TaskState::new();
    assert!(task.add_ref());
    for _ in 0..100 {
        assert_eq!(task.wake(), Then::Nothing);
    }
    let seen = task.start().unwrap();
    assert_eq!(task.rest(seen), Rest::Again, "one is left for those that were not counted");
    let seen = task.start().unwrap();
    assert_eq!(task.rest(seen), Rest::Idle);
    assert_eq!(task.drop_ref(), Then::Nothing, "the reference is untouched");
    assert_eq!(task.drop_handle(), Some(Then::Schedule));
}

/// So many references would have to be leaked; the caller is told while there is room.
#[test]
fn references_are_bounded() {
    let task: TaskState<{ usize::BITS - 12 }> = TaskState::new();
    let given = (0..300).take_while(|_| task.add_ref()).count();
    assert!((100..200).contains(&given), "{given} of a count of 8 bits");
}

/// A task that waits for very many things at once gives each a waker: on a 32-bit machine too there is room for more than
/// its memory has.
#[test]
fn a_million_references_to_one_task_are_given() {
    let task: TaskState = TaskState::new();
    assert!((0..1_000_000).all(|_| task.add_ref()));
    assert_eq!(task.wake(), Then::Nothing, "the wakes are counted beside them");
    for _ in 0..1_000_000 {
        assert_eq!(task.drop_ref(), Then::Nothing);
    }
    let seen = task.start().unwrap();
    assert_eq!(task.rest(seen), Rest::Idle);
}

/// The word of a 32-bit machine, as far as a wider one can have it: four bits of wakes.
#[test]
fn few_bits_of_wakes_lose_none() {
    let task: TaskState<4> = TaskState::new();
    for turns in 1..40 {
        for _ in 0..turns {
            assert_eq!(task.wake(), Then::Nothing);
        }
        let mut rest = Rest::Again;
        for _ in 0..2 {
            let seen = task.start().unwrap();
            rest = task.rest(seen);
            if rest == Rest::Idle {
                break;
            }
        }
        assert_eq!(rest, Rest::Idle, "{turns} wakes are answered by at most two turns");
        assert_eq!(task.wake(), Then::Schedule);
    }
}
