//! The state words of a descriptor, and the calls of a thread that does not own it: it delivers an event, closes the
//! descriptor, or reports on it. The owner's calls are in [`registration`](crate::poll::registration).
//!
//! # The fence pair (INV-3)
//!
//! A waiter writes one word and looks at another; a closer does the same the other way round:
//!
//! | waiter (`Registration::wait`, `park`) | closer ([`PollDesc::evict`], [`PollDesc::end`], `Registration::set_deadline`, [`PollDesc::expire`]) |
//! |---|---|
//! | rg: NIL → WAIT | info: CLOSING or ENDED, or the deadline: EXPIRED |
//! | **`fence(SeqCst)`** | **`fence(SeqCst)`** |
//! | looks at info and the deadline | looks at rg |
//! | nothing there: parks | NIL there: no task to wake |
//!
//! Without the fences both looks may be old, on the same run: the waiter sees no CLOSING, the closer sees NIL, and
//! the task sleeps for ever. One of the two fences is first in the single order of all such fences; the side that
//! fences second sees what the other wrote. Go is spared this since its atomics are sequentially consistent.
//!
//! The ready path has no fence: an event writes and looks at the same word.
//!
//! # Who touches what
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `info` | the closer; the poller, for its generation; `free` | all |
//! | `rg`, `wg` | the direction's waiter; the poller, closers and timers, by compare-exchange | the same |
//! | `rd`, `wd` | the setter; a firing, by compare-exchange | waiters, firings |
//! | `armed` | the thread that edits the timer wheel, under the wheel's lock | setters |
//! | `link` | the free list, while the slot is free | a thread that pops, even if it loses the slot (see `free_list`) |
//! | `slot` | the donor, before the slot can be handed out | the owner: the index of the slot |
//! | `number`, `since` | the layer above; core never | reports |
//!
//! Everything that an event and the task behind it touch, for reading and for a write that need not wait, is in the
//! first cache line: `info` to the state word of `wg`. At thousands of connections lines cost more than instructions.

use core::task::Waker;

use super::deadline::{Deadline, When};
use super::glist::GList;
use super::info::{AtomicInfo, Info};
use super::key::{Event, FDSEQ_BITS, Mode, Modes};
use super::sema::{Sema, Unblock};
use crate::sync::RelaxedUsize;
use crate::sync::{AtomicUsize, Ordering, const_fn, fence};

/// The reason why a wait, or a reset before a system call, is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PollErr {
    /// The descriptor is being closed (Go's `pollErrClosing`).
    Closing,
    /// The direction's deadline has passed (`pollErrTimeout`).
    Timeout,
    /// The poller has ended: a wait would have no end. A call that need not wait may be made.
    Ended,
    /// Another task is between arm and its end in this direction. The layer above keeps tasks apart by a lock; to
    /// see this is a bug there, and nothing has been changed.
    DoubleWait,
}

/// The outcome of [`Registration::wait`](crate::poll::registration::Registration::wait).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Wait {
    /// Readiness is a hint: try the system call again.
    Ready,
    /// Parked; the waker will be handed up.
    Parked,
    /// Not parked and not ready: another thread is just now finishing with this semaphore, or a deadline was
    /// moved while it fired. The task wakes itself and comes again.
    Again,
    /// The wait is refused.
    Failed(PollErr),
}

/// The result of [`PollDesc::ready`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Delivered {
    /// Put this many wakers into the list; the count of waiters falls by as many once their tasks are runnable.
    Woken(usize),
    /// The event is of another generation; nothing has changed.
    Stale,
    /// The list had no room for two wakers; nothing has changed. Hand the list up and deliver again.
    NoRoom,
}

/// The result of unblocking some sides; `stale`: one was of another generation by the time of its compare-exchange.
struct Unblocked {
    woken: usize,
    stale: bool,
}

