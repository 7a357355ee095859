//! The epoll backend: Linux and Android.
//!
//! A descriptor is added once, edge-triggered and in both directions, and never modified. The waker is an eventfd,
//! edge-triggered too, so that a break costs no call to read it.

#![expect(unsafe_code, reason = "rustix has epoll_pwait2 only where it is forced")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use netpoll_core::poll::translate::epoll as translate;
use netpoll_core::{Event, Mode, PollKey};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::{Errno, fcntl_getfd};

use crate::sys::call::{retry, retry_errno, retry_new};
use crate::sys::waker::Waker;
use crate::sys::{Call, Watch, inject};

// The numbers of the translation table are the kernel's.
const _: () = assert!(
    epoll::EventFlags::IN.bits() == translate::IN
        && epoll::EventFlags::OUT.bits() == translate::OUT
        && epoll::EventFlags::RDHUP.bits() == translate::RDHUP
        && epoll::EventFlags::HUP.bits() == translate::HUP
        && epoll::EventFlags::ERR.bits() == translate::ERR
        && epoll::EventFlags::PRI.bits() == translate::PRI
);

/// The events that `open` registers. The kernel adds HUP and ERR by itself.
const INTEREST: epoll::EventFlags = epoll::EventFlags::IN
    .union(epoll::EventFlags::OUT)
    .union(epoll::EventFlags::RDHUP)
    .union(epoll::EventFlags::PRI)
    .union(epoll::EventFlags::ET);

/// The longest wait that is requested from the kernel: 68 years, which fits every `time_t` and does not
/// overflow when added to the clock.
const LONGEST_WAIT: Duration = Duration::from_secs(i32::MAX as u64);

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Number of bits of a key's generation that come back with an event: all.
pub const FDSEQ_BITS: u32 = netpoll_core::poll::key::FDSEQ_BITS;

/// An epoll descriptor and its waker. All methods take `&self` and may be called from any thread at any time.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    waker: Waker,
    /// Set once it is known that `epoll_pwait2` must not or cannot be called.
    without_pwait2: OnceLock<()>,
    /// The part that fault injection owns; empty in an ordinary build.
    inject: inject::PollerHook,
}

/// The constants and functions of a backend that only tests use.
#[allow(dead_code, reason = "the crate itself does not depend on it")]
impl Poller {
    /// The backend's name.
    pub const NAME: &'static str = "epoll";

    /// Says whether each change is reported, with or without a preceding [`arm`](Poller::arm).
    pub const EDGES: bool = true;

    /// Says whether an error without any other condition is told apart from others.
    pub const ERROR_ALONE: bool = true;

    /// Returns the waker's descriptor, whose counter a test fills.
    pub fn break_fd(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }
}

impl Poller {
    /// Says whether a short read of a byte stream proves that the next bytes are reported. It does: an
    /// urgent mark, at which reads stop, has an event of its own.
    pub const SHORT_IS_ALL: bool = true;

    /// Says whether [`wait_any`](Poller::wait_any) works.
    pub const CAN_WATCH: bool = true;

    /// The largest number of pollers of [`wait_any`](Poller::wait_any).
    const WATCHED: usize = 32;

    /// Creates a poller. If `probe` is set, the first wait with a positive timeout finds out whether the kernel
    /// has `epoll_pwait2`. Otherwise it is never called, for a seccomp filter that kills the process at unknown
    /// calls; timed waits then cost two calls, poll(2) on the epoll descriptor and an `epoll_wait` with a zero
    /// timeout.
    ///
    /// # Errors
    ///
    /// Returns `EMFILE`, `ENFILE` or `ENOMEM`; no descriptor is left open then.
    pub fn init(probe: bool) -> io::Result<Poller> {
        let epoll = retry_new(Call::PollerInit, || epoll::create(epoll::CreateFlags::CLOEXEC))?;
        let waker = Waker::new()?;
        add(&epoll, waker.as_fd(), PollKey::BREAK, epoll::EventFlags::IN.union(epoll::EventFlags::ET))?;
        let without_pwait2 = if probe { OnceLock::new() } else { OnceLock::from(()) };
        let inject = inject::PollerHook::new(waker.as_fd())?;
        Ok(Poller { epoll, waker, without_pwait2, inject })
    }

