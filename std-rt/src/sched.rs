//! Where tasks wait for a worker: the global queue, each worker's ring, and who is woken for what (Go's `runqput`,
//! `globrunqput`, `wakep`, `injectglist`).
//!
//! The way of a task: [`Sched::put`] → the ring of the worker that this thread is, else the global queue →
//! [`Sched::wake_one`], if somebody sleeps who could run it.

mod current;
mod origin;
mod report;
mod tasks;
mod word;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::thread::Thread;

use async_task::Runnable;
use netpoll_core::counter::Counter;
use netpoll_core::idle::Idle;
use netpoll_core::runq::Runq;
use netpoll_core::waiters::BreakFlag;
use slab::Slab;

use crate::netpoll::Netpoll;
pub use current::Entered;
pub use origin::{NameGuard, Named, Origin};
pub use report::Report;
pub use tasks::quietly;

/// Tasks in a worker's ring (Go's 256).
const RING: usize = 256;

/// Words of 64 (32) workers each.
const IDLE_WORDS: usize = 4;

/// The most workers that a runtime can have: 256 on a 64-bit host.
pub const MAX_WORKERS: usize = Idle::<IDLE_WORDS>::MAX_WORKERS;

/// What other threads know of a worker.
#[derive(Debug, Default)]
struct Remote {
    runq: Runq<RING>,
    /// The worker's own, which it writes for each task.
    report: Arc<Report>,
    /// The thread that sits there; empty while nobody does (`block_on` of a one-worker runtime comes and goes).
    thread: Mutex<Option<Thread>>,
}

/// Tasks that no worker has yet. Cold: workers look here when their own ring is empty, and every 61 turns.
#[derive(Debug, Default)]
struct Global {
    tasks: VecDeque<usize>,
    closed: bool,
}

/// Numbers of one scheduler since it was made.
#[derive(Debug, Default)]
pub struct Counts {
    /// Tasks spawned.
    pub spawned: Counter,
    /// Tasks that have ended: finished, panicked or cancelled.
    pub ended: Counter,
    /// Tasks taken from another worker's queue.
    pub steals: Counter,
    /// Times that a worker went to sleep without the poller.
    pub parks: Counter,
    /// Tasks that have held their worker for longer than they should.
    pub stuck: Counter,
}

/// The run queues of one runtime.
#[derive(Debug)]
pub struct Sched {
    netpoll: Arc<Netpoll>,
    global: Mutex<Global>,
    workers: Box<[Remote]>,
    idle: Idle<IDLE_WORDS>,
    /// Every task that has waited and not ended, so that shutdown can cancel it wherever it is; none where it has.
    tasks: Mutex<Slab<Option<Waker>>>,
    /// What the tasks are called that have a name.
    names: Mutex<Slab<Named>>,
    sysmon: OnceLock<Thread>,
    sysmon_sleeps: BreakFlag,
    /// Set once, by `close`: what a worker looks at between two tasks.
    shutdown: BreakFlag,
    counts: Counts,
}

