//! Models of a runtime with two pollers, each with a lock of [`poller_lock`](super::poller_lock): each event is
//! taken by one thread, and none waits while a worker sleeps (INV-14).

use std::sync::Arc;

use loom::sync::{Mutex, Notify};
use netpoll_core::sched::idle::Idle;
use netpoll_core::sched::poller_lock::PollerLock;

use super::support::{Plain, Posted, race, race3};
use crate::harness::{Expect, Model, green, red};

/// The models of this file.
pub const MODELS: &[Model] = &[
    green("m22_event_of_a_watched_poller", 2, None, event_of_a_watched_poller),
    green("m22_unlock_against_park_in_another", 2, Some(4), || unlock_against_park_in_another(Flaw::None)),
    red("m22_flawed_watch_before_the_idle_bit", 2, Some(3), Expect::Deadlock, || {
        unlock_against_park_in_another(Flaw::WatchesTooEarly)
    }),
    red("m22_flawed_unlock_wakes_nobody", 2, Some(3), Expect::Deadlock, || {
        unlock_against_park_in_another(Flaw::WakesNobody)
    }),
    green("m22_unlock_beside_a_searcher", 3, Some(2), || unlock_beside_a_searcher(Flaw::None)),
    red("m22_flawed_last_searcher_checks_no_poller", 3, Some(2), Expect::Deadlock, || {
        unlock_beside_a_searcher(Flaw::ChecksNoPoller)
    }),
    green("m22_take_over_against_resume", 2, None, take_over_against_resume),
    green("m22_watch_of_what_another_has_polled", 2, None, watch_of_what_another_has_polled),
    green("m22_take_over_against_take_over", 3, Some(3), take_over_against_take_over),
    green("m22_wake_of_a_worker_that_watches", 2, Some(4), wake_of_a_worker_that_watches),
    green("m22_insert_against_watch_and_take_over", 3, Some(3), insert_against_watch_and_take_over),
    green("m22_an_event_for_each_of_two_workers", 3, Some(2), an_event_for_each_of_two_workers),
];

const POLLERS: usize = 2;
const WORKERS: usize = 2;

/// The fault of a negative control.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// The worker looks at the pollers before it announces that it sleeps.
    WatchesTooEarly,
    /// The worker that unlocks a poller wakes none.
    WakesNobody,
    /// The last searcher checks the queues only, which are empty here.
    ChecksNoPoller,
}

/// The kernel's state: sets of pollers, a bit each.
#[derive(Default)]
struct Kernel {
    events: usize,
    breaks: usize,
    /// The pollers in which a worker sleeps.
    sleeps: [usize; WORKERS],
}

/// A runtime without a monitor: a worker that goes to sleep watches every poller.
struct Driver {
    pollers: [PollerLock; POLLERS],
    idle: Idle<1>,
    kernel: Mutex<Kernel>,
    /// A worker's sleep, in the kernel or on its token.
    parker: [Notify; WORKERS],
    /// The events of each poller, touched by its owner only.
    events: [Plain<()>; POLLERS],
    /// Set when the events that the model waits for were taken.
    taken: [Posted; POLLERS],
    /// Set if a timer of poller 1 is due early. Read without the wheel's lock.
    early: Posted,
}

const EARLY: usize = 5;
const LATE: usize = 10;