    /// Registers `fd` under `key` for the conditions of `watch`. The next wait reports the readiness that it has
    /// already.
    ///
    /// # Errors
    ///
    /// Returns `EPERM` if the descriptor cannot be polled (a regular file, a directory); `EEXIST` if it is
    /// open here already; `ENOSPC` or `ENOMEM` if the kernel's limit or memory is exhausted.
    pub fn open(&self, fd: BorrowedFd<'_>, key: PollKey, watch: Watch) -> io::Result<()> {
        let interest = match watch {
            Watch::Both => INTEREST,
            Watch::Priority => epoll::EventFlags::PRI.union(epoll::EventFlags::ET),
            Watch::Error => epoll::EventFlags::ET,
        };
        add(&self.epoll, fd, key, interest)?;
        self.inject.opened(fd, key);
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
        let deleted = retry_errno(Call::PollerClose, fd, || epoll::delete(&self.epoll, fd));
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
    /// | positive | at least so long, to the nanosecond; at most 68 years | consumed | ends it with no events, so that the caller checks the clock |
    ///
    /// A break takes one slot of `events`, so a wait limited to one event may return nothing else.
    ///
    /// # Errors
    ///
    /// Returns the kernel's, none of which a correct process meets. `events` is valid even then and holds
    /// everything that was taken from the kernel.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<bool> {
        let consumed = self.wait_kernel(events, self.inject.cap_timeout(timeout));
        let kernel = events.buffer.iter().take(events.len).map(event);
        self.inject.alter(&mut events.injected, events.limit, kernel);
        consumed
    }

    /// Makes the kernel's part of [`wait`](Poller::wait).
    #[inline(always)]
    fn wait_kernel(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<bool> {
        events.len = 0;
        let slots = &mut events.buffer[..events.limit];
        events.len = match timeout {
            None => self.wait_plain(slots, None)?,
            Some(Duration::ZERO) => self.wait_plain(slots, Some(&AT_ONCE))?,
            Some(timeout) => self.wait_timed(slots, timeout.min(LONGEST_WAIT))?,
        };
        Ok(events.remove_break())
    }

    /// Sleeps until a [`wait`](Poller::wait) of one of several pollers would return events or a break, or the timeout
    /// expires. Takes nothing from them. Calls `each` for each of them, in order, and says whether it is one; more may
    /// be. They are at most 32.
    ///
    /// # Errors
    ///
    /// Returns the kernel's, none of which a correct process meets. `each` is not called then.
    pub fn wait_any<'a>(
        pollers: impl Iterator<Item = &'a Poller> + Clone,
        timeout: Option<Duration>,
        each: impl FnMut(bool),
    ) -> io::Result<()> {
        let Some(first) = pollers.clone().next() else { return Ok(()) };
        let number = pollers.clone().take(Self::WATCHED).count();
        // Those beyond the number are not passed on.
        let mut rest = pollers.clone();
        let mut descriptors: [_; Self::WATCHED] =
            std::array::from_fn(|_| PollFd::new(&rest.next().unwrap_or(first).epoll, PollFlags::IN));
        let descriptors = &mut descriptors[..number];
        let capped = pollers.fold(timeout, |timeout, poller| poller.inject.cap_timeout(timeout));
        let sleep = capped.map(|timeout| timeout.min(LONGEST_WAIT));
        let sleep =
            sleep.map(|sleep| Timespec { tv_sec: sleep.as_secs() as _, tv_nsec: sleep.subsec_nanos() as _ });
        // Fault injection is asked by the wait that follows. Asked here too, it could interrupt each of those, for ever.
        match poll(descriptors, sleep.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        // Fault injection has events of its own.
        let is_injected = capped != timeout;
        descriptors.iter().map(|descriptor| is_injected || !descriptor.revents().is_empty()).for_each(each);
        Ok(())
    }

    /// Sends a break: ends the [`wait`](Poller::wait) that runs now, or else the next one. Several breaks before
    /// one wait count as one. May be called from any thread; callers use their break flag to
    /// avoid redundant calls.
    ///
    /// # Errors
    ///
    /// Returns the kernel's, none of which a correct process meets.
    pub fn wake(&self) -> io::Result<()> {
        self.waker.wake()
    }

    /// Returns a descriptor that is readable while a [`wait`](Poller::wait) would return events or a break.
    ///
    /// # Errors
    ///
    /// Returns none here. The poll(2) backend has no such descriptor.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.epoll.as_fd())
    }

    /// Checks that the descriptors are still open, without checking what they refer to.
    ///
    /// # Errors
    ///
    /// Returns `EBADF` if one was closed by its number.
    pub fn check(&self) -> io::Result<()> {
        fcntl_getfd(&self.epoll)?;
        fcntl_getfd(&self.waker)?;
        Ok(())
    }

    /// Calls `epoll_wait` with no timeout or a zero one; repeats it after a signal.
    fn wait_plain(&self, slots: &mut [epoll::Event], timeout: Option<&Timespec>) -> io::Result<usize> {
        retry(Call::PollerWait, self.epoll.as_fd(), || epoll::wait(&self.epoll, &mut *slots, timeout))
    }

    /// Waits with a positive timeout, in one call if the kernel has it. The first such call is the probe: if
    /// the kernel lacks it, it fails without having waited.
    fn wait_timed(&self, slots: &mut [epoll::Event], timeout: Duration) -> io::Result<usize> {
        if self.without_pwait2.get().is_none() {
            let asked = inject::before(Call::PollerWait, self.epoll.as_fd()).map_err(io::Error::from);
            let result = asked.and_then(|()| epoll_pwait2(self.epoll.as_fd(), slots, timeout));
            match result.as_ref().err().and_then(Errno::from_io_error) {
                Some(Errno::INTR) => return Ok(0),
                Some(Errno::NOSYS | Errno::PERM) => self.without_pwait2.get_or_init(|| ()),
                _ => return result,
            };
        }
        self.wait_by_poll(slots, timeout)
    }

