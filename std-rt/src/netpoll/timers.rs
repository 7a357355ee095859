//! The timer wheels of a [`Netpoll`], one for each worker, and the timers of tasks. Of several pollers, wheel `i` belongs to
//! poller `i % n`.
//!
//! Each wheel has a lock of its own, so a thread that arms a timer contends only with the poller. A task's timer goes to the
//! wheel of the worker that arms it. [`deadlines`](super::deadlines) has the entries of descriptors.
//!
//! # Timers that are dropped
//!
//! Most timers never fire. Where there are many, neither a dropped timer nor its two neighbors in the wheel are in a cache.
//! So a worker collects the timers that it drops, up to [`REMOVE_BATCH`], and removes them together: the processor then
//! fetches their cache lines at the same time. A collected timer does not fire and is not counted. It is removed when the
//! worker polls or goes to sleep, when a poll fires a timer of the wheel, or when the thread leaves the runtime. A thread that is no
//! worker, or drops a timer of another wheel, removes it at once.
//!
//! # When the poller is woken
//!
//! Only a timer that is the earliest of its wheel may have to end a sleep of the poller. Any other comes after one for which
//! that was done, and the poller sleeps no longer than until that one.
//!
//! The time of the earliest is published in a word beside each wheel, so that a poll takes no lock of a wheel where nothing is
//! due. The thread that arms a timer writes the word, fences and reads until when the poller sleeps; the poller publishes that,
//! fences and reads the words ([`PollerLock`](netpoll_core::sched::poller_lock::PollerLock)). So one of them sees the other.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::Waker;

use netpoll_core::PollKey;
use netpoll_core::sync::RelaxedUsize;

use super::{FEW, Netpoll};
use crate::context::{self, WorkerWheel};
use crate::foreign;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::timer::{self, Wheel};

/// The largest number of wheels of one poller; more workers share them.
const WHEELS: usize = 16;

/// The number of dropped timers that are removed together.
const REMOVE_BATCH: usize = 32;

/// The purpose of a timer. The niche of a waker's table, which is never null, makes it no larger than a waker.
#[derive(Debug)]
pub(super) enum Entry {
    /// The deadlines of a descriptor, both directions.
    Descriptor(PollKey),
    /// A task that sleeps.
    Task(Waker),
}

const _: () = assert!(size_of::<Entry>() <= 16);

impl Default for Entry {
    /// Returns an entry of no descriptor and no task.
    fn default() -> Self {
        Self::Descriptor(PollKey::BREAK)
    }
}

/// The identity of a task's timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerId {
    id: timer::TimerId,
    wheel: u32,
}

/// The result of [`Netpoll::renew_timer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Renewed {
    /// The timer wakes the task with the new waker.
    Armed,
    /// It has fired.
    Fired,
    /// It was removed and will never fire, because no thread polls any more; it was due at this tick.
    Gone(u64),
}

impl Netpoll {
    /// Makes this thread a worker, or none; returns its previous identity. `around` is the poller that the thread has worked
    /// for so far: if it drove the runtime of that one, it stops doing so.
    pub fn enter_worker(&self, worker: Option<usize>, around: Option<&Arc<Self>>) -> WorkerWheel {
        let before = current_wheel();
        if let Some(around) = around.filter(|around| self.takes_from(around, before)) {
            around.end_driving();
        }
        if worker.is_some() && before.netpoll != self.address() {
            self.begin_driving();
        }
        let netpoll = worker.map_or(0, |_| self.address());
        let index = worker.map_or(0, |worker| worker % self.wheel_count()) as u32;
        let here = WorkerWheel { netpoll, index, has_pending_removals: false };
        context::with(|context| context.wheel.replace(here))
    }

    /// Restores this thread's previous identity. `around` is the poller that the thread works for from now on.
    pub fn leave_worker(self: &Arc<Self>, before: WorkerWheel, around: Option<&Arc<Self>>) {
        // First: the destructors of removed entries may drop timers, with the identity that the thread has by then.
        let here = context::with(|context| context.wheel.replace(before));
        if here.netpoll == self.address() {
            if here.has_pending_removals && self.is_owner_process() {
                self.drain_removed(here.index);
            }
            if before.netpoll != self.address() {
                self.end_driving();
            }
        }
        if let Some(around) = around.filter(|around| self.takes_from(around, before)) {
            around.begin_driving();
        }
    }

