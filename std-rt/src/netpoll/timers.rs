//! The timer wheels of a [`Netpoll`], one for each worker, each under a lock of its own: a thread that arms a timer contends
//! only with the poller.
//!
//! A task's timer goes to the wheel of the worker that arms it. A descriptor's has its wheel for life, named by its slot,
//! so that every thread that moves its deadline finds the entry.
//!
//! # Timers that are dropped
//!
//! Most timers never fire, and where there are many a timer that is dropped is in no cache, and neither are its two
//! neighbours in the wheel. So a worker collects what it drops, up to [`REMOVE_BATCH`] timers, and takes them out in one
//! go: the processor then fetches all their cache lines at the same time. What is collected does not fire, is not counted, and is
//! gone when the worker goes to sleep, when the wheel is looked through, or when the thread leaves the runtime. A
//! thread that is no worker, or drops a timer of another wheel, takes it out at once.
//!
//! # When the poller is woken
//!
//! Only a timer that is the earliest of its wheel may have to end a sleep of the poller: any other comes after one for which
//! that was seen to, and until whose time the poller sleeps at most.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use netpoll_core::PollKey;

use super::Netpoll;
use crate::context::{self, WorkerWheel};
use crate::foreign;
use crate::timer::{self, Wheel};

/// The most wheels; more workers share them.
const WHEELS: usize = 16;

/// The number of dropped timers that are removed together.
const REMOVE_BATCH: usize = 32;

#[inline]
fn current_wheel() -> WorkerWheel {
    context::with(|context| context.wheel.get())
}

/// Records whether this worker may have dropped timers that are still in its wheel.
fn set_pending_removals(has_pending_removals: bool) {
    context::with(|context| context.wheel.set(WorkerWheel { has_pending_removals, ..context.wheel.get() }));
}

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
    /// An entry without a descriptor or a task.
    fn default() -> Self {
        Self::Descriptor(PollKey::BREAK)
    }
}

/// A task's timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerId {
    id: timer::TimerId,
    wheel: u32,
}

/// What [`Netpoll::renew_timer`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Renewed {
    /// The timer wakes the task with the new waker.
    Armed,
    /// It has fired.
    Fired,
    /// It will never fire, since nobody polls any more; it was due at this tick, and is taken out.
    Gone(u64),
}

impl Netpoll {
    /// Makes this thread that worker, or none; returns what it was. `around` is the poller that the thread has
    /// worked for so far: if it drove that one's runtime, it does not meanwhile.
    pub fn enter_worker(&self, worker: Option<usize>, around: Option<&Arc<Self>>) -> WorkerWheel {
        let index = worker.map_or(0, |worker| worker % self.wheels.count()) as u32;
        let before = current_wheel();
        if let Some(around) = around.filter(|around| self.takes_from(around, before)) {
            around.end_driving();
        }
        if worker.is_some() && before.netpoll != self.address() {
            self.begin_driving();
        }
        let netpoll = worker.map_or(0, |_| self.address());
        let here = WorkerWheel { netpoll, index, has_pending_removals: false };
        context::with(|context| context.wheel.replace(here))
    }

