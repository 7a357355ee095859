//! A task's word: no wake is lost, one thread at a time has the future, the memory is freed once, by the last
//! thread.

use std::sync::{Arc, Mutex};

use netpoll_core::sched::task::{Action, TaskState};

use super::tasks::locked;
use super::word::{Plan, Role, Word};
use crate::models::task::{self, Future};

/// One operation. A thread that must put the task into a queue runs it at once, since a queue would order
/// more than the word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// The thread that has the task out of its queue polls it, once or several times.
    Run,
    /// Sets the flag and wakes.
    Wake,
    /// Sets the flag and wakes, which consumes the reference.
    WakeByValue,
    AddRef,
    DropRef,
    /// The handle checks whether the task is complete, and leaves its waker if not.
    Join,
    /// The handle takes its waker back.
    Unjoin,
    Cancel,
    DropHandle,
}

use Op::*;

/// A task with its references.
pub struct Cell {
    task: Arc<task::Task>,
    /// The number of references of each thread.
    refs: Mutex<[usize; 3]>,
    handle: Mutex<bool>,
    /// The number of wakes of the handle at its last `Join`, if that left the waker in the slot.
    joined: Mutex<Option<usize>>,
    flaw: Option<&'static str>,
}

impl Cell {
    fn flawed(&self, flaw: &str) -> bool {
        self.flaw == Some(flaw)
    }

    fn state(&self) -> &TaskState<2> {
        &self.task.state
    }

    fn told(&self) -> usize {
        *locked(&self.task.told)
    }

    fn step(&self, thread: usize, op: Op) {
        match op {
            Run => self.task.run(),
            Wake | WakeByValue => self.wake(thread, op),
            AddRef => {
                assert!(self.state().add_ref(), "model: few references");
                locked(&self.refs)[thread] += 1;
            }
            DropRef => {
                locked(&self.refs)[thread] -= 1;
                self.task.drop_ref(thread);
            }
            Join => self.join(),
            Unjoin => {
                if *locked(&self.handle) && self.state().unregister_join_waker() {
                    *locked(&self.joined) = None;
                }
            }
            Cancel => self.task.settle(self.state().cancel()),
            DropHandle => {
                if std::mem::replace(&mut *locked(&self.handle), false) {
                    self.task.drop_handle();
                }
            }
        }
    }

    fn wake(&self, thread: usize, op: Op) {
        if !self.flawed("wakes before it sets the flag") {
            self.task.flag.post();
        }
        let then = if op == Wake {
            self.state().wake()
        } else {
            self.task.used[thread].set(());
            locked(&self.refs)[thread] -= 1;
            self.state().wake_by_value()
        };
        if self.flawed("wakes before it sets the flag") {
            self.task.flag.post();
        }
        if then != Action::Schedule || !self.flawed("drops a task that is to be scheduled") {
            self.task.settle(then);
        }
    }

    fn join(&self) {
        if !*locked(&self.handle) {
            return;
        }
        let told = self.told();
        let ended = self.task.join();
        *locked(&self.handle) = !ended;
        *locked(&self.joined) = (!ended).then_some(told);
    }
}

impl Word for Cell {
    const NAME: &'static str = "task";
    type Op = Op;
    const ROLES: &'static [Role<Op>] = &[
        Role { name: "runner", ops: &[Run], threads: 1 },
        Role { name: "waker", ops: &[Wake, WakeByValue, AddRef, DropRef], threads: 2 },
        Role { name: "handle", ops: &[Join, Unjoin, Cancel, DropHandle], threads: 1 },
    ];
    const STARTS: &'static [&'static str] =
        &["queued", "ending", "idle", "idle-ending", "joined", "joined-idle", "detached", "detached-idle"];
    const FLAWS: &'static [&'static str] =
        &["wakes before it sets the flag", "drops a task that is to be scheduled", "forgets a reference"];

    fn new(plan: &Plan<Op>) -> Self {
        let (idle, start) = (plan.start.contains("idle"), plan.start);
        let refs: [usize; 3] = std::array::from_fn(|thread| {
            let wakes = |op: &Op| matches!(op, Wake | WakeByValue | AddRef | DropRef);
            plan.threads.get(thread).map_or(0, |ops| usize::from(ops.iter().any(wakes)))
        });
        let ends = start.contains("ending") || start.contains("joined");
        let make = if idle { task::Task::idle } else { task::Task::new };
        let cell = Cell {
            task: make(refs.iter().sum(), ends),
            refs: Mutex::new(refs),
            handle: Mutex::new(true),
            joined: Mutex::new(None),
            flaw: plan.flaw,
        };
        if start.contains("joined") {
            cell.join();
        }
        if start.contains("detached") {
            cell.step(0, DropHandle);
        }
        cell
    }

    fn run(&self, thread: usize, ops: &[Op]) {
        ops.iter().for_each(|&op| self.step(thread, op));
    }

    fn check(&self, plan: &Plan<Op>) {
        let woken = plan.ops().any(|op| matches!(op, Wake | WakeByValue));
        let future = self.task.future.get();
        // A queued task that no thread runs has lost no wake.
        let runs = plan.start.contains("idle") || plan.ops().any(|op| op == Run);
        assert!(!woken || !runs || future != Future::Waits, "model: a wake was lost");
        let (joined, told) = (*locked(&self.joined), self.told());
        let ended = self.state().is_complete();
        assert!(joined.is_none_or(|before| !ended || told > before), "model: the handle waits for ever");
        assert!(
            !runs || !plan.ops().any(|op| op == Cancel) || future == Future::Gone,
            "model: the future was not dropped"
        );
        self.step(0, DropHandle);
        for (thread, refs) in locked(&self.refs).iter().enumerate() {
            let refs = refs - usize::from(*refs > 0 && self.flawed("forgets a reference"));
            (0..refs).for_each(|_| self.task.drop_ref(thread));
        }
        if !runs {
            self.task.run();
        }
        self.task.assert_freed();
    }

    fn forbids(plan: &Plan<Op>) -> Option<&'static str> {
        let (idle, detached) = (plan.start.contains("idle"), plan.start.contains("detached"));
        if plan.ops().filter(|&op| op == Run).count() != usize::from(!idle) {
            return Some("a task that is queued is run by one thread, one that is idle by none");
        }
        let of_handle = |op| matches!(op, Join | Unjoin | Cancel | DropHandle);
        if detached && plan.ops().any(of_handle) {
            return Some("there is no handle");
        }
        let wakes = |ops: &Vec<Op>| ops.iter().any(|op| matches!(op, Wake | WakeByValue | AddRef | DropRef));
        if plan.start == "detached-idle" && !plan.threads.iter().any(wakes) {
            return Some("nothing refers to the task");
        }
        for ops in &plan.threads {
            let ends = |op| matches!(op, WakeByValue | DropRef);
            if ops.windows(2).any(|two| ends(two[0]) && wakes(ops)) {
                return Some("the reference is dropped");
            }
            if ops.windows(2).any(|two| two[0] == DropHandle) {
                return Some("the handle is dropped");
            }
        }
        None
    }
}
