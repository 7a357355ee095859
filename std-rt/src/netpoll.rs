//! `Netpoll`: descriptors, timers and the kernel's poller in one value (Go's `netpoll` and its globals).
//!
//! It polls when a thread asks it to, and hands up the tasks that are to be run; it wakes nobody itself and knows no
//! scheduler. Several can live in one process.
//!
//! The way of an event: [`Netpoll::netpoll`] → `Poller::wait`; then for each event `PollCache::get` →
//! [`PollDesc::ready`] → `Sema::unblock`; the list goes up.

mod blocks;
mod counts;
mod polling;
mod timers;

use std::cell::RefCell;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Instant;

use netpoll_core::deadline::When;
use netpoll_core::glist::GList;
use netpoll_core::poll_cache::BLOCK_LEN;
use netpoll_core::poll_desc::{PollDesc, PollErr, Wait};
use netpoll_core::poll_key::{Mode, Modes, PollKey};
use netpoll_core::turn::Turn;
use netpoll_core::waiters::{BreakFlag, Waiters};

use crate::sys::Poller;
use crate::timer::TimerId;
use blocks::Cache;
pub use counts::Counts;
pub use polling::Scratch;
use timers::{Entry, Timers};

/// Most descriptors that one `Netpoll` can hold: 1,048,576, the kernel's own default limit for a process.
pub const MAX_DESCRIPTORS: usize = blocks::BLOCKS * BLOCK_LEN;

/// Descriptors, timers, the kernel's poller.
#[derive(Debug)]
pub struct Netpoll {
    cache: Cache,
    poller: Poller,
    waiters: Waiters,
    break_flag: BreakFlag,
    turn: Turn,
    timers: Mutex<Timers>,
    /// Tick 0 of the deadlines.
    epoch: Instant,
    counts: Counts,
}

thread_local! {
    /// Where new descriptors of this thread go.
    static CURRENT: RefCell<Option<Arc<Netpoll>>> = const { RefCell::new(None) };
}

