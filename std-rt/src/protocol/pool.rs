//! The threads of a runtime for work that blocks: when a thread is started, woken and ended, and which job it takes.
//!
//! # A thread
//!
//! | state | leaves it when | next state |
//! |---|---|---|
//! | starting | the kernel made it | looking |
//! | starting | the kernel made none | ended, see below |
//! | looking | there is a job that may start | running |
//! | looking | there is none, the pool is open | idle |
//! | looking | there is none, the pool is closed | ended |
//! | running | the job returned or panicked | looking |
//! | idle | it was taken off the list of idle threads, whatever else happened | woken |
//! | idle | the keep-alive time is over and it is still on the list: it takes itself off | looking, and ended if there is no job |
//! | woken | it has the lock | looking |
//!
//! # Which job may start
//!
//! Each [`Class`] has a queue of its own. A job may start while fewer than [`Limits::threads`] jobs run, or while fewer
//! than [`Limits::reserve`] of its class run. So a class that fills the pool leaves to each of the others the reserve,
//! and a pool has at most `threads` and three times `reserve` threads. Among classes that may start a job the turn goes round.
//!
//! # No job is forgotten
//!
//! The *lack* is the number of jobs that could run (`PoolState::wanted`) beyond the threads that run, look, start or are
//! woken. The lock keeps this true: *there are as many idle threads as the lack, and if there is a lack, a thread is woken or
//! starting.* A job that starts or ends never raises the number of jobs that could run. The steps:
//!
//! 1. A job is queued, which raises the lack by one: [`Pool::submit`] starts a thread if there are fewer idle ones than the
//!    lack, and otherwise wakes one, unless [`Limits::arrivals`] are woken or starting already.
//! 2. A woken or started thread looks: if there is still a lack, it wakes the next idle one before it runs its own job.
//! 3. A job ends: its thread looks before it is idle.
//! 4. An idle thread's time is over: it looks once more, because the lack may count on it.
//! 5. The kernel refuses to make a thread: if there is a lack, an idle thread is woken now. If the pool has no thread left,
//!    every queued job is refused: a job waits for one that runs, or ends with an error.
//! 6. The jobs that run may wait for one that is queued, while the kernel would make a thread by now. No other event
//!    comes, so the caller for which [`Pool::submit`] returned true calls [`Pool::retry`] from time to time.
//! 7. The pool is closed: the queue keeps one job for each thread that is woken or starting. The others are refused, and so is
//!    each that comes later. A thread ends only if no job may start. Then each class with a queued job has jobs that run, and
//!    the thread of one of those looks afterwards.
//!
//! # Threads that wake one another
//!
//! A wake costs the caller more than a short job, and the woken thread may take the processor from the caller at once, find a
//! single job, and be idle again before the next one is queued. So the caller wakes few, and those wake the others: meanwhile
//! jobs gather in the queue, and a thread whose job has ended finds the next one there without a wake.
//!
//! No foreign code runs under the lock: a job is run, refused and dropped outside of it.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::job::{Job, Refusal};
use crate::foreign;
use crate::sync::thread::{self, ThreadId};
use crate::sync::{Condvar, Mutex, MutexGuard, lock};

/// A kind of work. Work of one class does not wait for work of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// The resolver's look-ups of names.
    Name,
    /// Operations on files.
    File,
    /// Closures of the user.
    Closure,
    /// Closures of the user that were given up, to be dropped.
    Drop,
}

/// The number of classes.
const CLASSES: usize = 4;

/// The number of abandoned jobs that a queue may hold before they are removed.
const SWEEP_ABOVE: usize = 32;

/// The limits of a pool.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Threads for all classes together, at least 1.
    pub threads: usize,
    /// Threads that a class may have in any case, at least 1 and at most `threads`.
    pub reserve: usize,
    /// Threads that may be woken or starting when a caller wakes one more, at least 1. More than there are processors do not
    /// arrive sooner.
    pub arrivals: usize,
    /// The time for which an idle thread waits for work before it ends; [`Duration::MAX`] is no limit.
    pub keep_alive: Duration,
    /// The time after a refusal of the kernel in which a pool with other threads asks for no thread.
    pub retry: Duration,
}

/// The counts of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Threads now, those included that are being made.
    pub threads: usize,
    /// Threads that wait for work now.
    pub idle: usize,
    /// Jobs that wait for a thread now.
    pub queued: usize,
    /// Jobs that a thread took, since the start.
    pub jobs: usize,
    /// Threads that the kernel refused to make, since the start.
    pub refused: usize,
}

/// A function that starts a thread with a number and a body.
type Start = dyn Fn(usize, Box<dyn FnOnce() + Send>) -> io::Result<()> + Send + Sync;

