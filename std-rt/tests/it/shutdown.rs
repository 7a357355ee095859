//! A shutdown with a time limit waits no longer than the limit.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_rt::{Handle, Runtime, spawn, yield_now};

/// Lets one test at a time run, and returns the descriptors of the process before it: those of the first one, once the
/// detached threads of the test before have let go of their runtime.
fn by_itself() -> (MutexGuard<'static, ()>, Descriptors) {
    static FIRST: OnceLock<Descriptors> = OnceLock::new();
    let alone = alone();
    let first = FIRST.get_or_init(open_descriptors);
    until_blocking("no runtime is left", || open_descriptors() == *first);
    (alone, first.clone())
}

type Descriptors = BTreeMap<String, String>;

const SOON: Duration = Duration::from_millis(20);

#[test]
fn parked_and_queued_tasks_end_at_once() {
    let (_alone, before) = by_itself();
    for workers in [1, 4] {
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        let tasks = runtime.block_on(async {
            let (a, b) = pair().await;
            let task = reader(&a);
            parked(1).await;
            drop(b);
            vec![task, spawn(std::future::pending())]
        });
        assert!(runtime.shutdown_timeout(LIMIT), "{workers} workers");
        assert!(tasks.iter().all(|task| task.is_finished()));
        assert_nothing_left(&handle);
        drop((handle, tasks));
        assert_eq!(open_descriptors(), before);
    }
}

/// Returns a task that blocks its worker until it is told to go on.
fn blocks(runtime: &Runtime) -> (mpsc::Sender<()>, mpsc::Receiver<Handle>) {
    let (go_on, told) = mpsc::channel::<()>();
    let (tell, inside) = mpsc::channel();
    drop(runtime.spawn(async move {
        // In the slot and in the ring of a worker that does not come to them.
        (0..10).for_each(|_| drop(spawn(async {})));
        tell.send(Handle::try_current().unwrap()).unwrap();
        // The thread that started it may be gone.
        let _ = told.recv_timeout(LIMIT);
        drop(spawn(std::future::pending::<()>()));
        yield_now().await;
        std::future::pending::<()>().await;
    }));
    (go_on, inside)
}

#[test]
fn a_task_that_blocks_its_worker_is_left_to_itself() {
    let (_alone, before) = by_itself();
    for workers in [2, 4] {
        let runtime = runtime(workers);
        let _watch = Watch::over(runtime.handle().clone());
        let (go_on, inside) = blocks(&runtime);
        let handle = inside.recv_timeout(LIMIT).unwrap();
        let parked = runtime.spawn(std::future::pending::<()>());
        let begun = Instant::now();
        assert!(!runtime.shutdown_timeout(SOON));
        assert!(begun.elapsed() >= SOON && begun.elapsed() < LIMIT / 2); // time is tested
        until_blocking("all others have ended", || parked.is_finished());
        assert!(handle.spawn(async {}).is_finished(), "and none can be started");
        assert!(handle.metrics().tasks >= 1, "but that one has not");
        go_on.send(()).unwrap();
        until_blocking("it is cancelled after its turn", || handle.metrics().tasks == 0);
        assert_nothing_left(&handle);
        drop((handle, parked, _watch));
        until_blocking("its thread has ended", || open_descriptors() == before);
    }
}

#[test]
fn it_waits_for_a_task_that_ends_its_turn_in_time() {
    let (_alone, _) = by_itself();
    let runtime = runtime(4);
    let (go_on, inside) = blocks(&runtime);
    let handle = inside.recv_timeout(LIMIT).unwrap();
    let ending = thread::spawn(move || runtime.shutdown_timeout(LIMIT));
    until_blocking("it is shut down", || handle.spawn(std::future::pending::<()>()).is_finished());
    go_on.send(()).unwrap();
    assert!(ending.join().unwrap());
    assert_nothing_left(&handle);
}

#[test]
fn no_time_at_all_and_all_the_time_there_is() {
    let (_alone, _) = by_itself();
    for workers in [1, 4] {
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        assert_eq!(runtime.block_on(async { spawn(async { 1 }).await.unwrap() }), 1);
        // Idle threads may or may not have ended by now.
        runtime.shutdown_timeout(Duration::ZERO);
        until_blocking("nothing is left", || handle.metrics().tasks == 0);
        let runtime = crate::common::runtime(workers);
        assert!(runtime.shutdown_timeout(Duration::MAX));
    }
}

#[test]
fn a_task_shuts_its_own_runtime_down() {
    let (_alone, _) = by_itself();
    let runtime = runtime(4);
    let handle = runtime.handle().clone();
    let _watch = Watch::over(handle.clone());
    let (give, given) = mpsc::channel::<Runtime>();
    let (tell, told) = mpsc::channel();
    drop(handle.spawn(async move {
        tell.send(given.recv_timeout(LIMIT).unwrap().shutdown_timeout(LIMIT)).unwrap();
        // It waits for an event that never comes, on a runtime that has ended.
        std::future::pending::<()>().await;
    }));
    give.send(runtime).unwrap();
    assert!(told.recv_timeout(LIMIT).unwrap(), "all but its own thread");
    until_blocking("it is gone too", || handle.metrics().tasks == 0);
}

#[test]
fn a_closure_that_blocks_is_not_waited_for() {
    let (_alone, _) = by_itself();
    for workers in [1, 4] {
        let runtime = runtime(workers);
        let (go_on, told) = mpsc::channel::<()>();
        let (tell, inside) = mpsc::channel();
        let task = runtime.spawn_blocking(move || {
            tell.send(()).unwrap();
            told.recv_timeout(LIMIT).is_ok()
        });
        let begun = runtime.spawn(async move {
            while inside.try_recv().is_err() {
                yield_now().await;
            }
        });
        runtime.block_on(begun).unwrap();
        assert!(runtime.shutdown_timeout(LIMIT));
        assert!(task.is_finished(), "its handle says so");
        go_on.send(()).unwrap();
    }
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("a Drop that panics, on purpose");
    }
}

/// The panic occurs in a task that is aborted, in the value of one that is not awaited, at the end of one, and at the
/// runtime's end.
#[test]
fn a_drop_that_panics_affects_no_other_task() {
    let (_alone, _) = by_itself();
    for workers in [1, 4] {
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        runtime.block_on(async {
            let (tell, begun) = mpsc::channel();
            let aborted = spawn(async move {
                let _panics = PanicsOnDrop;
                tell.send(()).unwrap();
                std::future::pending::<()>().await;
            });
            until("it has begun", || begun.try_recv().is_ok()).await;
            aborted.abort();
            assert!(aborted.await.unwrap_err().is_panic(), "its handle tells of the panic");
            drop(spawn(async { PanicsOnDrop }));
            let panics = PanicsOnDrop;
            // Captured, and dropped with the future, after its value is there.
            spawn(std::future::poll_fn(move |_| {
                let _panics = &panics;
                std::task::Poll::Ready(())
            }))
            .await
            .unwrap();
            for _ in 0..3 {
                drop(spawn(async {
                    let _panics = PanicsOnDrop;
                    std::future::pending::<()>().await;
                }));
            }
            yield_now().await;
            assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
        });
        drop(runtime);
        assert_nothing_left(&handle);
    }
}
