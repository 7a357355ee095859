//! Models of `task`: no wake is lost, one thread at a time has the future, and the memory is freed once, by
//! the last thread.
//!
//! A thread that must put the task into a queue runs it here, since a queue would order more than the word
//! does.

use std::sync::{Arc, Mutex};

use netpoll_core::sched::task::{Action, Completion, PollResult, TaskState};

use super::support::{Plain, Posted, race};
use crate::harness::{Model, green};

/// The models of this file.
pub const MODELS: &[Model] = &[
    green("m20_wake_against_poll", 2, None, wake_against_poll),
    green("m20_uncounted_wake_against_poll", 2, None, uncounted_wake_against_poll),
    green("m20_many_wakes", 2, None, many_wakes),
    green("m20_wake_of_the_ended", 2, None, wake_of_the_ended),
    green("m20_wake_against_wake", 2, None, wake_against_wake),
    green("m20_wake_by_value_against_poll", 2, None, wake_by_value_against_poll),
    green("m20_wake_by_value_against_complete", 2, None, wake_by_value_against_complete),
    green("m20_cancel_against_poll", 2, None, cancel_against_poll),
    green("m20_join_against_complete", 2, None, join_against_complete),
    green("m20_join_again_against_complete", 2, None, join_again_against_complete),
    green("m20_drop_handle_against_complete", 2, None, drop_handle_against_complete),
    green("m20_drop_joined_handle_against_complete", 2, None, drop_joined_handle_against_complete),
    green("m20_drop_handle_against_drop_ref", 2, None, drop_handle_against_drop_ref),
    green("m20_drop_handle_against_finish_poll", 2, None, drop_handle_against_finish_poll),
    green("m20_drop_ref_against_drop_ref", 2, None, drop_ref_against_drop_ref),
    green("m20_drop_ref_against_finish_poll", 2, None, drop_ref_against_finish_poll),
    green("m20_drop_ref_against_complete", 2, None, drop_ref_against_complete),
    green("m20_drop_ref_against_complete_handle", 2, None, drop_ref_against_complete_handle),
];

/// The state of the future.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Future {
    Waits,
    SawTheFlag,
    Gone,
}

/// A task's memory with its word.
pub struct Task {
    pub state: TaskState<2>,
    /// The future, touched by the runner.
    pub future: Plain<Future>,
    /// The output, touched by the runner, then by the handle.
    value: Plain<bool>,
    /// The join waker's slot, true if the waker is in it.
    slot: Plain<bool>,
    /// Touched under the references and the handle, and last by the thread that frees the memory.
    pub used: [Plain<()>; 4],
    /// A reason to wake.
    pub flag: Posted,
    /// The future is ready once it sees the flag.
    ends: bool,
    /// The number of wakes of the handle, for the checks only.
    pub told: Mutex<usize>,
    freed: Mutex<usize>,
}

impl Task {
    /// Creates a queued task with a handle and the given number of references.
    pub fn new(references: usize, ends: bool) -> Arc<Self> {
        let task = Self {
            state: TaskState::new(),
            future: Plain::new(Future::Waits),
            value: Plain::new(false),
            slot: Plain::new(false),
            used: std::array::from_fn(|_| Plain::new(())),
            flag: Posted::new(),
            ends,
            told: Mutex::new(0),
            freed: Mutex::new(0),
        };
        (0..references).for_each(|_| assert!(task.state.add_ref()));
        Arc::new(task)
    }

    /// Creates a task as [`Task::new`] does, and polls it once.
    pub fn idle(references: usize, ends: bool) -> Arc<Self> {
        let task = Self::new(references, ends);
        task.run();
        task
    }

    fn detached(task: Arc<Self>) -> Arc<Self> {
        assert_eq!(task.state.drop_handle(), Some(Action::Nothing));
        task
    }

    /// Runs the task until it is idle or complete. For the thread that has it.
    pub fn run(&self) {
        while let Some(seen) = self.state.start_poll() {
            if self.poll() {
                return self.end();
            }
            match self.state.finish_poll(seen) {
                PollResult::Idle => return,
                PollResult::Again => {}
                PollResult::Orphan => break,
            }
        }
        self.end();
    }

