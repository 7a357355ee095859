//! Readiness that is remembered until a call finds nothing (tokio's `ScheduledIo`): [`Evented`].
//!
//! An event of the poller is remembered by the state word of its direction first, as for every descriptor. A task that looks
//! takes it from there and keeps it beside the descriptor, in [`Side`], where it stays until it is cleared:
//!
//! | the side | its task finds in the state word | then |
//! |---|---|---|
//! | not ready | nothing | it parks |
//! | not ready | a readiness | the side is ready, by one more event |
//! | ready | - | its calls are made; the state word is left alone |
//! | ready, and a call finds nothing | - | the side is not ready, unless another event was taken since the task looked |
//!
//! An event that comes while a call is made is in the state word, so to clear the side does not lose it. The sides change
//! under the lock of their direction (INV-2), which is held during a call if it is free. A task that finds it held makes its
//! call beside the other one, as long as the side is ready.
//!
//! Of the tasks that use the `poll_*` functions of a direction, the one that polls last is woken. It parks its own waker as
//! long as no future waits ([`poll_park`](super::poll_park)), and allocates nothing. Beside futures, whose list and shared
//! waker are those of [`PollWakers`](super::PollWakers), the `poll_*` functions have one entry; each future has its own.
//!
//! | in the semaphore | the list | a `poll_*` function | a future |
//! |---|---|---|---|
//! | nothing, or the waker of a task that polls | empty | parks its own waker, and drops the other one | moves the other one into the list, and parks the shared waker |
//! | the shared waker, or nothing | has futures | fills its entry, and parks the shared waker | the same |
//! | the shared waker, or nothing | empty, since an event has woken them | parks its own waker | fills its entry, and parks the shared waker |
//!
//! A future of [`Evented::ready`] whose entry is gone has been woken by an event, and is ready whether or not another task has
//! cleared the side since.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};

use netpoll_core::Mode;
use netpoll_core::sync::{Flag, RelaxedUsize};

use super::poll_wakers::WakerSet;
use super::{Op, OpState};
use crate::coop;
use crate::fd::{Fd, FdKind, ReadySet};
use crate::netpoll::Netpoll;
use crate::sys::{OwnedBy, Watch};
pub use ready::Ready;
use waiter::Waiter;

mod bytes;
mod ready;
mod waiter;

/// One direction.
#[derive(Debug, Default)]
struct Side {
    /// Set while a call is worth a try.
    is_ready: Flag,
    /// The number of events that were taken from the state word.
    events: RelaxedUsize,
    /// The entry of the `poll_*` functions among the parked tasks, plus one; 0 without one.
    slot: RelaxedUsize,
}

impl Side {
    /// Returns the number of the event that made it ready, if it is.
    #[inline]
    fn event(&self) -> Option<usize> {
        self.is_ready.is_set().then(|| self.events.get())
    }

    /// Makes it ready by one more event.
    #[inline]
    fn set(&self) {
        self.events.set(self.events.get().wrapping_add(1));
        self.is_ready.set();
    }

    /// Makes it not ready, unless there was an event after number `event`.
    #[inline]
    fn clear(&self, event: usize) {
        if self.events.get() == event {
            self.is_ready.clear();
        }
    }
}

/// The conditions that held at one time, for [`Evented::clear`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadyEvent {
    /// The conditions.
    pub ready: ReadySet,
    /// The number of the last event of each direction.
    events: [usize; 2],
}

/// A descriptor in a value of the user, whose readiness is remembered until a call finds nothing: the model of tokio and mio.
///
/// The other types of this module ask the kernel in each operation; this one believes what the poller has reported:
///
/// * [`ready`](Self::ready) is ready as long as no call has found nothing since the last event.
/// * [`try_io`](Self::try_io) makes no call unless the direction is ready, and `WouldBlock`, from the kernel or not, clears that.
/// * Errors are the kernel's own, without the operation and the addresses, and keep their `raw_os_error`.
/// * Once its runtime has ended, every wait fails, also one that need not wait ([`runtime_ended`](crate::runtime_ended)).
/// * There are no deadlines and no turns. Of the tasks that poll one direction, the last one is woken; any number of futures may
///   wait in [`ready`](Self::ready) and [`async_io`](Self::async_io).
///
/// It is for libraries that are written to that model. The value must be non-blocking; it is not made so here.
///
/// ```
/// # use std::io::{ErrorKind, Read, Write};
/// use netpoll_rt::net::{Evented, ReadySet};
///
/// # netpoll_rt::block_on(async {
/// let (reader, mut writer) = std::os::unix::net::UnixStream::pair()?;
/// reader.set_nonblocking(true)?;
/// let reader = Evented::new(reader).map_err(|(_, error)| error)?;
/// writer.write_all(b"one")?;
/// let mut buffer = [0; 3];
/// let read = |buffer: &mut [u8]| reader.try_io(ReadySet::READABLE, || (&*reader.get_ref()).read(buffer));
/// reader.ready(ReadySet::READABLE).await?;
/// assert_eq!(read(&mut buffer)?, 3);
/// assert_eq!(read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
///
/// Dropping it deregisters the descriptor, and then drops the value.
pub struct Evented<T: AsFd> {
    fd: Fd<OwnedBy<T>>,
    sides: [Side; 2],
    error: Flag,
    priority: Flag,
}

