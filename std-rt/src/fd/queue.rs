//! The tasks that wait for the lock of one direction, in the order in which they came.
//!
//! The word ([`FdMutex`](netpoll_core::fd_mutex::FdMutex)) counts them, this queue keeps their wakers; it lives under
//! a lock that its owner brings. Word and queue are changed one after the other, so a thread may stand in between:
//!
//! - a task is counted and not yet in the queue (`lock` said `Queued`, [`LockQueue::enqueue`] is to come);
//! - a hand-over has left the word and is not in the queue yet (`unlock` said `HandedOver`, [`LockQueue::deliver`] is
//!   to come).
//!
//! # States
//!
//! | handed over | waiting | `enqueue` | `deliver` | `withdraw` | `close` |
//! |---|---|---|---|---|---|
//! | to nobody | nobody | waits | abandoned: unlock again; else left for any | - | closed |
//! | to nobody | some | waits | to the first, who is woken | leaves; the word does not count it: abandoned | closed, all are woken |
//! | to any | nobody | granted | - | - | closed |
//! | to one | some or nobody | waits | - | that one: unlock; another: leaves, as above | closed, the waiting are woken |
//! | to nobody | closed | refused | unlock again | nothing to do | - |
//! | to any | closed | granted | - | - | - |
//! | to one | closed | refused | - | that one: unlock; another: nothing to do | - |
//!
//! A hand-over is on its way or in the queue at most once: whoever it is for has the lock, and nobody else unlocks. In the
//! queue the lock is at rest: its reference has been given back, and the task takes another one before it goes on.
//!
//! # Passing over
//!
//! | handed over | `skip` of a place | the task of that place |
//! |---|---|---|
//! | to that place | to nobody; the caller unlocks the word | is told at its next look, and begins anew |
//! | to another, to nobody, to any | nothing: the task has taken the lock meanwhile, or has left | - |
//!
//! A task whose waker panics while it waits, since it is told of a deadline, is passed over at once: [`LockQueue::remove`].
//!
//! # Abandoned
//!
//! While the descriptor is open, the word's count and the hand-over on its way are together as many as the tasks
//! that were counted and have not been handed the lock, plus one if `lost_handoff`. A task that gives up takes itself
//! out of the count. If the count is 0 already, the hand-over on its way is for this task and for no other; the task
//! does not wait for it but leaves `lost_handoff` behind, and whoever delivers and finds nobody gives the lock back once
//! more. If somebody else came to wait meanwhile, he is handed the lock instead, and the one too many stays in the
//! count until a later delivery finds nobody.

//!
//! # Hailing
//!
//! A task that polls and keeps nothing between two polls cannot be handed a lock: it may never come for it. It hails
//! instead. All who do share one waker and one place, which is counted in the word like any other and is served when
//! nobody else waits: the hand-over is taken, given back at once, and the waker comes out.
//!
//! | hailed | handed over | `register_notify` | `deliver`, nobody waiting | `close` |
//! |---|---|---|---|---|
//! | no | to nobody | has the place | as above | as above |
//! | no | to any | granted: it is here, and takes the lock | - | - |
//! | yes | to nobody | is counted once too often: leaves, or leaves `lost_handoff` behind | unlock again; answered | its waker is woken too |
//! | yes | to one | the same | - | the same |
//! | - | closed | refused | - | - |
//!
//! In the equation of "Abandoned" the hail is one of the tasks that were counted.

use std::collections::VecDeque;
use std::num::NonZeroU64;

/// A place in the queue. It is given back by [`LockQueue::withdraw`], or is used up once [`LockQueue::poll_ticket`] has said
/// something other than waiting.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Ticket(NonZeroU64);

/// How [`LockQueue::enqueue`] ended.
#[derive(Debug)]
#[must_use]
pub enum Enqueue<W> {
    /// The lock and its reference are the task's already. Its waker is given back, to be dropped outside the lock.
    Granted(W),
    /// The task waits; its waker will come out once.
    Waiting(Ticket),
    /// The descriptor is closed; the waker as for `Granted`.
    Closed(W),
}

