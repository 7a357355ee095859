//! A runtime on netpoll-core: a fixed set of tasks, deadlines, interrupts as the kernel.
//!
//! | netpoll-core asks for | here |
//! |---|---|
//! | memory for descriptors | one block in a static |
//! | somebody who delivers events | an interrupt handler, [`Runtime::event`] |
//! | a clock and timers | a tick count and one entry per descriptor, [`Runtime::tick`] |
//! | wakers | a static ready bit per task |
//! | a way to sleep | WFI, with the ready bits looked at under the same mask |
//! | INV-2, one task per direction | a [`Source`] is awaited by one task; another may only close it |
//!
//! # In an interrupt handler
//!
//! `ready`, `expire`, `alloc` and `free` take no lock. The wakers that they hand up are woken by the handler itself once
//! it is done with the descriptors: a waker is a pointer to a ready bit, to clone it copies two words, to drop it does
//! nothing, to wake it is one swap. All three are safe wherever an instruction may be interrupted.

use core::pin::Pin;
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use netpoll_core::counter::Counter;
use netpoll_core::deadline::When;
use netpoll_core::glist::GList;
use netpoll_core::poll_cache::{Block, PollCache};
use netpoll_core::poll_desc::{Delivered, PollDesc, PollErr, Wait};
use netpoll_core::poll_key::{Event, EventFlags, Mode, Modes, PollKey};
use netpoll_core::waiters::{BreakFlag, Waiters};

use crate::board;
use crate::place::{Masked, cache_of};

/// Descriptors.
pub const SLOTS: usize = 8;
/// Tasks.
pub const TASKS: usize = 4;
/// Room for all that one tick can wake.
type List = GList<{ 2 * SLOTS }>;
/// A tick and the descriptor whose timer it is.
type Timer = Option<(usize, PollKey)>;

/// The words, and what the interrupts have done to them.
#[derive(Debug)]
pub struct Runtime {
    cache: PollCache<1, SLOTS>,
    waiters: Waiters,
    ready_bits: [BreakFlag; TASKS],
    timers: Masked<[Timer; SLOTS]>,
    ticks: Counter,
    /// Tasks run because their ready bit was set.
    pub wakeups: Counter,
    /// Parked tasks that were run and found nothing to go on with.
    pub spurious: Counter,
    /// Events refused because their descriptor is another by now.
    pub stale: Counter,
}

impl Runtime {
    /// A runtime whose clock starts at `tick` and whose descriptors are in `block`.
    pub fn new(tick: usize, block: &'static mut Block<SLOTS>) -> Self {
        let ticks = Counter::new();
        ticks.add(tick);
        Self {
            cache: cache_of(block),
            waiters: Waiters::new(),
            ready_bits: core::array::from_fn(|_| BreakFlag::new()),
            timers: Masked::new([None; SLOTS]),
            ticks,
            wakeups: Counter::new(),
            spurious: Counter::new(),
            stale: Counter::new(),
        }
    }

    /// Runs the tasks until the first of them has ended. The others are dropped by the caller: their waits retract.
    pub fn run(&'static self, tasks: &mut [Pin<&mut dyn Future<Output = ()>>]) {
        assert!(tasks.len() <= TASKS, "there are {TASKS} ready bits");
        let mut done = [false; TASKS];
        for bit in &self.ready_bits[..tasks.len()] {
            bit.set();
        }
        while !done[0] {
            for (i, task) in tasks.iter_mut().enumerate() {
                if self.ready_bits[i].clear() && !done[i] {
                    self.wakeups.inc();
                    let waker = waker(&self.ready_bits[i]);
                    done[i] = task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
                }
            }
            board::sleep_unless(|| done[0] || self.ready_bits.iter().any(BreakFlag::is_set));
        }
    }

    /// An interrupt handler delivers an event: the descriptor's reader goes on.
    pub fn event(&self, key: PollKey) {
        let mut list = List::new();
        let event = Event { key, modes: Modes::READ, flags: EventFlags::default() };
        match self.cache.get(key).map(|desc| desc.ready(event, &mut list)) {
            None | Some(Delivered::Stale) => self.stale.inc(),
            Some(Delivered::Woken(_) | Delivered::NoRoom) => {} // an empty list has room
        }
        self.wake(list);
    }

    /// The timer's interrupt handler: one tick has passed.
    pub fn tick(&self) {
        self.ticks.inc();
        let now = self.now();
        let mut list = List::new();
        self.timers.with(|timers| {
            for timer in timers {
                let Some((_, key)) = timer.filter(|(at, _)| When::At(*at).is_due(now)) else { continue };
                let next = self.cache.get(key).and_then(|desc| desc.expire(now, &mut list).1);
                *timer = next.map(|at| (at, key));
            }
        });
        self.wake(list);
    }

