//! Models of `idle`: a worker that is awake sees queued work, or a sleeping one is woken for it.

use std::sync::Arc;

use loom::sync::Notify;
use netpoll_core::sched::idle::Idle;

use super::number_queue::NumberQueue;
use super::support::{Posted, race, race3};
use crate::harness::{Model, green};

/// The models of this file.
pub const MODELS: &[Model] = &[
    green("m13b_put_against_begin_park", 2, None, put_against_begin_park),
    green("m13b_put_against_the_last_begin_park", 2, None, put_against_the_last_begin_park),
    green("m13b_put_against_two_begin_park", 3, Some(3), put_against_two_begin_park),
    green("m13b_two_puts_against_two_begin_park", 3, Some(2), two_puts_against_two_begin_park),
    green("m13b_put_against_last_searcher_that_gives_up", 2, None, put_against_last_searcher_that_gives_up),
    green("m13b_put_against_last_searcher_that_found", 3, Some(3), put_against_last_searcher_that_found),
    green("m13b_put_against_two_searchers", 3, Some(3), put_against_two_searchers),
    green("m13b_put_against_wake_that_finds_no_sleeper", 3, Some(3), put_against_wake_that_finds_no_sleeper),
    green("m13b_wake_against_wake", 2, None, wake_against_wake),
    green("m13b_search_against_search", 2, None, search_against_search),
    green("m13b_cancel_park_against_pop", 2, None, cancel_park_against_pop),
    green("m13b_sleep_against_pop", 2, None, sleep_against_pop),
    green("m13b_pop_against_pop", 2, None, pop_against_pop),
    green("m13b_pop_against_begin_park_of_another", 2, None, pop_against_begin_park_of_another),
    green(
        "m13b_cancel_park_against_begin_park_of_another",
        2,
        None,
        cancel_park_against_begin_park_of_another,
    ),
    green("m15_shutdown_against_begin_park", 3, Some(3), shutdown_against_begin_park),
];

/// The queue of a thread that is no worker, and up to two workers.
struct Sched {
    idle: Idle<1>,
    queue: NumberQueue<2>,
    parker: [Notify; 2],
    /// Set before a wake, to show which writes are visible after it.
    flag: Posted,
}

impl Sched {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            idle: Idle::new(),
            queue: NumberQueue::new(),
            parker: std::array::from_fn(|_| Notify::new()),
            flag: Posted::new(),
        })
    }

    /// Wakes a worker if one sleeps. Returns whether it did.
    fn wake_one(&self) -> bool {
        self.wake(self.idle.pop_idle())
    }

    fn wake(&self, sleeper: Option<usize>) -> bool {
        if let Some(worker) = sleeper {
            self.parker[worker].notify();
        }
        sleeper.is_some()
    }

    /// Puts a task and wakes a worker for it if needed.
    fn put(&self, task: usize) {
        assert_eq!(self.queue.put(task), Ok(()));
        self.wake(self.idle.worker_to_notify(None));
    }

    fn steal(&self) -> Option<usize> {
        self.queue.steal_into(&NumberQueue::new())
    }

    /// Sets the worker's idle bit and sleeps until it is woken, unless there is `work`. Returns whether another thread
    /// has cleared the bit, so that the worker counts as searching.
    fn sleep(&self, worker: usize, work: impl Fn() -> bool) -> bool {
        self.idle.begin_park(worker);
        if !work() {
            self.parker[worker].wait();
        }
        !self.idle.cancel_park(worker)
    }

    /// Runs one task, and sleeps until there is one.
    fn run_one(&self, worker: usize) -> usize {
        let mut searches = false;
        loop {
            let task = self.steal();
            if searches {
                self.found();
            }
            if let Some(task) = task {
                return task;
            }
            searches = self.sleep(worker, || self.queue.ring_len() > 0);
        }
    }

    /// Ends the search of a worker that has found work elsewhere and is busy with it.
    fn found(&self) {
        if self.idle.stop_searching() && self.queue.ring_len() > 0 {
            self.wake(self.idle.worker_to_notify(None));
        }
    }

    fn run_until_shutdown(&self, worker: usize) {
        while !self.flag.is_posted() {
            if self.sleep(worker, || self.flag.is_posted()) {
                self.idle.stop_searching();
            }
        }
    }
}

/// The worker would sleep for ever if its second check could miss the task and the putter the bit.
fn put_against_begin_park() {
    let ((), task) = race(&Sched::new(), |sched| sched.put(1), |sched| sched.run_one(0));
    assert_eq!(task, 1);
}

/// The race above if the putter wakes the worker only if all sleep.
fn put_against_the_last_begin_park() {
    let put = |sched: &Sched| {
        assert_eq!(sched.queue.put(1), Ok(()));
        if sched.idle.all_parked(1) {
            sched.wake(sched.idle.worker_to_notify(None));
        }
    };
    let ((), task) = race(&Sched::new(), put, |sched| sched.run_one(0));
    assert_eq!(task, 1);
}

/// Of two workers that go to sleep one sees the task, or the putter sees that all sleep.
fn put_against_two_begin_park() {
    let put = |sched: &Sched| {
        assert_eq!(sched.queue.put(1), Ok(()));
        sched.idle.all_parked(2)
    };
    let park = |worker: usize| {
        move |sched: &Sched| {
            sched.idle.begin_park(worker);
            sched.queue.ring_len() > 0
        }
    };
    let (all_sleep, a, b) = race3(&Sched::new(), put, park(0), park(1));
    assert!(all_sleep || a || b, "both sleep, and no thread knows of the task");
}

/// One put must not consume the wakeup of the other.
fn two_puts_against_two_begin_park() {
    let put_two = |sched: &Sched| {
        sched.put(1);
        sched.put(2);
    };
    let ((), a, b) = race3(&Sched::new(), put_two, |sched| sched.run_one(0), |sched| sched.run_one(1));
    assert_eq!(a + b, 3);
}

