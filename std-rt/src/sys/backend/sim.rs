//! The backend of a simulation: that of the simulated kernel on a thread that is in a simulation, else the real one.
//!
//! It has the contract of [`sys`](crate::sys). It is edge-triggered beside epoll, and beside poll(2) level-triggered, as that is:
//! it reports a direction once for each [`arm`](Poller::arm).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use netpoll_core::{Event, Mode, PollKey};

use super::real;
use crate::sys::Watch;
use crate::sys::sim::readiness::Waited;
use crate::sys::sim::{self, Kernel};

pub use real::FDSEQ_BITS;

/// A poller of the simulated kernel or of the real one.
#[derive(Debug)]
pub struct Poller(Kind);

#[derive(Debug)]
enum Kind {
    Real(real::Poller),
    Simulated(Arc<Kernel>, usize),
}

impl Drop for Poller {
    fn drop(&mut self) {
        if let Kind::Simulated(kernel, id) = &self.0 {
            kernel.lock().close_poller(*id);
        }
    }
}

#[allow(dead_code, reason = "the crate itself does not depend on it")]
impl Poller {
    /// The backend's name.
    pub const NAME: &'static str = "sim";

    /// Says whether each change is reported, with or without a preceding [`arm`](Poller::arm).
    pub const EDGES: bool = real::Poller::EDGES;

    /// Says whether an error without any other condition is told apart from others.
    pub const ERROR_ALONE: bool = real::Poller::ERROR_ALONE;
}

impl Poller {
    /// Says whether a short read of a byte stream proves that the next bytes are reported.
    pub const SHORT_IS_ALL: bool = real::Poller::SHORT_IS_ALL;

    /// Says whether [`wait_any`](Poller::wait_any) works.
    pub const CAN_WATCH: bool = real::Poller::CAN_WATCH;

    /// Sleeps until one of several pollers would return something.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` if only some are simulated; the real kernel's error.
    pub fn wait_any<'a>(
        pollers: impl Iterator<Item = &'a Poller> + Clone,
        timeout: Option<Duration>,
        each: impl FnMut(bool),
    ) -> io::Result<()> {
        let (mut ids, mut kernel) = (Vec::new(), None);
        for poller in pollers.clone() {
            if let Kind::Simulated(its, id) = &poller.0 {
                ids.push(*id);
                kernel = Some(its);
            }
        }
        let Some(kernel) = kernel else {
            let real = |poller: &'a Poller| match &poller.0 {
                Kind::Real(poller) => Some(poller),
                Kind::Simulated(..) => None,
            };
            return real::Poller::wait_any(pollers.filter_map(real), timeout, each);
        };
        if ids.len() < pollers.count() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        kernel.wait_for_pollers(&ids, timeout).into_iter().for_each(each);
        Ok(())
    }

    /// Creates a poller. In a simulation it is one of the host that runs.
    ///
    /// # Errors
    ///
    /// Returns the real kernel's error.
    pub fn init(probe: bool) -> io::Result<Poller> {
        match sim::current() {
            Some(kernel) => {
                let id = kernel.lock().open_poller();
                Ok(Poller(Kind::Simulated(kernel, id)))
            }
            None => real::Poller::init(probe).map(|poller| Poller(Kind::Real(poller))),
        }
    }

    /// Registers `fd` under `key`.
    ///
    /// # Errors
    ///
    /// Returns `EPERM` for a descriptor that the simulated kernel does not have; `EEXIST`; the real kernel's error.
    pub fn open(&self, fd: BorrowedFd<'_>, key: PollKey, watch: Watch) -> io::Result<()> {
        match &self.0 {
            Kind::Real(poller) => poller.open(fd, key, watch),
            Kind::Simulated(kernel, id) => Ok(kernel.lock().watch(*id, fd.as_raw_fd(), key, watch)?),
        }
    }

    /// Deregisters `fd`.
    ///
    /// # Errors
    ///
    /// Returns `ENOENT` if it is not open here.
    pub fn close(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        match &self.0 {
            Kind::Real(poller) => poller.close(fd),
            Kind::Simulated(kernel, id) => Ok(kernel.lock().unwatch(*id, fd.as_raw_fd())?),
        }
    }

    /// Requests the next event of one direction, if the backend is level-triggered.
    ///
    /// # Errors
    ///
    /// Returns `ENOENT` if the descriptor is not open here under `key`.
    #[inline(always)]
    pub fn arm(&self, fd: BorrowedFd<'_>, key: PollKey, mode: Mode) -> io::Result<()> {
        match &self.0 {
            Kind::Real(poller) => poller.arm(fd, key, mode),
            Kind::Simulated(..) if Self::EDGES => Ok(()),
            Kind::Simulated(kernel, id) => Ok(kernel.lock().arm(*id, fd.as_raw_fd(), key, mode)?),
        }
    }

    /// Fills `events`. In a simulation it does not sleep: if there is nothing and there is a timeout, the step of the host is
    /// over.
    ///
    /// # Errors
    ///
    /// Returns the real kernel's error.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<bool> {
        match &self.0 {
            Kind::Real(poller) => {
                events.simulated = None;
                poller.wait(&mut events.real, timeout)
            }
            Kind::Simulated(kernel, id) => {
                let waited = wait(kernel, *id, events.limit, timeout);
                events.simulated = Some(waited.events);
                Ok(waited.was_broken)
            }
        }
    }

    /// Sends a break.
    ///
    /// # Errors
    ///
    /// Returns the real kernel's error.
    pub fn wake(&self) -> io::Result<()> {
        match &self.0 {
            Kind::Real(poller) => poller.wake(),
            Kind::Simulated(kernel, id) => {
                kernel.lock().break_poller(*id);
                Ok(())
            }
        }
    }

    /// Returns a descriptor that is readable while a [`wait`](Poller::wait) would return events or a break.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` in a simulation.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.0 {
            Kind::Real(poller) => poller.descriptor(),
            Kind::Simulated(..) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Checks that the descriptors are still open.
    ///
    /// # Errors
    ///
    /// Returns `EBADF` if one was closed by its number.
    pub fn check(&self) -> io::Result<()> {
        match &self.0 {
            Kind::Real(poller) => poller.check(),
            Kind::Simulated(..) => Ok(()),
        }
    }
}

