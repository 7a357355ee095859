//! A worker: takes the next task and runs it, polls when there is none, sleeps when there is nothing (Go's `schedule`
//! and `findRunnable`).

mod short_wait;

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use netpoll_core::sync::Flag;

use crate::coop;
use crate::moderation::Moderation;
use crate::netpoll::{Netpoll, PollBuffer, PollGuard, clock};
use crate::sched::{EnterGuard, Remote, Sched, SchedHandle, WorkerConfig, WorkerStats};
use crate::spin::Spin;
use crate::sys::ForkEpoch;
use crate::task::{self, Locals, Runnable};

/// The number of tasks after which the global queue comes first, so that a busy ring cannot starve it (Go's 61).
const GLOBAL_INTERVAL: u32 = 61;

/// The number of tasks out of the slot in a row, after which the ring has its turn: two tasks that wake each other do not
/// keep the rest waiting.
const NEXT_IN_A_ROW: u32 = 3;

/// The nanoseconds after a poll after which the yield of a future that runs alone polls again, however few yields that were.
const POLL_AFTER: u64 = 100_000;

/// One worker's private state. Methods take `&self`, since a task that calls `block_on` runs the worker from within.
pub struct Worker {
    /// The scheduler that the handle of this worker refers to.
    sched: Arc<Sched>,
    handle: Arc<SchedHandle>,
    index: usize,
    mine: Arc<Remote>,
    /// The process that made the runtime: that of its poller, at hand for each task.
    epoch: ForkEpoch,
    /// Taken out while the worker polls.
    buffer: Cell<Option<Box<PollBuffer>>>,
    /// Tasks until the next look at the kernel.
    poll_in: Cell<u32>,
    /// Set if the last task was woken in its turn and has used up its budget.
    spent: Cell<bool>,
    /// Set if a task has been woken in its turn since the last poll.
    yielded: Cell<bool>,
    config: WorkerConfig,
    next_in_a_row: Cell<u32>,
    random: Cell<u32>,
    spin: RefCell<Spin>,
    moderation: Cell<Moderation>,
    /// Set while the worker naps again and again.
    in_stream: Cell<bool>,
    /// Set while the worker counts as searching: since another thread has woken it, or since it began to steal.
    searching: Cell<bool>,
    /// Set if another thread has woken the worker since it last ran a task: it then watches every poller in its sleep.
    was_woken: Cell<bool>,
    /// Counts the looks at other workers' pollers.
    turn: Cell<usize>,
    /// Another worker that had a task in its slot at the last search, and its tick.
    held: Cell<Option<(usize, usize)>>,
    /// The tick of [`clock`] at which the worker last polled or woke up, and the count of tasks then.
    polled: Cell<(u64, usize)>,
    /// The tasks that stay on this thread, once there is one.
    locals: OnceCell<Arc<Locals<Arc<SchedHandle>>>>,
    /// Set while another thread is this worker, or has become it for good: see `runtime::block_in_place`.
    handed_over: Cell<bool>,
    /// Set while a call of `block_on` within the worker's own steps runs tasks: after it the thread goes on as this worker.
    kept: Cell<bool>,
}

/// The outcome of a poll: when it returned, how many tasks are ready, and whether there were events or only timers.
struct PollOutcome {
    at: u64,
    ready: usize,
    by_event: bool,
}

impl Worker {
    /// Creates worker number `index` of a scheduler.
    pub fn new(sched: &Arc<SchedHandle>, index: usize) -> Self {
        let config = sched.config();
        Self {
            mine: sched.worker(index).clone(),
            sched: sched.sched().clone(),
            handle: sched.for_worker(index),
            epoch: sched.netpoll().fork_epoch(),
            index,
            buffer: Cell::new(None),
            poll_in: Cell::new(config.event_interval),
            spent: Cell::new(false),
            yielded: Cell::new(false),
            config,
            next_in_a_row: Cell::new(0),
            random: Cell::new(0x9e37_79b9 ^ (index as u32 + 1)),
            spin: RefCell::new(Spin::new(config.spin)),
            moderation: Cell::default(),
            in_stream: Cell::new(false),
            searching: Cell::new(false),
            was_woken: Cell::new(false),
            turn: Cell::new(index),
            held: Cell::new(None),
            polled: Cell::new((clock::now(), 0)),
            locals: OnceCell::new(),
            handed_over: Cell::new(false),
            kept: Cell::new(false),
        }
    }