    /// Restores what this thread was, for the poller that it worked for.
    pub fn leave_worker(self: &Arc<Self>, before: WorkerWheel, around: Option<&Arc<Self>>) {
        // Destructors that run because of what is removed drop timers as what the thread is then.
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

    /// Whether a thread that was `before` leaves the runtime of another poller undriven while it works for this one.
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

    /// Arms a timer that wakes a task at `at`; none if nobody polls any more.
    pub fn add_timer(&self, at: u64, waker: Waker) -> Option<TimerId> {
        let wheel = self.own_wheel().unwrap_or(0);
        let mut timers = self.is_owner_process().then(|| self.wheels.lock(wheel as usize))?;
        if timers.ended {
            // The waker goes after the lock.
            drop(timers);
            return None;
        }
        let earliest = timers.is_earliest(at);
        let id = timers.wheel.insert(at, Entry::Task(waker));
        timers.armed += 1;
        drop(timers);
        if earliest {
            self.break_before(at);
        }
        Some(TimerId { id, wheel })
    }

    /// Has a timer wake another task, or the same.
    pub fn renew_timer(&self, id: TimerId, waker: &Waker) -> Renewed {
        if !self.is_owner_process() {
            return self.take_timer(id).map_or(Renewed::Fired, Renewed::Gone);
        }
        let wheel = id.wheel as usize;
        let timers = self.wheels.lock(wheel);
        let ended = timers.ended;
        let found = match timers.wheel.get(id.id) {
            None => Some(Renewed::Fired),
            Some(Entry::Task(same)) if !ended && same.will_wake(waker) => Some(Renewed::Armed),
            Some(_) => None,
        };
        drop(timers);
        match found {
            Some(found) => found,
            None if ended => self.take_timer(id).map_or(Renewed::Fired, Renewed::Gone),
            None => self.replace_waker(id, waker),
        }
    }

    /// Wakers are cloned and dropped without the lock.
    fn replace_waker(&self, id: TimerId, waker: &Waker) -> Renewed {
        let waker = Entry::Task(waker.clone());
        let mut timers = self.wheels.lock(id.wheel as usize);
        if timers.ended {
            drop(timers);
            return self.take_timer(id).map_or(Renewed::Fired, Renewed::Gone);
        }
        let before = timers.wheel.get_mut(id.id).map(|entry| std::mem::replace(entry, waker));
        drop(timers);
        before.map_or(Renewed::Fired, |_| Renewed::Armed)
    }

    /// Takes a timer out, for another poller to have it; gives the tick that it is due at, none if it has fired.
    ///
    /// In a forked child, where a thread of the parent may have held the lock, it does without if it must: the timer counts
    /// as fired then.
    pub fn take_timer(&self, id: TimerId) -> Option<u64> {
        let mut timers = self.wheels.lock_of(id.wheel as usize, self.is_owner_process())?;
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
        let mut timers = self.wheels.lock(id.wheel as usize);
        if self.own_wheel() != Some(id.wheel) {
            let entry = timers.wheel.remove(id.id);
            drop(timers);
            return drop_all(entry);
        }
        timers.dropped.push(id.id);
        let all = timers.dropped.len() >= REMOVE_BATCH;
        // Before they go: what goes with one may drop timers of its own.
        set_pending_removals(!all);
        if all {
            drop(timers);
            self.drain_removed(id.wheel);
        }
    }

    /// Removes the timers that this worker has dropped, before it sleeps; returns false if there were none. A waker may be the last that its
    /// task has, and what runs when that is dropped may make other tasks runnable.
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
        let mut entries = Vec::new();
        self.wheels.lock(wheel as usize).drain_removed(&mut entries);
        drop_all(entries);
    }

    /// Entries in the timer wheels.
    pub fn timers(&self) -> usize {
        self.wheels.sum(|timers| {
            let there = |id: &&timer::TimerId| timers.wheel.get(**id).is_some();
            timers.wheel.len() - timers.dropped.iter().filter(there).count()
        })
    }

    /// Edits of the wheels so far: timers armed or moved earlier.
    pub fn timers_armed(&self) -> usize {
        self.wheels.sum(|timers| timers.armed)
    }
}

/// Drops entries, with no lock held: a waker may be the last that its task has. If what runs then panics, which the hook
/// has reported, the others are dropped all the same.
pub(super) fn drop_all(entries: impl IntoIterator<Item = Entry>) {
    for entry in entries {
        foreign::catch_panic(|| drop(entry));
    }
}

/// All wheels.
#[derive(Debug)]
pub(super) struct Wheels {
    wheels: Box<[Mutex<Timers>]>,
}

impl Wheels {
    /// Their time begins at `now`.
    pub(super) fn new(workers: usize, now: u64) -> Self {
        let wheels = workers.clamp(1, WHEELS);
        Self { wheels: (0..wheels).map(|_| Mutex::new(Timers::new(wheels, now))).collect() }
    }

    pub(super) fn count(&self) -> usize {
        self.wheels.len()
    }

