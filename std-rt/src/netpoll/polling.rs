//! One poll: the kernel is asked, its events go to their descriptors, due timers fire, and the tasks to be run go up.

use std::io;
use std::task::Waker;
use std::time::Duration;

use netpoll_core::{Delivered, GList};

use super::timers::{Entry, Timers, drop_all};
use super::{Netpoll, clock, tick};
use crate::sys::{self, Events};

/// Events taken from the kernel at a time (Go: 128).
const EVENTS: usize = 256;

/// Wakers that fit on their way up: two for each event.
const READY: usize = 2 * EVENTS;

/// Timers that one poll fires at most; the rest stays due for the next, so that a burst of timers does not stall the
/// network.
const EXPIRATIONS: usize = 256;

/// The number of events that a descriptor is prefetched ahead: the latency of memory, in deliveries.
const AHEAD: usize = 8;

/// What an event touches of a descriptor.
const DESC_LINES: usize = 1;

/// What a small task touches of itself in its turn: it comes when the whole batch has been delivered.
const TASK_LINES: usize = 5;

/// Timers that one poll fires at least, if they are due, so that a busy network does not stall them.
const LEAST_EXPIRATIONS: usize = 16;

/// The buffers of a poll. The polling thread keeps and reuses them, so that a poll allocates nothing.
pub struct PollBuffer {
    events: Events,
    /// The number of tasks that fit into the caller's queue.
    room: usize,
    list: GList<READY>,
    polled_at: u64,
    /// Timers that were dropped before they were due.
    dropped: Vec<Entry>,
}

impl Default for PollBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl PollBuffer {
    /// Creates the buffers for one poll.
    pub fn new() -> Self {
        Self {
            events: Events::with_capacity(EVENTS),
            room: EVENTS,
            list: GList::new(),
            polled_at: 0,
            dropped: Vec::new(),
        }
    }

    /// At most `n` events in the next poll (1 to 256): as many tasks as there is room for in the caller's queue. Timers
    /// fill what is left of the room, and are 16 at least.
    pub fn limit(&mut self, n: usize) {
        self.room = n.clamp(1, EVENTS);
        self.events.set_limit(self.room);
    }

    /// The tasks that the last poll made ready, in the order of their events.
    pub fn drain(&mut self) -> impl Iterator<Item = Waker> {
        self.list.drain()
    }

    /// Drops the removed timers that the last poll has found. Call it after the poller is unlocked: the last waker of a task
    /// may be among them, and what runs when the task is dropped may make others runnable.
    pub fn drop_removed(&mut self) {
        drop_all(self.dropped.drain(..));
    }

    /// When the last poll came back from the kernel, as a tick of [`clock`].
    pub fn polled_at(&self) -> u64 {
        self.polled_at
    }

    /// The last poll found events of descriptors.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// How many tasks the last poll made ready.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The last poll made nobody ready.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl Netpoll {
    /// Polls the kernel once and fires the timers that are due. The tasks that are to be run are in `buffer`; their
    /// number without those of timers is returned, to be given to [`Netpoll::sub_waiters`] once they are in a queue.
    ///
    /// `until` is the time to sleep until if nothing happens: none for no end, 0 for no sleep at all. The caller holds
    /// the [`PollerLock`], and for a sleep has published `until` there.
    ///
    /// # Errors
    ///
    /// The kernel's wait, none of which a sound process meets. Timers are fired even then.
    pub fn netpoll(&self, until: Option<u64>, buffer: &mut PollBuffer) -> io::Result<usize> {
        // What is not zero may have passed, and is a sleep that ends at once.
        let timeout = until.map(|at| if at == 0 { 0 } else { at.saturating_sub(clock::now()) });
        self.counts.polls.inc();
        let waited = self.poller.wait(&mut buffer.events, timeout.map(Duration::from_nanos));
        if matches!(waited, Ok(true)) {
            // After the descriptor is drained and before anybody looks for work.
            self.break_flag.clear();
        }
        let now = clock::now();
        self.clock.set_polled(now);
        buffer.polled_at = now;
        let woken = self.deliver(buffer) + self.fire(buffer, now);
        if timeout.is_some_and(|timeout| timeout > 0)
            && buffer.events.is_empty()
            && !matches!(waited, Ok(true))
        {
            self.coalescer.record_wake(now);
        }
        self.counts.events.add(buffer.events.len());
        if buffer.is_empty() {
            self.counts.empty_polls.inc();
        }
        waited.map(|_| woken)
    }

    /// Dispatches each event to its descriptor; returns how many parked tasks it made ready.
    fn deliver(&self, buffer: &mut PollBuffer) -> usize {
        let (events, list) = (&buffer.events, &mut buffer.list);
        let mut woken = 0;
        let mut ahead = (AHEAD..events.len()).map(|index| events.get(index).key);
        for event in events.iter() {
            if let Some(desc) = ahead.next().and_then(|key| self.cache.place(key)) {
                sys::prefetch(desc, DESC_LINES);
            }
            let delivered = self.cache.place(event.key).map(|desc| desc.ready(event, list));
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

    /// Fires what is due, within the bound of a turn and the room of the list.
    fn fire(&self, buffer: &mut PollBuffer, now: u64) -> usize {
        let most = buffer.room.saturating_sub(buffer.list.len()).clamp(LEAST_EXPIRATIONS, EXPIRATIONS);
        let (mut fired, mut woken) = (0, 0);
        for wheel in 0..self.wheels.count() {
            let mut timers = self.wheels.lock(wheel);
            if timers.has_nothing_at(now) {
                continue;
            }
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

    /// One timer, under the lock of its wheel.
    fn expire(&self, timers: &mut Timers, entry: Entry, now: u64, list: &mut GList<READY>) -> usize {
        match entry {
            Entry::Task(waker) => {
                sys::prefetch(waker.data(), TASK_LINES);
                // The caller has seen to the room.
                list.push(waker).unwrap_or_else(Waker::wake);
                0
            }
            Entry::Descriptor(key) => {
                timers.fired(key.slot);
                let Some(desc) = self.cache.get(key) else { return 0 };
                let (mut fired, again) = desc.expire(tick::round_down(now));
                let woken = fired.len();
                list.append(&mut fired);
                if let Some(at) = again {
                    timers.put(key, tick::to_nanos(at, || now));
                    self.counts.timers_rearmed.inc();
                }
                woken
            }
        }
    }
}
