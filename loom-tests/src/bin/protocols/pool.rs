//! The pool of threads for work that blocks: no job is forgotten.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use netpoll_rt::internal::protocol::job::{Job, Refusal};
use netpoll_rt::internal::protocol::pool::{Class, Limits, Pool};
use netpoll_rt::internal::sync::{Condvar, Mutex, lock, thread};

use crate::harness::{Expect, Model};

pub const MODELS: &[Model] = &[
    model("pool::submit_beside_the_end_of_an_idle_thread", 1, Expect::Green, || {
        one_after_the_other(pool(1, 9))
    }),
    model("pool::control_idle_thread_ends_without_looking", 1, Expect::Deadlock, || {
        one_after_the_other(Mini::new(Fault::EndsWithoutLooking, 9));
    }),
    model("pool::two_submit_at_once", 0, Expect::Green, || two_at_once(pool(1, 9), 0)),
    model("pool::start_fails_beside_a_thread_that_becomes_idle", 2, Expect::Green, || {
        one_beside_a_start(steady(2, 1))
    }),
    model("pool::control_failed_start_wakes_no_idle_thread", 2, Expect::Deadlock, || {
        one_beside_a_start(Mini::new(Fault::FailedStartIsForgotten, 1));
    }),
    model("pool::no_start_succeeds", 2, Expect::Green, || two_at_once(pool(2, 0), 2)),
    model("pool::control_no_start_succeeds_and_the_queue_is_left", 1, Expect::Deadlock, || {
        two_at_once(Mini::new(Fault::QueueIsLeft, 0), 2);
    }),
    model("pool::close_beside_submit", 0, Expect::Green, || close_beside_submit(pool(1, 9))),
    model("pool::control_close_leaves_the_queue", 1, Expect::Deadlock, || {
        close_beside_submit(Mini::new(Fault::CloseLeavesTheQueue, 9));
    }),
    model("pool::a_class_that_waits_for_another_has_its_reserve", 2, Expect::Green, || {
        one_waits_for_the_other(steady(1, 9), Class::Name);
    }),
    model("pool::control_within_a_class_there_is_no_reserve", 2, Expect::Deadlock, || {
        one_waits_for_the_other(steady(1, 9), Class::Closure);
    }),
    model("pool::woken_thread_wakes_the_next", 1, Expect::Green, || two_for_idle_threads(steady(2, 9))),
    model("pool::control_woken_thread_wakes_no_other", 1, Expect::Deadlock, || {
        two_for_idle_threads(Mini::new(Fault::WokenWakesNoOther, 9));
    }),
    model("pool::retry_gets_the_thread_that_was_refused", 2, Expect::Green, || refused_once(true)),
    model("pool::control_nobody_retries", 2, Expect::Deadlock, || refused_once(false)),
    model("pool::future_dropped_beside_the_thread_that_begins", 2, Expect::Green, future_dropped),
    model("pool::a_clock_waits_for_the_end_of_all_work", 2, Expect::Green, || clock_waits(false)),
    model("pool::control_the_clock_looks_before_it_asks_to_be_told", 2, Expect::Deadlock, || {
        clock_waits(true)
    }),
];

const fn model(name: &'static str, bound: usize, expect: Expect, body: fn()) -> Model {
    Model { name, threads: 3, bound: Some(bound), expect, body }
}

/// The interface of a pool.
trait Threads: Clone + Send + Sync + 'static {
    fn submit(&self, class: Class, job: Arc<Probe>);
    fn close(&self);
}

impl Threads for Arc<Pool> {
    fn submit(&self, class: Class, job: Arc<Probe>) {
        let _nobody_retries = Pool::submit(self, class, job);
    }

    fn close(&self) {
        Pool::close(self);
    }
}

/// Starts as many threads as the kernel makes, and fails from then on.
struct Kernel(Mutex<usize>);

impl Kernel {
    fn new(makes: usize) -> Self {
        Self(Mutex::new(makes))
    }

