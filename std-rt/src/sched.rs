//! The run queues of a runtime, a global one and a ring for each worker, and the rule by which workers are woken (Go's
//! `runqput`, `globrunqput`, `wakep`, `injectglist`).
//!
//! The path of a task: [`Schedule::schedule`](crate::task::Schedule::schedule) → the ring of the worker that this thread is, else the global queue →
//! [`Sched::wake_one`], if a worker sleeps that could run it.
//!
//! # Lines that workers share
//!
//! A line that one worker writes and another reads costs both a miss, the more workers there are the more often. This is every
//! line that a message on a connection writes, with its readers, from the sources; the event comes by a poll that serves `k`
//! messages. With one worker nothing is shared. From 2 to 64 workers the lines are the same, and the number of their readers
//! grows.
//!
//! | how often | line | written by | read by |
//! |---|---|---|---|
//! | message | state of the descriptor, of its `Fd`, of the task | the poller's owner and the task's worker | these two, which most often are one |
//! | message | ring and slot of the worker ([`Remote`]) | its worker | thieves; the monitor; [`Sched::has_work`] before each sleep |
//! | message | [`WorkerStats`] | its worker, two stores | thieves that found nothing, the monitor |
//! | `k` messages | [`WakeRule`]: the mean | every worker that polls | every worker that polls |
//! | `k` messages | the poller's lock and counters | its owner | whoever wakes a worker or tries to poll |
//! | `k` messages, with several pollers a millisecond | the clock's tick of the last poll | every worker that polls | every task that parks or moves a deadline |
//! | sleep | idle bits and count of searchers ([`Idle`]); the poller's lock; [`Counts`]; the monitor's flag | the sleeper, the thread that wakes it | every thread that puts a task where a worker could run it |
//! | connection | head of the free list, number of descriptors (core's `PollCache`) | the thread that opens or closes | the same |
//! | task | [`TaskShard`] of the worker that spawned it | that worker; the one that ends the task | metrics |
//!
//! So a message writes no line that all workers write. The number of parked tasks is not counted: metrics and the standby thread
//! look at the descriptors.

mod config;
mod context;
mod handle;
mod remote;
mod wake_rule;

use std::any::Any;
use std::collections::VecDeque;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

use crossbeam_utils::CachePadded;
use netpoll_core::sched::idle::Idle;
use netpoll_core::sync::{Counter, Flag, RelaxedUsize};

use crate::netpoll::{Netpoll, PollBuffer};
use crate::protocol::ending::{Enders, Ending};
use crate::protocol::hand_over::Spares;
use crate::protocol::pool::Pool;
use crate::sys::{self, PerProcess};
use crate::task::{Runnable, TaskNames};
pub use config::{Around, Hook, Hooks, ThreadNames, WorkerConfig};
pub use context::{CurrentGuard, EnterGuard, LentWorker, is_worker_thread, sched_of_worker};
use handle::TaskShard;
pub use handle::{SchedHandle, drop_task};
use remote::{RING, to_task};
pub use remote::{Remote, StealBuffer, WorkerStats};
pub use wake_rule::WakeRule;

/// Words of 64 (32) workers each.
const IDLE_WORDS: usize = 4;

/// The most workers that a runtime can have: 256 on a 64-bit host.
pub const MAX_WORKERS: usize = Idle::<IDLE_WORDS>::MAX_WORKERS;

/// Tasks that no worker has yet. Cold: workers look here when their own ring is empty, and every 61 turns.
#[derive(Debug, Default)]
struct GlobalQueue {
    queue: Mutex<Global>,
    /// The number of tasks, written under the mutex. A worker that reads 0 takes no lock: if that is out of date, the thread
    /// that put the task reads the idle bits after it, and the worker reads the number again after it has set its bit (INV-8).
    len: RelaxedUsize,
}

#[derive(Debug, Default)]
struct Global {
    tasks: VecDeque<Runnable>,
    closed: bool,
}

/// The number of tasks for which the empty global queue keeps its memory.
const KEPT_CAPACITY: usize = 4096;

/// The lock of the global queue. Its drop publishes the number of tasks, and frees the memory of a queue that is empty and was
/// long.
struct GlobalGuard<'a> {
    global: MutexGuard<'a, Global>,
    len: &'a RelaxedUsize,
    /// Memory of the queue to be freed. The last field: it is dropped after the lock.
    spare: VecDeque<Runnable>,
}

