//! The kqueue backend: macOS and its kin, FreeBSD, DragonFly, NetBSD, OpenBSD.
//!
//! A descriptor has two filters, one for each direction, added in one call with `EV_CLEAR`: edges, as with epoll. The key
//! is kept by the kernel in the filters' `udata`. The break is a filter that a call triggers (`EVFILT_USER`), or a pipe
//! where there is none.
//!
//! # What is known of these kernels
//!
//! - close(2) removes the filters of a number, and a duplicate has none. [`Poller::close`] removes them all the same: a
//!   number that was lent, or given away, lives on.
//! - A pipe whose reader is gone is refused by the write filter (`EPIPE`); the next write says the same.
//! - A wait may fail with `ETIMEDOUT` on macOS (golang/go#59679), and with `EINVAL` for more than 1e8 seconds.
//! - A filter that is added twice is changed in silence, so the numbers are kept in a set for the error that there should
//!   be. Only `open` and `close` look at it.

#[path = "kqueue/events.rs"]
mod events;
mod pollable;

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netpoll_core::poll_key::{Mode, PollKey};
use rustix::event::Timespec;
use rustix::event::kqueue::{Event, EventFilter, EventFlags, kevent_timespec, kqueue};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd, retry_on_intr};

use super::kqueue_break::Break;
use super::translate::kqueue::{half, whole};
use super::{Call, Watch, door};
pub use events::Events;
use pollable::refuse_files;

/// Bits of a key's generation that come back with an event.
pub const FDSEQ_BITS: u32 = if WHOLE { netpoll_core::poll_key::FDSEQ_BITS } else { half::FDSEQ_BITS };

/// The kernel keeps a whole key.
const WHOLE: bool = usize::BITS >= 64;

/// The longest wait that is asked of the kernel, eleven days.
const LONGEST_WAIT: Duration = Duration::from_secs(1_000_000);

/// Does not sleep.
pub(super) const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// One kqueue and its break. All methods take `&self`; any thread may call them at any time.
#[derive(Debug)]
pub struct Poller {
    kqueue: OwnedFd,
    waker: Break,
    /// The numbers that have filters.
    open: Mutex<HashSet<RawFd>>,
    /// What the door keeps of a poller: nothing, in an ordinary build.
    door: door::Watch,
}

impl Poller {
    /// Which one it is.
    pub const NAME: &'static str = "kqueue";

    /// Each change is reported, whether anybody has armed for it or not.
    pub const EDGES: bool = true;

    /// A read that came back short may have stopped at an urgent mark, with bytes behind it: the filters do not tell of
    /// marks, and nothing that was there before is reported again. So the next read has to make its call.
    pub const SHORT_IS_ALL: bool = false;

    /// An error is an end of a direction here, like any other.
    pub const ERROR_ALONE: bool = false;

    /// Makes a poller.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE` or `ENOMEM`; no descriptor is left open then.
    pub fn init() -> io::Result<Poller> {
        Poller::init_with(true)
    }

    /// As [`init`](Poller::init). What epoll may be told not to try, this backend has no use for.
    ///
    /// # Errors
    ///
    /// As [`init`](Poller::init).
    pub fn init_with(_probe: bool) -> io::Result<Poller> {
        let queue = make()?;
        let waker = Break::new(queue.as_fd())?;
        let door = door::Watch::new(waker.writer(queue.as_fd()))?;
        Ok(Poller { kqueue: queue, waker, open: Mutex::default(), door })
    }

    /// Watches `fd` in both directions under `key`. What it is ready for already is reported by the next wait.
    ///
    /// # Errors
    ///
    /// `EPERM` when waiting for the descriptor has no meaning (a regular file, a directory, a disk), `EEXIST` when it is
    /// open here already, `ENOMEM` when the kernel has no room, `ENOSPC` when the key does not fit (the 65,536th
    /// descriptor at a time, on a 32-bit machine).
    pub fn open(&self, fd: BorrowedFd<'_>, key: PollKey) -> io::Result<()> {
        self.open_for(fd, key, Watch::Both)
    }

