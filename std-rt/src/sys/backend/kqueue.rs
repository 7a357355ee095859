//! The kqueue backend: macOS and its relatives, FreeBSD, DragonFly, NetBSD, OpenBSD.
//!
//! A descriptor has one filter for each direction, both added in one call with `EV_CLEAR`: edges, as with
//! epoll. The kernel keeps the key in the filters' `udata`. The waker is a user filter (`EVFILT_USER`), or a
//! pipe where there is none.
//!
//! # Peculiarities of these kernels
//!
//! - close(2) removes the filters of a descriptor, but not those of its duplicates. [`Poller::close`] removes
//!   them explicitly, because a descriptor that was lent or given away stays open.
//! - The write filter refuses a pipe whose reader is gone (`EPIPE`); the next write returns the same error.
//! - A wait may fail with `ETIMEDOUT` on macOS (golang/go#59679), and with `EINVAL` for more than 1e8
//!   seconds.
//! - Adding a filter twice changes it silently. So a set keeps the open descriptors, to return the error that
//!   the contract requires. Only `open` and `close` access it.
//!
//! **INV-302**: *`udata` is an integer in a pointer's place: it is never dereferenced, by the kernel or by
//! this crate.*

#![expect(
    unsafe_code,
    reason = "kevent(2) takes descriptors that the caller keeps open, and integers as pointers"
)]

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netpoll_core::poll::translate::kqueue::{self as translate, half, whole};
use netpoll_core::{Event, Mode, PollKey};
use rustix::event::Timespec;
use rustix::event::kqueue::{Event as Record, EventFilter, EventFlags, kevent_timespec, kqueue};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};

use crate::sys::call::{retry_errno, retry_new};
use crate::sys::unsupported::refuse_files;
use crate::sys::waker::Waker;
use crate::sys::{Call, Watch, inject};

// The numbers of the translation table are the kernel's.
const _: () =
    assert!(EventFlags::EOF.bits() == translate::EOF && EventFlags::ERROR.bits() == translate::ERROR);

/// Number of bits of a key's generation that come back with an event.
pub const FDSEQ_BITS: u32 = if WHOLE { netpoll_core::poll::key::FDSEQ_BITS } else { half::FDSEQ_BITS };

/// Says whether the kernel keeps a whole key.
const WHOLE: bool = usize::BITS >= 64;

/// The longest wait that is requested from the kernel: eleven days.
const LONGEST_WAIT: Duration = Duration::from_secs(1_000_000);

/// The timeout of a call that must not sleep.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A kqueue and its waker. All methods take `&self` and may be called from any thread at any time.
#[derive(Debug)]
pub struct Poller {
    kqueue: OwnedFd,
    waker: Waker,
    /// The descriptors that have filters.
    open: Mutex<HashSet<RawFd>>,
    /// The part that fault injection owns; empty in an ordinary build.
    inject: inject::PollerHook,
}

/// The constants and functions of a backend that only tests use.
#[allow(dead_code, reason = "the crate itself does not depend on it")]
impl Poller {
    /// The backend's name.
    pub const NAME: &'static str = "kqueue";

    /// Says whether each change is reported, with or without a preceding [`arm`](Poller::arm).
    pub const EDGES: bool = true;

    /// Says whether an error without any other condition is told apart from others. Not here: an error ends a
    /// direction like EOF.
    pub const ERROR_ALONE: bool = false;
}

impl Poller {
    /// Says whether a short read of a byte stream proves that the next bytes are reported. Not here: the
    /// read may have stopped at an urgent mark with bytes behind it, the filters do not report marks, and
    /// nothing that was there before is reported again. So the next read must make its call.
    pub const SHORT_IS_ALL: bool = false;

