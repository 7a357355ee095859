//! Code that blocks within a task: the other tasks go on, also when every worker is in such code.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use crate::common::*;
use netpoll_core::sync::{Counter, Flag};
use netpoll_rt::task::{self, LocalSet, block_in_place};
use netpoll_rt::time::sleep;
use netpoll_rt::{Builder, Handle, Runtime, spawn, spawn_blocking, yield_now};

#[test]
fn the_others_go_on_while_every_worker_blocks() {
    on(&[2, 4], async || {
        let (sender, receiver) = mpsc::channel::<u32>();
        let receiver = Arc::new(Mutex::new(receiver));
        let blocked: Vec<_> = (0..8)
            .map(|_| {
                let receiver = receiver.clone();
                spawn(async move { block_in_place(|| receiver.lock().unwrap().recv().unwrap()) })
            })
            .collect();
        // Sockets, timers and new tasks, all on the workers.
        let sending = spawn(async move {
            let (a, b) = pair().await;
            let echo = spawn(async move {
                let mut buffer = [0; 8];
                let n = b.read(&mut buffer).await.unwrap();
                b.write_all(&buffer[..n]).await.unwrap();
            });
            a.write_all(b"eight").await.unwrap();
            assert_eq!(a.read(&mut [0; 8]).await.unwrap(), 5);
            echo.await.unwrap();
            sleep(Duration::from_millis(1)).await; // time is tested
            (0..8).for_each(|n| sender.send(n).unwrap());
        });
        sending.await.unwrap();
        let mut sum = 0;
        for task in blocked {
            sum += task.await.unwrap();
        }
        assert_eq!(sum, 28);
    });
}

#[test]
fn tasks_in_the_queue_of_the_worker_run_meanwhile() {
    let _alone = alone();
    // Without a monitor, which would move them as well.
    let runtime = Runtime::builder().workers(2).sysmon(false).build().unwrap();
    let _watch = Watch::over(runtime.handle().clone());
    let both = Arc::new(Barrier::new(2));
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let both = both.clone();
            runtime.spawn(async move {
                // Each worker has one of these two.
                both.wait();
                let (sender, receiver) = mpsc::channel();
                let spawned = spawn(async move { sender.send(7).unwrap() });
                let value = block_in_place(|| receiver.recv().unwrap());
                spawned.await.unwrap();
                value
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(runtime.block_on(task).unwrap(), 7);
    }
}

#[test]
fn it_borrows_returns_panics_and_nests() {
    on(&[2, 4], async || {
        let task = spawn(async {
            let id = task::id();
            let mut text = String::from("a");
            let length = block_in_place(|| {
                text.push('b');
                assert_eq!(task::id(), id);
                block_in_place(|| text.len())
            });
            yield_now().await;
            let panicked = catch_unwind(AssertUnwindSafe(|| block_in_place(|| panic!("on purpose"))));
            assert!(panicked.is_err());
            sleep(Duration::from_millis(1)).await; // time is tested
            (length, text)
        });
        assert_eq!(task.await.unwrap(), (2, "ab".to_owned()));
    });
}

#[test]
fn block_on_within_it_takes_no_worker() {
    on(&[2, 4], async || {
        let gate = Gate::new();
        let waiting: Vec<_> = (0..6)
            .map(|n| {
                let gate = gate.clone();
                spawn(async move {
                    let handle = Handle::current();
                    block_in_place(|| {
                        handle.block_on(async {
                            gate.wait().await;
                            sleep(Duration::from_millis(1)).await; // time is tested
                            spawn(async move { block_in_place(|| n) }).await.unwrap()
                        })
                    })
                })
            })
            .collect();
        let opener = spawn(async move {
            yield_now().await;
            gate.open();
        });
        opener.await.unwrap();
        for (n, task) in waiting.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), n);
        }
    });
}

#[test]
fn a_call_beneath_goes_on_without_the_worker() {
    let _alone = alone();
    let runtime = Runtime::builder().workers(2).sysmon(false).build().unwrap();
    let _watch = Watch::over(runtime.handle().clone());
    // Each task waits in block_on on a worker, which runs another task on top that hands the worker over.
    let entered = Arc::new(Barrier::new(5));
    let calls: Vec<_> = (0..4)
        .map(|n| {
            let entered = entered.clone();
            runtime.spawn(async move {
                Handle::current().block_on(async move {
                    let above = spawn(async move {
                        block_in_place(|| entered.wait());
                        yield_now().await;
                        n
                    });
                    above.await.unwrap()
                })
            })
        })
        .collect();
    entered.wait();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(runtime.block_on(call).unwrap(), n);
    }
}