impl Deref for GlobalGuard<'_> {
    type Target = Global;

    fn deref(&self) -> &Global {
        &self.global
    }
}

impl DerefMut for GlobalGuard<'_> {
    fn deref_mut(&mut self) -> &mut Global {
        &mut self.global
    }
}

impl Drop for GlobalGuard<'_> {
    fn drop(&mut self) {
        let tasks = &mut self.global.tasks;
        self.len.set(tasks.len());
        if tasks.is_empty() && tasks.capacity() > KEPT_CAPACITY {
            self.spare = std::mem::take(tasks);
        }
    }
}

impl GlobalQueue {
    fn lock(&self) -> GlobalGuard<'_> {
        GlobalGuard { global: lock(&self.queue), len: &self.len, spare: VecDeque::new() }
    }

    /// Locks the queue if it has tasks.
    #[inline]
    fn lock_nonempty(&self) -> Option<GlobalGuard<'_>> {
        (self.len() > 0).then(|| self.lock())
    }

    #[inline]
    fn len(&self) -> usize {
        self.len.get()
    }
}

/// The counters of one scheduler, from its creation on.
#[derive(Debug, Default)]
pub struct Counts {
    /// Tasks taken from another worker's queue.
    pub steals: Counter,
    /// Times that a worker went to sleep without the poller.
    pub parks: Counter,
    /// Short polls before a sleep that found something.
    pub spin_hits: Counter,
    /// Short polls before a sleep that found nothing.
    pub spin_misses: Counter,
    /// Tasks that have held their worker for longer than they should.
    pub stuck: Counter,
}

/// The run queues of one runtime. A field that workers write has cache lines of its own: every worker reads those beside it
/// for each task.
#[derive(Debug)]
pub struct Sched {
    netpoll: Arc<Netpoll>,
    pool: Arc<Pool>,
    global: CachePadded<GlobalQueue>,
    workers: Box<[Arc<Remote>]>,
    idle: CachePadded<Idle<IDLE_WORDS>>,
    /// One for each worker, and one for all threads that are no workers.
    shards: Box<[TaskShard]>,
    /// The names of the tasks that have one.
    names: Arc<TaskNames>,
    sysmon: OnceLock<Thread>,
    sysmon_sleeps: CachePadded<Flag>,
    /// Set once, by `close`. Workers look at it between two tasks.
    shutdown: Flag,
    counts: CachePadded<Counts>,
    ending: Arc<Ending<Runnable>>,
    spares: Spares,
    /// Set if there is one worker, which is the thread that is in `block_on`.
    threadless: bool,
    config: WorkerConfig,
    wake_rule: CachePadded<WakeRule>,
    hooks: Hooks,
    extension: Option<Extension>,
}

/// The threads that end a runtime, over all runtimes.
static ENDERS: PerProcess<Arc<Enders>> = PerProcess::new();

/// A value that a library keeps with a runtime.
pub type Extension = Arc<dyn Any + Send + Sync>;

impl Sched {
    /// Creates the queues of a number of workers, 1 to [`MAX_WORKERS`], which do not run yet. A scheduler that is `threadless`
    /// has one worker, which is the thread that is in `block_on`.
    pub fn new(
        netpoll: Arc<Netpoll>,
        workers: usize,
        threadless: bool,
        pool: Arc<Pool>,
        config: WorkerConfig,
        hooks: Hooks,
        extension: Option<Extension>,
    ) -> Arc<Self> {
        let names = TaskNames::new(netpoll.fork_epoch());
        Arc::new(Self {
            netpoll,
            pool,
            global: CachePadded::default(),
            workers: (0..workers).map(|_| Arc::new(Remote::new(threadless))).collect(),
            idle: CachePadded::default(),
            shards: (0..=workers).map(|_| TaskShard::default()).collect(),
            names,
            sysmon: OnceLock::new(),
            sysmon_sleeps: CachePadded::default(),
            shutdown: Flag::new(),
            counts: CachePadded::default(),
            ending: Arc::new(Ending::new(ENDERS.get().clone())),
            spares: Spares::default(),
            threadless,
            config,
            wake_rule: CachePadded::new(WakeRule::new(config.monitored)),
            hooks,
            extension,
        })
    }

