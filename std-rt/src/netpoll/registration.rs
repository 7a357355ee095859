//! The registration of a descriptor with a poller, which has every operation of its owner.

#![expect(unsafe_code, reason = "a registration is kept beside the poller that it refers to")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::task::Waker;

use netpoll_core::poll::sema::{Displaced, ParkedTask};
use netpoll_core::{Mode, PollErr, PollKey, Registration, Wait};

use super::{Netpoll, PollDesc, Shard, fd_limit};
use crate::foreign;
use crate::sys::{Poller, Watch};

/// An owned registration of a descriptor (mio's and tokio's `Registration`).
///
/// It owns the slot with the descriptor's state words, its registration with the kernel's poller, and its entry in a timer
/// wheel. It does not own the number: the methods that make a system call take it as an argument. In the order of a
/// descriptor's life:
///
/// | method | caller |
/// |---|---|
/// | [`Netpoll::open`] | the owner |
/// | [`reset`](Self::reset), [`park`](Self::park), [`arm`](Self::arm), [`retract`](Self::retract) | the task that has the lock of the direction (INV-2) |
/// | [`set_deadline`](Self::set_deadline), [`set_deadline_after`](Self::set_deadline_after) | any task |
/// | [`evict`](Self::evict) | a task that closes the descriptor |
/// | [`deregister`](Self::deregister) | the thread that then closes the number |
/// | drop | the owner; wakes the tasks that are still parked and frees the slot |
#[derive(Debug)]
pub struct PollRegistration {
    /// Refers to the cache of `netpoll`, and is dropped before it: fields are dropped in the order of their declaration.
    pub(super) registration: Registration<'static>,
    pub(super) netpoll: Arc<Netpoll>,
}

impl Netpoll {
    /// Registers a descriptor for reads and writes. Readiness that it has already makes an event.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error (`EPERM`: the descriptor cannot be polled), an error if all
    /// [`MAX_DESCRIPTORS`](super::MAX_DESCRIPTORS) are in use, and [`runtime_ended`](crate::runtime_ended) if no thread
    /// polls any more. Nothing stays registered then.
    pub fn open(self: &Arc<Self>, fd: BorrowedFd<'_>) -> io::Result<PollRegistration> {
        self.open_for(fd, Watch::Both)
    }

    /// Registers a descriptor for other conditions than reads and writes.
    ///
    /// # Errors
    ///
    /// As [`open`](Netpoll::open). Returns `Unsupported` if the backend does not have the condition.
    pub fn open_for(self: &Arc<Self>, fd: BorrowedFd<'_>, watch: Watch) -> io::Result<PollRegistration> {
        self.check()?;
        let registration = self.cache.alloc()?;
        // SAFETY: INV-1: the registration refers to a block and to the boxed cache of this poller, which neither move nor are
        // freed before the poller is dropped. The `Arc` beside it keeps the poller until the registration was dropped.
        let registration: Registration<'static> = unsafe { std::mem::transmute(registration) };
        let opened = PollRegistration { registration, netpoll: self.clone() };
        self.shard_of(opened.key().slot).poller.open(fd, opened.key(), watch)?;
        // Numbers begin at 0, which stands for a slot without a descriptor.
        opened.desc().number().set(fd.as_raw_fd() as usize + 1);
        Ok(opened)
    }

    /// Makes sure that a thread polls for a task of this thread that has parked. The poller of a runtime without threads is
    /// polled by the thread that drives the runtime; for a task of another runtime the standby thread does.
    ///
    /// # Errors
    ///
    /// Returns an error if that thread cannot be started. The task would wait for ever, so it retracts the wait.
    #[inline]
    pub fn want_poll(self: &Arc<Self>) -> io::Result<()> {
        match &self.standby {
            Some(standby) if !self.is_own_worker() => self.want_standby(standby),
            _ => Ok(()),
        }
    }

    /// Removes `fd` from the kernel's pollers; see [`PollRegistration::deregister`]. Public for tests that lose an event.
    #[doc(hidden)]
    pub fn deregister(&self, fd: BorrowedFd<'_>) {
        self.shards.iter().for_each(|shard| self.deregister_from(shard, fd));
    }