    /// Returns the worker's number.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the worker of that scheduler that this thread is, if it is one.
    pub fn current(sched: &Sched) -> Option<Rc<Worker>> {
        sched.current_worker()?.downcast().ok()
    }

    /// Makes this thread work for the scheduler as this worker.
    pub fn enter(self: &Rc<Self>) -> EnterGuard {
        self.handle.enter_worker(self.clone())
    }

    /// Runs tasks on this thread until `stop` is set, which is looked at between two tasks, or the runtime is shut down;
    /// without it only until then.
    pub fn run(&self, stop: Option<&Flag>) {
        while let Some(task) = self.find_runnable(stop) {
            self.run_task(task);
        }
        self.end_turns();
    }

    /// Returns whether another thread is this worker, so that this thread is not to run tasks.
    pub fn is_handed_over(&self) -> bool {
        self.handed_over.get()
    }

    /// Sets whether another thread is this worker.
    pub fn set_handed_over(&self, on: bool) {
        self.handed_over.set(on);
        // `next_task` looks at the mark when it is about to poll.
        self.poll_in.set(1);
    }

    /// Returns whether this thread is to stay this worker.
    pub fn is_kept(&self) -> bool {
        self.kept.get()
    }

    /// Sets whether this thread is to stay this worker; returns what was set before.
    pub fn set_kept(&self, on: bool) -> bool {
        self.kept.replace(on)
    }

    /// Records that the worker runs no task.
    fn end_turns(&self) {
        if !self.handed_over.get() {
            self.stats().take_running();
        }
        task::end_turn();
    }

    /// Runs the tasks that are in this worker's queue now, 61 at most. `block_on` calls it before it polls its own future
    /// again, so that the future comes after them.
    pub fn run_queued(&self) {
        self.run_some(self.mine.queued().min(GLOBAL_INTERVAL as usize));
    }

    /// Runs up to `n` tasks.
    fn run_some(&self, n: usize) {
        for _ in 0..n {
            let task = if self.should_stop(None) { None } else { self.next_task() };
            let Some(task) = task else { break };
            self.run_task(task);
        }
        self.end_turns();
    }

    /// Polls a task once.
    #[inline]
    fn run_task(&self, task: Runnable) {
        self.stats().begin(task.meta());
        coop::set_budget(self.config.budget);
        task::begin_turn(task.id());
        if task.run() {
            self.yielded.set(true);
            // Tasks that wait for events come before its next turn.
            if coop::is_exhausted() {
                self.spent.set(true);
                self.poll_in.set(1);
            }
        }
        // The task may have forked: in the child the other tasks are the parent's, and so are the events.
        if !self.epoch.is_current() {
            self.poller_failed(None);
        }
    }

    /// Returns this worker's statistics.
    #[inline]
    pub fn stats(&self) -> &WorkerStats {
        &self.mine.stats
    }

    /// Returns the tasks that stay on this thread.
    pub fn locals(&self) -> &Arc<Locals<Arc<SchedHandle>>> {
        self.locals.get_or_init(|| Locals::new(self.handle.clone()))
    }

    /// Drops the tasks that stay on this thread, which is about to leave the runtime.
    pub fn drop_locals(&self) {
        if let Some(locals) = self.locals.get() {
            locals.end();
        }
    }

    /// Gives every task that is runnable now a turn. Without such a task it counts as a turn itself, and polls the kernel when
    /// that is due; if tasks run in order, then each time. Does not sleep.
    pub fn run_ready(&self) {
        match self.sched.runnable(&self.mine) {
            0 if !self.config.lifo_slot || self.is_poll_due() => self.poll_now(),
            0 => {}
            n => self.run_some(n),
        }
    }

    /// Counts a turn and returns whether the next look at the kernel is due, by the number of turns or by the time: a future
    /// that yields may work for long between two yields.
    fn is_poll_due(&self) -> bool {
        let poll_in = self.poll_in.get() - 1;
        self.poll_in.set(poll_in);
        poll_in == 0 || clock::now().saturating_sub(self.polled.get().0) >= POLL_AFTER
    }

    /// Returns the next task; sleeps until there is one.
    #[inline(always)]
    fn find_runnable(&self, stop: Option<&Flag>) -> Option<Runnable> {
        if self.should_stop(stop) {
            self.stop_searching();
            return None;
        }
        self.next_task().or_else(|| self.wait_for_task(stop))
    }

