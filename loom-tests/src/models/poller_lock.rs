//! Models of `poller_lock`: one thread polls, and returns from the kernel in time.

use std::sync::Arc;

use loom::sync::Notify;
use netpoll_core::sched::idle::Idle;
use netpoll_core::sched::poller_lock::PollerLock;
use netpoll_core::sync::Flag;

use super::number_queue::NumberQueue;
use super::support::{Plain, Posted, race, race3};
use crate::harness::{Model, green};

/// The models of this file.
pub const MODELS: &[Model] = &[
    green("m12_insert_against_block", 2, None, insert_against_block),
    green("m12_insert_against_block_without_end", 2, None, insert_against_block_without_end),
    green("m12_insert_against_next_owner", 3, Some(3), insert_against_next_owner),
    green("m12_only_the_earliest_insert_sends_a_break", 3, Some(3), only_the_earliest_breaks),
    green("m15_told_to_stop_against_block", 2, None, told_to_stop_against_block),
    green("m15_told_to_stop_against_looking", 2, None, told_to_stop_against_looking),
    green("m15_told_to_stop_against_a_break_taken_by_another", 3, Some(3), told_to_stop_against_another_poll),
    green("m16_unlock_against_begin_park", 2, None, unlock_against_begin_park),
    green("m16_each_worker_polls_once", 3, Some(3), each_worker_polls_once),
    green("m16_put_against_block", 2, None, put_against_block),
    green("m16_put_against_block_or_park", 3, Some(2), put_against_block_or_park),
];

/// The state that the workers of a runtime share.
struct Driver {
    poller: PollerLock,
    idle: Idle<1>,
    queue: NumberQueue<2>,
    parker: [Notify; 3],
    /// The break descriptor.
    kernel: Notify,
    /// Set while a break is pending that the next poll takes, whether it blocks or not.
    pending: Flag,
    /// The events (Go's list), touched by the polling thread only, so that two pollers at a time are a race.
    events: Plain<()>,
    /// Set if the wheel has an entry at `EARLY` beside the one at `LATE`. Read without the wheel's lock.
    early: Posted,
    /// The earliest entry of a wheel, under the wheel's lock.
    wheel: loom::sync::Mutex<usize>,
    /// The request at which a nested `block_on` stops.
    stop: Flag,
}

const EARLY: usize = 5;
const LATE: usize = 10;

