//! How a poll parks: with the waker of its own task, or with one that stands for several.
//!
//! Most directions have one task that polls. It parks its own waker, as an operation does, and allocates nothing. Two tasks
//! that did so would displace each other's parking, and wake each other for ever. So the second one moves both into the list
//! of [`PollWakers`](super::PollWakers), and parks the waker that wakes them all.
//!
//! | in the semaphore | the list | a poll that finds nothing |
//! |---|---|---|
//! | nothing, or its own waker | empty | parks its own waker |
//! | the waker of another task | empty | displaces that one, moves it and its own into the list, parks the shared waker |
//! | the shared waker, or nothing | has tasks | registers in the list, and parks the shared waker |
//! | the shared waker, or nothing | empty, since an event has woken its tasks | parks its own waker |
//!
//! A task whose own waker is parked is often polled for another reason: hyper's connections read at each turn. Such a poll
//! changes nothing, and takes no lock: the task's number is beside the parking (`Op::is_parked_already`).
//!
//! [`Readiness`](super::readiness::Readiness), and a poll that makes no call, always use the list.
//!
//! A task that is moved into the list has left the semaphore for a moment. The mover looks at the semaphore afterwards:
//!
//! 1. The shared waker is still parked: what ends this parking wakes the list.
//! 2. It is not: an event has ended it, perhaps before the task was in the list. The mover wakes the list.

use std::io;
use std::task::{Context, Poll, Waker};

use netpoll_core::sync::RelaxedU8;
use netpoll_core::{Mode, Wait};

use super::poll_wakers::WakerSet;
use super::{Direction, Op, OpState};
use crate::foreign;
use crate::sys::{FdOwner, Poller};
use crate::task;

/// The kind of parking that the last poll of a direction has made. It tells the holder of the direction's lock whose waker is
/// in the semaphore, if one is: an operation that parks keeps the lock meanwhile. Changed under that lock.
#[derive(Debug, Default)]
pub(in crate::fd) struct LastPoll(RelaxedU8);

/// The waker of a single task, parked after a call that found nothing; or none yet.
const ALONE: u8 = 0;
/// The shared waker, after a call that found nothing.
const SHARED_BEHIND_CALL: u8 = 1;
/// The shared waker, without a call before it.
const SHARED: u8 = 2;

impl LastPoll {
    /// Returns whether the last poll has parked the waker of its own task, or none has parked.
    #[inline]
    pub(in crate::fd) fn is_alone(&self) -> bool {
        self.0.get() == ALONE
    }

    /// Records that a poll is about to park the shared waker; `behind_call`: after a call that found nothing.
    pub(super) fn set_shared(&self, behind_call: bool) {
        self.0.set(if behind_call { SHARED_BEHIND_CALL } else { SHARED });
    }
}

impl<'a, W: Direction, F, S: FdOwner> Op<'a, W, F, S> {
    fn last_poll(&self) -> &LastPoll {
        &self.fd.last_polls[self.mode() as usize]
    }

    /// Returns whether a single task is parked through a poll, after a call that found nothing. Another call would find nothing
    /// either. If the answer is out of date, the parking that follows finds the readiness.
    #[inline]
    pub(super) fn is_behind_call(&self) -> bool {
        self.arm_on_park
            && !self.zero_len
            && self.last_poll().is_alone()
            && self.fd.desc().is_parked(self.mode())
    }

    /// Returns whether the task is parked by an earlier poll of its own, so that this poll has nothing to do. It takes no
    /// lock: whatever ends that parking wakes the task (INV-15).
    ///
    /// Only reads are polled again and again. A timeout has to be looked at by each poll, a level-triggered backend to be asked
    /// again, and a forked child to fail.
    #[inline]
    pub(super) fn is_parked_already(&self, waker: &Waker) -> bool {
        let (fd, mode) = (self.fd, self.mode());
        let is_parked = |task| fd.desc().is_parked_as(mode, &fd.parked_reader, task);
        // The first look is cheaper, and most often the last.
        Poller::EDGES
            && mode == Mode::Read
            && !self.zero_len
            && fd.desc().is_parked(mode)
            && task::task_number(waker).is_some_and(is_parked)
            && !fd.has_timeouts()
            && fd.netpoll().is_owner_process()
    }

