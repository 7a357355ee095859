//! The pollers of one [`Netpoll`]: one by default, several if [`Builder::pollers`](crate::Builder::pollers) says so.
//!
//! Each has a descriptor of the kernel's, a lock, a break and timer wheels of its own, so that threads which poll different
//! ones share no line. What is in a slot belongs to the poller `slot % n`: slots are given out in order, so descriptors are
//! spread evenly whichever worker opens them. (A server accepts in one task. By the worker that registers, all its connections
//! would belong to one poller.) A task's timer belongs to the poller of the worker that arms it, which is `worker % n`.
//!
//! # Which poller a worker polls
//!
//! | a worker that | polls |
//! |---|---|
//! | is busy, and looks at the kernel between two tasks | its own, and in turn one of the others if no thread has polled that for [`STALE`] |
//! | spins | its own and the others in turn |
//! | goes to sleep | its own; if a worker sleeps there, any that is unlocked; if there is none, it sleeps on its park token |
//! | was woken and goes to sleep again, or is the last one awake, or has no monitor | the same, and *watches* all others that are unlocked |
//!
//! A worker that watches waits for several pollers at once, with one more system call for a wait. It need not while the workers
//! of the other pollers come back soon, so it does only if another thread had a reason to wake it: the rule of
//! [`wake_rule`](crate::sched::WakeRule), or the monitor, which polls what no thread has polled for 10 ms while a worker is awake. A worker whose own
//! poller is watched takes it over and ends the watch by a break. **In a runtime without a monitor every worker that sleeps
//! watches all pollers that are unlocked, and a worker that unlocks one wakes another**: no ready event waits while a worker
//! sleeps. Core's [`poller_lock`](netpoll_core::sched::poller_lock) has the words and the proof (INV-14),
//! `loom-tests/src/models/pollers.rs` the models.

use std::io;

use netpoll_core::poll::break_flag::BreakFlag;
use netpoll_core::sched::poller_lock::PollerLock;
use netpoll_core::sync::{Counter, RelaxedUsize};

use super::timers::{TimersGuard, Wheels};
use super::{Coalescer, Config, Netpoll, PollGuard, clock};
use crate::sys::Poller;

/// The largest number of pollers of one runtime.
pub(super) const MAX_SHARDS: usize = if Poller::CAN_WATCH { ShardSet::BITS } else { 1 };

/// The time in nanoseconds after which a busy worker polls another worker's poller.
const STALE: u64 = 100_000;

/// One of the pollers.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) poller: Poller,
    pub(super) break_flag: BreakFlag,
    pub(super) lock: PollerLock,
    pub(super) wheels: Wheels,
    pub(super) coalescer: Coalescer,
    pub(super) counts: Counts,
    /// The pollers that its owner watches beside it. Only the owner uses it, under the lock.
    watched: RelaxedUsize,
    /// The word of the tick of the last poll, which only a runtime of several pollers reads.
    polled: RelaxedUsize,
}

/// The counters of the polls since the [`Netpoll`] was made.
#[derive(Debug, Default)]
pub struct Counts {
    /// Calls of the kernel's wait.
    pub polls: Counter,
    /// Calls among them that made no task ready: no event, no timer.
    pub empty_polls: Counter,
    /// Events that the kernel reported.
    pub events: Counter,
    /// Breaks written to the poller.
    pub breaks_sent: Counter,
    /// Breaks that needed no write, because one was pending.
    pub breaks_coalesced: Counter,
    /// Events of a descriptor that was gone, refused by their generation.
    pub stale_events: Counter,
    /// Timers put back when they came due, because the deadline had been moved later meanwhile.
    pub timers_rearmed: Counter,
    /// Entries of the wheel that came due.
    pub timers_fired: Counter,
}

impl Counts {
    fn each(&self) -> [&Counter; 8] {
        let Self { polls, empty_polls, events, breaks_sent, .. } = self;
        let Self { breaks_coalesced, stale_events, timers_rearmed, timers_fired, .. } = self;
        [
            polls,
            empty_polls,
            events,
            breaks_sent,
            breaks_coalesced,
            stale_events,
            timers_rearmed,
            timers_fired,
        ]
    }
}

impl Shard {
    /// Creates one of `shards` pollers.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error if it has no descriptors or memory left.
    pub(super) fn new(config: &Config, shards: usize) -> io::Result<Self> {
        Ok(Self {
            poller: Poller::init(config.probe)?,
            break_flag: BreakFlag::new(),
            lock: PollerLock::new(),
            wheels: Wheels::new(config.workers, shards, clock::now()),
            coalescer: Coalescer::new(config.slack),
            counts: Counts::default(),
            watched: RelaxedUsize::new(),
            polled: RelaxedUsize::new(),
        })
    }