/// Threads for work that blocks.
pub struct Pool {
    limits: Limits,
    start: Box<Start>,
    /// Returns whether this is the process that has the threads, and not a child of it.
    is_owner_process: Box<dyn Fn() -> bool + Send + Sync>,
    state: Mutex<PoolState>,
    /// A thread of the closed pool has ended. [`Pool::wait_for_end`] alone waits for it.
    ended: Condvar,
}

#[derive(Default)]
struct PoolState {
    queues: [VecDeque<Arc<dyn Job>>; CLASSES],
    /// Jobs of each class that a thread runs.
    running: [usize; CLASSES],
    /// Jobs of each class that were abandoned since the queue was swept.
    abandoned: [usize; CLASSES],
    /// The class whose turn it is.
    turn: usize,
    /// The condition variables of the threads that wait. The last thread that came is the first to go, so that the time of the
    /// others runs out. Only a thread that is on the list waits; a thread that takes it off wakes it.
    idle: Vec<Arc<Condvar>>,
    /// Threads that are starting, woken, looking, running or idle.
    threads: usize,
    /// Those of them that are starting or woken.
    arriving: usize,
    /// Those of them that are not starting.
    ids: Vec<ThreadId>,
    /// The number of threads that were ever asked for, from which each has its own.
    started: usize,
    jobs: usize,
    refused: usize,
    refused_at: Option<Instant>,
    /// Set while a caller of [`Pool::submit`] is to call [`Pool::retry`].
    retrying: bool,
    /// The function that is called once when no job is queued or runs.
    on_idle: Option<Box<dyn FnOnce() + Send>>,
    closed: bool,
}

impl PoolState {
    fn running(&self) -> usize {
        self.running.iter().sum()
    }

    /// Takes the next job that may start.
    fn take(&mut self, limits: &Limits) -> Option<(usize, Arc<dyn Job>)> {
        let fits = self.running() < limits.threads;
        let (class, job) =
            (self.turn..self.turn + CLASSES).map(|class| class % CLASSES).find_map(|class| {
                let may_start = fits || self.running[class] < limits.reserve;
                may_start.then(|| self.queues[class].pop_front()).flatten().map(|job| (class, job))
            })?;
        self.turn = class + 1;
        self.running[class] += 1;
        self.jobs += 1;
        Some((class, job))
    }

    /// Returns the most jobs that could run if each that may start had a thread: the class with the most jobs beyond its
    /// reserve takes the threads in common, and the others have their reserve.
    fn wanted(&self, limits: &Limits) -> usize {
        let free = |class: usize| limits.reserve.saturating_sub(self.running[class]);
        let mut queued = (0..CLASSES).filter(|&class| !self.queues[class].is_empty());
        let (first, second) = (queued.next(), queued.next());
        // Most often the work is of one class.
        if second.is_none() {
            let running = self.running();
            let may_start = |class: usize| limits.threads.saturating_sub(running).max(free(class));
            return running + first.map_or(0, |class| self.queues[class].len().min(may_start(class)));
        }
        let mut classes: [usize; CLASSES] = std::array::from_fn(|class| class);
        classes.sort_unstable_by_key(|&class| Reverse(self.queues[class].len().saturating_sub(free(class))));
        classes.iter().fold(self.running(), |total, &class| {
            let room = limits.threads.saturating_sub(total);
            total + self.queues[class].len().min(room.max(free(class)))
        })
    }

    /// Returns the number of jobs that may start and have no thread on its way.
    fn lack(&self, limits: &Limits) -> usize {
        self.wanted(limits).saturating_sub(self.threads - self.idle.len())
    }

    /// Returns true if the idle threads are too few for those jobs.
    fn lacks_thread(&self, limits: &Limits) -> bool {
        self.lack(limits) > self.idle.len()
    }

    /// Takes the thread off the list that is to be woken now, outside of the lock.
    fn next_to_wake(&mut self, limits: &Limits) -> Option<Arc<Condvar>> {
        if self.idle.is_empty() || self.arriving >= limits.arrivals || self.lack(limits) == 0 {
            return None;
        }
        let idle = self.idle.pop()?;
        self.arriving += 1;
        Some(idle)
    }

    /// Returns whether no job is queued or runs, except those that wait for [`Pool::retry`].
    fn is_idle(&self) -> bool {
        self.running() == 0 && (self.retrying || self.queues.iter().all(VecDeque::is_empty))
    }

    /// Takes the function that is to be called now.
    fn take_on_idle(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        if self.on_idle.is_some() && self.is_idle() { self.on_idle.take() } else { None }
    }

    /// Takes every queued job out, except `kept` of them.
    fn drain(&mut self, mut kept: usize) -> Vec<Arc<dyn Job>> {
        self.abandoned = [0; CLASSES];
        let mut jobs = Vec::new();
        for queue in &mut self.queues {
            let stays = queue.len().min(kept);
            kept -= stays;
            jobs.extend(queue.drain(stays..));
        }
        jobs
    }
}

