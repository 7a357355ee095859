//! `Netpoll`: descriptors, timers and the kernel's poller in one value (Go's `netpoll` and its globals).
//!
//! It polls when a thread asks it to, and returns the tasks that are to be run; it does not wake them itself and knows no
//! scheduler. Several can live in one process.
//!
//! The path of an event: [`Netpoll::netpoll`] → `Poller::wait`; then for each event `PollCache::get` →
//! [`PollDesc::ready`] → `Sema::unblock`; the list goes up.

mod blocks;
pub mod clock;
mod coalescer;
mod counts;
mod deadlines;
pub mod fd_limit;
mod inspect;
pub mod pipes;
mod polling;
mod shutdown;
mod standby;
pub mod tick;
mod timers;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use netpoll_core::poll::cache::BLOCK_LEN;
use netpoll_core::poll::waiters::BreakFlag;
use netpoll_core::sched::poller_lock::PollerLock;
use netpoll_core::sync::Flag;
use netpoll_core::{GList, Mode, Wait};

use crate::context;
use crate::foreign;
use crate::sys::{ForkEpoch, Poller, Watch};
use blocks::Cache;
pub use blocks::{PollDesc, PollRegistration, Registration};
use clock::Clock;
use coalescer::Coalescer;
pub use counts::Counts;
pub use inspect::DescriptorInfo;
pub use polling::PollBuffer;
use timers::Wheels;
pub use timers::{Renewed, TimerId};

/// Most descriptors that one `Netpoll` can hold: 1,048,576, the kernel's own default limit for a process; 65,504 on a
/// 32-bit machine.
pub const MAX_DESCRIPTORS: usize = blocks::BLOCKS * BLOCK_LEN;

/// Descriptors, timers, the kernel's poller.
#[derive(Debug)]
pub struct Netpoll {
    cache: Cache,
    poller: Poller,
    break_flag: BreakFlag,
    poller_lock: PollerLock,
    wheels: Wheels,
    coalescer: Coalescer,
    clock: Clock,
    counts: Counts,
    pipes: pipes::Pipes,
    /// The process that it works in.
    epoch: ForkEpoch,
    /// Set once, by `end`: nobody polls any more.
    ended: Flag,
    /// Set if its owner polls it, instead of a runtime.
    manual: bool,
    /// The thread that polls for a runtime without threads while no thread drives it; `None` for any other runtime.
    standby: Option<standby::StandbyThread>,
}

/// What the poller of a runtime is made from.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How many workers there are, each with a timer wheel of its own.
    pub workers: usize,
    /// By how much a timer may be late where timers crowd, so that a wake serves its neighbours too.
    pub slack: Duration,
    /// Whether system calls may be tried that the kernel, or a filter, may not know.
    pub probe: bool,
}

impl Netpoll {
    /// Creates a poller that its owner polls, for threads without worker numbers.
    ///
    /// # Errors
    ///
    /// What the kernel says when it has no descriptors or memory left for it.
    pub fn new() -> io::Result<Arc<Self>> {
        let config = Config { workers: 1, slack: Duration::ZERO, probe: true };
        Self::made(config, true)
    }

    /// The poller of a runtime, whose threads poll it for as long as the runtime lives.
    ///
    /// # Errors
    ///
    /// As [`Netpoll::new`].
    pub fn with(config: Config) -> io::Result<Arc<Self>> {
        Self::made(config, false)
    }

    fn made(config: Config, manual: bool) -> io::Result<Arc<Self>> {
        let epoch = ForkEpoch::current()?;
        let clock = Clock::new();
        Ok(Arc::new(Self {
            cache: Cache::new(),
            poller: Poller::init_with(config.probe)?,
            break_flag: BreakFlag::new(),
            poller_lock: PollerLock::new(),
            wheels: Wheels::new(config.workers, clock::now()),
            coalescer: Coalescer::new(config.slack),
            clock,
            counts: Counts::default(),
            pipes: pipes::Pipes::new(epoch),
            epoch,
            ended: Flag::new(),
            manual,
            standby: (config.workers == 1 && !manual).then(standby::StandbyThread::default),
        }))
    }

