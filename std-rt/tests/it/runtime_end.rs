//! The end of a runtime: whatever its tasks do, the drop returns, and every resource is released.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::time::sleep;
use netpoll_rt::{Handle, JoinHandle, Runtime, spawn, yield_now};

const HOUR: Duration = Duration::from_secs(3600);

/// Starts a runtime, lets `fill` put things into it, drops it, and looks for leftovers.
fn ended(fill: impl AsyncFn(&Runtime)) {
    let _alone = alone();
    for workers in [1, 4] {
        for _ in 0..10 {
            let before = open_descriptors();
            let runtime = runtime(workers);
            let handle = runtime.handle().clone();
            let watch = Watch::over(handle.clone());
            runtime.block_on(fill(&runtime));
            drop(runtime);
            drop(watch);
            assert_nothing_left(&handle);
            drop(handle);
            assert_eq!(open_descriptors(), before, "{workers} workers");
        }
    }
}

#[test]
fn connections_are_parked() {
    ended(async |_| {
        let mut ends = Vec::new();
        for _ in 0..20 {
            let (a, b) = pair().await;
            drop(spawn(async move { a.read(&mut [0]).await }));
            ends.push(b.clone());
            drop(spawn(async move { b.read(&mut [0]).await }));
        }
        let listener = listener().await;
        drop(spawn(async move { listener.accept().await }));
        parked(41).await;
    });
}

#[test]
fn tasks_sleep_wait_for_each_other_and_are_queued() {
    ended(async |runtime| {
        let dropped = Gate::new();
        let flag = OpensOnDrop(dropped.clone());
        drop(spawn(async move {
            sleep(HOUR).await; // time is tested
            drop(flag);
        }));
        drop(spawn(std::future::pending::<()>()));
        let (send, receive) = mpsc::channel::<JoinHandle<()>>();
        let first = spawn(async move {
            yield_now().await;
            // Waits for a task that waits for it.
            let Ok(second) = receive.recv_timeout(LIMIT) else { return };
            drop(second.await);
        });
        let second = spawn(async move {
            drop(first.await);
        });
        send.send(second).unwrap();
        for _ in 0..1000 {
            drop(runtime.spawn(async {}));
        }
    });
}

#[test]
fn handles_of_cancelled_tasks_say_so() {
    let _alone = alone();
    for workers in [1, 4] {
        let runtime = runtime(workers);
        let tasks: Vec<_> = (0..10).map(|_| runtime.spawn(std::future::pending::<()>())).collect();
        let handle = runtime.handle().clone();
        drop(runtime);
        let late = handle.spawn(async { 1 });
        netpoll_rt::block_on(async {
            for task in tasks {
                assert!(task.is_finished());
                assert!(task.await.unwrap_err().is_cancelled());
            }
            assert!(late.await.unwrap_err().is_cancelled(), "spawned on a runtime that has ended");
        });
        assert_nothing_left(&handle);
    }
}

/// Wakes a task and starts others when it is dropped.
struct Troublemaker {
    depth: usize,
    others: Arc<Mutex<Vec<Waker>>>,
}

impl Future for Troublemaker {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.others.lock().unwrap().push(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Troublemaker {
    fn drop(&mut self) {
        let others = std::mem::take(&mut *self.others.lock().unwrap());
        others.into_iter().for_each(Waker::wake);
        if self.depth > 0
            && let Some(handle) = Handle::try_current()
        {
            for _ in 0..2 {
                drop(handle.spawn(Self { depth: self.depth - 1, others: self.others.clone() }));
            }
        }
    }
}

#[test]
fn drops_of_tasks_wake_others_and_spawn_more() {
    ended(async |_| {
        let others = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..20 {
            drop(spawn(Troublemaker { depth: 3, others: others.clone() }));
        }
        until("all have been polled", || others.lock().unwrap().len() == 20).await;
    });
}

#[test]
fn tasks_hold_their_own_handles_and_each_others_streams() {
    ended(async |_| {
        let (a, b) = pair().await;
        let handle = Handle::try_current().unwrap();
        let place = Arc::new(Mutex::new(None));
        let task = spawn({
            let (place, a, b) = (place.clone(), a.clone(), b.clone());
            async move {
                let _kept = (place, b, handle);
                a.read(&mut [0]).await
            }
        });
        *place.lock().unwrap() = Some(task);
        parked(1).await;
    });
}

#[test]
fn a_task_is_busy_while_the_runtime_is_dropped() {
    let _alone = alone();
    let before = open_descriptors();
    let runtime = runtime(4);
    let handle = runtime.handle().clone();
    let (entered, inside) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let polled = Arc::new(Counter::new());
    let task = runtime.spawn({
        let polled = polled.clone();
        async move {
            entered.send(()).unwrap();
            left.recv_timeout(LIMIT).unwrap();
            polled.inc();
            yield_now().await;
            polled.inc();
        }
    });
    inside.recv_timeout(LIMIT).unwrap();
    let dropping = std::thread::spawn(move || drop(runtime));
    // The drop is under way once the runtime refuses tasks.
    until_blocking("it is shut down", || handle.spawn(std::future::pending::<()>()).is_finished());
    assert!(!dropping.is_finished(), "it waits for the task that is being polled");
    leave.send(()).unwrap();
    dropping.join().unwrap();
    assert_eq!(polled.get(), 1, "and not for its next poll");
    assert!(task.is_finished());
    assert_nothing_left(&handle);
    drop((handle, task));
    assert_eq!(open_descriptors(), before);
}

#[test]
fn a_runtime_is_dropped_by_its_own_task() {
    let _alone = alone();
    for _ in 0..10 {
        let runtime = runtime(4);
        let handle = runtime.handle().clone();
        let _watch = Watch::over(handle.clone());
        let (gone, dropped) = mpsc::channel();
        let (give, given) = mpsc::channel::<Runtime>();
        drop(handle.spawn(async move {
            let runtime = given.recv_timeout(LIMIT).unwrap();
            drop(runtime);
            gone.send(()).unwrap();
        }));
        give.send(runtime).unwrap();
        dropped.recv_timeout(LIMIT).unwrap();
        until_blocking("its last task is gone", || handle.metrics().tasks == 0);
    }
}

#[test]
fn many_runtimes_one_after_the_other() {
    let _alone = alone();
    let before = open_descriptors();
    for round in 0..100 {
        let runtime = runtime(1 + round % 4);
        assert_eq!(runtime.block_on(async { spawn(async { 1 }).await.unwrap() }), 1);
    }
    assert_eq!(open_descriptors(), before);
}

#[test]
fn a_stream_outlives_its_runtime() {
    let _alone = alone();
    // The default runtime, which stays.
    netpoll_rt::block_on(async {});
    let before = open_descriptors();
    let runtime = runtime(2);
    let (a, b) = runtime.block_on(pair());
    drop(runtime);
    netpoll_rt::block_on(async {
        // No thread polls any more. Bytes that are there can still be read, and close works.
        a.write_all(b"there").await.unwrap();
        assert_eq!(read_once(&b).await.unwrap(), b"there");
        a.close().await.unwrap();
        assert_closed(a.write(b"x").await);
    });
    drop((a, b));
    assert_eq!(open_descriptors(), before);
}