impl Netpoll {
    /// A poller of its own.
    ///
    /// # Errors
    ///
    /// What the kernel says when it has no descriptors or memory left for it.
    pub fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            cache: Cache::new(),
            poller: Poller::init()?,
            waiters: Waiters::new(),
            break_flag: BreakFlag::new(),
            turn: Turn::new(),
            timers: Mutex::new(Timers::new()),
            epoch: Instant::now(),
            counts: Counts::default(),
        }))
    }

    /// The poller of the runtime that this thread runs for; outside of one, that of the process-wide default runtime,
    /// which is started if need be.
    ///
    /// # Errors
    ///
    /// Those of starting the default runtime.
    pub fn current() -> io::Result<Arc<Netpoll>> {
        match CURRENT.with_borrow(Clone::clone) {
            Some(netpoll) => Ok(netpoll),
            // The one call that goes up: nobody below can start a runtime.
            None => crate::default_netpoll(),
        }
    }

    /// Makes `netpoll` the thread's current one; gives back the one before.
    pub fn enter(netpoll: Option<Arc<Netpoll>>) -> Option<Arc<Netpoll>> {
        CURRENT.replace(netpoll)
    }

    /// Nanoseconds since the poller was made.
    pub fn now(&self) -> u64 {
        self.tick(Instant::now())
    }

    /// `at` as nanoseconds since the poller was made: 0 if before, saturating 292 years later.
    pub fn tick(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX).min(i64::MAX as u64)
    }

    /// The numbers so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Tasks parked on descriptors.
    pub fn waiters(&self) -> usize {
        self.waiters.get()
    }

    /// Entries in the timer wheel.
    pub fn timers(&self) -> usize {
        self.lock_timers().len()
    }

    /// Descriptors in use.
    pub fn descriptors(&self) -> usize {
        self.cache.in_use()
    }

    /// Who may poll, and until when somebody sleeps.
    pub fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Watches a descriptor. What it is ready for already makes an event.
    ///
    /// # Errors
    ///
    /// The kernel's (`EPERM`: it cannot be polled), and `ENFILE` when all [`MAX_DESCRIPTORS`] are in use; nothing is
    /// left behind then.
    pub fn open(&self, fd: BorrowedFd<'_>) -> io::Result<PollKey> {
        let key = self.cache.alloc()?;
        match self.poller.open(fd, key) {
            Ok(()) => Ok(key),
            Err(error) => {
                self.free(key);
                Err(error)
            }
        }
    }

    /// The descriptor of a key that is in use by the caller.
    ///
    /// # Panics
    ///
    /// If the key has been freed: the caller used it after giving it back.
    #[inline]
    pub fn desc(&self, key: PollKey) -> &PollDesc {
        self.cache.get(key).expect("the descriptor's slot was freed while it was in use")
    }

    /// The descriptor is being closed: both directions fail from now on, who is parked is woken, the timer is disarmed.
    pub fn evict(&self, key: PollKey) {
        let mut list = GList::<2>::new();
        let woken = self.desc(key).evict(&mut list);
        let timer = self.lock_timers().remove(key.slot);
        drop(timer);
        self.hand_up(&mut list, woken);
    }

    /// Stops watching `fd`, before its number is closed.
    pub fn close(&self, fd: BorrowedFd<'_>) {
        // The kernel forgets the descriptor with its last number anyhow; an error here (ENOENT) means that it has.
        let _ = self.poller.close(fd);
    }

    /// Gives the slot back; the key is of no use afterwards.
    pub fn free(&self, key: PollKey) {
        let mut list = GList::<2>::new();
        let woken = self.cache.free(key, &mut list);
        self.hand_up(&mut list, woken);
    }

    /// Parks the task of `cx` on a direction, unless it may go on; see [`PollDesc::wait`]. `again`: the parking is its
    /// own, polled once more.
    #[inline]
    pub fn wait(&self, desc: &PollDesc, mode: Mode, cx: &mut Context<'_>, again: bool) -> Wait {
        let (wait, displaced) = desc.wait(mode, cx.waker(), &self.waiters);
        if let Some(forgotten) = displaced.filter(|_| !again) {
            forgotten.wake();
        }
        if wait == Wait::Again {
            cx.waker().wake_by_ref();
        }
        wait
    }

    /// The task gives up a wait; see [`PollDesc::retract`].
    pub fn retract(&self, key: PollKey, mode: Mode) {
        self.desc(key).retract(mode, &self.waiters);
    }

    /// Puts a deadline in force; `None` clears it. One that has passed fires at once.
    ///
    /// # Errors
    ///
    /// [`PollErr::Closing`], with nothing armed.
    pub fn set_deadline(&self, key: PollKey, modes: Modes, deadline: Option<Instant>) -> Result<(), PollErr> {
        let when = match deadline.map(|at| self.tick(at)) {
            None => When::Never,
            Some(at) if at <= self.now() => When::Expired,
            Some(at) => When::At(at as usize),
        };
        let mut list = GList::<2>::new();
        let (woken, arm) = self.desc(key).set_deadline(modes, when, &mut list)?;
        if let Some(at) = arm {
            let mut timers = self.lock_timers();
            if self.desc(key).arm_timer(at) {
                timers.put(key, at as u64);
                self.counts.timers_armed.inc();
            }
            drop(timers);
            self.break_before(at as u64);
        }
        self.hand_up(&mut list, woken);
        Ok(())
    }

    /// Arms a timer that wakes a task at `at`, in nanoseconds since the poller was made.
    pub fn add_timer(&self, at: u64, waker: Waker) -> TimerId {
        let id = self.lock_timers().wheel.insert(at, Entry::Task(waker));
        self.counts.timers_armed.inc();
        self.break_before(at);
        id
    }

    /// Disarms a timer; if it has fired already, nothing happens.
    pub fn remove_timer(&self, id: TimerId) {
        let entry = self.lock_timers().wheel.remove(id);
        // The waker is dropped here, after the lock.
        drop(entry);
    }

    /// Ends the poll of a thread that would sleep past `at`.
    fn break_before(&self, at: u64) {
        if self.turn.needs_break(at as usize) {
            self.wake();
        }
    }

    /// The break: ends the blocking poll that runs now, or the next one.
    ///
    /// # Panics
    ///
    /// If the kernel refuses the write for a reason other than that one is pending: a break that is lost is a hang, so
    /// it is said where it happens.
    pub fn wake(&self) {
        if !self.break_flag.set() {
            self.counts.breaks_coalesced.inc();
            return;
        }
        self.counts.breaks_sent.inc();
        if let Err(error) = self.poller.wake() {
            panic!("netpoll: the break descriptor cannot be written: {error}");
        }
    }

    /// When the next timer is due, in nanoseconds since the poller was made.
    pub fn next_timer(&self) -> Option<u64> {
        self.lock_timers().wheel.next()
    }

    /// So many tasks of [`Netpoll::netpoll`] are in a queue now.
    pub fn runnable(&self, n: usize) {
        self.waiters.sub(n);
    }

    /// Wakes the tasks of a list that this thread made ready outside of a poll.
    fn hand_up<const N: usize>(&self, list: &mut GList<N>, woken: usize) {
        for waker in list.drain() {
            waker.wake();
        }
        self.waiters.sub(woken);
    }

    fn lock_timers(&self) -> MutexGuard<'_, Timers> {
        // Nothing panics under this lock but the wheel's own limit, which leaves it whole.
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
