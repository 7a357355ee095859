//! Workers that go to sleep while other threads bring work: not all of them sleep while there is work.

use std::sync::Mutex;

use netpoll_core::sched::idle::Idle;

use super::tasks::locked;
use super::word::{Plan, Role, Touch, Word};
use crate::models::number_queue::NumberQueue;
use crate::models::support::{Plain, Posted};

/// The number of threads, each of which may be a worker.
const THREADS: usize = 3;

/// One operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// The worker sets its bit, checks the queues once more, and sleeps if there is no work.
    Sleep,
    /// The sleeping worker wakes up for another reason.
    GetUp,
    /// The sleeping worker checks whether it has been woken.
    Peek,
    /// The worker searches, if no other does, and takes one task.
    Search,
    /// The searcher of `start: searching` has found work elsewhere.
    Found,
    /// The searcher of `start: searching` has found no work, and goes to sleep.
    GiveUp,
    /// Puts a task and wakes a worker if needed.
    Put,
    /// Tells every worker to stop.
    Tell,
}

use Op::*;

/// The state of a worker in its own thread.
#[derive(Clone, Copy, Default)]
struct Worker {
    asleep: bool,
    /// Set if it has found work and is busy with it.
    busy: bool,
    /// The number of times that another thread cleared its bit.
    woken: usize,
    /// The number of times that it found its bit cleared.
    noticed: usize,
}

/// The idle bits, each thread's queue, and the request to stop.
pub struct Sched {
    idle: Idle<1>,
    /// The queues of the threads that put.
    queues: Vec<Option<NumberQueue<2>>>,
    workers: Mutex<[Worker; THREADS + 1]>,
    told: Posted,
    /// Written by the one thread that wakes, before it does so. `None` if several threads wake.
    before_wake: Option<Plain<usize>>,
    left: Mutex<usize>,
    flaw: Option<&'static str>,
}

/// The worker that sleeps at `start: asleep`. It has no thread.
const OTHER: usize = THREADS;

impl Sched {
    fn flawed(&self, flaw: &str) -> bool {
        self.flaw == Some(flaw)
    }

    fn worker<R>(&self, worker: usize, access: impl FnOnce(&mut Worker) -> R) -> R {
        access(&mut locked(&self.workers)[worker])
    }

    fn has_work(&self) -> bool {
        self.queues.iter().flatten().any(|queue| queue.ring_len() > 0)
    }

    /// Takes one task out and runs it. Returns whether there was one.
    fn take(&self) -> bool {
        let mine = NumberQueue::new();
        let found = self.queues.iter().flatten().any(|queue| queue.steal_into(&mine).is_some());
        let rest = std::iter::from_fn(|| mine.get()).count();
        *locked(&self.left) -= usize::from(found) + rest;
        found
    }

    fn wake(&self, sleeper: Option<usize>) -> bool {
        if let Some(worker) = sleeper {
            self.worker(worker, |it| it.woken += 1);
        }
        sleeper.is_some()
    }

    fn notice(&self, worker: usize) {
        self.worker(worker, |it| it.noticed += 1);
        if let Some(before) = &self.before_wake {
            assert!(before.get() == 1, "model: woken without the write before it");
        }
        if !self.flawed("a woken worker ends no search") {
            let found = self.take();
            self.stop(worker, found);
        }
    }

    fn sleep(&self, worker: usize) {
        if self.flawed("checks before it sets its bit") {
            if !self.has_work() && !self.told.is_posted() {
                self.idle.begin_park(worker);
                self.worker(worker, |it| it.asleep = true);
            }
            return;
        }
        self.idle.begin_park(worker);
        self.worker(worker, |it| it.asleep = true);
        if self.has_work() || self.told.is_posted() {
            self.get_up(worker);
        }
    }

    fn get_up(&self, worker: usize) {
        if self.worker(worker, |it| std::mem::replace(&mut it.asleep, false))
            && !self.idle.cancel_park(worker)
        {
            self.notice(worker);
        }
    }

    fn peek(&self, worker: usize) {
        if self.worker(worker, |it| it.asleep) && !self.idle.is_parked(worker) {
            self.worker(worker, |it| it.asleep = false);
            self.notice(worker);
        }
    }

    fn search(&self, worker: usize) {
        if self.idle.start_searching(1) {
            let found = self.take();
            self.stop(worker, found);
        }
    }

    fn stop(&self, worker: usize, found: bool) {
        let last = self.idle.stop_searching();
        self.worker(worker, |it| it.busy |= found);
        if found && last && !self.flawed("the last searcher wakes no worker") && self.has_work() {
            self.wake(self.idle.worker_to_notify(None));
        }
    }

    fn put(&self, thread: usize) {
        *locked(&self.left) += 1;
        let put = self.queues[thread].as_ref().map(|queue| queue.put(1));
        assert!(put == Some(Ok(())), "model: the ring has room for two");
        self.before_wake.iter().for_each(|before| before.set(1));
        if !self.flawed("wakes no worker") {
            self.wake(self.idle.worker_to_notify(None));
        }
    }

