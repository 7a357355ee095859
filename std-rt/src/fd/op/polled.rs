//! Operations without a future: `try_*`, which never waits, and `poll_*`, which keeps nothing between two polls.
//!
//! # A poll
//!
//! It holds the direction's lock only while it runs. If it is pending, it leaves a waker behind: parked in the semaphore
//! ([`poll_park`](super::poll_park)), or in the list of waiters.
//!
//! | when it comes | it | and is woken |
//! |---|---|---|
//! | lock free, call succeeds | returns the result | - |
//! | lock free, `EAGAIN` | parks, unlocks | by an event, a deadline, close; or by an operation that takes the parking over |
//! | lock free, a task is parked through `poll_*` behind an `EAGAIN` | parks too, and makes no call: no event has come since | as above, both |
//! | lock free, a task is parked that made no call | calls; after an `EAGAIN` it parks too | as above, both |
//! | this task is parked alone already | makes no call and takes no lock | as by its last poll |
//! | lock held, at rest or granted | registers for a notification | when the lock is free and no operation waits for it, by the deadline, or by close |
//! | closed | fails | - |
//!
//! | it left behind | next comes | then |
//! |---|---|---|
//! | a parking, and its task lost interest | a `read` that finds bytes | it reads; the parking stays, for one wake in vain |
//! | | a `read` that finds none | it parks in its place (PARKED to WAIT), the `poll_*` tasks are woken, and register again if they still wait |
//! | | close, a deadline, the drop of the descriptor | the parking is ended and the `poll_*` tasks are woken |
//! | a registration for the lock, and its task lost interest | the unlock | wakes in vain; no task waits for this one |
//! | a parking, and the deadline passes | the next poll | fails at once: it does not know that it was parked, so it has no last call as [`Op`](super::Op) has |
//! | a parking | the future of an operation is dropped | it retracts only a parking of its own: while it holds the lock, no other is made |

use std::convert::Infallible;
use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll, Waker, ready};

use netpoll_core::Mode;
use netpoll_core::poll::fd_mutex::{Lock, LockOrWait};

use super::{Direction, Op, OpState, ReadMode};
use crate::coop;
use crate::fd::op::poll_wakers::{EntryId, PollWakers};
use crate::fd::{Fd, FdKind};
use crate::sys::{FdOwner, Poller, is_ready_for};

impl<S: FdOwner> Fd<S> {
    /// Returns the reason once no operation in this direction can succeed any more: closed, or past the deadline. It makes no
    /// call, and leaves the same behind as [`Op::poll_once`] when it is pending. It does not request events, but one may wake it.
    pub fn poll_over(&self, cx: &mut Context<'_>, mode: Mode) -> Poll<io::Result<Infallible>> {
        let never = |_: &Self| Err(io::ErrorKind::WouldBlock.into());
        let mut over = Op::new(self, mode, never);
        over.arm_on_park = false;
        self.poll_untimed(mode, cx, |cx| over.poll_once(cx))
    }
}

impl<S: FdOwner> Fd<S> {
    /// Polls for the readiness of a direction, without a buffer. It is ready at once, and consumes the
    /// reason, if a readiness is remembered or the last [`Fd::try_io`] has succeeded. Otherwise it asks the kernel by poll(2),
    /// and parks if that finds nothing.
    pub fn poll_ready<W: Direction>(&self, direction: W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(coop::poll_proceed(cx));
        let polled = Op::without_call(self, direction).trusting_hint().poll_ready_taken(cx);
        if polled.is_pending() {
            coop::refund();
        }
        polled
    }