/// What [`LockQueue::poll_ticket`] found.
#[derive(Debug)]
#[must_use]
pub enum QueuePoll<'q, W> {
    /// The lock and its reference are the task's now.
    Granted,
    /// Not yet. The waker may be replaced; the old one is to be dropped outside the lock.
    Waiting(&'q mut W),
    /// The descriptor is closed, and the task has no lock.
    Closed,
    /// The task was passed over, and has no lock and no place.
    Skipped,
}

/// A task in the queue, for [`LockQueue::skip`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiter(u64);

/// What [`LockQueue::deliver`] did.
#[derive(Debug)]
#[must_use]
pub enum Deliver<W> {
    /// The lock is this task's: to be woken outside the queue's lock.
    Wake(W, Waiter),
    /// The lock is left for the task that was counted and is about to enqueue.
    Unclaimed,
    /// Nobody will take the lock: the caller has it back and unlocks the word again.
    UnlockAgain,
}

/// What is left to do after [`LockQueue::withdraw`].
#[derive(Debug)]
#[must_use]
pub enum Withdraw<W> {
    /// The task had been handed the lock: the caller unlocks the word in its place.
    Unlock,
    /// Nothing, but to drop the task's waker, if it was still here, outside the lock.
    Done(Option<W>),
}

/// How [`LockQueue::register_notify`] ended.
#[derive(Debug)]
#[must_use]
pub enum RegisterNotify<W> {
    /// The lock and its reference are the task's already. The waker is given back, to be dropped outside the lock.
    Granted(W),
    /// The waker will come out once. If another was there already, this one is given back.
    Waiting(Option<W>),
    /// The descriptor is closed; the waker as for `Granted`.
    Closed(W),
}

/// Whom a hand-over that has arrived is for.
#[derive(Debug, PartialEq, Eq)]
enum Handoff {
    /// Whoever enqueues next.
    Unclaimed,
    /// The task with this ticket.
    To(u64),
}

/// The queue of one direction. `W` wakes a task; nothing here wakes, clones or drops one.
#[derive(Debug)]
pub struct LockQueue<W> {
    /// By ticket, ascending.
    waiting: VecDeque<(u64, W)>,
    /// The lock and its reference belong to this task, who has not come for them yet.
    handoff: Option<Handoff>,
    /// Who hailed, until nobody else waits.
    notify_waker: Option<W>,
    /// The same, once a delivery has served it.
    notified: Option<W>,
    /// The word hands over once more than there are tasks.
    lost_handoff: bool,
    closed: bool,
    next: NonZeroU64,
}

