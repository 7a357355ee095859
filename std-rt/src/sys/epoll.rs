//! The epoll backend: Linux and Android.
//!
//! A descriptor is added once, edge-triggered and in both directions, and never modified. The break is an eventfd,
//! level-triggered: it stays visible until a blocking [`Poller::wait`] reads it empty.

#[path = "epoll/pwait2.rs"]
mod pwait2;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use netpoll_core::poll_key::{Event, Mode, PollKey};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::io::{Errno, fcntl_getfd, read, retry_on_intr, write};

use super::translate::epoll as translate;
use super::{Call, Watch, door};
use pwait2::epoll_pwait2;

// The numbers of the table are the kernel's.
const _: () = assert!(
    epoll::EventFlags::IN.bits() == translate::IN
        && epoll::EventFlags::OUT.bits() == translate::OUT
        && epoll::EventFlags::RDHUP.bits() == translate::RDHUP
        && epoll::EventFlags::HUP.bits() == translate::HUP
        && epoll::EventFlags::ERR.bits() == translate::ERR
        && epoll::EventFlags::PRI.bits() == translate::PRI
);

/// What `open` asks for; the kernel adds HUP and ERR unasked.
const INTEREST: epoll::EventFlags = epoll::EventFlags::IN
    .union(epoll::EventFlags::OUT)
    .union(epoll::EventFlags::RDHUP)
    .union(epoll::EventFlags::PRI)
    .union(epoll::EventFlags::ET);

/// The longest wait that is asked of the kernel, 68 years: it fits every `time_t` and added to the clock it does
/// not overflow.
const LONGEST_WAIT: Duration = Duration::from_secs(i32::MAX as u64);

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Bits of a key's generation that come back with an event: all.
pub const FDSEQ_BITS: u32 = netpoll_core::poll_key::FDSEQ_BITS;

/// One epoll descriptor and its break. All methods take `&self`; any thread may call them at any time.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    /// The break: readable while one is pending.
    eventfd: OwnedFd,
    /// Set once it is known that `epoll_pwait2` must not or cannot be called.
    without_pwait2: OnceLock<()>,
    /// What the door keeps of a poller: nothing, in an ordinary build.
    door: door::Watch,
}

impl Poller {
    /// Which one it is.
    pub const NAME: &'static str = "epoll";

    /// Each change is reported, whether anybody has armed for it or not.
    pub const EDGES: bool = true;

    /// A read of a byte stream that came back short has left nothing behind it that is not reported: an urgent mark, at
    /// which reads stop, has an event of its own.
    pub const SHORT_IS_ALL: bool = true;

    /// An error that is all there is to a descriptor is told from others.
    pub const ERROR_ALONE: bool = true;

    /// Makes a poller whose first wait with a positive timeout finds out whether the kernel has `epoll_pwait2`.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE` or `ENOMEM`; no descriptor is left open then.
    pub fn init() -> io::Result<Poller> {
        Poller::init_with(true)
    }

    /// As [`init`](Poller::init). `probe == false` never calls `epoll_pwait2`, for a seccomp filter that kills a
    /// process for calls unknown to it: timed waits then cost two calls, poll(2) on the epoll descriptor and an
    /// `epoll_wait` that does not wait.
    ///
    /// # Errors
    ///
    /// As [`init`](Poller::init).
    pub fn init_with(probe: bool) -> io::Result<Poller> {
        let epoll = retry_on_intr(|| {
            door::ask_new(Call::PollerInit)?;
            epoll::create(epoll::CreateFlags::CLOEXEC)
        })?;
        let eventfd = retry_on_intr(|| {
            door::ask_new(Call::PollerInit)?;
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        })?;
        add(&epoll, eventfd.as_fd(), PollKey::BREAK, epoll::EventFlags::IN)?;
        let without_pwait2 = if probe { OnceLock::new() } else { OnceLock::from(()) };
        let door = door::Watch::new(eventfd.as_fd())?;
        Ok(Poller { epoll, eventfd, without_pwait2, door })
    }

    /// Watches `fd` in both directions under `key`. What it is ready for already is reported by the next wait.
    ///
    /// # Errors
    ///
    /// `EPERM` when the descriptor cannot be polled (a regular file, a directory), `EEXIST` when it is open here
    /// already, `ENOSPC` or `ENOMEM` when the kernel has no room.
    pub fn open(&self, fd: BorrowedFd<'_>, key: PollKey) -> io::Result<()> {
        self.open_for(fd, key, Watch::Both)
    }