impl Driver {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            pollers: std::array::from_fn(|_| PollerLock::new()),
            idle: Idle::new(),
            kernel: Mutex::default(),
            parker: std::array::from_fn(|_| Notify::new()),
            events: std::array::from_fn(|_| Plain::new(())),
            taken: std::array::from_fn(|_| Posted::new()),
            early: Posted::new(),
        })
    }

    fn kernel(&self) -> loom::sync::MutexGuard<'_, Kernel> {
        self.kernel.lock().expect("no model panics in the kernel")
    }

    /// Changes the kernel's state of a poller and wakes the workers that sleep in it.
    fn signal(&self, poller: usize, change: impl FnOnce(&mut Kernel, usize)) {
        let mut kernel = self.kernel();
        change(&mut kernel, 1 << poller);
        let asleep = kernel.sleeps;
        drop(kernel);
        for (worker, pollers) in asleep.into_iter().enumerate() {
            if pollers & 1 << poller != 0 {
                self.parker[worker].notify();
            }
        }
    }

    fn arrive(&self, poller: usize) {
        self.signal(poller, |kernel, bit| kernel.events |= bit);
    }

    /// Sleeps in the kernel until one of a set of pollers has an event or a break.
    fn wait(&self, worker: usize, pollers: usize) {
        loop {
            let mut kernel = self.kernel();
            let ready = (kernel.events | kernel.breaks) & pollers != 0;
            kernel.sleeps[worker] = if ready { 0 } else { pollers };
            drop(kernel);
            if ready {
                return;
            }
            self.parker[worker].wait();
        }
    }

    /// Polls as the owner, which ends a break. Wakes every sleeper if there was an event, since it was the last.
    fn poll(&self, poller: usize) {
        self.events[poller].set(());
        let mut kernel = self.kernel();
        let found = kernel.events & 1 << poller != 0;
        kernel.events &= !(1 << poller);
        kernel.breaks &= !(1 << poller);
        drop(kernel);
        if found {
            self.taken[poller].post();
            while let Some(worker) = self.idle.pop_idle() {
                self.wake(worker);
            }
        }
    }

    fn is_over(&self, pollers: usize) -> bool {
        (0..POLLERS).all(|poller| pollers & 1 << poller == 0 || self.taken[poller].is_posted())
    }

    /// Wakes a worker whose idle bit is clear, in the poller that it owns or on its token.
    fn wake(&self, worker: usize) {
        match self.pollers.iter().position(|poller| poller.is_parked_in_poller(worker)) {
            Some(poller) => self.signal(poller, |kernel, bit| kernel.breaks |= bit),
            None => self.parker[worker].notify(),
        }
    }

    /// Unlocks a poller to do something else.
    fn leave(&self, poller: usize, flaw: Flaw) {
        self.pollers[poller].unlock();
        if flaw != Flaw::WakesNobody
            && let Some(worker) = self.idle.worker_to_notify(None)
        {
            self.wake(worker);
        }
    }

    /// Locks a poller to sleep in, the worker's own first, and watches the others. Returns the one and the set of the
    /// others.
    fn lock(&self, worker: usize) -> Option<(usize, usize)> {
        let home = worker % POLLERS;
        let mut order = [home, 1 - home].into_iter();
        let main = order.find(|&poller| self.try_own(poller, worker))?;
        let watched = (0..POLLERS).filter(|&poller| poller != main && self.pollers[poller].try_watch(worker));
        Some((main, watched.fold(0, |set, poller| set | 1 << poller)))
    }

    fn try_own(&self, poller: usize, worker: usize) -> bool {
        let lock = &self.pollers[poller];
        lock.try_lock(worker) || poller == worker % POLLERS && lock.take_over(worker).is_some()
    }

    /// Sleeps in the pollers that it has locked, and polls those that are still its own.
    fn sleep_in(&self, worker: usize, main: usize, watched: usize) {
        for poller in (0..POLLERS).filter(|poller| (watched | 1 << main) & 1 << poller != 0) {
            self.pollers[poller].set_poll_until(None);
        }
        if self.idle.is_parked(worker) {
            self.wait(worker, watched | 1 << main);
        }
        for poller in 0..POLLERS {
            let lock = &self.pollers[poller];
            if poller == main || watched & 1 << poller != 0 && lock.resume(worker) {
                self.poll(poller);
                lock.clear_poll_until();
                lock.unlock();
            }
        }
    }

    /// Sleeps and polls until the events of a set of pollers were taken, by whichever thread.
    fn serve(&self, worker: usize, pollers: usize, flaw: Flaw) {
        let mut searches = false;
        while !self.is_over(pollers) {
            if searches {
                self.idle.stop_searching();
            }
            let early = (flaw == Flaw::WatchesTooEarly).then(|| self.lock(worker)).flatten();
            self.idle.begin_park(worker);
            if !self.is_over(pollers) {
                match early.or_else(|| self.lock(worker)) {
                    Some((main, watched)) => self.sleep_in(worker, main, watched),
                    None => self.parker[worker].wait(),
                }
            }
            searches = !self.idle.cancel_park(worker);
        }
    }

    /// Ends a search that found something else.
    fn found(&self, flaw: Flaw) {
        let checks = self.idle.stop_searching() && flaw != Flaw::ChecksNoPoller;
        if checks
            && self.pollers.iter().any(|poller| !poller.is_locked())
            && let Some(worker) = self.idle.worker_to_notify(None)
        {
            self.wake(worker);
        }
    }
}

/// The set of poller 1.
const ONE: usize = 0b10;

/// Takes the event of the other poller while the worker sleeps in its own.
fn event_of_a_watched_poller() {
    race(&Driver::new(), |driver| driver.arrive(1), |driver| driver.serve(0, ONE, Flaw::None));
}