impl<T: AsFd> Evented<T> {
    /// Watches the descriptor of `value`, which must always return the same one, for the poller of this thread's runtime.
    ///
    /// # Errors
    ///
    /// Returns the value and the kernel's error: `PermissionDenied` for a file that cannot be polled, `AlreadyExists` for a
    /// descriptor that is watched already; [`runtime_ended`](crate::runtime_ended).
    pub fn new(value: T) -> Result<Self, (T, io::Error)> {
        Self::with_interest(value, ReadySet::READABLE | ReadySet::WRITABLE)
    }

    /// Watches the descriptor as [`new`](Self::new) does. If `interest` has neither `READABLE` nor `WRITABLE`, then for
    /// `PRIORITY` or `ERROR` alone.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`new`](Self::new), `Unsupported` for the two conditions on systems with kqueue.
    pub fn with_interest(value: T, interest: ReadySet) -> Result<Self, (T, io::Error)> {
        let watch = if interest.intersects(ReadySet::READABLE | ReadySet::WRITABLE) {
            Watch::Both
        } else if interest.contains(ReadySet::PRIORITY) {
            Watch::Priority
        } else {
            Watch::Error
        };
        let kind = if watch == Watch::Both { FdKind::Other } else { FdKind::Special(watch) };
        match Netpoll::current() {
            Ok(netpoll) => Fd::try_from_owner(&netpoll, value, kind).map(Self::wrap),
            Err(error) => Err((value, error)),
        }
    }

    /// Watches a TCP stream as [`new`](Self::new) does, one that this process has made and that is read through this value
    /// alone: a short read of it has found all bytes, and the next one waits without a call.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`new`](Self::new).
    pub fn tcp_stream(value: T) -> Result<Self, (T, io::Error)> {
        match Netpoll::current() {
            Ok(netpoll) => Fd::try_from_owner(&netpoll, value, FdKind::ByteStream).map(Self::wrap),
            Err(error) => Err((value, error)),
        }
    }

    /// Watches a connection that this listener has accepted, for the listener's poller.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`new`](Self::new).
    pub fn accepted<C: AsFd>(&self, connection: C, is_tcp: bool) -> Result<Evented<C>, (C, io::Error)> {
        let kind = if is_tcp { FdKind::ByteStream } else { FdKind::Other };
        Fd::try_from_owner(self.fd.netpoll(), connection, kind).map(Evented::wrap)
    }

    fn wrap(fd: Fd<OwnedBy<T>>) -> Self {
        Self { fd, sides: Default::default(), error: Flag::new(), priority: Flag::new() }
    }

    /// Returns the value. Calls that do not wait can be made on it directly.
    #[inline]
    pub fn get_ref(&self) -> &T {
        self.fd.get_ref()
    }

    /// Returns the value to be changed. Its descriptor must stay the same.
    pub fn get_mut(&mut self) -> &mut T {
        self.fd.get_mut()
    }

    /// Returns the value, deregistered.
    pub fn into_inner(self) -> T {
        self.fd.into_inner()
    }

    /// Makes it ready, before the poller has reported anything: for a socket that is surely or probably ready, so that the
    /// first call need not wait for the poller. Has effect on `READABLE` and `WRITABLE`.
    pub fn assume_ready(&self, ready: ReadySet) {
        for (mode, condition) in [(Mode::Read, ReadySet::READABLE), (Mode::Write, ReadySet::WRITABLE)] {
            if ready.contains(condition) {
                self.under_lock(mode, || self.side(mode).set());
            }
        }
    }

    /// Returns the directions whose events may bring a condition of a set. A descriptor that is registered for another
    /// condition reports it as its read side; the event of an urgent byte may come with that of space to write.
    fn directions(&self, interest: ReadySet) -> impl Iterator<Item = Mode> + use<T> {
        let is_special = matches!(self.fd.kind, FdKind::Special(_));
        let has = move |mode| match mode {
            Mode::Read => is_special || interest.intersects(of_direction(Mode::Read)),
            Mode::Write => !is_special && interest.intersects(of_direction(Mode::Write)),
        };
        [Mode::Read, Mode::Write].into_iter().filter(move |mode| has(*mode))
    }

