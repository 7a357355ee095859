//! A runtime on netpoll-core: two workers, a simulated kernel, a timer wheel, tasks. The comments number the steps of the page
//! `netpoll_core::embedding`, which gives the reason of each.
//!
//! The tasks wait for an event, for a deadline that is moved while they wait, and for a descriptor that is closed.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use netpoll_core::poll::break_flag::BreakFlag;
use netpoll_core::poll::cache::{BLOCK_LEN, StaticBlock};
use netpoll_core::sched::idle::Idle;
use netpoll_core::sched::poller_lock::PollerLock;
use netpoll_core::sched::task::{Action, PollResult, TaskState};
use netpoll_core::sync::Flag;
use netpoll_core::timer::{Array, TimerId, Wheel};
use netpoll_core::{
    Delivered, Event, EventFlags, GList, Mode, Modes, PollCache, PollErr, PollKey, Registration, Wait, When,
};

const WORKERS: usize = 2;
/// The number of events that a poll delivers at most. Each may wake two tasks.
const EVENTS: usize = 8;

/// The memory of the descriptors.
static BLOCK: StaticBlock = StaticBlock::new();

/// The runtime is a static: nothing in the core needs an allocator.
static RUNTIME: Runtime = Runtime {
    cache: PollCache::new(),
    kernel: Kernel {
        state: Mutex::new(KernelState { events: VecDeque::new(), broken: false }),
        news: Condvar::new(),
    },
    break_flag: BreakFlag::new(),
    poller: PollerLock::new(),
    idle: Idle::new(),
    timers: Mutex::new(Timers { wheel: Wheel::new(0, Array::new()), ids: [None; BLOCK_LEN] }),
    queue: Mutex::new(VecDeque::new()),
    threads: [const { OnceLock::new() }; WORKERS],
    started: OnceLock::new(),
    ended: Flag::new(),
};

struct Runtime {
    cache: PollCache<1>,
    kernel: Kernel,
    break_flag: BreakFlag,
    poller: PollerLock,
    idle: Idle<1>,
    timers: Mutex<Timers>,
    queue: Mutex<VecDeque<Arc<Task>>>,
    threads: [OnceLock<Thread>; WORKERS],
    started: OnceLock<Instant>,
    ended: Flag,
}

/// The timers of the descriptors. Each has one at most, whose id is at the index of its slot.
struct Timers {
    wheel: Wheel<Array<PollKey, BLOCK_LEN>>,
    ids: [Option<TimerId>; BLOCK_LEN],
}

impl Timers {
    /// Puts the timer of a descriptor at a tick, whether it has one or not.
    fn put(&mut self, key: PollKey, at: usize) {
        let id = &mut self.ids[key.slot as usize];
        if !id.is_some_and(|id| self.wheel.edit(id, at as u64)) {
            *id = self.wheel.insert(at as u64, key).ok(); // it has a place for each slot
        }
    }

    fn remove(&mut self, key: PollKey) {
        self.ids[key.slot as usize].take().and_then(|id| self.wheel.remove(id));
    }

    /// Takes a timer that is due out.
    fn pop(&mut self, now: usize) -> Option<PollKey> {
        let (_, key) = self.wheel.pop(now as u64)?;
        self.ids[key.slot as usize] = None;
        Some(key)
    }
}

struct Task {
    state: TaskState,
    future: Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if self.state.wake() == Action::Schedule {
            RUNTIME.schedule(self);
        }
    }
}

/// The simulated kernel: a queue of events, in which a thread sleeps.
struct Kernel {
    state: Mutex<KernelState>,
    news: Condvar,
}