impl Pool {
    /// Creates a pool without threads. `is_owner_process` returns whether this process made the pool; it is called for each job.
    pub fn new(
        limits: Limits,
        is_owner_process: impl Fn() -> bool + Send + Sync + 'static,
        start: impl Fn(usize, Box<dyn FnOnce() + Send>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            limits,
            start: Box::new(start),
            is_owner_process: Box::new(is_owner_process),
            state: Mutex::default(),
            ended: Condvar::new(),
        })
    }

    /// Queues a job. If it cannot be done it is refused, here or on another thread. Returns true if the kernel refused a
    /// thread for a job that waits and no caller was told so before: then the caller must see to [`Pool::retry`].
    #[must_use = "a job may wait for a thread that nobody asks for again"]
    pub fn submit(self: &Arc<Self>, class: Class, job: Arc<dyn Job>) -> bool {
        // In a child process the lock may be held by a thread that is not there.
        if self.is_forked() {
            refuse(vec![job], Refusal::Forked);
            return false;
        }
        let mut state = lock(&self.state);
        if state.closed {
            drop(state);
            refuse(vec![job], Refusal::Closed);
            return false;
        }
        state.queues[class as usize].push_back(job);
        !self.ensure_thread(state) && !mem::replace(&mut lock(&self.state).retrying, true)
    }

    /// Asks the kernel again for the threads that it refused. Returns false once no job lacks a thread: then the caller need
    /// not call again.
    pub fn retry(self: &Arc<Self>) -> bool {
        loop {
            let mut state = lock(&self.state);
            state.refused_at = None;
            state.retrying = state.lacks_thread(&self.limits);
            if !state.retrying {
                return false;
            }
            if !self.ensure_thread(state) {
                return true;
            }
        }
    }

    fn is_forked(&self) -> bool {
        !(self.is_owner_process)()
    }

    /// Makes sure that a job that may start has a thread on its way. Returns false if the kernel refuses the thread.
    fn ensure_thread(self: &Arc<Self>, mut state: MutexGuard<'_, PoolState>) -> bool {
        if !state.lacks_thread(&self.limits) {
            let idle = state.next_to_wake(&self.limits);
            drop(state);
            idle.inspect(|idle| idle.notify_one());
            return true;
        }
        let was_refused = state.refused_at.is_some_and(|at| at.elapsed() < self.limits.retry);
        if state.threads > 0 && was_refused {
            return false;
        }
        state.threads += 1;
        state.arriving += 1;
        state.started += 1;
        let number = state.started - 1;
        drop(state);
        let pool = self.clone();
        match (self.start)(number, Box::new(move || pool.work())) {
            Ok(()) => true,
            Err(error) => self.start_failed(&error),
        }
    }

    /// Takes back the count of a thread that could not be started. Returns false if a job waits for it.
    fn start_failed(&self, error: &io::Error) -> bool {
        let mut state = lock(&self.state);
        state.threads -= 1;
        state.arriving -= 1;
        self.ended.notify_all();
        state.refused += 1;
        state.refused_at = Some(Instant::now());
        if state.threads == 0 {
            let (jobs, on_idle) = (state.drain(0), state.take_on_idle());
            drop(state);
            refuse(jobs, Refusal::NoThread(error.raw_os_error()));
            on_idle.into_iter().for_each(|on_idle| on_idle());
            return true;
        }
        let (idle, lacks_thread) = (state.next_to_wake(&self.limits), state.lacks_thread(&self.limits));
        drop(state);
        idle.inspect(|idle| idle.notify_one());
        !lacks_thread
    }

    /// Runs jobs, on a thread of the pool, until the thread is to end.
    fn work(self: Arc<Self>) {
        let wake = Arc::new(Condvar::new());
        let mut state = lock(&self.state);
        state.ids.push(thread::current().id());
        let (mut arrived, mut expired) = (true, false);
        loop {
            state.arriving -= usize::from(mem::take(&mut arrived));
            if let Some((class, job)) = state.take(&self.limits) {
                let next = state.next_to_wake(&self.limits);
                drop(state);
                next.inspect(|next| next.notify_one());
                state = self.ended(class, run(job));
            } else if state.closed || expired {
                break;
            } else {
                state.idle.push(wake.clone());
                (state, expired) = self.wait(state, &wake);
                arrived = !expired;
            }
        }
        let this = thread::current().id();
        state.ids.retain(|&id| id != this);
        state.threads -= 1;
        drop(state);
        self.ended.notify_all();
    }

    /// Waits until every thread of the closed pool has ended, except the one that calls. Returns false if one is left at the
    /// deadline.
    pub fn wait_for_end(&self, deadline: Option<Instant>) -> bool {
        if self.is_forked() {
            return true;
        }
        let this = thread::current().id();
        let mut state = lock(&self.state);
        while state.threads > usize::from(state.ids.contains(&this)) {
            let Some(deadline) = deadline else {
                state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Ends the run of a job; `more` goes to the end of its queue.
    fn ended(&self, class: usize, more: Option<Arc<dyn Job>>) -> MutexGuard<'_, PoolState> {
        let mut state = lock(&self.state);
        state.running[class] -= 1;
        match more {
            Some(job) if state.closed => {
                drop(state);
                refuse(vec![job], Refusal::Closed);
                state = lock(&self.state);
            }
            Some(job) => state.queues[class].push_back(job),
            None => {}
        }
        let Some(on_idle) = state.take_on_idle() else { return state };
        drop(state);
        on_idle();
        lock(&self.state)
    }

    /// Returns whether no job is queued or runs. If one is, `then` is called once when none is any more, in place of that of
    /// an earlier call. Jobs that wait until the kernel makes a thread do not count, because a timer asks it again.
    pub fn is_idle_or(&self, then: impl FnOnce() + Send + 'static) -> bool {
        let mut state = lock(&self.state);
        let is_idle = state.is_idle();
        let before = mem::replace(&mut state.on_idle, (!is_idle).then(|| Box::new(then) as _));
        drop(state);
        drop(before);
        is_idle
    }

    /// Waits until the thread is taken off the list. Returns true if the time is over and it has taken itself off.
    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, PoolState>,
        wake: &Arc<Condvar>,
    ) -> (MutexGuard<'a, PoolState>, bool) {
        loop {
            let timed_out;
            (state, timed_out) = self.wait_once(state, wake);
            let Some(place) = state.idle.iter().rposition(|other| Arc::ptr_eq(other, wake)) else {
                return (state, false);
            };
            if timed_out {
                state.idle.remove(place);
                return (state, true);
            }
        }
    }

    fn wait_once<'a>(
        &self,
        state: MutexGuard<'a, PoolState>,
        wake: &Condvar,
    ) -> (MutexGuard<'a, PoolState>, bool) {
        if self.limits.keep_alive == Duration::MAX {
            return (wake.wait(state).unwrap_or_else(PoisonError::into_inner), false);
        }
        if self.limits.keep_alive.is_zero() {
            return (state, true);
        }
        let waited = wake.wait_timeout(state, self.limits.keep_alive);
        let (state, result) = waited.unwrap_or_else(PoisonError::into_inner);
        (state, result.timed_out())
    }

    /// Records that no future waits for a job of that class any more. Once abandoned jobs are half of a queue they leave it.
    pub fn abandoned(&self, class: Class) {
        if self.is_forked() {
            return;
        }
        let class = class as usize;
        let mut state = lock(&self.state);
        state.abandoned[class] += 1;
        let length = state.queues[class].len();
        if length < SWEEP_ABOVE || state.abandoned[class] * 2 < length {
            return;
        }
        state.abandoned[class] = 0;
        let (wanted, unwanted): (VecDeque<_>, VecDeque<_>) =
            mem::take(&mut state.queues[class]).into_iter().partition(|job| job.is_wanted());
        state.queues[class] = wanted;
        let on_idle = state.take_on_idle();
        drop(state);
        drop(unwanted);
        on_idle.into_iter().for_each(|on_idle| on_idle());
    }

    /// Refuses all jobs that come later or have no thread on its way, and ends the threads that are idle. The other jobs go on
    /// to their end, and their threads end then. Harmless when repeated.
    pub fn close(&self) {
        if self.is_forked() {
            return;
        }
        let mut state = lock(&self.state);
        state.closed = true;
        let arriving = state.arriving;
        let (jobs, idle) = (state.drain(arriving), mem::take(&mut state.idle));
        state.arriving += idle.len();
        drop(state);
        idle.iter().for_each(|idle| idle.notify_one());
        refuse(jobs, Refusal::Closed);
    }

    /// Returns the current counts.
    pub fn counts(&self) -> Counts {
        if self.is_forked() {
            return Counts::default();
        }
        let state = lock(&self.state);
        Counts {
            threads: state.threads,
            idle: state.idle.len(),
            queued: state.queues.iter().map(VecDeque::len).sum(),
            jobs: state.jobs,
            refused: state.refused,
        }
    }
}

/// Runs a job. Returns the rest of it.
fn run(job: Arc<dyn Job>) -> Option<Arc<dyn Job>> {
    let mut left = None;
    foreign::catch_panic(|| left = job.run());
    left
}

fn refuse(jobs: Vec<Arc<dyn Job>>, why: Refusal) {
    for job in jobs {
        foreign::catch_panic(|| job.refuse(why));
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("limits", &self.limits).field("counts", &self.counts()).finish()
    }
}
