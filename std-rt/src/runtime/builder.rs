//! What a runtime is made from.

use std::io;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{Handle, Runtime, Seat, TIMER_SLACK_NANOSECONDS, Threads, quit};
use crate::netpoll::Netpoll;
use crate::sched::{Home, MAX_WORKERS, Sched};
use crate::sysmon::{self, OnStuck, StuckTask};
use crate::worker::{Pace, Worker};
use crate::{sys, task};

/// The most events that one poll takes.
const MAX_EVENTS: usize = 256;

/// About what it takes to sleep and be woken: an idle virtual CPU needs 35 us for it.
const SPIN: Duration = Duration::from_micros(50);

/// The most threads that the `blocking` crate takes.
const MAX_BLOCKING: usize = 10_000;

/// What a runtime is made from. Every setting has a default that suits a server.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    workers: Option<usize>,
    thread_name: String,
    event_interval: u32,
    events_per_poll: usize,
    budget: u32,
    max_blocking_threads: Option<usize>,
    sysmon: bool,
    stuck_after: Duration,
    on_stuck: OnStuck,
    timer_slack: Duration,
    spin_before_park: Option<Duration>,
    dump_on_quit: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// As many workers as the process may use CPUs, named `netpoll-worker`.
    pub fn new() -> Self {
        Self {
            workers: None,
            thread_name: "netpoll-worker".to_owned(),
            event_interval: 61,
            events_per_poll: MAX_EVENTS,
            budget: crate::budget::DEFAULT as u32,
            max_blocking_threads: None,
            sysmon: true,
            stuck_after: Duration::from_secs(1),
            on_stuck: OnStuck::default(),
            timer_slack: Duration::from_micros(50),
            spin_before_park: None,
            dump_on_quit: false,
        }
    }

    /// How many workers run tasks, 1 to 256. With 1 there is no thread at all: the one that calls
    /// [`Runtime::block_on`] runs every task, and tasks wait while nobody is in there.
    pub fn workers(mut self, n: usize) -> Self {
        self.workers = Some(n);
        self
    }

    /// The name of the worker threads, to which their number is added.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into();
        self
    }

    /// After so many tasks a busy worker looks at the kernel without waiting; at least 1, by default 61.
    pub fn event_interval(mut self, tasks: u32) -> Self {
        self.event_interval = tasks;
        self
    }

    /// How many events a worker takes from the kernel at a time, 1 to 256, by default 256; never more than there is room
    /// for in its queue. Fewer leave more for the other workers, and cost more system calls.
    pub fn events_per_poll(mut self, n: usize) -> Self {
        self.events_per_poll = n;
        self
    }

    /// Sets how many operations a task may make in one turn before all others come first; by default 128. 0 is no bound:
    /// then a task whose socket always has something to give keeps its worker for itself.
    ///
    /// Every future of this crate that is ready at once counts as one operation, whether it succeeds or fails: reads,
    /// writes, accepts, connects, timers, handles of tasks. 2 KiB that are moved count as one more, so that by default a
    /// turn moves 256 KiB, plus at most what one call moves. What had to wait costs only its bytes. The calls that never
    /// wait (`try_read`) cost their bytes, and the closure of `with_io` is one operation whatever it does.
    ///
    /// [`task::with_budget`](crate::task::with_budget) sets it for one future, and [`task`](crate::task) says how a future
    /// of another crate counts.
    pub fn budget(mut self, operations: u32) -> Self {
        self.budget = operations;
        self
    }

    /// How many threads [`spawn_blocking`](crate::spawn_blocking), files and name look-ups may have at most, 1 to 10,000.
    ///
    /// The threads are started when they are needed and end when they have been idle for half a second. **They are the
    /// process's, not the runtime's**: the runtime that was built last decides for all. Without this setting it is 500,
    /// or what the environment variable `BLOCKING_MAX_THREADS` says.
    pub fn max_blocking_threads(mut self, n: usize) -> Self {
        self.max_blocking_threads = Some(n);
        self
    }

    /// Whether a backstop thread polls when all workers have been busy for 10 ms, and has the others do the work of one
    /// that is stuck; on by default. A runtime of one worker has none, unless [`Builder::on_stuck`] asks for one.
    pub fn sysmon(mut self, on: bool) -> Self {
        self.sysmon = on;
        self
    }

    /// For how long a task may hold its worker until it counts as stuck, by default 1 second. It is measured by the
    /// backstop, to 10 ms. Stuck tasks are counted in [`Metrics::stuck_tasks`](crate::Metrics::stuck_tasks).
    pub fn stuck_after(mut self, limit: Duration) -> Self {
        self.stuck_after = limit;
        self
    }

    /// Calls `report` once for each turn in which a task is stuck, on the backstop's thread: it must not block.
    ///
    /// ```
    /// # use netpoll_rt::Runtime;
    /// let runtime = Runtime::builder().on_stuck(|task| eprintln!("stuck: {task}")).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// For this also a runtime of one worker has the backstop's thread, which does nothing else there. Without
    /// [`Builder::sysmon`] nobody is there to call it.
    pub fn on_stuck(mut self, report: impl Fn(&StuckTask) + Send + Sync + 'static) -> Self {
        self.on_stuck = OnStuck::new(report);
        self
    }

    /// By how much a timer may be late so that one wake serves several; 50 us by default. It counts only while timers
    /// wake the runtime more than 2,000 times a second and the next one has neighbours: a lone timer has no slack.
    pub fn timer_slack(mut self, slack: Duration) -> Self {
        self.timer_slack = slack;
        self
    }

    /// For how long at most a worker with nothing to do keeps looking before it sleeps, which spares who is asked again
    /// soon the time to wake up; zero is never. By default 50 us, and never if the process may use only one CPU.
    ///
    /// It does so only while its last waits were short, gives up at the first that is not, and not while the other workers
    /// need the CPUs. Set it yourself where the process is tied to one CPU and those whom it serves run on others.
    /// [`Metrics::spin_hits`](crate::Metrics::spin_hits) and `spin_misses` say how often it was worth it.
    pub fn spin_before_park(mut self, limit: Duration) -> Self {
        self.spin_before_park = Some(limit);
        self
    }

    /// Whether `SIGQUIT` (Ctrl-\ on a terminal) makes the runtime write its [`Dump`](crate::dump::Dump) to the standard
    /// error output instead of ending the process; off by default. It takes a thread of its own, and works when all
    /// workers are stuck. After the runtime's end the signal does nothing, see [`signal`](crate::signal).
    pub fn dump_on_quit(mut self, on: bool) -> Self {
        self.dump_on_quit = on;
        self
    }

    /// Makes the runtime and starts its threads.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a setting out of its range, which the message names; what the kernel says when it has no
    /// descriptors or threads left, with nothing left running.
    pub fn build(self) -> io::Result<Runtime> {
        let cpus = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let workers = self.workers.unwrap_or(cpus.min(MAX_WORKERS));
        self.check(workers)?;
        if let Some(threads) = self.max_blocking_threads.and_then(NonZeroUsize::new) {
            blocking::set_max_blocking_threads(threads);
        }
        let sched = Home::outside(Sched::new(Netpoll::with(workers, self.timer_slack)?, workers));
        let mut runtime = Runtime {
            threads: Threads::new(sched.clone()),
            handle: Handle { sched },
            pace: Pace {
                event_interval: self.event_interval,
                events_per_poll: self.events_per_poll,
                budget: task::units(self.budget),
                spin: self.spin(cpus),
                crowd: (cpus - 1).max(1),
            },
            seat: Seat::new(workers == 1),
            quit: None,
        };
        // If a thread cannot be started, dropping the runtime ends those that were.
        self.start_threads(&mut runtime, workers)?;
        Ok(runtime)
    }

    /// Nanoseconds that a worker looks.
    fn spin(&self, cpus: usize) -> u64 {
        let limit = match self.spin_before_park {
            Some(limit) => limit,
            None if cpus > 1 => SPIN,
            None => Duration::ZERO,
        };
        u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)
    }

    fn check(&self, workers: usize) -> io::Result<()> {
        check_range("workers", workers, MAX_WORKERS)?;
        check_range("event_interval", self.event_interval as usize, u32::MAX as usize)?;
        check_range("events_per_poll", self.events_per_poll, MAX_EVENTS)?;
        check_range("max_blocking_threads", self.max_blocking_threads.unwrap_or(1), MAX_BLOCKING)?;
        if self.thread_name.contains('\0') {
            let message = format!("Builder::thread_name({:?}): must not contain a null", self.thread_name);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    fn start_threads(&self, runtime: &mut Runtime, workers: usize) -> io::Result<()> {
        let sched = &runtime.handle.sched;
        // One worker is whoever is in `block_on`.
        for index in (0..workers).filter(|_| workers > 1) {
            let name = format!("{}-{index}", self.thread_name);
            runtime.threads.start(name, Some(index), worker(sched.clone(), index, runtime.pace))?;
        }
        if self.sysmon && (workers > 1 || self.on_stuck.is_set()) {
            let (sched, after, report) = (sched.clone(), self.stuck_after, self.on_stuck.clone());
            let body = move || sysmon::run(&sched, after, report);
            runtime.threads.start("netpoll-sysmon".to_owned(), None, body)?;
        }
        if self.dump_on_quit {
            runtime.quit = Some(quit::watch(&mut runtime.threads, sched)?);
        }
        Ok(())
    }
}

/// What a worker's thread does.
fn worker(sched: Arc<Home>, index: usize, pace: Pace) -> impl FnOnce() + Send + 'static {
    move || {
        // Without it waits are up to 50 us longer; nothing else depends on it.
        let _ = sys::set_timer_slack(TIMER_SLACK_NANOSECONDS);
        let worker = Rc::new(Worker::new(&sched, index, pace));
        let _entered = worker.enter();
        Worker::set_here(Some(worker.clone()));
        worker.run(None);
    }
}

fn check_range(name: &str, value: usize, max: usize) -> io::Result<()> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    let message = format!("Builder::{name}({value}): must be between 1 and {max}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}
