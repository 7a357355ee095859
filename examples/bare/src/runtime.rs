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

use netpoll_core::sync::Counter;
use netpoll_core::{Delivered, Event, EventFlags, GList, Mode, Modes, PollCache, PollErr, PollKey, Registration, Wait, When};
use netpoll_core::poll::cache::Block;
use netpoll_core::sync::Flag;

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
    ready_bits: [Flag; TASKS],
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
            ready_bits: core::array::from_fn(|_| Flag::new()),
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
            board::sleep_unless(|| done[0] || self.ready_bits.iter().any(Flag::is_set));
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
                let fired = self.cache.get(key).map(|desc| desc.expire(now));
                *timer = fired.and_then(|(mut woken, next)| {
                    list.append(&mut woken); // it has room for all that one tick can wake
                    next.map(|at| (at, key))
                });
            }
        });
        self.wake(list);
    }

    /// The tick count; it wraps.
    pub fn now(&self) -> usize {
        self.ticks.get()
    }

    /// Closes a descriptor by its key, whoever waits on it; false if it is freed already.
    pub fn close(&self, key: PollKey) -> bool {
        let evicted = self.cache.get(key).map(|desc| desc.evict(key.fdseq));
        evicted.map(|list| self.wake(list)).is_some()
    }

    /// Sets ready bits; then the tasks are runnable and no longer waiters.
    fn wake<const N: usize>(&self, list: GList<N>) {
        let woken = list.wake();
        self.cache.waiters().sub(woken);
    }
}

/// A descriptor: something that one task awaits.
#[derive(Debug)]
pub struct Source {
    runtime: &'static Runtime,
    registration: Registration<'static>,
}

impl Source {
    /// A free descriptor, or none if all are in use.
    pub fn open(runtime: &'static Runtime) -> Option<Self> {
        Some(Self { runtime, registration: runtime.cache.alloc()? })
    }

    /// What the interrupt handler says to mean this descriptor.
    pub fn key(&self) -> PollKey {
        self.registration.key()
    }

    /// Before looking whether there is something: forgets an older event. Fails when closed or past the deadline.
    pub fn reset(&self) -> Result<(), PollErr> {
        self.registration.reset(Mode::Read).map(|_forgotten| ())
    }

    /// Waits fail with a timeout so many ticks from now, until the next call.
    pub fn set_deadline(&self, ticks: usize) -> Result<(), PollErr> {
        let at = self.runtime.now().wrapping_add(ticks);
        let (_, arm) = self.registration.set_deadline(Modes::READ, When::At(at))?;
        let Some(at) = arm else { return Ok(()) };
        self.runtime.timers.with(|timers| {
            if self.registration.arm_timer(at) {
                let key = self.registration.key();
                timers[key.slot as usize] = Some((at, key));
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
        // The registration's own drop frees the slot after this.
        let slot = self.registration.key().slot as usize;
        self.runtime.timers.with(|timers| timers[slot] = None);
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
        let (wait, displaced) = self.source.registration.wait(Mode::Read, cx.waker());
        displaced.wake();
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
        // One task awaits a source, so the waker is its own.
        drop(self.source.registration.retract(Mode::Read));
    }
}

/// The waker of a ready bit.
pub fn waker(bit: &'static Flag) -> Waker {
    // SAFETY: INV-103, and the table below upholds a waker's contract for such a pointer.
    unsafe { Waker::from_raw(raw(bit)) }
}

fn raw(bit: *const Flag) -> RawWaker {
    static TABLE: RawWakerVTable = RawWakerVTable::new(|bit| raw(bit.cast()), wake, wake, |_| {});
    RawWaker::new(bit.cast(), &TABLE)
}

fn wake(bit: *const ()) {
    // SAFETY: INV-103, the pointer came from `raw`.
    let bit: &Flag = unsafe { &*bit.cast() };
    bit.set();
}
