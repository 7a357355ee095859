//! The owner's side of a descriptor, in the order of its use: `reset wait retract set_deadline evict free`.
//!
//! [`PollCache::alloc`](crate::PollCache::alloc) returns a slot as a [`Registration`], which is its only
//! owner and cannot be copied. [`Registration::free`] consumes it, so no call that only an owner may make can
//! reach the slot's next owner: neither a wait, nor a deadline, nor a second `free`. Threads that have only
//! the key may deliver events, close the descriptor and fire its timer. Each of these calls finds the
//! generation in the state words that it would change.
//!
//! **INV-2** At most one task per direction is between arm and its end (commit, abort, or the end of a
//! parking). The caller keeps this; `netpoll-rt` does so by the direction's lock of
//! [`fd_mutex`](super::fd_mutex). A caller that breaks it gets [`PollErr::DoubleWait`] or [`Wait::Again`]; no
//! memory depends on it.
//!
//! | caller | has | may |
//! |---|---|---|
//! | the owner and a borrower | `&Registration` | wait, retract, set deadlines, evict |
//! | the owner | `Registration` | free |
//! | the poller, an interrupt handler, another closer | a key | [`PollDesc::ready`], [`PollDesc::evict`], [`PollDesc::expire`] |
//! | reports | a key | [`PollDesc::info`], [`PollDesc::deadline`], [`PollDesc::is_parked`] |
//!
//! # A deadline that only moves later
//!
//! [`Registration::postpone`] has no fence and does not read `armed`, since the timer is early enough
//! already: the thread that set the previous deadline has armed the timer for it or earlier, or is about to.
//! There are three cases of a firing beside it:
//!
//! 1. The firing finds the old deadline not due, and arms for it, which is early enough.
//! 2. It finds the old deadline due and expires it. Then the compare-exchange of `postpone` fails, and the
//!    caller sets the deadline with [`Registration::set_deadline`].
//! 3. It finds the old deadline due but is too late to expire it. Then it starts over and arms for the new
//!    one.

use core::mem::ManuallyDrop;
use core::task::Waker;

use super::deadline::When;
use super::desc::{PollDesc, PollErr, Wait};
use super::free_list::Shared;
use super::glist::GList;
use super::key::{Mode, Modes, PollKey};
use super::sema::{Arm, Armed, Commit, Displaced, ParkedTask};
use crate::sync::{Ordering, fence};

/// The only owner of a descriptor's slot (mio's and tokio's registration).
///
/// Dropping it frees the slot and wakes the tasks that are parked there. [`Registration::free`] returns their
/// wakers instead, for a caller that holds a lock. A leaked registration keeps its slot for ever.
///
/// It cannot be copied, made from a key, or used after the slot is free:
///
/// ```compile_fail,E0382
/// let cache = netpoll_core::PollCache::<1>::new();
/// let registration = cache.alloc().expect("a slot is free");
/// registration.free();
/// registration.free(); // use of moved value
/// ```
///
/// ```compile_fail,E0505
/// use netpoll_core::{Mode, PollCache, Registration};
/// let cache = PollCache::<1>::new();
/// let registration = cache.alloc().expect("a slot is free");
/// let waits: &Registration<'_> = &registration;
/// registration.free(); // is borrowed
/// waits.retract(Mode::Read);
/// ```
///
/// ```compile_fail,E0599
/// let cache = netpoll_core::PollCache::<1>::new();
/// let registration = cache.alloc().expect("a slot is free").clone(); // no such method
/// ```
///
/// ```compile_fail,E0505
/// let cache = netpoll_core::PollCache::<1>::new();
/// let registration = cache.alloc().expect("a slot is free");
/// drop(cache); // is borrowed
/// drop(registration);
/// ```
#[derive(Debug)]
#[must_use = "dropping it frees the descriptor's slot"]
pub struct Registration<'c> {
    desc: &'c PollDesc,
    shared: &'c Shared,
}

impl<'c> Registration<'c> {
    pub(crate) fn new(desc: &'c PollDesc, shared: &'c Shared) -> Self {
        Self { desc, shared }
    }