    /// As [`open`](Poller::open), for something else than reads and writes.
    ///
    /// # Errors
    ///
    /// As [`open`](Poller::open).
    pub fn open_for(&self, fd: BorrowedFd<'_>, key: PollKey, watch: Watch) -> io::Result<()> {
        let interest = match watch {
            Watch::Both => INTEREST,
            Watch::Priority => epoll::EventFlags::PRI.union(epoll::EventFlags::ET),
            Watch::Error => epoll::EventFlags::ET,
        };
        add(&self.epoll, fd, key, interest)?;
        self.door.opened(fd, key);
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
            epoll::delete(&self.epoll, fd)
        });
        Ok(door::told(Call::PollerClose, fd, deleted)?)
    }

    /// Nothing, on an edge-triggered kernel: `open` has armed both directions for good.
    ///
    /// # Errors
    ///
    /// None here; backends that report each event only once ask the kernel again.
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
    /// | positive | at least so long, to the nanosecond; at most 68 years | consumed | ends it with no events, for the caller to look at the clock again |
    ///
    /// A break takes one of the places of `events`, so that a wait limited to one event may find nothing else.
    ///
    /// # Errors
    ///
    /// The kernel's, none of which a sound process meets. `events` is valid even then and holds all that was taken
    /// from the kernel: after an error in consuming the break there may be some, and their edges do not come again.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<bool> {
        let broken = self.wait_kernel(events, self.door.shorten(timeout), timeout != Some(Duration::ZERO));
        let kernel = events.buffer.iter().take(events.len).map(event);
        self.door.disturb(&mut events.disturbed, events.limit, kernel);
        broken
    }

    /// The kernel's part of [`wait`](Poller::wait): `blocking` says that a break is this call's to consume.
    #[inline(always)]
    fn wait_kernel(
        &self,
        events: &mut Events,
        timeout: Option<Duration>,
        blocking: bool,
    ) -> io::Result<bool> {
        events.len = 0;
        let room = &mut events.buffer[..events.limit];
        events.len = match timeout {
            None => self.wait_plain(room, None)?,
            Some(Duration::ZERO) => self.wait_plain(room, Some(&AT_ONCE))?,
            Some(timeout) => self.wait_timed(room, timeout.min(LONGEST_WAIT))?,
        };
        if events.remove_break() && blocking { self.drain() } else { Ok(false) }
    }

    /// The break: the blocking [`wait`](Poller::wait) that runs now ends, or else the next one does at once.
    /// Several before one wait count as one. Safe from any thread; callers save the call by their break flag.
    ///
    /// # Errors
    ///
    /// The kernel's, none of which a sound process meets: a full counter means that a break is pending already.
    pub fn wake(&self) -> io::Result<()> {
        let written = retry_on_intr(|| {
            door::ask(Call::Break, self.eventfd.as_fd())?;
            write(&self.eventfd, &1_u64.to_ne_bytes())
        });
        match written {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Looks whether the descriptors are open still, whatever they name by now.
    ///
    /// # Errors
    ///
    /// `EBADF` if one was closed by its number.
    pub fn check(&self) -> io::Result<()> {
        fcntl_getfd(&self.epoll)?;
        fcntl_getfd(&self.eventfd)?;
        Ok(())
    }

    /// The break's descriptor, for tests that fill its counter.
    #[doc(hidden)]
    pub fn break_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }

    /// `epoll_wait` forever or not at all; a signal restarts it.
    fn wait_plain(&self, room: &mut [epoll::Event], timeout: Option<&Timespec>) -> io::Result<usize> {
        Ok(retry_on_intr(|| {
            door::ask(Call::PollerWait, self.epoll.as_fd())?;
            epoll::wait(&self.epoll, &mut *room, timeout)
        })?)
    }

    /// A positive timeout, in one call if the kernel has it. The first such call is the probe: where it is absent it
    /// fails without having waited.
    fn wait_timed(&self, room: &mut [epoll::Event], timeout: Duration) -> io::Result<usize> {
        if self.without_pwait2.get().is_none() {
            let asked = door::ask(Call::PollerWait, self.epoll.as_fd()).map_err(io::Error::from);
            let result = asked.and_then(|()| epoll_pwait2(self.epoll.as_fd(), room, timeout));
            match result.as_ref().err().and_then(Errno::from_io_error) {
                Some(Errno::INTR) => return Ok(0),
                Some(Errno::NOSYS | Errno::PERM) => self.without_pwait2.get_or_init(|| ()),
                _ => return result,
            };
        }
        self.wait_by_poll(room, timeout)
    }

    /// A positive timeout in two calls: poll(2) sleeps on the epoll descriptor itself, then its events are taken.
    /// Between the two another thread may have taken them: none are left then, and the caller waits again.
    fn wait_by_poll(&self, room: &mut [epoll::Event], timeout: Duration) -> io::Result<usize> {
        let timeout = Timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos() as _ };
        let asked = door::ask(Call::PollerWait, self.epoll.as_fd());
        match asked.and_then(|()| poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&timeout))) {
            Ok(0) | Err(Errno::INTR) => Ok(0),
            Ok(_) => self.wait_plain(room, Some(&AT_ONCE)),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Reads the eventfd empty. False if another blocking wait was faster: the break is then its own to report.
    fn drain(&self) -> io::Result<bool> {
        let mut count = [0; size_of::<u64>()];
        let drained = retry_on_intr(|| {
            door::ask(Call::Drain, self.eventfd.as_fd())?;
            read(&self.eventfd, &mut count)
        });
        match drained {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Room for the events of one wait, made once and used by every wait of its owner.
pub struct Events {
    /// As long as the capacity from the start; only the first `len` mean anything.
    buffer: Vec<epoll::Event>,
    len: usize,
    /// 1..=capacity.
    limit: usize,
    /// What the door makes of the kernel's events: nothing, in an ordinary build.
    disturbed: door::Batch,
}

impl Events {
    /// The largest capacity.
    pub const MAX_CAPACITY: usize = 1 << 16;

    /// Room for `capacity` events, clamped to 1..=[`MAX_CAPACITY`](Events::MAX_CAPACITY).
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, Events::MAX_CAPACITY);
        let empty = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        Events { buffer: vec![empty; capacity], len: 0, limit: capacity, disturbed: door::Batch::default() }
    }

    /// Lets every later wait return at most `limit` events, clamped to 1..=capacity. What is left over stays with
    /// the kernel for the wait after it.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.clamp(1, self.buffer.len());
    }

    /// How many events the last wait returned, the break not counted.
    pub fn len(&self) -> usize {
        self.disturbed.len().unwrap_or(self.len)
    }

    /// The last wait returned no events.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Event `index` of the last wait.
    ///
    /// # Panics
    ///
    /// Unless `index < len()`.
    pub fn get(&self, index: usize) -> Event {
        match self.disturbed.get(index) {
            Some(event) => event,
            None => event(&self.buffer[..self.len][index]),
        }
    }

    /// The events of the last wait in the kernel's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Event> + '_ {
        let kernel = &self.buffer[..self.len];
        (0..self.len()).map(|index| self.disturbed.get(index).unwrap_or_else(|| event(&kernel[index])))
    }

    /// Takes the break out, if it is there, and keeps the others in order.
    fn remove_break(&mut self) -> bool {
        let is_break = |event: &epoll::Event| event.data.u64() == PollKey::BREAK.to_bits();
        let Some(place) = self.buffer[..self.len].iter().position(is_break) else {
            return false;
        };
        self.buffer.copy_within(place + 1..self.len, place);
        self.len -= 1;
        true
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Adds one descriptor to an epoll.
fn add(epoll: &OwnedFd, fd: BorrowedFd<'_>, key: PollKey, interest: epoll::EventFlags) -> io::Result<()> {
    Ok(retry_on_intr(|| {
        door::ask(Call::PollerOpen, fd)?;
        epoll::add(epoll, fd, epoll::EventData::new_u64(key.to_bits()), interest)
    })?)
}

/// The kernel's record is packed on x86-64, hence the copy before any method sees a field.
fn event(event: &epoll::Event) -> Event {
    let epoll::Event { flags, data, .. } = *event;
    translate::translate(data.u64(), flags.bits())
}
