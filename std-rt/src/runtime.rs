//! A runtime: workers on a scheduler and a poller, the way in (`block_on`, `spawn`) and the way out (drop).

use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle as ThreadHandle, Thread};

use netpoll_core::waiters::BreakFlag;

use crate::netpoll::Netpoll;
use crate::sched::{Entered, MAX_WORKERS, Sched};
use crate::sys;
use crate::task::{self, JoinHandle};
use crate::worker::Worker;
use crate::{metrics::Metrics, sysmon};

/// The runtime's threads wait to the nanosecond, not to the kernel's usual 50 us more.
const TIMER_SLACK_NANOSECONDS: u64 = 1;

/// What a runtime is made from. Every setting has a default that suits a server.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    workers: Option<usize>,
    thread_name: String,
    event_interval: u32,
    sysmon: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// As many workers as the process may use CPUs, named `netpoll-worker`.
    pub fn new() -> Self {
        Self { workers: None, thread_name: "netpoll-worker".to_owned(), event_interval: 61, sysmon: true }
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

    /// Whether a backstop thread polls when all workers have been busy for 10 ms; on by default. A runtime of one worker
    /// has none in any case.
    pub fn sysmon(mut self, on: bool) -> Self {
        self.sysmon = on;
        self
    }

    /// Makes the runtime and starts its threads.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a setting out of its range, which the message names; what the kernel says when it has no
    /// descriptors or threads left, with nothing left running.
    pub fn build(self) -> io::Result<Runtime> {
        let workers = match self.workers {
            Some(n) => n,
            None => thread::available_parallelism().map_or(1, |n| n.get().min(MAX_WORKERS)),
        };
        check_range("workers", workers, MAX_WORKERS)?;
        check_range("event_interval", self.event_interval as usize, u32::MAX as usize)?;
        if self.thread_name.contains('\0') {
            let message = format!("Builder::thread_name({:?}): must not contain a null", self.thread_name);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let sched = Sched::new(Netpoll::new()?, workers);
        let mut runtime = Runtime {
            handle: Handle { sched },
            event_interval: self.event_interval,
            seat: Mutex::new(Seat { free: workers == 1, waiting: Vec::new() }),
            threads: Vec::new(),
        };
        if workers > 1 {
            // If a thread cannot be started, dropping the runtime ends those that were.
            runtime.start_threads(workers, &self)?;
        }
        Ok(runtime)
    }
}

fn check_range(name: &str, value: usize, max: usize) -> io::Result<()> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    let message = format!("Builder::{name}({value}): must be between 1 and {max}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// The place of the one worker of a runtime without threads, and who waits for it.
struct Seat {
    free: bool,
    waiting: Vec<Thread>,
}

/// Workers, their queues and their poller.
///
/// Dropping it shuts it down: workers end after the task that they are in, every other task is cancelled (its future
/// is dropped), and their [`JoinHandle`]s say so. The drop waits for tasks that are being polled; it never waits for
/// one that is parked.
pub struct Runtime {
    handle: Handle,
    event_interval: u32,
    seat: Mutex<Seat>,
    threads: Vec<ThreadHandle<()>>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("workers", &self.handle.sched.workers()).finish_non_exhaustive()
    }
}

impl Runtime {
    /// A runtime with the defaults of [`Builder`].
    ///
    /// # Errors
    ///
    /// Those of [`Builder::build`].
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// A runtime with settings of your own.
    pub fn builder() -> Builder {
        Builder::new()
    }

    fn start_threads(&mut self, workers: usize, builder: &Builder) -> io::Result<()> {
        for index in 0..workers {
            let sched = self.handle.sched.clone();
            let interval = builder.event_interval;
            let name = format!("{}-{index}", builder.thread_name);
            let body = move || {
                // Without it waits are up to 50 us longer; nothing else depends on it.
                let _ = sys::set_timer_slack(TIMER_SLACK_NANOSECONDS);
                let worker = Rc::new(Worker::new(sched, index, interval));
                let _entered = worker.enter();
                Worker::set_here(Some(worker.clone()));
                worker.run(&|| false);
            };
            self.threads.push(thread::Builder::new().name(name).spawn(body)?);
        }
        if builder.sysmon {
            let sched = self.handle.sched.clone();
            let body = move || sysmon::run(&sched);
            self.threads.push(thread::Builder::new().name("netpoll-sysmon".to_owned()).spawn(body)?);
        }
        Ok(())
    }

    /// Runs a future to its end on this thread and returns its value; tasks that it spawns run meanwhile, on the
    /// workers, or on this thread if there is only one.
    ///
    /// May be called from several threads at once, and from within a task, whose worker then runs other tasks until the
    /// future has ended.
    ///
    /// # Panics
    ///
    /// If the future panics, or if the kernel refuses to wait for events.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let sched = &self.handle.sched;
        let _entered = sched.enter(None);
        let worker = match Worker::here(sched) {
            Some(worker) => Some(worker.index()),
            None => (sched.workers() == 1).then_some(0),
        };
        let (woken, thread, sched) = (BreakFlag::new(), thread::current(), sched.clone());
        let root = Arc::new(Root { woken, thread, sched, worker });
        let waker = Waker::from(root.clone());
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        let mut seated = None;
        root.woken.set();
        loop {
            seated = seated.or_else(|| self.sit());
            if root.woken.clear()
                && let Poll::Ready(value) = future.as_mut().poll(&mut cx)
            {
                return value;
            }
            match &seated {
                // It yielded: who is runnable has a turn first.
                Some(seated) if root.woken.is_set() => seated.worker.run_ready(),
                Some(seated) => seated.worker.run(&|| root.woken.is_set()),
                None if !root.woken.is_set() => thread::park(),
                None => {}
            }
        }
    }

    /// A worker for this thread to be: the one that it is already, or the one of a runtime without threads if nobody
    /// is that. Else the thread is told when the seat is free.
    fn sit(&self) -> Option<Seated<'_>> {
        if let Some(worker) = Worker::here(&self.handle.sched) {
            return Some(Seated::new(worker, None));
        }
        let mut seat = self.lock_seat();
        if std::mem::take(&mut seat.free) {
            drop(seat);
            let worker = Worker::new(self.handle.sched.clone(), 0, self.event_interval);
            return Some(Seated::new(Rc::new(worker), Some(self)));
        }
        let this = thread::current();
        if self.handle.sched.workers() == 1 && seat.waiting.iter().all(|other| other.id() != this.id()) {
            seat.waiting.push(this);
        }
        None
    }

    fn lock_seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a task.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Runs a closure that blocks on a thread of its own; see [`spawn_blocking`](crate::spawn_blocking).
    pub fn spawn_blocking<F, T>(&self, closure: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.handle.spawn_blocking(closure)
    }

    /// What can be given to other threads to spawn tasks here and to ask for numbers.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The numbers of this runtime.
    pub fn metrics(&self) -> Metrics {
        self.handle.metrics()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let sched = &self.handle.sched;
        sched.close();
        let own = thread::current().id();
        for thread in self.threads.drain(..) {
            // A worker's panic was printed where it happened. A runtime dropped by one of its own tasks does not wait
            // for the thread that it is on.
            if thread.thread().id() != own {
                let _ = thread.join();
            }
        }
        let _entered = sched.enter(None);
        sched.cancel_all();
    }
}

