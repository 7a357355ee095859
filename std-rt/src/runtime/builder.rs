//! The builder of a runtime: its settings, and the start of its threads.

use std::any::Any;
use std::future::poll_fn;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use atomic_waker::AtomicWaker;
use netpoll_core::sync::Flag;

use super::shutdown::ThreadSet;
use super::{Handle, Runtime, TIMER_SLACK_NANOSECONDS};
use crate::blocking::{self, Threads};
use crate::dump::Dump;
use crate::error::OpError;
use crate::netpoll::{Config, Netpoll};
use crate::protocol::hand_over::Offer;
use crate::protocol::pool::Pool;
use crate::sched::{
    Around, Extension, Hook, Hooks, MAX_WORKERS, Sched, SchedHandle, ThreadNames, WorkerConfig,
};
use crate::signal::{Signal, SignalKind, signal};
use crate::sysmon::{self, OnStuck, StuckTask};
use crate::time::Clock;
use crate::worker::Worker;
use crate::{sys, task};

/// The most events that one poll takes.
const MAX_EVENTS: usize = 256;

/// The default of [`Builder::spin_before_park`]: about the time to sleep and be woken, 35 us on an idle virtual CPU.
const SPIN: Duration = Duration::from_micros(50);

/// The maximum of [`Builder::max_blocking_threads`], which is the default too.
const MAX_BLOCKING: usize = 10_000;
const DEFAULT_BLOCKING: usize = 512;

/// The maximum of [`Builder::thread_stack_size`].
const MAX_STACK: usize = 1 << 30;

/// The name of the workers' threads, without [`Builder::thread_name`].
const WORKER_NAME: &str = "netpoll-worker";