    /// The poller of the runtime that this thread runs for; outside of one, that of the process-wide default runtime,
    /// which is started if need be.
    ///
    /// # Errors
    ///
    /// Those of starting the default runtime.
    pub fn current() -> io::Result<Arc<Netpoll>> {
        match Self::entered() {
            Some(netpoll) => Ok(netpoll),
            // The one call that goes up: nobody below can start a runtime.
            None => crate::default_netpoll(),
        }
    }

    /// The poller that a sleep of this thread belongs to: as [`Netpoll::current`], but the one of the default runtime also
    /// where the thread's own polls no more.
    ///
    /// # Errors
    ///
    /// As [`Netpoll::current`]; [`runtime_ended`](crate::runtime_ended) in a process that was forked after the default
    /// runtime had been started.
    pub fn for_sleep() -> io::Result<Arc<Netpoll>> {
        if let Some(netpoll) = Self::entered().filter(|netpoll| netpoll.check().is_ok()) {
            return Ok(netpoll);
        }
        let netpoll = crate::default_netpoll()?;
        netpoll.check()?;
        Ok(netpoll)
    }

    /// Returns the poller of the runtime that this thread works for, if any.
    fn entered() -> Option<Arc<Netpoll>> {
        context::with(|context| context.netpoll.borrow().clone())?.downcast().ok()
    }

    /// Makes `netpoll` the poller that this thread works for, and returns the previous one.
    pub fn enter(netpoll: Option<Arc<Netpoll>>) -> Option<Arc<Netpoll>> {
        let netpoll = netpoll.map(|netpoll| netpoll as _);
        context::with(|context| context.netpoll.replace(netpoll))?.downcast().ok()
    }

    /// The numbers so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The pipes of copies within the kernel.
    pub fn pipes(&self) -> &pipes::Pipes {
        &self.pipes
    }

    /// Tasks parked on descriptors.
    pub fn waiters(&self) -> usize {
        self.cache.waiters().get()
    }

    /// Descriptors in use.
    pub fn descriptors(&self) -> usize {
        self.cache.in_use()
    }

    /// Returns the poller's lock, with the time until which its holder sleeps.
    pub fn poller_lock(&self) -> &PollerLock {
        &self.poller_lock
    }

    /// Watches a descriptor. What it is ready for already makes an event.
    ///
    /// # Errors
    ///
    /// The kernel's (`EPERM`: it cannot be polled), and `ENFILE` when all [`MAX_DESCRIPTORS`] are in use; nothing is
    /// left behind then. [`runtime_ended`](crate::runtime_ended) if nobody polls any more.
    pub fn open(self: &Arc<Self>, fd: BorrowedFd<'_>) -> io::Result<PollRegistration> {
        self.open_for(fd, Watch::Both)
    }

    /// As [`open`](Netpoll::open), for something else than reads and writes.
    ///
    /// # Errors
    ///
    /// As [`open`](Netpoll::open); `Unsupported` where the kernel's poller does not have it.
    pub fn open_for(self: &Arc<Self>, fd: BorrowedFd<'_>, watch: Watch) -> io::Result<PollRegistration> {
        self.check()?;
        let slot = PollRegistration::new(self, self.cache.alloc()?);
        self.poller.open_for(fd, slot.registration().key(), watch)?;
        self.set_number(slot.desc(), fd.as_raw_fd());
        Ok(slot)
    }

    /// The descriptor is being closed: both directions fail from now on, who is parked is woken, the timer is disarmed.
    pub fn evict(&self, registration: &Registration<'_>) {
        let list = registration.evict();
        if self.is_owner_process() {
            let slot = registration.key().slot;
            let timer = self.wheels.of(slot).remove(slot);
            drop(timer);
        }
        self.wake_all(list);
    }

