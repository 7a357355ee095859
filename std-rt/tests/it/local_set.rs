//! Sets of tasks that stay on their thread, on every kind of runtime and without one.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::task::{self, JoinSet, LocalSet};
use netpoll_rt::time::sleep;
use netpoll_rt::{spawn, spawn_local, yield_now};

/// A value that says on which thread it is dropped, and that is not `Send`.
struct Tells {
    dropped: Arc<Mutex<Vec<thread::ThreadId>>>,
    _stays: Rc<()>,
}

impl Tells {
    fn new(dropped: &Arc<Mutex<Vec<thread::ThreadId>>>) -> Self {
        Self { dropped: dropped.clone(), _stays: Rc::new(()) }
    }
}

impl Drop for Tells {
    fn drop(&mut self) {
        self.dropped.lock().unwrap().push(thread::current().id());
    }
}

#[test]
fn tasks_run_on_this_thread_and_use_sockets_and_timers() {
    each(async || {
        let set = LocalSet::new();
        let this = thread::current().id();
        let (a, b) = pair().await;
        let sum = Rc::new(Cell::new(0));
        let adding = set.spawn_local({
            let sum = sum.clone();
            async move {
                let mut buffer = [0; 8];
                while let Ok(n @ 1..) = a.read(&mut buffer).await {
                    buffer[..n].iter().for_each(|&byte| sum.set(sum.get() + u32::from(byte)));
                }
                thread::current().id()
            }
        });
        let sending = spawn(async move {
            for byte in 1..=10 {
                b.write_all(&[byte]).await.unwrap();
                yield_now().await;
            }
        });
        let inner = set.run_until(async {
            let slept = spawn_local(async {
                sleep(Duration::from_millis(1)).await; // time is tested
                task::id()
            });
            assert_eq!(slept.id(), slept.await.unwrap());
            adding.await
        });
        assert_eq!(inner.await.unwrap(), this);
        sending.await.unwrap();
        assert_eq!(sum.get(), 55);
        set.await;
    });
}

#[test]
fn the_set_is_ready_when_all_its_tasks_have_ended() {
    each(async || {
        let mut set = LocalSet::new();
        let seen = Rc::new(RefCell::new(Vec::new()));
        for n in 0..200 {
            let seen = seen.clone();
            set.spawn_local(async move {
                yield_now().await;
                let again = seen.clone();
                spawn_local(async move { again.borrow_mut().push(n) });
            });
        }
        (&mut set).await;
        assert_eq!(*seen.borrow(), (0..200).collect::<Vec<_>>());
        (&mut set).await;
        let one = set.spawn_local(async { 1 });
        set.await;
        assert_eq!(one.await.unwrap(), 1);
    });
}

#[test]
fn an_empty_set_counts_against_the_budget() {
    each(async || {
        let mut set = LocalSet::new();
        let probe = Probe::new();
        let polls = (0..1000).find(|_| probe.poll_in_turn(pin!(&mut set)).is_pending());
        assert!(polls.is_some(), "a loop over an empty set yields");
    });
}

#[test]
fn another_thread_wakes_and_aborts_a_task() {
    each(async || {
        let set = LocalSet::new();
        let woken = set.run_until(async {
            let gate = Gate::new();
            let aborted = spawn_local(pending::<()>());
            yield_now().await;
            let abort = aborted.abort_handle();
            let opener = thread::spawn({
                let gate = gate.clone();
                move || {
                    abort.abort();
                    gate.open();
                }
            });
            let waits = spawn_local(async move {
                gate.wait().await;
                Rc::new(7)
            });
            let seven = waits.await.unwrap();
            opener.join().unwrap();
            assert!(aborted.await.unwrap_err().is_cancelled());
            *seven
        });
        assert_eq!(woken.await, 7);
    });
}

#[test]
fn many_threads_wake_many_tasks() {
    on(&[1, 4], async || {
        let set = LocalSet::new();
        let gates: Vec<_> = (0..200).map(|_| Gate::new()).collect();
        let openers: Vec<_> = (0..4)
            .map(|part| {
                let gates: Vec<_> = gates.iter().skip(part).step_by(4).cloned().collect();
                thread::spawn(move || gates.iter().for_each(|gate| gate.open()))
            })
            .collect();
        for gate in gates {
            set.spawn_local(async move { gate.wait().await });
        }
        set.await;
        openers.into_iter().for_each(|opener| opener.join().unwrap());
    });
}

#[test]
fn a_drop_cancels_the_tasks_on_this_thread() {
    let _alone = alone();
    for round in 0..50 {
        let dropped = Arc::default();
        let set = LocalSet::new();
        let waker = Arc::new(Mutex::new(None::<Waker>));
        let (flag, slot) = (Tells::new(&dropped), waker.clone());
        let waits = set.spawn_local(poll_fn(move |cx| {
            let _flag = &flag;
            *slot.lock().unwrap() = Some(cx.waker().clone());
            Poll::<()>::Pending
        }));
        let flag = Tells::new(&dropped);
        let spawns = set.spawn_local(async move {
            let _spawns = OnDrop(Some(move || drop(spawn_local(async move { drop(flag) }))));
            pending::<()>().await;
        });
        let probe = Probe::new();
        assert!(probe.poll(pin!(set.run_until(pending::<()>()))).is_pending());
        let flag = Tells::new(&dropped);
        let queued = set.spawn_local(async move { drop(flag) });
        let waker = waker.lock().unwrap().take().unwrap();
        // Wakes the task before, while and after the set ends.
        let waking = thread::spawn(move || (0..round * 10).for_each(|_| waker.wake_by_ref()));
        drop(set);
        waking.join().unwrap();
        assert_eq!(*dropped.lock().unwrap(), [thread::current().id(); 3]);
        for handle in [waits, spawns, queued] {
            assert!(netpoll_rt::block_on(handle).unwrap_err().is_cancelled());
        }
    }
}

struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0.take().unwrap()();
    }
}

#[test]
fn guards_may_be_dropped_in_any_order() {
    each(async || {
        let (one, two) = (LocalSet::new(), LocalSet::new());
        let (in_one, in_two) = (one.enter(), two.enter());
        let second = spawn_local(async { 2 });
        drop(in_one);
        let also_second = spawn_local(async { 2 });
        drop(in_two);
        two.await;
        assert!(second.is_finished() && also_second.is_finished());
        // A set that is gone cancels its tasks.
        let guard = one.enter();
        drop(one);
        assert!(spawn_local(async {}).await.unwrap_err().is_cancelled());
        drop(guard);
    });
}

#[test]
fn a_guard_may_be_held_over_an_await() {
    each(async || {
        let set = LocalSet::new();
        let _guard = set.enter();
        let early = spawn_local(async { Rc::new(1) });
        let value = set.run_until(async {
            let inner = set.enter();
            let late = spawn_local(async {
                yield_now().await;
                2
            });
            yield_now().await;
            drop(inner);
            *early.await.unwrap() + late.await.unwrap()
        });
        assert_eq!(value.await, 3);
    });
}

#[test]
fn each_poller_of_a_set_is_woken() {
    let _alone = alone();
    let set = LocalSet::new();
    let gate = Gate::new();
    let task = set.spawn_local({
        let gate = gate.clone();
        async move { gate.wait().await }
    });
    let (one, two) = (Probe::new(), Probe::new());
    let mut first = Box::pin(set.run_until(pending::<()>()));
    let mut second = Box::pin(set.run_until(task));
    assert!(one.poll(first.as_mut()).is_pending());
    assert!(two.poll(second.as_mut()).is_pending());
    assert!(one.poll(first.as_mut()).is_pending(), "polled once more, with the same waker");
    gate.open();
    assert_eq!((one.wakes.get(), two.wakes.get()), (1, 1));
    // The one that leaves takes no wake along.
    drop(first);
    assert!(two.poll(second.as_mut()).is_pending(), "ran the task");
    assert!(two.poll(second.as_mut()).is_ready());
}

#[test]
fn it_works_without_a_runtime_and_yields_to_others() {
    let _alone = alone();
    let mut set = LocalSet::new();
    let ran = Rc::new(Counter::new());
    for _ in 0..100 {
        let ran = ran.clone();
        set.spawn_local(async move { ran.inc() });
    }
    let probe = Probe::new();
    assert!(probe.poll(pin!(&mut set)).is_pending());
    assert_eq!((ran.get(), probe.wakes.get()), (61, 1));
    assert!(probe.poll(pin!(&mut set)).is_ready());
    assert_eq!(futures_lite::future::block_on(set.run_until(ready(5))), 5);
}

#[test]
fn code_in_a_nested_block_on_is_outside_of_the_set() {
    let _alone = alone();
    let (outer, inner) = (runtime(4), runtime(1));
    let set = LocalSet::new();
    let value = set.block_on(&outer, async {
        let local = spawn_local(async move {
            // The set runs no task until this returns.
            inner.block_on(async { spawn_local(async { Rc::new(3) }).await.map(|value| *value) })
        });
        local.await.unwrap().unwrap()
    });
    assert_eq!(value, 3);
}

#[test]
fn a_join_set_has_tasks_of_a_set() {
    each(async || {
        let set = LocalSet::new();
        let mut joined = JoinSet::new();
        for n in 0..10 {
            joined.spawn_local_on(async move { *Rc::new(n) }, &set);
        }
        assert_eq!(set.run_until(joined.join_all()).await, (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn a_panic_is_the_result_of_its_task_alone() {
    each(async || {
        let set = LocalSet::new();
        let panics = set.spawn_local(async { panic!("on purpose") });
        let other = set.spawn_local(async { 1 });
        set.await;
        assert!(panics.await.map(|(): ()| ()).unwrap_err().is_panic());
        assert_eq!(other.await.unwrap(), 1);
    });
}

#[test]
fn each_task_has_a_budget_of_its_own() {
    each(async || {
        let set = LocalSet::new();
        let counts = Rc::new(RefCell::new([0_u32; 2]));
        for index in 0..2 {
            let counts = counts.clone();
            set.spawn_local(async move {
                loop {
                    counts.borrow_mut()[index] += 1;
                    task::take_turn().await;
                }
            });
        }
        let mut running = pin!(set.run_until(pending::<()>()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(running.as_mut().poll(&mut cx).is_pending());
        let [one, two] = *counts.borrow();
        assert!(one > 128 && one.abs_diff(two) <= 129, "{one} {two}");
    });
}

#[test]
fn it_is_dropped_in_a_thread_local() {
    thread_local! {
        static SET: LocalSet = LocalSet::new();
    }
    let _alone = alone();
    let dropped = Arc::default();
    let flag = thread::scope(|scope| {
        let dropped = &dropped;
        let thread = scope.spawn(move || {
            SET.with(|set| {
                let flag = Tells::new(dropped);
                set.spawn_local(async move {
                    pending::<()>().await;
                    drop(flag);
                });
                runtime(1).block_on(set.run_until(yield_now()));
            });
            thread::current().id()
        });
        thread.join().unwrap()
    });
    assert_eq!(*dropped.lock().unwrap(), [flag]);
}
