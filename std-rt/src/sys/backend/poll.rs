//! The poll(2) backend: any POSIX system.
//!
//! A table holds the registered descriptors by number. A wait copies the armed ones into an array and passes
//! that to poll(2), which is **level-triggered**: it reports a condition as long as it lasts. So a direction
//! is asked for once: an event disarms it, and [`Poller::arm`] arms it again for a task that has parked.
//! `open` arms both directions, so that initial readiness is reported, as an edge would be. The end of the
//! peer is asked for until it was reported once, whether a task waits or not (where there is `POLLRDHUP`;
//! elsewhere only a waiter finds it).
//!
//! # Cost
//!
//! Each wait visits every registered descriptor, here and in the kernel: about 20 ns a descriptor for the
//! array, and the same again or more for the kernel's part. That suits a few thousand descriptors. When a
//! task parks while another thread sleeps in poll(2), that thread is woken to include the new interest.
//!
//! # What wakes a sleeper
//!
//! | what | state in the table | woken by | the sleeper |
//! |---|---|---|---|
//! | an event | | the kernel | returns the event |
//! | a break | `break_pending` | [`Poller::wake`], through the pipe | returns true |
//! | an interest that its array lacks | the slot | [`Poller::arm`], [`Poller::open`], through the pipe | builds a new array and sleeps again |
//! | a descriptor that is closed | no slot | [`Poller::close`], through the pipe, which waits for it | the same |
//!
//! `close` waits because poll(2) keeps a reference to the open file: otherwise the peer would not be told,
//! and a port not be freed, before the sleeper woke for another reason. One byte wakes all sleepers:
//! `notified` says that it is in the pipe. The last sleeper to leave reads it, and no thread starts to sleep
//! before that.
//!
//! # Limits
//!
//! A permanent condition that no call removes makes a waiter spin: an error queue (`IP_RECVERR`, timestamps)
//! that is never read, or a call that returns `WouldBlock` although the kernel reports readiness.

#![expect(unsafe_code, reason = "the descriptors that poll(2) is given outlive the call")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use netpoll_core::poll::translate::poll as translate;
use netpoll_core::{Event, Mode, PollKey};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, fcntl_getfd};

use crate::sys::call::{retry, retry_errno};
use crate::sys::fd::RDHUP;
use crate::sys::unsupported::refuse_files;
use crate::sys::waker::Waker;
use crate::sys::{Call, Watch, inject};

/// The longest wait: 68 years, which does not overflow when added to the clock.
const LONGEST_WAIT: Duration = Duration::from_secs(i32::MAX as u64);

/// The longest sleep of one call: 24 days, because kernels without ppoll(2) take milliseconds in an `int`.
const LONGEST_SLEEP: Duration = Duration::from_millis(i32::MAX as u64);

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Number of bits of a key's generation that come back with an event: all.
pub const FDSEQ_BITS: u32 = netpoll_core::poll::key::FDSEQ_BITS;

/// A table of descriptors and a waker. All methods take `&self` and may be called from any thread at any
/// time.
#[derive(Debug)]
pub struct Poller {
    table: Mutex<Table>,
    /// The condition that the pipe has been drained.
    drained: Condvar,
    waker: Waker,
    /// The part that fault injection owns; empty in an ordinary build.
    inject: inject::PollerHook,
}

/// The constants and functions of a backend that only tests use.
#[allow(dead_code, reason = "the crate itself does not depend on it")]
impl Poller {
    /// The backend's name.
    pub const NAME: &'static str = "poll";

    /// Says whether each change is reported, with or without a preceding [`arm`](Poller::arm). Here only armed
    /// conditions are, once.
    pub const EDGES: bool = false;

    /// Says whether an error without any other condition is told apart from others.
    pub const ERROR_ALONE: bool = true;
}

impl Poller {
    /// Says whether a short read of a byte stream proves that the next bytes are reported. It does: an armed
    /// condition is reported for as long as it lasts.
    pub const SHORT_IS_ALL: bool = true;

    /// Says whether [`wait_any`](Poller::wait_any) works. Not here: there is no descriptor to poll.
    pub const CAN_WATCH: bool = false;

