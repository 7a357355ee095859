//! Several calls of `block_on` at once: on several threads, and within each other.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::time::sleep;
use netpoll_rt::{Handle, JoinError, Runtime, spawn, yield_now};

/// Returns the message of a panic.
fn message(payload: Box<dyn std::any::Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Lets the first thread run the tasks and leave, while the future of the second one is in code of others that uses the
/// thread's park token: it must run the tasks from then on.
fn the_driver_leaves_during(foreign: impl FnOnce(mpsc::Receiver<()>)) {
    let _alone = alone();
    let runtime = runtime(1);
    let watch = Watch::over(runtime.handle().clone());
    let (drives, leave) = (Gate::new(), Gate::new());
    let (left, has_left) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(|| {
            runtime.block_on(async {
                drives.open();
                leave.wait().await;
            });
            left.send(()).unwrap();
        });
        until_blocking("the first thread drives", || runtime.metrics().polls > 0);
        runtime.block_on(async {
            drives.wait().await;
            leave.open();
            foreign(has_left);
            sleep(Duration::from_millis(1)).await; // time is tested
            let (a, b) = pair().await;
            let task = reader(&a);
            b.write_all(b"x").await.unwrap();
            assert_eq!(task.await.unwrap().unwrap(), b"x");
        });
    });
    drop(watch);
}

#[test]
fn the_runtime_goes_on_when_foreign_code_takes_the_token_by_which_it_was_told() {
    the_driver_leaves_during(|has_left| {
        has_left.recv_timeout(LIMIT).unwrap();
        thread::park_timeout(Duration::ZERO);
    });
}

#[test]
fn the_runtime_goes_on_when_its_driver_leaves_during_a_recv_of_std() {
    the_driver_leaves_during(|has_left| has_left.recv_timeout(LIMIT).unwrap());
}

#[test]
fn the_runtime_goes_on_when_its_driver_leaves_during_a_scope_of_threads() {
    the_driver_leaves_during(|has_left| {
        thread::scope(|scope| drop(scope.spawn(move || has_left.recv_timeout(LIMIT).unwrap())));
    });
}

#[test]
fn the_runtime_goes_on_when_its_driver_leaves_during_a_block_on_of_another_one() {
    the_driver_leaves_during(|has_left| {
        // It has threads, so that this one parks.
        let other = runtime(2);
        other.block_on(async {
            let left = Gate::new();
            let opens = OpensOnDrop(left.clone());
            let waiter = thread::spawn(move || {
                has_left.recv_timeout(LIMIT).unwrap();
                drop(opens);
            });
            left.wait().await;
            waiter.join().unwrap();
        });
    });
}

#[test]
fn a_future_that_only_yields_drives_the_runtime_when_its_driver_has_left() {
    let _alone = alone();
    let runtime = runtime(1);
    let watch = Watch::over(runtime.handle().clone());
    let (drives, leave) = (Gate::new(), Gate::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            runtime.block_on(async {
                drives.open();
                leave.wait().await;
            });
        });
        runtime.block_on(async {
            drives.wait().await;
            leave.open();
            let slept = spawn(sleep(Duration::from_millis(5))); // time is tested
            while !slept.is_finished() {
                yield_now().await;
            }
        });
    });
    drop(watch);
}

/// Calls itself within `block_on`; how deep it came.
fn nest(runtimes: &[Arc<Runtime>], depth: usize) -> usize {
    let inner = runtimes[depth % runtimes.len()].clone();
    let deeper = AssertUnwindSafe(|| inner.block_on(async { nest(runtimes, depth + 1) }));
    match panic::catch_unwind(deeper) {
        Ok(depth) => depth,
        Err(payload) => {
            let message = message(payload);
            assert!(message.contains("16 deep on this thread"), "{message}");
            depth
        }
    }
}

#[test]
fn block_on_works_sixteen_deep_and_panics_beyond() {
    let _alone = alone();
    for workers in [1, 4] {
        let one = Arc::new(runtime(workers));
        let watch = Watch::over(one.handle().clone());
        let several = vec![one.clone(), Arc::new(runtime(1)), Arc::new(runtime(4))];
        assert_eq!(nest(std::slice::from_ref(&one), 0), 16, "{workers} workers, one runtime");
        assert_eq!(nest(&several, 0), 16, "{workers} workers, three runtimes");
        let task = one.spawn({
            let one = one.clone();
            async move { nest(&[one], 0) }
        });
        // The thread of a worker is in no call yet, this one is in one.
        assert_eq!(one.block_on(task).unwrap(), if workers == 1 { 15 } else { 16 });
        assert_eq!(one.block_on(async { 1 }), 1, "and it works on");
        drop(watch);
    }
}