    /// Returns the value that a library keeps with the runtime.
    pub fn extension(&self) -> Option<&Extension> {
        self.extension.as_ref()
    }

    /// Returns the settings of the workers.
    pub fn config(&self) -> WorkerConfig {
        self.config
    }

    /// Returns the hooks of the threads.
    #[inline]
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// Returns the poller of the runtime.
    pub fn netpoll(&self) -> &Arc<Netpoll> {
        &self.netpoll
    }

    /// Returns the pool for work that blocks.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Returns the number of workers.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Returns true if the one worker is the thread that is in `block_on`.
    pub fn is_threadless(&self) -> bool {
        self.threadless
    }

    /// Returns the state of the shutdown: the threads, and the tasks that are woken after [`Sched::close`].
    pub fn ending(&self) -> &Arc<Ending<Runnable>> {
        &self.ending
    }

    /// Returns the threads that wait to become a worker.
    pub fn spares(&self) -> &Spares {
        &self.spares
    }

    /// Returns the set of sleeping workers.
    pub fn idle(&self) -> &Idle<IDLE_WORDS> {
        &self.idle
    }

    /// Returns the counters.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Puts tasks at the end of the global queue. After [`Sched::close`] they are not run but dropped: by the thread that
    /// ends the runtime, or here if that has ended.
    fn put_global(&self, tasks: impl IntoIterator<Item = Runnable>) {
        if !self.netpoll.is_owner_process() {
            // A child of fork(2) runs no task of its parent: these copies stay as they are. The lock may be held for ever.
            return tasks.into_iter().for_each(mem::forget);
        }
        let mut global = self.global.lock();
        if global.closed {
            drop(global);
            // Runs the futures' Drop, with no lock held.
            let left = tasks.into_iter().filter_map(|task| self.ending.defer_drop(task));
            return left.for_each(drop_task);
        }
        if global.tasks.capacity() == 0 {
            // A small block, once freed, would keep the memory below it, as in the module `timer`.
            global.tasks.reserve(RING);
        }
        global.tasks.extend(tasks);
        let waiting = global.tasks.len();
        drop(global);
        // A worker that is awake looks here when it has run its own tasks, and before it sleeps (INV-8).
        if self.wake_rule.is_worth_in_global(waiting) || self.idle.all_parked(self.workers.len()) {
            self.wake_one();
        }
    }

    /// Worker: moves the older half of its full ring and then `task` to the global queue, where others may fetch them. One
    /// lock serves many tasks.
    #[cold]
    fn overflow(&self, mine: &Remote, task: Runnable) {
        let mut tasks = [NonNull::dangling(); RING / 2 + 1];
        let n = mine.runq.take_half(RING / 2, |i, task| tasks[i] = task);
        tasks[n] = task.into_raw();
        self.put_global(tasks[..=n].iter().copied().map(to_task));
    }

    /// Wakes the tasks that a poll made ready (Go's `injectglist`): in order, to the end of this thread's ring if it is a
    /// worker. Another worker is woken if the tasks are worth it.
    #[inline]
    pub fn inject(&self, buffer: &mut PollBuffer) {
        let ready = buffer.len();
        context::inject_woken(self, buffer.drain());
        if self.workers.len() > 1 && self.wake_rule.is_worth(ready) {
            self.wake_one();
        }
        buffer.drop_removed();
    }

    /// Worker that has polled, and is about to run foreign code: in a runtime without a monitor it wakes another one, to poll
    /// meanwhile. One that went to sleep while this one held the poller's lock sleeps on its park token.
    #[inline]
    pub fn keep_polling(&self) {
        if self.must_keep_polling() {
            self.wake_one();
        }
    }

    /// Returns true if a worker must be woken to poll: no monitor sees that no thread does.
    #[inline]
    fn must_keep_polling(&self) -> bool {
        !self.wake_rule.guesses() && self.workers.len() > 1 && self.netpoll.is_any_unlocked()
    }