    fn deregister_from(&self, shard: &Shard, fd: BorrowedFd<'_>) {
        // In a forked child the kernel would remove the open file that parent and child share.
        if self.is_owner_process() {
            // The kernel removes a descriptor with its last number in any case; an error (ENOENT) says that it has.
            let _ = shard.poller.close(fd);
        }
    }
}

impl PollRegistration {
    /// Returns the poller that watches the descriptor.
    #[inline]
    pub fn netpoll(&self) -> &Arc<Netpoll> {
        &self.netpoll
    }

    /// Returns the state words of the descriptor.
    #[inline]
    pub fn desc(&self) -> &PollDesc {
        self.registration.desc()
    }

    /// Returns the key of the descriptor's events.
    #[inline]
    pub fn key(&self) -> PollKey {
        self.registration.key()
    }

    /// Drops a remembered readiness before a system call; returns whether there was one.
    ///
    /// # Errors
    ///
    /// As [`Registration::reset`].
    #[inline]
    pub fn reset(&self, mode: Mode) -> Result<bool, PollErr> {
        self.registration.reset(mode)
    }

    /// Parks the task of `waker` on a direction after a [`reset`](Self::reset) that found no readiness; see
    /// [`Registration::park`]. The second value is the waker of a parking that was taken over, if it stands for another task.
    #[inline(always)]
    pub fn park(&self, mode: Mode, waker: &Waker) -> (Wait, Option<Waker>) {
        Self::end_park(waker, self.registration.park(mode, waker))
    }

    /// Parks as [`park`](Self::park) does, and leaves the number of the waker's task in `parked`; see
    /// [`PollDesc::is_parked_as`].
    #[inline(always)]
    pub fn park_named(
        &self,
        mode: Mode,
        waker: &Waker,
        parked: &ParkedTask,
        task: usize,
    ) -> (Wait, Option<Waker>) {
        Self::end_park(waker, self.registration.park_named(mode, waker, parked, task))
    }

    #[inline(always)]
    fn end_park(waker: &Waker, (wait, displaced): (Wait, Displaced)) -> (Wait, Option<Waker>) {
        if wait == Wait::Again {
            waker.wake_by_ref();
        }
        (wait, displaced.into_waker())
    }

    /// Requests the next event of a direction from a level-triggered backend, after a task has parked there. Does nothing on
    /// an edge-triggered one.
    ///
    /// The request comes after the parking: a task that finds a readiness instead must not make it, and an event in between
    /// is still there when the kernel looks. A wait that is given up leaves the request, which costs one event in vain.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error. The task would never be woken, so it retracts the wait.
    #[inline(always)]
    pub fn arm(&self, fd: BorrowedFd<'_>, mode: Mode) -> io::Result<()> {
        self.desc().since(mode).set(self.netpoll.clock.polled());
        // An edge-triggered backend needs no key, which is in another cache line than the state words.
        if Poller::EDGES {
            Ok(())
        } else {
            self.netpoll.shard_of(self.key().slot).poller.arm(fd, self.key(), mode)
        }
    }

    /// Gives up a wait and returns its waker, unless it is being woken; see [`Registration::retract`].
    #[must_use = "the waker may be another task's: drop your own, wake another's"]
    pub fn retract(&self, mode: Mode) -> Option<Waker> {
        self.registration.retract(mode)
    }

    /// Makes both directions fail from now on, wakes the tasks that are parked, and disarms the timer.
    pub fn evict(&self) {
        let mut list = self.registration.evict();
        if self.netpoll.is_owner_process() {
            let slot = self.key().slot;
            // Dropped outside the lock of the wheel.
            let _entry = self.netpoll.lock_wheel(self.netpoll.wheel_of(slot)).remove(slot);
        }
        foreign::wake_all(list.drain());
    }

    /// Removes `fd` from the kernel's poller, before its number is closed.
    pub fn deregister(&self, fd: BorrowedFd<'_>) {
        self.netpoll.deregister_from(self.netpoll.shard_of(self.key().slot), fd);
    }
}

impl Drop for PollRegistration {
    fn drop(&mut self) {
        // A descriptor that could not be registered came from a task that waits for a free one, and would wake itself.
        let was_registered = self.desc().number().get() != 0;
        self.desc().number().set(0);
        self.netpoll.cache.count_freed();
        if was_registered && self.netpoll.is_owner_process() {
            fd_limit::notify_closed();
        }
    }
}