    fn start(&self, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut left = lock(&self.0);
        *left = left.checked_sub(1).ok_or(io::ErrorKind::WouldBlock)?;
        drop(left);
        drop(thread::spawn(body));
        Ok(())
    }
}

/// Creates a pool with a bound, on a kernel that creates only `makes` threads. Idle ones end at any time:
/// a model does not look at the length of their wait, but a length of zero would be none.
fn pool(threads: usize, makes: usize) -> Arc<Pool> {
    let kernel = Kernel::new(makes);
    Pool::new(limits(threads, Duration::from_nanos(1)), || true, move |_, body| kernel.start(body))
}

/// Creates a pool with threads that stay idle until it is closed, for models that do not ask about their end.
fn steady(threads: usize, makes: usize) -> Arc<Pool> {
    let kernel = Kernel::new(makes);
    Pool::new(limits(threads, Duration::MAX), || true, move |_, body| kernel.start(body))
}

fn limits(threads: usize, keep_alive: Duration) -> Limits {
    Limits { threads, reserve: 1, arrivals: 1, keep_alive, retry: Duration::ZERO }
}

/// A job that says what became of it, and may wait for another one first.
#[derive(Default)]
struct Probe {
    ended: Mutex<Option<Option<Refusal>>>,
    changed: Condvar,
    waits_for: Option<Arc<Probe>>,
}

impl Probe {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn end(&self, refused: Option<Refusal>) {
        let before = lock(&self.ended).replace(refused);
        assert!(before.is_none(), "model: a job ended twice");
        self.changed.notify_all();
    }

    /// Waits until it has ended; true if it was refused.
    fn wait(&self) -> bool {
        let mut ended = lock(&self.ended);
        loop {
            match &*ended {
                Some(refused) => return refused.is_some(),
                None => ended = self.changed.wait(ended).expect("nothing panics under the lock"),
            }
        }
    }
}

impl Job for Probe {
    fn run(self: Arc<Self>) -> Option<Arc<dyn Job>> {
        if let Some(other) = &self.waits_for {
            other.wait();
        }
        self.end(None);
        None
    }

    fn refuse(self: Arc<Self>, why: Refusal) {
        self.end(Some(why));
    }

    fn is_wanted(&self) -> bool {
        true
    }
}

/// Checks that the thread of the first job may end, or be given the second one.
fn one_after_the_other(pool: impl Threads) {
    for _ in 0..2 {
        let job = Probe::new();
        pool.submit(Class::File, job.clone());
        assert!(!job.wait(), "model: the kernel makes threads");
    }
}

fn two_at_once(pool: impl Threads, refused: usize) {
    let jobs = [Probe::new(), Probe::new()];
    let other = {
        let (pool, job) = (pool.clone(), jobs[1].clone());
        thread::spawn(move || pool.submit(Class::File, job))
    };
    pool.submit(Class::File, jobs[0].clone());
    let count = jobs.iter().filter(|job| job.wait()).count();
    // The one thread may have ended before the second job came, for which the kernel makes none.
    assert!(count >= refused && count <= refused.max(1), "model: {count} jobs are refused");
    other.join().expect("a panic of the other thread has ended the model");
}

/// Asks for a thread that does not come: the other one does that job and is idle, and another job comes.
fn one_beside_a_start(pool: impl Threads) {
    let jobs = [Probe::new(), Probe::new(), Probe::new()];
    pool.submit(Class::File, jobs[0].clone());
    let other = {
        let (pool, job) = (pool.clone(), jobs[1].clone());
        thread::spawn(move || pool.submit(Class::File, job))
    };
    jobs[1].wait();
    pool.submit(Class::File, jobs[2].clone());
    jobs[2].wait();
    pool.close();
    other.join().expect("a panic of the other thread has ended the model");
}

