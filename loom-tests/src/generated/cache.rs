//! The cache of descriptors: a slot has one owner at a time, and none is lost.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::pool::{self, Pool};
use super::tasks::locked;
use super::word::{Plan, Role, Word};
use crate::models::support::Plain;

/// The number of descriptors of a block.
const LEN: usize = 2;
/// The index in `owners` after those of the threads.
const NONE: usize = 3;

/// One operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Allocates a slot, if one is free.
    Alloc,
    /// Frees the slot that the thread has had for the longest time.
    Free,
    /// Allocates two slots and frees the first one: the head of the list is as before, and the slot behind it
    /// is another.
    Swap,
    /// Donates the second block.
    Donate,
}

use Op::*;

type Owner = pool::Owner<2, LEN>;

/// The state that the threads share.
pub struct Slots {
    /// The owners by thread, and those that no thread has.
    owners: [Mutex<VecDeque<Owner>>; NONE + 1],
    pool: Arc<Pool<2, LEN>>,
    /// Plain memory for each slot: 1 while it has an owner.
    marks: [Plain<usize>; 2 * LEN],
    flaw: Option<&'static str>,
}

impl Slots {
    fn flawed(&self, flaw: &str) -> bool {
        self.flaw == Some(flaw)
    }

    fn alloc(&self) -> Option<Owner> {
        let owner = self.pool.alloc()?;
        let slot = owner.key().slot;
        let mark = self.marks[slot as usize].replace(1);
        assert!(mark == 0, "model: slot {slot} was allocated twice");
        Some(owner)
    }

    fn free(&self, owner: Owner) {
        let slot = owner.key().slot as usize;
        if self.flawed("forgets a slot") {
            return std::mem::forget(owner);
        }
        if self.flawed("uses a slot that it has freed") {
            drop(owner.free());
            return self.marks[slot].set(0);
        }
        let mark = self.marks[slot].replace(0);
        assert!(mark == 1, "model: slot {slot} was taken from its owner");
        assert!(owner.free().is_empty(), "model: nothing waits here");
    }

    fn step(&self, thread: usize, op: Op) {
        let own = || locked(&self.owners[thread]);
        match op {
            Alloc => own().extend(self.alloc()),
            Free => {
                let owner = own().pop_front();
                owner.into_iter().for_each(|owner| self.free(owner));
            }
            Swap => {
                let (first, second) = (self.alloc(), self.alloc());
                first.into_iter().for_each(|owner| self.free(owner));
                own().extend(second);
            }
            Donate => self.pool.donate(),
        }
    }
}

impl Word for Slots {
    const NAME: &'static str = "cache";
    type Op = Op;
    const ROLES: &'static [Role<Op>] = &[
        Role { name: "owner", ops: &[Alloc, Free, Swap], threads: 3 },
        Role { name: "donor", ops: &[Donate], threads: 1 },
    ];
    const STARTS: &'static [&'static str] = &["all-free", "one-free", "none-free"];
    const FLAWS: &'static [&'static str] = &["forgets a slot", "uses a slot that it has freed"];

    fn new(plan: &Plan<Op>) -> Self {
        let slots = Slots {
            owners: Default::default(),
            pool: Pool::new(),
            marks: std::array::from_fn(|_| Plain::new(0)),
            flaw: plan.flaw,
        };
        slots.pool.donate();
        // For the threads that begin with freeing one.
        let mut freeing = begin_with_free(plan);
        (0..taken(plan.start)).for_each(|_| slots.step(freeing.next().unwrap_or(NONE), Alloc));
        drop(freeing);
        slots
    }

    fn run(&self, thread: usize, ops: &[Op]) {
        ops.iter().for_each(|&op| self.step(thread, op));
    }

    fn check(&self, plan: &Plan<Op>) {
        for owners in &self.owners {
            locked(owners).drain(..).for_each(|owner| self.free(owner));
        }
        let slots = if plan.ops().any(|op| op == Donate) { 2 * LEN } else { LEN };
        let all: Vec<Owner> = std::iter::from_fn(|| self.alloc()).take(2 * LEN + 1).collect();
        assert!(all.len() == slots, "model: {} slots came back of {slots}", all.len());
        assert!(self.pool.cache().parked() == 0, "model: tasks are still parked");
    }

    fn forbids(plan: &Plan<Op>) -> Option<&'static str> {
        if plan.ops().filter(|&op| op == Donate).count() > 1 {
            return Some("the directory has two places");
        }
        (begin_with_free(plan).count() > taken(plan.start)).then_some("frees a slot that it does not have")
    }
}

/// Returns the number of slots that have an owner at the start.
fn taken(start: &str) -> usize {
    match start {
        "all-free" => 0,
        "one-free" => 1,
        _ => LEN,
    }
}

fn begin_with_free(plan: &Plan<Op>) -> impl Iterator<Item = usize> + '_ {
    (0..plan.threads.len()).filter(|&thread| plan.threads[thread][0] == Free)
}