    /// Worker: wakes another one if there is work enough for it, or a poller for which it must be woken: a thread that has put a
    /// task or unlocked a poller relied on this worker's search. (A task in a ring has an owner that is awake.)
    pub fn share_work(&self) {
        let in_rings = || self.workers.iter().map(|worker| worker.runq.ring_len()).sum();
        let rule = &self.wake_rule;
        if rule.is_worth_in_global(self.global.len()) || rule.is_worth(in_rings()) || self.must_keep_polling()
        {
            self.wake_one();
        }
    }

    /// Returns the rule by which a worker that has polled wakes another one.
    pub fn wake_rule(&self) -> &WakeRule {
        &self.wake_rule
    }

    /// Returns the shared part of a worker.
    pub fn worker(&self, worker: usize) -> &Arc<Remote> {
        &self.workers[worker]
    }

    /// Worker: moves the task in the slot to the end of the ring, so that the other tasks get a turn.
    pub fn rotate(&self, mine: &Remote) {
        if let Some(task) = mine.get_next()
            && let Err(task) = mine.put(task, true)
        {
            self.overflow(mine, task);
        }
    }

    /// Worker: lets the seed of a simulation choose the task that comes next. Compiles to nothing elsewhere.
    #[inline(always)]
    pub fn shuffle(&self, mine: &Remote) {
        if sys::is_simulated() {
            let overtaken = sys::choose_task(mine.queued());
            if overtaken > 0 {
                self.rotate(mine);
                self.put_behind(mine, overtaken);
            }
        }
    }

    /// Worker: returns the number of tasks that it could run now, its own and those in the global queue.
    pub fn runnable(&self, mine: &Remote) -> usize {
        mine.queued() + self.global.len()
    }

    /// Returns the number of tasks in the global queue.
    pub fn global_len(&self) -> usize {
        self.global.len()
    }

    /// Worker: takes the first task of the global queue.
    pub fn get_global(&self) -> Option<Runnable> {
        self.global.lock_nonempty()?.tasks.pop_front()
    }

    /// Takes the first task of the global queue when the runtime ends, and every task counts.
    fn take_global(&self) -> Option<Runnable> {
        self.global.lock().tasks.pop_front()
    }

    /// Worker with an empty ring: takes the first task of the global queue, and moves its share of the others to the ring.
    #[inline]
    pub fn get_share(&self, mine: &Remote) -> Option<Runnable> {
        if self.global.len() > 0 { self.take_share(mine) } else { None }
    }

    #[cold]
    fn take_share(&self, mine: &Remote) -> Option<Runnable> {
        let mut global = self.global.lock();
        let task = global.tasks.pop_front()?;
        let left = self.move_share(global, mine, mine.room().div_ceil(2));
        if self.workers.len() > 1 && self.wake_rule.is_worth_in_global(left) {
            self.wake_one();
        }
        Some(task)
    }

    /// Worker: moves its share of the global queue to its ring, up to half of the room there, before it polls. Events of a
    /// busy poller fill the ring each time. Without this the tasks in the global queue would get one turn in 61.
    pub fn refill(&self, mine: &Remote) {
        if let Some(global) = self.global.lock_nonempty() {
            self.move_share(global, mine, mine.room().div_ceil(2));
        }
    }

    /// Worker: moves its share of the global queue to its ring after a turn that has spent its budget. Half of the ring stays
    /// free for events.
    pub fn refill_half(&self, mine: &Remote) {
        let most = mine.room().saturating_sub(RING / 2);
        if most > 0
            && let Some(global) = self.global.lock_nonempty()
        {
            self.move_share(global, mine, most);
        }
    }

    /// Worker: puts the first `n` tasks of its ring behind the others.
    pub fn put_behind(&self, mine: &Remote, n: usize) {
        for _ in 0..n {
            let Some(task) = mine.get_local() else { return };
            if let Err(task) = mine.put(task, true) {
                self.overflow(mine, task);
            }
        }
    }

    /// Moves that share, `most` at most, and unlocks the queue. Returns the number of tasks that are left.
    fn move_share(&self, mut global: GlobalGuard<'_>, mine: &Remote, most: usize) -> usize {
        let runq = &mine.runq;
        for _ in 0..most.min(self.wake_rule.share(global.tasks.len(), self.workers.len())) {
            let Some(task) = global.tasks.pop_front() else { break };
            if let Err(task) = runq.put(task.into_raw()) {
                global.tasks.push_front(to_task(task));
                break;
            }
        }
        global.tasks.len()
    }

