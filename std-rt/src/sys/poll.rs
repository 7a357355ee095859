//! The poll(2) backend: any POSIX system.
//!
//! A table holds the watched descriptors by their numbers. A wait writes the armed ones into an array and gives that to
//! poll(2), which is **level-triggered**: what is there is reported as long as it is there. So a direction is asked for
//! once: an event disarms it, and [`Poller::arm`] arms it again for a task that has just parked. `open` arms both
//! directions, so that what is there from the start is reported, as an edge would be. The end of the peer is asked for
//! until it has been seen once, whether anybody waits or not (where there is `POLLRDHUP`; elsewhere it is found by who
//! waits).
//!
//! # What it costs
//!
//! Each wait looks at every watched descriptor, here and in the kernel: about 20 ns a descriptor for the array, and as
//! much again or more for the kernel's part. That is right for a few thousand. When a task parks while another thread is
//! asleep in poll(2), that thread is woken to take the new interest in.
//!
//! # What wakes a sleeper
//!
//! | what | the table says | who wakes it | it |
//! |---|---|---|---|
//! | an event | | the kernel | returns the event |
//! | a break | `broken` | [`Poller::wake`], by the pipe | returns true |
//! | an interest that its array lacks | the slot | [`Poller::arm`], [`Poller::open`], by the pipe | makes a new array, sleeps on |
//! | a descriptor that is closed | no slot | [`Poller::close`], by the pipe, which waits for it | the same |
//!
//! `close` waits since poll(2) holds on to the open file: without that the peer would not be told, and a port not freed,
//! before the sleeper happened to wake. One byte wakes them all: `kicked` says that it is in the pipe. The last one out
//! reads it, and nobody goes to sleep before.
//!
//! # Limits
//!
//! A condition that is permanent and that no call takes away makes who waits spin: an error queue (`IP_RECVERR`, time
//! stamps) that nobody reads, a call that says `WouldBlock` though the kernel is ready.

#[path = "poll/events.rs"]
mod events;
mod pollable;
mod self_pipe;
#[path = "poll/table.rs"]
mod table;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use netpoll_core::poll_key::{Mode, PollKey};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, fcntl_getfd, retry_on_intr};

use super::{Call, Watch, door};
pub use events::Events;
use pollable::refuse_files;
use self_pipe::SelfPipe;
use table::Table;

/// The longest wait, 68 years: added to the clock it does not overflow.
const LONGEST_WAIT: Duration = Duration::from_secs(i32::MAX as u64);

/// The longest sleep of one call, 24 days: kernels without ppoll(2) count it in milliseconds, in an `int`.
const LONGEST_SLEEP: Duration = Duration::from_millis(i32::MAX as u64);

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Bits of a key's generation that come back with an event: all.
pub const FDSEQ_BITS: u32 = netpoll_core::poll_key::FDSEQ_BITS;

/// A table of descriptors and a break. All methods take `&self`; any thread may call them at any time.
#[derive(Debug)]
pub struct Poller {
    table: Mutex<Table>,
    /// The pipe is empty again.
    settled: Condvar,
    pipe: SelfPipe,
    /// What the door keeps of a poller: nothing, in an ordinary build.
    door: door::Watch,
}

impl Poller {
    /// Which one it is.
    pub const NAME: &'static str = "poll";

    /// Only what was armed for is reported, once.
    pub const EDGES: bool = false;

    /// A read of a byte stream that came back short has left nothing behind it that is not reported: whatever is there is
    /// reported to who arms.
    pub const SHORT_IS_ALL: bool = true;