    fn tell(&self) {
        self.told.post();
        self.before_wake.iter().for_each(|before| before.set(1));
        while self.wake(self.idle.pop_idle()) {}
    }

    fn step(&self, thread: usize, op: Op) {
        // It has finished the work that it found before.
        self.worker(thread, |it| it.busy = false);
        match op {
            Sleep => self.sleep(thread),
            GetUp => self.get_up(thread),
            Peek => self.peek(thread),
            Search => self.search(thread),
            Found => self.stop(thread, true),
            GiveUp => {
                self.stop(thread, false);
                self.sleep(thread);
            }
            Put => self.put(thread),
            Tell => self.tell(),
        }
    }
}

impl Word for Sched {
    const NAME: &'static str = "idle";
    type Op = Op;
    const ROLES: &'static [Role<Op>] = &[
        Role { name: "worker", ops: &[Sleep, GetUp, Peek, Search, Found, GiveUp], threads: 3 },
        Role { name: "bringer", ops: &[Put, Tell], threads: 2 },
    ];
    const STARTS: &'static [&'static str] = &["awake", "asleep", "searching"];
    const FLAWS: &'static [&'static str] = &[
        "a woken worker ends no search",
        "checks before it sets its bit",
        "the last searcher wakes no worker",
        "wakes no worker",
    ];

    fn new(plan: &Plan<Op>) -> Self {
        let wakes = |op| matches!(op, Put | Tell | Found | Search);
        let waking: Vec<&Op> = plan.threads.iter().flatten().filter(|&&op| wakes(op)).collect();
        let one = waking.len() == 1 && matches!(waking[0], Put | Tell);
        let sched = Sched {
            idle: Idle::new(),
            queues: plan.threads.iter().map(|ops| ops.contains(&Put).then(NumberQueue::new)).collect(),
            workers: Mutex::default(),
            told: Posted::new(),
            before_wake: one.then(|| Plain::new(0)),
            left: Mutex::new(0),
            flaw: plan.flaw,
        };
        if plan.start != "awake" {
            sched.idle.begin_park(OTHER);
            sched.worker(OTHER, |it| it.asleep = true);
        }
        if plan.start == "searching" {
            assert!(sched.idle.start_searching(1), "model: nothing else searches");
        }
        sched
    }

    fn run(&self, thread: usize, ops: &[Op]) {
        ops.iter().for_each(|&op| self.step(thread, op));
    }

    fn check(&self, plan: &Plan<Op>) {
        let workers = *locked(&self.workers);
        let is_worker = |i: usize| match plan.threads.get(i) {
            Some(ops) => !ops.iter().any(|op| matches!(op, Put | Tell)),
            None => i == OTHER && plan.start != "awake",
        };
        let (mut sleepers, mut searchers) = (0, 0);
        for (i, worker) in workers.iter().enumerate() {
            let Worker { asleep, woken, noticed, .. } = *worker;
            let bit = self.idle.is_parked(i);
            sleepers += usize::from(bit);
            let pending = usize::from(asleep && !bit);
            searchers += pending;
            assert!(asleep || !bit, "model: worker {i} is awake, and its bit is set");
            assert!(
                woken == noticed + pending,
                "model: worker {i} was woken {woken} times and knows of {noticed}"
            );
        }
        assert!(self.idle.num_parked() == sleepers, "model: the sleepers are not those whose bits are set");
        let looks = |i: usize| is_worker(i) && !workers[i].busy && !self.idle.is_parked(i);
        let awake = (0..workers.len()).any(looks);
        let left = *locked(&self.left);
        assert!(left == 0 || awake || sleepers == 0, "model: {left} tasks are left, and all workers sleep");
        assert!(
            !self.told.is_posted() || sleepers == 0,
            "model: {sleepers} workers sleep and were told to stop"
        );
        (0..searchers).for_each(|_| _ = self.idle.stop_searching());
        assert!(self.idle.start_searching(1), "model: a searcher is counted, and none searches");
    }

    fn touches(op: Op) -> Touch {
        const BITS: u8 = 1;
        const WORK: u8 = 2;
        const SEARCHERS: u8 = 4;
        match op {
            Sleep | GetUp | Peek | Search | Found | GiveUp | Put | Tell => {
                Touch::changes(BITS | WORK | SEARCHERS)
            }
        }
    }

    fn forbids(plan: &Plan<Op>) -> Option<&'static str> {
        let stops = plan.ops().filter(|op| matches!(op, Found | GiveUp)).count();
        if stops != usize::from(plan.start == "searching") {
            return Some("each searcher stops once");
        }
        for ops in &plan.threads {
            let asleep = |op: &Op| matches!(op, GetUp | Peek);
            if asleep(&ops[0]) || ops.windows(2).any(|two| asleep(&two[1]) && !matches!(two[0], Sleep | Peek))
            {
                return Some("wakes up without a sleep");
            }
            if ops.windows(2).any(|two| matches!(two[0], Sleep | Peek | GiveUp) && !asleep(&two[1])) {
                return Some("a worker that sleeps does nothing");
            }
        }
        None
    }
}
