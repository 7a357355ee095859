//! The runtime as its users see it: tasks, their handles, `block_on` in every position, time, and the order of turns.

use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::time::{sleep, sleep_until, timeout};
use netpoll_rt::{Handle, Runtime, spawn, spawn_blocking, yield_now};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_task_gives_its_value_and_a_dropped_handle_detaches_it() {
    each(async || {
        assert_eq!(spawn(async { 6 * 7 }).await.unwrap(), 42);
        let gate = Gate::new();
        drop(spawn({
            let gate = gate.clone();
            async move { gate.open() }
        }));
        gate.wait().await;
    });
}

#[test]
fn an_aborted_task_is_dropped_where_it_waits() {
    each(async || {
        let (stream, _peer) = pair().await;
        let task = reader(&stream);
        parked(1).await;
        task.abort();
        task.abort();
        let error = task.await.unwrap_err();
        assert!(error.is_cancelled() && !error.is_panic());
        assert_eq!(error.to_string(), "the task was cancelled");
        assert_eq!(Arc::strong_count(&stream), 1, "its future is gone");
        parked(0).await;
    });
}

#[test]
fn aborting_a_finished_task_keeps_its_value() {
    each(async || {
        let task = spawn(async { "kept" });
        until("the task is finished", || task.is_finished()).await;
        task.abort();
        assert_eq!(task.await.unwrap(), "kept");
    });
}

#[test]
fn a_panic_reaches_only_the_handle() {
    each(async || {
        let why = String::from("on purpose");
        let error = spawn(async move { panic!("{why}") }).await.map(|(): ()| ()).unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled());
        assert_eq!(error.to_string(), "the task panicked: on purpose");
        assert_eq!(format!("{error:?}"), "JoinError(the task panicked: on purpose)");
        assert_eq!(error.into_panic().unwrap().downcast_ref::<String>().unwrap(), "on purpose");
        for _ in 0..100 {
            drop(spawn(async { panic!("detached") }));
        }
        let (a, b) = pair().await;
        let task = reader(&a);
        b.write_all(b"still here").await.unwrap();
        assert_eq!(task.await.unwrap().unwrap(), b"still here");
    });
}

#[test]
fn a_task_may_call_block_on_of_its_own_runtime() {
    let _alone = alone();
    for workers in [1, 2, 4] {
        let runtime = Arc::new(runtime(workers));
        let watch = Watch::over(runtime.handle().clone());
        let inner = runtime.clone();
        let task = runtime.spawn(async move {
            inner.block_on(async {
                let (a, b) = pair().await;
                let echo = reader(&a);
                parked(1).await;
                b.write_all(b"nested").await.unwrap();
                sleep(Duration::from_millis(1)).await; // time is tested
                echo.await.unwrap().unwrap()
            })
        });
        assert_eq!(runtime.block_on(task).unwrap(), b"nested");
        drop(watch);
    }
}

#[test]
fn a_plain_thread_wakes_a_nested_block_on() {
    let _alone = alone();
    for workers in [1, 2, 4] {
        for _ in 0..20 {
            let runtime = Arc::new(runtime(workers));
            let watch = Watch::over(runtime.handle().clone());
            let (gate, inside) = (Gate::new(), Gate::new());
            let task = runtime.spawn({
                let (inner, gate, inside) = (runtime.clone(), gate.clone(), inside.clone());
                async move {
                    inner.block_on(async {
                        inside.open();
                        gate.wait().await;
                    });
                }
            });
            let handle = runtime.handle().clone();
            let waker = thread::spawn(move || {
                // A thread sleeps in the kernel: with several workers it may be the one with the nested call.
                until_blocking("a worker polls", || handle.metrics().polls > 0);
                gate.open();
            });
            runtime.block_on(async {
                inside.wait().await;
                task.await.unwrap();
            });
            waker.join().unwrap();
            drop(watch);
        }
    }
}

#[test]
fn two_threads_block_on_a_runtime_of_one_worker() {
    let _alone = alone();
    for _ in 0..20 {
        let runtime = runtime(1);
        let watch = Watch::over(runtime.handle().clone());
        let (first, second) = (Gate::new(), Gate::new());
        thread::scope(|scope| {
            scope.spawn(|| {
                runtime.block_on(async {
                    let opened = spawn({
                        let first = first.clone();
                        async move { first.open() }
                    });
                    opened.await.unwrap();
                    second.wait().await;
                });
            });
            runtime.block_on(async {
                first.wait().await;
                second.open();
                // Whichever thread has the worker slot when the other leaves, the socket is served.
                let (a, b) = pair().await;
                let task = reader(&a);
                b.write_all(b"x").await.unwrap();
                assert_eq!(task.await.unwrap().unwrap(), b"x");
            });
        });
        drop(watch);
    }
}