    /// Sleeps until one of several pollers has events. Not here.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported`.
    pub fn wait_any<'a>(
        _pollers: impl Iterator<Item = &'a Poller> + Clone,
        _timeout: Option<Duration>,
        _each: impl FnMut(bool),
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Creates a poller. The argument has a meaning for epoll only.
    ///
    /// # Errors
    ///
    /// Returns `EMFILE`, `ENFILE` or `ENOMEM`; no descriptor is left open then.
    pub fn init(_probe: bool) -> io::Result<Poller> {
        let waker = Waker::new()?;
        let inject = inject::PollerHook::new(waker.writer())?;
        Ok(Poller { table: Mutex::default(), drained: Condvar::new(), waker, inject })
    }

    /// Registers `fd` under `key` for the conditions of `watch`. The next wait reports the readiness that it has
    /// already. For conditions other than reads and writes files are not refused, because those of `/proc` and
    /// sysfs report changes; a file on a disk never does.
    ///
    /// # Errors
    ///
    /// Returns `EPERM` if readiness has no meaning for the descriptor (a regular file, a directory, a disk);
    /// `EEXIST` if it is open here already.
    pub fn open(&self, fd: BorrowedFd<'_>, key: PollKey, watch: Watch) -> io::Result<()> {
        if watch == Watch::Both {
            refuse_files(fd)?;
        }
        let mut table = self.lock();
        table.insert(fd, key, watch)?;
        if let Err(errno) = self.notify_sleepers(&mut table) {
            // The slot was inserted above, so removing it cannot fail.
            let _ = table.remove(fd);
            return Err(errno.into());
        }
        drop(table);
        self.inject.opened(fd, key);
        Ok(())
    }

    /// Deregisters `fd`. When this returns, no thread is in a poll(2) with it.
    ///
    /// # Errors
    ///
    /// Returns `ENOENT` if it is not open here.
    pub fn close(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.inject.closing(fd);
        let removed = retry_errno(Call::PollerClose, fd, || self.remove(fd));
        Ok(inject::after(Call::PollerClose, fd, removed)?)
    }

    /// Requests the next event of one direction. The next wait, or the one that sleeps now, reports it if the
    /// condition holds already. One call suffices until that event.
    ///
    /// # Errors
    ///
    /// Returns `ENOENT` if the descriptor is not open here under `key`.
    pub fn arm(&self, fd: BorrowedFd<'_>, key: PollKey, mode: Mode) -> io::Result<()> {
        let mut table = self.lock();
        if table.arm(fd, key, mode)? {
            self.notify_sleepers(&mut table)?;
        }
        Ok(())
    }