impl Driver {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            poller: PollerLock::new(),
            idle: Idle::new(),
            queue: NumberQueue::new(),
            parker: std::array::from_fn(|_| Notify::new()),
            kernel: Notify::new(),
            pending: Flag::new(),
            events: Plain::new(()),
            early: Posted::new(),
            wheel: loom::sync::Mutex::new(LATE),
            stop: Flag::new(),
        })
    }

    fn next_timer(&self) -> usize {
        if self.early.is_posted() { EARLY } else { LATE }
    }

    /// Arms an earlier timer. Returns whether it sends a break.
    fn insert(&self) -> bool {
        self.early.post();
        self.poller.needs_wakeup(EARLY)
    }

    /// Prepares the owner to block. Returns the tick until which it would sleep if no break came.
    fn block(&self) -> usize {
        let until = self.next_timer();
        self.poller.set_poll_until(Some(until));
        if self.next_timer() < until {
            self.poller.clear_poll_until();
            return self.block();
        }
        until
    }

    /// Arms a timer. Returns whether it sends a break, for which it must be the earliest of its wheel.
    fn insert_at(&self, at: usize) -> bool {
        let mut earliest = self.wheel.lock().expect("no model panics in the wheel");
        let first = at < *earliest;
        *earliest = at.min(*earliest);
        drop(earliest);
        first && self.poller.needs_wakeup(at)
    }

    fn earliest(&self) -> usize {
        *self.wheel.lock().expect("no model panics in the wheel")
    }

    /// Prepares the owner to block until the earliest entry of the wheel. Returns its tick.
    fn block_for_wheel(&self) -> usize {
        loop {
            let until = self.earliest();
            self.poller.set_poll_until(Some(until));
            if self.earliest() >= until {
                return until;
            }
        }
    }

    /// Unlocks the poller for a worker that will run tasks, and wakes another that may poll.
    fn release(&self) {
        self.poller.unlock();
        if let Some(worker) = self.idle.pop_idle() {
            self.parker[worker].notify();
        }
    }

    /// Waits until the worker can lock the poller, and polls once.
    fn poll_once(&self, worker: usize) {
        while !self.poller.try_lock(worker) {
            self.idle.begin_park(worker);
            if self.poller.is_locked() {
                self.parker[worker].wait();
            }
            self.idle.cancel_park(worker);
        }
        self.events.set(());
        self.release();
    }

    /// Runs one task. Sleeps until there is one: in the kernel if no other worker does, otherwise on its own
    /// token.
    fn run_one(&self, worker: usize) -> usize {
        loop {
            if let Some(task) = self.queue.steal_into(&NumberQueue::new()) {
                return task;
            }
            self.idle.begin_park(worker);
            if self.queue.ring_len() == 0 {
                self.sleep(worker);
            }
            self.idle.cancel_park(worker);
        }
    }

    fn sleep(&self, worker: usize) {
        if !self.poller.try_lock(worker) {
            return self.parker[worker].wait();
        }
        self.poller.set_poll_until(None);
        if self.idle.is_parked(worker) {
            self.kernel.wait();
        }
        self.poller.clear_poll_until();
        self.poller.unlock();
    }

    /// Puts a task and wakes a worker, in the kernel or on its token.
    fn put(&self, task: usize) {
        assert_eq!(self.queue.put(task), Ok(()));
        match self.idle.pop_idle() {
            Some(worker) if self.poller.is_parked_in_poller(worker) => self.kernel.notify(),
            Some(worker) => self.parker[worker].notify(),
            None => {}
        }
    }
}

/// The sleeper sleeps no longer than the new deadline, or is sent a break.
fn insert_against_block() {
    let driver = Driver::new();
    assert!(driver.poller.try_lock(0));
    let (sent, until) = race(&driver, Driver::insert, Driver::block);
    assert!(sent || until <= EARLY, "it sleeps past the new deadline");
}

/// The race above for a sleeper that checks the wheel only once, after it has published that it sleeps
/// without limit.
fn insert_against_block_without_end() {
    let driver = Driver::new();
    assert!(driver.poller.try_lock(0));
    let block = |driver: &Driver| {
        driver.poller.set_poll_until(None);
        driver.next_timer()
    };
    let (sent, until) = race(&driver, Driver::insert, block);
    assert!(sent || until <= EARLY, "it sleeps past the new deadline");
}

/// The race above with one owner that returns and another that blocks: the inserter sees the tick of the
/// second owner, or the second owner sees the deadline.
fn insert_against_next_owner() {
    let driver = Driver::new();
    assert!(driver.poller.try_lock(0));
    driver.poller.set_poll_until(Some(EARLY));
    let come_back = |driver: &Driver| {
        driver.poller.clear_poll_until();
        driver.poller.unlock();
    };
    let block_next = |driver: &Driver| driver.poller.try_lock(1).then(|| driver.block());
    let (sent, (), until) = race3(&driver, Driver::insert, come_back, block_next);
    assert!(sent || until.is_none_or(|until| until <= EARLY), "it sleeps past the new deadline");
}

/// Two timers are armed, and the later one sends no break if the earlier was armed first.
fn only_the_earliest_breaks() {
    let driver = Driver::new();
    assert!(driver.poller.try_lock(0));
    let (first, second, until) =
        race3(&driver, |driver| driver.insert_at(3), |driver| driver.insert_at(5), Driver::block_for_wheel);
    assert!(first || until <= 3, "it sleeps past the earlier deadline");
    assert!(first || second || until <= 5, "it sleeps past the later one");
}

