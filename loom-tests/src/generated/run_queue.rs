//! A run queue with its owner and its thieves: what is put in comes out once, whole.

use std::sync::Mutex;

use netpoll_core::sched::run_queue::Runq;

use super::tasks::locked;
use super::word::{Plan, Role, Touch, Word};
use crate::models::support::Plain;

/// Places in a ring.
const LEN: usize = 2;
/// Tasks that one execution can make.
const TASKS: usize = 8;

/// One step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// The owner's.
    Put,
    PutNext,
    Get,
    GetNext,
    /// The owner takes half out, as before it moves them to the global queue.
    Overflow,
    /// The owner steals back from the thieves.
    Raid,
    /// The owner's, of a queue that nobody steals from.
    PutNextAlone,
    GetNextAlone,
    GetAlone,
    /// A thief's: half goes into its own ring, one is run.
    Steal,
    /// A thief's: half is taken out and run.
    TakeHalf,
    /// A thief takes the task in the slot.
    StealNext,
    /// Anyone looks how many there are.
    Len,
}

use Op::*;

impl Op {
    fn is_alone(self) -> bool {
        matches!(self, PutNextAlone | GetNextAlone | GetAlone)
    }
}

/// A queue, the thieves' rings, and what goes with each task.
pub struct Bench {
    queue: Runq<LEN>,
    /// By thread.
    thieves: [Runq<LEN>; 3],
    /// Written by the thread that makes the task and by the one that runs it: for whoever has the task's word (INV-9).
    payload: [Plain<()>; TASKS],
    /// Tasks made so far; the owner's.
    made: Mutex<usize>,
    ran: Mutex<Vec<usize>>,
    flaw: Option<&'static str>,
}

impl Bench {
    fn flawed(&self, flaw: &str) -> bool {
        self.flaw == Some(flaw)
    }

    /// Makes a task. Its word is all that is handed over; what it stands for is written before.
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

    /// A task that comes back from the queue to its owner, who has another place for it.
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
            queue: Runq::new(),
            thieves: std::array::from_fn(|_| Runq::new()),
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
            return Some("the owner says that nobody steals");
        }
        if plan.start == "stolen" && !plan.ops().any(|op| op == Raid) {
            return Some("nothing looks at the thieves' rings");
        }
        None
    }
}