    /// Stops watching `fd`, before its number is closed.
    pub fn close(&self, fd: BorrowedFd<'_>) {
        if !self.is_owner_process() {
            // The kernel would forget the descriptor of the parent, whose open file it is as well.
            return;
        }
        // The kernel forgets the descriptor with its last number anyhow; an error here (ENOENT) means that it has.
        let _ = self.poller.close(fd);
    }

    /// A slot is about to be given back.
    fn forget(&self, registration: &Registration<'_>) {
        self.clear_number(registration.desc());
        self.cache.count_freed();
    }

    /// Parks the task of `cx` on a direction after a [`Registration::reset`] that found no readiness; see
    /// [`Registration::park`]. `again`: the parking is its own, polled once more.
    #[inline(always)]
    pub fn park(
        &self,
        registration: &Registration<'_>,
        mode: Mode,
        cx: &mut Context<'_>,
        again: bool,
    ) -> Wait {
        let (wait, displaced) = registration.park(mode, cx.waker());
        // A task that is parked anew has replaced its own waker: to wake itself would only make it come again. In any
        // other case the waker may stand for others, whose waits are ended too.
        match displaced.into_waker() {
            None => {}
            Some(own) if again && wait == Wait::Parked => drop(own),
            Some(other) => _ = foreign::wake(other),
        }
        if wait == Wait::Again {
            cx.waker().wake_by_ref();
        }
        wait
    }

    /// A task has just parked on a direction: asks the kernel for its next event, where that is level-triggered. Nothing
    /// elsewhere.
    ///
    /// After the parking and not before: a task that was woken waits too, finds its readiness and must ask for nothing.
    /// Whatever came in between is there still when the kernel looks. A wait that is given up leaves the question open, for
    /// one event in vain.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked: the task would sleep for ever, and gives the wait up.
    #[inline(always)]
    pub fn arm(&self, registration: &Registration<'_>, fd: BorrowedFd<'_>, mode: Mode) -> io::Result<()> {
        registration.desc().since(mode).set(self.clock.polled());
        self.poller.arm(fd, registration.key(), mode)
    }

    /// Ends the poll of a thread that would sleep past `at`.
    fn break_before(&self, at: u64) {
        if self.poller_lock.needs_wakeup(tick::wake_before(at)) {
            self.wake();
        }
    }

    /// The break: ends the blocking poll that runs now, or the next one.
    ///
    /// # Panics
    ///
    /// If the poller is driven by hand and the kernel refuses the write for a reason other than that one is pending: a break
    /// that is lost is a hang, so it is said where it happens. The poller of a runtime ends the process.
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

    /// When the next timer is due, as a tick of [`clock`].
    pub fn next_timer(&self) -> Option<u64> {
        self.wheels.next()
    }

    /// Publishes when the next timer is due, so that a thread that arms an earlier one sends a break, and returns until when
    /// to sleep. Called by the holder of the poller's lock before it sleeps.
    pub fn block(&self) -> Option<u64> {
        let mut next = self.wheels.next();
        loop {
            self.poller_lock.set_poll_until(tick::sleep_until(next));
            // A thread that armed an earlier one before it could see what was published is seen here.
            let again = self.wheels.next();
            if again.unwrap_or(u64::MAX) >= next.unwrap_or(u64::MAX) {
                return next.map(|at| self.coalescer.deadline(at, || self.wheels.has_neighbours()));
            }
            next = again;
        }
    }

    /// Subtracts the tasks of [`Netpoll::netpoll`] from the count of waiters, once they are in a run queue.
    pub fn sub_waiters(&self, n: usize) {
        self.cache.waiters().sub(n);
    }

    /// Wakes the tasks of a list that this thread has made ready outside of a poll.
    fn wake_all(&self, mut list: GList<2>) {
        let woken = list.len();
        foreign::wake_all(list.drain());
        self.cache.waiters().sub(woken);
    }
}
