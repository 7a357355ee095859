//! The tasks that wait in one direction without a place of their own: through `poll_*` functions, which keep nothing
//! between two polls, if there are several ([`poll_park`](super::poll_park)), and through
//! [`Fd::readiness`](crate::fd::Fd::readiness).
//!
//! They share one waker. It stands for them in the direction's semaphore and in the list of waiters, and wakes them all: a
//! task that still waits tries again, and one that has lost interest blocks no other. So two tasks that poll the same
//! direction do not displace each other's parking, which would wake each other for ever. An unlock wakes all of them for the
//! same reason: the one task that it chose might never come, and then the others would sleep beside a free lock.
//!
//! # The bound
//!
//! A future has an entry of its own, which it fills at each poll and removes when it is dropped. The `poll_*` functions of a
//! task share one, which they find by the task's waker among the entries that no future owns; and a task that makes a new waker
//! for each poll looks like a new task each time. So there is a bound, [`MIN_WAKERS`] at first. Beyond it the oldest entry is
//! woken early to make room; if its task still waits, it registers again, and the next oldest has to go. After [`TURNOVERS`]
//! times the bound such wakes without an event, all are woken, and the bound doubles.
//!
//! | the list is full of | result |
//! |---|---|
//! | as many tasks as wakers | they fit after a few doublings, and sleep |
//! | wakers for which no task waits | they are gone, and the task that made them causes no wake for as many polls as the bound |
//!
//! An event that finds the list less than a quarter full halves the bound. It does not grow beyond [`MAX_WAKERS`].

use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use netpoll_core::Mode;
use netpoll_core::sync::Flag;

use crate::fd::Fd;
use crate::fd::deadline::DeadlineTimer;
use crate::foreign;
use crate::sys::FdOwner;

/// The initial bound, which is also the smallest.
const MIN_WAKERS: usize = 32;

/// The largest bound: half a MiB of wakers.
const MAX_WAKERS: usize = 32_768;

/// The number of times that the list may turn over without an event.
const TURNOVERS: usize = 3;

/// The tasks that wait in one direction. Parked tasks and tasks that wait for the lock are in two sets, so that the unlock of
/// one of many tasks wakes the few that came meanwhile, and not all.
#[derive(Debug, Default)]
pub(in crate::fd) struct PollWakers {
    /// The tasks whose shared waker is in the semaphore.
    pub(super) parked: WakerSet,
    /// Set by [`Fd::try_io`] after a call that succeeded: the next [`Fd::poll_ready`] is ready without asking the kernel.
    pub(super) may_have_more: Flag,
    /// The tasks whose shared waker is in the list of waiters, once there was one.
    awaiting_lock: OnceLock<WakerSet>,
    /// The tasks whose wait no timeout limits, once there was one. They are in the two sets above by their shared waker.
    untimed: OnceLock<WakerSet>,
    /// The timer that ends the wait for the lock at the direction's deadline.
    timer: Mutex<DeadlineTimer>,
}

/// A set of tasks, and one waker for all of them.
#[derive(Debug)]
pub(in crate::fd) struct WakerSet {
    list: Arc<List>,
    waker: Waker,
}

impl Default for WakerSet {
    fn default() -> Self {
        let list = Arc::new(List::default());
        Self { waker: Waker::from(list.clone()), list }
    }
}

/// The identity of an entry in the list. Odd for an entry that a future owns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::fd) struct EntryId(pub(super) u64);

impl WakerSet {
    /// Returns the waker of all tasks that register before it is woken.
    pub(in crate::fd) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Puts the task of a `poll_*` function into the list; returns its entry unless it had one. An entry of a future of the task
    /// does not count: it leaves with the future. Call it before the shared waker is left in the semaphore or in the list of
    /// waiters: it may be woken at once.
    pub(super) fn register(&self, waker: &Waker) -> Option<EntryId> {
        if self.list.lock().has_poll(waker) {
            return None;
        }
        Some(self.insert(waker.clone()))
    }

