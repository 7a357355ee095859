//! The state words of a descriptor, and the calls of a thread that does not own it: to deliver an event,
//! close the descriptor, fire its timer, or report on it. The owner's calls are in
//! [`registration`](crate::poll::registration).
//!
//! # The fence pair
//!
//! **INV-3** The waiter writes WAIT, fences, and then reads info and its deadline. The publisher writes info
//! or the deadline, fences, and then reads rg and wg.
//!
//!
//! | waiter (`Registration::wait`, `park`) | closer ([`PollDesc::evict`], [`PollDesc::end`], `Registration::set_deadline`, [`PollDesc::expire`]) |
//! |---|---|
//! | rg: NIL → WAIT | info: CLOSING or ENDED, or the deadline: EXPIRED |
//! | **`fence(SeqCst)`** | **`fence(SeqCst)`** |
//! | reads info and the deadline | reads rg |
//! | finds nothing: parks | finds NIL: no task to wake |
//!
//! Without the fences both reads may return old values in the same execution: the waiter sees no CLOSING, the
//! closer sees NIL, and the task sleeps for ever. One of the two fences is first in the single order of all
//! such fences; the side that fences second sees the write of the other. Go needs no fences, since its
//! atomics are sequentially consistent.
//!
//! The ready path has no fence: an event writes and reads the same word.
//!
//! # Access
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `info` | the closer; the poller, for its generation; `free` | all |
//! | `rg`, `wg` | the direction's waiter; the poller, closers and timers, by compare-exchange | the same |
//! | `rd`, `wd` | the setter; a firing, by compare-exchange | waiters, firings |
//! | `armed` | the thread that edits the timer wheel, under the wheel's lock | setters |
//! | `link` | the free list, while the slot is free | a thread that pops, also one that loses the slot (see `free_list`) |
//! | `slot` | the donor, before the slot can be handed out | the owner: the index of the slot |
//! | `number`, `since` | the layer above, never core | reports |
//!
//! The first cache line, `info` to the state word of `wg`, holds everything that an event and its task touch
//! for a read, and for a write that need not wait. At thousands of connections cache lines cost more than
//! instructions.

use core::task::Waker;

use super::deadline::{Deadline, When};
use super::glist::GList;
use super::info::{AtomicInfo, Info};
use super::key::{Event, Mode, Modes};
use super::sema::{ParkedTask, Sema, Unblock};
use crate::sync::RelaxedUsize;
use crate::sync::{AtomicUsize, Ordering, const_fn, fence};

/// The reason why a wait, or a reset before a system call, is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PollErr {
    /// The descriptor is being closed (Go's `pollErrClosing`).
    Closing,
    /// The direction's deadline has passed (`pollErrTimeout`).
    Timeout,
    /// The poller has ended, so a wait would have no end. A call that need not wait is still allowed.
    Ended,
    /// Another task is between arm and its end in this direction (INV-2). Nothing has changed. The layer
    /// above has a bug: it excludes this by a lock.
    DoubleWait,
}

/// The outcome of [`Registration::wait`](crate::poll::registration::Registration::wait).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Wait {
    /// The task tries the system call again. Readiness is a hint.
    Ready,
    /// The task is parked. The thread that ends the wait gets its waker.
    Parked,
    /// The task wakes itself and waits again. Another thread is still using this semaphore, or a deadline was
    /// moved while it fired.
    Again,
    /// The wait is refused.
    Failed(PollErr),
}

/// The result of [`PollDesc::ready`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Delivered {
    /// The list has this many wakers more.
    Woken(usize),
    /// The event is of another generation. Nothing has changed.
    Stale,
    /// The list has no room for two wakers. Nothing has changed: empty the list and deliver the event again.
    NoRoom,
}

/// The result of unblocking some sides.
struct Unblocked {
    woken: usize,
    /// A side was of another generation at its compare-exchange.
    stale: bool,
}

/// One descriptor: Go's `pollDesc` without its lock and its two timers.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct PollDesc {
    pub(crate) info: AtomicInfo,
    since_read: RelaxedUsize,
    rg: Sema,
    pub(crate) rd: Deadline,
    pub(crate) wd: Deadline,
    wg: Sema,
    pub(crate) armed: Deadline,
    pub(crate) link: AtomicUsize,
    pub(crate) slot: RelaxedUsize,
    number: RelaxedUsize,
    since_write: RelaxedUsize,
}

/// All that an event, a read and a check before a write touch is in the first cache line: the state word of `wg` is its last
/// word. (The model checker's atomics are larger.)
const _: () = assert!(size_of::<Sema>() != 24 || core::mem::offset_of!(PollDesc, wg.word) == 56);

impl Default for PollDesc {
    fn default() -> Self {
        Self::new()
    }
}

impl PollDesc {
    const_fn! {
        /// Creates a descriptor of generation 0 without deadlines and waiters.
        pub const fn new() -> Self {
            Self {
                info: AtomicInfo::new(),
                since_read: RelaxedUsize::new(),
                rg: Sema::new(),
                rd: Deadline::new(),
                wd: Deadline::new(),
                wg: Sema::new(),
                armed: Deadline::new(),
                link: AtomicUsize::new(0),
                slot: RelaxedUsize::new(),
                number: RelaxedUsize::new(),
                since_write: RelaxedUsize::new(),
            }
        }
    }

