//! The lock of the poller: one thread has it, and returns from the kernel in time for a timer, a stop or
//! another thread.

use std::sync::Mutex;

use netpoll_core::sched::poller_lock::PollerLock;
use netpoll_core::sync::Flag;

use super::tasks::locked;
use super::word::{Plan, Role, Touch, Word};
use crate::models::support::Plain;

/// The ticks of the timers: one that is in the wheel from the start, and two that are inserted.
const LATE: usize = 10;
const EARLY: usize = 5;
const EARLIER: usize = 3;

/// One operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Locks the poller if it is free, polls without blocking, unlocks it.
    Look,
    /// Locks the poller if it is free, and blocks until the next timer.
    Block,
    /// Locks the poller if it is free, and blocks without limit, unless it sees a timer or is told to stop.
    BlockForEver,
    /// Returns from the kernel, and unlocks the poller.
    Return,
    /// Inserts the timer at `EARLY`.
    Early,
    /// Inserts the timer at `EARLIER`.
    Earlier,
    /// Tells every worker to stop.
    Tell,
}

use Op::*;

/// The state that the workers share.
pub struct Driver {
    poller: PollerLock,
    /// The tick of the earliest entry.
    wheel: loom::sync::Mutex<usize>,
    stop: Flag,
    /// The events, touched by the polling thread only, so that two pollers at a time are a race.
    events: Plain<()>,
    /// Set if a break is on its way to the thread that is in the kernel, or enters it next.
    sent: Mutex<bool>,
    /// The thread that is in the kernel, and the tick until which it blocks.
    blocked: Mutex<Option<(usize, usize)>>,
    flaw: Option<&'static str>,
}

impl Driver {
    fn flawed(&self, flaw: &str) -> bool {
        self.flaw == Some(flaw)
    }

    fn earliest(&self) -> usize {
        *self.wheel.lock().expect("no model panics in the wheel")
    }

    fn insert(&self, at: usize) {
        let mut earliest = self.wheel.lock().expect("no model panics in the wheel");
        let first = at < *earliest;
        *earliest = at.min(*earliest);
        drop(earliest);
        if first && !self.flawed("sends no break") && self.poller.needs_wakeup(at) {
            *locked(&self.sent) = true;
        }
    }

    fn tell(&self) {
        self.stop.set();
        if (0..3).any(|worker| self.poller.is_parked_in_poller(worker)) {
            *locked(&self.sent) = true;
        }
    }

    fn take(&self, thread: usize) -> bool {
        let taken = self.poller.try_lock(thread) || self.flawed("does not take the lock");
        if taken {
            self.events.set(());
        }
        taken
    }

    fn look(&self, thread: usize) {
        if self.take(thread) {
            self.poller.unlock();
        }
    }

    /// Blocks, after starting over as often as it sees an earlier timer than the one it was about to sleep
    /// for.
    fn block(&self, thread: usize, mut until: usize, tick: impl Fn(usize) -> Option<usize>) {
        if !self.take(thread) {
            return;
        }
        loop {
            self.poller.set_poll_until(tick(until));
            if self.stop.is_set() {
                self.poller.clear_poll_until();
                return self.poller.unlock();
            }
            let earliest = if self.flawed("checks only once") { until } else { self.earliest() };
            if earliest >= until {
                break;
            }
            until = earliest;
        }
        let until = tick(until).unwrap_or(usize::MAX);
        *locked(&self.blocked) = Some((thread, until));
    }

    fn come_back(&self, thread: usize) {
        let mut blocked = locked(&self.blocked);
        if blocked.is_none_or(|(sleeper, _)| sleeper != thread) {
            return;
        }
        *blocked = None;
        drop(blocked);
        self.events.set(());
        *locked(&self.sent) = false;
        self.poller.clear_poll_until();
        self.poller.unlock();
    }
}

impl Word for Driver {
    const NAME: &'static str = "poller_lock";
    type Op = Op;
    const ROLES: &'static [Role<Op>] = &[
        Role { name: "poller", ops: &[Look, Block, BlockForEver, Return], threads: 3 },
        Role { name: "setter", ops: &[Early, Earlier, Tell], threads: 2 },
    ];
    const STARTS: &'static [&'static str] = &["free", "blocked"];
    const FLAWS: &'static [&'static str] = &["sends no break", "checks only once", "does not take the lock"];

    fn new(plan: &Plan<Op>) -> Self {
        let driver = Driver {
            poller: PollerLock::new(),
            wheel: loom::sync::Mutex::new(LATE),
            stop: Flag::new(),
            events: Plain::new(()),
            sent: Mutex::new(false),
            blocked: Mutex::new(None),
            flaw: plan.flaw,
        };
        // The thread whose program begins with `Return` is in the kernel.
        if let Some(thread) = plan.threads.iter().position(|ops| ops[0] == Return) {
            driver.block(thread, LATE, Some);
        }
        driver
    }

    fn run(&self, thread: usize, ops: &[Op]) {
        for op in ops {
            match op {
                Look => self.look(thread),
                Block => self.block(thread, self.earliest(), Some),
                BlockForEver => self.block(thread, LATE, |until| (until < LATE).then_some(until)),
                Return => self.come_back(thread),
                Early => self.insert(EARLY),
                Earlier => self.insert(EARLIER),
                Tell => self.tell(),
            }
        }
    }

    fn check(&self, _plan: &Plan<Op>) {
        let (blocked, sent, earliest) = (*locked(&self.blocked), *locked(&self.sent), self.earliest());
        let Some((thread, until)) = blocked else {
            assert!(self.poller.try_lock(0), "model: the lock is lost");
            return;
        };
        let late = until > earliest && earliest < LATE;
        assert!(
            !late || sent,
            "model: blocked until {until}, a timer is due at {earliest}, and no break was sent"
        );
        assert!(!self.stop.is_set() || sent, "model: blocked, told to stop, and no break was sent");
        self.poller.clear_poll_until();
        self.poller.unlock();
        assert!(self.poller.try_lock(thread), "model: the lock is lost");
    }

    fn touches(op: Op) -> Touch {
        const OWNER: u8 = 1;
        const UNTIL: u8 = 2;
        const WHEEL: u8 = 4;
        match op {
            Look => Touch::changes(OWNER),
            Block | BlockForEver => Touch { reads: WHEEL, writes: OWNER | UNTIL },
            Return => Touch::changes(OWNER | UNTIL),
            Early | Earlier => Touch { reads: UNTIL, writes: WHEEL },
            Tell => Touch { reads: OWNER | UNTIL, writes: WHEEL },
        }
    }

    fn forbids(plan: &Plan<Op>) -> Option<&'static str> {
        let returns = plan.threads.iter().filter(|ops| ops[0] == Return).count();
        if returns != usize::from(plan.start == "blocked") {
            return Some("one thread is in the kernel at the start, if any");
        }
        let blocks = |op| matches!(op, Block | BlockForEver);
        if plan.threads.iter().any(|ops| ops.windows(2).any(|two| blocks(two[0]) != (two[1] == Return))) {
            return Some("only a thread in the kernel returns from it, and it does nothing else");
        }
        None
    }
}