    /// Returns whether a thread that was `before` leaves the runtime of another poller undriven while it works for this one.
    fn takes_from(&self, around: &Arc<Self>, before: WorkerWheel) -> bool {
        before.netpoll == around.address() && before.netpoll != self.address()
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Returns the wheel of this thread's worker.
    #[inline]
    fn own_wheel(&self) -> Option<u32> {
        let wheel = current_wheel();
        (wheel.netpoll == self.address()).then_some(wheel.index)
    }

    /// Returns whether this thread is a worker of this poller's runtime.
    #[inline]
    pub(super) fn is_own_worker(&self) -> bool {
        self.own_wheel().is_some()
    }

    /// Returns whether a tick has passed.
    #[inline]
    pub fn is_over(&self, tick: u64) -> bool {
        self.clock.is_over(tick)
    }

    /// Arms a timer that wakes a task at `at`; returns `None` if no thread polls any more.
    pub fn add_timer(&self, at: u64, waker: Waker) -> Option<TimerId> {
        if !self.is_owner_process() {
            return None;
        }
        let wheel = self.own_wheel().unwrap_or(0);
        let mut timers = self.lock_wheel(wheel as usize);
        if timers.ended {
            // The waker is dropped after the lock.
            drop(timers);
            return None;
        }
        let earliest = timers.is_earliest(at);
        let id = timer::insert(&mut timers.wheel, at, Entry::Task(waker));
        timers.armed += 1;
        drop(timers);
        if earliest {
            self.break_before(wheel as usize, at);
        }
        Some(TimerId { id, wheel })
    }

    /// Makes a timer wake the task of `waker`, which may be another one than before.
    pub fn renew_timer(&self, id: TimerId, waker: &Waker) -> Renewed {
        if !self.is_owner_process() {
            return self.take_dead_timer(id);
        }
        // Wakers are cloned and dropped outside the lock.
        let mut clone = None;
        loop {
            let mut timers = self.lock_wheel(id.wheel as usize);
            let ended = timers.ended;
            let replaced = match timers.wheel.get_mut(id.id) {
                None => return Renewed::Fired,
                Some(_) if ended => None,
                Some(Entry::Task(known)) if known.will_wake(waker) => return Renewed::Armed,
                Some(entry) => clone.take().map(|clone| std::mem::replace(entry, Entry::Task(clone))),
            };
            drop(timers);
            match replaced {
                Some(_) => return Renewed::Armed,
                None if ended => return self.take_dead_timer(id),
                None => clone = Some(waker.clone()),
            }
        }
    }

    /// Moves a timer to another tick, earlier or later; its waker stays. Returns false if it has fired or no thread polls any
    /// more: then the timer is gone. It fires at once if it is moved to an earlier tick that has passed.
    pub fn move_timer(&self, id: TimerId, at: u64) -> bool {
        if !self.is_owner_process() {
            return false;
        }
        let mut timers = self.lock_wheel(id.wheel as usize);
        if timers.ended {
            let entry = timers.wheel.remove(id.id);
            drop(timers);
            drop_all(entry);
            return false;
        }
        let earliest = timers.is_earliest(at);
        let earlier = timers.wheel.deadline(id.id).is_some_and(|before| at < before);
        if earlier && self.clock.is_over(at) {
            let entry = timers.wheel.remove(id.id);
            drop(timers);
            if let Some(Entry::Task(waker)) = entry {
                foreign::wake(waker);
            }
            return false;
        }
        let moved = timers.wheel.edit(id.id, at);
        timers.armed += usize::from(earlier);
        drop(timers);
        if moved && earliest {
            self.break_before(id.wheel as usize, at);
        }
        moved
    }

    /// Removes a timer that no thread will fire any more.
    fn take_dead_timer(&self, id: TimerId) -> Renewed {
        self.take_timer(id).map_or(Renewed::Fired, Renewed::Gone)
    }

    /// Removes a timer, which may then be armed in another poller. Returns the tick at which it is due, or `None` if it has
    /// fired.
    ///
    /// In a forked child it does not wait for the lock, which a thread of the parent may have held: if it is locked, the timer
    /// counts as fired.
    pub fn take_timer(&self, id: TimerId) -> Option<u64> {
        let wheel = id.wheel as usize;
        let mut timers =
            if self.is_owner_process() { self.lock_wheel(wheel) } else { self.try_lock_wheel(wheel)? };
        let at = timers.wheel.deadline(id.id);
        let entry = timers.wheel.remove(id.id);
        drop(timers);
        drop_all(entry);
        at
    }

    /// Disarms a timer, if it has not fired.
    pub fn drop_timer(&self, id: TimerId) {
        if !self.is_owner_process() {
            return;
        }
        let mut timers = self.lock_wheel(id.wheel as usize);
        if self.own_wheel() != Some(id.wheel) {
            let entry = timers.wheel.remove(id.id);
            drop(timers);
            return drop_all(entry);
        }
        timers.dropped.push(id.id);
        let all = timers.dropped.len() >= REMOVE_BATCH;
        // First: the destructors of removed entries may drop timers.
        set_pending_removals(!all);
        if all {
            drop(timers);
            self.drain_removed(id.wheel);
        }
    }

    /// Removes the timers that this worker has dropped, before it sleeps; returns whether there were any. One of their wakers
    /// may be the last reference to a task, and dropping that may make other tasks runnable.
    #[inline]
    pub fn flush_removed(&self) -> bool {
        let wheel = current_wheel();
        if wheel.netpoll != self.address() || !wheel.has_pending_removals {
            return false;
        }
        set_pending_removals(false);
        self.drain_removed(wheel.index);
        true
    }

    #[inline(never)]
    fn drain_removed(&self, wheel: u32) {
        loop {
            // On the stack: a block of the heap may lie behind a million tasks, whose memory the allocator then keeps.
            let mut entries = heapless::Vec::<Entry, REMOVE_BATCH>::new();
            let more = self.lock_wheel(wheel as usize).drain_some_removed(&mut entries);
            drop_all(entries);
            if !more {
                return;
            }
        }
    }

    /// Returns the number of entries in the timer wheels.
    pub fn timers(&self) -> usize {
        let number = |timers: &Timers| {
            let is_in_wheel = |id: &&timer::TimerId| timers.wheel.get(**id).is_some();
            timers.wheel.len() - timers.dropped.iter().filter(is_in_wheel).count()
        };
        self.shards.iter().map(|shard| shard.wheels.sum(number)).sum()
    }

    /// Returns the number of timers that were armed or moved earlier.
    pub fn timers_armed(&self) -> usize {
        self.shards.iter().map(|shard| shard.wheels.sum(|timers| timers.armed)).sum()
    }
}

#[inline]
fn current_wheel() -> WorkerWheel {
    context::with(|context| context.wheel.get())
}

/// Records whether this worker may have dropped timers that are still in its wheel.
fn set_pending_removals(has_pending_removals: bool) {
    context::with(|context| context.wheel.set(WorkerWheel { has_pending_removals, ..context.wheel.get() }));
}

/// Drops entries; no lock is held. A waker may be the last reference to its task, and a panic of that task's destructor does
/// not keep the other entries.
pub(super) fn drop_all(entries: impl IntoIterator<Item = Entry>) {
    for entry in entries {
        foreign::catch_panic(|| drop(entry));
    }
}

/// The wheels of one of the pollers.
#[derive(Debug)]
pub(super) struct Wheels {
    wheels: Box<[SharedWheel]>,
}

/// A wheel with its lock.
#[derive(Debug)]
struct SharedWheel {
    timers: Mutex<Timers>,
    /// The word of the time at which the earliest entry may be due, written under the lock.
    next: RelaxedUsize,
}

/// The word of a wheel without entries.
const NEVER: usize = usize::MAX;

impl SharedWheel {
    fn new(timers: Timers) -> Self {
        let next = RelaxedUsize::new();
        next.set(NEVER);
        Self { timers: Mutex::new(timers), next }
    }