    /// Returns whether the owner watches other pollers.
    #[inline]
    pub(super) fn watches(&self) -> bool {
        self.watched.get() != 0
    }

    /// Returns the pollers that the owner watches.
    pub(super) fn watched(&self) -> ShardSet {
        ShardSet(self.watched.get() as u32)
    }

    /// Sets the pollers that the owner watches; returns the previous ones.
    pub(super) fn set_watched(&self, set: ShardSet) -> ShardSet {
        let before = self.watched();
        self.watched.set(set.0 as usize);
        before
    }

    /// Unlocks the poller, whose owner has returned from the kernel.
    #[inline]
    pub(super) fn unlock(&self) {
        self.lock.clear_poll_until();
        self.lock.unlock();
    }
}

/// A set of pollers, by their indices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct ShardSet(u32);

impl ShardSet {
    const BITS: usize = u32::BITS as usize;

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn contains(self, shard: usize) -> bool {
        self.0 & 1 << shard != 0
    }

    pub(super) fn insert(&mut self, shard: usize) {
        self.0 |= 1 << shard;
    }

    /// Returns the indices in ascending order.
    pub(super) fn iter(self) -> impl Iterator<Item = usize> + Clone {
        let left = |set: &u32| Some(set & set.wrapping_sub(1)).filter(|left| *left != 0);
        std::iter::successors(Some(self.0).filter(|set| *set != 0), left)
            .map(|set| set.trailing_zeros() as usize)
    }
}

impl Netpoll {
    /// Returns the number of pollers.
    #[inline]
    pub fn pollers(&self) -> usize {
        self.shards.len()
    }

    /// Returns the poller of a worker, or of a wheel.
    #[inline]
    pub(super) fn shard_index(&self, number: usize) -> usize {
        match self.shards.len() {
            1 => 0,
            n => number % n,
        }
    }

    /// Returns the poller of a descriptor.
    #[inline]
    pub(super) fn shard_of(&self, slot: u32) -> &Shard {
        &self.shards[self.shard_index(slot as usize)]
    }

    /// Returns the number of timer wheels of all pollers.
    #[inline]
    pub(super) fn wheel_count(&self) -> usize {
        self.shards.len() * self.shards[0].wheels.count()
    }

    /// Returns the wheel of a descriptor.
    #[inline]
    pub(super) fn wheel_of(&self, slot: u32) -> usize {
        slot as usize % self.wheel_count()
    }

