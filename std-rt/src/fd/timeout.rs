//! Timeouts of a descriptor: each wait of a direction gets a deadline that is a duration from its beginning.
//!
//! The deadline's word in the poller holds the earlier one of the absolute deadline and of the wait's own. It is moved when a
//! wait begins, and stays when the wait ends, so that the next wait only moves it later, by a store. If no wait begins in time,
//! it expires although no task waits under it.
//!
//! | the word has expired, and the absolute deadline | comes | then |
//! |---|---|---|
//! | has passed | any operation | it fails |
//! | has not | an operation that was parked | its time is over: it calls once more, and fails |
//! | | an operation at its first poll, under the direction's lock | it puts the absolute deadline in force again (`renew`), and proceeds |
//! | | a call without the lock | it proceeds, and leaves the word to the task that was parked |
//! | | a poll | it does as an operation at its first poll, and fails after the call if the time of the polls is over |
//!
//! Only a task that has the direction's lock renews the word, so a parked operation, which keeps the lock, finds it expired.
//! `poll_*` functions and [`Fd::readiness`] park without the lock. They share one time per direction:
//!
//! | event | the time of the polls |
//! |---|---|
//! | one of them finds nothing, and none has begun | begins |
//! | one of them is ready, or fails | is cleared |
//! | a future of `readiness` is dropped, and no other of these tasks waits | is cleared |
//!
//! | a wait | gets a new time |
//! |---|---|
//! | of an operation that has made no progress, woken in vain | no |
//! | of an operation that has made progress (`write_all`) | yes |
//! | for the direction's lock | the same duration, in a timer of its own |
//!
//! A setter changes the word under a mutex, together with the absolute deadline that is kept beside it. [`Fd::set_deadline`]
//! writes the word first, as on a descriptor without timeouts, and then looks whether there are timeouts. The thread that sets
//! the first timeout makes it visible and then reads the word, with a fence in between. So one of the two sees the other.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netpoll_core::{Mode, Modes, PollErr, When};

use super::Fd;
use super::op::PollWakers;
use crate::error;
use crate::netpoll::{Netpoll, clock};
use crate::sys::FdOwner;

/// The timeouts of both directions, by [`Mode`].
#[derive(Debug, Default)]
pub(super) struct Timeouts([Mutex<Timeout>; 2]);

/// The timeout of one direction. All times are ticks.
#[derive(Debug, Default)]
struct Timeout {
    duration: Option<Duration>,
    /// The absolute deadline, once it is known; `Some(None)` if there is none.
    absolute: Option<Option<u64>>,
    /// The end of the wait that began last.
    relative: Option<u64>,
    /// The end of the time that the polls share, while one of them waits.
    polled: Option<u64>,
}

impl Timeouts {
    fn lock(&self, mode: Mode) -> MutexGuard<'_, Timeout> {
        // No foreign code runs under this lock, so a panic cannot leave the state half changed.
        self.0[mode as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn is_poll_time_over(&self, mode: Mode, netpoll: &Netpoll) -> bool {
        self.lock(mode).polled.is_some_and(|until| until <= netpoll.now())
    }

    #[cold]
    fn end_polls(&self, mode: Mode) {
        self.lock(mode).polled = None;
    }
}

impl Timeout {
    fn absolute(&self) -> Option<u64> {
        self.absolute.flatten()
    }

    fn has_absolute_passed(&self, netpoll: &Netpoll) -> bool {
        self.absolute().is_some_and(|at| at <= netpoll.now())
    }
}

/// Returns the earlier one of two ends.
fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

fn modes(mode: Mode) -> Modes {
    if mode == Mode::Read { Modes::READ } else { Modes::WRITE }
}

impl<S: FdOwner> Fd<S> {
    #[inline(always)]
    fn timeouts(&self) -> Option<&Timeouts> {
        self.extra.get()?.timeouts.get().map(|timeouts| &**timeouts)
    }

    /// Returns whether a timeout was set, in either direction.
    #[inline(always)]
    pub(super) fn has_timeouts(&self) -> bool {
        self.timeouts().is_some()
    }