    /// Fills `events`; sleeps until there are some, a break is seen or the timeout expires. Returns whether a
    /// break was seen that this call consumed.
    ///
    /// | `timeout` | sleeps | a break | a signal |
    /// |---|---|---|---|
    /// | `None` | until something happens | consumed | unseen |
    /// | zero | never | consumed | unseen |
    /// | positive | at least so long, at most 68 years; to the nanosecond where there is ppoll(2), else to the millisecond | consumed | ends it with no events, so that the caller checks the clock |
    ///
    /// # Errors
    ///
    /// Returns the kernel's, none of which a correct process meets (`EINVAL`: more descriptors than the
    /// process may have open). `events` is valid even then.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<bool> {
        events.found.clear();
        let waited = match self.inject.cap_timeout(timeout) {
            Some(Duration::ZERO) => {
                let mut table = self.lock();
                self.look(&mut table, events).map(|()| std::mem::take(&mut table.break_pending))
            }
            timeout => self.sleep(events, timeout.map(|time| Instant::now() + time.min(LONGEST_WAIT))),
        };
        self.inject.alter(&mut events.injected, events.limit, events.found.iter().copied());
        waited
    }

    /// Sends a break: ends the [`wait`](Poller::wait) that runs now, or else the next one. Several breaks before
    /// one wait count as one. May be called from any thread, but not from a signal handler.
    ///
    /// # Errors
    ///
    /// Returns the kernel's, none of which a correct process meets.
    pub fn wake(&self) -> io::Result<()> {
        match retry_errno(Call::Break, self.waker.writer(), || Ok(())) {
            // An injected `EAGAIN` means that the pipe is full, which means that a break is pending; so one
            // is made pending.
            Ok(()) | Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut table = self.lock();
        table.break_pending = true;
        Ok(self.notify_sleepers(&mut table)?)
    }

    /// Returns a descriptor that is readable while a [`wait`](Poller::wait) would return events or a break.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported`: the descriptors are in a table of the process, not behind one of the kernel's.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "poll(2) has no descriptor that stands for others"))
    }

    /// Checks that the descriptors are still open, without checking what they refer to.
    ///
    /// # Errors
    ///
    /// Returns `EBADF` if one was closed by its number.
    pub fn check(&self) -> io::Result<()> {
        fcntl_getfd(&self.waker)?;
        fcntl_getfd(self.waker.writer())?;
        Ok(())
    }

    /// Removes the slot, and waits until no poll(2) has a reference to the open file.
    fn remove(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut table = self.lock();
        table.remove(fd)?;
        self.notify_sleepers(&mut table)?;
        drop(self.wait_until_drained(table));
        Ok(())
    }

    /// Calls poll(2) until there is something to return.
    fn sleep(&self, events: &mut Events, until: Option<Instant>) -> io::Result<bool> {
        loop {
            let mut table = self.wait_until_drained(self.lock());
            if table.break_pending {
                self.look(&mut table, events)?;
                return Ok(std::mem::take(&mut table.break_pending));
            }
            table.fill(events);
            table.sleepers += 1;
            drop(table);
            events.set.push(entry(self.waker.as_fd().as_raw_fd(), PollFlags::IN));
            let polled = self.poll(&mut events.set, until);
            let pipe_ready = events.set.last().is_some_and(|entry| !entry.revents().is_empty());
            let mut table = self.lock();
            table.collect(events);
            // A byte that no sleeper was notified with comes from fault injection, and means that there is
            // something to return.
            let foreign_wakeup = pipe_ready && !table.notified;
            table.notified |= pipe_ready;
            self.leave(&mut table)?;
            let interrupted = polled? == Polled::Interrupted;
            let over = until.is_some_and(|until| interrupted || Instant::now() >= until);
            if table.break_pending || foreign_wakeup || over || !events.found.is_empty() {
                return Ok(std::mem::take(&mut table.break_pending));
            }
        }
    }

    /// Unregisters a sleeper. The last one drains the pipe.
    fn leave(&self, table: &mut Table) -> io::Result<()> {
        table.sleepers -= 1;
        if table.sleepers > 0 || !table.notified {
            return Ok(());
        }
        table.notified = false;
        self.drained.notify_all();
        self.waker.drain().map(|_| ())
    }

    /// Collects the events that there are now. It holds the lock, so `close` waits for it without a
    /// notification.
    fn look(&self, table: &mut Table, events: &mut Events) -> io::Result<()> {
        table.fill(events);
        let polled = retry(Call::PollerWait, self.waker.as_fd(), || poll(&mut events.set, Some(&AT_ONCE)));
        table.collect(events);
        polled?;
        Ok(())
    }

    /// Calls poll(2) once.
    fn poll(&self, set: &mut [PollFd<'_>], until: Option<Instant>) -> io::Result<Polled> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()).min(LONGEST_SLEEP));
        let left =
            left.map(|left| Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ });
        let asked = inject::before(Call::PollerWait, self.waker.as_fd());
        match asked.and_then(|()| poll(set, left.as_ref())) {
            Ok(_) => Ok(Polled::Whole),
            Err(Errno::INTR) => Ok(Polled::Interrupted),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Wakes all sleepers, unless they have been notified already.
    fn notify_sleepers(&self, table: &mut Table) -> Result<(), Errno> {
        if table.sleepers == 0 || table.notified {
            return Ok(());
        }
        self.waker.wake()?;
        table.notified = true;
        Ok(())
    }

    /// Waits until all notified sleepers have left.
    fn wait_until_drained<'a>(&self, table: MutexGuard<'a, Table>) -> MutexGuard<'a, Table> {
        self.drained.wait_while(table, |table| table.notified).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Only growing the table can panic under the lock, and that leaves the table intact.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way in which one poll(2) ended.
#[derive(PartialEq, Eq)]
enum Polled {
    /// It ended by events or the timeout.
    Whole,
    /// It ended by a signal.
    Interrupted,
}

/// The buffer for the events of one wait, created once and used by every wait of its owner.
pub struct Events {
    /// The argument of poll(2); empty between two waits.
    set: Vec<PollFd<'static>>,
    /// The same entries, as the table knows them.
    asked: Vec<PollEntry>,
    found: Vec<Event>,
    /// A number in 1..=capacity.
    limit: usize,
    capacity: usize,
    /// The events that fault injection substitutes; empty in an ordinary build.
    injected: inject::EventBatch,
}

impl Events {
    /// The largest possible capacity.
    pub const MAX_CAPACITY: usize = 1 << 16;

    /// Creates a buffer for `capacity` events, clamped to 1..=[`MAX_CAPACITY`](Events::MAX_CAPACITY).
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, Events::MAX_CAPACITY);
        Events {
            set: Vec::new(),
            asked: Vec::new(),
            found: Vec::with_capacity(capacity),
            limit: capacity,
            capacity,
            injected: inject::EventBatch::default(),
        }
    }

    /// Limits later waits to `limit` events, clamped to 1..=capacity. Events beyond that stay armed for the
    /// wait after.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.clamp(1, self.capacity);
    }

    /// Returns how many events the last wait returned, the break not counted.
    pub fn len(&self) -> usize {
        self.injected.len().unwrap_or(self.found.len())
    }

    /// Returns whether the last wait returned no events.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns event `index` of the last wait.
    ///
    /// # Panics
    ///
    /// Panics unless `index < len()`.
    pub fn get(&self, index: usize) -> Event {
        self.injected.get(index).unwrap_or_else(|| self.found[index])
    }

    /// Returns the events of the last wait in the order of their descriptors' numbers. The order starts at
    /// another number after a wait that had more events than the limit.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Event> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A registered descriptor, and the conditions that the next poll(2) asks for.
