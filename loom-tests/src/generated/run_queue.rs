//! A run queue with its owner and its thieves: a task that is put in comes out once, with the memory before
//! it.

use std::sync::Mutex;

use super::tasks::locked;
use super::word::{Plan, Role, Touch, Word};
use crate::models::number_queue::NumberQueue;
use crate::models::support::Plain;

/// The number of places in a ring.
const LEN: usize = 2;
/// The largest number of tasks of one execution.
const TASKS: usize = 8;

/// One operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// The owner puts a task.
    Put,
    PutNext,
    Get,
    GetNext,
    /// The owner takes half out, as it does to move tasks to the global queue.
    Overflow,
    /// The owner steals back from the thieves.
    Raid,
    /// The owner takes a task out of a queue from which no thread steals.
    PutNextAlone,
    GetNextAlone,
    GetAlone,
    /// A thief steals half into its own ring, and runs one task.
    Steal,
    /// A thief takes half out and runs it.
    TakeHalf,
    /// A thief takes the task in the slot.
    StealNext,
    /// A thread reads the length.
    Len,
}

use Op::*;

impl Op {
    fn is_alone(self) -> bool {
        matches!(self, PutNextAlone | GetNextAlone | GetAlone)
    }
}

/// A queue, the thieves' rings, and a payload for each task.
pub struct Bench {
    queue: NumberQueue<LEN>,
    /// One for each thread.
    thieves: [NumberQueue<LEN>; 3],
    /// The payloads, written by the thread that creates the task and by the thread that runs it (INV-9).
    payload: [Plain<()>; TASKS],
    /// The number of tasks so far, written by the owner.
    made: Mutex<usize>,
    ran: Mutex<Vec<usize>>,
    flaw: Option<&'static str>,
}

impl Bench {
    fn flawed(&self, flaw: &str) -> bool {
        self.flaw == Some(flaw)
    }

    /// Creates a task: writes its payload, and returns the word that the queue passes on.
    fn make(&self) -> usize {
        let mut made = locked(&self.made);
        *made += 1;
        if !self.flawed("writes after it has put") {
            self.payload[*made].set(());
        }
        *made
    }

    fn run_all(&self, tasks: impl IntoIterator<Item = usize>) {
        for task in tasks {
            self.payload[task].set(());
            locked(&self.ran).push(task);
        }
    }

    /// Runs a task that the queue returned to its owner.
    fn displaced(&self, task: Option<usize>) {
        self.run_all(task.filter(|_| !self.flawed("drops the displaced")));
    }

    fn put(&self) {
        let task = self.make();
        self.run_all(self.queue.put(task).err());
        if self.flawed("writes after it has put") {
            self.payload[task].set(());
        }
    }

    fn take_half(&self) {
        let mut taken = [0; LEN];
        let n = self.queue.take_half(LEN, |i, task| taken[i] = task);
        let n = if self.flawed("runs what it has only read") { LEN } else { n };
        self.run_all(taken[..n].iter().copied().filter(|&task| task != 0));
    }

    fn step(&self, thread: usize, op: Op) {
        match op {
            Put => self.put(),
            PutNext => self.displaced(self.queue.put_next(self.make())),
            Get => self.run_all(self.queue.get()),
            GetNext | StealNext => self.run_all(self.queue.get_next()),
            Overflow | TakeHalf => self.take_half(),
            Raid => self.thieves.iter().for_each(|thief| self.run_all(thief.steal_into(&self.queue))),
            PutNextAlone => self.displaced(self.queue.put_next_alone(self.make())),
            GetNextAlone => self.run_all(self.queue.get_next_alone()),
            GetAlone => self.run_all(self.queue.get_alone()),
            Steal => self.run_all(self.queue.steal_into(&self.thieves[thread])),
            Len => {
                let (len, made) = (self.queue.len(), *locked(&self.made));
                assert!(len <= made.min(LEN + 1), "model: {len} tasks were counted of {made}");
            }
        }
    }
}

impl Word for Bench {
    const NAME: &'static str = "runq";
    type Op = Op;
    const ROLES: &'static [Role<Op>] = &[
        Role {
            name: "owner",
            ops: &[Put, PutNext, Get, GetNext, Overflow, Raid, PutNextAlone, GetNextAlone, GetAlone],
            threads: 1,
        },
        Role { name: "thief", ops: &[Steal, TakeHalf, StealNext, Len], threads: 3 },
    ];
    const STARTS: &'static [&'static str] = &["empty", "one", "full", "wrapped", "stolen"];
    const FLAWS: &'static [&'static str] =
        &["drops the displaced", "runs what it has only read", "writes after it has put"];

    fn new(plan: &Plan<Op>) -> Self {
        let bench = Bench {
            queue: NumberQueue::new(),
            thieves: std::array::from_fn(|_| NumberQueue::new()),
            payload: std::array::from_fn(|_| Plain::new(())),
            made: Mutex::new(0),
            ran: Mutex::default(),
            flaw: plan.flaw,
        };
        let before: &[Op] = match plan.start {
            "empty" => &[],
            "one" => &[Put],
            "full" => &[Put, Put, PutNext],
            "wrapped" => &[Put, Get, Put, Put],
            // One of two thieves has a task in its ring.
            "stolen" => &[Put, Put],
            start => unreachable!("`STARTS` has no {start}"),
        };
        before.iter().for_each(|&op| bench.step(0, op));
        if plan.start == "stolen" {
            for thief in [1, 2] {
                let mut task = 0;
                assert!(bench.queue.take_half(1, |_, it| task = it) == 1, "model: the queue has a task");
                assert!(bench.thieves[thief].put(task).is_ok(), "model: the thief has room");
            }
        }
        bench
    }

    fn run(&self, thread: usize, ops: &[Op]) {
        ops.iter().for_each(|&op| self.step(thread, op));
    }

    fn check(&self, _plan: &Plan<Op>) {
        for queue in self.thieves.iter().chain([&self.queue]) {
            while let Some(task) = queue.get_next().or_else(|| queue.get()) {
                self.run_all([task]);
            }
            assert!(queue.is_empty(), "model: tasks are counted, and none comes out");
        }
        let (made, mut ran) = (*locked(&self.made), locked(&self.ran).clone());
        ran.sort_unstable();
        assert!(ran == (1..=made).collect::<Vec<_>>(), "model: of {made} tasks {ran:?} ran");
    }

    fn touches(op: Op) -> Touch {
        const RING: u8 = 1;
        const SLOT: u8 = 2;
        const THIEVES: u8 = 4;
        match op {
            Put | Get | Overflow | TakeHalf | GetAlone => Touch::changes(RING),
            PutNext | GetNext | StealNext | PutNextAlone | GetNextAlone => Touch::changes(SLOT),
            Raid | Steal => Touch::changes(RING | THIEVES),
            Len => Touch { reads: RING | SLOT, writes: 0 },
        }
    }

    fn forbids(plan: &Plan<Op>) -> Option<&'static str> {
        let steals = |op| matches!(op, Steal | TakeHalf | StealNext);
        if plan.ops().any(Op::is_alone) && plan.ops().any(steals) {
            return Some("the owner relies on no thread stealing");
        }
        if plan.start == "stolen" && !plan.ops().any(|op| op == Raid) {
            return Some("nothing looks at the thieves' rings");
        }
        None
    }
}
