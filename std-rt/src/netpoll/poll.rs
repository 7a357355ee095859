//! One poll: the kernel is asked, its events go to their descriptors, due timers fire, and the tasks to be run are returned.

use std::io;
use std::iter;
use std::os::fd::BorrowedFd;
use std::task::Waker;
use std::time::Duration;

use netpoll_core::{Delivered, GList};

use super::shard::{Shard, ShardSet};
use super::timers::{Entry, Timers, drop_all};
use super::{Netpoll, clock};
use crate::sys::{self, Events, Poller};

/// The number of events taken from the kernel at a time (Go: 128).
const EVENTS: usize = 256;

/// The number of wakers that a poll can return: two for each event.
const READY: usize = 2 * EVENTS;

/// The largest number of timers that one poll fires; the others stay due for the next poll, so that a burst of timers does
/// not stall the network.
const EXPIRATIONS: usize = 256;

/// The number of due timers that a poll fires in any case, so that a busy network does not stall them. With a full run queue
/// their tasks go to all workers: more of them end a burst sooner, and an event waits for as many tasks.
const LEAST_EXPIRATIONS: usize = 64;

/// The number of events by which the prefetch of a descriptor is ahead: the latency of memory, in deliveries.
const AHEAD: usize = 8;

/// The cache lines of a descriptor that an event touches.
const DESC_LINES: usize = 1;

/// The cache lines of a small task that its turn touches, after the whole batch of events has been delivered.
const TASK_LINES: usize = 5;

/// The time in nanoseconds for which a poll that does not sleep waits for a break that was requested and is not written yet.
const BREAK_LIMIT: u64 = 1_000_000;

/// The lock of the poller, which the polling thread holds. Dropping it unlocks the poller. Of several pollers it locks one, and
/// may watch others.
#[derive(Debug)]
#[must_use]
pub struct PollGuard<'a> {
    netpoll: &'a Netpoll,
    shard: &'a Shard,
}

impl Drop for PollGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.shard.watches() {
            for shard in self.resume().iter() {
                self.netpoll.shards[shard].unlock();
            }
        }
        self.shard.unlock();
    }
}

impl<'a> PollGuard<'a> {
    /// Creates the guard of a thread that has locked a poller.
    #[inline]
    pub(super) fn new(netpoll: &'a Netpoll, shard: &'a Shard) -> Self {
        Self { netpoll, shard }
    }

    /// Watches every poller that is not locked.
    pub(super) fn watch(&self) {
        let mut watched = ShardSet::default();
        for (number, shard) in self.netpoll.shards.iter().enumerate() {
            if shard.lock.try_watch(self.index()) {
                watched.insert(number);
            }
        }
        self.shard.set_watched(watched);
    }

    /// Ends the watch. Returns the pollers of which the thread is the owner now, since no other worker has taken them over.
    #[cold]
    fn resume(&self) -> ShardSet {
        let mut owned = ShardSet::default();
        for number in self.shard.set_watched(ShardSet::default()).iter() {
            if self.netpoll.shards[number].lock.resume(self.index()) {
                owned.insert(number);
            }
        }
        owned
    }

    /// Returns the number of the thread, which owns the poller.
    fn index(&self) -> usize {
        self.shard.lock.polling_worker().unwrap_or_default()
    }
}