    /// Locks the wheel. The only panic under this lock is that of a full wheel, which leaves it intact.
    #[inline]
    fn lock(&self) -> TimersGuard<'_> {
        TimersGuard { timers: lock(&self.timers), next: &self.next }
    }

    fn try_lock(&self) -> Option<TimersGuard<'_>> {
        Some(TimersGuard { timers: self.timers.try_lock().ok()?, next: &self.next })
    }

    /// Returns the earliest time at which an entry may be due.
    #[inline]
    fn next(&self) -> Option<u64> {
        match self.next.get() {
            NEVER => None,
            // A word of 32 bits cannot hold a time that is far ahead.
            _ if usize::BITS < u64::BITS => self.lock().wheel.next(),
            at => Some(at as u64),
        }
    }
}

/// The lock of a wheel. Its drop publishes the time of the earliest entry.
#[derive(Debug)]
pub(super) struct TimersGuard<'a> {
    timers: MutexGuard<'a, Timers>,
    next: &'a RelaxedUsize,
}

impl Deref for TimersGuard<'_> {
    type Target = Timers;

    #[inline]
    fn deref(&self) -> &Timers {
        &self.timers
    }
}

impl DerefMut for TimersGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Timers {
        &mut self.timers
    }
}

impl Drop for TimersGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // The low bits of a time are enough for 32 bits, as long as they do not say `NEVER`.
        let next = self.timers.wheel.next().map_or(NEVER, |at| (at as usize).min(NEVER - 1));
        // Most changes leave the earliest entry, and the line of the word to the threads that read it.
        if self.next.get() != next {
            self.next.set(next);
        }
    }
}