impl<W> Default for LockQueue<W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W> LockQueue<W> {
    /// Nobody waits. Allocates nothing until somebody does.
    pub const fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            handoff: None,
            notify_waker: None,
            notified: None,
            lost_handoff: false,
            closed: false,
            next: NonZeroU64::MIN,
        }
    }

    /// After the word's `lock` said `Queued`, in the same breath: a task that was counted always comes here.
    pub fn enqueue(&mut self, waker: W) -> Enqueue<W> {
        if self.handoff == Some(Handoff::Unclaimed) {
            self.handoff = None;
            return Enqueue::Granted(waker);
        }
        if self.closed {
            return Enqueue::Closed(waker);
        }
        let ticket = self.next;
        // A queue does not see 2^64 tasks.
        self.next = ticket.saturating_add(1);
        self.waiting.push_back((ticket.get(), waker));
        Enqueue::Waiting(Ticket(ticket))
    }

    /// At each poll of a task that waits.
    pub fn poll_ticket(&mut self, ticket: &Ticket) -> QueuePoll<'_, W> {
        if self.handoff == Some(Handoff::To(ticket.0.get())) {
            self.handoff = None;
            return QueuePoll::Granted;
        }
        match self.index(ticket.0.get()) {
            Some(place) => QueuePoll::Waiting(&mut self.waiting[place].1),
            None if self.closed => QueuePoll::Closed,
            None => QueuePoll::Skipped,
        }
    }

    /// After the word's `unlock` said `HandedOver`.
    pub fn deliver(&mut self) -> Deliver<W> {
        debug_assert!(self.handoff.is_none(), "the lock was handed over by a task that did not hold it");
        if let Some((ticket, waker)) = self.waiting.pop_front() {
            self.handoff = Some(Handoff::To(ticket));
            return Deliver::Wake(waker, Waiter(ticket));
        }
        if let Some(waker) = self.notify_waker.take() {
            self.notified = Some(waker);
            return Deliver::UnlockAgain;
        }
        // Closed: the hand-over left the word before it was closed, and was for a task that was thrown out since.
        if self.lost_handoff || self.closed {
            self.lost_handoff = false;
            return Deliver::UnlockAgain;
        }
        self.handoff = Some(Handoff::Unclaimed);
        Deliver::Unclaimed
    }

    /// The task to which the lock was delivered cannot be woken. True if it has not taken the lock: the caller has it back
    /// and unlocks the word.
    pub fn skip(&mut self, waiter: Waiter) -> bool {
        let here = self.handoff == Some(Handoff::To(waiter.0));
        if here {
            self.handoff = None;
        }
        here
    }

    /// Takes the wakers of all who wait out, to be woken outside the lock; their places stay, and each leaves its waker
    /// again when it looks. `idle` is the waker that stands there meanwhile.
    pub fn take_wakers(&mut self, idle: impl Fn() -> W) -> Vec<(W, Waiter)> {
        self.waiting
            .iter_mut()
            .map(|(ticket, waker)| (std::mem::replace(waker, idle()), Waiter(*ticket)))
            .collect()
    }

    /// The waker that [`LockQueue::take_wakers`] took out has panicked, so that nobody knows whether its task comes again: its
    /// place is given up as by [`LockQueue::withdraw`]. The task is told at its next look, and begins anew; a waker that it
    /// has left meanwhile is returned, to be woken.
    pub fn remove(&mut self, waiter: Waiter, leave: impl FnOnce() -> bool) -> Withdraw<W> {
        if self.skip(waiter) {
            return Withdraw::Unlock;
        }
        let Some(index) = self.index(waiter.0) else { return Withdraw::Done(None) };
        let waker = self.waiting.remove(index).map(|(_, waker)| waker);
        if !leave() {
            // A hand-over is on its way; or the word is closed and this queue about to be, and it does not matter.
            self.lost_handoff = true;
        }
        Withdraw::Done(waker)
    }

    /// After the word's `lock` said `Queued`, in the same breath, for a task that takes the lock only if it is there and
    /// otherwise wants to be told when to ask again. `leave` as for [`LockQueue::withdraw`].
    pub fn register_notify(&mut self, waker: W, leave: impl FnOnce() -> bool) -> RegisterNotify<W> {
        if self.handoff == Some(Handoff::Unclaimed) {
            self.handoff = None;
            return RegisterNotify::Granted(waker);
        }
        if self.closed {
            return RegisterNotify::Closed(waker);
        }
        if self.notify_waker.is_none() {
            self.notify_waker = Some(waker);
            return RegisterNotify::Waiting(None);
        }
        if !leave() {
            // As in `withdraw`: a hand-over is on its way, and it is not for us.
            self.lost_handoff = true;
        }
        RegisterNotify::Waiting(Some(waker))
    }

    /// After each [`LockQueue::deliver`], before the queue's lock is given back: who hailed and is to be woken, once the
    /// word has been unlocked again.
    pub fn take_notified(&mut self) -> Option<W> {
        self.notified.take()
    }

    /// A task gives up. `leave` is the word's `leave` for this direction; it is called under the queue's lock, so that
    /// no delivery comes between the two halves.
    pub fn withdraw(&mut self, ticket: Ticket, leave: impl FnOnce() -> bool) -> Withdraw<W> {
        self.remove(Waiter(ticket.0.get()), leave)
    }

    /// After the word's `incref_and_close`: throws out all who wait, to be woken outside the lock in this order. Who has
    /// been handed the lock keeps it, and finds out at the descriptor that it is closed.
    pub fn close(&mut self) -> impl Iterator<Item = W> + use<W> {
        self.closed = true;
        let notify_waker = self.notify_waker.take();
        std::mem::take(&mut self.waiting).into_iter().map(|(_, waker)| waker).chain(notify_waker)
    }

    /// True once [`LockQueue::close`] has been called.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// True while a task that polls waits to be told that the lock is free.
    pub fn has_notify_waker(&self) -> bool {
        self.notify_waker.is_some()
    }

    /// How many tasks wait; for dumps.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True if nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn index(&self, number: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&number, |(number, _)| *number).ok()
    }
}