    /// Returns the published state: closing, the peer, the generation.
    #[inline]
    pub fn info(&self) -> Info {
        self.info.get()
    }

    /// Returns the deadline in force in a direction.
    pub fn deadline(&self, mode: Mode) -> When {
        self.deadline_of(mode).get()
    }

    /// Returns whether a task is parked in that direction; see [`Sema::is_parked`].
    #[inline]
    pub fn is_parked(&self, mode: Mode) -> bool {
        self.sema(mode).is_parked()
    }

    /// Returns whether the task of this number is parked in that direction; see [`Sema::is_parked_as`].
    #[inline]
    pub fn is_parked_as(&self, mode: Mode, parked: &ParkedTask, task: usize) -> bool {
        self.sema(mode).is_parked_as(parked, task)
    }

    /// Returns the number that the layer above gives the descriptor, for reports. Core does not read it.
    #[inline]
    pub fn number(&self) -> &RelaxedUsize {
        &self.number
    }

    /// Returns the time at which a task last parked in that direction, written by the layer above, for
    /// reports. Core does not read it.
    #[inline]
    pub fn since(&self, mode: Mode) -> &RelaxedUsize {
        if mode == Mode::Read { &self.since_read } else { &self.since_write }
    }

    /// Checks whether the direction may make a system call (Go's `netpollcheckerr`).
    ///
    /// Go also refuses reads after an event that was an error and nothing else. A connection's reset looks
    /// like that for a moment, so the layer above checks [`Info::event_err`] only after a call that found
    /// nothing.
    ///
    /// # Errors
    ///
    /// Returns [`PollErr::Closing`] if the descriptor is being closed, otherwise [`PollErr::Timeout`] if the
    /// deadline has passed.
    #[inline]
    pub fn check_err(&self, mode: Mode) -> Result<(), PollErr> {
        let info = self.info.get();
        if info.closing() {
            Err(PollErr::Closing)
        } else if self.deadline_of(mode).is_expired() {
            Err(PollErr::Timeout)
        } else {
            Ok(())
        }
    }

    /// Checks whether the direction may wait: fails as [`PollDesc::check_err`] does, and if the poller has
    /// ended.
    #[inline]
    pub(crate) fn check_wait(&self, mode: Mode) -> Result<(), PollErr> {
        let info = self.info.get();
        if info.refuses_waits() || self.deadline_of(mode).is_expired() {
            return Err(self.why_not(info, mode));
        }
        Ok(())
    }

    /// Returns why a direction may not wait. Closing comes before a timeout, which comes before the end of
    /// the poller.
    #[cold]
    fn why_not(&self, info: Info, mode: Mode) -> PollErr {
        if info.closing() {
            PollErr::Closing
        } else if self.deadline_of(mode).is_expired() || !info.ended() {
            PollErr::Timeout
        } else {
            PollErr::Ended
        }
    }

    /// Delivers an event (Go's `netpollready`), which puts at most two wakers into the list. May run in an
    /// interrupt handler: it takes no lock and neither clones nor drops nor wakes a waker.
    ///
    /// A list that could never have room does not compile:
    ///
    /// ```compile_fail,E0080
    /// # use netpoll_core::{Event, EventFlags, GList, Modes, PollDesc, PollKey};
    /// # let key = PollKey { slot: 0, fdseq: 0 };
    /// let event = Event { key, modes: Modes::READ, flags: EventFlags::default() };
    /// let _ = PollDesc::new().ready(event, &mut GList::<1>::new());
    /// ```
    #[inline]
    pub fn ready<const N: usize>(&self, event: Event, list: &mut GList<N>) -> Delivered {
        const { assert!(N >= 2, "an event may wake two tasks") };
        if list.room() < 2 {
            return Delivered::NoRoom;
        }
        let fdseq = event.key.fdseq;
        if !self.info.set_event(fdseq, event.flags) {
            return Delivered::Stale;
        }
        match self.unblock(event.modes, fdseq, true, list) {
            Unblocked { woken: 0, stale: true } => Delivered::Stale,
            Unblocked { woken, .. } => Delivered::Woken(woken),
        }
    }

    /// Publishes that the descriptor of generation `fdseq` is being closed, and unblocks both sides (Go's
    /// `pollUnblock`). Returns the wakers of the parked tasks, at most two. The caller lowers the count of
    /// waiters by as many once they are runnable. Changes nothing if the slot is of another generation. May
    /// be repeated.
    ///
    /// May run on any thread and in an interrupt handler. The caller takes the timer's entry out of its
    /// wheel.
    pub fn evict(&self, fdseq: u32) -> GList<2> {
        if !self.info.publish_closing(fdseq) {
            return GList::new();
        }
        fence(Ordering::SeqCst); // pair: registration::park_by
        self.unblock_all(Modes::BOTH, fdseq)
    }

