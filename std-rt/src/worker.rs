//! A worker: takes the next task and runs it, polls when there is none, sleeps when there is nothing (Go's `schedule`
//! and `findRunnable`).

mod here;

use std::cell::{Cell, OnceCell};
use std::io;
use std::sync::Arc;
use std::thread;

use netpoll_core::poller_lock::PollerLock;
use netpoll_core::sync::Flag;

use crate::budget;
use crate::netpoll::{Netpoll, Scratch, clock};
use crate::sched::{Entered, Home, Remote, Report, Runnable, Sched};
use crate::spin::Spin;
use crate::task::Locals;
pub use here::Pushed;

/// Every so many tasks the global queue comes first, so that a busy ring cannot starve it (Go's 61).
const GLOBAL_INTERVAL: u32 = 61;

/// So many tasks out of the slot in a row, then the ring has its turn: two tasks that wake each other do not keep the
/// rest waiting.
const NEXT_IN_A_ROW: u32 = 3;

/// Pauses of the processor between two looks at the queues, while somebody else polls: a microsecond or less.
const PAUSES: u32 = 16;

/// One worker's private state. Methods take `&self`, since a task that calls `block_on` runs the worker from within.
pub struct Worker {
    sched: Arc<Home>,
    index: usize,
    mine: Arc<Remote>,
    /// Taken out while the worker polls.
    scratch: Cell<Option<Box<Scratch>>>,
    /// Tasks until the next look at the kernel.
    poll_in: Cell<u32>,
    pace: Pace,
    next_in_a_row: Cell<u32>,
    random: Cell<u32>,
    spin: Cell<Spin>,
    /// The tasks that stay on this thread, once there is one.
    locals: OnceCell<Arc<Locals>>,
}

/// What came of a poll: when, how many tasks are ready, and whether there were events or only timers.
struct Came {
    at: u64,
    ready: usize,
    by_event: bool,
}

/// How a worker divides its time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Tasks between two looks at the kernel.
    pub event_interval: u32,
    /// Events taken from the kernel at a time, at most.
    pub events_per_poll: usize,
    /// Operations on descriptors that a task makes in one turn, at most.
    pub budget: u64,
    /// Nanoseconds that a worker keeps looking before it sleeps, at most.
    pub spin: u64,
    /// Workers that may be awake while one of them only looks: the others need a processor too.
    pub crowd: usize,
}

impl Worker {
    /// Worker number `index` of the scheduler whose home this is.
    pub fn new(home: &Home, index: usize, pace: Pace) -> Self {
        Self {
            mine: home.worker(index).clone(),
            sched: home.of_worker(index),
            index,
            scratch: Cell::new(None),
            poll_in: Cell::new(pace.event_interval),
            pace,
            next_in_a_row: Cell::new(0),
            random: Cell::new(0x9e37_79b9 ^ (index as u32 + 1)),
            spin: Cell::new(Spin::new(pace.spin)),
            locals: OnceCell::new(),
        }
    }

    /// Its number.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Makes this thread work for the scheduler as this worker.
    pub fn enter(&self) -> Entered {
        self.sched.enter()
    }

    /// Runs tasks on this thread until `stop` is set, which is looked at between two tasks, or the runtime is shut down;
    /// without it only until then.
    pub fn run(&self, stop: Option<&Flag>) {
        while let Some(task) = self.find_runnable(stop) {
            self.turn_of(task);
        }
        self.report().rest();
    }

    /// The future that `block_on` runs on this thread has been woken: it takes its place behind the tasks that are in
    /// this worker's queue, as if it were one of them, but waits for 61 at most.
    pub fn run_before_root(&self) {
        self.run_some(self.mine.queued().min(GLOBAL_INTERVAL as usize));
    }

    /// So many tasks have a turn, if there are as many.
    fn run_some(&self, n: usize) {
        for _ in 0..n {
            let task = if self.sched.is_closed() { None } else { self.look() };
            let Some(task) = task else { break };
            self.turn_of(task);
        }
        self.report().rest();
    }

    /// Runs a task once.
    #[inline]
    fn turn_of(&self, task: Runnable) {
        self.report().begin(task.origin());
        budget::set(self.pace.budget);
        // It was woken in its turn and has run out of operations: those who wait for the kernel come before its next.
        if task.run() && budget::is_spent() {
            self.poll_in.set(1);
        }
        // It may have forked: in the child the other tasks are the parent's, and so are the events.
        self.must_go_on(Ok(()));
    }

    /// What this worker shows of itself.
    #[inline]
    pub fn report(&self) -> &Report {
        &self.mine.report
    }

    /// The tasks that stay on this thread.
    pub fn locals(&self) -> &Arc<Locals> {
        self.locals.get_or_init(Locals::new)
    }