impl Sched {
    /// Queues for so many workers (1 to [`MAX_WORKERS`]), none of which runs yet.
    pub fn new(netpoll: Arc<Netpoll>, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            netpoll,
            global: Mutex::default(),
            workers: (0..workers).map(|_| Remote::default()).collect(),
            idle: Idle::new(),
            tasks: Mutex::default(),
            names: Mutex::default(),
            sysmon: OnceLock::new(),
            sysmon_sleeps: BreakFlag::new(),
            shutdown: BreakFlag::new(),
            counts: Counts::default(),
        })
    }

    /// The poller that goes with it.
    pub fn netpoll(&self) -> &Arc<Netpoll> {
        &self.netpoll
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Who sleeps.
    pub fn idle(&self) -> &Idle<IDLE_WORDS> {
        &self.idle
    }

    /// The numbers so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Makes a task runnable: on the worker that this thread is, else on whichever is free. One that `yielded` comes
    /// after all others there. After [`Sched::close`] the task is dropped instead, which cancels it.
    pub fn put(&self, task: Runnable<Origin>, yielded: bool) {
        if self.is_closed() {
            // Runs the future's Drop.
            return drop(task);
        }
        let task = word::from_task(task);
        match current::place(self) {
            Some((worker, injecting)) => self.put_local(worker, task, injecting || yielded),
            None => self.put_global(task),
        }
    }

    /// The task that was made ready by a running one goes into the slot; the one it displaces, or one from the poller,
    /// to the end of the ring.
    fn put_local(&self, worker: usize, task: usize, injecting: bool) {
        let runq = &self.workers[worker].runq;
        let Some(task) = (if injecting { Some(task) } else { runq.put_next(task) }) else { return };
        if let Err(task) = runq.put(task) {
            self.put_global(task);
        } else if !injecting && self.workers.len() > 1 {
            self.wake_one();
        }
    }

    fn put_global(&self, task: usize) {
        let mut global = lock(&self.global);
        if global.closed {
            drop(global);
            // Runs the future's Drop, with no lock held.
            drop(word::to_task(task));
            return;
        }
        global.tasks.push_back(task);
        drop(global);
        self.wake_one();
    }

    /// This thread is about to hand over what a poll made ready: the tasks go to the end of its ring, in order. When the
    /// batch is dropped, another worker is woken if there were more tasks than this one can begin.
    pub fn batch(&self, tasks: usize) -> Batch<'_> {
        current::set_injecting(true);
        Batch { sched: self, tasks }
    }

    /// Worker: the task that was made ready last.
    #[inline]
    pub fn get_next(&self, worker: usize) -> Option<Runnable<Origin>> {
        self.workers[worker].runq.get_next().map(word::to_task)
    }

    /// Worker: sends the task in the slot to the end of the ring, so that the others get their turn.
    pub fn rotate(&self, worker: usize) {
        if let Some(task) = self.workers[worker].runq.get_next() {
            self.put_local(worker, task, true);
        }
    }

    /// Worker: the next task of its ring.
    #[inline]
    pub fn get_local(&self, worker: usize) -> Option<Runnable<Origin>> {
        self.workers[worker].runq.get().map(word::to_task)
    }

    /// Worker: how many tasks it could run now, its own and those of nobody.
    pub fn runnable(&self, worker: usize) -> usize {
        self.workers[worker].runq.len() + lock(&self.global).tasks.len()
    }

    /// How many tasks are in its ring and its slot.
    pub fn queued(&self, worker: usize) -> usize {
        self.workers[worker].runq.len()
    }

    /// Worker: how many tasks fit into its ring.
    pub fn room(&self, worker: usize) -> usize {
        self.workers[worker].runq.room()
    }

    /// The first task of the global queue.
    pub fn get_global(&self) -> Option<Runnable<Origin>> {
        let task = lock(&self.global).tasks.pop_front();
        task.map(word::to_task)
    }

    /// Worker, before it looks at the kernel: its share of the global queue, up to half of the room in its ring. A busy
    /// kernel fills the ring each time; without this, who is in the global queue would wait for one turn in 61.
    pub fn refill(&self, worker: usize) {
        let runq = &self.workers[worker].runq;
        let mut global = lock(&self.global);
        for _ in 0..runq.room().div_ceil(2).min(global.tasks.len().div_ceil(self.workers.len())) {
            let Some(task) = global.tasks.pop_front() else { return };
            if let Err(task) = runq.put(task) {
                global.tasks.push_front(task);
                return;
            }
        }
    }

    /// Worker: half of another worker's ring, or the task in its slot; `from` is the first to be asked.
    pub fn steal(&self, worker: usize, from: usize) -> Option<Runnable<Origin>> {
        let n = self.workers.len();
        let mine = &self.workers[worker].runq;
        let others = || (0..n).map(|i| (from + i) % n).filter(|&other| other != worker);
        let task = others()
            .find_map(|other| self.workers[other].runq.steal_into(mine))
            .or_else(|| others().find_map(|other| self.workers[other].runq.get_next()))?;
        self.counts.steals.inc();
        Some(word::to_task(task))
    }

    /// True while there is a task in any ring or in the global queue; asked by a worker that has announced that it
    /// sleeps. (A task in a slot has an owner that is awake.)
    pub fn has_work(&self) -> bool {
        self.workers.iter().any(|worker| worker.runq.ring_len() > 0) || !lock(&self.global).tasks.is_empty()
    }

    /// True while a task waits in the slot of some worker; asked by the backstop.
    pub fn has_next(&self) -> bool {
        self.workers.iter().any(|worker| worker.runq.len() > worker.runq.ring_len())
    }

    /// True once the runtime is shut down.
    pub fn is_closed(&self) -> bool {
        self.shutdown.is_set()
    }

    /// Wakes a worker for work that was just put, unless one is awake and searching (Go's `wakep`).
    pub fn wake_one(&self) {
        if self.workers.len() > 1 && self.idle.any_searching() {
            return;
        }
        if let Some(worker) = self.idle.take_sleeper() {
            self.wake(worker);
        }
    }

    /// Wakes a worker whose idle bit the caller has cleared, wherever it sleeps.
    fn wake(&self, worker: usize) {
        if self.netpoll.turn().is_held_by(worker) {
            self.netpoll.wake();
        } else if let Some(thread) = &*lock(&self.workers[worker].thread) {
            thread.unpark();
        }
    }

    /// Ends the poll of a worker that is to look at what it was told to stop for, which the caller has set.
    pub fn break_poll_of(&self, worker: usize) {
        if self.netpoll.turn().is_held_by(worker) {
            self.netpoll.wake();
        }
    }

    /// Worker: back from sleep; the backstop keeps watch again.
    pub fn wake_sysmon(&self) {
        if self.sysmon_sleeps.is_set()
            && self.sysmon_sleeps.clear()
            && let Some(thread) = self.sysmon.get()
        {
            thread.unpark();
        }
    }

    /// The backstop's thread introduces itself.
    pub fn set_sysmon(&self, thread: Thread) {
        self.sysmon.get_or_init(|| thread);
    }

    /// The backstop is about to sleep until a worker wakes up.
    pub fn sysmon_sleeps(&self) {
        self.sysmon_sleeps.set();
    }

    /// Refuses tasks from now on and wakes every worker, to end.
    pub fn close(&self) {
        lock(&self.global).closed = true;
        self.shutdown.set();
        while let Some(worker) = self.idle.take_sleeper() {
            self.wake(worker);
        }
        for worker in &self.workers {
            if let Some(thread) = &*lock(&worker.thread) {
                thread.unpark();
            }
        }
        self.netpoll.wake();
        if let Some(thread) = self.sysmon.get() {
            thread.unpark();
        }
    }
}

/// While it lives, this thread hands over what a poll made ready.
#[must_use]
pub struct Batch<'a> {
    sched: &'a Sched,
    tasks: usize,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        current::set_injecting(false);
        if self.tasks > 1 && self.sched.workers.len() > 1 {
            self.sched.wake_one();
        }
    }
}

/// No lock of this file is held while foreign code runs, so a panic cannot leave one in the middle of something.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
