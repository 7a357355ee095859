//! The conditions on a descriptor after all threads have been joined.

use netpoll_core::{Mode, When};

use super::Op;
use super::world::{Heir, World};
use crate::generated::tasks::{Task, locked};
use crate::generated::word::Plan;

impl World {
    pub fn check(&self, plan: &Plan<Op>) {
        self.settle();
        self.sleepers_have_reason(plan);
        self.wakers_are_where_they_belong();
        self.timer_is_armed();
        self.heirs_are_undisturbed(plan);
        self.end();
    }

    /// Runs the tasks that have been woken, as an executor does. A few rounds only, since two tasks that poll
    /// without a lock displace each other for ever.
    fn settle(&self) {
        for _ in 0..3 {
            for (task, op) in [
                (&self.waiter, Op::Wait),
                (&self.poller, Op::Poll),
                (&self.rival, Op::Rival),
                (&self.writer, Op::Write),
            ] {
                if self.is_owned() && task.is_runnable() {
                    self.step(op);
                }
            }
        }
        locked(&self.heirs)
            .iter()
            .filter(|heir| heir.task.is_runnable() && heir.task.wakes() == 0)
            .for_each(Heir::poll);
    }

    /// Returns whether the first owner still has the descriptor.
    fn is_owned(&self) -> bool {
        locked(&self.owner).is_some()
    }

    /// Asserts that no task sleeps whose wait should have ended.
    fn sleepers_have_reason(&self, plan: &Plan<Op>) {
        let asleep = |task: &&Task| task.sleeps();
        for task in self.tasks().into_iter().filter(asleep) {
            let name = task.name;
            assert!(self.is_owned(), "model: {name} sleeps on a descriptor that was freed");
            let desc = self.desc();
            assert!(!desc.info().closing(), "model: {name} sleeps on a descriptor that is closed");
            let mode = if std::ptr::eq(task, &self.writer) { Mode::Write } else { Mode::Read };
            assert!(desc.deadline(mode) != When::Expired, "model: {name} sleeps past its deadline");
            let (seen, arrived) = (self.seen(task, plan), self.messages());
            assert!(seen == arrived, "model: {name} sleeps, has seen {seen} messages, and {arrived} arrived");
            assert!(task.live() == 1, "model: {name} sleeps, and its waker is lost");
        }
    }

    /// Returns how many messages the task has seen. If two threads wait in one direction without its lock,
    /// one may consume the readiness of a message and read it in place of the other.
    fn seen(&self, task: &Task, plan: &Plan<Op>) -> usize {
        let rivals = |ops: &&Vec<Op>| ops.contains(&Op::Rival);
        let others = |ops: &&Vec<Op>| ops.iter().any(|op| op.takes_lock());
        let (rival, other) = (plan.threads.iter().position(|ops| rivals(&ops)), plan.threads.iter());
        let contended = rival.is_some_and(|i| other.enumerate().any(|(j, ops)| i != j && others(&ops)));
        if !contended || std::ptr::eq(task, &self.writer) {
            return task.seen();
        }
        let readers = [&self.poller, &self.rival, &self.waiter, &self.looker];
        readers.map(Task::seen).into_iter().max().unwrap_or_default()
    }

    /// Asserts that each waker that was put in and not taken out is in the slot of a parking.
    fn wakers_are_where_they_belong(&self) {
        let parked = [Mode::Read, Mode::Write].map(|mode| usize::from(self.desc().is_parked(mode)));
        let heirs: usize = locked(&self.heirs).iter().map(|heir| heir.task.live()).sum();
        let reading = self.poller.live() + self.rival.live() + self.waiter.live() + heirs;
        let live = [reading, self.writer.live()];
        assert!(live == parked, "model: {live:?} wakers are left in the slots of {parked:?} parkings");
    }

    /// Asserts that a deadline in force has a timer that is early enough.
    fn timer_is_armed(&self) {
        let entry = *self.wheel.lock().expect("no model panics in the wheel");
        for mode in [Mode::Read, Mode::Write] {
            if let (When::At(at), true, false) =
                (self.desc().deadline(mode), self.is_owned(), self.desc().info().closing())
            {
                assert!(entry.is_some_and(|entry| entry <= at), "model: due at {at}, the timer at {entry:?}");
            }
        }
    }

    /// Asserts that no call with the first owner's key has changed the next owner's state.
    fn heirs_are_undisturbed(&self, plan: &Plan<Op>) {
        for Heir { owner, task } in locked(&self.heirs).iter() {
            let (desc, threads) = (owner.desc(), &plan.threads);
            assert!(task.sleeps(), "model: the next owner's task was woken by {threads:?}");
            assert!(task.live() == 1, "model: the waker of the next owner's task is lost");
            let info = desc.info();
            assert!(!info.closing(), "model: the next owner was closed by {threads:?}");
            assert!(!info.may_have_more(), "model: the next owner has the peer's state of {threads:?}");
            let deadline = desc.deadline(Mode::Read);
            assert!(deadline == When::Never, "model: the next owner has a deadline of {threads:?}");
        }
    }

    /// Frees the slot, and asserts that it can be allocated once and that no waker is left.
    fn end(&self) {
        drop(locked(&self.owner).take());
        let heirs: Vec<Task> = locked(&self.heirs).drain(..).map(|heir| heir.task).collect();
        for task in self.tasks().into_iter().chain(&heirs) {
            let (sleeps, live, name) = (task.sleeps(), task.live(), task.name);
            assert!(!sleeps && live == 0, "model: {name} is left with {live} wakers, asleep: {sleeps}");
        }
        let counted = self.pool.cache().parked();
        assert!(counted == 0, "model: {counted} tasks are still parked");
        let owner = self.alloc();
        assert!(owner.is_some(), "model: the slot is lost");
        assert!(self.pool.alloc().is_none(), "model: the slot was allocated twice");
    }
}
