//! The timer wheels of a [`Netpoll`](super::Netpoll), one for each worker, each under a lock of its own: who arms a timer
//! meets nobody but the poller.
//!
//! A task's timer goes to the wheel of the worker that arms it. A descriptor's has its wheel for life, named by its slot,
//! so that whoever moves its deadline finds the entry.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use netpoll_core::poll_key::PollKey;

use crate::timer::{self, Wheel};

/// The most wheels; more workers share them.
const WHEELS: usize = 16;

thread_local! {
    /// The worker that this thread is, or any number.
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// What a timer is for.
#[derive(Debug)]
pub(super) enum Entry {
    /// The deadlines of a descriptor, both directions.
    Descriptor(PollKey),
    /// A task that sleeps.
    Task(Waker),
}

/// A task's timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerId {
    wheel: usize,
    id: timer::TimerId,
}

/// Which worker's wheel this thread uses from now on; gives back which it was.
pub(super) fn enter(worker: usize) -> usize {
    HERE.replace(worker)
}

/// All wheels.
#[derive(Debug)]
pub(super) struct Wheels {
    wheels: Box<[Mutex<Timers>]>,
}

impl Wheels {
    pub(super) fn new(workers: usize) -> Self {
        let wheels = workers.clamp(1, WHEELS);
        Self { wheels: (0..wheels).map(|_| Mutex::new(Timers::new(wheels))).collect() }
    }

    pub(super) fn count(&self) -> usize {
        self.wheels.len()
    }

    pub(super) fn lock(&self, wheel: usize) -> MutexGuard<'_, Timers> {
        // Nothing panics under this lock but the wheel's own limit, which leaves it whole.
        self.wheels[wheel].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wheel of a descriptor.
    pub(super) fn of(&self, key: PollKey) -> MutexGuard<'_, Timers> {
        self.lock(key.slot as usize % self.count())
    }

    /// Arms a task's timer.
    pub(super) fn add(&self, at: u64, waker: Waker) -> TimerId {
        let wheel = HERE.get() % self.count();
        TimerId { wheel, id: self.lock(wheel).wheel.insert(at, Entry::Task(waker)) }
    }

    /// Disarms a task's timer; false if it has fired.
    pub(super) fn remove(&self, id: TimerId) -> bool {
        let entry = self.lock(id.wheel).wheel.remove(id.id);
        // The waker is dropped after the lock.
        entry.is_some()
    }

    /// Entries outstanding.
    pub(super) fn len(&self) -> usize {
        (0..self.count()).map(|wheel| self.lock(wheel).wheel.len()).sum()
    }

    /// The earliest time at which something may be due, and whether something else stands close to it.
    pub(super) fn next(&self) -> Option<(u64, bool)> {
        let mut first: Option<(u64, bool)> = None;
        for wheel in 0..self.count() {
            let timers = self.lock(wheel);
            let Some(next) = timers.wheel.next() else { continue };
            first = Some(match first {
                Some((at, crowded)) if at <= next => (at, crowded || timers.wheel.is_crowded()),
                Some((_, crowded)) => (next, crowded || timers.wheel.is_crowded()),
                None => (next, timers.wheel.is_crowded()),
            });
        }
        first
    }
}

/// One wheel, and which of its entries belongs to which descriptor.
#[derive(Debug)]
pub(super) struct Timers {
    pub(super) wheel: Wheel<Entry>,
    /// The entry of each of the wheel's slots that has one.
    by_slot: Vec<Option<timer::TimerId>>,
    /// How many wheels share the slots.
    stride: usize,
}

impl Timers {
    fn new(stride: usize) -> Self {
        Self { wheel: Wheel::new(0), by_slot: Vec::new(), stride }
    }

    fn place(&self, slot: u32) -> usize {
        slot as usize / self.stride
    }

    /// Puts the descriptor's entry at `at`, whether it has one or not.
    pub(super) fn put(&mut self, key: PollKey, at: u64) {
        let place = self.place(key.slot);
        if self.by_slot.len() <= place {
            self.by_slot.resize(place + 1, None);
        }
        match self.by_slot[place] {
            Some(id) if self.wheel.edit(id, at) => {}
            _ => self.by_slot[place] = Some(self.wheel.insert(at, Entry::Descriptor(key))),
        }
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
