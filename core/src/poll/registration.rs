//! The owner's side of a descriptor, in the order of its life: `reset wait retract set_deadline evict free`.
//!
//! [`PollCache::alloc`](crate::poll::cache::PollCache::alloc) hands a slot out as a [`Registration`], which is its only owner
//! and cannot be copied. To free the slot is to give the registration up, so nothing that only an owner may do can reach
//! the slot's next owner: neither a wait, nor a deadline, nor a second `free`. Threads that know no more than the key may
//! deliver events, close the descriptor and fire its timer; each of these finds the generation in the state words that it changes.
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
//! [`Registration::postpone`] has no fence and does not look at `armed`, as the deadline before covers the new one: the
//! thread that set it has armed the timer for it or earlier, or is about to. A firing
//!
//! 1. that finds the old deadline not due arms for it: early enough;
//! 2. that finds it due and expires it before the compare-exchange: that one fails, and the deadline is set anew;
//! 3. that finds it due and is too late to expire it: it goes round and arms for the new one.

use core::mem::ManuallyDrop;
use core::task::Waker;

use super::deadline::When;
use super::desc::{PollDesc, PollErr, Wait};
use super::free_list::Shared;
use super::glist::GList;
use super::key::{FDSEQ_BITS, Mode, Modes, PollKey};
use super::sema::{Arm, Commit, Displaced};
use super::waiters::Waiters;
use crate::sync::{Ordering, fence};

/// The only owner of a descriptor's slot (mio's and tokio's registration).
///
/// Dropping it frees the slot and wakes the tasks that are parked there; [`Registration::free`] returns their wakers
/// instead, for a caller that holds a lock. One that is leaked keeps its slot for ever.
///
/// It cannot be copied, made from a key, or used once the slot is free:
///
/// ```compile_fail,E0382
/// let cache = netpoll_core::PollCache::<1>::new();
/// let registration = cache.alloc().expect("a slot is free");
/// registration.free();
/// registration.free(); // use of moved value
/// ```
///
/// ```compile_fail,E0505
/// use netpoll_core::{poll_cache::PollCache, poll_key::Mode, registration::Registration};
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
pub struct Registration<'c, const BITS: u32 = FDSEQ_BITS> {
    desc: &'c PollDesc<BITS>,
    shared: &'c Shared,
}

impl<'c, const BITS: u32> Registration<'c, BITS> {
    pub(crate) fn new(desc: &'c PollDesc<BITS>, shared: &'c Shared) -> Self {
        Self { desc, shared }
    }

    /// Returns the key under which the kernel hands back the descriptor's events.
    #[inline]
    pub fn key(&self) -> PollKey {
        // The generation is this owner's until it frees the slot.
        PollKey { slot: self.desc.slot.get() as u32, fdseq: self.desc.info().fdseq() }
    }

