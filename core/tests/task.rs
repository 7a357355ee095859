//! A task's word, one thread.

use netpoll_core::sched::task::{Action, Completion, PollResult, TaskState};

fn idle() -> TaskState {
    let task = TaskState::new();
    let seen = task.start_poll().expect("nobody has cancelled it");
    assert_eq!(task.finish_poll(seen), PollResult::Idle);
    task
}

#[test]
fn the_first_wake_schedules() {
    let task: TaskState = TaskState::default();
    assert_eq!(task.wake(), Action::Nothing, "it was made queued");
    let seen = task.start_poll().unwrap();
    assert_eq!(task.finish_poll(seen), PollResult::Idle, "one turn answers both");
    assert_eq!([task.wake(), task.wake()], [Action::Schedule, Action::Nothing]);
    let seen = task.start_poll().unwrap();
    assert_eq!(task.wake(), Action::Nothing);
    assert_eq!(task.finish_poll(seen), PollResult::Again);
    let seen = task.start_poll().unwrap();
    assert_eq!(task.finish_poll(seen), PollResult::Idle);
}

#[test]
fn a_cancelled_task_has_no_turn() {
    let task = idle();
    assert_eq!([task.cancel(), task.cancel()], [Action::Schedule, Action::Nothing]);
    assert!(task.start_poll().is_none());
    assert_eq!(task.complete(task.has_handle()), Completion::Kept);
    assert_eq!([task.cancel(), task.wake()], [Action::Nothing, Action::Nothing]);
    assert!(task.is_complete());
    assert_eq!(task.drop_handle(), None);
    assert_eq!(task.drop_complete_handle(), Action::Free);
}

#[test]
fn a_cancelled_turn_is_the_last() {
    let task: TaskState = TaskState::new();
    let seen = task.start_poll().unwrap();
    assert_eq!(task.cancel(), Action::Nothing);
    assert_eq!(task.finish_poll(seen), PollResult::Again);
    assert!(task.start_poll().is_none());
}

#[test]
fn the_last_that_knows_an_idle_task_has_it_dropped() {
    let task = idle();
    assert_eq!(task.drop_handle(), Some(Action::Schedule));
    assert!(task.start_poll().is_none());
    assert_eq!(task.complete(false), Completion::Free);

    let task = idle();
    assert!(task.add_ref() && task.add_ref());
    assert_eq!(task.drop_handle(), Some(Action::Nothing));
    assert_eq!([task.drop_ref(), task.drop_ref()], [Action::Nothing, Action::Schedule]);
    assert!(task.start_poll().is_none());
    assert_eq!(task.complete(false), Completion::Free);
}

#[test]
fn a_forgotten_task_is_dropped_by_its_runner() {
    let task: TaskState = TaskState::new();
    assert!(task.add_ref());
    assert_eq!(task.drop_handle(), Some(Action::Nothing));
    let seen = task.start_poll().unwrap();
    assert_eq!(task.drop_ref(), Action::Nothing);
    assert_eq!(task.finish_poll(seen), PollResult::Orphan);
    assert_eq!(task.complete(false), Completion::Free);
}

#[test]
fn a_waker_goes_with_its_wake() {
    let task = idle();
    assert!(task.add_ref() && task.add_ref());
    assert_eq!([task.wake_by_value(), task.wake_by_value()], [Action::Schedule, Action::Nothing]);
    assert_eq!(task.drop_handle(), Some(Action::Nothing));
    let seen = task.start_poll().unwrap();
    assert_eq!(task.finish_poll(seen), PollResult::Orphan);

    let task = idle();
    assert!(task.add_ref());
    assert_eq!(task.wake(), Action::Schedule);
    assert_eq!(task.drop_handle(), Some(Action::Nothing));
    assert_eq!(task.complete(false), Completion::Kept);
    assert_eq!(task.wake_by_value(), Action::Free, "the last reference of an ended task");
}

#[test]
fn the_joiner_is_told_once_and_keeps_the_memory_meanwhile() {
    let task: TaskState = TaskState::new();
    assert!(
        task.unregister_join_waker()
            && task.register_join_waker()
            && task.unregister_join_waker()
            && task.register_join_waker()
    );
    assert!(task.has_handle());
    assert_eq!(task.complete(true), Completion::JoinWaker);
    assert!(task.is_complete() && !task.unregister_join_waker() && !task.register_join_waker());
    assert_eq!(task.drop_complete_handle(), Action::Nothing);
    assert_eq!(task.drop_ref(), Action::Free);
}

#[test]
fn the_value_of_a_handle_that_goes_is_the_runners() {
    let task: TaskState = TaskState::new();
    assert!(task.has_handle());
    assert_eq!(task.drop_handle(), Some(Action::Nothing));
    assert_eq!(task.complete(true), Completion::HandleGone);
    assert!(!task.is_complete());
    assert_eq!(task.complete(false), Completion::Free);
}

/// Two bits count three wakes; from two on they are as good as more.
#[test]
fn too_many_wakes_are_not_lost() {
    let task: TaskState<2> = TaskState::new();
    assert!(task.add_ref());
    for _ in 0..100 {
        assert_eq!(task.wake(), Action::Nothing);
    }
    let seen = task.start_poll().unwrap();
    assert_eq!(task.finish_poll(seen), PollResult::Again, "one is left for those that were not counted");
    let seen = task.start_poll().unwrap();
    assert_eq!(task.finish_poll(seen), PollResult::Idle);
    assert_eq!(task.drop_ref(), Action::Nothing, "the reference is untouched");
    assert_eq!(task.drop_handle(), Some(Action::Schedule));
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
    assert_eq!(task.wake(), Action::Nothing, "the wakes are counted beside them");
    for _ in 0..1_000_000 {
        assert_eq!(task.drop_ref(), Action::Nothing);
    }
    let seen = task.start_poll().unwrap();
    assert_eq!(task.finish_poll(seen), PollResult::Idle);
}

/// The word of a 32-bit machine, as far as a wider one can have it: four bits of wakes.
#[test]
fn few_bits_of_wakes_lose_none() {
    let task: TaskState<4> = TaskState::new();
    for turns in 1..40 {
        for _ in 0..turns {
            assert_eq!(task.wake(), Action::Nothing);
        }
        let mut rest = PollResult::Again;
        for _ in 0..2 {
            let seen = task.start_poll().unwrap();
            rest = task.finish_poll(seen);
            if rest == PollResult::Idle {
                break;
            }
        }
        assert_eq!(rest, PollResult::Idle, "{turns} wakes are answered by at most two turns");
        assert_eq!(task.wake(), Action::Schedule);
    }
}
