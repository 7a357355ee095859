//! One poll: the kernel is asked, its events go to their descriptors, due timers fire, and the tasks to be run are returned.

use std::io;
use std::os::fd::BorrowedFd;
use std::task::Waker;
use std::time::Duration;

use netpoll_core::{Delivered, GList};

use super::timers::{Entry, Timers, drop_all};
use super::{Netpoll, clock};
use crate::sys::{self, Events};

/// The number of events taken from the kernel at a time (Go: 128).
const EVENTS: usize = 256;

/// The number of wakers that a poll can return: two for each event.
const READY: usize = 2 * EVENTS;

/// The largest number of timers that one poll fires; the others stay due for the next poll, so that a burst of timers does
/// not stall the network.
const EXPIRATIONS: usize = 256;

/// The number of due timers that a poll fires in any case, so that a busy network does not stall them.
const LEAST_EXPIRATIONS: usize = 16;

/// The number of events by which the prefetch of a descriptor is ahead: the latency of memory, in deliveries.
const AHEAD: usize = 8;

/// The cache lines of a descriptor that an event touches.
const DESC_LINES: usize = 1;

/// The cache lines of a small task that its turn touches, after the whole batch of events has been delivered.
const TASK_LINES: usize = 5;

/// The time in nanoseconds for which a poll that does not sleep waits for a break that was requested and is not written yet.
const BREAK_LIMIT: u64 = 1_000_000;

/// The lock of the poller, which the polling thread holds. Dropping it unlocks the poller.
#[derive(Debug)]
#[must_use]
pub struct PollGuard<'a>(&'a Netpoll);

impl Drop for PollGuard<'_> {
    fn drop(&mut self) {
        self.0.poller_lock.clear_poll_until();
        self.0.poller_lock.unlock();
    }
}

impl PollGuard<'_> {
    /// Polls without sleeping; see [`Netpoll::netpoll`].
    ///
    /// # Errors
    ///
    /// As [`Netpoll::netpoll`].
    pub fn poll(self, buffer: &mut PollBuffer) -> io::Result<usize> {
        self.0.netpoll(Some(0), buffer)
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
    ) -> io::Result<usize> {
        let until = self.0.set_poll_until(&mut buffer.next_timer);
        if self.0.is_paused() {
            let next = buffer.next_timer.filter(|next| *next < clock::FAR);
            return self.block_paused(next, buffer, may_sleep, may_advance);
        }
        self.0.netpoll(if may_sleep() { until } else { Some(0) }, buffer)
    }

    /// Polls as [`block`](Self::block) does, with a paused clock whose next timer is at `next`.
    #[cold]
    fn block_paused(
        self,
        next: Option<u64>,
        buffer: &mut PollBuffer,
        may_sleep: impl Fn() -> bool,
        may_advance: impl FnOnce() -> bool,
    ) -> io::Result<usize> {
        if !may_sleep() {
            return self.0.netpoll(Some(0), buffer);
        }
        // Timers that are due already, because another thread has moved the clock, need no move.
        let is_due = |next: u64| next <= self.0.now();
        let next = next.filter(|next| is_due(*next) || may_advance());
        let Some(next) = next else { return self.0.netpoll(None, buffer) };
        let woken = self.0.netpoll(Some(0), buffer)?;
        // Work that `may_advance` waited for has woken this worker before it was over.
        let is_idle = buffer.is_empty() && !buffer.has_events() && !buffer.broken && may_sleep();
        if !is_idle {
            return Ok(woken);
        }
        self.0.advance_to(next);
        // The clock is not there if another thread has let it go on meanwhile.
        let now = self.0.now();
        Ok(woken + self.0.fire_alone(buffer, now))
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
    ) -> io::Result<usize> {
        let next = self.0.set_poll_until(&mut buffer.next_timer);
        let until = [limit, next].into_iter().flatten().min();
        let now = clock::now();
        let until = match until {
            until if until.is_none_or(|at| at > now) && may_sleep() => until,
            // Only a poll with a timeout takes a break. This one ends it, at the latest when its thread has written it.
            _ if self.0.break_flag.is_set() => Some(now.saturating_add(BREAK_LIMIT)),
            _ => Some(0),
        };
        self.0.netpoll(until, buffer)
    }
}

