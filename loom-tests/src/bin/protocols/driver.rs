//! The slot of the thread that drives a runtime without threads of its own.

use std::sync::Arc;

use netpoll_rt::internal::protocol::driver::{WaitGraph, WorkerSlot};
use netpoll_rt::internal::sync::thread::{self, Thread};
use netpoll_rt::internal::sync::{Mutex, lock};

use crate::foreign::Channel;
use crate::harness::{Expect, Model};

pub const MODELS: &[Model] = &[
    Model {
        name: "driver::slot_is_released_while_one_waits",
        threads: 2,
        bound: None,
        expect: Expect::Green,
        body: || slot_is_released_while_waiters_wait::<Arc<WorkerSlot>>(1),
    },
    Model {
        name: "driver::slot_is_released_while_two_wait",
        threads: 3,
        bound: Some(2),
        expect: Expect::Green,
        body: || slot_is_released_while_waiters_wait::<Arc<WorkerSlot>>(2),
    },
    Model {
        name: "driver::slot_is_released_while_foreign_code_parks",
        threads: 3,
        bound: Some(3),
        expect: Expect::Green,
        body: slot_is_released_while_foreign_code_parks::<Arc<WorkerSlot>>,
    },
    Model {
        name: "driver::slot_is_released_while_the_future_is_woken",
        threads: 3,
        bound: Some(3),
        expect: Expect::Green,
        body: slot_is_released_while_the_future_is_woken::<Arc<WorkerSlot>>,
    },
    Model {
        name: "driver::two_threads_wait_for_each_other",
        threads: 2,
        bound: Some(4),
        expect: Expect::Green,
        body: || threads_wait_for_each_other(2, true),
    },
    Model {
        name: "driver::three_threads_wait_in_a_circle",
        threads: 3,
        bound: Some(2),
        expect: Expect::Green,
        body: || threads_wait_for_each_other(3, true),
    },
    Model {
        name: "driver::control_waits_are_not_entered",
        threads: 2,
        bound: None,
        expect: Expect::Deadlock,
        body: || threads_wait_for_each_other(2, false),
    },
    Model {
        name: "driver::control_told_by_a_token_alone",
        threads: 3,
        bound: Some(3),
        expect: Expect::Deadlock,
        body: slot_is_released_while_foreign_code_parks::<TokenAlone>,
    },
    Model {
        name: "driver::control_looks_and_takes_in_two_steps",
        threads: 3,
        bound: Some(2),
        expect: Expect::Assertion,
        body: || slot_is_released_while_waiters_wait::<TwoSteps>(2),
    },
];

/// The interface of a worker slot. `wait` is one round of `block_on`, from the look at the slot to the next poll.
trait Place: Send + Sync + 'static {
    fn new() -> Self;
    fn take(&self) -> bool;
    fn wait(&self, is_woken: &dyn Fn() -> bool) -> bool;
    fn release(&self);
}

impl Place for Arc<WorkerSlot> {
    fn new() -> Self {
        Self::default()
    }

    fn take(&self) -> bool {
        self.try_acquire()
    }

    fn wait(&self, is_woken: &dyn Fn() -> bool) -> bool {
        WorkerSlot::wait(self, None, is_woken).expect("model: no thread drives two runtimes")
    }

    fn release(&self) {
        WorkerSlot::release(self);
    }
}

/// The text before 0.2: a thread looks at the slot before it polls, and is told by a token alone afterwards.
struct TokenAlone(Mutex<(bool, Vec<Thread>)>);

impl Place for TokenAlone {
    fn new() -> Self {
        Self(Mutex::new((true, Vec::new())))
    }

    fn take(&self) -> bool {
        let mut state = lock(&self.0);
        if std::mem::take(&mut state.0) {
            return true;
        }
        let this = thread::current();
        if state.1.iter().all(|other| other.id() != this.id()) {
            state.1.push(this);
        }
        false
    }

    fn wait(&self, is_woken: &dyn Fn() -> bool) -> bool {
        if is_woken() {
            return false;
        }
        thread::park();
        self.take()
    }

    fn release(&self) {
        let mut state = lock(&self.0);
        state.0 = true;
        let waiting = std::mem::take(&mut state.1);
        drop(state);
        waiting.iter().for_each(Thread::unpark);
    }
}

/// The lock is not held between the look and the change.
struct TwoSteps(Arc<WorkerSlot>);

impl Place for TwoSteps {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn take(&self) -> bool {
        let free = self.0.try_acquire();
        if free {
            self.0.release();
            self.0.try_acquire();
        }
        free
    }

    fn wait(&self, _is_woken: &dyn Fn() -> bool) -> bool {
        thread::yield_now();
        self.take()
    }