    /// Polls and sleeps until there is a task. Out of line, so that the loop which runs tasks keeps its registers.
    #[inline(never)]
    fn wait_for_task(&self, stop: Option<&Flag>) -> Option<Runnable> {
        while !self.handed_over.get() {
            self.wait_once(stop);
            let stops = self.should_stop(stop);
            let task = if stops { None } else { self.next_task() };
            if stops || task.is_some() {
                self.stop_searching();
                // It may not poll for long now.
                self.was_woken.set(false);
                self.sched.keep_polling();
                return task;
            }
        }
        None
    }

    /// Polls, and sleeps unless it finds something to do before.
    #[inline]
    fn wait_once(&self, stop: Option<&Flag>) {
        task::end_turn();
        // Dropping the waker of a timer may make a task runnable.
        if self.netpoll().flush_removed() {
            return;
        }
        let began = clock::now();
        self.record_run(began);
        if self.spin_before_park(began, stop) || self.nap(stop) || self.call_park_hook(stop) {
            return;
        }
        self.park(began, stop);
        if self.sched.hooks().unpark.is_set() {
            // The hook is foreign code, which may take long.
            self.stop_searching();
            self.sched.keep_polling();
            self.sched.hooks().unpark.call();
        }
    }

    /// Calls the hook of a worker that is about to sleep. Returns true if the worker is not to sleep, as the hook has made tasks
    /// runnable, or dropped timers.
    fn call_park_hook(&self, stop: Option<&Flag>) -> bool {
        if !self.sched.hooks().park.call() {
            return false;
        }
        if stop.is_some_and(Flag::is_set) {
            // A hook that ends every wait would keep the worker from its events and timers.
            self.poll_now();
        }
        let has_work = self.netpoll().flush_removed() || self.mine.queued() > 0;
        if has_work {
            self.sched.hooks().unpark.call();
        }
        has_work
    }

    /// Sleeps until there is something to do; the worker has had no task since `began`.
    fn park(&self, began: u64, stop: Option<&Flag>) {
        // Looking would end neither a sleep on the token (others share what they have) nor one until a timer sooner.
        if let Some(guard) = self.prepare_park(stop) {
            let may_sleep = || self.sched.idle().is_parked(self.index) && !stop.is_some_and(Flag::is_set);
            let outcome = self.poll(|buffer| {
                let polled = guard.block(buffer, may_sleep, || self.may_advance());
                // Before the tasks are put, or this worker would be woken for them.
                self.unpark();
                polled
            });
            let waited = outcome.at.saturating_sub(began);
            let by_thread = outcome.ready == 0 && (self.should_stop(stop) || self.sched.has_work());
            if outcome.by_event || by_thread {
                self.with_spin(|spin| spin.slept(waited, outcome.ready));
            }
            if by_thread {
                self.record_wait(waited);
            }
        } else {
            self.unpark();
            self.polled.set((clock::now(), self.stats().tick()));
            self.record_wait(self.polled.get().0.saturating_sub(began));
        }
    }

    /// Returns whether a paused clock may move on to the next timer: no thread of the pool has work. If one has, the end of that
    /// work sends a break.
    fn may_advance(&self) -> bool {
        let netpoll = self.sched.netpoll().clone();
        self.sched.pool().is_idle_or(move || netpoll.wake())
    }

    fn poll_interval(&self) -> u32 {
        self.sched.wake_rule().poll_interval(self.config.event_interval)
    }

    /// Records for how long the worker has not polled, until now. Returns whether the tasks that it ran were long.
    fn record_run(&self, now: u64) -> bool {
        let (since, tick) = self.polled.replace((now, self.stats().tick()));
        let looks = self.stats().tick().wrapping_sub(tick);
        self.sched.wake_rule().ran(now.saturating_sub(since), looks as u64)
    }

    /// Makes a poll, which unlocks the poller, and injects the tasks that it made ready.
    fn poll(&self, poll: impl FnOnce(&mut PollBuffer) -> io::Result<()>) -> PollOutcome {
        let mut buffer = self.buffer.take().unwrap_or_default();
        // No more than fit into the ring.
        buffer.limit(self.mine.room().min(self.config.events_per_poll));
        let polled = poll(&mut buffer);
        if !buffer.is_empty() || buffer.has_removed() {
            // It has found work, and calls foreign code: other wakers, and the destructors of the tasks of removed timers.
            self.stop_searching();
        }
        let outcome =
            PollOutcome { at: buffer.polled_at(), ready: buffer.len(), by_event: buffer.has_events() };
        self.poll_in.set(self.poll_interval());
        self.polled.set((outcome.at, self.stats().tick()));
        self.sched.inject(&mut buffer);
        self.buffer.set(Some(buffer));
        self.check_alive(polled);
        outcome
    }