/// Waits in a simulated poller. A thread of a host's own runtime waits here; that of the simulation leaves the step of the host.
fn wait(kernel: &Kernel, id: usize, limit: usize, mut timeout: Option<Duration>) -> Waited {
    loop {
        let mut world = kernel.lock();
        let waited = world.wait(id, limit, timeout);
        let sleeps = world.is_asleep(id);
        drop(world);
        if !kernel.is_own_thread() {
            return waited;
        }
        if !sleeps {
            kernel.pause();
            return waited;
        }
        kernel.wait_for_poller(id);
        let Some(left) = kernel.lock().end_sleep(id) else { return waited };
        timeout = left;
    }
}

/// The buffer for the events of one wait.
pub struct Events {
    real: real::Events,
    /// The events of a wait of a simulated poller, which count then.
    simulated: Option<Vec<Event>>,
    limit: usize,
    capacity: usize,
}

impl Events {
    /// The largest possible capacity.
    pub const MAX_CAPACITY: usize = real::Events::MAX_CAPACITY;

    /// Creates a buffer for `capacity` events, clamped to 1..=[`MAX_CAPACITY`](Events::MAX_CAPACITY).
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, Events::MAX_CAPACITY);
        Events { real: real::Events::with_capacity(capacity), simulated: None, limit: capacity, capacity }
    }

    /// Limits later waits to `limit` events, clamped to 1..=capacity.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.clamp(1, self.capacity);
        self.real.set_limit(limit);
    }

    /// Returns how many events the last wait returned, the break not counted.
    pub fn len(&self) -> usize {
        self.simulated.as_ref().map_or_else(|| self.real.len(), Vec::len)
    }

    /// Returns whether the last wait returned no events.
    pub fn is_empty(&self) -> bool {
        self.simulated.as_ref().map_or_else(|| self.real.is_empty(), Vec::is_empty)
    }

    /// Returns event `index` of the last wait.
    ///
    /// # Panics
    ///
    /// Panics unless `index < len()`.
    pub fn get(&self, index: usize) -> Event {
        self.simulated.as_ref().map_or_else(|| self.real.get(index), |events| events[index])
    }

    /// Returns the events of the last wait in the kernel's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Event> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