/// Leaves a poller for a long task while another worker goes to sleep in its own. An event comes after that.
fn unlock_against_park_in_another(flaw: Flaw) {
    let driver = Driver::new();
    assert!(driver.pollers[1].try_lock(1));
    let leave = move |driver: &Driver| {
        driver.events[1].set(());
        driver.leave(1, flaw);
        driver.arrive(1);
    };
    race(&driver, leave, move |driver| driver.serve(0, ONE, flaw));
}

/// Adds a worker to the race above that searches when the poller is unlocked, and finds something else.
fn unlock_beside_a_searcher(flaw: Flaw) {
    let driver = Driver::new();
    assert!(driver.pollers[1].try_lock(1));
    assert!(driver.idle.start_searching(1));
    let leave = move |driver: &Driver| {
        driver.leave(1, flaw);
        driver.arrive(1);
    };
    race3(&driver, leave, move |driver| driver.found(flaw), |driver| driver.serve(0, ONE, Flaw::None));
}

/// Wakes the guest by the event of the poller that it watches, while the poller's own worker comes back.
fn take_over_against_resume() {
    let driver = Driver::new();
    driver.arrive(1);
    assert!(driver.pollers[0].try_lock(0) && driver.pollers[1].try_watch(0));
    let come_back = |driver: &Driver| {
        if driver.pollers[1].take_over(1).is_some() {
            driver.poll(1);
            driver.pollers[1].unlock();
        }
    };
    race(&driver, come_back, |driver| driver.sleep_in(0, 0, ONE));
    assert!(driver.taken[1].is_posted(), "nobody took the event");
    assert!(driver.pollers.iter().all(|poller| poller.try_lock(0)), "a poller stayed locked");
}

/// Polls as a guest after the last owner.
fn watch_of_what_another_has_polled() {
    let driver = Driver::new();
    assert!(driver.pollers[1].try_lock(1));
    let leave = |driver: &Driver| {
        driver.events[1].set(());
        driver.pollers[1].unlock();
    };
    let watch = |driver: &Driver| {
        if driver.pollers[1].try_watch(0) && driver.pollers[1].resume(0) {
            driver.events[1].set(());
        }
    };
    race(&driver, leave, watch);
}

/// Takes a poller over twice from a guest that has found it unlocked: one thread gets it, after the last owner.
fn take_over_against_take_over() {
    let driver = Driver::new();
    assert!(driver.pollers[1].try_lock(0));
    let leave_and_watch = |driver: &Driver| {
        driver.events[1].set(());
        driver.pollers[1].unlock();
        driver.pollers[1].try_watch(0);
    };
    let take = |worker| {
        move |driver: &Driver| {
            let guest = driver.pollers[1].take_over(worker);
            if let Some(guest) = guest {
                assert_eq!(guest, 0);
                driver.events[1].set(());
            }
            guest.is_some()
        }
    };
    let ((), a, b) = race3(&driver, leave_and_watch, take(1), take(2));
    assert!(!(a && b), "two have it");
}

/// Stops a worker that goes to sleep as the owner of one poller and the guest of another: it does not sleep, or a break
/// wakes it.
fn wake_of_a_worker_that_watches() {
    let driver = Driver::new();
    let stop = |driver: &Driver| {
        driver.taken[1].post();
        while let Some(worker) = driver.idle.pop_idle() {
            driver.wake(worker);
        }
    };
    race(&driver, stop, |driver| driver.serve(0, ONE, Flaw::None));
}

/// Arms a timer for poller 1 while a worker watches that and another takes it over: the one that has it in the end
/// sees the timer, or a break is sent.
fn insert_against_watch_and_take_over() {
    let driver = Driver::new();
    let next = |driver: &Driver| if driver.early.is_posted() { EARLY } else { LATE };
    let insert = |driver: &Driver| {
        driver.early.post();
        driver.pollers[1].needs_wakeup(EARLY)
    };
    let watch = move |driver: &Driver| {
        driver.pollers[1].try_watch(0).then(|| {
            driver.pollers[1].set_poll_until(None);
            next(driver)
        })
    };
    let take = move |driver: &Driver| {
        driver.pollers[1].take_over(1).map(|_| {
            driver.pollers[1].set_poll_until(Some(LATE));
            next(driver)
        })
    };
    let (sent, guest, owner) = race3(&driver, insert, watch, take);
    let until = owner.or(guest).expect("no other thread has locked it");
    assert!(sent || until == EARLY, "it sleeps past the new deadline");
}

/// Lets an event come for each poller while two workers sleep.
fn an_event_for_each_of_two_workers() {
    let arrive = |driver: &Driver| {
        driver.arrive(0);
        driver.arrive(1);
    };
    let serve = |worker| move |driver: &Driver| driver.serve(worker, 0b11, Flaw::None);
    race3(&Driver::new(), arrive, serve(0), serve(1));
}