    /// An error that is all there is to be read is told from others.
    pub const ERROR_ALONE: bool = true;

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
        let pipe = SelfPipe::new()?;
        let door = door::Watch::new(pipe.writer())?;
        Ok(Poller { table: Mutex::default(), settled: Condvar::new(), pipe, door })
    }

    /// Watches `fd` under `key`. What it is ready for already is reported by the next wait.
    ///
    /// # Errors
    ///
    /// `EPERM` when waiting for the descriptor has no meaning (a regular file, a directory, a disk), `EEXIST` when it is
    /// open here already.
    pub fn open(&self, fd: BorrowedFd<'_>, key: PollKey) -> io::Result<()> {
        self.open_for(fd, key, Watch::Both)
    }

    /// As [`open`](Poller::open), for something else than reads and writes. What looks like a file is not refused, for those
    /// of `/proc` and sysfs tell their changes; a file on a disk has none to tell.
    ///
    /// # Errors
    ///
    /// As [`open`](Poller::open).
    pub fn open_for(&self, fd: BorrowedFd<'_>, key: PollKey, watch: Watch) -> io::Result<()> {
        if watch == Watch::Both {
            refuse_files(fd)?;
        }
        let mut table = self.lock();
        table.insert(fd, key, watch)?;
        if let Err(errno) = self.kick(&mut table) {
            // It has just been put in.
            let _ = table.remove(fd);
            return Err(errno.into());
        }
        drop(table);
        self.door.opened(fd, key);
        Ok(())
    }

    /// Stops watching `fd`; no thread is in a poll(2) with it when this returns.
    ///
    /// # Errors
    ///
    /// `ENOENT` when it is not open here.
    pub fn close(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.door.closing(fd);
        let removed = retry_on_intr(|| {
            door::ask(Call::PollerClose, fd)?;
            self.forget(fd)
        });
        Ok(door::told(Call::PollerClose, fd, removed)?)
    }

    /// Asks for the next event of one direction; the next wait, or the one that sleeps, reports it if it is there
    /// already. Once is enough until that event.
    ///
    /// # Errors
    ///
    /// `ENOENT` when the descriptor is not open here under `key`.
    pub fn arm(&self, fd: BorrowedFd<'_>, key: PollKey, mode: Mode) -> io::Result<()> {
        let mut table = self.lock();
        if table.arm(fd, key, mode)? {
            self.kick(&mut table)?;
        }
        Ok(())
    }

    /// Fills `events`, sleeping until there are some, a break is seen or the timeout is over. Returns true iff a
    /// break was seen and this call consumed it.
    ///
    /// | `timeout` | sleeps | a break | a signal |
    /// |---|---|---|---|
    /// | `None` | until something happens | consumed | unseen |
    /// | zero | never | left for the blocking caller, returns false | unseen |
    /// | positive | at least so long, at most 68 years; to the nanosecond where there is ppoll(2), else to the millisecond | consumed | ends it with no events, for the caller to look at the clock again |
    ///
    /// # Errors
    ///
    /// The kernel's, none of which a sound process meets (`EINVAL`: more descriptors than the process may have open).
    /// `events` is valid even then.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<bool> {
        events.found.clear();
        let waited = match self.door.shorten(timeout) {
            // The break stays where it is.
            Some(Duration::ZERO) => self.look(&mut self.lock(), events).map(|()| false),
            timeout => self.sleep(events, timeout.map(|time| Instant::now() + time.min(LONGEST_WAIT))),
        };
        self.door.disturb(&mut events.disturbed, events.limit, events.found.iter().copied());
        waited
    }

    /// The break: the blocking [`wait`](Poller::wait) that runs now ends, or else the next one does at once.
    /// Several before one wait count as one. Safe from any thread, but not from a signal handler.
    ///
    /// # Errors
    ///
    /// The kernel's, none of which a sound process meets.
    pub fn wake(&self) -> io::Result<()> {
        match retry_on_intr(|| door::ask(Call::Break, self.pipe.writer())) {
            // Were a break a write each time, a full pipe would have said that one is pending; so it is.
            Ok(()) | Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut table = self.lock();
        table.broken = true;
        Ok(self.kick(&mut table)?)
    }

    /// Looks whether the descriptors are open still, whatever they name by now.
    ///
    /// # Errors
    ///
    /// `EBADF` if one was closed by its number.
    pub fn check(&self) -> io::Result<()> {
        fcntl_getfd(&self.pipe)?;
        fcntl_getfd(self.pipe.writer())?;
        Ok(())
    }

    /// Takes the slot away, and waits until no poll(2) holds the open file.
    fn forget(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut table = self.lock();
        table.remove(fd)?;
        self.kick(&mut table)?;
        drop(self.settled(table));
        Ok(())
    }

    /// Sleeps in turns until there is something to return.
    fn sleep(&self, events: &mut Events, until: Option<Instant>) -> io::Result<bool> {
        loop {
            let mut table = self.settled(self.lock());
            if table.broken {
                self.look(&mut table, events)?;
                return Ok(std::mem::take(&mut table.broken));
            }
            table.fill(events);
            table.sleepers += 1;
            drop(table);
            events.set.push(table::entry(self.pipe.as_fd().as_raw_fd(), PollFlags::IN));
            let polled = self.poll(&mut events.set, until);
            let piped = events.set.last().is_some_and(|entry| !entry.revents().is_empty());
            let mut table = self.lock();
            table.collect(events);
            // A byte that is no kick of ours is the door's, and means that there is something to return.
            let poked = piped && !table.kicked;
            table.kicked |= piped;
            self.leave(&mut table)?;
            let interrupted = polled? == Polled::Interrupted;
            let over = until.is_some_and(|until| interrupted || Instant::now() >= until);
            if table.broken || poked || over || !events.found.is_empty() {
                return Ok(std::mem::take(&mut table.broken));
            }
        }
    }

    /// A sleeper goes; the last one empties the pipe.
    fn leave(&self, table: &mut Table) -> io::Result<()> {
        table.sleepers -= 1;
        if table.sleepers > 0 || !table.kicked {
            return Ok(());
        }
        table.kicked = false;
        self.settled.notify_all();
        self.pipe.drain().map(|_| ())
    }

    /// What is there now. It holds the lock, so that `close` need not wait for it otherwise.
    fn look(&self, table: &mut Table, events: &mut Events) -> io::Result<()> {
        table.fill(events);
        let polled = retry_on_intr(|| {
            door::ask(Call::PollerWait, self.pipe.as_fd())?;
            poll(&mut events.set, Some(&AT_ONCE))
        });
        table.collect(events);
        polled?;
        Ok(())
    }

    /// One call.
    fn poll(&self, set: &mut [PollFd<'_>], until: Option<Instant>) -> io::Result<Polled> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()).min(LONGEST_SLEEP));
        let left =
            left.map(|left| Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ });
        let asked = door::ask(Call::PollerWait, self.pipe.as_fd());
        match asked.and_then(|()| poll(set, left.as_ref())) {
            Ok(_) => Ok(Polled::Whole),
            Err(Errno::INTR) => Ok(Polled::Interrupted),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Wakes all sleepers, once.
    fn kick(&self, table: &mut Table) -> Result<(), Errno> {
        if table.sleepers == 0 || table.kicked {
            return Ok(());
        }
        self.pipe.write()?;
        table.kicked = true;
        Ok(())
    }

    /// Returns once nobody is on the way out.
    fn settled<'a>(&self, table: MutexGuard<'a, Table>) -> MutexGuard<'a, Table> {
        self.settled.wait_while(table, |table| table.kicked).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Growing the table is all that may panic under the lock, and it leaves the table whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How one poll(2) ended.
#[derive(PartialEq, Eq)]
enum Polled {
    /// With what was there, or with the time.
    Whole,
    /// By a signal.
    Interrupted,
}