    #[inline]
    fn side(&self, mode: Mode) -> &Side {
        &self.sides[mode as usize]
    }

    /// Returns the conditions of a set that hold as far as they were taken from the poller.
    fn seen(&self, asked: ReadySet) -> ReadyEvent {
        let events = [self.sides[0].events.get(), self.sides[1].events.get()];
        let info = self.fd.desc().info();
        let [read, write] = [Mode::Read, Mode::Write].map(|mode| self.side(mode).is_ready.is_set());
        let ready = ReadySet::READABLE.when(read)
            | ReadySet::WRITABLE.when(write)
            | ReadySet::READ_CLOSED.when(info.read_closed())
            | ReadySet::WRITE_CLOSED.when(info.write_closed())
            | ReadySet::PRIORITY.when(self.priority.is_set())
            | ReadySet::ERROR.when(self.error.is_set());
        ReadyEvent { ready: ready & asked, events }
    }

    /// Returns the conditions for which `interest` is ready now, without a wait.
    pub fn now(&self, interest: ReadySet) -> ReadyEvent {
        let interest = interest.with_ends();
        for mode in self.directions(interest) {
            if !self.is_seen(mode, interest) {
                self.under_lock(mode, || _ = self.take(mode));
            }
        }
        self.seen(interest)
    }

    /// Clears the conditions of an event, unless the poller has reported others since. The ends of a direction stay.
    pub fn clear(&self, event: ReadyEvent) {
        let sides = [(Mode::Read, ReadySet::READABLE), (Mode::Write, ReadySet::WRITABLE)];
        for (mode, _) in sides.into_iter().filter(|(_, condition)| event.ready.contains(*condition)) {
            let clear = || self.side(mode).clear(event.events[mode as usize]);
            self.under_lock(mode, clear);
        }
        if event.ready.contains(ReadySet::PRIORITY) {
            self.priority.clear();
        }
        if event.ready.contains(ReadySet::ERROR) {
            self.error.clear();
        }
    }

    /// Calls `change` under the lock of a direction. If an operation holds it, that changes the side itself, and this does
    /// nothing: a call in vain may follow.
    fn under_lock(&self, mode: Mode, change: impl FnOnce()) {
        let mut op = Op::without_call(&self.fd, mode);
        if let Poll::Ready(Ok(())) = op.try_lock() {
            change();
            op.finish();
        }
    }

    /// Takes a readiness from the state word, under the lock of the direction; returns whether there was one.
    fn take(&self, mode: Mode) -> bool {
        let taken = self.fd.reset_locked(mode).unwrap_or(false);
        if taken {
            self.side(mode).set();
            self.note_special();
        }
        taken
    }

    /// Records the conditions that the last event may have had beside the directions.
    fn note_special(&self) {
        let info = self.fd.desc().info();
        if info.err() {
            self.error.set();
        }
        if info.urgent() {
            self.priority.set();
        }
    }

    /// Returns whether a wait in this direction for a part of `interest` has ended, as far as was taken from the poller.
    fn is_seen(&self, mode: Mode, interest: ReadySet) -> bool {
        !self.seen(interest & of_direction(mode)).ready.is_empty()
    }

    /// Fails if no thread polls for this descriptor any more.
    #[inline]
    fn check(&self) -> io::Result<()> {
        if self.fd.desc().info().ended() { Ok(self.fd.netpoll().check()?) } else { Ok(()) }
    }

    /// Parks the task, under the lock of the direction, after no readiness was found. Ready once there is one.
    fn park(
        &self,
        op: &mut Op<'_, Mode, (), OwnedBy<T>>,
        waiter: &mut Waiter<'_>,
        cx: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        let (fd, mode) = (&self.fd, op.mode());
        // Before it registers: a waker that is never taken out again may own the task.
        fd.netpoll().check()?;
        let shared = if waiter.is_slot() && op.parks_alone() {
            None
        } else {
            let shared = &fd.pollers(mode).parked;
            waiter.register(self.side(mode), shared, mode, cx.waker());
            fd.last_polls[mode as usize].set_shared(false);
            Some(shared)
        };
        // As an operation that was woken: the waker that it displaces waits no more. Only a future moves it into the list.
        (op.polls, op.state) = (shared.is_some(), OpState::Parked);
        let waker = shared.map_or(cx.waker(), WakerSet::waker);
        let waited = op.wait::<false>(fd.desc(), &mut Context::from_waker(waker));
        op.state = OpState::Locked;
        ready!(waited)?;
        self.side(mode).set();
        self.note_special();
        Poll::Ready(Ok(()))
    }

