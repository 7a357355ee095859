//! The runtime: a goroutine is a stack, and some threads run all of them.
//!
//! A goroutine that must wait leaves a waker and switches to the stack of its thread, which runs the next one. `TaskState` of
//! netpoll-core counts its wakes, so that it is in one queue at a time and runs on one thread at a time. `Idle` is the set of
//! threads that sleep: one of them in the poller, the others parked.

#![expect(unsafe_code, reason = "stacks move between threads, and each knows the one that runs it")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::process::abort;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use netpoll_core::sched::idle::Idle;
use netpoll_core::sched::task::{Action, PollResult, TaskState};
use netpoll_rt::poll::{Buffer, Poller};

/// The bytes of a stack. A page takes memory only once it is used, and the guard page after them never does.
const STACK: usize = 64 * 1024;
/// The number of stacks that are kept for later goroutines.
const SPARE_STACKS: usize = 1024;
/// The number of turns after which a busy thread looks at the global queue and the kernel (Go's 61).
const FAIRNESS: u32 = 61;

type Queue = Mutex<VecDeque<Arc<Goroutine>>>;

/// A runtime. It lives as long as the process.
pub struct Runtime {
    pub poller: Poller,
    threads: Box<[Worker]>,
    idle: Idle<1>,
    /// Goroutines that a thread outside of the runtime made runnable.
    global: Queue,
    stacks: Mutex<Vec<DefaultStack>>,
}

/// One thread, and the goroutines that it runs next unless another one takes them.
#[derive(Default)]
struct Worker {
    queue: Queue,
    thread: OnceLock<Thread>,
}

struct Goroutine {
    runtime: &'static Runtime,
    state: TaskState,
    stack: Mutex<Stack>,
}

/// The stack of a goroutine; `None` once it has ended.
struct Stack(Option<Coroutine<(), (), ()>>);

// SAFETY: the closure that runs on the stack is `Send`, and `Goroutine::stack` lets one thread at a time run it. The code on it
// may keep a value across a wait that is not `Send`, such as an `Rc`: no other goroutine can have a part of it, because what
// goes to another one is `Send`. Code that keeps a pointer into a thread-local across a wait must not run here; this crate
// asks for its own anew, in functions that are not inlined.
unsafe impl Send for Stack {}

/// The goroutine that a thread runs: on its stack, where it stays until the goroutine ends.
struct Current {
    yielder: *const Yielder<(), ()>,
    waker: Waker,
}

thread_local! {
    static CURRENT: Cell<*const Current> = const { Cell::new(std::ptr::null()) };
    static WORKER: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Returns the goroutine that runs. Not inlined: after a wait this may be another thread.
#[inline(never)]
fn current() -> *const Current {
    CURRENT.get()
}

#[inline(never)]
fn set_current(current: *const Current) {
    CURRENT.set(current);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until `poll` is ready: the other goroutines run meanwhile.
pub fn wait<T>(mut poll: impl FnMut(&Waker) -> Poll<T>) -> T {
    let me = current();
    assert!(!me.is_null(), "only a goroutine waits");
    loop {
        // SAFETY: `me` is on the stack that runs this, below this frame, so it outlives the call.
        let Current { yielder, waker } = unsafe { &*me };
        if let Poll::Ready(value) = poll(waker) {
            return value;
        }
        // SAFETY: corosensei keeps the yielder on this stack until its closure returns, which calls this.
        unsafe { &**yielder }.suspend(());
        set_current(me);
    }
}

/// Waits for a future of any crate that needs only a waker, such as that of a channel.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    wait(|waker| future.as_mut().poll(&mut Context::from_waker(waker)))
}

/// Calls `body`, which may block, on a thread of its own.
pub fn blocking<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = async_channel::bounded(1);
    thread::spawn(move || send.send_blocking(body()));
    block_on(receive.recv()).expect("the thread sends, unless it panicked")
}