    /// As [`open`](Poller::open), for something else than reads and writes: kqueue has filters of its own for that, which
    /// differ from system to system.
    ///
    /// # Errors
    ///
    /// As [`open`](Poller::open); `Unsupported` for all but reads and writes.
    pub fn open_for(&self, fd: BorrowedFd<'_>, key: PollKey, watch: Watch) -> io::Result<()> {
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
            // The read filter comes first and is there; the first write will say that nobody reads.
            Ok(()) | Err(Errno::PIPE) => {}
            // What can only be read, such as another kqueue, has no filter for writes.
            Err(Errno::INVAL) if self.only_read(fd, data).is_ok() => {}
            Err(errno) => {
                self.forget(fd);
                return Err(errno.into());
            }
        }
        open.insert(fd.as_raw_fd());
        drop(open);
        self.door.opened(fd, key);
        Ok(())
    }

    /// Looks whether the descriptor is open still, whatever it names by now.
    ///
    /// # Errors
    ///
    /// `EBADF` if it was closed by its number.
    pub fn check(&self) -> io::Result<()> {
        fcntl_getfd(&self.kqueue)?;
        Ok(())
    }

    /// Stops watching `fd`. Events that another thread's `wait` copied out before are still on their way; their
    /// keys are of an old generation once the slot is freed.
    ///
    /// # Errors
    ///
    /// `ENOENT` when it is not open here.
    pub fn close(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.door.closing(fd);
        let deleted = retry_on_intr(|| {
            door::ask(Call::PollerClose, fd)?;
            let open = self.lock().remove(&fd.as_raw_fd());
            if open { Ok(self.forget(fd)) } else { Err(Errno::NOENT) }
        });
        Ok(door::told(Call::PollerClose, fd, deleted)?)
    }

    /// Nothing, on an edge-triggered kernel: `open` has armed both directions for good.
    ///
    /// # Errors
    ///
    /// None here; a level-triggered backend asks the kernel again.
    #[inline(always)]
    pub fn arm(&self, _fd: BorrowedFd<'_>, _key: PollKey, _mode: Mode) -> io::Result<()> {
        Ok(())
    }

    /// Fills `events`, sleeping until there are some, a break is seen or the timeout is over. Returns true iff a
    /// break was seen and this call consumed it.
    ///
    /// | `timeout` | sleeps | a break | a signal |
    /// |---|---|---|---|
    /// | `None` | until something happens | consumed | unseen |
    /// | zero | never | left for the blocking caller, returns false | unseen |
    /// | positive | at least so long, to the nanosecond; at most 1,000,000 seconds, after which the caller looks at the clock and comes again | consumed | ends it with no events, for the same reason |
    ///
    /// A break takes one of the places of `events`, so that a wait limited to one event may find nothing else.
    ///
    /// # Errors
    ///
    /// The kernel's, none of which a sound process meets. `events` is valid even then and holds all that was taken
    /// from the kernel: after an error in consuming the break there may be some, and their edges do not come again.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<bool> {
        let waited = self.wait_kernel(events, self.door.shorten(timeout), timeout != Some(Duration::ZERO));
        self.door.disturb(&mut events.disturbed, events.limit, events.found.iter().copied());
        waited
    }

    /// The break: the blocking [`wait`](Poller::wait) that runs now ends, or else the next one does at once.
    /// Several before one wait count as one. Safe from any thread; callers save the call by their break flag.
    ///
    /// # Errors
    ///
    /// The kernel's, none of which a sound process meets.
    pub fn wake(&self) -> io::Result<()> {
        self.waker.trigger(self.kqueue.as_fd())
    }

    /// The kernel's part of [`wait`](Poller::wait): `blocking` says that a break is this call's to consume.
    fn wait_kernel(
        &self,
        events: &mut Events,
        timeout: Option<Duration>,
        blocking: bool,
    ) -> io::Result<bool> {
        events.found.clear();
        let timeout = timeout.map(|time| time.min(LONGEST_WAIT));
        let timeout =
            timeout.map(|time| Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos() as _ });
        let room = &mut events.buffer[..events.limit];
        let filled = loop {
            let asked = door::ask(Call::PollerWait, self.kqueue.as_fd());
            // SAFETY: no number is handed over here. Those with a filter are open until `close` has removed it, since
            // their owners close them later (INV-7).
            match asked
                .and_then(|()| unsafe { kevent_timespec(&self.kqueue, &[], &mut *room, timeout.as_ref()) })
            {
                Ok(filled) => break filled,
                // The caller looks at the clock; who waits without end, or not at all, has no use for one.
                Err(Errno::INTR | Errno::TIMEDOUT) if blocking && timeout.is_some() => break 0,
                Err(Errno::INTR | Errno::TIMEDOUT) => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        if events.take(filled) { self.waker.seen(self.kqueue.as_fd(), blocking) } else { Ok(false) }
    }

    /// Adds the one filter of a descriptor that nobody writes to.
    fn only_read(&self, fd: BorrowedFd<'_>, data: usize) -> Result<(), Errno> {
        let [read, _] = both(fd, EventFlags::ADD | EventFlags::CLEAR, data);
        change(self.kqueue.as_fd(), &[read])
    }

    /// Removes what filters there are.
    fn forget(&self, fd: BorrowedFd<'_>) {
        for filter in both(fd, EventFlags::DELETE, 0) {
            // One that was never added, or went with the number, is as good as removed.
            let _ = change(self.kqueue.as_fd(), &[filter]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<RawFd>> {
        // Growing the set is all that may panic under the lock, and it leaves the set whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A kqueue that no child gets.
pub(super) fn make() -> io::Result<OwnedFd> {
    let queue = retry_on_intr(|| {
        door::ask_new(Call::PollerInit)?;
        kqueue()
    })?;
    // There is no call that makes it so at once. A process that is started in between gets a number of no use: a kqueue is
    // not inherited.
    fcntl_setfd(&queue, FdFlags::CLOEXEC)?;
    Ok(queue)
}

/// The two filters of a descriptor, to be added or removed.
fn both(fd: BorrowedFd<'_>, flags: EventFlags, data: usize) -> [Event; 2] {
    let number = fd.as_raw_fd();
    [EventFilter::Read(number), EventFilter::Write(number)]
        .map(|filter| Event::new(filter, flags, udata(data)))
}

/// Changes filters without waiting for events; the first refusal ends it.
pub(super) fn change(kqueue: BorrowedFd<'_>, changes: &[Event]) -> Result<(), Errno> {
    let none: &mut [Event] = &mut [];
    // SAFETY: the caller borrows the number in the changes, and whoever adds a filter for it keeps it open until `close`
    // has removed that (INV-7).
    match unsafe { kevent_timespec(kqueue, changes, none, Some(&AT_ONCE)) } {
        // kqueue(2): when a signal interrupts the call, all changes have been made.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The break's place among the keys: that of [`PollKey::BREAK`], however many bits there are.
pub(super) const BREAK: usize = usize::MAX;

/// An integer in the place of a pointer; it points nowhere.
pub(super) fn udata(data: usize) -> *mut std::ffi::c_void {
    std::ptr::without_provenance_mut(data)
}

fn pack(key: PollKey) -> Option<usize> {
    let data = if WHOLE { whole::pack(key) } else { half::pack(key) };
    data.and_then(|data| usize::try_from(data).ok())
}

fn unpack(data: usize) -> PollKey {
    if WHOLE { whole::unpack(data as u64) } else { half::unpack(data as u64) }
}