impl Wheels {
    /// Creates the wheels of one of `shards` pollers, whose time begins at `now`.
    pub(super) fn new(workers: usize, shards: usize, now: u64) -> Self {
        let wheels = workers.div_ceil(shards).clamp(1, WHEELS);
        let stride = wheels * shards;
        Self { wheels: (0..wheels).map(|_| SharedWheel::new(Timers::new(stride, now))).collect() }
    }

    pub(super) fn count(&self) -> usize {
        self.wheels.len()
    }

    /// Locks a wheel.
    #[inline]
    pub(super) fn lock(&self, wheel: usize) -> TimersGuard<'_> {
        self.wheels[wheel].lock()
    }

    /// Locks a wheel unless it is locked.
    pub(super) fn try_lock(&self, wheel: usize) -> Option<TimersGuard<'_>> {
        self.wheels[wheel].try_lock()
    }

    /// Locks each wheel that may have an entry which is due at `now`, in turn.
    #[inline]
    pub(super) fn each_due(&self, now: u64) -> impl Iterator<Item = TimersGuard<'_>> {
        let is_due = move |wheel: &&SharedWheel| wheel.next().is_some_and(|next| next <= now);
        self.wheels.iter().filter(is_due).map(SharedWheel::lock)
    }

    fn each(&self) -> impl Iterator<Item = TimersGuard<'_>> {
        self.wheels.iter().map(SharedWheel::lock)
    }

    pub(super) fn sum(&self, number: impl Fn(&Timers) -> usize) -> usize {
        self.each().map(|timers| number(&timers)).sum()
    }

    /// Lets no timer fire or be armed from now on, and returns the wakers of the tasks that sleep. The entries stay, because
    /// [`Renewed::Gone`] has their ticks.
    pub(super) fn end(&self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for mut timers in self.each() {
            timers.ended = true;
            for entry in timers.wheel.payloads_mut() {
                if let Entry::Task(waker) = entry {
                    wakers.push(std::mem::replace(waker, Waker::noop().clone()));
                }
            }
        }
        wakers
    }

    /// Returns the earliest time at which an entry may be due.
    #[inline]
    pub(super) fn next(&self) -> Option<u64> {
        self.wheels.iter().filter_map(SharedWheel::next).min()
    }

    /// Returns whether more than [`FEW`] entries are due by a time.
    pub(super) fn is_crowded(&self, by: u64) -> bool {
        let mut few = FEW + 1;
        self.each_due(by).any(|timers| {
            few -= timers.wheel.count_due(by, few);
            few == 0
        })
    }
}

/// One wheel, and the entries of its descriptors.
#[derive(Debug)]
pub(super) struct Timers {
    pub(super) wheel: Wheel<Entry>,
    /// Tasks' timers that their worker has dropped, fewer than [`REMOVE_BATCH`]; some may have fired before.
    dropped: Vec<timer::TimerId>,
    /// The number of timers that were armed or moved earlier.
    pub(super) armed: usize,
    /// Set once no thread polls any more.
    ended: bool,
    /// The entry of each of the wheel's descriptors that has one.
    pub(super) by_slot: Vec<Option<timer::TimerId>>,
    /// The number of wheels that share the slots.
    pub(super) stride: usize,
}

impl Timers {
    fn new(stride: usize, now: u64) -> Self {
        // Allocated now: later its place may be behind those of a million timers, whose memory the allocator then keeps.
        let (dropped, by_slot) = (Vec::with_capacity(REMOVE_BATCH), Vec::new());
        Self { wheel: timer::new_wheel(now), dropped, armed: 0, ended: false, by_slot, stride }
    }

    /// Removes up to [`REMOVE_BATCH`] dropped timers and appends their entries to `entries`, which is empty, to be dropped outside
    /// the lock. Returns whether there are more, because several workers share the wheel.
    fn drain_some_removed(&mut self, entries: &mut heapless::Vec<Entry, REMOVE_BATCH>) -> bool {
        let rest = self.dropped.len().saturating_sub(REMOVE_BATCH);
        self.wheel.remove_each(&self.dropped[rest..], entries);
        self.dropped.truncate(rest);
        rest > 0
    }

    /// Removes the dropped timers and appends their entries to `entries`, to be dropped outside the lock.
    pub(super) fn drain_removed(&mut self, entries: &mut Vec<Entry>) {
        if !self.dropped.is_empty() {
            entries.reserve(self.dropped.len());
            self.wheel.remove_each(&self.dropped, entries);
            self.dropped.clear();
        }
    }

    /// Returns whether no entry of the wheel is due before `at`, or with it.
    pub(super) fn is_earliest(&self, at: u64) -> bool {
        self.wheel.next().is_none_or(|next| at < next)
    }
}