    /// Publishes that the poller has ended, and unblocks both sides. Returns the wakers of the parked tasks,
    /// as [`PollDesc::evict`] does. From now on waits are refused; calls that need not wait are still
    /// allowed. Applies to the slot in any generation. May be repeated. Called by `PollCache::end`.
    pub fn end(&self) -> GList<2> {
        let fdseq = self.info.publish_ended().fdseq();
        fence(Ordering::SeqCst); // pair: registration::park_by
        self.unblock_all(Modes::BOTH, fdseq)
    }

    /// Fires the descriptor's timer: expires the deadlines that are due at `now` (Go's
    /// `netpolldeadlineimpl`). Returns the wakers of the tasks that waited under them, and the tick for which
    /// the caller puts the timer's entry back into the wheel, if a deadline is still to come. The caller
    /// lowers the count of waiters by the number of wakers once the tasks are runnable.
    ///
    /// The caller holds the timer wheel's lock, from taking the entry out of the wheel to putting it back.
    /// The entry of a descriptor is out of the wheel before its slot is freed. An entry that is left there
    /// fires for the slot's next owner: it expires only deadlines that are due then, and may wake a task once
    /// for nothing.
    pub fn expire(&self, now: usize) -> (GList<2>, Option<usize>) {
        let mut expired = Modes::NONE;
        let next = loop {
            let (read, write) = (self.rd.get(), self.wd.get());
            let next = read.pending(now).earlier(write.pending(now));
            self.armed.set(next);
            // A setter that moves a deadline earlier
            // 1. before the second read below: this thread sees it and starts over;
            // 2. after it: its fence comes after this one, so it reads `next` from `armed` and edits the
            //    wheel itself.
            fence(Ordering::SeqCst); // pair: registration::set_deadline
            // A setter that postpones it has no fence: this thread expires it first, or fails to and starts
            // over.
            if (self.rd.get(), self.wd.get()) == (read, write)
                && expire_if_due(&self.rd, read, now, &mut expired.read)
                && expire_if_due(&self.wd, write, now, &mut expired.write)
            {
                break next;
            }
        };
        fence(Ordering::SeqCst); // pair: registration::park_by
        // The generation is read after the deadlines, so the waiters of the generation that has expired are
        // not missed.
        let list = self.unblock_all(expired, self.info.get().fdseq());
        (list, if let When::At(at) = next { Some(at) } else { None })
    }

    /// Unblocks both sides without a reason. Returns the wakers of the parked tasks, which check again and
    /// may park again.
    pub fn unpark(&self) -> GList<2> {
        self.unblock_all(Modes::BOTH, self.info.get().fdseq())
    }

    /// Moves all words to the next generation, of which `mask` keeps the low bits, with nothing left of this
    /// one. Called by the owner's `free` only, after `evict`.
    pub(crate) fn close(&self, mask: u32) {
        let fdseq = self.info.advance(mask);
        self.rg.advance(fdseq);
        self.wg.advance(fdseq);
        for word in [&self.rd, &self.wd, &self.armed] {
            if word.get() != When::Never {
                word.set(When::Never);
            }
        }
    }

    /// Ends all waits in the given directions of generation `fdseq`. Returns the wakers of the parked tasks,
    /// which look for the reason themselves.
    #[inline(never)]
    pub(crate) fn unblock_all(&self, modes: Modes, fdseq: u32) -> GList<2> {
        let mut list = GList::new();
        self.unblock(modes, fdseq, false, &mut list);
        list
    }

    /// Unblocks the given directions of generation `fdseq`, with or without a readiness. The list has room
    /// for two wakers.
    #[inline(always)]
    fn unblock<const N: usize>(
        &self,
        modes: Modes,
        fdseq: u32,
        ready: bool,
        list: &mut GList<N>,
    ) -> Unblocked {
        let mut done = Unblocked { woken: 0, stale: false };
        let mut unblock = |sema: &Sema| match sema.unblock(fdseq, ready) {
            Unblock::Stale => done.stale = true,
            Unblock::Nobody => {}
            Unblock::Woke(waker) => {
                if let Err(waker) = list.push(waker) {
                    no_room(waker);
                }
                done.woken += 1;
            }
        };
        if modes.read {
            unblock(&self.rg);
        }
        if modes.write {
            unblock(&self.wg);
        }
        done
    }

    pub(crate) fn sema(&self, mode: Mode) -> &Sema {
        match mode {
            Mode::Read => &self.rg,
            Mode::Write => &self.wg,
        }
    }

    fn deadline_of(&self, mode: Mode) -> &Deadline {
        match mode {
            Mode::Read => &self.rd,
            Mode::Write => &self.wd,
        }
    }
}

/// Expires the deadline `found` if it is due. Returns false if it was moved since.
fn expire_if_due(deadline: &Deadline, found: When, now: usize, expired: &mut bool) -> bool {
    if !found.is_due(now) {
        return true;
    }
    let done = deadline.expire(found);
    *expired |= done;
    done
}

/// Panics, after waking a task for which a caller of `unblock` left no room. That is a bug here, and it loses
/// no wakeup.
#[cold]
#[inline(never)]
fn no_room(waker: Waker) -> ! {
    waker.wake();
    panic!("a list of wakers without room for two")
}