/// A builder of runtimes. Every setting has a default that suits a server.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    workers: Option<usize>,
    /// Set if the only worker has a thread too.
    has_threads: bool,
    pollers: usize,
    thread_names: ThreadNames,
    thread_stack_size: Option<usize>,
    hooks: Hooks,
    event_interval: u32,
    events_per_poll: usize,
    lifo_slot: bool,
    budget: u32,
    max_blocking_threads: usize,
    thread_keep_alive: Duration,
    sysmon: bool,
    stuck_after: Duration,
    on_stuck: OnStuck,
    timer_slack: Duration,
    spin_before_park: Option<Duration>,
    dump_on_quit: bool,
    system_call_filter: bool,
    extension: Option<Extension>,
    wait_for_blocking: bool,
    clock: Clock,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// Creates a builder with the defaults: as many workers as the process may use CPUs, named `netpoll-worker`.
    pub fn new() -> Self {
        Self {
            workers: None,
            has_threads: false,
            pollers: 1,
            thread_names: ThreadNames::Default,
            thread_stack_size: None,
            hooks: Hooks::default(),
            event_interval: 61,
            events_per_poll: MAX_EVENTS,
            lifo_slot: true,
            budget: crate::coop::DEFAULT as u32,
            max_blocking_threads: DEFAULT_BLOCKING,
            thread_keep_alive: Duration::from_secs(10),
            sysmon: true,
            stuck_after: Duration::from_secs(1),
            on_stuck: OnStuck::default(),
            timer_slack: Duration::from_millis(1),
            spin_before_park: None,
            dump_on_quit: false,
            system_call_filter: false,
            extension: None,
            wait_for_blocking: false,
            clock: Clock::system(),
        }
    }

    /// Sets how many workers run tasks, 1 to 256. Without this setting there is one for each CPU that the process may use,
    /// each with a thread of its own, also on a machine with one CPU.
    ///
    /// **`workers(1)` asks for a runtime without worker threads**: the thread that calls [`Runtime::block_on`] runs every
    /// task, and tasks wait while no thread is in there.
    ///
    /// An operation on a descriptor of such a runtime that is awaited elsewhere, in another runtime or executor, does not wait
    /// for such a thread: the descriptors are then polled by a thread (`netpoll-standby`) that is started for that and ends
    /// after it. Sleeps go on where they are polled. Tasks, and so their handles, wait for the next `block_on`.
    pub fn workers(mut self, n: usize) -> Self {
        (self.workers, self.has_threads) = (Some(n), false);
        self
    }

    /// Sets how many workers run tasks, as [`workers`](Self::workers) does, each with a thread of its own, also if there is
    /// only one.
    pub fn worker_threads(mut self, n: usize) -> Self {
        (self.workers, self.has_threads) = (Some(n), true);
        self
    }

    /// Sets how many of the kernel's pollers (epoll) the runtime has, 1 to 32; 1 by default. It has no more than workers, and one
    /// with kqueue or poll(2): [`Metrics::pollers`](crate::Metrics::pollers).
    ///
    /// A descriptor belongs to one of them for its life; they get equal shares, whichever task opens or accepts. Every worker polls
    /// its own first and serves those of busy workers too, as [`sysmon`](Self::sysmon) says. From one poller one worker at a time
    /// takes events, which limits many workers with thousands of busy connections (golang/go#65064). With few workers one is
    /// better: one call returns all events. With several, one open file may be registered twice without an error.
    pub fn pollers(mut self, n: usize) -> Self {
        self.pollers = n;
        self
    }

    /// Sets the name of the runtime's threads, by default `netpoll`. The workers are called `NAME-0` and so on, with the
    /// default `netpoll-worker-0`; the threads for work that blocks `NAME-pool-0`. Linux shows 15 bytes of it.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_names = ThreadNames::Numbered(name.into());
        self
    }

    /// Sets a function that returns the whole name of each worker's thread and of each thread for work that blocks. Nulls in
    /// it are left out.
    pub fn thread_name_fn(mut self, name: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.thread_names = ThreadNames::Each(Arc::new(name));
        self
    }

    /// Sets the size of the stack of each thread that the runtime starts, in bytes, at least 1 and at most 1 GiB; by default
    /// that of [`std::thread`], 2 MiB. The system rounds it up. It concerns the workers, the threads for work that blocks
    /// and the runtime's helpers; the stack of a thread in `block_on` is that thread's own.
    pub fn thread_stack_size(mut self, bytes: usize) -> Self {
        self.thread_stack_size = Some(bytes);
        self
    }

    /// Sets a function that each thread of the runtime calls when it has started: the workers and the threads for work that
    /// blocks, which are those that run code of the user. A thread in [`Runtime::block_on`] was started by the user, and the
    /// runtime's helpers (monitor, standby, dump) run no tasks, so these do not call it.
    ///
    /// A worker calls it as a part of the runtime ([`Handle::current`]), a thread for work that blocks before it is one. If
    /// it panics the thread goes on. The same is true of the other hooks.
    ///
    /// ```
    /// # use netpoll_rt::Runtime;
    /// let runtime = Runtime::builder()
    ///     .on_thread_start(|| eprintln!("{:?} starts", std::thread::current().name()))
    ///     .on_thread_stop(|| eprintln!("{:?} ends", std::thread::current().name()))
    ///     .build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_thread_start(mut self, call: impl Fn() + Send + Sync + 'static) -> Self {
        self.hooks.start = Hook::new(call);
        self
    }

    /// Sets a function that each thread which has called that of [`Builder::on_thread_start`] calls when it is about to end.
    /// The runtime's end waits for it on a worker, and does not on a thread for work that blocks.
    pub fn on_thread_stop(mut self, call: impl Fn() + Send + Sync + 'static) -> Self {
        self.hooks.stop = Hook::new(call);
        self
    }

    /// Sets a function in which each worker's thread runs: it is called when the thread has started, and calls its argument,
    /// which returns when the worker ends. So a library on top of this crate has a scope around all tasks of the thread. The
    /// hooks of [`on_thread_start`](Self::on_thread_start) and the others are called within it.
    ///
    /// If the function does not call its argument, the worker runs after it. A thread in [`Runtime::block_on`] does not call
    /// it, nor does one for work that blocks.
    ///
    /// ```
    /// # use netpoll_rt::Runtime;
    /// # fn with_arena(run: &mut dyn FnMut()) { run() }
    /// let runtime = Runtime::builder().around_worker(|run| with_arena(run)).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn around_worker(mut self, call: impl Fn(&mut dyn FnMut()) + Send + Sync + 'static) -> Self {
        self.hooks.around = Around::new(call);
        self
    }

    /// Sets a function that a worker calls before it sleeps because it has no task; with
    /// [`workers(1)`](Builder::workers), the thread that is in `block_on` and runs the tasks. Tasks that it spawns or wakes run
    /// at once. It is called often, and should be short.
    pub fn on_thread_park(mut self, call: impl Fn() + Send + Sync + 'static) -> Self {
        self.hooks.park = Hook::new(call);
        self
    }

    /// Sets a function that a worker calls after it has slept: once after each call of that of [`Builder::on_thread_park`].
    pub fn on_thread_unpark(mut self, call: impl Fn() + Send + Sync + 'static) -> Self {
        self.hooks.unpark = Hook::new(call);
        self
    }

    /// Sets the number of tasks after which a busy worker polls the kernel without waiting; at least 1, by default 61. It polls
    /// after fewer if these would take more than 200 us, by the mean time of the last ones.
    pub fn event_interval(mut self, tasks: u32) -> Self {
        self.event_interval = tasks;
        self
    }

    /// Sets how many events a worker takes from the kernel at a time, 1 to 256, by default 256; never more than there is room
    /// for in its queue. Fewer leave more for the other workers, and cost more system calls.
    pub fn events_per_poll(mut self, n: usize) -> Self {
        self.events_per_poll = n;
        self
    }

    /// Sets whether a task that the running one spawns or wakes has the next turn, before those that are queued already; on by
    /// default. Of several the last one has it, and after three such turns in a row the queue comes first. Off, the tasks of a
    /// runtime of [`workers(1)`](Builder::workers), which it needs, run in the order in which they were spawned and woken, and a
    /// future of `block_on` that yields while no task is runnable lets the kernel report events each time, as with tokio's
    /// `current_thread`.
    ///
    /// ```
    /// # use netpoll_rt::Runtime;
    /// let runtime = Runtime::builder().workers(1).lifo_slot(false).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn lifo_slot(mut self, on: bool) -> Self {
        self.lifo_slot = on;
        self
    }

    /// Sets how many operations a task may make in one turn before all others come first; by default 128. 0 is no bound:
    /// then a task whose socket always has something to give keeps its worker for itself.
    ///
    /// Every future of this crate that is ready at once counts as one operation, whether it succeeds or fails: reads,
    /// writes, accepts, connects, timers, handles of tasks. 2 KiB that are moved count as one more, so that by default a
    /// turn moves 256 KiB, plus at most the bytes of one call. An operation that had to wait costs only its bytes. The calls
    /// that never wait (`try_read`) cost their bytes, and the closure of `with_io` is always one operation.
    ///
    /// [`task::with_budget`](crate::task::with_budget) sets it for one future, and [`task`](crate::task) says how a future
    /// of another crate counts.
    pub fn budget(mut self, operations: u32) -> Self {
        self.budget = operations;
        self
    }

    /// Sets how many threads this runtime's pool for work that blocks may have, 1 to 10,000; by default 512. The work is
    /// closures of [`spawn_blocking`](crate::spawn_blocking), operations on files, and name look-ups.
    ///
    /// Beyond the bound each of these three kinds may have an eighth of it, at least 1 and at most 16 threads, so that
    /// one kind that has taken every thread does not keep the others waiting: names are found while 512 files hang. So
    /// closures alone never have more threads than `n`, and all kinds together at most `n` and three times that eighth. (The
    /// fourth kind is the drop of closures that were aborted, in a runtime without workers of its own.)
    ///
    /// [`block_in_place`](crate::task::block_in_place) has as many threads of its own at most, beside one for each worker.
    ///
    /// Work beyond that waits for a thread, in the order in which it came within its kind; kinds take turns. So does work
    /// for which the kernel makes no thread (`RLIMIT_NPROC`, `pids.max`): it is done by the threads that there are, and
    /// ends with an error only if there is none.
    pub fn max_blocking_threads(mut self, n: usize) -> Self {
        self.max_blocking_threads = n;
        self
    }

    /// Sets for how long a thread for work that blocks waits for more before it ends; by default 10 seconds, and
    /// [`Duration::MAX`] never. Every thread of the pool ends so, the last one too. The thread that became idle last is the
    /// first to get work, so a pool shrinks to the size that its load needs.
    pub fn thread_keep_alive(mut self, limit: Duration) -> Self {
        self.thread_keep_alive = limit;
        self
    }

    /// Sets whether a monitor thread polls when all workers have been busy for 10 ms, and gives the work of a stuck worker to the
    /// others; on by default. A runtime with one worker has none, unless [`Builder::on_stuck`] asks for one.
    ///
    /// With the monitor, a worker wakes another one only for ready tasks that, by the times of the last ones, are worth the wake.
    /// So a task behind one that takes unusually long may wait up to 10 ms although another worker sleeps. Without the monitor each
    /// poll that makes a task ready wakes another worker that sleeps, which costs a system call each, and a worker that sleeps does
    /// not notice that a descriptor of the runtime was closed by its number.
    pub fn sysmon(mut self, on: bool) -> Self {
        self.sysmon = on;
        self
    }

    /// Sets for how long a task may hold its worker until it counts as stuck, by default 1 second. The monitor measures it,
    /// to 10 ms. Stuck tasks are counted in [`Metrics::stuck_tasks`](crate::Metrics::stuck_tasks).
    pub fn stuck_after(mut self, limit: Duration) -> Self {
        self.stuck_after = limit;
        self
    }

    /// Sets a function that is called once for each turn in which a task is stuck, on the monitor's thread. It must not block.
    ///
    /// ```
    /// # use netpoll_rt::Runtime;
    /// let runtime = Runtime::builder().on_stuck(|task| eprintln!("stuck: {task}")).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// With this setting a runtime of one worker has a monitor too, which does nothing else there. Without
    /// [`Builder::sysmon`] the function is never called.
    pub fn on_stuck(mut self, report: impl Fn(&StuckTask) + Send + Sync + 'static) -> Self {
        self.on_stuck = OnStuck::new(report);
        self
    }

    /// Sets by how much a timer may be late so that one wake serves several; 1 ms by default. It counts only while timers wake
    /// the runtime more often than once in that time, on average, and a later wake serves more than three: few timers have
    /// no slack. Zero makes every timer exact.
    pub fn timer_slack(mut self, slack: Duration) -> Self {
        self.timer_slack = slack;
        self
    }

    /// Sets how long an idle worker may spin before it parks, which saves the time to wake up if there is work soon.
    /// `Duration::ZERO` disables spinning. By default 50 us, and disabled if the process may use only one CPU.
    ///
    /// A worker spins only while its last waits were short and the other workers do not need the CPUs, and stops at the first
    /// wait that is longer. Set it yourself where the process is tied to one CPU and its clients run on others.
    /// [`Metrics::spin_hits`](crate::Metrics::spin_hits) and `spin_misses` say how often it was worth it.
    pub fn spin_before_park(mut self, limit: Duration) -> Self {
        self.spin_before_park = Some(limit);
        self
    }

    /// Sets whether `SIGQUIT` (Ctrl-\ on a terminal) makes the runtime write its [`Dump`](crate::dump::Dump) to the standard
    /// error output instead of ending the process; off by default. It takes a thread of its own, and works when all
    /// workers are stuck. After the runtime's end the signal does nothing, see [`signal`](crate::signal).
    pub fn dump_on_quit(mut self, on: bool) -> Self {
        self.dump_on_quit = on;
        self
    }

    /// Sets whether the process runs under a filter (seccomp) that **kills** it for a system call that the filter does not know;
    /// off by default. A filter that answers with an error (`EPERM`, `ENOSYS`), as those of containers do, needs no setting.
    ///
    /// With it the runtime makes no call to find out whether the kernel has it. That concerns one call, `epoll_pwait2` of
    /// Linux 5.11: each wait with a timeout then takes two calls, poll(2) and `epoll_wait`, and is as exact. On other
    /// systems, and with another backend, it changes nothing.
    ///
    /// ```
    /// # use netpoll_rt::Runtime;
    /// let runtime = Runtime::builder().system_call_filter(true).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn system_call_filter(mut self, kills: bool) -> Self {
        self.system_call_filter = kills;
        self
    }

    /// Sets whether the end of the runtime waits for closures of [`spawn_blocking`](crate::spawn_blocking) and operations on
    /// files that a thread has begun or is on its way to, [`Runtime::shutdown_timeout`] as long as its limit allows; off by
    /// default. A closure that ends its own runtime is not waited for.
    ///
    /// With it such a closure is not given up by the end of the runtime, and never once a thread has begun it: its handle gives its value even after the end of the
    /// runtime, and [`abort`](crate::JoinHandle::abort) has no effect.
    pub fn wait_for_blocking(mut self, on: bool) -> Self {
        self.wait_for_blocking = on;
        self
    }

    /// Sets the clock of the runtime, which a test may have [paused](crate::time#a-paused-clock); by default that of the
    /// system. A paused one needs [`workers(1)`](Builder::workers).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use netpoll_rt::Runtime;
    /// use netpoll_rt::time::{Clock, sleep};
    ///
    /// let runtime = Runtime::builder().workers(1).clock(Clock::paused()).build()?;
    /// runtime.block_on(sleep(Duration::from_secs(3600))); // It takes no time.
    /// # std::io::Result::Ok(())
    /// ```
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps a value with the runtime, for a library on top of this crate: [`Handle::extension`] returns it. There is one.
    pub fn extension<T: Any + Send + Sync>(mut self, value: Arc<T>) -> Self {
        self.extension = Some(value);
        self
    }

    /// Creates the runtime and starts its threads.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if a setting is out of its range; the message names it. Returns an [`OpError`] with the
    /// kernel's error if there are no descriptors or threads left; it names the part that could not be made, and nothing is
    /// left running.
    pub fn build(self) -> io::Result<Runtime> {
        let cpus = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let workers = self.workers.unwrap_or(cpus.min(MAX_WORKERS));
        // A machine with one CPU has not asked for a runtime without threads.
        let threadless = self.workers == Some(1) && !self.has_threads;
        self.check(workers, threadless)?;
        let netpoll = Netpoll::with(self.netpoll(workers)).map_err(failed("make the poller of a runtime"))?;
        if self.clock.is_paused {
            netpoll.pause();
        }
        let (config, hooks) = (self.worker_config(cpus), self.hooks.clone());
        let extension = self.extension.clone();
        let sched = Sched::new(netpoll, workers, threadless, self.pool(), config, hooks, extension);
        let sched = SchedHandle::new(sched);
        let mut runtime = Runtime {
            threads: ThreadSet::new(sched.clone(), self.thread_stack_size),
            handle: Handle { sched },
            worker_slot: threadless.then(Arc::default),
            quit: None,
            wait_for_blocking: self.wait_for_blocking,
        };
        // If a thread cannot be started, dropping the runtime ends those that were.
        self.start_threads(&mut runtime, workers)?;
        Ok(runtime)
    }

    fn netpoll(&self, workers: usize) -> Config {
        let (slack, stack_size) = (self.timer_slack, self.thread_stack_size);
        Config { workers, pollers: self.pollers, slack, probe: !self.system_call_filter, stack_size }
    }

    fn worker_config(&self, cpus: usize) -> WorkerConfig {
        WorkerConfig {
            monitored: self.sysmon,
            event_interval: self.event_interval,
            events_per_poll: self.events_per_poll,
            lifo_slot: self.lifo_slot,
            budget: task::units(self.budget),
            spin: self.spin(cpus),
            crowd: (cpus - 1).max(1),
            most_successors: self.max_blocking_threads,
            keep_alive: self.thread_keep_alive,
            waits_for_blocking: self.wait_for_blocking,
            stack_size: self.thread_stack_size,
        }
    }

    fn pool(&self) -> Arc<Pool> {
        let (names, hooks) = (self.thread_names.clone(), self.hooks.clone());
        let threads = Threads { names, stack_size: self.thread_stack_size, hooks };
        blocking::pool(threads, self.max_blocking_threads, self.thread_keep_alive)
    }

    /// Returns the nanoseconds for which a worker may spin.
    fn spin(&self, cpus: usize) -> u64 {
        let limit = match self.spin_before_park {
            Some(limit) => limit,
            None if cpus > 1 => SPIN,
            None => Duration::ZERO,
        };
        u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)
    }

    fn check(&self, workers: usize, threadless: bool) -> io::Result<()> {
        check_range("workers", workers, MAX_WORKERS)?;
        check_range("pollers", self.pollers, u32::BITS as usize)?;
        check_range("event_interval", self.event_interval as usize, u32::MAX as usize)?;
        check_range("events_per_poll", self.events_per_poll, MAX_EVENTS)?;
        check_range("max_blocking_threads", self.max_blocking_threads, MAX_BLOCKING)?;
        check_range("thread_stack_size", self.thread_stack_size.unwrap_or(1), MAX_STACK)?;
        if let ThreadNames::Numbered(name) = &self.thread_names
            && name.contains('\0')
        {
            let message = format!("Builder::thread_name({name:?}): must not contain a null");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let of_one_thread =
            [("clock(Clock::paused())", self.clock.is_paused), ("lifo_slot(false)", !self.lifo_slot)];
        if let Some((setting, _)) = of_one_thread.into_iter().find(|(_, is_set)| *is_set && !threadless) {
            let message = format!("Builder::{setting}: needs a runtime of workers(1)");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    fn start_threads(&self, runtime: &mut Runtime, workers: usize) -> io::Result<()> {
        let sched = &runtime.handle.sched;
        for index in (0..workers).filter(|_| !sched.is_threadless()) {
            let name = self.thread_names.get(WORKER_NAME, "", index);
            let started = runtime.threads.start(name, worker(sched.clone(), Offer::new(index)));
            started.map_err(failed("start a worker's thread"))?;
        }
        if self.sysmon && (workers > 1 || self.on_stuck.is_set()) {
            let (sched, after, report) = (sched.clone(), self.stuck_after, self.on_stuck.clone());
            let body = move || sysmon::run(&sched, after, report);
            let started = runtime.threads.start("netpoll-sysmon".to_owned(), body);
            started.map_err(failed("start the thread that watches the workers"))?;
        }
        if self.dump_on_quit {
            let watch = watch_sigquit(&mut runtime.threads, sched);
            runtime.quit = Some(watch.map_err(failed("start the thread of dump_on_quit"))?);
        }
        Ok(())
    }
}

/// Returns the body of a worker's thread. When another thread has become the worker, this one waits to become one again.
pub(super) fn worker(sched: Arc<SchedHandle>, first: Offer) -> impl FnOnce() + Send + 'static {
    let around = sched.hooks().around.clone();
    let run = move || {
        // If it fails, waits are up to 50 us longer.
        let _ = sys::set_timer_slack(TIMER_SLACK_NANOSECONDS);
        let _entered = sched.enter();
        let (mut next, mut hooks) = (Some(first), None);
        while let Some(offer) = next {
            if offer.claim.claim() {
                let worker = Rc::new(Worker::new(&sched, offer.worker));
                let _entered = worker.enter();
                // The hook may call `block_on`, which works on the worker.
                hooks.get_or_insert_with(|| sched.hooks().enter_thread());
                worker.run(None);
            }
            next = sched.spares().wait(sched.config().keep_alive);
        }
    };
    move || around.call(run)
}

/// The token that ends the thread of [`watch_sigquit`].
#[derive(Default)]
pub(super) struct StopToken {
    requested: Flag,
    waker: AtomicWaker,
}

impl StopToken {
    pub(super) fn request(&self) {
        self.requested.set();
        self.waker.wake();
    }
}

/// Starts the thread that writes a dump on `SIGQUIT` (Ctrl-\). It has a runtime of its own, so that it works when all workers
/// are stuck.
fn watch_sigquit(threads: &mut ThreadSet, sched: &Arc<SchedHandle>) -> io::Result<Arc<StopToken>> {
    let stop = Arc::new(StopToken::default());
    let own = Runtime::builder().workers(1).build()?;
    let quit = own.block_on(async { signal(SignalKind::QUIT) })?;
    let (sched, requested) = (sched.clone(), stop.clone());
    let body = move || {
        // Only a program that wants no dump any more clears the listeners of this signal.
        while own.block_on(next_sigquit(&quit, &requested)).is_some_and(|signal| signal.is_ok()) {
            // An error of the standard error output cannot be reported anywhere.
            let _ = writeln!(io::stderr(), "{}", Dump::of(&sched));
        }
    };
    threads.start("netpoll-dump".to_owned(), body)?;
    Ok(stop)
}

/// Waits for the next signal; `None` if the runtime ends.
async fn next_sigquit(quit: &Signal, stop: &StopToken) -> Option<io::Result<()>> {
    poll_fn(|cx| {
        stop.waker.register(cx.waker());
        if stop.requested.is_set() {
            return Poll::Ready(None);
        }
        quit.poll_recv(cx).map(Some)
    })
    .await
}

/// Names the part of a runtime that could not be made.
fn failed(part: &'static str) -> impl Fn(io::Error) -> io::Error {
    move |error| OpError::new(part, error).into()
}

fn check_range(name: &str, value: usize, max: usize) -> io::Result<()> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    let message = format!("Builder::{name}({value}): must be between 1 and {max}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}