    #[inline]
    fn should_stop(&self, stop: Option<&Flag>) -> bool {
        stop.is_some_and(Flag::is_set) || self.sched.is_closed()
    }

    /// Returns the next task, if there is one, from the queues in this order. Polls the kernel without waiting once in
    /// `event_interval` calls.
    #[inline(always)]
    fn next_task(&self) -> Option<Runnable> {
        let poll_in = self.poll_in.get() - 1;
        self.poll_in.set(poll_in);
        if poll_in == 0 && !self.poll_in_turn() {
            return None;
        }
        self.sched.shuffle(&self.mine);
        let task = self
            .global_in_turn()
            .or_else(|| self.next())
            .or_else(|| self.mine.get_local())
            .or_else(|| self.find_remote());
        // Here, before foreign code runs: other threads rely on a searcher.
        if self.searching.get() {
            self.stop_searching();
        }
        task
    }

    /// Takes a task from the global queue, or steals one from another worker (Go's `findRunnable`).
    #[inline]
    fn find_remote(&self) -> Option<Runnable> {
        let task = self.sched.get_share(&self.mine);
        if task.is_some() || self.sched.workers() == 1 { task } else { self.steal() }
    }

    /// Polls the kernel without waiting. Returns false if another thread is this worker: this one takes no task then.
    fn poll_in_turn(&self) -> bool {
        if self.handed_over.get() {
            self.poll_in.set(1);
            return false;
        }
        self.poll_now();
        true
    }

    /// Takes a task of the global queue once in [`GLOBAL_INTERVAL`] calls.
    #[inline(always)]
    fn global_in_turn(&self) -> Option<Runnable> {
        let tick = self.stats().next_tick();
        if tick.is_multiple_of(GLOBAL_INTERVAL) { self.sched.get_global() } else { None }
    }

    /// Takes the task that was made ready last, unless the slot has had its share.
    #[inline(always)]
    fn next(&self) -> Option<Runnable> {
        let n = self.next_in_a_row.replace(0);
        if !self.mine.has_next() {
            return None;
        }
        if n == NEXT_IN_A_ROW {
            self.sched.rotate(&self.mine);
            return None;
        }
        let task = self.mine.get_next()?;
        self.next_in_a_row.set(n + 1);
        // It belongs to the turn of the task that made it ready.
        self.poll_in.set(self.poll_in.get().saturating_add(1));
        Some(task)
    }

    /// Steals half of another worker's ring. At most half of the workers begin to search at a time.
    ///
    /// The task in the slot of a worker comes next there, with its data in that processor's cache. It is stolen only if the
    /// worker still runs the task that it ran at the last search.
    #[cold]
    fn steal(&self) -> Option<Runnable> {
        if !self.start_searching() {
            return None;
        }
        let first = self.random() as usize % self.sched.workers();
        let task = self.sched.steal(self.index, first);
        if task.is_some() {
            return task;
        }
        let held = self.sched.find_next(self.index, first);
        let (other, _) = held.filter(|_| self.held.replace(held) == held)?;
        self.sched.steal_next(other)
    }

    /// Ends the worker's search, if it searches. A thread that put work meanwhile woke no worker, so the last that ends its
    /// search wakes one for it (INV-13).
    #[cold]
    fn stop_searching(&self) {
        if self.searching.replace(false) && self.sched.idle().stop_searching() {
            self.sched.share_work();
        }
    }

    /// Begins a search, unless half of the workers search already. Returns whether the worker searches.
    fn start_searching(&self) -> bool {
        let half = self.sched.workers().div_ceil(2);
        let searches = self.searching.get() || self.sched.idle().start_searching(half);
        self.searching.set(searches);
        searches
    }