/// The putter relies on a searcher that is about to go to sleep.
fn put_against_last_searcher_that_gives_up() {
    let sched = Sched::new();
    let search = |sched: &Sched| {
        assert!(sched.idle.start_searching(1));
        let found = sched.steal();
        assert!(sched.idle.stop_searching());
        found.unwrap_or_else(|| sched.run_one(0))
    };
    let ((), task) = race(&sched, |sched| sched.put(1), search);
    assert_eq!(task, 1);
}

/// The putter relies on a searcher that has found other work: it checks again, and wakes the sleeper.
fn put_against_last_searcher_that_found() {
    let sched = Sched::new();
    assert!(sched.idle.start_searching(1));
    let ((), (), task) = race3(&sched, |sched| sched.put(1), Sched::found, |sched| sched.run_one(0));
    assert_eq!(task, 1);
}

/// The race above with two searchers: the last one checks for both.
fn put_against_two_searchers() {
    let sched = Sched::new();
    sched.idle.begin_park(0);
    assert!(sched.idle.start_searching(2));
    assert!(sched.idle.start_searching(2));
    race3(&sched, |sched| sched.put(1), Sched::found, Sched::found);
    assert_eq!(sched.idle.num_parked(), 0, "no worker was woken for the task");
}

/// Puts a task in reliance on the search that another thread has counted for a worker, which has woken up by itself
/// meanwhile and goes to sleep again.
fn put_against_wake_that_finds_no_sleeper() {
    let sched = Sched::new();
    sched.idle.begin_park(0);
    let wake = |sched: &Sched| {
        sched.wake(sched.idle.worker_to_notify(None));
    };
    let get_up = |sched: &Sched| {
        if !sched.idle.cancel_park(0) {
            sched.found();
        }
        sched.run_one(0)
    };
    let ((), (), task) = race3(&sched, |sched| sched.put(1), wake, get_up);
    assert_eq!(task, 1);
}

/// Wakes one of two sleepers from two threads with work: a worker that is woken counts as searching at once.
fn wake_against_wake() {
    let sched = Sched::new();
    sched.idle.begin_park(0);
    sched.idle.begin_park(1);
    let wake = |sched: &Sched| sched.wake(sched.idle.worker_to_notify(None));
    let (a, b) = race(&sched, wake, wake);
    assert!(a != b, "one was to be woken");
    assert_eq!(sched.idle.num_parked(), 1);
    assert!(sched.idle.stop_searching(), "it was the only one that searched");
}

/// The number of searchers has a limit, and each is counted until it stops.
fn search_against_search() {
    let sched = Sched::new();
    let search = |sched: &Sched| sched.idle.start_searching(1);
    let (a, b) = race(&sched, search, search);
    assert!(a != b, "one was to search");
    assert!(sched.idle.stop_searching(), "it was the last");
    sched.idle.begin_park(0);
    assert_eq!(sched.idle.worker_to_notify(None), Some(0), "no worker searches any more");
}

/// A worker whose bit is clear sees the writes before the wake.
fn cancel_park_against_pop() {
    let sched = Sched::new();
    sched.idle.begin_park(0);
    let wake = |sched: &Sched| {
        sched.flag.post();
        sched.wake_one()
    };
    let cancel = |sched: &Sched| {
        let mine = sched.idle.cancel_park(0);
        assert!(mine || sched.flag.is_posted(), "woken without the write before the wake");
        mine
    };
    let (woken, cancelled) = race(&sched, wake, cancel);
    assert!(woken != cancelled, "the bit was taken twice, or not at all");
}

/// The race above for a worker that only reads its bit.
fn sleep_against_pop() {
    let sched = Sched::new();
    sched.idle.begin_park(0);
    let wake = |sched: &Sched| {
        sched.flag.post();
        assert!(sched.wake_one());
    };
    let look = |sched: &Sched| assert!(sched.idle.is_parked(0) || sched.flag.is_posted());
    race(&sched, wake, look);
    assert!(!sched.idle.is_parked(0));
}

/// Two wakers take two sleepers.
fn pop_against_pop() {
    let sched = Sched::new();
    sched.idle.begin_park(0);
    sched.idle.begin_park(1);
    let pop = |sched: &Sched| sched.idle.pop_idle();
    let (a, b) = race(&sched, pop, pop);
    assert!(matches!((a, b), (Some(0), Some(1)) | (Some(1), Some(0))), "{a:?} and {b:?} were taken");
}

/// A thread that clears one worker's bit does not change the others.
fn pop_against_begin_park_of_another() {
    let sched = Sched::new();
    sched.idle.begin_park(0);
    let (taken, ()) = race(&sched, |sched| sched.idle.pop_idle(), |sched| sched.idle.begin_park(1));
    assert!(taken.is_some());
    assert_eq!(sched.idle.num_parked(), 1);
}

/// The race above for a worker that clears its own bit.
fn cancel_park_against_begin_park_of_another() {
    let sched = Sched::new();
    sched.idle.begin_park(0);
    let (cancelled, ()) = race(&sched, |sched| sched.idle.cancel_park(0), |sched| sched.idle.begin_park(1));
    assert!(cancelled);
    assert_eq!(sched.idle.pop_idle(), Some(1));
}

/// The flag is set and all sleepers are woken: each worker sees it, or sleeps early enough to be woken.
fn shutdown_against_begin_park() {
    let shutdown = |sched: &Sched| {
        sched.flag.post();
        while sched.wake_one() {}
    };
    let worker = |worker| move |sched: &Sched| sched.run_until_shutdown(worker);
    race3(&Sched::new(), shutdown, worker(0), worker(1));
}