    /// Says whether [`wait_any`](Poller::wait_any) works. Not here: a kqueue can be polled, but not every
    /// system rounds the time of such a wait to less than a millisecond.
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
        let queue = make()?;
        let waker = Waker::new(queue.as_fd())?;
        let inject = inject::PollerHook::new(waker.writer(queue.as_fd()))?;
        Ok(Poller { kqueue: queue, waker, open: Mutex::default(), inject })
    }

    /// Registers `fd` under `key` for both directions. The next wait reports the readiness that it has
    /// already. The other conditions of `watch` have filters that differ from system to system and are not
    /// implemented.
    ///
    /// # Errors
    ///
    /// Returns `EPERM` if readiness has no meaning for the descriptor (a regular file, a directory, a disk);
    /// `EEXIST` if it is open here already; `ENOMEM` if the kernel has no memory; `ENOSPC` if the key does
    /// not fit (the 65,536th simultaneous descriptor on a 32-bit machine); `Unsupported` for all but
    /// [`Watch::Both`].
    pub fn open(&self, fd: BorrowedFd<'_>, key: PollKey, watch: Watch) -> io::Result<()> {
        if watch != Watch::Both {
            return Err(io::ErrorKind::Unsupported.into());
        }
        refuse_files(fd)?;
        let data = pack(key).ok_or(Errno::NOSPC)?;
        let mut open = self.lock();
        if open.contains(&fd.as_raw_fd()) {
            return Err(Errno::EXIST.into());
        }
        match change(self.kqueue.as_fd(), &both(fd, EventFlags::ADD | EventFlags::CLEAR, data)) {
            // The read filter comes first and was added; the first write will return `EPIPE`.
            Ok(()) | Err(Errno::PIPE) => {}
            // A descriptor that can only be read, such as another kqueue, has no write filter.
            Err(Errno::INVAL) if self.only_read(fd, data).is_ok() => {}
            Err(errno) => {
                self.forget(fd);
                return Err(errno.into());
            }
        }
        open.insert(fd.as_raw_fd());
        drop(open);
        self.inject.opened(fd, key);
        Ok(())
    }

    /// Returns a descriptor that is readable while a [`wait`](Poller::wait) would return events or a break.
    ///
    /// # Errors
    ///
    /// Returns none here. The poll(2) backend has no such descriptor.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.kqueue.as_fd())
    }

    /// Checks that the descriptor is still open, without checking what it refers to.
    ///
    /// # Errors
    ///
    /// Returns `EBADF` if it was closed by its number.
    pub fn check(&self) -> io::Result<()> {
        fcntl_getfd(&self.kqueue)?;
        Ok(())
    }

    /// Deregisters `fd`. Another thread's `wait` may still return events that it copied out before; their
    /// keys have an old generation once the slot is freed.
    ///
    /// # Errors
    ///
    /// Returns `ENOENT` if it is not open here.
    pub fn close(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.inject.closing(fd);
        let deleted = retry_errno(Call::PollerClose, fd, || {
            let open = self.lock().remove(&fd.as_raw_fd());
            if open { Ok(self.forget(fd)) } else { Err(Errno::NOENT) }
        });
        Ok(inject::after(Call::PollerClose, fd, deleted)?)
    }

    /// Does nothing on an edge-triggered kernel: `open` has armed both directions permanently.
    ///
    /// # Errors
    ///
    /// Returns none here. A level-triggered backend calls the kernel.
    #[inline(always)]
    pub fn arm(&self, _fd: BorrowedFd<'_>, _key: PollKey, _mode: Mode) -> io::Result<()> {
        Ok(())
    }

    /// Fills `events`; sleeps until there are some, a break is seen or the timeout expires. Returns whether a
    /// break was seen that this call consumed.
    ///
    /// | `timeout` | sleeps | a break | a signal |
    /// |---|---|---|---|
    /// | `None` | until something happens | consumed | unseen |
    /// | zero | never | consumed | unseen |
    /// | positive | at least so long, to the nanosecond; at most 1,000,000 seconds, after which the caller checks the clock and calls again | consumed | ends it with no events, for the same reason |
    ///
    /// A break takes one slot of `events`, so a wait limited to one event may return nothing else.
    ///
    /// # Errors
    ///
    /// Returns the kernel's, none of which a correct process meets. `events` is valid even then and holds
    /// everything that was taken from the kernel: after an error in consuming the break it may hold events
    /// whose edges do not come again.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<bool> {
        let waited = self.wait_kernel(events, self.inject.cap_timeout(timeout));
        self.inject.alter(&mut events.injected, events.limit, events.found.iter().copied());
        waited
    }

    /// Sends a break: ends the [`wait`](Poller::wait) that runs now, or else the next one. Several breaks before
    /// one wait count as one. May be called from any thread; callers use their break flag to
    /// avoid redundant calls.
    ///
    /// # Errors
    ///
    /// Returns the kernel's, none of which a correct process meets.
    pub fn wake(&self) -> io::Result<()> {
        self.waker.wake(self.kqueue.as_fd())
    }

    /// Makes the kernel's part of [`wait`](Poller::wait).
    fn wait_kernel(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<bool> {
        events.found.clear();
        let is_limited = timeout.is_some_and(|time| !time.is_zero());
        let timeout = timeout.map(|time| time.min(LONGEST_WAIT));
        let timeout =
            timeout.map(|time| Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos() as _ });
        let slots = &mut events.buffer[..events.limit];
        let filled = loop {
            let asked = inject::before(Call::PollerWait, self.kqueue.as_fd());
            // SAFETY: the change list is empty, so no descriptor is passed. Descriptors with a filter stay
            // open until `close` has removed it, because their owner closes them only after that (INV-7).
            match asked
                .and_then(|()| unsafe { kevent_timespec(&self.kqueue, &[], &mut *slots, timeout.as_ref()) })
            {
                Ok(filled) => break filled,
                // The caller checks the clock. A wait without a timeout, or with a zero one, needs no clock
                // and is repeated.
                Err(Errno::INTR | Errno::TIMEDOUT) if is_limited => break 0,
                Err(Errno::INTR | Errno::TIMEDOUT) => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        if events.take(filled) { self.waker.consume() } else { Ok(false) }
    }

    /// Adds the read filter alone, for a descriptor that cannot be written.
    fn only_read(&self, fd: BorrowedFd<'_>, data: usize) -> Result<(), Errno> {
        let [read, _] = both(fd, EventFlags::ADD | EventFlags::CLEAR, data);
        change(self.kqueue.as_fd(), &[read])
    }

    /// Removes the filters of a descriptor, as far as it has them.
    fn forget(&self, fd: BorrowedFd<'_>) {
        for filter in both(fd, EventFlags::DELETE, 0) {
            // The filter may never have been added, or have been removed by close(2).
            let _ = change(self.kqueue.as_fd(), &[filter]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<RawFd>> {
        // Only growing the set can panic under the lock, and that leaves the set intact.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Creates a kqueue that is close-on-exec.
fn make() -> io::Result<OwnedFd> {
    let queue = retry_new(Call::PollerInit, || kqueue())?;
    // There is no call that sets the flag at creation. A child that is spawned in between gets a useless
    // number: a kqueue is not inherited.
    fcntl_setfd(&queue, FdFlags::CLOEXEC)?;
    Ok(queue)
}

/// Returns the two filters of a descriptor, to be added or removed.
fn both(fd: BorrowedFd<'_>, flags: EventFlags, data: usize) -> [Record; 2] {
    let number = fd.as_raw_fd();
    [EventFilter::Read(number), EventFilter::Write(number)]
        .map(|filter| Record::new(filter, flags, udata(data)))
}

/// Changes filters without waiting for events; stops at the first refusal.
pub fn change(kqueue: BorrowedFd<'_>, changes: &[Record]) -> Result<(), Errno> {
    let none: &mut [Record] = &mut [];
    // SAFETY: each descriptor named in the changes is borrowed by the caller, so it is open now. It stays
    // open until `close` has removed its filters, because its owner closes it only after that (INV-7). The
    // event list is empty.
    match unsafe { kevent_timespec(kqueue, changes, none, Some(&AT_ONCE)) } {
        // kqueue(2): an interrupted call has made all its changes.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The break's value among the keys: that of [`PollKey::BREAK`], whatever the width.
pub const BREAK: usize = usize::MAX;

/// Returns the pointer that carries an integer; it must not be dereferenced (INV-302).
pub fn udata(data: usize) -> *mut std::ffi::c_void {
    std::ptr::without_provenance_mut(data)
}

fn pack(key: PollKey) -> Option<usize> {
    let data = if WHOLE { whole::pack(key) } else { half::pack(key) };
    data.and_then(|data| usize::try_from(data).ok())
}

fn unpack(data: usize) -> PollKey {
    if WHOLE { whole::unpack(data as u64) } else { half::unpack(data as u64) }
}

/// The buffer for the events of one wait, created once and used by every wait of its owner.
pub struct Events {
    /// The kernel's records: as long as the capacity, and meaningful only within a wait.
    buffer: Vec<Record>,
    found: Vec<Event>,
    /// A number in 1..=capacity.
    limit: usize,
    /// The events that fault injection substitutes; empty in an ordinary build.
    injected: inject::EventBatch,
}

// SAFETY: the only field that is not `Send` by itself is the kernel's records, because each has a pointer.
// That pointer is an integer that is never dereferenced (INV-302), so another thread may own it.
unsafe impl Send for Events {}

// SAFETY: as for `Send`; and through a shared reference nothing is written.
unsafe impl Sync for Events {}

impl Events {
    /// The largest possible capacity.
    pub const MAX_CAPACITY: usize = 1 << 16;

    /// Creates a buffer for `capacity` events, clamped to 1..=[`MAX_CAPACITY`](Events::MAX_CAPACITY).
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, Events::MAX_CAPACITY);
        let empty = Record::new(EventFilter::Read(-1), EventFlags::empty(), udata(0));
        Events {
            buffer: vec![empty; capacity],
            found: Vec::with_capacity(capacity),
            limit: capacity,
            injected: inject::EventBatch::default(),
        }
    }

    /// Limits later waits to `limit` events, clamped to 1..=capacity. Events beyond that stay with the kernel
    /// for the wait after.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.clamp(1, self.buffer.len());
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

    /// Returns the events of the last wait in the kernel's order. The two directions of a descriptor are
    /// separate events.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Event> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Translates the first `filled` records; returns whether the break is among them.
    fn take(&mut self, filled: usize) -> bool {
        let mut broken = false;
        for record in &self.buffer[..filled] {
            let data = record.udata().addr();
            if data == BREAK {
                broken = true;
                continue;
            }
            let filter = match record.filter() {
                EventFilter::Read(_) => translate::READ,
                EventFilter::Write(_) => translate::WRITE,
                // No other filter is ever added.
                _ => continue,
            };
            self.found.push(translate::translate(unpack(data), filter, record.flags().bits()));
        }
        broken
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

pub mod signals {
    //! Signals as events of a kqueue of their own, which the poller's kqueue watches like any descriptor.
    //! Each listener has one, because a kqueue has only one filter for a signal.
    //!
    //! The filter counts each signal sent to the process, independent of its disposition: whatever handler
    //! there is, and even if the signal is ignored or blocked.
    //!
    //! **INV-303**: *[`watch`] is called with a number that sigaction(2) has accepted: that of a signal.*

    use std::ffi::c_int;
    use std::io;
    use std::os::fd::{BorrowedFd, OwnedFd};

    use rustix::event::kqueue::{Event, EventFilter, EventFlags, kevent_timespec};
    use rustix::io::Errno;
    use rustix::process::Signal;

    use super::{AT_ONCE, change, make, udata};
    use crate::sys::Call;
    use crate::sys::call::retry;

    /// The handler's end of a signal source, which has nothing to do here.
    #[derive(Debug)]
    pub struct SignalWriter;

    impl SignalWriter {
        /// Does nothing: the kernel notifies the listener.
        pub fn notify(&self) {}
    }

    /// Creates the descriptor that becomes readable when a signal arrives, a kqueue, and the handler's end of
    /// it.
    ///
    /// # Errors
    ///
    /// Returns `EMFILE`, `ENFILE` or `ENOMEM`.
    pub fn new_source() -> io::Result<(OwnedFd, SignalWriter)> {
        Ok((make()?, SignalWriter))
    }

    /// Adds the filter of a signal, which counts its arrivals from now on. `number` must have a handler.
    pub fn watch(source: BorrowedFd<'_>, number: c_int) -> io::Result<()> {
        // SAFETY: `number` is that of a signal, because sigaction(2) has accepted it (INV-303). The value
        // only goes to the kernel.
        let signal = unsafe { Signal::from_raw_unchecked(number) };
        let filter = EventFilter::Signal { signal, times: 0 };
        retry(Call::PollerOpen, source, || Ok(()))?;
        Ok(change(source, &[Event::new(filter, EventFlags::ADD | EventFlags::CLEAR, udata(0))])?)
    }

    /// Consumes the event; any number of signals that arrived count as one.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if no signal has arrived.
    pub fn drain(source: BorrowedFd<'_>) -> io::Result<()> {
        let mut event = [Event::new(EventFilter::Read(-1), EventFlags::empty(), udata(0))];
        let taken = retry(Call::PollerWait, source, || {
            // SAFETY: the change list is empty, and this kqueue has no filter of a descriptor, so none must
            // be kept open.
            unsafe { kevent_timespec(source, &[], &mut event[..], Some(&AT_ONCE)) }
        })?;
        if taken > 0 { Ok(()) } else { Err(Errno::AGAIN.into()) }
    }
}