impl PollGuard<'_> {
    /// Polls without sleeping; see [`Netpoll::netpoll`]. Takes a break, unless a thread that watches the poller may be meant: a
    /// thread that sleeps in it alone would have the lock.
    ///
    /// # Errors
    ///
    /// As [`Netpoll::netpoll`].
    pub fn poll(self, buffer: &mut PollBuffer) -> io::Result<()> {
        let polled = self.netpoll.poll_shard(self.shard, Some(0), buffer);
        if buffer.broken && self.netpoll.shards.len() > 1 {
            self.netpoll.return_break(self.shard);
        }
        polled
    }

    /// Polls, and sleeps until an event, a break or the next timer; see [`Netpoll::netpoll`].
    ///
    /// It publishes the time until which it sleeps: a thread that arms an earlier timer from then on sends a break, and so
    /// does one that wakes this worker. A wake-up that came before is seen by `may_sleep`, which is called after that. If it
    /// returns false the poll does not sleep.
    ///
    /// A paused clock does not reach the next timer while the thread sleeps. If `may_advance` returns true, the kernel reports
    /// nothing, and `may_sleep` still returns true after that, then the clock is moved to the next timer, which fires. Otherwise
    /// the thread sleeps until an event or a break; that the event for which `may_advance` waits sends one is the caller's duty.
    ///
    /// # Errors
    ///
    /// As [`Netpoll::netpoll`].
    pub fn block(
        self,
        buffer: &mut PollBuffer,
        may_sleep: impl Fn() -> bool,
        may_advance: impl FnOnce() -> bool,
    ) -> io::Result<()> {
        if self.shard.watches() {
            return self.block_in_several(buffer, may_sleep);
        }
        let until = self.shard.set_poll_until(&mut buffer.next_timer);
        if self.netpoll.is_paused() {
            let next = buffer.next_timer.filter(|next| *next < clock::FAR);
            return self.block_paused(next, buffer, may_sleep, may_advance);
        }
        self.netpoll.poll_shard(self.shard, if may_sleep() { until } else { Some(0) }, buffer)
    }

    /// Polls as [`block`](Self::block) does, in the poller that the worker owns and those that it watches.
    #[cold]
    fn block_in_several(self, buffer: &mut PollBuffer, may_sleep: impl Fn() -> bool) -> io::Result<()> {
        let (netpoll, watched) = (self.netpoll, self.shard.watched());
        let guests = watched.iter().map(|number| &*netpoll.shards[number]);
        let all = iter::once(self.shard).chain(guests.clone());
        for shard in guests {
            // A worker that has taken it over may have published a tick, which this must not replace by a later one: without
            // a limit, a break too many is the worst.
            shard.lock.set_poll_until(None);
        }
        let next = || all.clone().filter_map(|shard| shard.wheels.next()).min();
        let until = self.shard.publish_until(&mut buffer.next_timer, next);
        let until = if may_sleep() { until } else { Some(0) };
        let timeout = until.map(|at| Duration::from_nanos(at.saturating_sub(netpoll.now())));
        let (mut main, mut others) = (false, ShardSet::default());
        let mut numbers = iter::once(None).chain(watched.iter().map(Some));
        let waited = Poller::wait_any(all.map(|shard| &shard.poller), timeout, |is_ready| {
            match numbers.next().flatten().filter(|_| is_ready) {
                Some(number) => others.insert(number),
                None => main |= is_ready,
            }
        });
        if !main && others.is_empty() {
            self.shard.coalescer.record_wake(netpoll.now());
        }
        let owned = self.resume();
        let others = owned.iter().map(|number| (&*netpoll.shards[number], others.contains(number)));
        let (mut polled, mut has_events) = (waited, false);
        for (shard, is_ready) in iter::once((self.shard, main)).chain(others) {
            if polled.is_ok() {
                polled = netpoll.poll_or_fire(shard, is_ready, buffer);
                has_events |= buffer.has_events;
            }
        }
        owned.iter().for_each(|number| netpoll.shards[number].unlock());
        buffer.has_events = has_events;
        polled
    }

    /// Polls as [`block`](Self::block) does, with a paused clock whose next timer is at `next`.
    #[cold]
    fn block_paused(
        self,
        next: Option<u64>,
        buffer: &mut PollBuffer,
        may_sleep: impl Fn() -> bool,
        may_advance: impl FnOnce() -> bool,
    ) -> io::Result<()> {
        let (netpoll, shard) = (self.netpoll, self.shard);
        if !may_sleep() {
            return netpoll.poll_shard(shard, Some(0), buffer);
        }
        // Timers that are due already, because another thread has moved the clock, need no move.
        let is_due = |next: u64| next <= netpoll.now();
        let next = next.filter(|next| is_due(*next) || may_advance());
        let Some(next) = next else { return netpoll.poll_shard(shard, None, buffer) };
        netpoll.poll_shard(shard, Some(0), buffer)?;
        // Work that `may_advance` waited for has woken this worker before it was over.
        let is_idle = buffer.is_empty() && !buffer.has_events() && !buffer.broken && may_sleep();
        if !is_idle {
            return Ok(());
        }
        netpoll.advance_to(next);
        // The clock is not there if another thread has let it go on meanwhile.
        let now = netpoll.now();
        netpoll.fire_alone(buffer, now);
        Ok(())
    }

    /// Polls as [`block`](Self::block) does, and sleeps until `limit` at the latest. Also takes a pending break if it does not
    /// sleep.
    ///
    /// # Errors
    ///
    /// As [`Netpoll::netpoll`].
    pub fn block_until(
        self,
        limit: Option<u64>,
        buffer: &mut PollBuffer,
        may_sleep: impl FnOnce() -> bool,
    ) -> io::Result<()> {
        let next = self.shard.set_poll_until(&mut buffer.next_timer);
        let until = [limit, next].into_iter().flatten().min();
        let until = match until {
            until if until.is_none_or(|at| at > clock::now()) && may_sleep() => until,
            // This one takes the break, at the latest when the thread that requested it has written it.
            _ if self.shard.break_flag.is_set() => Some(clock::now().saturating_add(BREAK_LIMIT)),
            _ => Some(0),
        };
        self.netpoll.poll_shard(self.shard, until, buffer)
    }
}