#[test]
fn thousands_of_tasks_that_call_block_on_panic_instead_of_overflowing_the_stack() {
    let _alone = alone();
    for workers in [1, 4] {
        let runtime = Arc::new(runtime(workers));
        let watch = Watch::over(runtime.handle().clone());
        let (gate, failed) = (Gate::new(), Arc::new(Counter::new()));
        let tasks: Vec<_> = (0..3_000)
            .map(|_| {
                let (inner, gate, failed) = (runtime.clone(), gate.clone(), failed.clone());
                runtime.spawn(async move {
                    let call = AssertUnwindSafe(|| inner.block_on(gate.wait()));
                    if let Err(payload) = panic::catch_unwind(call) {
                        failed.inc();
                        panic::resume_unwind(payload);
                    }
                })
            })
            .collect();
        let opener = thread::spawn(move || {
            until_blocking("one was refused", || failed.get() > 0);
            gate.open();
        });
        let mut refused = 0;
        runtime.block_on(async {
            for task in tasks {
                if let Some(payload) = task.await.err().and_then(JoinError::into_panic) {
                    assert!(message(payload).contains("block_on is called within block_on"));
                    refused += 1;
                }
            }
        });
        opener.join().unwrap();
        assert!(refused > 0);
        drop(watch);
    }
}

/// A thread that runs the tasks of one runtime calls `block_on` of another one and there of the first again.
#[test]
fn block_on_of_a_runtime_works_below_that_of_another_one() {
    let _alone = alone();
    for workers in [1, 4] {
        let (first, second) = (Arc::new(runtime(1)), Arc::new(runtime(workers)));
        let watch = Watch::over(first.handle().clone());
        let value = first.block_on(async {
            let task = spawn(async { 1 });
            second.block_on(async {
                first.block_on(async {
                    sleep(Duration::from_millis(1)).await; // time is tested
                    task.await.unwrap() + spawn(async { 1 }).await.unwrap()
                })
            })
        });
        assert_eq!(value, 2);
        drop(watch);
    }
}

/// Each of two threads runs the tasks of one runtime and calls `block_on` of the other one.
#[test]
fn two_threads_that_wait_for_each_others_runtime_are_told() {
    let _alone = alone();
    let runtimes = [runtime(1), runtime(1)];
    let watch = Watch::over(runtimes[0].handle().clone());
    let both = Barrier::new(2);
    let gate = Gate::new();
    let call = |i: usize| {
        let (mine, other) = (&runtimes[i], &runtimes[1 - i]);
        let crossed = AssertUnwindSafe(|| {
            mine.block_on(async {
                both.wait();
                other.block_on(gate.wait());
            });
        });
        let result = panic::catch_unwind(crossed).map_err(message);
        // The other one goes on as soon as this one has left.
        gate.open();
        result
    };
    let results = thread::scope(|scope| {
        let other = scope.spawn(|| call(1));
        [call(0), other.join().unwrap()]
    });
    let refused: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert_eq!(refused.len(), 1, "{results:?}");
    assert!(refused[0].contains("block_on would wait for ever"), "{}", refused[0]);
    drop(watch);
}

#[test]
fn a_handle_from_a_worker_makes_no_other_thread_that_worker() {
    let _alone = alone();
    // A monitor would find a task in the queue of a worker that sleeps.
    let runtime = Runtime::builder().workers(2).sysmon(false).build().unwrap();
    let _watch = Watch::over(runtime.handle().clone());
    let of_worker = runtime.spawn(async { Handle::current() });
    let of_worker = futures_lite::future::block_on(of_worker).unwrap();
    for n in 0..100 {
        let value = thread::scope(|scope| {
            let spawned = scope.spawn(|| of_worker.block_on(async { spawn(async move { n }).await }));
            spawned.join().unwrap()
        });
        assert_eq!(value.unwrap(), n);
    }
}

/// Returns how often a future of `block_on` that yields this many times, and has nothing to wait for, polls the kernel.
fn polls_of_yields(builder: netpoll_rt::Builder, yields: usize) -> usize {
    let _alone = alone();
    let runtime = builder.workers(1).build().unwrap();
    let polls = || runtime.handle().metrics().polls;
    let before = polls();
    runtime.block_on(async {
        for _ in 0..yields {
            yield_now().await;
        }
    });
    polls() - before
}

#[test]
fn a_future_that_yields_does_not_poll_the_kernel_each_time() {
    const YIELDS: usize = 10_000;
    let polled = polls_of_yields(Runtime::builder(), YIELDS);
    assert!(polled >= YIELDS / 100, "{polled} polls: events wait for long");
    assert!(polled <= YIELDS / 4, "{polled} polls");
}

#[test]
fn a_future_that_yields_beside_tasks_in_order_polls_the_kernel_each_time() {
    let polled = polls_of_yields(Runtime::builder().lifo_slot(false), 100);
    assert!(polled >= 100, "{polled} polls");
}