    #[inline]
    pub(super) fn lock(&self, wheel: usize) -> MutexGuard<'_, Timers> {
        // Nothing panics under this lock but the wheel's own limit, which leaves it whole.
        self.wheels[wheel].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wheel, or none if it is locked and its holder may be gone.
    fn lock_of(&self, wheel: usize, holder_lives: bool) -> Option<MutexGuard<'_, Timers>> {
        if holder_lives { Some(self.lock(wheel)) } else { self.wheels[wheel].try_lock().ok() }
    }

    /// No timer fires any more and none is armed: gives the wakers of those that wait. The entries stay, so that it can be
    /// said when they were due.
    pub(super) fn end(&self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for wheel in 0..self.count() {
            let mut timers = self.lock(wheel);
            timers.ended = true;
            for entry in timers.wheel.payloads_mut() {
                if let Entry::Task(waker) = entry {
                    wakers.push(std::mem::replace(waker, Waker::noop().clone()));
                }
            }
        }
        wakers
    }

    /// The wheel of a descriptor.
    pub(super) fn of(&self, slot: u32) -> MutexGuard<'_, Timers> {
        self.lock(slot as usize % self.count())
    }

    fn sum(&self, number: impl Fn(&Timers) -> usize) -> usize {
        (0..self.count()).map(|wheel| number(&self.lock(wheel))).sum()
    }

    /// The earliest time at which something may be due.
    pub(super) fn next(&self) -> Option<u64> {
        (0..self.count()).filter_map(|wheel| self.lock(wheel).wheel.next()).min()
    }

    /// Whether something else stands close to the earliest entry of a wheel.
    pub(super) fn has_neighbours(&self) -> bool {
        (0..self.count()).any(|wheel| self.lock(wheel).wheel.has_neighbours())
    }
}

/// One wheel, and which of its entries belongs to which descriptor.
#[derive(Debug)]
pub(super) struct Timers {
    pub(super) wheel: Wheel<Entry>,
    /// Tasks' timers that their worker has dropped, fewer than [`REMOVE_BATCH`]; some may have fired before.
    dropped: Vec<timer::TimerId>,
    /// How many were armed, or moved earlier.
    pub(super) armed: usize,
    /// Nobody polls any more.
    ended: bool,
    /// The entry of each of the wheel's slots that has one.
    by_slot: Vec<Option<timer::TimerId>>,
    /// How many wheels share the slots.
    stride: usize,
}

impl Timers {
    fn new(stride: usize, now: u64) -> Self {
        Self {
            wheel: Wheel::new(now),
            dropped: Vec::new(),
            armed: 0,
            ended: false,
            by_slot: Vec::new(),
            stride,
        }
    }

    /// True if nothing can be due at `now`, and nothing is to be taken out.
    #[inline]
    pub(super) fn has_nothing_at(&self, now: u64) -> bool {
        self.wheel.is_empty() || self.dropped.is_empty() && self.wheel.next().is_none_or(|next| next > now)
    }

    /// Removes the dropped timers. The entries go into the list, to be dropped after the lock.
    pub(super) fn drain_removed(&mut self, entries: &mut Vec<Entry>) {
        if !self.dropped.is_empty() {
            self.wheel.remove_each(&self.dropped, entries);
            self.dropped.clear();
        }
    }

    /// True if nothing in the wheel is due before `at`, or with it.
    fn is_earliest(&self, at: u64) -> bool {
        self.wheel.next().is_none_or(|next| at < next)
    }

    fn place(&self, slot: u32) -> usize {
        slot as usize / self.stride
    }

    /// Puts the descriptor's entry at `at`, whether it has one or not; true if it is the wheel's earliest then.
    pub(super) fn put(&mut self, key: PollKey, at: u64) -> bool {
        let earliest = self.is_earliest(at);
        let place = self.place(key.slot);
        if self.by_slot.len() <= place {
            self.by_slot.resize(place + 1, None);
        }
        match self.by_slot[place] {
            Some(id) if self.wheel.edit(id, at) => {}
            _ => self.by_slot[place] = Some(self.wheel.insert(at, Entry::Descriptor(key))),
        }
        earliest
    }

    /// The descriptor's entry has come out of the wheel.
    pub(super) fn fired(&mut self, slot: u32) {
        let place = self.place(slot);
        self.by_slot[place] = None;
    }

    /// Takes the descriptor's entry out, if it has one.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let place = self.place(slot);
        let id = self.by_slot.get_mut(place)?.take()?;
        self.wheel.remove(id)
    }
}