    /// Returns the key that the kernel returns with the descriptor's events.
    #[inline]
    pub fn key(&self) -> PollKey {
        // The generation is this owner's until it frees the slot.
        PollKey { slot: self.desc.slot.get() as u32, fdseq: self.desc.info().fdseq() }
    }

    /// Returns the state words of the descriptor, which live as long as the cache.
    #[inline]
    pub fn desc(&self) -> &'c PollDesc {
        self.desc
    }

    /// Prepares a system call by consuming a remembered readiness (Go's `pollReset`). Returns whether there
    /// was one. The system call finds the data that the readiness stood for.
    ///
    /// Called only by the task that may arm in this direction (INV-2).
    ///
    /// # Errors
    ///
    /// Returns the error of [`PollDesc::check_err`] if the direction may not make a system call.
    ///
    /// # Memory ordering
    ///
    /// If it returns true it acquires the writes before the event's [`PollDesc::ready`].
    #[inline]
    pub fn reset(&self, mode: Mode) -> Result<bool, PollErr> {
        self.desc.check_err(mode)?;
        Ok(self.desc.sema(mode).take())
    }

    /// Parks the task, after a system call that found nothing, until the direction is ready again (Go's
    /// `pollWait`). Call it at every poll of the task; a second poll replaces the waker.
    ///
    /// The second value is the task of a parking that was taken over. Its wait may have ended. Dropping the
    /// value wakes that task, so the caller drops it when it holds no lock. A task that polls its own parking
    /// again, and is parked again, discards it.
    ///
    /// Called only by the task that may arm in this direction (INV-2). A task that gives up its wait calls
    /// [`Registration::retract`]. Memory is ordered as by [`Registration::reset`].
    #[inline]
    pub fn wait(&self, mode: Mode, waker: &Waker) -> (Wait, Displaced) {
        match self.reset(mode) {
            // The closer or the firing that refuses the direction has ended a parking that was left there.
            Err(err) => (Wait::Failed(err), Displaced::NONE),
            // The task was parked and has been woken, or an event came before it parked.
            Ok(true) => (Wait::Ready, Displaced::NONE),
            Ok(false) => self.park(mode, waker),
        }
    }

    /// Parks the task without [`Registration::wait`]'s first check, for a caller that expects no readiness:
    /// arms, checks whether the direction may wait, commits (Go's `netpollblock`). Consumes a readiness if
    /// there is one.
    #[inline(always)]
    pub fn park(&self, mode: Mode, waker: &Waker) -> (Wait, Displaced) {
        self.park_by(mode, |armed| armed.commit(waker))
    }

    /// Parks as [`Registration::park`] does, and leaves the number of the waker's task in `parked`: a poll of the task
    /// that finds it parked by [`PollDesc::is_parked_as`] need not park again. Call it only on the thread that polls the
    /// task, and [`Registration::park`] on another one that has its waker (INV-15).
    #[inline(always)]
    pub fn park_named(
        &self,
        mode: Mode,
        waker: &Waker,
        parked: &ParkedTask,
        task: usize,
    ) -> (Wait, Displaced) {
        self.park_by(mode, |armed| armed.commit_named(waker, parked, task))
    }

    #[inline(always)]
    fn park_by(
        &self,
        mode: Mode,
        commit: impl FnOnce(Armed<'c>) -> (Commit, Displaced),
    ) -> (Wait, Displaced) {
        let desc = self.desc;
        let armed = match desc.sema(mode).arm() {
            Arm::Ready => return (Wait::Ready, Displaced::NONE),
            Arm::Busy => return (Wait::Again, Displaced::NONE),
            Arm::Double => return (Wait::Failed(PollErr::DoubleWait), Displaced::NONE),
            Arm::Armed(armed) => armed,
        };
        // The word is WAIT. A closer, a setter or a firing that published
        // 1. before the check below: this thread sees it and does not park;
        // 2. after it: its fence comes after this one, so it finds WAIT or PARKED and unblocks.
        // In both cases it does not wake the task of a parking that was taken over here: this wait returns
        // that waker.
        fence(Ordering::SeqCst); // pair: desc::evict, desc::end, registration::set_deadline, desc::expire
        if let Err(err) = desc.check_wait(mode) {
            return (Wait::Failed(err), armed.abort());
        }
        let (end, displaced) = commit(armed);
        let wait = match end {
            Commit::Parked => Wait::Parked,
            Commit::Ready => Wait::Ready,
            Commit::Unblocked => desc.check_wait(mode).map_or_else(Wait::Failed, |()| Wait::Again),
        };
        (wait, displaced)
    }

    /// Gives up a wait: takes the waker back, unless the thread that ends the wait has it already. A
    /// readiness stays for the next waiter. INV-2 applies as for [`Registration::wait`]. The returned waker
    /// is the task's own, which the caller drops, or that of another task that has taken the parking over
    /// since, which the caller wakes.
    #[must_use = "the waker may be another task's: drop your own, wake another's"]
    pub fn retract(&self, mode: Mode) -> Option<Waker> {
        self.desc.sema(mode).retract()
    }

    /// Moves the deadline of each of the directions from a tick to `at`, which is not before it, by a
    /// compare-exchange each. Returns false if there is more to do or the descriptor is closing; the caller
    /// then calls [`Registration::set_deadline`]. `at` has not passed: a tick that has passed is in force
    /// until the timer fires.
    #[inline]
    pub fn postpone(&self, modes: Modes, at: usize) -> bool {
        let desc = self.desc();
        !desc.info.get().closing()
            && (!modes.read || desc.rd.postpone(at))
            && (!modes.write || desc.wd.postpone(at))
    }

    /// Sets a deadline, which is in force until the next call (Go's `pollSetDeadline`). `Expired` fires at
    /// once: the call returns the wakers of the tasks that waited. The second value is the tick for which the
    /// caller must now arm the descriptor's timer with [`Registration::arm_timer`], if the timer is not early
    /// enough already.
    ///
    /// # Errors
    ///
    /// Returns [`PollErr::Closing`] if the descriptor is being closed. Nothing has changed then.
    pub fn set_deadline(&self, modes: Modes, when: When) -> Result<(GList<2>, Option<usize>), PollErr> {
        let desc = self.desc();
        if desc.info.get().closing() {
            return Err(PollErr::Closing);
        }
        if modes.read {
            desc.rd.set(when);
        }
        if modes.write {
            desc.wd.set(when);
        }
        // One fence for two reads: of rg and wg if the deadline has passed, of `armed` if it is to come.
        fence(Ordering::SeqCst); // pair: registration::park_by, desc::expire
        match when {
            When::Never => Ok((GList::new(), None)),
            When::Expired => Ok((desc.unblock_all(modes, self.key().fdseq), None)),
            When::At(at) => Ok((GList::new(), desc.armed.get().is_after(at).then_some(at))),
        }
    }

    /// Arms the descriptor's timer for `at`. The caller holds the timer wheel's lock. Returns the tick of the
    /// entry that the caller replaces by one at `at`, or [`When::Never`] if the wheel has none. Returns `None`
    /// if the caller leaves the wheel as it is, because the entry is due earlier already or the descriptor is
    /// closing.
    #[must_use = "the caller moves the entry in the wheel"]
    pub fn arm_timer(&self, at: usize) -> Option<When> {
        let desc = self.desc();
        let replaced = desc.armed.get();
        if desc.info.get().closing() || !replaced.is_after(at) {
            return None;
        }
        desc.armed.set(When::At(at));
        Some(replaced)
    }

    /// Publishes that the descriptor is being closed, without freeing it. See [`PollDesc::evict`].
    pub fn evict(&self) -> GList<2> {
        self.desc.evict(self.key().fdseq)
    }

    /// Frees the slot for its next owner. Evicts the parked tasks and returns their wakers.
    ///
    /// Before the call the caller has removed the descriptor from the kernel's set and its timer entry from
    /// the wheel.
    pub fn free(self) -> GList<2> {
        ManuallyDrop::new(self).release()
    }

    fn release(&self) -> GList<2> {
        // The caller owns the registration, which every wait borrows: no task is about to park, so nothing has
        // to be published first.
        let list = self.desc.unblock_all(Modes::BOTH, self.key().fdseq);
        // The words are of the next generation before another thread can pop the slot, so each of them
        // refuses an event of the old one (INV-5).
        self.desc.close(self.shared.fdseq_mask());
        self.shared.push(self.desc.slot.get(), self.desc);
        list
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.release().wake();
    }
}