#[test]
fn a_task_spawned_outside_of_block_on_waits_for_the_next_one() {
    let _alone = alone();
    let runtime = runtime(1);
    let _watch = Watch::over(runtime.handle().clone());
    let task = runtime.spawn(async { sleep(Duration::from_millis(1)).await }); // time is tested
    assert!(!task.is_finished());
    runtime.block_on(task).unwrap();
}

#[test]
fn the_default_runtime_starts_when_it_is_needed() {
    let _alone = alone();
    assert!(Handle::try_current().is_none(), "a test's thread runs for no runtime");
    let task = spawn(async {
        let (a, b) = pair().await;
        b.write_all(b"default").await.unwrap();
        read_once(&a).await
    });
    assert_eq!(netpoll_rt::block_on(task).unwrap().unwrap(), b"default");
    assert_eq!(netpoll_rt::block_on(spawn_blocking(|| 7)).unwrap(), 7);
}

#[test]
fn yielding_gives_every_runnable_task_its_turn() {
    on(&[1], async || {
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..3)
            .map(|who| {
                let order = order.clone();
                spawn(async move {
                    for _ in 0..4 {
                        order.lock().unwrap().push(who);
                        yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let order = order.lock().unwrap();
        for round in order.chunks(3) {
            let mut round = round.to_vec();
            round.sort_unstable();
            assert_eq!(round, [0, 1, 2], "in {order:?}");
        }
    });
}

#[test]
fn the_future_of_block_on_yields_to_tasks_sockets_and_timers() {
    on(&[1], async || {
        let (a, b) = pair().await;
        let read = reader(&a);
        parked(1).await;
        let slept = spawn(sleep(Duration::from_millis(1))); // time is tested
        b.write_all(b"x").await.unwrap();
        while !(read.is_finished() && slept.is_finished()) {
            yield_now().await;
        }
    });
}

#[test]
fn a_task_that_yields_for_ever_starves_no_other_task() {
    each(async || {
        let stop = Arc::new(Counter::new());
        let spinners: Vec<_> = (0..5)
            .map(|_| {
                let stop = stop.clone();
                spawn(async move {
                    while stop.get() == 0 {
                        yield_now().await;
                    }
                })
            })
            .collect();
        let (a, b) = pair().await;
        for _ in 0..20 {
            let task = reader(&a);
            b.write_all(b"x").await.unwrap();
            assert_eq!(task.await.unwrap().unwrap(), b"x");
            sleep(Duration::from_millis(1)).await; // time is tested
        }
        stop.inc();
        for spinner in spinners {
            spinner.await.unwrap();
        }
    });
}

#[test]
fn sleep_is_never_early() {
    each(async || {
        for nanos in [0, 1, 999, 50_000, 999_999, 1_000_000, 1_000_001, 20_000_000] {
            let asked = Duration::from_nanos(nanos);
            let start = Instant::now();
            sleep(asked).await; // time is tested
            assert!(start.elapsed() >= asked, "{asked:?} took {:?}", start.elapsed());
            let at = Instant::now() + asked;
            sleep_until(at).await;
            assert!(Instant::now() >= at, "{asked:?}");
        }
    });
}

#[test]
fn a_thousand_tasks_sleep_at_a_time() {
    each(async || {
        let start = Instant::now();
        let tasks: Vec<_> = (0..1000_u64)
            .map(|i| {
                spawn(async move {
                    let asked = Duration::from_micros(i * 37 % 20_000);
                    let start = Instant::now();
                    sleep(asked).await; // time is tested
                    assert!(start.elapsed() >= asked);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(start.elapsed() < Duration::from_secs(10), "they sleep side by side");
        assert_eq!(Handle::try_current().unwrap().metrics().timers, 0);
    });
}

#[test]
fn timeout_gives_the_value_or_says_timed_out() {
    each(async || {
        assert_eq!(timeout(Duration::ZERO, async { 1 }).await.unwrap(), 1);
        assert_eq!(timeout(HOUR, async { 2 }).await.unwrap(), 2);
        let start = Instant::now();
        assert_timed_out(timeout(Duration::from_millis(5), std::future::pending::<()>()).await);
        assert!(start.elapsed() >= Duration::from_millis(5));
        let (stream, _peer) = pair().await;
        assert_timed_out(timeout(Duration::from_millis(5), read_once(&stream)).await);
        let handle = Handle::try_current().unwrap();
        assert_eq!((handle.waiters(), handle.metrics().timers), (0, 0), "the read was given up");
    });
}

#[test]
fn a_dropped_sleep_disarms_its_timer() {
    each(async || {
        let handle = Handle::try_current().unwrap();
        let probe = Probe::new();
        let mut sleeps: Vec<_> = (0..100).map(|_| Box::pin(sleep(HOUR))).collect(); // time is tested
        for sleep in &mut sleeps {
            assert_eq!(probe.poll(sleep.as_mut()), Poll::Pending);
        }
        assert_eq!(handle.metrics().timers, 100);
        drop(sleeps);
        assert_eq!(handle.metrics().timers, 0);
        // A worker keeps the last few wakers until it sleeps.
        until("the wakers are gone", || Arc::strong_count(&probe) == 1).await;
        assert_eq!(probe.wakes.get(), 0);
    });
}

#[test]
fn a_sleep_beyond_what_the_clock_counts_is_for_ever() {
    each(async || {
        let probe = Probe::new();
        for duration in [Duration::MAX, Duration::from_secs(1 << 40)] {
            let mut sleep = pin!(sleep(duration)); // time is tested
            assert_eq!(probe.poll(sleep.as_mut()), Poll::Pending);
        }
        assert_timed_out(timeout(Duration::from_millis(2), sleep(Duration::MAX)).await); // time is tested
    });
}

#[test]
fn a_plain_thread_wakes_and_spawns() {
    each(async || {
        for _ in 0..50 {
            let (gate, handle) = (Gate::new(), Handle::try_current().unwrap());
            let thread = thread::spawn({
                let gate = gate.clone();
                move || {
                    gate.open();
                    handle.spawn(async { 1 })
                }
            });
            gate.wait().await;
            assert_eq!(thread.join().unwrap().await.unwrap(), 1);
        }
    });
}

#[test]
fn a_stream_of_one_runtime_is_read_in_another() {
    let _alone = alone();
    for (a, b) in [(1, 4), (4, 1), (4, 4)] {
        let (home, abroad) = (runtime(a), runtime(b));
        let _watches = [&home, &abroad].map(|runtime| Watch::over(runtime.handle().clone()));
        let (send, receive) = mpsc::channel();
        let done = Gate::new();
        thread::scope(|scope| {
            // A runtime of one worker polls only while a thread is in its `block_on`.
            scope.spawn(|| {
                home.block_on(async {
                    send.send(pair().await).unwrap();
                    done.wait().await;
                });
            });
            let (stream, peer) = receive.recv().unwrap();
            abroad.block_on(async {
                for _ in 0..10 {
                    let task = reader(&stream);
                    until("it is parked at home", || home.handle().waiters() == 1).await;
                    assert_eq!(abroad.handle().waiters(), 0);
                    peer.write_all(b"abroad").await.unwrap();
                    assert_eq!(task.await.unwrap().unwrap(), b"abroad");
                }
                stream.set_read_deadline(in_ms(5)).unwrap();
                assert_timed_out(read_once(&stream).await);
            });
            done.open();
        });
    }
}

#[test]
fn without_the_lifo_slot_tasks_run_in_the_order_in_which_they_became_runnable() {
    let _alone = alone();
    for (lifo_slot, expected) in [(true, [2, 0, 1, 12, 10, 11]), (false, [0, 1, 2, 10, 11, 12])] {
        let runtime = Runtime::builder().workers(1).lifo_slot(lifo_slot).build().unwrap();
        let _watch = Watch::over(runtime.handle().clone());
        let order: Arc<Mutex<Vec<usize>>> = Arc::default();
        runtime.block_on(async {
            let tasks = [0, 1, 2].map(|n| {
                let (order, gate) = (order.clone(), Gate::new());
                let task = spawn({
                    let gate = gate.clone();
                    async move {
                        order.lock().unwrap().push(n);
                        gate.wait().await;
                        order.lock().unwrap().push(10 + n);
                    }
                });
                (gate, task)
            });
            until("all wait", || order.lock().unwrap().len() == 3).await;
            tasks.iter().for_each(|(gate, _)| gate.open());
            for (_, task) in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(*order.lock().unwrap(), expected, "lifo_slot({lifo_slot})");
    }
    for builder in [Runtime::builder().workers(2), Runtime::builder().worker_threads(1)] {
        let error = builder.lifo_slot(false).build().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("lifo_slot(false)"), "{error}");
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let _alone = alone();
    for builder in [Runtime::builder().workers(0), Runtime::builder().workers(257)] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("workers("), "{error}");
    }
    let error = Runtime::builder().event_interval(0).build().unwrap_err();
    assert!(error.to_string().contains("event_interval(0)"), "{error}");
}