struct KernelState {
    events: VecDeque<Event>,
    broken: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kernel {
    fn report(&self, event: Event) {
        lock(&self.state).events.push_back(event);
        self.news.notify_one();
    }

    fn interrupt(&self) {
        lock(&self.state).broken = true;
        self.news.notify_one();
    }

    /// Sleeps until there is an event or a break, at most for `limit`. Returns the events, and whether there was a break.
    fn wait(&self, limit: Duration) -> (Vec<Event>, bool) {
        let idle = |state: &mut KernelState| state.events.is_empty() && !state.broken;
        let waited = self.news.wait_timeout_while(lock(&self.state), limit, idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let n = state.events.len().min(EVENTS);
        (state.events.drain(..n).collect(), std::mem::take(&mut state.broken))
    }
}

impl Runtime {
    /// Returns the tick of now: a millisecond, counted from the start.
    fn now(&self) -> usize {
        self.started.get_or_init(Instant::now).elapsed().as_millis() as usize
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.schedule(Arc::new(Task { state: TaskState::new(), future: Mutex::new(Box::pin(future)) }));
    }

    /// Puts a task into the queue, and wakes a worker for it.
    fn schedule(&self, task: Arc<Task>) {
        lock(&self.queue).push_back(task);
        self.wake_worker();
    }

    /// Wakes a worker, unless all are awake or one searches. A parked one is better than the one that polls.
    fn wake_worker(&self) {
        if let Some(worker) = self.idle.worker_to_notify(self.poller.polling_worker()) {
            self.unpark(worker);
        }
    }

    /// Wakes a worker whose bit this thread has cleared.
    fn unpark(&self, worker: usize) {
        if self.poller.is_parked_in_poller(worker) {
            self.interrupt();
        } else if let Some(thread) = self.threads[worker].get() {
            thread.unpark();
        }
    }

    /// Lets the workers end.
    fn end(&self) {
        self.ended.set();
        while let Some(worker) = self.idle.pop_idle() {
            self.unpark(worker);
        }
    }

    /// Ends the sleep in the kernel.
    fn interrupt(&self) {
        if self.break_flag.set() {
            self.kernel.interrupt();
        }
    }

    fn work(&self, me: usize) {
        self.threads[me].get_or_init(thread::current);
        let mut searches = false;
        while !self.ended.is_set() {
            let next = lock(&self.queue).pop_front();
            // 11: a search ends, and others may have relied on it.
            if std::mem::take(&mut searches) && self.idle.stop_searching() && !lock(&self.queue).is_empty() {
                self.wake_worker();
            }
            match next {
                Some(task) => self.run(task),
                None => searches = self.sleep(me),
            }
        }
    }

    fn run(&self, task: Arc<Task>) {
        let Some(answered) = task.state.start_poll() else { return };
        let waker = Waker::from(task.clone());
        let polled = lock(&task.future).as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_pending() && task.state.finish_poll(answered) == PollResult::Again {
            self.schedule(task);
        }
    }

    /// Sleeps until there is something to do. Returns whether another thread has woken this one, which then searches.
    fn sleep(&self, me: usize) -> bool {
        self.idle.begin_park(me); // 1
        if lock(&self.queue).is_empty() && !self.ended.is_set() {
            // 2
            if self.poller.try_lock(me) {
                // 3
                let woken = self.poll(me);
                self.poller.clear_poll_until(); // 8
                self.poller.unlock();
                woken.wake(); // 9
            } else {
                while self.idle.is_parked(me) {
                    thread::park();
                }
            }
        }
        !self.idle.cancel_park(me) // 10
    }

    /// Polls the kernel and the wheel. Returns the tasks to wake once the poller is unlocked.
    fn poll(&self, me: usize) -> GList<{ 2 * EVENTS }> {
        let first = || lock(&self.timers).wheel.next().map(|at| at as usize);
        let mut until = None;
        loop {
            self.poller.set_poll_until(until); // 4
            let found = first(); // 5
            if found == until {
                break;
            }
            until = found;
        }
        let may_sleep = self.idle.is_parked(me); // 6
        let left =
            until.map_or(Duration::MAX, |at| Duration::from_millis(at.saturating_sub(self.now()) as u64));
        let (events, broken) = self.kernel.wait(if may_sleep { left } else { Duration::ZERO }); // 7
        if broken {
            self.break_flag.clear();
        }
        let mut list = GList::new();
        for event in events {
            if let Some(desc) = self.cache.get_any_generation(event.key) {
                // Stale: the descriptor was closed meanwhile.
                let (Delivered::Woken(_) | Delivered::Stale) = desc.ready(event, &mut list) else {
                    unreachable!("the list has room for two wakers of each event");
                };
            }
        }
        self.fire(&mut list);
        list
    }

    /// Fires the timers that are due, as far as the list has room.
    fn fire(&self, list: &mut GList<{ 2 * EVENTS }>) {
        let now = self.now();
        let mut timers = lock(&self.timers);
        while list.room() >= 2
            && let Some(key) = timers.pop(now)
        {
            if let Some(desc) = self.cache.get(key) {
                let (mut expired, next) = desc.expire(now);
                println!("a timer at tick {now}: {} woken, again at {next:?}", expired.len());
                if let Some(at) = next {
                    timers.put(key, at);
                }
                list.append(&mut expired);
            }
        }
    }

    fn set_deadline(&self, descriptor: &Registration<'_>, when: When) -> Result<(), PollErr> {
        let (list, arm) = descriptor.set_deadline(Modes::READ, when)?;
        if let Some(at) = arm {
            let mut timers = lock(&self.timers);
            if descriptor.arm_timer(at).is_some() {
                timers.put(descriptor.key(), at);
            }
            drop(timers);
            if self.poller.needs_wakeup(at) {
                self.interrupt();
            }
        }
        list.wake();
        Ok(())
    }

    /// Ends a descriptor whose task has ended.
    fn close(&self, descriptor: Registration<'_>) {
        descriptor.evict().wake();
        lock(&self.timers).remove(descriptor.key());
        // Here a real runtime removes it from the kernel's poller and closes its number.
        descriptor.free().wake();
    }
}

/// Waits until a read would succeed. A task that is dropped while it waits has to call `retract`; these are not.
async fn readable(descriptor: &Registration<'_>) -> Result<(), PollErr> {
    poll_fn(|cx| {
        let (wait, displaced) = descriptor.wait(Mode::Read, cx.waker());
        match wait {
            // A task that polls its own parking again does not wake itself.
            Wait::Parked => displaced.discard(),
            _ => displaced.wake(),
        }
        match wait {
            Wait::Ready => return Poll::Ready(Ok(())),
            Wait::Failed(error) => return Poll::Ready(Err(error)),
            Wait::Again => cx.waker().wake_by_ref(),
            Wait::Parked => {}
        }
        Poll::Pending
    })
    .await
}

/// Starts a task that waits for a descriptor, and returns when it waits.
fn start(
    name: &'static str,
    ended: mpsc::Sender<Outcome>,
) -> Result<Arc<Registration<'static>>, &'static str> {
    let open = RUNTIME.cache.alloc().ok_or("all descriptors are in use: donate another block")?;
    let descriptor = Arc::new(open);
    RUNTIME.spawn({
        let descriptor = descriptor.clone();
        async move {
            let read = readable(&descriptor).await;
            drop(descriptor);
            let _ = ended.send((name, read)); // fails only if the main thread has panicked
        }
    });
    while !descriptor.desc().is_parked(Mode::Read) {
        thread::yield_now();
    }
    Ok(descriptor)
}

type Outcome = (&'static str, Result<(), PollErr>);

fn main() -> Result<(), &'static str> {
    let block = BLOCK.take().ok_or("a block is taken once")?;
    RUNTIME.cache.donate_static(block).map_err(|_| "a new cache takes a block")?;
    let workers: Vec<_> = (0..WORKERS).map(|me| thread::spawn(move || RUNTIME.work(me))).collect();

    let (ended, outcomes) = mpsc::channel();
    let line = start("line", ended.clone())?;
    let slow = start("slow", ended.clone())?;
    let closed = start("closed", ended)?;
    println!("{} tasks wait", RUNTIME.cache.parked());

    // The deadline moves from 20 to 40 ms: its timer fires twice.
    let now = RUNTIME.now();
    for at in [now + 20, now + 40] {
        let set = RUNTIME.set_deadline(&slow, When::At(at));
        set.map_err(|_| "an open descriptor takes a deadline")?;
    }
    let event = Event { key: line.key(), modes: Modes::READ, flags: EventFlags::default() };
    RUNTIME.kernel.report(event);
    closed.evict().wake();
    let mut results: Vec<Outcome> = outcomes.iter().collect();
    results.sort_unstable_by_key(|(name, _)| *name);
    println!("{results:?}");

    // The slots are used again. An event that comes late is not taken for the next owner's.
    for descriptor in [line, slow, closed] {
        RUNTIME.close(Arc::into_inner(descriptor).ok_or("a task still has its descriptor")?);
    }
    let late =
        RUNTIME.cache.get_any_generation(event.key).map(|desc| desc.ready(event, &mut GList::<2>::new()));
    println!("a late event: {late:?}");
    RUNTIME.end();
    for worker in workers {
        worker.join().map_err(|_| "a worker panicked")?;
    }
    let expected = [("closed", Err(PollErr::Closing)), ("line", Ok(())), ("slow", Err(PollErr::Timeout))];
    let waits = RUNTIME.cache.parked();
    let passed = results == expected && waits == 0 && late == Some(Delivered::Stale);
    if passed { Ok(()) } else { Err("a task has another result, or still waits") }
}
