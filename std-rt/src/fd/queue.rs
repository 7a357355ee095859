//! The queue of tasks that wait for the lock of one direction, first come first served.
//!
//! The word ([`FdMutex`](netpoll_core::poll::fd_mutex::FdMutex)) counts them, this queue keeps their wakers; it lives under
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
//! | to nobody | nobody | waits | if `lost_handoff`: unlock again; else unclaimed | - | closed |
//! | to nobody | some | waits | to the first, which is woken | leaves; the word does not count it: `lost_handoff` | closed, all are woken |
//! | unclaimed | nobody | granted | - | - | closed |
//! | to one | some or nobody | waits | - | that one: unlock; another: leaves, as above | closed, the waiting are woken |
//! | to nobody | closed | refused | unlock again | nothing to do | - |
//! | unclaimed | closed | granted | - | - | - |
//! | to one | closed | refused | - | that one: unlock; another: nothing to do | - |
//!
//! A hand-over is on its way or in the queue at most once: its task has the lock, and no other task unlocks. In the
//! queue the lock is at rest: its reference has been given back, and the task takes another one before it goes on.
//!
//! # Skipping a task
//!
//! | handed over | `skip` of a waiter | that task |
//! |---|---|---|
//! | to that waiter | to nobody; the caller unlocks the word | sees `Skipped` at its next poll, and starts again |
//! | to another, to nobody, unclaimed | nothing: the task has taken the lock meanwhile, or has left | - |
//!
//! A task whose waker panics when it is woken for a deadline is removed at once: [`LockQueue::remove`].
//!
//! # Lost hand-overs
//!
//! While the descriptor is open, the word's count and the hand-over on its way are together as many as the tasks
//! that were counted and have not been handed the lock, plus one if `lost_handoff`. A task that gives up takes itself
//! out of the count. If the count is 0 already, the hand-over on its way is for this task and for no other; the task
//! does not wait for it but sets `lost_handoff`, and the next delivery that finds the queue empty unlocks once more. If
//! another task queued meanwhile, it is handed the lock instead, and the count stays one too high until a later delivery
//! finds the queue empty.
//!
//! # Notification without a lock
//!
//! A task that keeps nothing between two polls cannot be handed a lock: it may never come for it. It registers for a
//! notification instead. All such tasks share one waker and one entry, which the word counts like any other and which is
//! served when no other task waits: the delivery takes the lock, unlocks at once, and returns the waker.
//!
//! | registered | handed over | `register_notify` | `deliver`, queue empty | `close` |
//! |---|---|---|---|---|
//! | no | to nobody | registers | as above | as above |
//! | no | unclaimed | granted: the task takes the lock | - | - |
//! | yes | to nobody | is counted once too often: leaves, or leaves `lost_handoff` behind | unlock again; notified | its waker is woken too |
//! | yes | to one | the same | - | the same |
//! | - | closed | refused | - | - |
//!
//! In the equation of "Lost hand-overs" the registration is one of the tasks that were counted.

use std::collections::VecDeque;
use std::num::NonZeroU64;

/// A place in the queue. It is given back by [`LockQueue::withdraw`], or is used up once [`LockQueue::poll_ticket`] has said
/// something other than waiting.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Ticket(NonZeroU64);

/// The result of [`LockQueue::enqueue`].
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

/// The result of [`LockQueue::poll_ticket`].
#[derive(Debug)]
#[must_use]
pub enum QueuePoll<'q, W> {
    /// The lock and its reference are the task's now.
    Granted,
    /// Not yet. The waker may be replaced; the old one is to be dropped outside the lock.
    Waiting(&'q mut W),
    /// The descriptor is closed, and the task has no lock.
    Closed,
    /// The task was skipped: it has neither the lock nor a place in the queue.
    Skipped,
}

/// The identity of a task in the queue, for [`LockQueue::skip`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiter(u64);

/// The result of [`LockQueue::deliver`].
#[derive(Debug)]
#[must_use]
pub enum Deliver<W> {
    /// The lock is this task's: to be woken outside the queue's lock.
    Wake(W, Waiter),
    /// The lock waits for the task that was counted and is about to enqueue.
    Unclaimed,
    /// No task will take the lock: the caller has it back and unlocks the word again.
    UnlockAgain,
}

