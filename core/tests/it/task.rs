//! A task's word, in one thread.

use netpoll_core::sched::task::{Action, Completion, PollResult, TaskState};

fn idle() -> TaskState {
    let task = TaskState::new();
    let seen = task.start_poll().expect("no thread has canceled it");
    assert_eq!(task.finish_poll(seen), PollResult::Idle);
    task
}

#[test]
fn the_first_wake_schedules() {
    let task: TaskState = TaskState::default();
    assert_eq!(task.wake(), Action::Nothing, "it is queued already");
    let seen = task.start_poll().unwrap();
    assert_eq!(task.finish_poll(seen), PollResult::Idle, "one poll answers both");
    assert_eq!([task.wake(), task.wake()], [Action::Schedule, Action::Nothing]);
    let seen = task.start_poll().unwrap();
    assert_eq!(task.wake(), Action::Nothing);
    assert_eq!(task.finish_poll(seen), PollResult::Again);
    let seen = task.start_poll().unwrap();
    assert_eq!(task.finish_poll(seen), PollResult::Idle);
}

#[test]
fn a_canceled_task_is_not_polled() {
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
fn a_poll_during_which_the_task_is_canceled_is_the_last() {
    let task: TaskState = TaskState::new();
    let seen = task.start_poll().unwrap();
    assert_eq!(task.cancel(), Action::Nothing);
    assert_eq!(task.finish_poll(seen), PollResult::Again);
    assert!(task.start_poll().is_none());
}

#[test]
fn the_last_reference_of_an_idle_task_schedules_its_drop() {
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
fn an_unreferenced_task_is_dropped_by_its_runner() {
    let task: TaskState = TaskState::new();
    assert!(task.add_ref());
    assert_eq!(task.drop_handle(), Some(Action::Nothing));
    let seen = task.start_poll().unwrap();
    assert_eq!(task.drop_ref(), Action::Nothing);
    assert_eq!(task.finish_poll(seen), PollResult::Orphan);
    assert_eq!(task.complete(false), Completion::Free);
}

#[test]
fn wake_by_value_drops_its_reference() {
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
    assert_eq!(task.wake_by_value(), Action::Free, "the last reference of a complete task");
}

#[test]
fn the_join_waker_is_taken_once_and_the_memory_is_kept_meanwhile() {
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
fn the_runner_drops_the_output_of_a_dropped_handle() {
    let task: TaskState = TaskState::new();
    assert!(task.has_handle());
    assert_eq!(task.drop_handle(), Some(Action::Nothing));
    assert_eq!(task.complete(true), Completion::HandleGone);
    assert!(!task.is_complete());
    assert_eq!(task.complete(false), Completion::Free);
}

/// Two bits count three wakes. Counting stops at two.
#[test]
fn too_many_wakes_are_not_lost() {
    let task: TaskState<2> = TaskState::new();
    assert!(task.add_ref());
    for _ in 0..100 {
        assert_eq!(task.wake(), Action::Nothing);
    }
    let seen = task.start_poll().unwrap();
    assert_eq!(task.finish_poll(seen), PollResult::Again, "a wake is left for those that were not counted");
    let seen = task.start_poll().unwrap();
    assert_eq!(task.finish_poll(seen), PollResult::Idle);
    assert_eq!(task.drop_ref(), Action::Nothing, "the reference is still counted");
    assert_eq!(task.drop_handle(), Some(Action::Schedule));
}

/// A caller that leaks many references is refused before the count overflows.
#[test]
fn add_ref_refuses_before_the_count_overflows() {
    let task: TaskState<{ usize::BITS - 12 }> = TaskState::new();
    let given = (0..300).take_while(|_| task.add_ref()).count();
    assert!((100..200).contains(&given), "{given} of a count of 8 bits");
}

/// A task that waits for very many events at once gives each a waker. The count has room for more wakers than
/// the memory of a 32-bit machine.
#[test]
fn a_task_may_have_a_million_references() {
    let task: TaskState = TaskState::new();
    assert!((0..1_000_000).all(|_| task.add_ref()));
    assert_eq!(task.wake(), Action::Nothing, "the wakes are counted beside them");
    for _ in 0..1_000_000 {
        assert_eq!(task.drop_ref(), Action::Nothing);
    }
    let seen = task.start_poll().unwrap();
    assert_eq!(task.finish_poll(seen), PollResult::Idle);
}

/// A word with four bits of wakes, as on a 32-bit machine.
#[test]
fn a_count_of_four_bits_loses_no_wake() {
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
        assert_eq!(rest, PollResult::Idle, "{turns} wakes are answered by at most two polls");
        assert_eq!(task.wake(), Action::Schedule);
    }
}