#[derive(Clone, Copy, Debug)]
struct Slot {
    key: PollKey,
    read: bool,
    write: bool,
    /// Set while the end of the peer is still to be reported.
    peer: bool,
    watch: Watch,
}

impl Slot {
    /// Returns the bits to ask for, or `None` if there are none: poll(2) would report a hang-up regardless,
    /// again and again.
    fn interest(&self) -> Option<PollFlags> {
        match self.watch {
            Watch::Both => {}
            Watch::Priority => return self.read.then_some(PollFlags::PRI),
            Watch::Error => return self.read.then(PollFlags::empty),
        }
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.read);
        flags.set(PollFlags::OUT, self.write);
        flags.set(RDHUP, self.read || self.peer);
        (self.read || self.write || self.peer).then_some(flags)
    }

    /// Disarms the conditions that an event reports until the next `arm`. Returns false if another thread has
    /// reported all of them in the meantime.
    fn disarm(&mut self, event: &Event) -> bool {
        let gone = event.flags.read_hup || event.flags.hup || event.flags.err;
        let news = self.read && event.modes.read || self.write && event.modes.write || self.peer && gone;
        self.read &= !event.modes.read;
        self.write &= !event.modes.write;
        self.peer &= !gone;
        news
    }
}

/// The table's record of one entry of the array: the descriptor and the bits that were asked for.
#[derive(Clone, Copy, Debug)]
struct PollEntry {
    number: RawFd,
    key: PollKey,
    flags: PollFlags,
}

/// The descriptors by number. The kernel assigns the smallest free number, so there are few gaps.
#[derive(Debug, Default)]
struct Table {
    slots: Vec<Option<Slot>>,
    /// The number at which the next array begins, so that no descriptor starves behind those in front.
    first: usize,
    /// Number of threads in a poll(2) that may sleep.
    sleepers: usize,
    /// Set once the pipe has been written, so that all sleepers are about to leave.
    notified: bool,
    /// Set while a break is pending.
    break_pending: bool,
}