    /// Sets for how long each operation of a direction may wait; `None` ends that. A wait that has begun gets the new time, from
    /// now on.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` for zero, and an error if the descriptor is closed.
    pub fn set_timeout(&self, mode: Mode, duration: Option<Duration>) -> io::Result<()> {
        if duration.is_some_and(|duration| duration.is_zero()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a timeout of zero would let no operation wait",
            ));
        }
        self.with(|_| Ok(()))?;
        let timeouts = self.extra().timeouts.get_or_init(Box::default);
        // A fence, with no direction set: see the top of this file.
        self.registration.put_tick(Modes::NONE, None).map_err(error::refused)?;
        let mut timeout = timeouts.lock(mode);
        timeout.duration = duration;
        timeout.relative = duration.map(|duration| self.registration.tick_after(duration));
        timeout.polled = None;
        let changed = self.put_earlier(mode, &mut timeout);
        drop(timeout);
        // After the mutex, because it may unlock the direction. A poll that parks meanwhile begins its time itself.
        if self.has_polls(mode) {
            let mut timeout = timeouts.lock(mode);
            timeout.polled = timeout.polled.or(timeout.relative);
        }
        self.alert(modes(mode));
        changed.map_err(error::refused)
    }

    /// Returns for how long each operation of a direction may wait.
    pub fn timeout(&self, mode: Mode) -> Option<Duration> {
        self.timeouts()?.lock(mode).duration
    }

    /// Returns whether a task waits through a poll whose time is limited.
    pub(super) fn has_polls(&self, mode: Mode) -> bool {
        self.known_pollers(mode).is_some_and(PollWakers::has_timed) || self.has_poll_alone(mode)
    }

    /// Puts the earlier deadline of the two in force. An absolute one that has passed is in force already.
    fn put_earlier(&self, mode: Mode, timeout: &mut Timeout) -> Result<(), PollErr> {
        if timeout.absolute.is_none() {
            let now = self.netpoll().now();
            timeout.absolute = Some(match self.desc().deadline(mode) {
                When::Never => None,
                When::At(at) => Some(clock::to_nanos(at, || now)),
                When::Expired => Some(0),
            });
        }
        match timeout.has_absolute_passed(self.netpoll()) {
            true => Ok(()),
            false => self.registration.put_tick(modes(mode), earlier(timeout.absolute(), timeout.relative)),
        }
    }

    /// Records an absolute deadline that was put in force, and restores the timeouts beside it.
    #[inline]
    pub(super) fn keep_timeouts(&self, modes: Modes, absolute: impl FnOnce() -> Option<u64>) {
        if let Some(timeouts) = self.timeouts() {
            self.set_absolute(timeouts, modes, absolute());
        }
    }

    #[cold]
    fn set_absolute(&self, timeouts: &Timeouts, set: Modes, absolute: Option<u64>) {
        for (mode, _) in
            [(Mode::Read, set.read), (Mode::Write, set.write)].into_iter().filter(|(_, set)| *set)
        {
            let mut timeout = timeouts.lock(mode);
            timeout.absolute = Some(absolute);
            // An error says that the descriptor is being closed, which every operation finds out.
            let _ = self.put_earlier(mode, &mut timeout);
            let has_passed = timeout.has_absolute_passed(self.netpoll());
            drop(timeout);
            if has_passed && self.desc().deadline(mode) != When::Expired {
                // Outside the mutex, because it wakes tasks. Another setter came between.
                let _ = self.registration.expire_now(modes(mode));
            }
        }
    }

    /// Begins the wait of an operation that has the direction's lock.
    #[inline]
    pub(super) fn start_timeout(&self, mode: Mode) {
        if let Some(timeouts) = self.timeouts() {
            self.start(timeouts, mode);
        }
    }

    #[cold]
    fn start(&self, timeouts: &Timeouts, mode: Mode) {
        // In a forked child a thread of the parent may hold the mutex, and no task waits there.
        if !self.netpoll().is_owner_process() {
            return;
        }
        let mut timeout = timeouts.lock(mode);
        if let Some(duration) = timeout.duration {
            timeout.relative = Some(self.registration.tick_after(duration));
            // An error says that the descriptor is being closed, which the parking finds out.
            let _ = self.put_earlier(mode, &mut timeout);
        }
    }

    /// Returns whether the word has expired for a wait only, and the absolute deadline has not passed.
    #[cold]
    fn is_only_relative(&self, mode: Mode) -> bool {
        let Some(timeouts) = self.timeouts().filter(|_| self.netpoll().is_owner_process()) else {
            return false;
        };
        let timeout = timeouts.lock(mode);
        timeout.absolute.is_some() && !timeout.has_absolute_passed(self.netpoll())
    }

    /// Puts the absolute deadline in force again if the word has expired for an earlier wait. The caller has the direction's
    /// lock. Returns false if the absolute deadline has passed.
    #[cold]
    fn renew(&self, mode: Mode) -> bool {
        if !self.is_only_relative(mode) {
            return false;
        }
        let Some(timeouts) = self.timeouts() else { return false };
        let mut timeout = timeouts.lock(mode);
        timeout.relative = None;
        self.put_earlier(mode, &mut timeout).is_ok() && !timeout.has_absolute_passed(self.netpoll())
    }

    /// Checks before a call under the direction's lock that the direction is neither closed nor past its deadline.
    #[inline]
    pub(super) fn check_locked(&self, mode: Mode) -> io::Result<()> {
        match self.desc().check_err(mode) {
            Err(PollErr::Timeout) if self.renew(mode) => self.desc().check_err(mode),
            checked => checked,
        }
        .map_err(error::refused)
    }

    /// Checks as [`Fd::check_locked`] does, and drops a remembered readiness. Returns whether there was one.
    #[inline]
    pub(super) fn reset_locked(&self, mode: Mode) -> io::Result<bool> {
        match self.registration.reset(mode) {
            Err(PollErr::Timeout) if self.renew(mode) => self.registration.reset(mode),
            reset => reset,
        }
        .map_err(error::refused)
    }

    /// Checks as [`Fd::check_locked`] does, for a call without the lock.
    #[inline]
    pub(super) fn check_unlocked(&self, mode: Mode) -> io::Result<()> {
        match self.desc().check_err(mode) {
            Err(PollErr::Timeout) if self.is_only_relative(mode) => Ok(()),
            checked => checked.map_err(error::refused),
        }
    }

    /// Begins the wait of a poll that has the direction's lock and whose call has found nothing.
    ///
    /// # Errors
    ///
    /// Returns `TimedOut` if the time of the polls is over.
    #[inline(always)]
    pub(super) fn start_polls(&self, mode: Mode) -> io::Result<()> {
        self.timeouts().map_or(Ok(()), |timeouts| self.begin_polls(timeouts, mode))
    }

    #[cold]
    fn begin_polls(&self, timeouts: &Timeouts, mode: Mode) -> io::Result<()> {
        let Some(until) = self.share_time(timeouts, mode)? else { return Ok(()) };
        let mut timeout = timeouts.lock(mode);
        timeout.relative = Some(until);
        self.put_earlier(mode, &mut timeout).map_err(error::refused)
    }

    /// Returns the end of the time that the polls share, which begins now if it has not; `None` without a timeout.
    ///
    /// # Errors
    ///
    /// Returns `TimedOut` if it is over.
    #[cold]
    fn share_time(&self, timeouts: &Timeouts, mode: Mode) -> io::Result<Option<u64>> {
        if !self.netpoll().is_owner_process() {
            return Ok(None);
        }
        let mut timeout = timeouts.lock(mode);
        let Some(duration) = timeout.duration else { return Ok(None) };
        let until = *timeout.polled.get_or_insert_with(|| self.registration.tick_after(duration));
        if until <= self.netpoll().now() {
            timeout.polled = None;
            return Err(error::refused(PollErr::Timeout));
        }
        Ok(Some(until))
    }

    /// Returns whether the time of the polls is over, so that the next one must make its call.
    #[inline(always)]
    pub(super) fn is_poll_time_over(&self, mode: Mode) -> bool {
        self.timeouts().is_some_and(|timeouts| timeouts.is_poll_time_over(mode, self.netpoll()))
    }

    /// Clears the time of the polls, after one of them was ready.
    #[inline(always)]
    pub(super) fn end_polls(&self, mode: Mode) {
        if let Some(timeouts) = self.timeouts() {
            timeouts.end_polls(mode);
        }
    }

    /// Returns the end of a wait for the direction's lock that begins now.
    pub(super) fn lock_limit(&self, mode: Mode) -> Option<u64> {
        let duration = self.timeout(mode)?;
        Some(self.registration.tick_after(duration))
    }

    /// Returns the end of a poll's wait for the direction's lock.
    ///
    /// # Errors
    ///
    /// Returns `TimedOut` if the time of the polls is over.
    pub(super) fn poll_lock_limit(&self, mode: Mode) -> io::Result<Option<u64>> {
        self.timeouts().map_or(Ok(None), |timeouts| self.share_time(timeouts, mode))
    }

    /// Returns the deadline of a wait for the direction's lock that ends at `limit`: it is subject to the absolute deadline, and
    /// not to that of the operation before it.
    pub(super) fn lock_deadline(&self, mode: Mode, limit: Option<u64>) -> When {
        let absolute = self.timeouts().and_then(|timeouts| timeouts.lock(mode).absolute);
        match absolute {
            None => self.desc().deadline(mode),
            Some(absolute) => {
                earlier(absolute, limit).map_or(When::Never, |at| self.registration.deadline(at))
            }
        }
    }
}