    /// The tick count; it wraps.
    pub fn now(&self) -> usize {
        self.ticks.get()
    }

    /// Closes a descriptor, whoever waits on it; false if it is closed and gone already.
    pub fn close(&self, key: PollKey) -> bool {
        let mut list = List::new();
        let evicted = self.cache.get(key).map(|desc| desc.evict(&mut list));
        self.wake(list);
        evicted.is_some()
    }

    /// Sets ready bits; then the tasks are runnable and no longer waiters.
    fn wake(&self, mut list: List) {
        let woken = list.len();
        list.drain().for_each(Waker::wake);
        self.waiters.sub(woken);
    }
}

/// A descriptor: something that one task awaits.
#[derive(Debug)]
pub struct Source {
    runtime: &'static Runtime,
    key: PollKey,
}

impl Source {
    /// A free descriptor, or none if all are in use.
    pub fn open(runtime: &'static Runtime) -> Option<Self> {
        Some(Self { runtime, key: runtime.cache.alloc()? })
    }

    /// What the interrupt handler says to mean this descriptor.
    pub fn key(&self) -> PollKey {
        self.key
    }

    fn desc(&self) -> &PollDesc {
        self.runtime.cache.get(self.key).expect("a slot keeps its generation until its Source is dropped")
    }

    /// Before looking whether there is something: forgets an older event. Fails when closed or past the deadline.
    pub fn reset(&self) -> Result<(), PollErr> {
        self.desc().reset(Mode::Read).map(|_forgotten| ())
    }

    /// Waits fail with a timeout so many ticks from now, until the next call.
    pub fn set_deadline(&self, ticks: usize) -> Result<(), PollErr> {
        let mut list = List::new();
        let at = self.runtime.now().wrapping_add(ticks);
        let (_, arm) = self.desc().set_deadline(Modes::READ, When::At(at), &mut list)?;
        let Some(at) = arm else { return Ok(()) };
        self.runtime.timers.with(|timers| {
            if self.desc().arm_timer(at) {
                timers[self.key.slot as usize] = Some((at, self.key));
            }
        });
        Ok(())
    }

    /// The task was told of an event and there was nothing.
    pub fn found_nothing(&self) {
        self.runtime.spurious.inc();
    }

    /// Waits for an event, the deadline or a close. Dropped before it is done, it takes its waker back; an event that
    /// came meanwhile stays for the next wait.
    pub fn ready(&self) -> impl Future<Output = Result<(), PollErr>> {
        Parking { source: self, parked: false }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let mut list = List::new();
        self.runtime.timers.with(|timers| timers[self.key.slot as usize] = None);
        self.runtime.cache.free(self.key, &mut list);
        self.runtime.wake(list);
    }
}

struct Parking<'a> {
    source: &'a Source,
    parked: bool,
}

impl Future for Parking<'_> {
    type Output = Result<(), PollErr>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let runtime = self.source.runtime;
        let (wait, displaced) = self.source.desc().wait(Mode::Read, cx.waker(), &runtime.waiters);
        displaced.into_iter().for_each(Waker::wake);
        match wait {
            Wait::Ready => return Poll::Ready(Ok(())),
            Wait::Failed(refused) => return Poll::Ready(Err(refused)),
            Wait::Again => cx.waker().wake_by_ref(),
            Wait::Parked => {}
        }
        if self.parked {
            runtime.spurious.inc();
        }
        self.parked = true;
        Poll::Pending
    }
}

impl Drop for Parking<'_> {
    fn drop(&mut self) {
        self.source.desc().retract(Mode::Read, &self.source.runtime.waiters);
    }
}

/// The waker of a ready bit.
pub fn waker(bit: &'static BreakFlag) -> Waker {
    // SAFETY: INV-103, and the table below upholds a waker's contract for such a pointer.
    unsafe { Waker::from_raw(raw(bit)) }
}

fn raw(bit: *const BreakFlag) -> RawWaker {
    static TABLE: RawWakerVTable = RawWakerVTable::new(|bit| raw(bit.cast()), wake, wake, |_| {});
    RawWaker::new(bit.cast(), &TABLE)
}

fn wake(bit: *const ()) {
    // SAFETY: INV-103, the pointer came from `raw`.
    let bit: &BreakFlag = unsafe { &*bit.cast() };
    bit.set();
}
