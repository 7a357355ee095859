//! The parts of the models: a kernel, tasks that follow the steps of a real read, memory that loom watches.
//!
//! Counters that only a check reads are in std's locks, which loom does not see. So they cost no executions
//! and order nothing that the words under test must order.

#![expect(
    unsafe_code,
    reason = "donates blocks for the models of the allocator, and keeps a payload that loom watches"
)]

use std::future::poll_fn;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Wake, Waker};

use loom::thread::{self, JoinHandle};
use netpoll_core::poll::cache::Block;
use netpoll_core::sync::{AtomicUsize, Ordering};
use netpoll_core::{
    Delivered, Event, EventFlags, GList, Mode, Modes, PollCache, PollErr, PollKey, Registration, Wait,
};

/// Plain data that one thread passes to another. Loom reports two accesses that nothing orders.
pub struct Plain<T>(loom::cell::Cell<T>);

// SAFETY: loom runs one thread at a time and ends the model at an access that nothing orders. A model asks
// whether the words under test prevent such an access (INV-4 and others).
unsafe impl<T: Send> Sync for Plain<T> {}

impl<T> Plain<T> {
    pub fn new(value: T) -> Self {
        Self(loom::cell::Cell::new(value))
    }

    pub fn set(&self, value: T) {
        self.0.set(value);
    }

    pub fn replace(&self, value: T) -> T {
        self.0.replace(value)
    }
}

impl<T: Copy> Plain<T> {
    pub fn get(&self) -> T {
        self.0.get()
    }
}

/// A flag that orders nothing: a thread is sure to see it only if something else orders it.
pub struct Posted(AtomicUsize);

impl Posted {
    pub fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    pub fn post(&self) {
        self.0.store(1, Ordering::Relaxed);
    }

    pub fn is_posted(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 1
    }
}

/// Runs both closures at once, the first in the main thread.
pub fn race<R: Send + Sync + 'static, A, B: 'static>(
    shared: &Arc<R>,
    first: impl FnOnce(&R) -> A,
    second: impl FnOnce(&R) -> B + Send + 'static,
) -> (A, B) {
    let second = start(shared, second);
    (first(shared), end(second))
}

/// Runs three closures at once, the first in the main thread.
pub fn race3<R: Send + Sync + 'static, A, B: 'static, C: 'static>(
    shared: &Arc<R>,
    first: impl FnOnce(&R) -> A,
    second: impl FnOnce(&R) -> B + Send + 'static,
    third: impl FnOnce(&R) -> C + Send + 'static,
) -> (A, B, C) {
    let (second, third) = (start(shared, second), start(shared, third));
    (first(shared), end(second), end(third))
}

/// Runs four closures at once, the first in the main thread.
pub fn race4<R: Send + Sync + 'static, A, B: 'static, C: 'static, D: 'static>(
    shared: &Arc<R>,
    first: impl FnOnce(&R) -> A,
    second: impl FnOnce(&R) -> B + Send + 'static,
    third: impl FnOnce(&R) -> C + Send + 'static,
    fourth: impl FnOnce(&R) -> D + Send + 'static,
) -> (A, B, C, D) {
    let (second, third, fourth) = (start(shared, second), start(shared, third), start(shared, fourth));
    (first(shared), end(second), end(third), end(fourth))
}

fn start<R: Send + Sync + 'static, T: 'static>(
    shared: &Arc<R>,
    body: impl FnOnce(&R) -> T + Send + 'static,
) -> JoinHandle<T> {
    let shared = shared.clone();
    thread::spawn(move || body(&shared))
}

fn end<T>(thread: JoinHandle<T>) -> T {
    thread.join().expect("a panic of the other thread has ended the model")
}

/// A task that only counts its wakes.
#[derive(Default)]
pub struct Counted(Mutex<usize>);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        *self.0.lock().expect("nothing panics while the count is held") += 1;
    }
}

impl Counted {
    pub fn waker() -> (Arc<Counted>, Waker) {
        let task = Arc::new(Counted::default());
        (task.clone(), Waker::from(task))
    }

    pub fn wakes(&self) -> usize {
        *self.0.lock().expect("nothing panics while the count is held")
    }
}

/// A registration that is freed only if a model does so. Otherwise its slot ends with its cache.
pub type Own = ManuallyDrop<Registration<'static>>;

/// A descriptor with its cache and its block. Generations have two bits.
pub struct Desc {
    own: Own,
    cache: Box<PollCache<1, 1>>,
    _block: Box<Block<1>>,
}

impl Desc {
    pub fn new() -> Self {
        let (cache, block) = (Box::new(PollCache::with_fdseq_bits(2)), Box::<Block<1>>::default());
        // SAFETY: the block is boxed, so it stays where it is; it is donated once, and dropped after the
        // cache (INV-1).
        let donated = unsafe { cache.donate(NonNull::from(&*block)) };
        assert!(donated.is_ok(), "model: the directory has a place");
        let own = forever(cache.alloc().expect("model: a block was donated"));
        Self { own, cache, _block: block }
    }

    pub fn parked(&self) -> usize {
        self.cache.parked()
    }
}

impl Deref for Desc {
    type Target = Registration<'static>;

    fn deref(&self) -> &Self::Target {
        &self.own
    }
}

fn forever(registration: Registration<'_>) -> Own {
    // SAFETY: the registration is not used after its cache and block are dropped (INV-1): it is in the same
    // struct, or its model keeps the `Slots` to the end. `ManuallyDrop` has no drop that would use it.
    ManuallyDrop::new(unsafe { std::mem::transmute::<Registration<'_>, Registration<'static>>(registration) })
}