    /// Waits with a positive timeout in two calls: poll(2) sleeps on the epoll descriptor, then its events
    /// are taken. Another thread may take them in between; then there are none, and the caller waits again.
    fn wait_by_poll(&self, slots: &mut [epoll::Event], timeout: Duration) -> io::Result<usize> {
        let timeout = Timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos() as _ };
        let asked = inject::before(Call::PollerWait, self.epoll.as_fd());
        match asked.and_then(|()| poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&timeout))) {
            Ok(0) | Err(Errno::INTR) => Ok(0),
            Ok(_) => self.wait_plain(slots, Some(&AT_ONCE)),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// The buffer for the events of one wait, created once and used by every wait of its owner.
pub struct Events {
    /// The kernel's records: as long as the capacity; only the first `len` are meaningful.
    buffer: Vec<epoll::Event>,
    len: usize,
    /// A number in 1..=capacity.
    limit: usize,
    /// The events that fault injection substitutes; empty in an ordinary build.
    injected: inject::EventBatch,
}

impl Events {
    /// The largest possible capacity.
    pub const MAX_CAPACITY: usize = 1 << 16;

    /// Creates a buffer for `capacity` events, clamped to 1..=[`MAX_CAPACITY`](Events::MAX_CAPACITY).
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, Events::MAX_CAPACITY);
        let empty = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        Events {
            buffer: vec![empty; capacity],
            len: 0,
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
        self.injected.len().unwrap_or(self.len)
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
        match self.injected.get(index) {
            Some(event) => event,
            None => event(&self.buffer[..self.len][index]),
        }
    }

    /// Returns the events of the last wait in the kernel's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Event> + '_ {
        let kernel = &self.buffer[..self.len];
        (0..self.len()).map(|index| self.injected.get(index).unwrap_or_else(|| event(&kernel[index])))
    }

    /// Removes the break, if there is one, and keeps the order of the others. Returns whether there was one.
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

/// Adds a descriptor to an epoll.
fn add(epoll: &OwnedFd, fd: BorrowedFd<'_>, key: PollKey, interest: epoll::EventFlags) -> io::Result<()> {
    retry(Call::PollerOpen, fd, || epoll::add(epoll, fd, epoll::EventData::new_u64(key.to_bits()), interest))
}

/// Translates the kernel's record, which is packed on x86-64 and so is copied before a method takes a field
/// by reference.
fn event(event: &epoll::Event) -> Event {
    let epoll::Event { flags, data, .. } = *event;
    translate::translate(PollKey::from_bits(data.u64()), flags.bits())
}

/// The kernel's `struct __kernel_timespec`: two 64-bit fields on every architecture, unlike libc's
/// `timespec`.
#[repr(C)]
struct KernelTimespec {
    tv_sec: i64,
    tv_nsec: i64,
}

// The kernel writes `struct epoll_event`; the code reads rustix's type.
const _: () = assert!(size_of::<epoll::Event>() == size_of::<libc::epoll_event>());
const _: () =
    assert!(std::mem::offset_of!(epoll::Event, data) == std::mem::offset_of!(libc::epoll_event, u64));

/// Waits like epoll_wait(2) with a timeout in nanoseconds and no signal mask. rustix offers epoll_pwait2 only
/// by forcing it on every wait (`linux_5_11`), which breaks older kernels.
///
/// Returns how many of `events`, from the front, were filled.
///
/// # Errors
///
/// Returns `InvalidInput` for a timeout above `i64::MAX` seconds or an empty `events`; `ENOSYS` (Linux before
/// 5.11) or `EPERM` (seccomp) if the call is not available.
fn epoll_pwait2(epoll: BorrowedFd<'_>, events: &mut [epoll::Event], timeout: Duration) -> io::Result<usize> {
    let Ok(tv_sec) = i64::try_from(timeout.as_secs()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let timeout = KernelTimespec { tv_sec, tv_nsec: i64::from(timeout.subsec_nanos()) };
    let capacity = libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: `epoll` is an open descriptor for as long as it is borrowed (INV-7). The kernel writes at most
    // `capacity` entries into `events`, which is borrowed exclusively, has at least that many, and holds a
    // type for which any bits are valid; the assertions above say that it has the kernel's layout. `timeout`
    // is a live local that the kernel only reads. The null signal mask leaves the thread's mask alone and its
    // size unread.
    let filled = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            events.as_mut_ptr(),
            capacity,
            &raw const timeout,
            std::ptr::null::<libc::sigset_t>(),
            0_usize,
        )
    };
    // Only a failure is negative: the count is at most `capacity`.
    usize::try_from(filled).map_err(|_| io::Error::last_os_error())
}