    /// Polls for the end of the peer ([`Fd::peer_closed`]), whether or not bytes are unread. It parks in the read direction and
    /// makes no call, so it takes no bytes. It may consume a readiness, and then drops the short-read hint as well: the next
    /// operation makes its call before it waits, as after any other poll.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` with a level-triggered backend, which would report unread bytes again and again.
    pub fn poll_peer_gone(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.peer_closed() {
            return Poll::Ready(Ok(()));
        }
        if !Poller::EDGES {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "poll(2) cannot wait for the end of the peer behind unread bytes: read, or ask `peer_closed`",
            )));
        }
        self.poll_untimed(Mode::Read, cx, |cx| self.poll_peer_gone_untimed(cx))
    }

    fn poll_peer_gone_untimed(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut op = Op::without_call(self, ReadMode);
        op.arm_on_park = false;
        ready!(op.lock_or_register(None, cx.waker()))?;
        let joined = op.joins_parking_of_polls(cx.waker());
        loop {
            // An event is published before it ends a parking, so an event that is missed here ends the parking below.
            if self.reset_locked(Mode::Read)? {
                self.drained.set(false);
            }
            if self.peer_closed() {
                return Poll::Ready(Ok(()));
            }
            if joined && self.desc().is_parked(Mode::Read) {
                return Poll::Pending;
            }
            ready!(op.park_poll(cx, |op, cx| op.wait::<false>(self.desc(), cx)))?;
            self.drained.set(false);
        }
    }

    /// Returns whether a single task is parked through a poll. It takes the lock of the direction, if that is free: a parking
    /// under the lock is an operation's.
    pub(in crate::fd) fn has_poll_alone(&self, mode: Mode) -> bool {
        let is_parked = || self.last_polls[mode as usize].is_alone() && self.desc().is_parked(mode);
        let mut op = Op::without_call(self, mode);
        is_parked() && matches!(op.try_lock(), Poll::Ready(Ok(()))) && is_parked()
    }

    /// Makes a call of the user once, and does not wait. `is_shared` means that it is made even while another operation of the
    /// direction waits, as for a whole datagram.
    ///
    /// The readiness is dropped before the call, so that an event that comes during the call is kept. A call that finds nothing
    /// leaves the hint that the queue is empty, for every kind of descriptor: `EAGAIN` is exact. After a call that
    /// succeeds there may be more, so the next [`Fd::poll_ready`] need not ask the kernel.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if the call does, or if another operation has the lock; an error if the descriptor is closed,
    /// `TimedOut` if the deadline has passed, and the errors of the call.
    pub fn try_io<T>(
        &self,
        mode: Mode,
        is_shared: bool,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut op = Op::without_call(self, mode);
        match op.try_lock() {
            Poll::Ready(locked) => locked?,
            Poll::Pending if is_shared => {
                return self.with(|fd| {
                    self.check_unlocked(mode)?;
                    call(fd)
                });
            }
            Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
        }
        self.reset_locked(mode)?;
        if mode == Mode::Read {
            // Dropped together with the readiness, and first: the call may panic.
            self.drained.set(false);
        }
        let result = call(self.io.as_fd());
        let found_nothing = result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if mode == Mode::Read && found_nothing {
            self.drained.set(true);
        }
        if let Some(pollers) = self.known_pollers(mode).filter(|_| result.is_ok()) {
            pollers.may_have_more.set();
        }
        result
    }
}

impl<T, W: Direction, F: FnMut(&Fd<S>) -> io::Result<Option<T>>, S: FdOwner> Op<'_, W, F, S> {
    /// Calls until the operation is complete, under the lock. Returns `None` if it would have to wait.
    fn call_now(&mut self) -> Option<io::Result<T>> {
        loop {
            if let Err(error) = self.prepare() {
                return Some(Err(error));
            }
            match (self.call)(self.fd) {
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                result => return result.transpose(),
            }
        }
    }

    /// Makes one attempt, and does not wait.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if the call does, or another operation of the direction runs or waits; and the operation's errors.
    pub fn try_once(mut self) -> io::Result<T> {
        match self.try_lock() {
            Poll::Ready(locked) => locked?,
            Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
        }
        // An attempt always calls. The hint is dropped together with the readiness.
        let reads = self.mode() == Mode::Read && !self.zero_len;
        if reads {
            self.fd.drained.set(false);
        }
        let result = self.call_now();
        if reads && result.is_none() {
            // The queue was empty after the reset, without an end or an error: any change makes an event.
            self.fd.drained.set(self.fd.kind == FdKind::ByteStream);
        }
        self.state = OpState::Done;
        self.fd.unlock(self.mode());
        result.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }

    /// Polls once and forgets the operation; the module's table says what it leaves behind when it is pending.
    #[inline]
    pub fn poll_once(mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let polling = self.trace.begin(&self.fd.trace, self.direction.mode());
        polling.end(self.poll_once_within(cx))
    }

    #[inline]
    fn poll_once_within(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if self.is_parked_already(cx.waker()) {
            return Poll::Pending;
        }
        ready!(coop::poll_proceed(cx));
        let polled = self.poll_taken(cx);
        if polled.is_pending() {
            coop::refund();
        }
        polled
    }

    /// By reference: a copy of the operation on the stack would wait for the stores that have made it.
    #[inline]
    fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        ready!(self.lock_or_register(None, cx.waker()))?;
        let polled = self.poll_locked(cx);
        // Not left to the drop, which is for an operation that is given up.
        self.state = OpState::Done;
        self.fd.unlock(self.mode());
        polled
    }

    /// Calls, and parks if that finds nothing.
    #[inline]
    fn poll_locked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if self.joins_parking(cx.waker()) {
            return Poll::Pending;
        }
        let knows_empty = self.take_short_read_hint(self.fd.desc()) || self.is_behind_call();
        if (!knows_empty || self.fd.is_poll_time_over(self.mode()))
            && let Some(result) = self.call_now()
        {
            self.fd.end_polls(self.mode());
            return Poll::Ready(result);
        }
        self.park_poll(cx, |op, cx| op.attempt::<true>(cx, false))
    }
}