    /// Polls the future. Returns whether it is ready.
    fn poll(&self) -> bool {
        let before = self.future.replace(Future::Gone);
        assert_ne!(before, Future::Gone, "two polls at a time, or a poll after the end");
        let saw = before == Future::SawTheFlag || self.flag.is_posted();
        self.future.set(if saw { Future::SawTheFlag } else { Future::Waits });
        saw && self.ends
    }

    fn end(&self) {
        assert_ne!(self.future.replace(Future::Gone), Future::Gone, "it has ended twice");
        let kept = self.state.has_handle();
        if kept {
            self.value.set(true);
        }
        let mut end = self.state.complete(kept);
        if end == Completion::HandleGone {
            self.value.set(false);
            end = self.state.complete(false);
        }
        match end {
            Completion::Kept | Completion::HandleGone => {}
            Completion::Free => self.free(),
            Completion::JoinWaker => {
                assert!(self.slot.replace(false), "the handle waits, but left no waker");
                *self.told.lock().unwrap() += 1;
                self.settle(self.state.drop_ref());
            }
        }
    }

    pub fn settle(&self, then: Action) {
        match then {
            Action::Nothing => {}
            Action::Schedule => self.run(),
            Action::Free => self.free(),
        }
    }

    fn free(&self) {
        assert_eq!(self.future.get(), Future::Gone, "the future is freed before its end");
        assert!(!self.value.replace(false), "the output was not taken");
        self.slot.set(false);
        self.used.iter().for_each(|used| used.set(()));
        *self.freed.lock().unwrap() += 1;
    }

    /// Uses the task under reference `which`, and drops that reference.
    pub fn drop_ref(&self, which: usize) {
        self.used[which].set(());
        self.settle(self.state.drop_ref());
    }

    /// Polls the handle. Returns whether it got the output, which drops the handle.
    pub fn join(&self) -> bool {
        if !self.state.is_complete() && self.state.unregister_join_waker() {
            self.slot.set(true);
            if self.state.register_join_waker() {
                return false;
            }
        }
        assert!(self.value.replace(false), "the task is complete, but there is no output");
        self.settle(self.state.drop_complete_handle());
        true
    }

    pub fn drop_handle(&self) {
        self.used[3].set(());
        match self.state.drop_handle() {
            Some(then) => self.settle(then),
            None => {
                self.value.set(false);
                self.settle(self.state.drop_complete_handle());
            }
        }
    }

    pub fn assert_freed(&self) {
        assert_eq!(*self.freed.lock().unwrap(), 1, "the memory is freed once");
    }
}

/// The wake may come before, during or after the poll: a poll after the wake sees the flag.
fn wake_against_poll() {
    let task = Task::new(1, false);
    let wake = |task: &Task| {
        task.flag.post();
        task.settle(task.state.wake());
    };
    race(&task, Task::run, wake);
    assert_eq!(task.future.get(), Future::SawTheFlag, "a wake was lost");
}

/// The race above for a wake that is not counted any more.
fn uncounted_wake_against_poll() {
    let task = Task::new(1, false);
    let wake = |task: &Task| {
        task.settle(task.state.wake());
        task.flag.post();
        task.settle(task.state.wake());
    };
    race(&task, Task::run, wake);
    assert_eq!(task.future.get(), Future::SawTheFlag, "a wake was lost");
}

/// More wakes than are counted, while no thread runs it.
fn many_wakes() {
    let task = Task::detached(Task::new(1, true));
    (0..5).for_each(|_| assert_eq!(task.state.wake(), Action::Nothing, "it is queued already"));
    let end = |task: &Task| {
        task.flag.post();
        task.run();
    };
    race(&task, end, |task| task.drop_ref(0));
    task.assert_freed();
}

/// A wake of a task that may have ended meanwhile.
fn wake_of_the_ended() {
    let task = Task::new(1, true);
    task.flag.post();
    race(&task, Task::run, |task| task.settle(task.state.wake()));
    assert_eq!(task.future.get(), Future::Gone);
}