impl Netpoll {
    /// Publishes that a loop other than ours sleeps on [`descriptor`](Self::descriptor) until the next poll. Returns the time
    /// until which it may sleep.
    pub fn announce_sleep(&self) -> Option<u64> {
        self.shards[0].set_poll_until(&mut None)
    }

    /// Returns a descriptor that is readable while there are events or a break.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` on a backend that has none.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.shards[0].poller.descriptor()
    }
}

impl Shard {
    /// Publishes the time of the next timer and returns the time until which to sleep. `next` is the time that the last call has
    /// found, which most often is that of this one.
    #[inline]
    fn set_poll_until(&self, next: &mut Option<u64>) -> Option<u64> {
        self.publish_until(next, || self.wheels.next())
    }

    /// Does the same if `find` returns the time of the next timer.
    #[inline]
    fn publish_until(&self, next: &mut Option<u64>, find: impl Fn() -> Option<u64>) -> Option<u64> {
        loop {
            self.lock.set_poll_until(clock::sleep_until(*next));
            // Sees a timer of a thread that armed it before it could see the published time.
            let found = find();
            if found == *next {
                return found.map(|at| self.coalescer.deadline(at, |by| self.wheels.is_crowded(by)));
            }
            *next = found;
        }
    }
}

/// The buffers of a poll. The polling thread reuses them, so that a poll allocates nothing.
pub struct PollBuffer {
    events: Events,
    /// The number of tasks that fit into the caller's queue.
    room: usize,
    list: GList<READY>,
    polled_at: u64,
    /// Set if the last poll found events of descriptors.
    has_events: bool,
    /// Set if a break ended the last poll.
    broken: bool,
    /// Timers that were dropped before they were due.
    dropped: Vec<Entry>,
    /// The time of the next timer at the last sleep.
    next_timer: Option<u64>,
}

impl Default for PollBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl PollBuffer {
    /// Creates the buffers for one poll.
    pub fn new() -> Self {
        let events = Events::with_capacity(EVENTS);
        let (list, dropped) = (GList::new(), Vec::new());
        Self {
            events,
            room: EVENTS,
            list,
            polled_at: 0,
            has_events: false,
            broken: false,
            dropped,
            next_timer: None,
        }
    }

    /// Limits the next poll to `n` events (1 to 256), the free space in the caller's queue. Timers fill the space that is
    /// left, and are [`LEAST_EXPIRATIONS`] at least.
    pub fn limit(&mut self, n: usize) {
        self.room = n.clamp(1, EVENTS);
        self.events.set_limit(self.room);
    }

    /// Removes the tasks that the last poll made ready, in the order of their events.
    pub fn drain(&mut self) -> impl Iterator<Item = Waker> {
        self.list.drain()
    }

    /// Drops the removed timers that the last poll has found. Call it after the poller is unlocked: one of their wakers may be
    /// the last reference to a task, and dropping that may make other tasks runnable.
    #[inline]
    pub fn drop_removed(&mut self) {
        if !self.dropped.is_empty() {
            drop_all(self.dropped.drain(..));
        }
    }

    /// Returns whether the last poll has found removed timers, which [`drop_removed`](Self::drop_removed) drops.
    #[inline]
    pub fn has_removed(&self) -> bool {
        !self.dropped.is_empty()
    }

    /// Returns the tick of the system's clock at which the last poll came back from the kernel.
    pub fn polled_at(&self) -> u64 {
        self.polled_at
    }

    /// Returns whether the last poll found events of descriptors.
    pub fn has_events(&self) -> bool {
        self.has_events
    }

    /// Returns the number of tasks that the last poll made ready.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns whether the last poll made no task ready.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl Netpoll {
    /// Polls the kernel once and fires the timers that are due. The tasks to be run are in `buffer`.
    ///
    /// `until` is the time to sleep until: `None` without end, 0 not at all. The caller holds the poller's lock, unless it
    /// drives the poller by hand. A poll that does not sleep leaves a break to the one that does.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, which a correct process never meets. Timers fire even then.
    pub fn netpoll(&self, until: Option<u64>, buffer: &mut PollBuffer) -> io::Result<()> {
        let shard = &self.shards[0];
        let polled = self.poll_shard(shard, until, buffer);
        if buffer.broken && until == Some(0) {
            self.return_break(shard);
        }
        polled
    }

