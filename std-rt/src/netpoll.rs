//! A poller: descriptors, timers and the kernel's poller, or several of these, in one value (Go's `netpoll` and its globals).
//!
//! It polls when a thread asks it to and returns the tasks that are to be run; it knows no scheduler. A process may have
//! several.
//!
//! The path of an event: [`PollGuard::block`] or [`PollGuard::poll`] calls `Poller::wait`, gets the [`PollDesc`] of each
//! event from the cache and calls [`PollDesc::ready`], which takes the waker of the parked task. The caller of the poll wakes
//! these tasks once it has unlocked the poller.

mod cache;
pub mod clock;
mod coalescer;
mod deadlines;
pub mod fd_limit;
mod inspect;
pub mod local_clock;
pub mod pipes;
mod poll;
mod registration;
mod shard;
mod shutdown;
mod standby;
mod timers;

use std::io;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_utils::CachePadded;
use netpoll_core::poll::cache::BLOCK_LEN;
use netpoll_core::sync::Flag;

use crate::context;
use crate::sys::{self, ForkEpoch};
use cache::Cache;
pub use coalescer::{Coalescer, FEW};
pub use inspect::DescriptorInfo;
use local_clock::Clock;
pub use netpoll_core::PollDesc;
pub use poll::{PollBuffer, PollGuard};
pub use registration::PollRegistration;
use shard::Shard;
pub use timers::{Renewed, TimerId};

/// The largest number of descriptors that one `Netpoll` can hold: 1,048,576, the kernel's own default limit for a process;
/// 65,504 on a 32-bit machine.
pub const MAX_DESCRIPTORS: usize = cache::BLOCKS * BLOCK_LEN;

/// A poller: the descriptors that it watches, its timers, and the kernel's poller.
#[derive(Debug)]
pub struct Netpoll {
    cache: Cache,
    shards: Box<[CachePadded<Shard>]>,
    clock: Clock,
    pipes: Arc<pipes::Pipes>,
    /// The process that made it.
    epoch: ForkEpoch,
    /// Set once, by `end`: no thread polls any more.
    ended: Flag,
    /// True if its owner polls it, instead of a runtime.
    manual: bool,
    /// [`Config::probe`].
    probe: bool,
    /// The thread that polls for a runtime without threads while no thread drives it; `None` for any other runtime.
    standby: Option<standby::StandbyThread>,
}

/// The settings of a runtime's poller.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The number of workers, each with a timer wheel of its own.
    pub workers: usize,
    /// The number of the kernel's pollers, at most one for each worker and at most [`shard::MAX_SHARDS`].
    pub pollers: usize,
    /// The time by which a timer may be late where timers crowd, so that one wake serves several.
    pub slack: Duration,
    /// True if system calls may be tried that the kernel, or a filter, may not know.
    pub probe: bool,
    /// The bytes of the stack of the standby thread.
    pub stack_size: Option<usize>,
}

impl Netpoll {
    /// Creates a poller that its owner polls, for threads without worker numbers.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error if it has no descriptors or memory left.
    pub fn new() -> io::Result<Arc<Self>> {
        Self::create(
            Config { workers: 1, pollers: 1, slack: Duration::ZERO, probe: true, stack_size: None },
            true,
        )
    }

    /// Creates the poller of a runtime, whose threads poll it for as long as the runtime lives.
    ///
    /// # Errors
    ///
    /// As [`Netpoll::new`].
    pub fn with(config: Config) -> io::Result<Arc<Self>> {
        Self::create(config, false)
    }