fn close_beside_submit(pool: impl Threads) {
    let jobs = [Probe::new(), Probe::new()];
    let closer = {
        let pool = pool.clone();
        thread::spawn(move || pool.close())
    };
    for job in &jobs {
        pool.submit(Class::File, job.clone());
    }
    for job in &jobs {
        job.wait();
    }
    closer.join().expect("a panic of the other thread has ended the model");
    let late = Probe::new();
    pool.submit(Class::File, late.clone());
    assert!(late.wait(), "model: the pool is closed");
}

/// Queues two jobs, the first of which waits for the second, for threads that may both be idle: one is woken by the caller.
fn two_for_idle_threads(pool: impl Threads) {
    for _ in 0..2 {
        let second = Probe::new();
        let first = Arc::new(Probe { waits_for: Some(second.clone()), ..Probe::default() });
        pool.submit(Class::File, first.clone());
        pool.submit(Class::File, second);
        assert!(!first.wait(), "model: the kernel makes threads");
    }
    pool.close();
}

/// Lets a closure have the only thread and wait for a job of another class, or of its own.
fn one_waits_for_the_other(pool: Arc<Pool>, class: Class) {
    let second = Probe::new();
    let first = Arc::new(Probe { waits_for: Some(second.clone()), ..Probe::default() });
    Threads::submit(&pool, Class::Closure, first.clone());
    Threads::submit(&pool, class, second);
    assert!(!first.wait(), "model: the kernel makes threads");
    Threads::close(&pool);
}

/// Lets the kernel refuse the second thread once; the first one waits for the job that needs it.
fn refused_once(retries: bool) {
    let calls = Mutex::new(0);
    let start = move |_, body| {
        let mut calls = lock(&calls);
        *calls += 1;
        if *calls == 2 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        drop(calls);
        drop(thread::spawn(body));
        Ok(())
    };
    let pool = Pool::new(limits(2, Duration::MAX), || true, start);
    let second = Probe::new();
    let first = Arc::new(Probe { waits_for: Some(second.clone()), ..Probe::default() });
    let told = [pool.submit(Class::Closure, first.clone()), pool.submit(Class::Closure, second)];
    assert_eq!(told, [false, true], "model: who is to ask again");
    while retries && pool.retry() {
        thread::yield_now();
    }
    first.wait();
    Threads::close(&pool);
}

/// Lets a thread sleep, as a worker whose clock stands does, until the pool has no work. The fault: it looks first, and asks to
/// be told in a second step, whose answer it ignores.
fn clock_waits(asks_later: bool) {
    let pool = steady(2, 9);
    let jobs = [Probe::new(), Probe::new()];
    for job in &jobs {
        Threads::submit(&pool, Class::Closure, job.clone());
    }
    loop {
        let told = Arc::new((Mutex::new(false), Condvar::new()));
        let tell = {
            let told = told.clone();
            move || {
                *lock(&told.0) = true;
                told.1.notify_one();
            }
        };
        let is_idle = if asks_later {
            let is_idle = pool.is_idle_or(|| {});
            pool.is_idle_or(tell);
            is_idle
        } else {
            pool.is_idle_or(tell)
        };
        if is_idle {
            break;
        }
        let mut is_told = lock(&told.0);
        while !*is_told {
            is_told = told.1.wait(is_told).expect("nothing panics under the lock");
        }
    }
    let ended = jobs.iter().all(|job| lock(&job.ended).is_some());
    assert!(ended, "model: the clock moves, and a job has not woken its task");
    Threads::close(&pool);
}

/// Checks that a call is made once or dropped, whichever thread is faster.
fn future_dropped() {
    struct Ends(Arc<Mutex<usize>>);
    impl Drop for Ends {
        fn drop(&mut self) {
            *lock(&self.0) += 1;
        }
    }
    let (ends, pool) = (Arc::new(Mutex::new(0)), steady(1, 9));
    let call = Ends(ends.clone());
    let (run, refused) = pool.run(Class::Name, move || drop(call));
    assert!(!refused, "model: the kernel makes threads");
    drop(run);
    // Behind it, so that the thread has been through with it.
    let last = Probe::new();
    Threads::submit(&pool, Class::Name, last.clone());
    last.wait();
    Threads::close(&pool);
    assert_eq!(*lock(&ends), 1, "model: a call is made or dropped, once");
}