    /// Puts a task into the list as [`register`](Self::register) does, whatever the bound is: the entry leaves with its owner.
    /// It is its owner's alone, also if the list has the same waker: another future of the task may leave before this one.
    pub(super) fn register_owned(&self, entry: &mut Option<EntryId>, waker: &Waker) {
        if entry.is_some_and(|entry| self.list.lock().is_filled_with(entry, waker)) {
            return;
        }
        let waker = waker.clone();
        let replaced = {
            let mut waiting = self.list.lock();
            match entry.and_then(|entry| waiting.at(entry)) {
                Some(at) => Some(mem::replace(&mut waiting.tasks[at].1, waker)),
                None => {
                    *entry = Some(waiting.push(waker, true));
                    None
                }
            }
        };
        drop(replaced);
    }

    /// Puts the task of a waker that is not needed elsewhere into the list.
    pub(super) fn insert(&self, waker: Waker) -> EntryId {
        let (entry, early) = self.list.lock().register(waker);
        foreign::wake_all(early);
        entry
    }

    /// Removes the entry of a future that is dropped. Returns whether the list is empty then.
    pub(super) fn leave(&self, entry: EntryId) -> bool {
        let (waker, empty) = {
            let mut waiting = self.list.lock();
            (waiting.leave(entry), waiting.tasks.is_empty())
        };
        drop(waker);
        empty
    }

    /// Returns true if the entry of a future is in the list: it has not been woken since it registered.
    pub(super) fn has(&self, entry: EntryId) -> bool {
        self.list.lock().at(entry).is_some()
    }

    /// Returns true if the list is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.list.lock().tasks.is_empty()
    }

    /// Returns whether another waker than this one is in the list.
    fn has_other_than(&self, waker: Option<&Waker>) -> bool {
        let is_other = |known: &Waker| !waker.is_some_and(|waker| waker.will_wake(known));
        self.list.lock().tasks.iter().any(|(_, known)| is_other(known))
    }

    /// Drops all wakers, when no task can poll any more.
    fn end(&self) {
        let (one, rest) = self.list.lock().take();
        for waker in one.into_iter().chain(rest) {
            foreign::catch_panic(|| drop(waker));
        }
    }
}

impl PollWakers {
    /// Returns the tasks that wait for the lock.
    pub(in crate::fd) fn awaiting_lock(&self) -> &WakerSet {
        self.awaiting_lock.get_or_init(WakerSet::default)
    }

    /// Returns whether a task waits within the time of the polls.
    pub(in crate::fd) fn has_timed(&self) -> bool {
        let untimed = self.untimed.get().map(WakerSet::waker);
        let has_timed = |tasks: &WakerSet| tasks.has_other_than(untimed);
        has_timed(&self.parked) || self.awaiting_lock.get().is_some_and(has_timed)
    }

    fn replace_timer(&self, timer: DeadlineTimer) -> DeadlineTimer {
        mem::replace(&mut *self.timer.lock().unwrap_or_else(PoisonError::into_inner), timer)
    }
}

impl<S: FdOwner> Fd<S> {
    /// Polls for an end that no timeout limits, with the waker of all tasks that do so in this direction.
    pub(super) fn poll_untimed<T>(
        &self,
        mode: Mode,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if self.netpoll().check().is_err() {
            // It fails, and in a forked child a thread of the parent may have had the list.
            return poll(cx);
        }
        let untimed = self.pollers(mode).untimed.get_or_init(WakerSet::default);
        untimed.register(cx.waker());
        let polled = poll(&mut Context::from_waker(untimed.waker()));
        if polled.is_ready() {
            // A waker that stays may own the future that was polled. The other tasks look as well.
            untimed.waker().wake_by_ref();
        }
        polled
    }

    /// Arms a timer that wakes the tasks waiting for the lock at the direction's deadline. `is_timed` means that the time of the
    /// polls ends the wait of this one.
    ///
    /// # Errors
    ///
    /// Returns `TimedOut` if it has passed.
    pub(super) fn arm_poll_timer(&self, mode: Mode, is_timed: bool) -> io::Result<()> {
        let pollers = self.pollers(mode);
        let limit = if is_timed { self.poll_lock_limit(mode)? } else { None };
        // Outside the lock: dropping a timer may drop others, whose wakers are foreign code.
        let mut timer = pollers.replace_timer(DeadlineTimer::default());
        let watched = self.watch_deadline(mode, &mut timer, limit, pollers.awaiting_lock().waker());
        // The timer of another task that came here meanwhile.
        let mut other = pollers.replace_timer(timer);
        self.drop_deadline(&mut other);
        watched
    }