impl Runtime {
    /// Starts a runtime with this many threads, at most 64.
    pub fn start(threads: usize) -> io::Result<&'static Runtime> {
        let runtime: &Runtime = Box::leak(Box::new(Runtime {
            poller: Poller::new()?,
            threads: (0..threads).map(|_| Worker::default()).collect(),
            idle: Idle::new(),
            global: Queue::default(),
            stacks: Mutex::default(),
        }));
        for me in 0..threads {
            thread::Builder::new().name(format!("worker-{me}")).spawn(move || runtime.work(me))?;
        }
        Ok(runtime)
    }

    /// Starts a goroutine. As in Go, its panic ends the process.
    pub fn go(&'static self, body: impl FnOnce() + Send + 'static) {
        let spare = lock(&self.stacks).pop();
        let stack =
            spare.unwrap_or_else(|| DefaultStack::new(STACK).expect("the system has memory for a stack"));
        let goroutine =
            Arc::new(Goroutine { runtime: self, state: TaskState::new(), stack: Mutex::new(Stack(None)) });
        let waker = Waker::from(goroutine.clone());
        let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
            let current = Current { yielder, waker };
            set_current(&current);
            catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| abort());
        });
        lock(&goroutine.stack).0 = Some(coroutine);
        self.schedule(goroutine);
    }

    /// Lets the goroutine that calls this sleep.
    pub fn sleep(&self, duration: Duration) -> io::Result<()> {
        let mut timer = self.poller.timer(Instant::now() + duration);
        wait(|waker| timer.poll(waker))
    }

    /// Puts a goroutine into a queue, and wakes a thread that sleeps.
    fn schedule(&self, goroutine: Arc<Goroutine>) {
        let queue = self.threads.get(WORKER.get()).map_or(&self.global, |mine| &mine.queue);
        lock(queue).push_back(goroutine);
        self.wake_thread();
    }

    /// Wakes a thread, unless all are awake or one searches.
    fn wake_thread(&self) {
        if let Some(asleep) = self.idle.worker_to_notify(None)
            && !self.poller.wake_thread(asleep)
            && let Some(thread) = self.threads[asleep].thread.get()
        {
            thread.unpark();
        }
    }

    /// Runs goroutines, for ever.
    fn work(&'static self, me: usize) {
        WORKER.set(me);
        self.threads[me].thread.get_or_init(thread::current);
        let (mut buffer, mut searches) = (Buffer::new(), false);
        for turn in (0..FAIRNESS).cycle() {
            // The kernel and the global queue have their turn, however busy this thread is.
            let in_turn = (turn == 0).then(|| self.poll(me, &mut buffer, Some(Duration::ZERO)));
            let next = in_turn.and_then(|_| lock(&self.global).pop_front()).or_else(|| self.next(me));
            // A goroutine that was queued during the search of this thread has woken no other.
            if mem::take(&mut searches) && self.idle.stop_searching() && self.has_work() {
                self.wake_thread();
            }
            match next {
                Some(goroutine) => self.run(goroutine),
                None => searches = self.sleep_thread(me, &mut buffer),
            }
        }
    }

    fn has_work(&self) -> bool {
        let mut queues = self.threads.iter().map(|worker| &worker.queue).chain([&self.global]);
        queues.any(|queue| !lock(queue).is_empty())
    }

    fn next(&self, me: usize) -> Option<Arc<Goroutine>> {
        let pop = |queue: &Queue| lock(queue).pop_front();
        pop(&self.threads[me].queue).or_else(|| pop(&self.global)).or_else(|| {
            let others = self.threads.iter().enumerate().filter(|(other, _)| *other != me);
            others.map(|(_, worker)| &worker.queue).find_map(|queue| {
                let mut queue = lock(queue);
                let half = queue.len().div_ceil(2);
                let mut stolen: VecDeque<_> = queue.drain(..half).collect();
                drop(queue);
                let first = stolen.pop_front()?;
                lock(&self.threads[me].queue).append(&mut stolen);
                Some(first)
            })
        })
    }

    /// Sleeps in the poller, or parked if another thread polls, until there is a goroutine to run. Returns whether another
    /// thread has woken this one, which then searches.
    fn sleep_thread(&self, me: usize, buffer: &mut Buffer) -> bool {
        self.idle.begin_park(me);
        // A goroutine that was queued before the announcement is seen here; one that comes after it wakes this thread.
        if !self.has_work() && !self.poll(me, buffer, None) {
            while self.idle.is_parked(me) {
                thread::park();
            }
        }
        !self.idle.cancel_park(me)
    }

    /// Polls; returns false if another thread does.
    fn poll(&self, me: usize, buffer: &mut Buffer, timeout: Option<Duration>) -> bool {
        let Some(guard) = self.poller.try_lock(me) else { return false };
        let polled = guard.poll(timeout, buffer, || self.idle.is_parked(me));
        polled.expect("the poller's descriptor is open");
        buffer.drain().for_each(Waker::wake);
        true
    }

    fn run(&self, goroutine: Arc<Goroutine>) {
        let Some(answered) = goroutine.state.start_poll() else { return };
        let mut stack = lock(&goroutine.stack);
        let Some(coroutine) = &mut stack.0 else { return };
        let ended = match coroutine.resume(()) {
            CoroutineResult::Yield(()) => None,
            CoroutineResult::Return(()) => stack.0.take(),
        };
        drop(stack);
        if let Some(coroutine) = ended {
            let mut stacks = lock(&self.stacks);
            if stacks.len() < SPARE_STACKS {
                stacks.push(coroutine.into_stack());
            }
        } else if goroutine.state.finish_poll(answered) == PollResult::Again {
            self.schedule(goroutine);
        }
    }
}

impl Wake for Goroutine {
    fn wake(self: Arc<Self>) {
        if self.state.wake() == Action::Schedule {
            self.runtime.schedule(self);
        }
    }
}