    /// Returns the state words of the descriptor, which stay where they are for as long as the cache.
    #[inline]
    pub fn desc(&self) -> &'c PollDesc<BITS> {
        self.desc
    }

    /// Prepares a system call: fails if the direction may not go on, else drops a remembered readiness (Go's
    /// `pollReset`) and says whether there was one. The call that follows finds whatever the readiness stood for.
    ///
    /// Called only by the task that may arm in this direction (INV-2).
    ///
    /// # Errors
    ///
    /// Returns what [`PollDesc::check_err`] says.
    ///
    /// # Memory ordering
    ///
    /// After `true`, what happened before the event's [`PollDesc::ready`] is visible.
    #[inline]
    pub fn reset(&self, mode: Mode) -> Result<bool, PollErr> {
        self.desc.check_err(mode)?;
        Ok(self.desc.sema(mode).take())
    }

    /// Parks the task, after a system call that found nothing, until the direction is worth another try (Go's `pollWait`).
    /// To be called again at every poll of the task; a second poll replaces the waker.
    ///
    /// The second value is the task whose parking was taken over, and whose wait may have ended: it is woken when the value
    /// is dropped, which the caller does once it holds no lock. A task that polls its own parking again, and is parked anew,
    /// discards it.
    ///
    /// Called only by the task that may arm in this direction (INV-2). A task that gives up calls
    /// [`Registration::retract`]. Memory is ordered as by [`Registration::reset`].
    #[inline]
    pub fn wait(&self, mode: Mode, waker: &Waker) -> (Wait, Displaced) {
        match self.reset(mode) {
            // A parking that was forgotten there is ended by what the direction was refused for.
            Err(err) => (Wait::Failed(err), Displaced::NONE),
            // The way back from a parking, and the way of an event that was faster than the task.
            Ok(true) => (Wait::Ready, Displaced::NONE),
            Ok(false) => self.park(mode, waker),
        }
    }

    /// Does the second half of [`Registration::wait`], which is all of it for a caller that expects no readiness: arms,
    /// looks whether the direction may go on, commits (Go's `netpollblock`). A readiness that is there is consumed.
    #[inline(always)]
    pub fn park(&self, mode: Mode, waker: &Waker) -> (Wait, Displaced) {
        let desc = self.desc;
        let armed = match desc.sema(mode).arm(self.shared.waiters()) {
            Arm::Ready => return (Wait::Ready, Displaced::NONE),
            Arm::Busy => return (Wait::Again, Displaced::NONE),
            Arm::Double => return (Wait::Failed(PollErr::DoubleWait), Displaced::NONE),
            Arm::Armed(armed) => armed,
        };
        // The word says WAIT. A closer, a setter or a firing that published
        // 1. before the look below: this thread sees it and does not park;
        // 2. after it: its fence comes after this one, so it finds WAIT (or PARKED) and takes it back.
        // In both cases it wakes no task of a parking that was taken over here: that waker is handed up by this wait's end.
        fence(Ordering::SeqCst); // pair: desc::evict, desc::end, registration::set_deadline, desc::expire
        if let Err(err) = desc.check_wait(mode) {
            return (Wait::Failed(err), armed.abort());
        }
        let (end, displaced) = armed.commit(waker);
        let wait = match end {
            Commit::Parked => Wait::Parked,
            Commit::Ready => Wait::Ready,
            Commit::Unblocked => desc.check_wait(mode).map_or_else(Wait::Failed, |()| Wait::Again),
        };
        (wait, displaced)
    }

    /// Gives up a wait: takes the waker back, unless it is on its way up already. A readiness stays for the next waiter
    /// (INV-2 as for [`Registration::wait`]). A waker that is returned is the task's own, to be dropped, unless another task
    /// has taken the parking over since: then that one is woken.
    #[must_use = "the waker may be another task's: drop your own, wake another's"]
    pub fn retract(&self, mode: Mode) -> Option<Waker> {
        self.desc.sema(mode).retract(self.shared.waiters())
    }

    /// Moves the deadline of each of the directions from a tick to `at`, which is not before it: a compare-exchange
    /// each, and nothing else. False if that is not all there is to do, or the descriptor is closing; then
    /// [`Registration::set_deadline`] takes any change and says what is wrong. For a tick that has not passed: one that has
    /// stands until the timer fires.
    #[inline]
    pub fn postpone(&self, modes: Modes, at: usize) -> bool {
        let desc = self.desc();
        !desc.info.get().closing()
            && (!modes.read || desc.rd.postpone(at))
            && (!modes.write || desc.wd.postpone(at))
    }

    /// Puts a deadline in force; it stays until the next. `Expired` fires at once: the wakers of the tasks whose waits it
    /// ends are returned, and the count of waiters falls by their number once they are runnable. The second value is the
    /// tick for which the caller must now arm the descriptor's timer with [`Registration::arm_timer`]; moving a deadline
    /// later needs no timer.
    ///
    /// # Errors
    ///
    /// Returns [`PollErr::Closing`] if the descriptor is being closed; nothing is armed then.
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
        // One fence for two looks: at rg and wg if the deadline has passed, at `armed` if it is to come.
        fence(Ordering::SeqCst); // pair: registration::park, desc::expire
        match when {
            When::Never => Ok((GList::new(), None)),
            When::Expired => Ok((desc.unblock_all(modes, self.key().fdseq), None)),
            When::At(at) => Ok((GList::new(), desc.armed.get().is_after(at).then_some(at))),
        }
    }

    /// Returns whether the caller, which holds the timer wheel's lock, is to put the descriptor's entry at `at`: false if the
    /// entry is due earlier already or the descriptor is closing.
    pub fn arm_timer(&self, at: usize) -> bool {
        let desc = self.desc();
        let wanted = !desc.info.get().closing() && desc.armed.get().is_after(at);
        if wanted {
            desc.armed.set(When::At(at));
        }
        wanted
    }

    /// Closes the descriptor without freeing it; see [`PollDesc::evict`].
    pub fn evict(&self) -> GList<2> {
        self.desc.evict(self.key().fdseq)
    }

    /// Frees the slot for its next owner. The tasks that are parked are evicted: their wakers are returned, and the count
    /// of waiters falls by their number once they are runnable.
    ///
    /// By then the kernel has forgotten the descriptor and its timer entry is out of the wheel.
    pub fn free(self) -> GList<2> {
        ManuallyDrop::new(self).release()
    }

    fn release(&self) -> GList<2> {
        let list = self.evict();
        // The words are of the next generation before another thread can pop the slot: an event of the old one is refused
        // by whichever word it comes to first (INV-5).
        self.desc.close();
        self.shared.push(self.desc.slot.get(), self.desc);
        list
    }
}

impl<const BITS: u32> Drop for Registration<'_, BITS> {
    fn drop(&mut self) {
        let list = self.release();
        let _counted = Counted { waiters: self.shared.waiters(), n: list.len() };
        list.wake();
    }
}

/// Lowers the count of waiters once they are runnable, and if one of their wakers panics.
struct Counted<'a> {
    waiters: &'a Waiters,
    n: usize,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.waiters.sub(self.n);
    }
}
