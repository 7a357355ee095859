//! A descriptor that a poller watches.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use netpoll_core::sync::RelaxedU8;
use netpoll_core::{Mode, Modes, Wait};

use crate::error;
use crate::foreign;
use crate::netpoll::{Netpoll, PollRegistration};
use crate::sys;

/// The value is there until the registration ends.
const PRESENT: &str = "a registration has its value until it is dropped";

/// A descriptor that a [`Poller`](super::Poller) watches, with the value that owns it.
///
/// At most one task waits in each direction. If another task parks there, it takes the place: only the waker of the last call
/// is woken, as with every future. So exclude it by a lock, or by one task for each direction.
///
/// Dropping it wakes the tasks that wait, deregisters the descriptor, frees its slot and drops the value, in this order.
pub struct Registration<T: AsFd> {
    /// Dropped before the value, which may close the number.
    slot: PollRegistration,
    /// Taken out by `into_inner` only.
    source: Option<T>,
    /// Set, and never cleared, before the first deadline is set.
    has_deadline: RelaxedU8,
}

impl<T: AsFd> Registration<T> {
    pub(super) fn new(netpoll: &Arc<Netpoll>, source: T) -> io::Result<Self> {
        let slot = netpoll.open(source.as_fd())?;
        Ok(Self { slot, source: Some(source), has_deadline: RelaxedU8::new() })
    }

    /// Returns the value.
    pub fn get_ref(&self) -> &T {
        self.source.as_ref().expect(PRESENT)
    }

    /// Returns the value, deregistered. Tasks that wait are woken.
    pub fn into_inner(mut self) -> T {
        self.end().expect(PRESENT)
    }

    /// Makes a system call by `io`, which gets the value. Where it returns `WouldBlock`, parks the task in the direction
    /// `mode`: the thread that ends the wait wakes `waker`, and the task calls this again. A call that a signal interrupts is
    /// repeated.
    ///
    /// `io` returns `WouldBlock` only if the kernel did.
    ///
    /// # Errors
    ///
    /// Returns the error of `io`, and the errors of [`park`](Self::park), also before the first call of `io`.
    pub fn poll_io<R>(
        &self,
        mode: Mode,
        waker: &Waker,
        mut io: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            self.reset(mode)?;
            match error::uninterrupted(|| io(self.get_ref())) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.park(mode, waker)?.is_pending() {
                        return Poll::Pending;
                    }
                }
                result => return Poll::Ready(result),
            }
        }
    }

    /// Drops a readiness that is remembered from an earlier event. Call it before a system call, which then finds what the
    /// readiness stood for; without it the next [`park`](Self::park) may be ready for nothing, once.
    ///
    /// # Errors
    ///
    /// Returns an error if the direction may not be used: [`is_closed`](crate::is_closed) after [`evict`](Self::evict),
    /// `TimedOut` after its deadline.
    pub fn reset(&self, mode: Mode) -> io::Result<()> {
        self.slot.reset(mode).map(|_| ()).map_err(error::refused)
    }

    /// Parks a task, after a system call that returned `WouldBlock`. Ready means that the call is worth another try. Pending
    /// means that `waker` is woken once it is, or once the wait is to fail; then call this again, or make the call.
    ///
    /// # Errors
    ///
    /// Returns an error if the wait would be in vain:
    ///
    /// - `TimedOut` if the deadline of the direction has passed;
    /// - [`is_closed`](crate::is_closed) if the descriptor was [evicted](Self::evict);
    /// - [`runtime_ended`](crate::runtime_ended) if the poller was dropped, or this is a forked child;
    /// - `Unsupported` if the kernel reports an error and nothing else, as at the writing end of a pipe without a reader;
    /// - an error of another kind if two threads park tasks in one direction at the same moment: one of them may park none.
    pub fn park(&self, mode: Mode, waker: &Waker) -> Poll<io::Result<()>> {
        self.slot.netpoll().check()?;
        let (wait, displaced) = self.slot.park(mode, waker);
        match wait {
            // The last waker of a direction counts, and this one is it.
            Wait::Parked => drop(displaced),
            // This call leaves no waker, and the wait of the displaced task may have ended.
            _ => foreign::wake_all(displaced),
        }
        match wait {
            Wait::Ready => Poll::Ready(Ok(())),
            Wait::Failed(why) => Poll::Ready(Err(error::refused(why))),
            // The waker has been woken already.
            Wait::Again => Poll::Pending,
            Wait::Parked => match self.request_event(mode) {
                Ok(()) => Poll::Pending,
                Err(error) => {
                    self.retract(mode);
                    Poll::Ready(Err(error))
                }
            },
        }
    }

    /// Makes sure that an event ends the wait of a task that has parked.
    fn request_event(&self, mode: Mode) -> io::Result<()> {
        let fd = self.get_ref().as_fd();
        self.slot.arm(fd, mode)?;
        // The error came before the parking: this sees it. It came after: it wakes the task, which parks again.
        let broken = mode == Mode::Read && self.slot.desc().info().event_err() && !sys::is_socket(fd);
        if broken { Err(error::not_pollable()) } else { Ok(()) }
    }

    /// Gives up the wait in a direction, for a task that ends before it was woken. The waker is dropped. A readiness stays for
    /// the next task.
    pub fn retract(&self, mode: Mode) {
        drop(self.slot.retract(mode));
    }

    /// Sets the deadline of some directions, or removes it. It stays in force until the next call: after it, every call of
    /// [`park`](Self::park) and [`poll_io`](Self::poll_io) fails with `TimedOut`, and a task that waits is woken. One that has
    /// passed takes effect at once.
    ///
    /// # Errors
    ///
    /// Returns [`is_closed`](crate::is_closed) if the descriptor was [evicted](Self::evict).
    pub fn set_deadline(&self, modes: Modes, deadline: Option<Instant>) -> io::Result<()> {
        self.has_deadline.set(1);
        if self.slot.postpone(modes, deadline) {
            return Ok(());
        }
        self.slot.set_deadline(modes, deadline).map(|_| ()).map_err(error::refused)
    }

    /// Ends all waits: the tasks are woken, and their waits and later ones fail with [`is_closed`](crate::is_closed). The
    /// descriptor stays registered and open until this value is dropped. For a thread that closes a descriptor of others.
    pub fn evict(&self) {
        self.slot.evict();
    }

    /// Returns whether a task is parked in a direction. It may have been woken already.
    pub fn is_parked(&self, mode: Mode) -> bool {
        self.slot.desc().is_parked(mode)
    }

    /// Wakes the waiters, deregisters the descriptor and returns the value, once. The drop of the slot frees it.
    fn end(&mut self) -> Option<T> {
        let source = self.source.take()?;
        // No other thread has a reference, so none is about to park or to set a deadline. What may be left is the waker of a
        // task, and the entry of a deadline in a wheel or its firing, which holds the lock of the wheel.
        let is_parked = self.is_parked(Mode::Read) || self.is_parked(Mode::Write);
        if is_parked || self.has_deadline.get() != 0 {
            self.slot.evict();
        }
        self.slot.deregister(source.as_fd());
        Some(source)
    }
}

impl<T: AsFd> Drop for Registration<T> {
    fn drop(&mut self) {
        // Put back, so that it is dropped after the slot.
        self.source = self.end();
    }
}

impl<T: AsFd> AsFd for Registration<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl<T: AsFd> fmt::Debug for Registration<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("fd", &self.as_fd().as_raw_fd()).finish_non_exhaustive()
    }
}
