//! A runtime on netpoll-core: a fixed set of tasks, deadlines, and interrupts in place of a kernel.
//!
//! | netpoll-core needs | here |
//! |---|---|
//! | memory for descriptors | one block in a static |
//! | a source of events | an interrupt handler, [`Runtime::event`] |
//! | a clock and timers | a tick count and one entry per descriptor, [`Runtime::tick`] |
//! | wakers | a static ready bit per task |
//! | a sleep | WFI, with the ready bits checked under the same mask |
//! | INV-2, one task per direction | a [`Source`] is awaited by one task; another may only close it |
//!
//! Only [`Runtime::run`] knows the tasks. A [`Source`] parks any waker, so that its tasks run under another executor as well:
//! `bin/embassy` is an example.
//!
//! # In an interrupt handler
//!
//! `ready`, `expire`, `alloc` and `free` take no lock. The handler itself wakes the wakers that they return, after it has
//! finished with the descriptors. A waker is a pointer to a ready bit: to clone it copies two words, to drop it does
//! nothing, and to wake it is one swap. All three are safe wherever an instruction may be interrupted.

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use netpoll_core::poll::cache::StaticBlock;
use netpoll_core::sync::Counter;
use netpoll_core::sync::Flag;
use netpoll_core::{
    Delivered, Event, EventFlags, GList, Mode, Modes, PollCache, PollErr, PollKey, Registration, Wait, When,
};

use crate::cpu::{self, Masked};

/// The number of descriptors.
pub const SLOTS: usize = 18;
/// The most tasks.
pub const TASKS: usize = 17;
/// A task of [`Runtime::run`].
pub type Task<'a> = Pin<&'a mut dyn Future<Output = ()>>;
/// A list that has room for all tasks that one tick can wake.
type List = GList<{ 2 * SLOTS }>;
/// A tick at which a timer fires, and the timer's descriptor.
type Timer = Option<(usize, PollKey)>;

/// The descriptors, the ready bits and the timers.
#[derive(Debug)]
pub struct Runtime {
    cache: PollCache<1, SLOTS>,
    ready_bits: [Flag; TASKS],
    timers: Masked<[Timer; SLOTS]>,
    start: usize,
    ticks: Counter,
    /// The number of times that a task ran because its ready bit was set.
    pub wakeups: Counter,
    /// The number of times that a parked task ran without an event.
    pub spurious: Counter,
    /// Events that were refused because their descriptor had been freed.
    pub stale: Counter,
}

impl Runtime {
    /// Creates a runtime without descriptors, as a constant. Its clock starts at `tick`.
    pub const fn new(tick: usize) -> Self {
        Self {
            cache: PollCache::new(),
            ready_bits: [const { Flag::new() }; TASKS],
            timers: Masked::new([None; SLOTS]),
            start: tick,
            ticks: Counter::new(),
            wakeups: Counter::new(),
            spurious: Counter::new(),
            stale: Counter::new(),
        }
    }

    /// Gives the runtime its descriptors.
    ///
    /// # Panics
    ///
    /// Panics if it has some, or the block was taken.
    pub fn donate(&self, block: &'static StaticBlock<SLOTS>) {
        let donated = block.take().map(|block| self.cache.donate_static(block));
        assert!(donated == Some(Ok(())), "a runtime takes one block, and a block is taken once");
    }

    /// Runs the tasks until the first of them has ended. The caller drops the others, which retracts their waits.
    pub fn run(&'static self, tasks: &mut [Task<'_>]) {
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
            cpu::sleep_unless(|| done[0] || self.ready_bits.iter().any(Flag::is_set));
        }
    }

    /// Delivers an event, which wakes the descriptor's task in each of the directions. May run in an interrupt handler.
    pub fn event(&self, key: PollKey, modes: Modes) {
        let mut list = GList::<2>::new();
        let event = Event { key, modes, flags: EventFlags::default() };
        match self.cache.get(key).map(|desc| desc.ready(event, &mut list)) {
            None | Some(Delivered::Stale) => self.stale.inc(),
            Some(Delivered::Woken(_) | Delivered::NoRoom) => {} // an empty list has room
        }
        list.wake();
    }

    /// Advances the clock by one tick. The timer's interrupt handler calls this.
    pub fn tick(&self) {
        self.ticks.inc();
        let now = self.now();
        let mut list = List::new();
        self.timers.with(|timers| {
            for timer in timers {
                let Some((_, key)) = timer.filter(|(at, _)| When::At(*at).is_due(now)) else { continue };
                let fired = self.cache.get(key).map(|desc| desc.expire(now));
                *timer = fired.and_then(|(mut woken, next)| {
                    list.append(&mut woken); // it has room for all tasks that one tick can wake
                    next.map(|at| (at, key))
                });
            }
        });
        list.wake();
    }

    /// Returns the tick count, which wraps.
    pub fn now(&self) -> usize {
        self.start.wrapping_add(self.ticks.get())
    }

    /// Closes a descriptor by its key, which ends the wait of its reader. Returns false if it was freed before.
    pub fn close(&self, key: PollKey) -> bool {
        let evicted = self.cache.get(key).map(|desc| desc.evict(key.fdseq));
        evicted.map(GList::wake).is_some()
    }
}