    /// Announces that the worker sleeps and looks at every queue once more. If there is nothing, it returns the poller's lock,
    /// to sleep in the kernel, or parks the thread if another thread polls.
    fn prepare_park(&self, stop: Option<&Flag>) -> Option<PollGuard<'_>> {
        let idle = self.sched.idle();
        self.stats().take_running();
        idle.begin_park(self.index);
        // 1. Work that was put before the announcement is seen here. 2. After it, the thread that puts it sees the
        // announcement, clears the bit and wakes this worker (INV-8).
        if self.should_stop(stop) || self.sched.has_work() {
            return None;
        }
        // Of workers that go to sleep at once, the last to announce it sees that of all others.
        let is_last = || idle.num_parked() == self.sched.workers();
        let watch = || !self.config.monitored || self.was_woken.get() || is_last();
        let guard = self.netpoll().lock_to_sleep(self.index, watch);
        if guard.is_none() {
            self.sched.counts().parks.inc();
            while idle.is_parked(self.index) && !self.should_stop(stop) {
                thread::park();
            }
        }
        guard
    }

    /// Withdraws the announcement that the worker sleeps. If another thread has done so, the worker counts as searching.
    fn unpark(&self) {
        if !self.sched.idle().cancel_park(self.index) {
            self.searching.set(true);
            self.was_woken.set(true);
        }
        self.sched.wake_sysmon();
    }

    /// Polls without waiting, if no other thread polls. After a turn that has spent its budget, or a long one that yielded, the
    /// tasks that the poll makes ready come before those that are queued, of which many may take as long: an event waits for one
    /// such turn, and not for one of each. A task goes ahead of the queue only by such an event, so the queue waits for each of
    /// the others once.
    fn poll_now(&self) {
        let were_long = self.record_run(clock::now());
        let spent = self.spent.take() | (self.yielded.take() && were_long);
        self.poll_in.set(self.poll_interval());
        task::end_turn();
        // A busy worker does not sleep, which would remove the timers that it has dropped.
        self.netpoll().flush_removed();
        if spent {
            self.sched.refill_half(&self.mine);
        } else {
            self.sched.refill(&self.mine);
        }
        if let Some(guard) = self.netpoll().try_lock(self.index) {
            let queued = self.mine.ring_len();
            let outcome = self.poll(|buffer| guard.poll(buffer));
            if spent && outcome.ready > 0 {
                self.sched.put_behind(&self.mine, queued);
            }
            self.sched.keep_polling();
        }
        if self.netpoll().pollers() > 1 {
            self.poll_other();
        }
    }

    /// Polls the poller of another worker without waiting, if no thread has polled it lately.
    #[cold]
    fn poll_other(&self) {
        if let Some(guard) = self.netpoll().try_lock_stale(self.next_turn(), self.index) {
            self.poll(|buffer| guard.poll(buffer));
            self.sched.keep_polling();
        }
    }

    /// Returns the number of the next poller to look at, its own and those of others in turn.
    fn next_turn(&self) -> usize {
        self.turn.replace(self.turn.get().wrapping_add(1))
    }

    /// Ends the worker if it cannot serve its tasks any more: the kernel refuses to wait for events (EBADF, EFAULT, EINVAL: the
    /// poller's own descriptor is gone), or this process is a child of the one that created the runtime. In a runtime without
    /// threads that is a panic in `block_on`. A panic of the runtime's own thread would reach no caller, and all waits would
    /// last forever, so there the process is aborted.
    #[inline]
    fn check_alive(&self, polled: io::Result<()>) {
        if polled.is_err() || !self.netpoll().is_owner_process() {
            self.poller_failed(polled.err());
        }
    }

    #[cold]
    fn poller_failed(&self, error: Option<io::Error>) {
        let alone = self.sched.workers() == 1;
        match error {
            _ if !self.netpoll().is_owner_process() && alone => {
                self.netpoll().assert_owner_process("block_on")
            }
            _ if !self.netpoll().is_owner_process() => self.netpoll().abort_forked_child(),
            Some(error) if alone => panic!("netpoll: the kernel refuses to wait for events: {error}"),
            Some(error) => self.netpoll().poller_failed("the kernel refuses to wait for events", &error),
            None => {}
        }
    }

    fn netpoll(&self) -> &Netpoll {
        self.sched.netpoll()
    }

    /// Returns a random number (xorshift32). The choice of the first victim of a theft needs no better generator.
    fn random(&self) -> u32 {
        let x = self.random.get() ^ self.random.get() << 13;
        let x = x ^ x >> 17;
        self.random.replace(x ^ x << 5)
    }
}