#[test]
fn short_ones_race_with_the_start_of_the_thread() {
    let _alone = alone();
    let (started, stopped) = (Arc::new(Counter::new()), Arc::new(Counter::new()));
    let (start, stop) = (started.clone(), stopped.clone());
    let runtime = Runtime::builder()
        .workers(4)
        .on_thread_start(move || start.inc())
        .on_thread_stop(move || stop.inc())
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    let watch = Watch::over(handle.clone());
    let ran = Arc::new(Counter::new());
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let ran = ran.clone();
            runtime.spawn(async move {
                for round in 0..40_u32 {
                    let inner = ran.clone();
                    let spawned = spawn(async move { inner.inc() });
                    block_in_place(|| {
                        (0..(task * round * 20)).for_each(|_| std::hint::spin_loop());
                    });
                    spawned.await.unwrap();
                    if round % 8 == 0 {
                        sleep(Duration::from_micros(100)).await; // time is tested
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
    assert_eq!(ran.get(), 320);
    drop((runtime, watch));
    assert!(started.get() >= 4);
    assert_eq!(started.get(), stopped.get(), "every thread has ended");
    assert_nothing_left(&handle);
}

#[test]
fn a_thread_that_gave_its_worker_away_becomes_one_again() {
    let _alone = alone();
    let (started, stopped) = (Arc::new(Counter::new()), Arc::new(Counter::new()));
    let (start, stop) = (started.clone(), stopped.clone());
    let runtime = Runtime::builder()
        .worker_threads(1)
        .on_thread_start(move || start.inc())
        .on_thread_stop(move || stop.inc())
        .build()
        .unwrap();
    let _watch = Watch::over(runtime.handle().clone());
    for round in 0..50 {
        let task = runtime.spawn(async move {
            let (sender, receiver) = mpsc::channel();
            drop(spawn(async move { sender.send(round).unwrap() }));
            block_in_place(|| receiver.recv().unwrap())
        });
        assert_eq!(runtime.block_on(task).unwrap(), round);
    }
    // The next round may begin before the thread of the last one waits.
    assert!(started.get() <= 10, "{} threads", started.get());
    drop(runtime);
    assert_eq!(started.get(), stopped.get(), "every thread has ended");
}

#[test]
fn a_thread_that_waits_for_a_worker_ends_after_its_time() {
    let _alone = alone();
    let stopped = Arc::new(Counter::new());
    let stop = stopped.clone();
    let runtime = Runtime::builder()
        .worker_threads(1)
        .thread_keep_alive(Duration::from_millis(1)) // time is tested
        .on_thread_stop(move || stop.inc())
        .build()
        .unwrap();
    let _watch = Watch::over(runtime.handle().clone());
    let task = runtime.spawn(async {
        let (sender, receiver) = mpsc::channel();
        drop(spawn(async move { sender.send(1).unwrap() }));
        block_in_place(|| receiver.recv().unwrap())
    });
    assert_eq!(runtime.block_on(task).unwrap(), 1);
    until_blocking("one has ended", || stopped.get() == 1);
    assert_eq!(runtime.block_on(runtime.spawn(async { 2 })).unwrap(), 2);
}

#[test]
fn a_drop_of_the_runtime_waits_for_the_closure() {
    let _alone = alone();
    let runtime = runtime(2);
    let (entered, is_in) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel::<()>();
    let task = runtime.spawn(async move {
        block_in_place(|| {
            entered.send(()).unwrap();
            may_leave.recv().unwrap();
        });
        5
    });
    is_in.recv().unwrap();
    let dropping = thread::spawn(move || drop(runtime));
    leave.send(()).unwrap();
    dropping.join().unwrap();
    assert_eq!(futures_lite::future::block_on(task).unwrap(), 5);
}

#[test]
fn a_wait_within_it_ends_with_the_runtime() {
    let _alone = alone();
    let runtime = runtime(2);
    let (tell, told) = mpsc::channel();
    let task = runtime.spawn(async move {
        let (a, _peer) = pair().await;
        let (has_begun, begun) = mpsc::channel();
        // Another thread is the worker for certain.
        let tasks = [(); 2].map(|()| {
            let has_begun = has_begun.clone();
            spawn(async move {
                has_begun.send(()).unwrap();
                thread::yield_now();
            })
        });
        let handle = Handle::current();
        block_in_place(|| {
            tasks.iter().for_each(|_| begun.recv().unwrap());
            tell.send(()).unwrap();
            handle.block_on(read_once(&a)).unwrap_err()
        })
    });
    told.recv().unwrap();
    drop(runtime);
    let error = futures_lite::future::block_on(task).unwrap();
    assert!(netpoll_rt::runtime_ended(&error), "{error}");
}

fn refused() {
    let payload = catch_unwind(|| block_in_place(|| ())).unwrap_err();
    let message = payload.downcast_ref::<&str>().unwrap();
    assert!(message.contains("spawn_blocking"), "{message}");
}

#[test]
fn it_panics_where_tasks_cannot_go_elsewhere() {
    let _alone = alone();
    let (one, many) = (runtime(1), runtime(4));
    one.block_on(async { refused() });
    one.block_on(async move { spawn(async move { refused() }).await.unwrap() });
    let set = LocalSet::new();
    set.block_on(&many, async move {
        refused();
        netpoll_rt::spawn_local(async move {
            let _stays = Rc::new(());
            refused();
        })
        .await
        .unwrap();
    });
}

#[test]
fn on_a_thread_that_is_no_worker_it_only_calls() {
    let _alone = alone();
    let this = || thread::current().id();
    assert_eq!(block_in_place(this), this());
    let (one, many) = (runtime(1), runtime(4));
    many.block_on(async { assert_eq!(block_in_place(this), this()) });
    for runtime in [&one, &many] {
        runtime.block_on(async {
            let blocking = spawn_blocking(move || assert_eq!(block_in_place(this), this()));
            blocking.await.unwrap();
        });
    }
    let nested = many.spawn(async move { block_in_place(|| one.block_on(async { 3 })) });
    assert_eq!(many.block_on(nested).unwrap(), 3);
}

#[test]
fn a_closure_that_drops_the_runtime_does_not_wait_for_itself() {
    let _alone = alone();
    for workers in [2, 4] {
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        let watch = Watch::over(handle.clone());
        let other = handle.spawn(std::future::pending::<()>());
        let task = handle.spawn(async move { block_in_place(|| drop(runtime)) });
        futures_lite::future::block_on(task).unwrap();
        assert!(futures_lite::future::block_on(other).unwrap_err().is_cancelled());
        drop(watch);
        assert_nothing_left(&handle);
    }
}

/// The worker that this thread is belongs to the runtime without threads, whichever one new tasks go to.
#[test]
fn a_worker_without_a_thread_of_its_own_is_not_handed_over_by_another_runtime() {
    let _alone = alone();
    let (one, many) = (runtime(1), runtime(2));
    let handle = many.handle().clone();
    one.block_on(async move {
        let task = spawn(async move {
            handle.block_on(async { refused() });
            let _entered = handle.enter();
            refused();
        });
        task.await.unwrap();
    });
}

/// A runtime with one worker, which counts the threads that have been that worker.
fn counting_threads(builder: Builder) -> (Runtime, Arc<Counter>) {
    let started = Arc::new(Counter::new());
    let start = started.clone();
    let runtime = builder.worker_threads(1).sysmon(false).on_thread_start(move || start.inc()).build();
    (runtime.unwrap(), started)
}

/// The waker of a timer, whose drop hands the worker over. The task that becomes the worker's stays there.
struct HandsOver {
    stays: Mutex<mpsc::Receiver<()>>,
    drops: Arc<Counter>,
}

impl Wake for HandsOver {
    fn wake(self: Arc<Self>) {}
}

impl Drop for HandsOver {
    fn drop(&mut self) {
        self.drops.inc();
        let stays = std::mem::replace(&mut self.stays, Mutex::new(mpsc::channel().1));
        let (begins, begun) = mpsc::channel();
        drop(spawn(async move {
            begins.send(()).unwrap();
            stays.lock().unwrap().recv_timeout(LIMIT).unwrap();
        }));
        block_in_place(|| begun.recv_timeout(LIMIT).unwrap());
    }
}

/// A worker that is about to be handed over drops the timers that its tasks have dropped, and with them wakers. One of them
/// hands the worker over itself.
#[test]
fn a_waker_that_hands_the_worker_over_in_its_drop_leaves_one_worker() {
    let _alone = alone();
    let (runtime, started) = counting_threads(Runtime::builder());
    let drops = Arc::new(Counter::new());
    let dropped = drops.clone();
    let task = runtime.spawn(async move {
        let (leave, stays) = mpsc::channel();
        let waker = Waker::from(Arc::new(HandsOver { stays: Mutex::new(stays), drops: dropped.clone() }));
        let mut timer = Box::pin(sleep(LIMIT * 2)); // time is tested
        assert!(timer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop((waker, timer));
        assert_eq!(dropped.get(), 0, "the timer is still in the wheel");
        let (ran, runs) = mpsc::channel();
        block_in_place(|| {
            assert_eq!(dropped.get(), 1);
            drop(spawn(async move { ran.send(()).unwrap() }));
            // The one worker is busy.
            runs.recv_timeout(Duration::from_millis(100)).unwrap_err(); // time is tested
            leave.send(()).unwrap();
            runs.recv_timeout(LIMIT).unwrap();
        });
    });
    runtime.block_on(task).unwrap();
    drop(runtime);
    assert_eq!((started.get(), drops.get()), (2, 1), "one thread, and the one that it has handed over to");
}

/// Calls beyond the bound block their own worker, and as soon as one returns the tasks go on.
#[test]
fn no_more_threads_than_the_bound_are_started() {
    let _alone = alone();
    const MOST: usize = 3;
    let (runtime, started) = counting_threads(Runtime::builder().max_blocking_threads(MOST));
    let _watch = Watch::over(runtime.handle().clone());
    let inside = Arc::new(Counter::new());
    let (go_on, told) = mpsc::channel::<()>();
    let told = Arc::new(Mutex::new(told));
    let calls: Vec<_> = (0..4 * MOST)
        .map(|_| {
            let (inside, told) = (inside.clone(), told.clone());
            runtime.spawn(async move {
                block_in_place(|| {
                    inside.inc();
                    told.lock().unwrap().recv_timeout(LIMIT).unwrap();
                });
            })
        })
        .collect();
    // One keeps the worker, and the others have handed it over.
    until_blocking("the bound is reached", || inside.get() == MOST + 1);
    let task = runtime.spawn(async { 1 });
    thread::sleep(Duration::from_millis(50)); // time is tested
    assert_eq!((inside.get(), started.get(), task.is_finished()), (MOST + 1, MOST + 1, false));
    (0..calls.len()).for_each(|_| go_on.send(()).unwrap());
    for call in calls {
        runtime.block_on(call).unwrap();
    }
    assert_eq!(runtime.block_on(task).unwrap(), 1);
    drop(runtime);
    assert_eq!(started.get(), MOST + 1);
}

/// Threads that have ended make room for others.
#[test]
fn a_thread_that_ends_makes_room_under_the_bound() {
    let _alone = alone();
    let stopped = Arc::new(Counter::new());
    let stop = stopped.clone();
    let builder = Runtime::builder().max_blocking_threads(1).thread_keep_alive(Duration::from_millis(1));
    let (runtime, started) = counting_threads(builder.on_thread_stop(move || stop.inc()));
    let _watch = Watch::over(runtime.handle().clone());
    for round in 0..10 {
        let task = runtime.spawn(async {
            let (sender, receiver) = mpsc::channel();
            drop(spawn(async move { sender.send(()).unwrap() }));
            block_in_place(|| receiver.recv_timeout(LIMIT).unwrap());
        });
        runtime.block_on(task).unwrap();
        until_blocking("a thread has ended", || started.get() - stopped.get() == 1);
        assert!(stopped.get() > round, "a thread was started each time");
    }
}

/// A hook is called within the worker's own steps, and so are the tasks that it runs by `block_on`.
#[test]
fn a_task_that_a_hook_waits_for_keeps_the_worker() {
    let _alone = alone();
    let called = Flag::new();
    let (tell, told) = mpsc::channel();
    let builder = Runtime::builder().on_thread_park(move || {
        if called.set() {
            let task = spawn(async { block_in_place(|| thread::sleep(Duration::from_millis(100))) }); // time is tested
            tell.send(Handle::current().block_on(task).is_ok()).unwrap();
        }
    });
    let (runtime, started) = counting_threads(builder);
    let _watch = Watch::over(runtime.handle().clone());
    assert!(told.recv_timeout(LIMIT).unwrap());
    for n in 0..100 {
        assert_eq!(runtime.block_on(runtime.spawn(async move { n })).unwrap(), n);
    }
    drop(runtime);
    assert_eq!(started.get(), 1, "no other thread has become the worker");
}