/// Two threads wake an idle task: one at a time runs it.
fn wake_against_wake() {
    let task = Task::idle(2, false);
    let wake = |task: &Task| {
        task.flag.post();
        task.settle(task.state.wake());
    };
    race(&task, wake, wake);
    assert_eq!(task.future.get(), Future::SawTheFlag, "a wake was lost");
}

/// The wake consumes its reference, which is the last use of the task.
fn wake_by_value_against_poll() {
    let task = Task::detached(Task::new(1, false));
    let wake = |task: &Task| {
        task.flag.post();
        task.used[0].set(());
        task.settle(task.state.wake_by_value());
    };
    race(&task, Task::run, wake);
    task.assert_freed();
}

/// A wake by value against the end of the task.
fn wake_by_value_against_complete() {
    let task = Task::detached(Task::new(1, true));
    task.flag.post();
    let wake = |task: &Task| {
        task.used[0].set(());
        task.settle(task.state.wake_by_value());
    };
    race(&task, Task::run, wake);
    task.assert_freed();
}

/// A canceled future is dropped by the thread that has the task.
fn cancel_against_poll() {
    let task = Task::new(0, false);
    race(&task, Task::run, |task| task.settle(task.state.cancel()));
    assert_eq!(task.future.get(), Future::Gone, "the future was not dropped");
    assert!(task.state.is_complete());
}

/// The handle finds the task complete, or is woken.
fn join_against_complete() {
    let task = Task::new(0, true);
    task.flag.post();
    let ((), joined) = race(&task, Task::run, Task::join);
    assert!(joined || *task.told.lock().unwrap() == 1, "the handle waits for ever");
    assert!(joined || task.join());
    task.assert_freed();
}

/// The handle changes its waker.
fn join_again_against_complete() {
    let task = Task::new(0, true);
    task.flag.post();
    assert!(!task.join());
    let ((), joined) = race(&task, Task::run, Task::join);
    assert!(joined || *task.told.lock().unwrap() == 1, "the handle waits for ever");
    assert!(joined || task.join());
    task.assert_freed();
}

/// The runner or the handle drops the output.
fn drop_handle_against_complete() {
    let task = Task::new(0, true);
    task.flag.post();
    race(&task, Task::run, Task::drop_handle);
    task.assert_freed();
}

/// The race above with a waker in the slot.
fn drop_joined_handle_against_complete() {
    let task = Task::new(0, true);
    task.flag.post();
    assert!(!task.join());
    race(&task, Task::run, Task::drop_handle);
    task.assert_freed();
}

/// The handle and the last reference of an idle task are dropped: one of the threads drops the task.
fn drop_handle_against_drop_ref() {
    let task = Task::idle(1, false);
    race(&task, Task::drop_handle, |task| task.drop_ref(0));
    task.assert_freed();
}

/// The handle is the last that could wake the task, which is about to finish its poll.
fn drop_handle_against_finish_poll() {
    let task = Task::new(0, false);
    race(&task, Task::run, Task::drop_handle);
    task.assert_freed();
}

/// The race above with two references.
fn drop_ref_against_drop_ref() {
    let task = Task::detached(Task::idle(2, false));
    race(&task, |task| task.drop_ref(0), |task| task.drop_ref(1));
    task.assert_freed();
}

/// The reference is the last that could wake the task, which is about to finish its poll.
fn drop_ref_against_finish_poll() {
    let task = Task::detached(Task::new(1, false));
    race(&task, Task::run, |task| task.drop_ref(0));
    task.assert_freed();
}

/// The last reference is dropped while the task ends.
fn drop_ref_against_complete() {
    let task = Task::detached(Task::new(1, true));
    task.flag.post();
    race(&task, Task::run, |task| task.drop_ref(0));
    task.assert_freed();
}

/// The task is complete, and the last thread frees the memory.
fn drop_ref_against_complete_handle() {
    let task = Task::new(1, true);
    task.flag.post();
    task.run();
    race(&task, Task::drop_handle, |task| task.drop_ref(0));
    task.assert_freed();
}