    /// Locks a wheel.
    #[inline]
    pub(super) fn lock_wheel(&self, wheel: usize) -> TimersGuard<'_> {
        self.shards[self.shard_index(wheel)].wheels.lock(self.index_in_shard(wheel))
    }

    /// Locks a wheel unless it is locked.
    pub(super) fn try_lock_wheel(&self, wheel: usize) -> Option<TimersGuard<'_>> {
        self.shards[self.shard_index(wheel)].wheels.try_lock(self.index_in_shard(wheel))
    }

    #[inline]
    fn index_in_shard(&self, wheel: usize) -> usize {
        match self.shards.len() {
            1 => wheel,
            n => wheel / n,
        }
    }

    /// Returns the sums of the counters of all pollers.
    pub fn counts(&self) -> Counts {
        let sum = Counts::default();
        for shard in &self.shards {
            for (sum, counter) in sum.each().into_iter().zip(shard.counts.each()) {
                sum.add(counter.get());
            }
        }
        sum
    }

    /// Returns the number of polls of one poller.
    pub fn polls_of(&self, poller: usize) -> usize {
        self.shards[poller].counts.polls.get()
    }

    /// Records the tick of a poll.
    #[inline]
    pub(super) fn record_poll(&self, shard: &Shard, now: u64) {
        if self.shards.len() == 1 {
            self.clock.set_polled(now);
        } else {
            shard.polled.set(clock::round_down(now));
            self.clock.set_polled_coarsely(now);
        }
    }

    /// Locks the poller of worker `index` for it. Returns `None` if another thread polls or sleeps there.
    #[inline]
    pub fn try_lock(&self, index: usize) -> Option<PollGuard<'_>> {
        self.try_lock_of(index, index)
    }

    /// Locks the poller `number % n` for worker `index`. Returns `None` if another thread polls or sleeps there.
    #[inline]
    pub fn try_lock_of(&self, number: usize, index: usize) -> Option<PollGuard<'_>> {
        let shard = &self.shards[self.shard_index(number)];
        shard.lock.try_lock(index).then(|| PollGuard::new(self, shard))
    }

    /// Locks the poller `number % n` for a worker whose own it is not, if no thread has polled it for [`STALE`].
    pub fn try_lock_stale(&self, number: usize, index: usize) -> Option<PollGuard<'_>> {
        let shard = self.shard_index(number);
        let now = self.now();
        let polled = clock::to_nanos(self.shards[shard].polled.get(), || now);
        let is_other = shard != self.shard_index(index);
        (is_other && now.saturating_sub(polled) >= STALE).then(|| self.try_lock_of(shard, index))?
    }

    /// Locks a poller for worker `index` to sleep in, after it has announced that it sleeps: its own, or else another one. If
    /// `watch` returns true, it watches all others that are unlocked. Returns `None` if no poller is left for it.
    #[inline]
    pub fn lock_to_sleep(&self, index: usize, watch: impl FnOnce() -> bool) -> Option<PollGuard<'_>> {
        if self.shards.len() == 1 { self.try_lock(index) } else { self.lock_several(index, watch) }
    }

    #[cold]
    fn lock_several(&self, index: usize, watch: impl FnOnce() -> bool) -> Option<PollGuard<'_>> {
        let home = self.shard_index(index);
        let guard = self.try_lock(index).or_else(|| self.take_over(index, home)).or_else(|| {
            let mut others = (1..self.shards.len()).map(|i| home + i);
            others.find_map(|number| self.try_lock_of(number, index))
        })?;
        if watch() {
            guard.watch();
        }
        Some(guard)
    }

    /// Locks the poller of a worker although another worker watches it, and ends the watch: otherwise each event would wake both.
    fn take_over(&self, index: usize, shard: usize) -> Option<PollGuard<'_>> {
        let guest = self.shards[shard].lock.take_over(index)?;
        let guard = PollGuard::new(self, &self.shards[shard]);
        self.wake_worker(guest);
        Some(guard)
    }

    /// Returns the workers that poll, or sleep in the kernel. They may have returned already.
    #[inline]
    pub fn polling_workers(&self) -> impl Iterator<Item = usize> + Clone {
        self.shards.iter().filter_map(|shard| shard.lock.polling_worker())
    }

    /// Returns whether there is a poller in which no thread polls or sleeps.
    #[inline]
    pub fn is_any_unlocked(&self) -> bool {
        self.shards.iter().any(|shard| !shard.lock.is_locked())
    }

    /// Returns whether worker `index` sleeps in a poller, so that a break wakes it. Call it after clearing the worker's idle
    /// bit, or setting what its `may_sleep` looks at.
    #[inline]
    pub fn is_parked_in_poller(&self, index: usize) -> bool {
        self.poller_of_sleeper(index).is_some()
    }

    #[inline]
    fn poller_of_sleeper(&self, index: usize) -> Option<&Shard> {
        self.shards.iter().map(|shard| &**shard).find(|shard| shard.lock.is_parked_in_poller(index))
    }

    /// Sends a break to worker `index` if it sleeps in a poller; returns whether it does. Call it as
    /// [`is_parked_in_poller`](Self::is_parked_in_poller).
    ///
    /// # Panics
    ///
    /// As [`wake`](Self::wake).
    pub fn wake_worker(&self, index: usize) -> bool {
        let shard = self.poller_of_sleeper(index);
        shard.map(|shard| self.send_break(shard)).is_some()
    }

    /// Sends a break to every poller: ends the blocking poll that runs now, or the next one.
    ///
    /// # Panics
    ///
    /// Panics if the owner polls it and the kernel refuses the write for a reason other than that one is pending: a lost
    /// break is a hang. The poller of a runtime aborts the process.
    pub fn wake(&self) {
        self.shards.iter().for_each(|shard| self.send_break(shard));
    }

    fn send_break(&self, shard: &Shard) {
        if !self.is_owner_process() {
            // The break would end a wait of the parent.
            return;
        }
        let is_new = self.request_break(shard);
        let counts = &shard.counts;
        if is_new { &counts.breaks_sent } else { &counts.breaks_coalesced }.inc();
    }

    /// Leaves a break that a poll has taken to the next one.
    pub(super) fn return_break(&self, shard: &Shard) {
        self.request_break(shard);
    }

    /// Makes a break pending; returns false if one is pending already.
    fn request_break(&self, shard: &Shard) -> bool {
        let is_new = shard.break_flag.set();
        if is_new && let Err(error) = shard.poller.wake() {
            self.poller_failed("the break descriptor cannot be written", &error);
        }
        is_new
    }

    /// Ends the poll of a thread that would sleep past `at`. Call it after arming a timer of the wheel that is due then.
    pub(super) fn break_before(&self, wheel: usize, at: u64) {
        let shard = &self.shards[self.shard_index(wheel)];
        if shard.lock.needs_wakeup(clock::wake_before(at)) {
            self.send_break(shard);
        }
    }
}