impl Table {
    fn insert(&mut self, fd: BorrowedFd<'_>, key: PollKey, watch: Watch) -> Result<(), Errno> {
        let index = index(fd);
        if self.slots.len() <= index {
            self.slots.resize(index + 1, None);
        }
        match &mut self.slots[index] {
            Some(_) => Err(Errno::EXIST),
            free => {
                let both = watch == Watch::Both;
                *free = Some(Slot { key, read: true, write: both, peer: both, watch });
                Ok(())
            }
        }
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let slot = self.slots.get_mut(index(fd)).and_then(Option::take);
        slot.map(|_| ()).ok_or(Errno::NOENT)
    }

    /// Arms one direction. Returns true if it was not armed.
    fn arm(&mut self, fd: BorrowedFd<'_>, key: PollKey, mode: Mode) -> Result<bool, Errno> {
        let slot = self.slots.get_mut(index(fd)).and_then(Option::as_mut);
        let slot = slot.filter(|slot| slot.key == key).ok_or(Errno::NOENT)?;
        let armed = match mode {
            Mode::Read => &mut slot.read,
            Mode::Write => &mut slot.write,
        };
        Ok(!std::mem::replace(armed, true))
    }

    /// Fills the array for one poll(2).
    fn fill(&mut self, events: &mut Events) {
        self.first = if self.first < self.slots.len() { self.first } else { 0 };
        let (front, back) = self.slots.split_at(self.first);
        let numbered = (self.first..).zip(back).chain((0..).zip(front));
        for (number, slot) in numbered {
            let Some((slot, flags)) = slot.as_ref().and_then(|slot| Some((slot, slot.interest()?))) else {
                continue;
            };
            let number = number as RawFd;
            events.asked.push(PollEntry { number, key: slot.key, flags });
            events.set.push(entry(number, flags));
        }
    }

    /// Converts the results of poll(2) to events, up to the limit, and clears the array. Descriptors beyond
    /// the limit stay armed.
    fn collect(&mut self, events: &mut Events) {
        let asked = std::mem::take(&mut events.asked);
        for (asked, entry) in asked.iter().zip(&events.set) {
            let found = entry.revents();
            if found.is_empty() {
                continue;
            }
            if events.found.len() == events.limit {
                self.first = asked.number as usize;
                break;
            }
            let event = translate::translate(asked.key, portable(asked.flags), portable(found));
            // The number may belong to another descriptor by now.
            let slot = self.slots.get_mut(asked.number as usize).and_then(Option::as_mut);
            if slot.is_some_and(|slot| slot.key == asked.key && slot.disarm(&event)) {
                events.found.push(event);
            }
        }
        events.asked = asked;
        events.asked.clear();
        events.set.clear();
    }
}

fn index(fd: BorrowedFd<'_>) -> usize {
    // A borrowed descriptor is never negative.
    fd.as_raw_fd() as usize
}

/// Returns an entry that outlives the borrow that it is made of: until the array is cleared, which every wait
/// does before it lets a [`close`](super::Poller::close) continue.
fn entry(number: RawFd, flags: PollFlags) -> PollFd<'static> {
    // SAFETY: `number` is that of an open descriptor for as long as the entry exists. It is in the table from
    // `open` to `close`, and its owner keeps it open in between (INV-7). `close` removes it and returns only
    // when no thread is in a poll(2) whose array names it; those arrays are clear by then. The pipe is open
    // for as long as the poller, which every wait borrows.
    PollFd::from_borrowed_fd(unsafe { BorrowedFd::borrow_raw(number) }, flags)
}

/// Converts the kernel's bits to the numbers of [`translate`].
fn portable(flags: PollFlags) -> u16 {
    let bits = [
        (PollFlags::IN, translate::IN),
        (PollFlags::PRI, translate::PRI),
        (PollFlags::OUT, translate::OUT),
        (PollFlags::ERR, translate::ERR),
        (PollFlags::HUP, translate::HUP),
        (PollFlags::NVAL, translate::NVAL),
        (RDHUP, translate::RDHUP),
    ];
    let there = |(flag, bit): (PollFlags, u16)| if flags.intersects(flag) { bit } else { 0 };
    bits.into_iter().map(there).sum()
}