    /// Polls one poller as [`netpoll`](Self::netpoll) does. The buffer keeps the wakers that it has from others.
    fn poll_shard(&self, shard: &Shard, until: Option<u64>, buffer: &mut PollBuffer) -> io::Result<()> {
        // A time other than 0 may have passed: then it is a sleep that ends at once.
        let timeout = until.map(|at| if at == 0 { 0 } else { at.saturating_sub(self.now()) });
        shard.counts.polls.inc();
        let waited = shard.poller.wait(&mut buffer.events, timeout.map(Duration::from_nanos));
        buffer.broken = matches!(waited, Ok(true));
        if buffer.broken {
            // After the backend has taken the break, and before the caller looks for work.
            shard.break_flag.clear();
        }
        buffer.polled_at = clock::now();
        let now = self.clock.pace.at(buffer.polled_at);
        self.record_poll(shard, now);
        self.deliver(shard, buffer);
        self.fire(shard, buffer, now);
        if timeout.is_some_and(|timeout| timeout > 0) && buffer.events.is_empty() && !buffer.broken {
            shard.coalescer.record_wake(now);
        }
        shard.counts.events.add(buffer.events.len());
        if buffer.is_empty() {
            shard.counts.empty_polls.inc();
        }
        buffer.has_events = !buffer.events.is_empty();
        waited.map(|_| ())
    }

    /// Polls one of several pollers in which a worker has slept, if it is `ready`, and fires its timers in any case. If the
    /// caller's queue is full, its events stay with the kernel.
    fn poll_or_fire(&self, shard: &Shard, ready: bool, buffer: &mut PollBuffer) -> io::Result<()> {
        let room = buffer.room.saturating_sub(buffer.list.len());
        if ready && room > 0 {
            buffer.events.set_limit(room);
            return self.poll_shard(shard, Some(0), buffer);
        }
        buffer.has_events = false;
        shard.counts.polls.inc();
        buffer.polled_at = clock::now();
        self.record_poll(shard, buffer.polled_at);
        self.fire(shard, buffer, buffer.polled_at);
        Ok(())
    }

    /// Delivers each event to its descriptor.
    #[inline(always)]
    fn deliver(&self, shard: &Shard, buffer: &mut PollBuffer) {
        let (events, list) = (&buffer.events, &mut buffer.list);
        for (index, event) in events.iter().enumerate() {
            if index + AHEAD < events.len()
                && let Some(desc) = self.cache.get_any_generation(events.get(index + AHEAD).key)
            {
                sys::prefetch(desc, DESC_LINES);
            }
            let delivered = self.cache.get_any_generation(event.key).map(|desc| desc.ready(event, list));
            match delivered {
                Some(Delivered::Woken(_)) => {
                    if let Some(waker) = list.last() {
                        sys::prefetch(waker.data(), TASK_LINES);
                    }
                }
                Some(Delivered::Stale) | None => shard.counts.stale_events.inc(),
                Some(Delivered::NoRoom) => unreachable!("the list holds two wakers for each event"),
            }
        }
    }

    /// Fires due timers, within the bound of a poll and the space in the list.
    #[inline(always)]
    fn fire(&self, shard: &Shard, buffer: &mut PollBuffer, now: u64) {
        let most = buffer.room.saturating_sub(buffer.list.len()).clamp(LEAST_EXPIRATIONS, EXPIRATIONS);
        let mut fired = 0;
        for mut timers in shard.wheels.each_due(now) {
            timers.drain_removed(&mut buffer.dropped);
            while fired < most && buffer.list.room() >= 2 {
                let Some((_, entry)) = timers.wheel.pop(now) else { break };
                fired += 1;
                self.expire(&mut timers, entry, now, &mut buffer.list);
            }
        }
        if fired > 0 {
            shard.counts.timers_fired.add(fired);
        }
    }

    /// Fires due timers as [`fire`](Self::fire) does, without a poll of the kernel.
    #[cold]
    pub(super) fn fire_alone(&self, buffer: &mut PollBuffer, now: u64) {
        self.shards.iter().for_each(|shard| self.fire(shard, buffer, now));
    }

    /// Fires one timer under the lock of its wheel; the list has space for two wakers.
    fn expire(&self, timers: &mut Timers, entry: Entry, now: u64, list: &mut GList<READY>) {
        match entry {
            Entry::Task(waker) => {
                sys::prefetch(waker.data(), TASK_LINES);
                list.push(waker).unwrap_or_else(Waker::wake);
            }
            Entry::Descriptor(key) => self.expire_deadline(timers, key, now, list),
        }
    }
}