/// A worker that must stop on a request other than a task blocks in the kernel: it sees the request, or a
/// break wakes it.
fn told_to_stop_against_block() {
    let tell = |driver: &Driver| {
        driver.stop.set();
        if driver.poller.is_parked_in_poller(0) {
            driver.kernel.notify();
        }
    };
    let block = |driver: &Driver| {
        assert!(driver.poller.try_lock(0));
        driver.poller.set_poll_until(None);
        if !driver.stop.is_set() {
            driver.kernel.wait();
        }
    };
    race(&Driver::new(), tell, block);
}

/// The race above for a worker that first polls once without blocking: no break is sent then, and it sees the
/// request before it sleeps.
fn told_to_stop_against_looking() {
    let tell = |driver: &Driver| {
        driver.stop.set();
        if driver.poller.is_parked_in_poller(0) {
            driver.kernel.notify();
        }
    };
    let look_then_block = |driver: &Driver| {
        assert!(driver.poller.try_lock(0));
        driver.poller.clear_poll_until();
        driver.poller.unlock();
        assert!(driver.poller.try_lock(0));
        driver.poller.set_poll_until(None);
        if !driver.stop.is_set() {
            driver.kernel.wait();
        }
    };
    race(&Driver::new(), tell, look_then_block);
}

/// The race above for a worker that has returned by an event when the break comes, so that another thread's poll, which does
/// not block, takes the break: the worker sees the request before it blocks again.
fn told_to_stop_against_another_poll() {
    let tell = |driver: &Driver| {
        driver.stop.set();
        if driver.poller.is_parked_in_poller(0) {
            driver.pending.set();
            driver.kernel.notify();
        }
    };
    let block_twice = |driver: &Driver| {
        while !driver.poller.try_lock(0) {
            loom::thread::yield_now();
        }
        driver.poller.set_poll_until(None);
        // An event.
        driver.poller.clear_poll_until();
        driver.poller.unlock();
        while !driver.poller.try_lock(0) {
            loom::thread::yield_now();
        }
        driver.poller.set_poll_until(None);
        if !driver.stop.is_set() {
            while !driver.pending.clear() {
                driver.kernel.wait();
            }
        }
    };
    let look = |driver: &Driver| {
        if driver.poller.try_lock(1) {
            driver.pending.clear();
            driver.poller.unlock();
        }
    };
    let driver = Driver::new();
    race3(&driver, tell, block_twice, look);
}

/// The polling thread leaves to run tasks while another worker goes to sleep: one of them polls.
fn unlock_against_begin_park() {
    let driver = Driver::new();
    assert!(driver.poller.try_lock(0));
    let poll_and_leave = |driver: &Driver| {
        driver.events.set(());
        driver.release();
    };
    race(&driver, poll_and_leave, |driver| driver.poll_once(1));
}

/// Each worker gets the lock once: never two at a time, and none sleeps while the lock is free.
fn each_worker_polls_once() {
    let driver = Driver::new();
    let poll = |worker| move |driver: &Driver| driver.poll_once(worker);
    race3(&driver, poll(0), poll(1), poll(2));
    assert!(driver.poller.try_lock(0), "a worker kept the lock");
}

/// The only worker is about to block in the kernel when a task is put: it does not block, or a break wakes
/// it.
fn put_against_block() {
    let ((), task) = race(&Driver::new(), |driver| driver.put(1), |driver| driver.run_one(0));
    assert_eq!(task, 1);
}

/// The race above with two workers, one in the kernel and one on its token, and a task for each.
fn put_against_block_or_park() {
    let put_two = |driver: &Driver| {
        driver.put(1);
        driver.put(2);
    };
    let run = |worker| move |driver: &Driver| driver.run_one(worker);
    let ((), a, b) = race3(&Driver::new(), put_two, run(0), run(1));
    assert_eq!(a + b, 3);
}
