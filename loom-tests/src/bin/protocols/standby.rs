//! The standby, which polls for a runtime without threads while no thread drives it.

use std::sync::{Arc, PoisonError};

use netpoll_rt::internal::protocol::standby::Standby;
use netpoll_rt::internal::sync::thread::{self, JoinHandle};
use netpoll_rt::internal::sync::{Condvar, Mutex, lock};

use crate::harness::{Expect, Model};

pub const MODELS: &[Model] = &[
    Model {
        name: "standby::a_task_parks_while_the_driver_leaves",
        threads: 3,
        bound: Some(3),
        expect: Expect::Green,
        body: || parks_while_the_driver_leaves(Order::ParksFirst),
    },
    Model {
        name: "standby::a_thread_drives_while_the_standby_polls",
        threads: 4,
        bound: Some(2),
        expect: Expect::Green,
        body: || drives_while_the_standby_polls(true),
    },
    Model {
        name: "standby::a_task_parks_while_the_standby_ends",
        threads: 4,
        bound: Some(2),
        expect: Expect::Green,
        body: parks_while_the_standby_ends,
    },
    Model {
        name: "standby::the_runtime_ends_while_the_standby_starts",
        threads: 3,
        bound: Some(3),
        expect: Expect::Green,
        body: ends_while_it_starts,
    },
    Model {
        name: "standby::control_wants_before_it_parks",
        threads: 3,
        bound: Some(3),
        expect: Expect::Deadlock,
        body: || parks_while_the_driver_leaves(Order::WantsFirst),
    },
    Model {
        name: "standby::control_drives_without_a_word",
        threads: 4,
        bound: Some(2),
        expect: Expect::Assertion,
        body: || drives_while_the_standby_polls(false),
    },
];

/// The first step of a task that is not the runtime's own. Only one of them is right.
#[derive(Clone, Copy)]
enum Order {
    ParksFirst,
    WantsFirst,
}

/// The kernel, and the tasks that are parked there.
#[derive(Default)]
struct Kernel {
    events: usize,
    broken: bool,
    polling: bool,
    parked: usize,
    woken: usize,
}

/// A runtime without threads.
#[derive(Default)]
struct World {
    standby: Standby,
    kernel: Mutex<Kernel>,
    changed: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl World {
    fn change(&self, change: impl FnOnce(&mut Kernel)) {
        change(&mut lock(&self.kernel));
        self.changed.notify_all();
    }

    fn until(&self, reached: impl Fn(&Kernel) -> bool) {
        let kernel = lock(&self.kernel);
        let kernel = self.changed.wait_while(kernel, |kernel| !reached(kernel));
        drop(kernel.unwrap_or_else(PoisonError::into_inner));
    }

    /// Sleeps until an event or a break, and wakes as many tasks as there are events.
    fn poll(&self) {
        self.change(|kernel| {
            assert!(!kernel.polling, "model: two threads poll at once");
            kernel.polling = true;
        });
        self.until(|kernel| kernel.broken || kernel.events > 0);
        self.change(|kernel| {
            kernel.polling = false;
            kernel.broken = false;
            let woken = kernel.events.min(kernel.parked);
            kernel.events -= woken;
            kernel.parked -= woken;
            kernel.woken += woken;
        });
    }

    fn break_poll(&self) {
        self.change(|kernel| kernel.broken = true);
    }

    fn any_parked(&self) -> bool {
        lock(&self.kernel).parked > 0
    }

    fn start(self: &Arc<Self>) {
        let world = self.clone();
        let thread = thread::spawn(move || {
            while world.standby.may_poll(|| world.any_parked()) {
                world.poll();
                world.standby.polled();
            }
        });
        lock(&self.threads).push(thread);
    }

    fn want(self: &Arc<Self>) {
        if self.standby.want() {
            self.start();
        }
    }

    /// Parks a task of another runtime.
    fn park(self: &Arc<Self>, order: Order) {
        match order {
            Order::ParksFirst => {
                self.change(|kernel| kernel.parked += 1);
                self.want();
            }
            Order::WantsFirst => {
                self.want();
                self.change(|kernel| kernel.parked += 1);
            }
        }
    }

    /// Enters `block_on` and leaves it.
    fn drive(self: &Arc<Self>, says_so: bool) {
        if says_so {
            self.standby.begin(|| self.break_poll());
        }
        self.break_poll();
        self.poll();
        if says_so {
            self.leave();
        }
    }

    fn leave(self: &Arc<Self>) {
        if self.standby.end() {
            self.start();
        }
    }

    /// Ends the runtime.
    fn close(&self) {
        self.standby.close(|| self.break_poll());
        let threads = std::mem::take(&mut *lock(&self.threads));
        threads.into_iter().for_each(end);
    }
}

fn end(thread: JoinHandle<()>) {
    thread.join().expect("a panic of the other thread has ended the model");
}

/// Lets the driver leave while a task of another runtime parks: its event wakes it.
fn parks_while_the_driver_leaves(order: Order) {
    let world = Arc::new(World::default());
    world.standby.begin(|| world.break_poll());
    let other = {
        let world = world.clone();
        thread::spawn(move || {
            world.park(order);
            world.change(|kernel| kernel.events += 1);
            world.until(|kernel| kernel.woken == 1);
        })
    };
    world.leave();
    end(other);
    world.close();
}

/// Drives for a moment while the standby polls for a task: one polls at a time, and the task is woken.
fn drives_while_the_standby_polls(says_so: bool) {
    let world = Arc::new(World::default());
    world.park(Order::ParksFirst);
    let driver = {
        let world = world.clone();
        thread::spawn(move || world.drive(says_so))
    };
    world.change(|kernel| kernel.events += 1);
    world.until(|kernel| kernel.woken == 1);
    end(driver);
    world.close();
}

/// Parks a task when the event of the last one has come, and the standby is about to end.
fn parks_while_the_standby_ends() {
    let world = Arc::new(World::default());
    world.park(Order::ParksFirst);
    let other = {
        let world = world.clone();
        thread::spawn(move || {
            world.park(Order::ParksFirst);
            world.change(|kernel| kernel.events += 1);
        })
    };
    world.change(|kernel| kernel.events += 1);
    world.until(|kernel| kernel.woken == 2);
    end(other);
    world.close();
}

/// Ends the runtime while a task has the standby started: the thread ends.
fn ends_while_it_starts() {
    let world = Arc::new(World::default());
    let other = {
        let world = world.clone();
        thread::spawn(move || world.park(Order::ParksFirst))
    };
    world.standby.close(|| world.break_poll());
    end(other);
    world.close();
}