/// The faults of the controls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    EndsWithoutLooking,
    FailedStartIsForgotten,
    QueueIsLeft,
    CloseLeavesTheQueue,
    WokenWakesNoOther,
}

/// The pool for one class and two threads, with a fault.
struct Mini {
    fault: Fault,
    kernel: Kernel,
    state: Mutex<MiniState>,
}

#[derive(Default)]
struct MiniState {
    queue: VecDeque<Arc<Probe>>,
    idle: Vec<Arc<Condvar>>,
    threads: usize,
    arriving: usize,
    running: usize,
    closed: bool,
}

impl MiniState {
    fn lack(&self) -> usize {
        (self.running + self.queue.len()).min(2).saturating_sub(self.threads - self.idle.len())
    }

    fn wake_next(&mut self) {
        if self.arriving == 0
            && self.lack() > 0
            && let Some(idle) = self.idle.pop()
        {
            self.arriving += 1;
            idle.notify_one();
        }
    }
}

impl Mini {
    fn new(fault: Fault, makes: usize) -> Arc<Self> {
        Arc::new(Self { fault, kernel: Kernel::new(makes), state: Mutex::default() })
    }

    fn work(&self) {
        let wake = Arc::new(Condvar::new());
        let mut state = lock(&self.state);
        state.arriving -= 1;
        loop {
            if let Some(job) = state.queue.pop_front().filter(|_| !state.closed) {
                state.running += 1;
                if self.fault != Fault::WokenWakesNoOther {
                    state.wake_next();
                }
                drop(state);
                job.run();
                state = lock(&self.state);
                state.running -= 1;
                continue;
            }
            if state.closed {
                break;
            }
            state.idle.push(wake.clone());
            let timed_out;
            (state, timed_out) = if self.fault == Fault::EndsWithoutLooking {
                let (woken, result) = wake.wait_timeout(state, Duration::ZERO).expect("nothing panics here");
                (woken, result.timed_out())
            } else {
                (wake.wait(state).expect("nothing panics under the lock"), false)
            };
            state.idle.retain(|other| !Arc::ptr_eq(other, &wake));
            // The fault: it may have been taken off the list for a job.
            if timed_out {
                break;
            }
            state.arriving -= usize::from(!state.closed);
        }
        state.threads -= 1;
    }

    fn start_failed(&self) {
        let mut state = lock(&self.state);
        state.threads -= 1;
        state.arriving -= 1;
        if state.threads == 0 && self.fault != Fault::QueueIsLeft {
            let jobs = std::mem::take(&mut state.queue);
            drop(state);
            jobs.into_iter().for_each(|job| job.refuse(Refusal::NoThread(None)));
        } else if state.threads > 0 && self.fault != Fault::FailedStartIsForgotten {
            state.wake_next();
        }
    }
}

impl Threads for Arc<Mini> {
    fn submit(&self, _class: Class, job: Arc<Probe>) {
        let mut state = lock(&self.state);
        if state.closed {
            drop(state);
            return job.refuse(Refusal::Closed);
        }
        state.queue.push_back(job);
        if state.lack() <= state.idle.len() {
            return state.wake_next();
        }
        state.threads += 1;
        state.arriving += 1;
        drop(state);
        let mini = self.clone();
        if self.kernel.start(move || mini.work()).is_err() {
            self.start_failed();
        }
    }

    fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        std::mem::take(&mut state.idle).iter().for_each(|idle| idle.notify_one());
        if self.fault != Fault::CloseLeavesTheQueue {
            let jobs = std::mem::take(&mut state.queue);
            drop(state);
            jobs.into_iter().for_each(|job| job.refuse(Refusal::Closed));
        }
    }
}
