//! A descriptor's locks with the list of waiting tasks: each task returns, and the number is closed once, at
//! the end.
//!
//! The tasks block here, so a task that is never woken is a deadlock of the model.

use std::sync::Arc;

use super::word::{Plan, Role, Touch, Word};
use crate::models::fd_mutex::Fd;

/// One operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// The task that holds the lock from the start gives it back.
    Unlock,
    /// Waits for the lock, uses number and buffer.
    Read,
    /// Waits for the lock through a notification, uses number and buffer.
    Poll,
    /// Asks for the lock, and leaves if it is not free.
    Leave,
    /// Uses the number without the lock.
    Send,
    Close,
}

use Op::*;

/// The descriptor.
pub struct Locks {
    fd: Arc<Fd>,
    flaw: Option<&'static str>,
}

impl Locks {
    fn step(&self, op: Op) {
        let flawed = |flaw| self.flaw == Some(flaw);
        match op {
            Unlock => self.fd.unlock(),
            Read if flawed("keeps the lock") => {
                self.fd.lock();
            }
            Read => self.fd.read(),
            Poll => self.fd.poll(),
            Leave => self.fd.ask_and_leave(),
            Send if flawed("keeps the reference") => {
                self.fd.word.incref();
            }
            Send => self.fd.send(),
            Close => self.fd.close(),
        }
    }
}

impl Word for Locks {
    const NAME: &'static str = "fd_mutex";
    type Op = Op;
    const ROLES: &'static [Role<Op>] = &[
        Role { name: "holder", ops: &[Unlock], threads: 1 },
        Role { name: "user", ops: &[Read, Poll, Leave, Send], threads: 3 },
        Role { name: "closer", ops: &[Close], threads: 1 },
    ];
    const STARTS: &'static [&'static str] = &["free", "held"];
    const FLAWS: &'static [&'static str] = &["keeps the lock", "keeps the reference"];

    fn new(plan: &Plan<Op>) -> Self {
        let fd = Fd::new();
        assert!(plan.start == "free" || fd.lock(), "model: the lock is free");
        Locks { fd, flaw: plan.flaw }
    }

    fn run(&self, _thread: usize, ops: &[Op]) {
        ops.iter().for_each(|&op| self.step(op));
    }

    fn check(&self, plan: &Plan<Op>) {
        // `Fd` asserts that the number is not closed twice.
        match plan.ops().any(|op| op == Close) {
            true => self.fd.assert_closed(),
            false => self.fd.assert_free(),
        }
    }

    fn touches(_op: Op) -> Touch {
        Touch::ALL
    }

    fn forbids(plan: &Plan<Op>) -> Option<&'static str> {
        if plan.ops().filter(|&op| op == Unlock).count() != usize::from(plan.start == "held") {
            return Some("the lock that is held is given back once");
        }
        if plan.ops().filter(|&op| op == Close).count() > 1 {
            return Some("one closer");
        }
        None
    }
}