    fn release(&self) {
        self.0.release();
    }
}

/// The drivers of a slot, under a lock of std, which the checker does not see.
#[derive(Default)]
struct Drivers(std::sync::Mutex<usize>);

impl Drivers {
    fn change(&self, by: isize) {
        let mut drivers = self.0.lock().expect("nothing panics while the count is held");
        *drivers = drivers.saturating_add_signed(by);
        let now = *drivers;
        drop(drivers);
        assert!(now <= 1, "model: two threads drive at once");
    }
}

/// Blocks on a future that ends once this thread has the slot. The future calls `poll` in each turn.
fn drive<P: Place>(slot: &P, drivers: &Drivers, poll: impl Fn()) {
    let mut acquired = slot.take();
    poll();
    while !acquired {
        acquired = slot.wait(&|| false);
    }
    drivers.change(1);
    thread::yield_now();
    drivers.change(-1);
    slot.release();
}

/// Checks that every waiter gets the slot in its turn, although each leaves at once.
fn slot_is_released_while_waiters_wait<P: Place>(waiters: usize) {
    let (slot, drivers) = (Arc::new(P::new()), Arc::new(Drivers::default()));
    assert!(slot.take(), "model: a new slot is free");
    let threads: Vec<_> = (0..waiters)
        .map(|_| {
            let (slot, drivers) = (slot.clone(), drivers.clone());
            thread::spawn(move || drive(&*slot, &drivers, || {}))
        })
        .collect();
    slot.release();
    for thread in threads {
        thread.join().expect("a panic of the other thread has ended the model");
    }
    assert!(slot.take(), "model: every holder has left");
}

/// Lets the future of a waiter receive from a std channel, which parks on the same token.
fn slot_is_released_while_foreign_code_parks<P: Place>() {
    let slot = Arc::new(P::new());
    assert!(slot.take(), "model: a new slot is free");
    let channel = Channel::new();
    let waiter = {
        let (slot, channel) = (slot.clone(), channel.clone());
        thread::spawn(move || drive(&*slot, &Drivers::default(), || channel.recv()))
    };
    let sender = thread::spawn(move || channel.send());
    slot.release();
    for thread in [waiter, sender] {
        thread.join().expect("a panic of the other thread has ended the model");
    }
}

/// Lets the waiter that is woken for its own future leave: the other one still takes the slot.
fn slot_is_released_while_the_future_is_woken<P: Place>() {
    let slot = Arc::new(P::new());
    assert!(slot.take(), "model: a new slot is free");
    let woken = Arc::new(Mutex::new(false));
    let leaver = {
        let (slot, woken) = (slot.clone(), woken.clone());
        thread::spawn(move || {
            if slot.wait(&|| *lock(&woken)) {
                slot.release();
            }
        })
    };
    let other = {
        let slot = slot.clone();
        thread::spawn(move || drive(&*slot, &Drivers::default(), || {}))
    };
    *lock(&woken) = true;
    leaver.thread().unpark();
    slot.release();
    for thread in [leaver, other] {
        thread.join().expect("a panic of the other thread has ended the model");
    }
}

/// Runs n threads. Thread n drives runtime n and waits for runtime n + 1, the last one for the first. One of them is told
/// of that and leaves the runtime that it drives; then the others get on.
fn threads_wait_for_each_other(n: usize, entered: bool) {
    let (waits, refused) = (Arc::new(WaitGraph::new()), Arc::new(std::sync::Mutex::new(0)));
    let slots: Vec<Arc<WorkerSlot>> = (0..n).map(|_| Arc::default()).collect();
    let circle = |i: usize| {
        let (waits, refused) = (waits.clone(), refused.clone());
        let (mine, next) = (slots[i].clone(), slots[(i + 1) % n].clone());
        move || {
            if !mine.try_acquire() {
                // Another thread has got on so far that it drives this one.
                return;
            }
            match next.wait(entered.then_some(&*waits), || false) {
                Ok(taken) => {
                    assert!(taken, "model: nothing else ends the wait");
                    next.release();
                }
                Err(_) => *refused.lock().expect("nothing panics while the count is held") += 1,
            }
            mine.release();
        }
    };
    let threads: Vec<_> = (1..n).map(|i| thread::spawn(circle(i))).collect();
    circle(0)();
    for thread in threads {
        thread.join().expect("a panic of the other thread has ended the model");
    }
    let refused = *refused.lock().expect("nothing panics while the count is held");
    assert!(refused <= 1, "model: {refused} threads were refused, and one is enough");
    assert!(slots.iter().all(|slot| slot.try_acquire()), "model: every holder has left");
}