    /// Drops the wakers that tasks have left, when the descriptor is dropped and no task can poll it any more.
    pub(in crate::fd) fn drop_poll_wakers(&self) {
        let all = self.extra.get().into_iter().flat_map(|extra| &extra.pollers);
        for pollers in all.filter_map(OnceLock::get) {
            self.drop_deadline(&mut pollers.replace_timer(DeadlineTimer::default()));
            pollers.parked.end();
            [&pollers.awaiting_lock, &pollers.untimed]
                .into_iter()
                .filter_map(OnceLock::get)
                .for_each(WakerSet::end);
        }
    }
}

#[derive(Debug, Default)]
struct List(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    /// The tasks with their numbers, which ascend.
    tasks: Vec<(u64, Waker)>,
    /// The number of the next one, if no future owns it.
    next: u64,
    bound: usize,
    /// The number of tasks that were woken early since the last event.
    early: usize,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { tasks: Vec::new(), next: 0, bound: MIN_WAKERS, early: 0 }
    }
}

impl Waiting {
    fn at(&self, entry: EntryId) -> Option<usize> {
        self.tasks.binary_search_by_key(&entry.0, |(number, _)| *number).ok()
    }

    /// Returns true if the entry is in the list with the same waker.
    fn is_filled_with(&self, entry: EntryId, waker: &Waker) -> bool {
        self.at(entry).is_some_and(|at| self.tasks[at].1.will_wake(waker))
    }

    /// Returns true if the list has an entry with the same waker that no future owns.
    fn has_poll(&self, waker: &Waker) -> bool {
        self.tasks.iter().any(|(number, known)| number % 2 == 0 && known.will_wake(waker))
    }

    /// Puts a task into the list. Returns the tasks that were removed because the list was full, which the caller wakes outside
    /// the lock.
    fn register(&mut self, waker: Waker) -> (EntryId, Vec<Waker>) {
        let early = if self.tasks.len() < self.bound { Vec::new() } else { self.make_room() };
        (self.push(waker, false), early)
    }

    fn push(&mut self, waker: Waker, is_owned: bool) -> EntryId {
        let number = self.next + u64::from(is_owned);
        self.next += 2;
        if self.tasks.capacity() == 0 {
            // Most connections have one task.
            self.tasks.reserve_exact(1);
        }
        self.tasks.push((number, waker));
        EntryId(number)
    }

    #[cold]
    fn make_room(&mut self) -> Vec<Waker> {
        self.early += 1;
        if self.early <= TURNOVERS * self.bound {
            return vec![self.tasks.remove(0).1];
        }
        self.bound = (2 * self.bound).min(MAX_WAKERS);
        self.take().1
    }

    fn leave(&mut self, entry: EntryId) -> Option<Waker> {
        let at = self.at(entry)?;
        Some(self.tasks.remove(at).1)
    }

    /// Takes all tasks out. Most often there is one, which leaves the memory of the list for the next one: a task that
    /// polls for each message allocates nothing.
    fn take(&mut self) -> (Option<Waker>, Vec<Waker>) {
        self.early = 0;
        if self.tasks.len() <= 1 {
            return (self.tasks.pop().map(|(_, waker)| waker), Vec::new());
        }
        (None, mem::take(&mut self.tasks).into_iter().map(|(_, waker)| waker).collect())
    }
}

impl List {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No foreign code runs under this lock, so a panic cannot leave the list half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for List {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let (one, rest) = {
            let mut waiting = self.lock();
            if waiting.tasks.len() < waiting.bound / 4 {
                waiting.bound = (waiting.bound / 2).max(MIN_WAKERS);
            }
            waiting.take()
        };
        foreign::wake_all(one);
        foreign::wake_all(rest);
    }
}