impl<W: Direction, S: FdOwner> Op<'_, W, (), S> {
    /// Polls [`Fd::poll_ready`]. An event is the answer, without a check: some conditions the kernel reports once.
    fn poll_ready_taken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.lock_or_register(None, cx.waker()))?;
        if self.joins_parking(cx.waker()) {
            return Poll::Pending;
        }
        let (fd, mode, desc) = (self.fd, self.mode(), self.fd.desc());
        let has_event = fd.reset_locked(mode)?;
        let may_have_more =
            |pollers: &PollWakers| pollers.may_have_more.is_set() && pollers.may_have_more.clear();
        let knows_empty = self.take_short_read_hint(desc) || self.is_behind_call();
        if has_event || fd.known_pollers(mode).is_some_and(may_have_more) {
            fd.end_polls(mode);
            return Poll::Ready(self.check_event_err(desc));
        }
        let asks = !knows_empty || fd.is_poll_time_over(mode);
        if asks && is_ready_for(fd.io.as_fd(), fd.kind.watch(), mode)? {
            fd.end_polls(mode);
            return Poll::Ready(Ok(()));
        }
        let waited = self.park_poll(cx, |op, cx| op.wait::<false>(desc, cx));
        waited.map(|waited| waited.and_then(|()| self.check_event_err(desc)))
    }
}

impl<W: Direction, F, S: FdOwner> Op<'_, W, F, S> {
    /// Takes the lock; pending if another operation holds it.
    pub(super) fn try_lock(&mut self) -> Poll<io::Result<()>> {
        match self.fd.mutex.lock(self.mode()) {
            Lock::Locked => self.locked(),
            Lock::Contended => Poll::Pending,
            Lock::Closed => self.closed(),
        }
    }

    /// Takes the lock for this poll, or registers to be woken when it is free. A future has an entry of its own for that.
    pub(super) fn lock_or_register(
        &mut self,
        entry: Option<&mut Option<EntryId>>,
        waker: &Waker,
    ) -> Poll<io::Result<()>> {
        match self.try_lock() {
            Poll::Pending => self.register_notify(entry, waker),
            ready => ready,
        }
    }

    /// Registers for a notification, since another task has the lock.
    #[cold]
    fn register_notify(
        &mut self,
        entry: Option<&mut Option<EntryId>>,
        waker: &Waker,
    ) -> Poll<io::Result<()>> {
        let (fd, mode) = (self.fd, self.mode());
        fd.check_owner_process()?;
        let pollers = fd.pollers(mode).awaiting_lock();
        // This task's own waker comes first: the shared one may be woken as soon as it is in the list.
        let mut of_poll;
        let entry = if let Some(entry) = entry {
            pollers.register_owned(entry, waker);
            entry
        } else {
            of_poll = pollers.register(waker);
            &mut of_poll
        };
        let shared = pollers.waker().clone();
        let registered = fd.mutex.lock_or_notify(mode, &mut fd.waiters(), shared);
        let locked = match registered {
            LockOrWait::Waits(_) => {
                fd.arm_poll_timer(mode, self.arm_on_park)?;
                return Poll::Pending;
            }
            LockOrWait::Locked(_) => self.locked(),
            LockOrWait::Closed(_) => self.closed(),
        };
        if let Some(entry) = entry.take() {
            pollers.leave(entry);
        }
        locked
    }
}