/// Pins each element of a pinned array.
pub fn pin_each<T, const N: usize>(array: Pin<&mut [T; N]>) -> [Pin<&mut T>; N] {
    // SAFETY: The array is only split into references to its elements, and those are pinned again below.
    let array = unsafe { array.get_unchecked_mut() };
    // SAFETY: An element lives as long as the array and moves only with it. The array is pinned, so it neither moves nor is
    // its memory reused before its elements are dropped. This function has the only reference, and gives each part out once.
    array.each_mut().map(|element| unsafe { Pin::new_unchecked(element) })
}

/// A descriptor, which one task awaits.
#[derive(Debug)]
pub struct Source {
    runtime: &'static Runtime,
    registration: Registration<'static>,
}

impl Source {
    /// Takes a free descriptor. Returns `None` if all are in use.
    pub fn open(runtime: &'static Runtime) -> Option<Self> {
        Some(Self { runtime, registration: runtime.cache.alloc()? })
    }

    /// Returns the key by which an interrupt handler names this descriptor.
    pub fn key(&self) -> PollKey {
        self.registration.key()
    }

    /// Forgets an older event. Call it before you check for data.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor is closed or its deadline has passed.
    pub fn reset(&self, mode: Mode) -> Result<(), PollErr> {
        self.registration.reset(mode).map(|_forgotten| ())
    }

    /// Sets the deadline of the waits in a direction, `ticks` ticks from now; `None` removes it. It stays in force until the
    /// next call.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor is closed.
    pub fn set_deadline(&self, mode: Mode, ticks: Option<usize>) -> Result<(), PollErr> {
        let when = ticks.map_or(When::Never, |ticks| When::At(self.runtime.now().wrapping_add(ticks)));
        let (_, arm) = self.registration.set_deadline(mode.into(), when)?;
        let Some(at) = arm else { return Ok(()) };
        self.runtime.timers.with(|timers| {
            if self.registration.arm_timer(at).is_some() {
                let key = self.registration.key();
                timers[key.slot as usize] = Some((at, key));
            }
        });
        Ok(())
    }

    /// Counts an event after which the task found no data.
    pub fn found_nothing(&self) {
        self.runtime.spurious.inc();
    }

    /// Waits for an event in a direction, the deadline or a close. If the future is dropped before, it takes its waker back,
    /// and an event that came meanwhile stays for the next wait.
    pub fn ready(&self, mode: Mode) -> impl Future<Output = Result<(), PollErr>> {
        Parking { source: self, mode, parked: false }
    }

    /// Returns whether an event has been delivered that no wait has consumed yet, or the descriptor is closed. After a timeout
    /// a task that finds data calls this: without an event for them, a wakeup was lost. Removes the deadline.
    pub async fn has_event(&self, mode: Mode) -> bool {
        let open = self.set_deadline(mode, None).is_ok();
        let mut ready = pin!(self.ready(mode));
        !open || poll_fn(|cx| Poll::Ready(ready.as_mut().poll(cx).is_ready())).await
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // After this the drop of the registration frees the slot.
        let slot = self.registration.key().slot as usize;
        self.runtime.timers.with(|timers| timers[slot] = None);
    }
}

struct Parking<'a> {
    source: &'a Source,
    mode: Mode,
    parked: bool,
}

impl Future for Parking<'_> {
    type Output = Result<(), PollErr>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let runtime = self.source.runtime;
        let (wait, displaced) = self.source.registration.wait(self.mode, cx.waker());
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
        // One task awaits a source, so the waker is that of this task.
        drop(self.source.registration.retract(self.mode));
    }
}

/// Returns the waker of a ready bit.
pub fn waker(bit: &'static Flag) -> Waker {
    // SAFETY: The pointer is that of a `&'static` ready bit (INV-103). For such a pointer the table below upholds the
    // contract of a waker: every function may run on any thread, at any time, any number of times.
    unsafe { Waker::from_raw(raw(bit)) }
}

fn raw(bit: *const Flag) -> RawWaker {
    static TABLE: RawWakerVTable = RawWakerVTable::new(|bit| raw(bit.cast()), wake, wake, |_| {});
    RawWaker::new(bit.cast(), &TABLE)
}

fn wake(bit: *const ()) {
    // SAFETY: `raw` created the pointer from a `&'static` ready bit (INV-103), so it is valid forever.
    let bit: &Flag = unsafe { &*bit.cast() };
    bit.set();
}