    /// Worker: takes half of another worker's ring; `from` is the first worker that is tried.
    pub fn steal(&self, worker: usize, from: usize) -> Option<Runnable> {
        let mine = &self.workers[worker].runq;
        let task = self.others(worker, from).find_map(|other| self.workers[other].runq.steal_into(mine))?;
        self.counts.steals.inc();
        Some(to_task(task))
    }

    /// Returns another worker that has a task in its slot, and how often that worker has looked for a task.
    pub fn find_next(&self, worker: usize, from: usize) -> Option<(usize, usize)> {
        let other = self.others(worker, from).find(|&other| self.workers[other].has_next())?;
        Some((other, self.workers[other].stats.tick()))
    }

    /// Worker: takes the task in the slot of another worker.
    pub fn steal_next(&self, other: usize) -> Option<Runnable> {
        let task = self.workers[other].runq.get_next()?;
        self.counts.steals.inc();
        Some(to_task(task))
    }

    fn others(&self, worker: usize, from: usize) -> impl Iterator<Item = usize> {
        let n = self.workers.len();
        (0..n).map(move |i| (from + i) % n).filter(move |&other| other != worker)
    }

    /// Returns true while there is a task in any ring or in the global queue. Called by a worker that has announced that it
    /// sleeps. (A task in a slot has an owner that is awake.)
    pub fn has_work(&self) -> bool {
        self.workers.iter().any(|worker| worker.runq.ring_len() > 0) || self.global.len() > 0
    }

    /// Returns true while a task waits in the slot of some worker. Called by the monitor.
    pub fn has_next(&self) -> bool {
        self.workers.iter().any(|worker| worker.runq.len() > worker.runq.ring_len())
    }

    /// Returns true once the runtime is shut down.
    pub fn is_closed(&self) -> bool {
        self.shutdown.is_set()
    }

    /// Wakes a worker for work that was just put, unless one is awake and searching (Go's `wakep`).
    pub fn wake_one(&self) {
        // A worker that polls goes on polling if another one sleeps.
        if let Some(worker) = self.idle.worker_to_notify(self.netpoll.polling_workers()) {
            self.wake(worker);
        }
    }

    /// Wakes a worker whose idle bit the caller has cleared, in the poller or on its park token.
    fn wake(&self, worker: usize) {
        if !self.netpoll.is_owner_process() {
            // The thread is the parent's, and the lock may be held for ever.
            return;
        }
        if self.netpoll.wake_worker(worker) {
            return;
        }
        if let Some(thread) = &*lock(&self.workers[worker].thread) {
            thread.unpark();
        }
    }

    /// Ends the poll of a worker that is to look at its stop flag, which the caller has set.
    pub fn break_poll_of(&self, worker: usize) {
        self.netpoll.wake_worker(worker);
    }

    /// Worker: wakes the monitor if it sleeps, when the worker is back from its own sleep.
    pub fn wake_sysmon(&self) {
        if self.sysmon_sleeps.is_set()
            && self.sysmon_sleeps.clear()
            && let Some(thread) = self.sysmon.get()
        {
            thread.unpark();
        }
    }

    /// Sets the thread of the monitor.
    pub fn set_sysmon(&self, thread: Thread) {
        self.sysmon.get_or_init(|| thread);
    }

    /// Records that the monitor is about to sleep until a worker wakes up.
    pub fn sysmon_sleeps(&self) {
        self.sysmon_sleeps.set();
    }

    /// Records that the monitor is awake. Returns whether a worker has woken it since [`Sched::sysmon_sleeps`].
    pub fn sysmon_was_woken(&self) -> bool {
        !self.sysmon_sleeps.clear()
    }

    /// Refuses tasks from now on and wakes every worker, to end.
    pub fn close(&self) {
        self.global.lock().closed = true;
        self.shutdown.set();
        while let Some(worker) = self.idle.pop_idle() {
            self.wake(worker);
        }
        for worker in &self.workers {
            if let Some(thread) = &*lock(&worker.thread) {
                thread.unpark();
            }
        }
        self.spares.close();
        self.netpoll.wake();
        if let Some(thread) = self.sysmon.get() {
            thread.unpark();
        }
    }
}

/// Locks a mutex of this module. No foreign code runs under one, so a panic cannot leave its state inconsistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