/// A thread that is a worker while this lives.
struct Seated<'a> {
    worker: Rc<Worker>,
    /// The runtime without threads whose seat it is, to be given back; none for a worker that was one before.
    seat_of: Option<&'a Runtime>,
    /// What the thread was before, and the timer slack that it had.
    before: (Option<Rc<Worker>>, Option<u64>),
    _entered: Entered,
}

impl<'a> Seated<'a> {
    fn new(worker: Rc<Worker>, seat_of: Option<&'a Runtime>) -> Self {
        let slack = seat_of.and_then(|_| sys::set_timer_slack(TIMER_SLACK_NANOSECONDS).ok());
        let entered = worker.enter();
        Self { before: (Worker::set_here(Some(worker.clone())), slack), worker, seat_of, _entered: entered }
    }
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        Worker::set_here(self.before.0.take());
        if let Some(slack) = self.before.1 {
            // It was in force before, so the kernel takes it again.
            let _ = sys::set_timer_slack(slack);
        }
        let Some(runtime) = self.seat_of else { return };
        let mut seat = runtime.lock_seat();
        seat.free = true;
        for thread in seat.waiting.drain(..) {
            thread.unpark();
        }
    }
}

/// The waker of a future that `block_on` runs.
struct Root {
    woken: BreakFlag,
    thread: Thread,
    sched: Arc<Sched>,
    /// The worker that the thread is, or may come to be.
    worker: Option<usize>,
}

impl Wake for Root {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.woken.set() {
            self.thread.unpark();
            if let Some(worker) = self.worker {
                // It may sleep in the kernel.
                self.sched.break_poll_of(worker);
            }
        }
    }
}

/// A runtime's number for other threads: cheap to clone, and of no use to anybody once the runtime is dropped, when
/// tasks spawned through it are cancelled at once.
#[derive(Clone, Debug)]
pub struct Handle {
    sched: Arc<Sched>,
}

impl Handle {
    /// The handle of the runtime that this thread runs for, if any.
    pub fn try_current() -> Option<Self> {
        Sched::current().map(|sched| Self { sched })
    }

    /// Starts a task.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        task::spawn(&self.sched, future)
    }

    /// Runs a closure that blocks on a thread of its own; see [`spawn_blocking`](crate::spawn_blocking).
    pub fn spawn_blocking<F, T>(&self, closure: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn(blocking::unblock(closure))
    }

    /// Tasks that are parked on a descriptor; tasks that sleep are not among them.
    pub fn waiters(&self) -> usize {
        self.sched.netpoll().waiters()
    }

    /// The numbers of the runtime.
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&self.sched)
    }

    pub(crate) fn netpoll(&self) -> Arc<Netpoll> {
        self.sched.netpoll().clone()
    }
}