/// The key of a descriptor that was never freed.
pub const FIRST: PollKey = PollKey { slot: 0, fdseq: 0 };

/// Creates a readiness event of one direction or both.
pub fn event(key: PollKey, modes: Modes) -> Event {
    Event { key, modes, flags: EventFlags::default() }
}

/// A descriptor with the kernel's queue of messages.
pub struct Socket {
    pub desc: Desc,
    pub payload: Plain<usize>,
    /// The messages. The kernel's own lock orders a message before its event.
    queue: loom::sync::Mutex<usize>,
}

impl Socket {
    pub fn new() -> Arc<Socket> {
        Arc::new(Socket { desc: Desc::new(), payload: Plain::new(0), queue: loom::sync::Mutex::new(0) })
    }

    /// Queues a message in the kernel, and delivers its event.
    pub fn arrive(&self) {
        *self.queue.lock().expect("no model panics in the kernel") += 1;
        self.deliver(Modes::READ);
    }

    /// Delivers an event as the poller does, and wakes the tasks.
    pub fn deliver(&self, modes: Modes) {
        let mut list = GList::<2>::new();
        let delivered = self.desc.desc().ready(event(FIRST, modes), &mut list);
        assert!(delivered == Delivered::Woken(list.len()), "model: the event is of this generation");
        list.wake();
    }

    /// Reads a message without blocking. Returns whether there was one.
    pub fn try_read(&self) -> bool {
        self.read_and_look() > 0
    }

    /// Reads a message without blocking. Returns how many there were.
    pub fn read_and_look(&self) -> usize {
        let mut queue = self.queue.lock().expect("no model panics in the kernel");
        let found = *queue;
        *queue = found.saturating_sub(1);
        found
    }

    /// Reads a message as every operation does: resets, tries, waits, starts over.
    pub async fn read(&self) -> Result<(), PollErr> {
        loop {
            self.desc.reset(Mode::Read)?;
            if self.try_read() {
                return Ok(());
            }
            self.parked(Mode::Read).await?;
        }
    }

    /// Sleeps until the direction is ready.
    pub async fn parked(&self, mode: Mode) -> Result<(), PollErr> {
        poll_fn(|cx| match self.poll(mode, cx.waker()) {
            Wait::Parked => Poll::Pending,
            Wait::Failed(err) => Poll::Ready(Err(err)),
            Wait::Ready | Wait::Again => Poll::Ready(Ok(())),
        })
        .await
    }

    /// Polls a task once, or several times if another thread still uses the semaphore. There is one task per
    /// direction here, so a waker that is displaced is the task's own, even where `will_wake` says no, and is
    /// dropped. To wake it would mean to poll for ever.
    pub fn poll(&self, mode: Mode, waker: &Waker) -> Wait {
        loop {
            let (wait, own) = self.desc.wait(mode, waker);
            own.discard();
            if wait != Wait::Again {
                return wait;
            }
            thread::yield_now();
        }
    }

    pub fn evict(&self) {
        self.desc.evict().wake();
    }

    /// Gives up the wait of a direction and drops its waker.
    pub fn retract(&self, mode: Mode) {
        drop(self.desc.retract(mode));
    }

    /// Asserts that no task is parked and no thread owns a slot: a task can park in each direction, or is
    /// refused, and give up. Called at the end of every model.
    pub fn assert_no_waiters(&self) {
        let left = self.desc.parked();
        assert!(left == 0, "model: {left} tasks are still parked");
        for mode in [Mode::Read, Mode::Write] {
            let (wait, displaced) = self.desc.park(mode, Waker::noop());
            displaced.discard();
            let is_free = !matches!(wait, Wait::Again | Wait::Failed(PollErr::DoubleWait));
            assert!(is_free, "model: BUSY is left");
            self.retract(mode);
        }
    }
}

/// A cache with the memory of its blocks. The field order drops the blocks after the cache.
pub struct Slots<const LEN: usize> {
    pub cache: PollCache<2, LEN>,
    /// Plain memory for each slot: 1 while the slot has an owner.
    marks: [Plain<usize>; 4],
    blocks: [OnceLock<Box<Block<LEN>>>; 2],
}

impl<const LEN: usize> Slots<LEN> {
    pub fn new() -> Arc<Self> {
        let blocks = [OnceLock::new(), OnceLock::new()];
        let marks = [0; 4].map(Plain::new);
        Arc::new(Self { cache: PollCache::with_fdseq_bits(2), marks, blocks })
    }

    /// Creates one of the two blocks, so that other threads can see it only through the donation, and donates
    /// it. At most once for each block.
    pub fn donate(&self, block: usize) {
        let block = NonNull::from(&**self.blocks[block].get_or_init(Box::default));
        // SAFETY: the block is boxed, so it stays where it is; its model donates it once, and it is dropped
        // after the cache (INV-1).
        let donated = unsafe { self.cache.donate(block) };
        assert!(donated.is_ok(), "model: the directory has two places");
    }

    /// Allocates a slot and marks it.
    pub fn alloc(&self) -> Option<Own> {
        let own = forever(self.cache.alloc()?);
        let slot = own.key().slot;
        let mark = self.marks[slot as usize].replace(1);
        assert!(mark == 0, "model: slot {slot} was allocated twice");
        Some(own)
    }

    /// Clears the mark and frees the slot. Returns the number of tasks that were evicted.
    pub fn free(&self, own: Own) -> usize {
        let slot = own.key().slot;
        let mark = self.marks[slot as usize].replace(0);
        assert!(mark == 1, "model: slot {slot} was taken from its owner");
        ManuallyDrop::into_inner(own).free().wake()
    }
}