    /// Makes a call once, if one of the conditions of `interest` holds. `WouldBlock` clears these conditions.
    ///
    /// # Errors
    ///
    /// Returns the error of `call` as it is; `WouldBlock` without a call if no condition holds.
    pub fn try_io<R>(&self, interest: ReadySet, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let event = self.now(interest);
        if event.ready.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let called = call();
        if is_would_block(&called) {
            self.clear(event);
        }
        called
    }

    /// Polls until a condition of `interest` holds that this direction may bring.
    fn poll_event(
        &self,
        mode: Mode,
        interest: ReadySet,
        waiter: &mut Waiter<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        if self.is_seen(mode, interest) {
            return Poll::Ready(Ok(()));
        }
        let mut op = Op::without_call(&self.fd, mode);
        ready!(op.lock_or_register(waiter.lock_entry(mode), cx.waker()))?;
        let polled = loop {
            self.take(mode);
            // An event that another task has used since counts, but not for a condition that few events bring.
            let woken = || interest.intersects(main_condition(mode)) && waiter.was_woken(&self.fd, mode);
            if self.is_seen(mode, interest) || woken() {
                break Poll::Ready(Ok(()));
            }
            match self.park(&mut op, waiter, cx) {
                Poll::Ready(Ok(())) => {}
                parked => break parked,
            }
        };
        op.finish();
        polled
    }

    /// Makes calls until one finds something, and waits in between.
    fn poll_calls<R>(
        &self,
        mode: Mode,
        waiter: &mut Waiter<'_>,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<(R, bool)>,
    ) -> Poll<io::Result<R>> {
        self.check()?;
        let mut op = Op::without_call(&self.fd, mode);
        let mut vain = None;
        match op.try_lock() {
            Poll::Ready(locked) => locked?,
            // Another task makes a call of this direction at this moment.
            Poll::Pending => {
                if let Some(event) = self.side(mode).event() {
                    let called = call(self.get_ref().as_fd());
                    if !is_would_block(&called) {
                        return Poll::Ready(called.map(|(value, _)| value));
                    }
                    vain = Some(event);
                }
                ready!(op.lock_or_register(waiter.lock_entry(mode), cx.waker()))?;
            }
        }
        if let Some(event) = vain {
            self.side(mode).clear(event);
        }
        let polled = self.poll_calls_locked(&mut op, waiter, cx, call, vain.is_some());
        op.finish();
        polled
    }

    /// Does the same under the lock of the direction.
    #[inline]
    fn poll_calls_locked<R>(
        &self,
        op: &mut Op<'_, Mode, (), OwnedBy<T>>,
        waiter: &mut Waiter<'_>,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<(R, bool)>,
        mut called: bool,
    ) -> Poll<io::Result<R>> {
        let (mode, side) = (op.mode(), self.side(op.mode()));
        loop {
            if !side.is_ready.is_set() && !self.take(mode) {
                // The end of a direction is reported once, and every call finds it. A call that finds nothing nevertheless
                // waits for an event.
                let is_at_end = !called && self.is_seen(mode, ReadySet::READ_CLOSED | ReadySet::WRITE_CLOSED);
                if !is_at_end {
                    ready!(self.park(op, waiter, cx))?;
                }
            }
            called = true;
            match call(self.get_ref().as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => _ = side.is_ready.clear(),
                Ok((value, is_all)) => {
                    if is_all && !self.fd.desc().info().may_have_more() {
                        side.is_ready.clear();
                    }
                    return Poll::Ready(Ok(value));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Polls [`Self::poll_calls`] as an operation of the task's budget.
    #[inline]
    fn poll_counted<R>(
        &self,
        mode: Mode,
        waiter: &mut Waiter<'_>,
        cx: &mut Context<'_>,
        call: impl FnMut(BorrowedFd<'_>) -> io::Result<(R, bool)>,
    ) -> Poll<io::Result<R>> {
        ready!(coop::poll_proceed(cx));
        let polled = self.poll_calls(mode, waiter, cx, call);
        if polled.is_pending() {
            coop::refund();
        }
        polled
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Evented<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get_ref().fmt(f)
    }
}

/// Returns the condition that the events of a direction bring.
fn main_condition(mode: Mode) -> ReadySet {
    if mode == Mode::Read { ReadySet::READABLE } else { ReadySet::WRITABLE }
}

/// Returns the conditions that the events of a direction may bring.
fn of_direction(mode: Mode) -> ReadySet {
    match mode {
        Mode::Read => ReadySet::READABLE | ReadySet::READ_CLOSED | ReadySet::PRIORITY | ReadySet::ERROR,
        Mode::Write => ReadySet::WRITABLE | ReadySet::WRITE_CLOSED | ReadySet::PRIORITY,
    }
}

fn is_would_block<R>(called: &io::Result<R>) -> bool {
    called.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}