    fn create(config: Config, manual: bool) -> io::Result<Arc<Self>> {
        let epoch = ForkEpoch::current()?;
        // The owner of a simulation drives every host.
        let has_standby = config.workers == 1 && !manual && !sys::is_simulated();
        let clock = Clock::new();
        let shards = config.pollers.min(config.workers).clamp(1, shard::MAX_SHARDS);
        let shards = (0..shards).map(|_| Shard::new(&config, shards).map(CachePadded::new));
        Ok(Arc::new(Self {
            cache: Cache::new(),
            shards: shards.collect::<io::Result<_>>()?,
            clock,
            pipes: pipes::Pipes::new(epoch),
            epoch,
            ended: Flag::new(),
            manual,
            probe: config.probe,
            standby: has_standby.then(|| standby::StandbyThread::new(config.stack_size)),
        }))
    }

    /// Returns the poller of the runtime that this thread runs for; outside of one, that of the process-wide default
    /// runtime, which is started on first use.
    ///
    /// # Errors
    ///
    /// Returns an error if the default runtime cannot be started.
    pub fn current() -> io::Result<Arc<Netpoll>> {
        // The default runtime is the one call to a higher layer.
        Self::entered().map_or_else(crate::default_netpoll, Ok)
    }

    /// Returns the poller that a sleep of this thread belongs to: [`Netpoll::current`], or that of the default runtime if the
    /// current one polls no more, or only while some thread drives its runtime, which this one has merely entered. A clock that
    /// was paused goes wrong in another poller, so there the sleep waits for such a thread.
    ///
    /// # Errors
    ///
    /// As [`Netpoll::current`]. Returns [`runtime_ended`](crate::runtime_ended) in a process that was forked after the
    /// default runtime had been started.
    pub fn for_sleep() -> io::Result<Arc<Netpoll>> {
        if let Some(netpoll) = Self::polled().filter(|netpoll| netpoll.check().is_ok()) {
            return Ok(netpoll);
        }
        let netpoll = crate::default_netpoll()?;
        netpoll.check()?;
        Ok(netpoll)
    }

    /// Returns the poller of the runtime that this thread works for, if any.
    fn entered() -> Option<Arc<Netpoll>> {
        context::with(|context| context.netpoll.borrow().clone())
    }

    /// Returns that poller if it keeps timers.
    fn polled() -> Option<Arc<Netpoll>> {
        context::with(|context| {
            let current = context.netpoll.borrow();
            current.as_ref().filter(|current| current.keeps_timers(context.is_polled.get())).cloned()
        })
    }

    /// Returns whether timers of a thread that has entered the runtime are left here. `is_polled`: threads poll it.
    #[inline]
    fn keeps_timers(&self, is_polled: bool) -> bool {
        is_polled || !self.clock.pace.is_system()
    }

    /// Makes `netpoll` the poller that this thread works for, and returns the previous one. `is_polled`: threads poll it.
    pub fn enter(netpoll: Option<Arc<Netpoll>>, is_polled: bool) -> Option<Arc<Netpoll>> {
        context::with(|context| {
            context.is_polled.set(is_polled);
            context.netpoll.replace(netpoll)
        })
    }

    /// Returns whether a timer should move from this poller to the one of [`Netpoll::for_sleep`], because no thread may poll
    /// this one.
    pub fn prefers_current_poller(&self) -> bool {
        let is_self = |current: &Arc<Self>| ptr::eq(&**current, self);
        context::with(|context| {
            let current = context.netpoll.borrow();
            match current.as_ref().filter(|current| current.keeps_timers(context.is_polled.get())) {
                Some(current) => !is_self(current),
                None => self.standby.is_some(),
            }
        })
    }

    /// Returns the pipes of copies within the kernel.
    pub fn pipes(&self) -> &Arc<pipes::Pipes> {
        &self.pipes
    }

    /// Returns whether system calls may be tried that the kernel, or a filter, may not know.
    pub fn may_probe(&self) -> bool {
        self.probe
    }

    /// Returns the number of tasks that are parked on descriptors, by a look at each descriptor.
    pub fn waiters(&self) -> usize {
        self.cache.parked()
    }

    /// Returns the number of descriptors in use.
    pub fn descriptors(&self) -> usize {
        self.cache.in_use()
    }
}