/// The work that is left for the caller of [`LockQueue::withdraw`].
#[derive(Debug)]
#[must_use]
pub enum Withdraw<W> {
    /// The task had been handed the lock: the caller unlocks the word in its place.
    Unlock,
    /// Nothing, but to drop the task's waker, if it was still here, outside the lock.
    Done(Option<W>),
}

/// The result of [`LockQueue::register_notify`].
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

/// The recipient of a hand-over that has arrived.
#[derive(Debug, PartialEq, Eq)]
enum Handoff {
    /// The task that enqueues next.
    Unclaimed,
    /// The task with this ticket.
    To(u64),
}

/// The queue of one direction. `W` wakes a task; nothing here wakes, clones or drops one.
#[derive(Debug)]
pub struct LockQueue<W> {
    /// By ticket, ascending.
    waiting: VecDeque<(u64, W)>,
    /// The task that owns the lock and its reference, and has not taken them yet.
    handoff: Option<Handoff>,
    /// The shared waker of the tasks that wait for a notification, until no other task waits.
    notify_waker: Option<W>,
    /// The same waker, once a delivery has served it.
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
    /// Creates an empty queue. It allocates nothing until a task waits.
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

    /// Adds a task. Call it right after the word's `lock` returned `Queued`: a task that was counted always comes here.
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

    /// Returns the state of a task that waits; called at each of its polls.
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

    /// Passes on a lock for which the word's `unlock` returned `HandedOver`.
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

    /// Takes the lock back from a task that cannot be woken. Returns true if the task has not taken the lock: the caller
    /// then unlocks the word.
    pub fn skip(&mut self, waiter: Waiter) -> bool {
        let here = self.handoff == Some(Handoff::To(waiter.0));
        if here {
            self.handoff = None;
        }
        here
    }

    /// Takes the wakers of all queued tasks, to be woken outside the lock. The tasks stay queued, and each stores its waker
    /// again at its next poll. `idle` makes the waker that replaces it meanwhile.
    pub fn take_wakers(&mut self, idle: impl Fn() -> W) -> Vec<(W, Waiter)> {
        self.waiting
            .iter_mut()
            .map(|(ticket, waker)| (std::mem::replace(waker, idle()), Waiter(*ticket)))
            .collect()
    }

    /// Removes a task whose waker from [`LockQueue::take_wakers`] has panicked, as [`LockQueue::withdraw`] does: it may
    /// never be polled again. If it is, it sees `Skipped` and starts again. Returns the waker that it has stored meanwhile,
    /// to be woken.
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

    /// Registers a task that takes the lock only if it is free, and otherwise wants to be woken when it may be. Call it right
    /// after the word's `lock` returned `Queued`. `leave` as for [`LockQueue::withdraw`].
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

    /// Returns the waker that the last [`LockQueue::deliver`] has served, to be woken once the word is unlocked again. Call
    /// it before the queue's lock is released.
    pub fn take_notified(&mut self) -> Option<W> {
        self.notified.take()
    }

    /// Removes a task that gives up. `leave` is the word's `leave` for this direction; it is called under the queue's lock, so that
    /// no delivery comes between the two halves.
    pub fn withdraw(&mut self, ticket: Ticket, leave: impl FnOnce() -> bool) -> Withdraw<W> {
        self.remove(Waiter(ticket.0.get()), leave)
    }

    /// Removes all tasks after the word's `incref_and_close`; returns their wakers, to be woken outside the lock in this
    /// order. A task that was handed the lock keeps it, and finds the descriptor closed.
    pub fn close(&mut self) -> impl Iterator<Item = W> + use<W> {
        self.closed = true;
        let notify_waker = self.notify_waker.take();
        std::mem::take(&mut self.waiting).into_iter().map(|(_, waker)| waker).chain(notify_waker)
    }

    /// Returns true once [`LockQueue::close`] has been called.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns true while a task is registered for a notification.
    pub fn has_notify_waker(&self) -> bool {
        self.notify_waker.is_some()
    }

    /// Returns the number of queued tasks, for dumps.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns true if no task is queued.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn index(&self, number: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&number, |(number, _)| *number).ok()
    }
}