/// One descriptor: Go's `pollDesc` without its lock and its two timers. `BITS` is the width of the generation.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct PollDesc<const BITS: u32 = FDSEQ_BITS> {
    pub(crate) info: AtomicInfo<BITS>,
    since_read: RelaxedUsize,
    rg: Sema<BITS>,
    pub(crate) rd: Deadline,
    pub(crate) wd: Deadline,
    wg: Sema<BITS>,
    pub(crate) armed: Deadline,
    pub(crate) link: AtomicUsize,
    pub(crate) slot: RelaxedUsize,
    number: RelaxedUsize,
    since_write: RelaxedUsize,
}

/// The state word of `wg` is the last of the first line; the model checker's atomics are larger.
const _: () = assert!(size_of::<Sema>() != 24 || core::mem::offset_of!(PollDesc, wg) == 56);

impl<const BITS: u32> Default for PollDesc<BITS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BITS: u32> PollDesc<BITS> {
    const_fn! {
        /// Creates a descriptor of generation 0: no deadline, no task waiting.
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
    pub fn info(&self) -> Info<BITS> {
        self.info.get()
    }

    /// Returns the deadline in force in a direction.
    pub fn deadline(&self, mode: Mode) -> When {
        self.deadline_of(mode).get()
    }

    /// Returns whether a task is parked in that direction: a report, old when it arrives.
    pub fn is_parked(&self, mode: Mode) -> bool {
        self.sema(mode).is_parked()
    }

    /// Returns the place for the number that the layer above gives the descriptor, for reports. Nothing here reads it.
    #[inline]
    pub fn number(&self) -> &RelaxedUsize {
        &self.number
    }

    /// Returns the place for the time at which a task last parked in that direction, for reports. Nothing here reads it.
    #[inline]
    pub fn since(&self, mode: Mode) -> &RelaxedUsize {
        if mode == Mode::Read { &self.since_read } else { &self.since_write }
    }

    /// Fails if the direction may not go on: closing before timeout (Go's `netpollcheckerr`).
    ///
    /// Go also refuses reads after an event that was an error and nothing else. A connection's reset looks like that for a
    /// moment, so it is for the layer above to look at [`Info::event_err`] once its call has found nothing.
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

    /// Fails if the direction may not wait: as [`PollDesc::check_err`], and if the poller has ended.
    #[inline]
    pub(crate) fn check_wait(&self, mode: Mode) -> Result<(), PollErr> {
        let info = self.info.get();
        if info.refuses_waits() || self.deadline_of(mode).is_expired() {
            return Err(self.why_not(info, mode));
        }
        Ok(())
    }

    /// Returns why a direction may not wait: closing before timeout before the end.
    #[cold]
    fn why_not(&self, info: Info<BITS>, mode: Mode) -> PollErr {
        if info.closing() {
            PollErr::Closing
        } else if self.deadline_of(mode).is_expired() || !info.ended() {
            PollErr::Timeout
        } else {
            PollErr::Ended
        }
    }

    /// Delivers an event (Go's `netpollready`): at most two wakers go into the list. May run in an interrupt
    /// handler: it takes no lock and never clones, drops or wakes a waker.
    #[inline]
    pub fn ready<const N: usize>(&self, event: Event, list: &mut GList<N>) -> Delivered {
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

    /// Publishes that the descriptor of generation `fdseq` is being closed and unblocks both sides (Go's `pollUnblock`):
    /// returns the wakers of the tasks that were parked, at most two. The count of waiters falls by as many once they are
    /// runnable. Changes nothing if the slot is of another generation by now; harmless when repeated.
    ///
    /// May run on any thread and in an interrupt handler. The timer's entry is the caller's to take out of its wheel.
    pub fn evict(&self, fdseq: u32) -> GList<2> {
        if !self.info.publish_closing(fdseq) {
            return GList::new();
        }
        fence(Ordering::SeqCst); // pair: registration::park
        self.unblock_all(Modes::BOTH, fdseq)
    }

    /// Publishes that the poller has ended and unblocks both sides, as [`PollDesc::evict`] does: returns the wakers of the
    /// tasks that were parked. Waits that begin later are refused, and calls that need not wait are not. Concerns the slot in
    /// whatever generation it is; harmless when repeated. Called by `PollCache::end`.
    pub fn end(&self) -> GList<2> {
        let fdseq = self.info.publish_ended().fdseq();
        fence(Ordering::SeqCst); // pair: registration::park
        self.unblock_all(Modes::BOTH, fdseq)
    }

    /// Fires the descriptor's timer: the deadlines that are due at `now` expire, and the wakers of the tasks whose waits
    /// that ends are returned; the count of waiters falls by their number once they are runnable. The second value is the
    /// tick to which the caller puts the entry back: a deadline that was moved later costs a store when it is moved, and one
    /// early firing.
    ///
    /// The caller holds the timer wheel's lock, from taking the entry out of the wheel to putting it back; the entry of a
    /// descriptor is out of the wheel before its slot is freed. An entry that is left there fires for the slot's next owner:
    /// it expires only what is due then, and may wake a task once for nothing.
    pub fn expire(&self, now: usize) -> (GList<2>, Option<usize>) {
        let mut expired = Modes::NONE;
        let next = loop {
            let (read, write) = (self.rd.get(), self.wd.get());
            let next = read.pending(now).earlier(write.pending(now));
            self.armed.set(next);
            // A setter that moves a deadline earlier
            // 1. before our second look: we see it and go round;
            // 2. after it: its fence comes after ours, so it reads `next` from `armed` and edits the wheel itself.
            fence(Ordering::SeqCst); // pair: registration::set_deadline
            // One that postpones it has no fence: we expire it first, or find that we did not and go round.
            if (self.rd.get(), self.wd.get()) == (read, write)
                && expire_if_due(&self.rd, read, now, &mut expired.read)
                && expire_if_due(&self.wd, write, now, &mut expired.write)
            {
                break next;
            }
        };
        fence(Ordering::SeqCst); // pair: registration::park
        // After the deadlines: whichever generation's expired, its waiters are not missed.
        let list = self.unblock_all(expired, self.info.get().fdseq());
        (list, if let When::At(at) = next { Some(at) } else { None })
    }

    /// Unblocks both sides without a reason: a task that was parked looks again, and parks if it may. Returns their wakers.
    pub fn unpark(&self) -> GList<2> {
        self.unblock_all(Modes::BOTH, self.info.get().fdseq())
    }

    /// The slot goes to the next generation with nothing left of this one. Called by the owner's `free` only, after `evict`.
    pub(crate) fn close(&self) {
        let fdseq = self.info.advance();
        self.rg.advance(fdseq);
        self.wg.advance(fdseq);
        for word in [&self.rd, &self.wd, &self.armed] {
            if word.get() != When::Never {
                word.set(When::Never);
            }
        }
    }

    /// Unblocks all waits of the named sides of generation `fdseq`; the tasks look at the reason themselves. Returns their
    /// wakers.
    #[inline(never)]
    pub(crate) fn unblock_all(&self, modes: Modes, fdseq: u32) -> GList<2> {
        let mut list = GList::new();
        self.unblock(modes, fdseq, false, &mut list);
        list
    }

    /// Unblocks the named sides of generation `fdseq`, with or without a readiness. The list has room for two.
    #[inline(always)]
    fn unblock<const N: usize>(
        &self,
        modes: Modes,
        fdseq: u32,
        ready: bool,
        list: &mut GList<N>,
    ) -> Unblocked {
        let mut done = Unblocked { woken: 0, stale: false };
        let mut unblock = |sema: &Sema<BITS>| match sema.unblock(fdseq, ready) {
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

    pub(crate) fn sema(&self, mode: Mode) -> &Sema<BITS> {
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

/// Expires a deadline that was found, if it is due. Returns false if it was moved since.
fn expire_if_due(deadline: &Deadline, found: When, now: usize, expired: &mut bool) -> bool {
    if !found.is_due(now) {
        return true;
    }
    let done = deadline.expire(found);
    *expired |= done;
    done
}

/// Not to be reached: the callers of `unblock` see to the room. A mistake there is loud, and loses no wakeup.
#[cold]
#[inline(never)]
fn no_room(waker: Waker) -> ! {
    waker.wake();
    panic!("a list of wakers without room for two")
}