    /// Drops the tasks that stay on this thread, which is about to leave the runtime.
    pub fn end_locals(&self) {
        if let Some(locals) = self.locals.get() {
            locals.end(&self.sched);
        }
    }

    /// Gives every task that is runnable now a turn; looks at the kernel if there is none. Does not sleep.
    pub fn run_ready(&self) {
        match self.sched.runnable(&self.mine) {
            0 => self.poll_now(),
            n => self.run_some(n),
        }
    }

    /// The next task; sleeps until there is one.
    fn find_runnable(&self, stop: Option<&Flag>) -> Option<Runnable> {
        loop {
            if self.is_to_stop(stop) {
                return None;
            }
            if let Some(task) = self.look() {
                return Some(task);
            }
            // What goes with dropped timers may make a task runnable.
            if self.netpoll().settle_up() {
                continue;
            }
            let began = clock::now();
            if self.keeps_looking(began, stop) {
                continue;
            }
            // Looking would end neither a sleep on the token (others share what they have) nor one until a timer sooner.
            if let Some(until) = self.lie_down(stop) {
                let came = self.poll(until);
                if came.by_event || came.ready == 0 && (self.is_to_stop(stop) || self.sched.has_work()) {
                    self.with_spin(|spin| spin.slept(came.at.saturating_sub(began), came.ready));
                }
            }
            self.get_up();
        }
    }

    /// Before it sleeps it looks again and again for a little while, if of late waits have been short; true if there is
    /// something now. Nothing is announced yet, so who puts work meanwhile wakes nobody: it is seen here, or in the second
    /// look of [`Worker::lie_down`].
    fn keeps_looking(&self, began: u64, stop: Option<&Flag>) -> bool {
        let Some(patience) = self.spin.get().patience() else { return false };
        if self.sched.workers() - self.sched.idle().num_parked() > self.pace.crowd {
            return false;
        }
        self.report().rest();
        loop {
            let Came { at, ready, .. } = match self.turn().try_lock(self.index) {
                true => self.poll(Some(0)),
                // Another one polls; what it finds comes by the queues.
                false => {
                    (0..PAUSES).for_each(|_| std::hint::spin_loop());
                    Came { at: clock::now(), ready: 0, by_event: false }
                }
            };
            if self.is_to_stop(stop) || self.sched.has_work() {
                self.sched.counts().spin_hits.inc();
                self.with_spin(|spin| spin.hit(at.saturating_sub(began), ready));
                return true;
            }
            if at.saturating_sub(began) >= patience {
                self.sched.counts().spin_misses.inc();
                self.with_spin(Spin::missed);
                return false;
            }
        }
    }

    fn with_spin(&self, told: impl FnOnce(&mut Spin)) {
        let mut spin = self.spin.get();
        told(&mut spin);
        self.spin.set(spin);
    }

    /// Polls in its turn, gives it back, hands over what came.
    fn poll(&self, until: Option<u64>) -> Came {
        let mut scratch = self.scratch();
        let woken = self.netpoll().netpoll(until, &mut scratch);
        let came = Came { at: scratch.polled_at(), ready: scratch.len(), by_event: scratch.has_events() };
        self.end_poll(scratch, woken);
        came
    }

    #[inline]
    fn is_to_stop(&self, stop: Option<&Flag>) -> bool {
        stop.is_some_and(Flag::is_set) || self.sched.is_closed()
    }

    /// The next task, if there is one. The places are asked in this order.
    #[inline(always)]
    fn look(&self) -> Option<Runnable> {
        self.global_in_turn()
            .or_else(|| self.next())
            .or_else(|| self.mine.get_local())
            .or_else(|| self.look_elsewhere())
    }

    /// What nobody has yet, and what others have.
    #[cold]
    fn look_elsewhere(&self) -> Option<Runnable> {
        self.sched.get_share(&self.mine).or_else(|| self.steal())
    }

    /// Every now and then the kernel is asked without waiting, and the global queue comes first.
    #[inline(always)]
    fn global_in_turn(&self) -> Option<Runnable> {
        let tick = self.report().next_tick();
        let poll_in = self.poll_in.get() - 1;
        self.poll_in.set(poll_in);
        if poll_in == 0 {
            self.poll_now();
        }
        if tick.is_multiple_of(GLOBAL_INTERVAL) { self.sched.get_global() } else { None }
    }

    /// The task that was made ready last, unless that has had its share.
    #[inline(always)]
    fn next(&self) -> Option<Runnable> {
        let n = self.next_in_a_row.get();
        if n == NEXT_IN_A_ROW {
            self.next_in_a_row.set(0);
            self.sched.rotate(&self.mine);
            return None;
        }
        let task = self.mine.get_next();
        self.next_in_a_row.set(if task.is_some() { n + 1 } else { 0 });
        task
    }

