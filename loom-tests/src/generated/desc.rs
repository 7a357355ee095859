//! A descriptor in its cache: a task that waits is woken by the event, close or timeout that ends its wait.
//!
//! `Wait` holds the lock of its direction while it is pending, as an `async fn` does. `Poll` holds it for one
//! poll, as `poll_read` does, and leaves a parking that no lock protects, so the next wait takes it over.
//! `Rival` takes no lock at all, which core must survive.

use self::world::World;
use super::word::{Plan, Role, Touch, Word};

mod oracle;
mod world;

/// One operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// The polling task reads, parks, and leaves its parking.
    Poll,
    /// The polling task does so with its other waker.
    PollOther,
    /// Another task does so without the lock.
    Rival,
    /// The waiting task reads, parks, and keeps the lock of the direction.
    Wait,
    /// The waiting task gives up.
    Retract,
    /// A task reads without waiting.
    Reset,
    /// A task waits in the other direction.
    Write,
    /// A message arrives, and the end of the stream behind it: both directions are ready.
    Event,
    /// An event of another generation.
    Stale,
    /// Closes by the key.
    Evict,
    /// Sets a deadline that has passed.
    Past,
    /// Sets a deadline later than the one in force.
    Later,
    Never,
    Postpone,
    /// The timer fires, if it is due.
    Expire,
    /// The owner frees the slot.
    Free,
    /// Another owner allocates the slot, if it is free, and parks.
    Reuse,
}

use Op::*;

impl Op {
    /// Returns whether the operation borrows the registration.
    fn borrows(self) -> bool {
        !matches!(self, Event | Stale | Evict | Expire | Free | Reuse)
    }

    /// Returns whether the operation takes the lock of the read direction.
    fn takes_lock(self) -> bool {
        matches!(self, Poll | PollOther | Wait | Retract | Reset)
    }

    /// Returns whether the operation is the waiting task's.
    fn waits(self) -> bool {
        matches!(self, Wait | Retract)
    }
}

/// The name that combinations are listed under.
pub struct Desc(World);

impl Word for Desc {
    const NAME: &'static str = "desc";
    type Op = Op;
    const ROLES: &'static [Role<Op>] = &[
        Role { name: "waiter", ops: &[Poll, PollOther, Rival, Wait, Retract, Reset, Write], threads: 2 },
        Role { name: "setter", ops: &[Past, Later, Never, Postpone], threads: 2 },
        Role { name: "poller", ops: &[Event, Stale], threads: 2 },
        Role { name: "closer", ops: &[Evict], threads: 2 },
        Role { name: "timer", ops: &[Expire], threads: 2 },
        Role { name: "owner", ops: &[Free, Reuse], threads: 2 },
    ];
    const STARTS: &'static [&'static str] = &["idle", "ready", "parked", "waiting", "due"];
    const FLAWS: &'static [&'static str] =
        &["drops the displaced", "wakes no task", "writes after the event"];

    fn new(plan: &Plan<Op>) -> Self {
        Desc(World::new(plan))
    }

    fn run(&self, _thread: usize, ops: &[Op]) {
        ops.iter().for_each(|&op| self.0.step(op));
    }

    fn check(&self, plan: &Plan<Op>) {
        self.0.check(plan);
    }

    fn touches(op: Op) -> Touch {
        const READ: u8 = 1;
        const WRITE: u8 = 2;
        const INFO: u8 = 4;
        const DEADLINE: u8 = 8;
        const SLOT: u8 = 16;
        let waits = |side| Touch { reads: side | INFO | DEADLINE | SLOT, writes: side };
        match op {
            Poll | PollOther | Rival | Wait | Retract | Reset => waits(READ),
            Write => waits(WRITE),
            Event | Stale => Touch { reads: INFO | SLOT, writes: READ | WRITE },
            Evict => Touch { reads: SLOT, writes: INFO | READ | WRITE },
            Past => Touch { reads: INFO | SLOT, writes: DEADLINE | READ | WRITE },
            Later | Never | Postpone => Touch { reads: INFO | SLOT, writes: DEADLINE },
            Expire => Touch { reads: SLOT, writes: DEADLINE | READ | WRITE },
            Free | Reuse => Touch::ALL,
        }
    }

    fn forbids(plan: &Plan<Op>) -> Option<&'static str> {
        let with = |asks: fn(Op) -> bool| {
            plan.threads.iter().filter(move |ops| ops.iter().any(|&op| asks(op))).count()
        };
        let frees = plan.ops().filter(|&op| op == Free).count();
        if frees > 1 || frees == 1 && plan.ops().any(Op::borrows) {
            return Some("a registration cannot be freed twice, nor while it is borrowed");
        }
        if plan.ops().any(|op| op == Reuse) && frees == 0 {
            return Some("the slot is never free");
        }
        let held = plan.start == "waiting";
        if held && plan.ops().any(|op| matches!(op, Poll | PollOther | Reset)) {
            return Some("the lock of the direction is held throughout");
        }
        if with(Op::waits) > 1 || with(|op| op == Write) > 1 || with(|op| op == Rival) > 1 {
            return Some("one thread at a time runs a task");
        }
        plan.threads.iter().find_map(|ops| forbids_program(ops, held))
    }
}

fn forbids_program(ops: &[Op], held: bool) -> Option<&'static str> {
    let mut waits = held;
    for &op in ops {
        match op {
            Wait => waits = true,
            Retract if !waits => return Some("gives up a wait that was never begun"),
            Retract => waits = false,
            Poll | PollOther | Reset if waits => {
                return Some("a task that waits does nothing else in its direction");
            }
            _ => {}
        }
    }
    None
}