    /// Waits by `wait` with a waker that stays parked when the lock goes: that of the task, or that of all tasks that poll.
    #[inline]
    pub(super) fn park_poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        wait: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        // `poll_over` and `poll_peer_gone` park without a call, and no timeout limits their wait.
        if self.arm_on_park {
            self.fd.start_polls(self.mode())?;
        }
        let shared = if self.parks_alone() { None } else { Some(self.register_shared(cx.waker())?) };
        // It waits first, as an operation that was woken.
        (self.polls, self.state) = (true, OpState::Parked);
        let waker = shared.map_or(cx.waker(), WakerSet::waker);
        let polled = wait(self, &mut Context::from_waker(waker));
        // The parking stays when the lock goes.
        self.state = OpState::Locked;
        if polled.is_ready() {
            self.end_park(shared);
        }
        polled
    }

    /// Clears what a poll that does not park has left.
    fn end_park(&self, shared: Option<&WakerSet>) {
        if self.arm_on_park {
            self.fd.end_polls(self.mode());
        }
        if let Some(shared) = shared
            && self.fd.netpoll().check().is_err()
        {
            // The runtime has ended just now.
            shared.waker().wake_by_ref();
        }
    }

    /// Returns whether this poll parks the waker of its own task.
    #[inline]
    pub(super) fn parks_alone(&self) -> bool {
        self.arm_on_park && (self.last_poll().is_alone() || self.is_alone_again())
    }

    /// Returns whether the list of tasks is empty, and records that in this case.
    #[cold]
    fn is_alone_again(&self) -> bool {
        // In a forked child a thread of the parent may have the list.
        let is_empty = self.fd.netpoll().is_owner_process() && self.fd.pollers(self.mode()).parked.is_empty();
        if is_empty {
            self.last_poll().0.set(ALONE);
        }
        is_empty
    }

    /// Registers the task in the list of all that poll, whose waker is parked.
    #[cold]
    fn register_shared(&self, waker: &Waker) -> io::Result<&'a WakerSet> {
        // Before it registers: a waker that is never taken out again may own the future that is polled.
        self.fd.netpoll().check()?;
        let shared = &self.fd.pollers(self.mode()).parked;
        shared.register(waker);
        self.last_poll().set_shared(self.arm_on_park);
        Ok(shared)
    }

    /// Moves the task that this poll has displaced into the list; its own task too, unless the shared waker is parked already.
    #[cold]
    pub(super) fn share_parking(&self, displaced: Waker, mut wait: Wait) -> Wait {
        if wait != Wait::Parked {
            // The end of this wait has also ended that of the other task.
            foreign::wake(displaced);
            return wait;
        }
        let (fd, mode) = (self.fd, self.mode());
        let shared = &fd.pollers(mode).parked;
        if displaced.will_wake(shared.waker()) {
            // It stood for no task, as the list was empty.
            return wait;
        }
        shared.insert(displaced);
        if self.last_poll().is_alone() {
            self.last_poll().set_shared(true);
            let (parked, own) = fd.registration.park(mode, shared.waker());
            own.into_iter().for_each(|own| _ = shared.insert(own));
            wait = parked;
        }
        if wait != Wait::Parked || !fd.desc().is_parked(mode) {
            shared.waker().wake_by_ref();
        }
        wait
    }

    /// Registers behind the parking of other polls, if a call found nothing before it: a call now would find nothing either.
    /// Returns false if there is no such parking, and then nothing or a registration that may wake in vain is left.
    ///
    /// It looks twice. The event that ends the parking after the second look wakes this task, which has registered before.
    /// An event that has woken the list before that registration is seen by the second look, as the list's mutex orders both.
    #[inline]
    pub(super) fn joins_parking(&self, waker: &Waker) -> bool {
        self.arm_on_park && !self.last_poll().is_alone() && self.joins_parking_of_polls(waker)
    }

    /// Does the same for a task that makes no call.
    #[cold]
    pub(super) fn joins_parking_of_polls(&self, waker: &Waker) -> bool {
        let (fd, mode) = (self.fd, self.mode());
        let may_join = || self.last_poll().0.get() == SHARED_BEHIND_CALL && fd.desc().is_parked(mode);
        if self.zero_len || !may_join() {
            return false;
        }
        // An error is that of the attempt that follows.
        if fd.netpoll().check().is_err() || fd.netpoll().want_poll().is_err() {
            return false;
        }
        fd.pollers(mode).parked.register(waker);
        may_join()
    }
}