    /// Half of somebody else's ring. At most half of the workers search at a time.
    fn steal(&self) -> Option<Runnable> {
        let n = self.sched.workers();
        if n == 1 || !self.sched.idle().start_searching(n.div_ceil(2)) {
            return None;
        }
        let task = self.sched.steal(self.index, self.random() as usize % n);
        let last = self.sched.idle().stop_searching();
        if task.is_some() && last {
            // Whoever put work while we searched woke nobody: there may be more than we can run.
            self.sched.wake_one();
        }
        task
    }

    /// Announces that it sleeps and looks at every place once more. If there is nothing: takes the turn to poll, if it can
    /// be had, and says until when to sleep in the kernel (none: no end); else sleeps on the thread's own token.
    fn lie_down(&self, stop: Option<&Flag>) -> Option<Option<u64>> {
        let idle = self.sched.idle();
        self.report().rest();
        idle.begin_park(self.index);
        // 1. Work put before the announcement: seen here. 2. After it: whoever put it sees the announcement, clears
        // our bit and wakes us (INV-8).
        if self.is_to_stop(stop) || self.sched.has_work() {
            return None;
        }
        if !self.turn().try_lock(self.index) {
            self.sched.counts().parks.inc();
            while idle.is_parked(self.index) && !self.is_to_stop(stop) {
                thread::park();
            }
            return None;
        }
        // Whoever arms an earlier timer from here on sends a break. A waker that has cleared our bit, or told us to stop,
        // before it could see that we hold the turn is seen here, and then we do not sleep.
        let until = self.netpoll().block();
        let sleeps = idle.is_parked(self.index) && !stop.is_some_and(Flag::is_set);
        Some(if sleeps { until } else { Some(0) })
    }

    /// Awake again, for whatever reason.
    fn get_up(&self) {
        self.sched.idle().cancel_park(self.index);
        self.sched.wake_sysmon();
    }

    /// Looks at the kernel, if nobody else is there.
    fn poll_now(&self) {
        self.poll_in.set(self.pace.event_interval);
        self.sched.refill(&self.mine);
        if self.turn().try_lock(self.index) {
            self.poll(Some(0));
        }
    }

    /// Room for one poll: no more events than there is room for in the ring.
    fn scratch(&self) -> Box<Scratch> {
        let mut scratch = self.scratch.take().unwrap_or_default();
        scratch.limit(self.mine.room().min(self.pace.events_per_poll));
        scratch
    }

    /// Gives the turn back, and hands over what came of the poll.
    fn end_poll(&self, mut scratch: Box<Scratch>, woken: io::Result<usize>) {
        self.poll_in.set(self.pace.event_interval);
        self.turn().clear_poll_until();
        self.turn().unlock();
        hand_over(&self.sched, &mut scratch, *woken.as_ref().unwrap_or(&0));
        self.scratch.set(Some(scratch));
        self.must_go_on(woken);
    }

    /// Nothing can be served any more if the kernel refuses to wait for events (EBADF, EFAULT, EINVAL: the poller's own
    /// descriptor is gone), or if this process is a child of the one that made the runtime. Who is in `block_on` of a runtime
    /// without threads hears of it by a panic. The panic of a thread of our own would be heard by nobody, and all waits would
    /// last for ever: it ends the process.
    #[inline]
    fn must_go_on<T>(&self, polled: io::Result<T>) {
        if polled.is_err() || !self.netpoll().is_here() {
            self.cannot_go_on(polled.err());
        }
    }

    #[cold]
    fn cannot_go_on(&self, error: Option<io::Error>) {
        let alone = self.sched.workers() == 1;
        match error {
            _ if !self.netpoll().is_here() && alone => self.netpoll().must_be_here("block_on"),
            _ if !self.netpoll().is_here() => self.netpoll().ends_the_child(),
            Some(error) if alone => panic!("netpoll: the kernel refuses to wait for events: {error}"),
            Some(error) => self.netpoll().cannot_go_on("the kernel refuses to wait for events", &error),
            None => {}
        }
    }

    fn netpoll(&self) -> &Netpoll {
        self.sched.netpoll()
    }

    fn turn(&self) -> &PollerLock {
        self.netpoll().turn()
    }

    /// xorshift32: where to begin stealing needs no better one.
    fn random(&self) -> u32 {
        let x = self.random.get() ^ self.random.get() << 13;
        let x = x ^ x >> 17;
        self.random.replace(x ^ x << 5)
    }
}

/// Wakes the tasks that a poll made ready; only then does the count of waiters fall by those that were parked.
pub fn hand_over(sched: &Sched, scratch: &mut Scratch, parked: usize) {
    let batch = sched.batch(scratch.len());
    batch.wake(scratch.drain());
    scratch.forget();
    drop(batch);
    sched.netpoll().runnable(parked);
}