impl Netpoll {
    /// Publishes that a loop other than ours sleeps on [`descriptor`](Self::descriptor) until the next poll. Returns the time
    /// until which it may sleep.
    pub fn announce_sleep(&self) -> Option<u64> {
        self.set_poll_until(&mut None)
    }

    /// Returns a descriptor that is readable while there are events or a break.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` on a backend that has none.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.poller.descriptor()
    }

    /// Publishes the time of the next timer and returns the time until which to sleep. `next` is the time that the last call has
    /// found, which most often is that of this one.
    fn set_poll_until(&self, next: &mut Option<u64>) -> Option<u64> {
        let Netpoll { wheels, poller_lock, coalescer, .. } = self;
        loop {
            poller_lock.set_poll_until(clock::sleep_until(*next));
            // Sees a timer of a thread that armed it before it could see the published time.
            let found = wheels.next();
            if found == *next {
                return found.map(|at| coalescer.deadline(at, |by| wheels.is_crowded(by)));
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
    /// Set if a break ended the last poll.
    broken: bool,
    /// Timers that were dropped before they were due.
    dropped: Vec<Entry>,
    /// The time of the next timer at the last sleep.
    next_timer: Option<u64>,
    /// The number of tasks that the last poll took from descriptors, also if the kernel's wait failed.
    taken: usize,
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
        Self { events, room: EVENTS, list, polled_at: 0, broken: false, dropped, next_timer: None, taken: 0 }
    }

    /// Limits the next poll to `n` events (1 to 256), the free space in the caller's queue. Timers fill the space that is
    /// left, and are 16 at least.
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

    /// Returns the number of tasks that the last poll of the kernel took from descriptors, to be passed to
    /// [`Netpoll::sub_waiters`]. After an error of the kernel these are those whose deadline is over.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Returns whether the last poll found events of descriptors.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
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
    /// Locks the poller for worker `index`. Returns `None` if another thread polls.
    #[inline]
    pub fn try_lock(&self, index: usize) -> Option<PollGuard<'_>> {
        self.poller_lock.try_lock(index).then(|| PollGuard(self))
    }

    /// Returns the worker that polls, if one does. It may have returned already.
    #[inline]
    pub fn polling_worker(&self) -> Option<usize> {
        self.poller_lock.polling_worker()
    }

    /// Returns whether worker `index` sleeps in the poller, so that a break wakes it. Call it after clearing the worker's idle
    /// bit, or setting what its `may_sleep` looks at.
    #[inline]
    pub fn is_parked_in_poller(&self, index: usize) -> bool {
        self.poller_lock.is_parked_in_poller(index)
    }

    /// Sends a break: ends the blocking poll that runs now, or the next one.
    ///
    /// # Panics
    ///
    /// Panics if the owner polls it and the kernel refuses the write for a reason other than that one is pending: a lost
    /// break is a hang. The poller of a runtime aborts the process.
    pub fn wake(&self) {
        if !self.is_owner_process() {
            // The break would end a wait of the parent.
            return;
        }
        if !self.break_flag.set() {
            self.counts.breaks_coalesced.inc();
            return;
        }
        self.counts.breaks_sent.inc();
        if let Err(error) = self.poller.wake() {
            self.poller_failed("the break descriptor cannot be written", &error);
        }
    }

    /// Ends the poll of a thread that would sleep past `at`. Call it after arming a timer that is due then.
    pub(super) fn break_before(&self, at: u64) {
        if self.poller_lock.needs_wakeup(clock::wake_before(at)) {
            self.wake();
        }
    }

    /// Polls the kernel once and fires the timers that are due. The tasks to be run are in `buffer`; returns their number
    /// without those of timers, to be passed to [`Netpoll::sub_waiters`] once they are in a queue.
    ///
    /// `until` is the time to sleep until: `None` without end, 0 not at all. The caller holds the poller's lock, unless it
    /// drives the poller by hand.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, which a correct process never meets. Timers fire even then.
    pub fn netpoll(&self, until: Option<u64>, buffer: &mut PollBuffer) -> io::Result<usize> {
        // A time other than 0 may have passed: then it is a sleep that ends at once.
        let timeout = until.map(|at| if at == 0 { 0 } else { at.saturating_sub(self.now()) });
        self.counts.polls.inc();
        let waited = self.poller.wait(&mut buffer.events, timeout.map(Duration::from_nanos));
        buffer.broken = matches!(waited, Ok(true));
        if buffer.broken {
            // After the break descriptor is drained, and before the caller looks for work.
            self.break_flag.clear();
        }
        buffer.polled_at = clock::now();
        let now = self.clock.pace.at(buffer.polled_at);
        self.clock.set_polled(now);
        let woken = self.deliver(buffer) + self.fire(buffer, now);
        buffer.taken = woken;
        if timeout.is_some_and(|timeout| timeout > 0) && buffer.events.is_empty() && !buffer.broken {
            self.coalescer.record_wake(now);
        }
        self.counts.events.add(buffer.events.len());
        if buffer.is_empty() {
            self.counts.empty_polls.inc();
        }
        waited.map(|_| woken)
    }

    /// Delivers each event to its descriptor; returns how many parked tasks that made ready.
    fn deliver(&self, buffer: &mut PollBuffer) -> usize {
        let (events, list) = (&buffer.events, &mut buffer.list);
        let mut woken = 0;
        for (index, event) in events.iter().enumerate() {
            if index + AHEAD < events.len()
                && let Some(desc) = self.cache.get_any_generation(events.get(index + AHEAD).key)
            {
                sys::prefetch(desc, DESC_LINES);
            }
            let delivered = self.cache.get_any_generation(event.key).map(|desc| desc.ready(event, list));
            match delivered {
                Some(Delivered::Woken(n)) => {
                    woken += n;
                    if let Some(waker) = list.last() {
                        sys::prefetch(waker.data(), TASK_LINES);
                    }
                }
                Some(Delivered::Stale) | None => self.counts.stale_events.inc(),
                Some(Delivered::NoRoom) => unreachable!("the list holds two wakers for each event"),
            }
        }
        woken
    }

    /// Fires due timers, within the bound of a poll and the space in the list; returns how many parked tasks that made ready.
    #[inline(always)]
    fn fire(&self, buffer: &mut PollBuffer, now: u64) -> usize {
        let most = buffer.room.saturating_sub(buffer.list.len()).clamp(LEAST_EXPIRATIONS, EXPIRATIONS);
        let (mut fired, mut woken) = (0, 0);
        for mut timers in self.wheels.each_due(now) {
            timers.drain_removed(&mut buffer.dropped);
            while fired < most && buffer.list.room() >= 2 {
                let Some((_, entry)) = timers.wheel.pop(now) else { break };
                fired += 1;
                woken += self.expire(&mut timers, entry, now, &mut buffer.list);
            }
        }
        if fired > 0 {
            self.counts.timers_fired.add(fired);
        }
        woken
    }

    /// Fires due timers as [`fire`](Self::fire) does, without a poll of the kernel.
    #[cold]
    pub(super) fn fire_alone(&self, buffer: &mut PollBuffer, now: u64) -> usize {
        self.fire(buffer, now)
    }

    /// Fires one timer under the lock of its wheel; the list has space for two wakers.
    fn expire(&self, timers: &mut Timers, entry: Entry, now: u64, list: &mut GList<READY>) -> usize {
        match entry {
            Entry::Task(waker) => {
                sys::prefetch(waker.data(), TASK_LINES);
                list.push(waker).unwrap_or_else(Waker::wake);
                0
            }
            Entry::Descriptor(key) => self.expire_deadline(timers, key, now, list),
        }
    }
}
