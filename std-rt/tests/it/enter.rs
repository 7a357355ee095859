//! The runtime of a thread's new tasks, sockets and sleeps: guards, wrapped futures, and `block_on` of a handle.

use std::cell::RefCell;
use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;

use crate::common::*;
use netpoll_rt::net::{TcpListener, UnixStream};
use netpoll_rt::time::{sleep, timeout};
use netpoll_rt::{EnterGuard, Handle, Runtime, runtime_ended, spawn, spawn_blocking, yield_now};

const SOON: Duration = Duration::from_millis(2);

/// Returns the number of workers of this thread's current runtime, by which the tests tell runtimes apart.
fn current() -> Option<usize> {
    Handle::try_current().map(|handle| handle.metrics().workers)
}

/// Makes one end wait for the other.
async fn echo() {
    let (a, b) = UnixStream::pair().unwrap();
    let mut byte = [0];
    let (read, ()) = futures_lite::future::zip(a.read(&mut byte), async {
        yield_now().await;
        b.write_all(b"x").await.unwrap();
    })
    .await;
    assert_eq!((read.unwrap(), byte), (1, *b"x"));
}

#[test]
fn a_guard_covers_tasks_sockets_and_sleeps() {
    let _alone = alone();
    let runtime = runtime(2);
    let handle = runtime.handle().clone();
    assert_eq!(current(), None);
    let entered = handle.enter();
    let name = spawn(async { thread::current().name().map(str::to_owned) });
    let on_pool = spawn_blocking(current);
    assert!(block_on(name).unwrap().unwrap().starts_with("netpoll-worker"));
    assert_eq!(block_on(on_pool).unwrap(), Some(2));
    let ends = UnixStream::pair().unwrap();
    let probe = Probe::new();
    let mut sleep = Box::pin(sleep(SOON)); // time is tested
    assert!(probe.poll(sleep.as_mut()).is_pending());
    assert_eq!((handle.metrics().descriptors, handle.metrics().timers_armed), (2, 1));
    block_on(async { until("it fires", || probe.wakes.get() == 1).await });
    drop(entered);
    assert_eq!(current(), None);
    drop((ends, runtime));
    assert_nothing_left(&handle);
}

#[test]
fn guards_are_dropped_in_any_order() {
    let _alone = alone();
    let runtimes: Vec<_> = (1..=4).map(runtime).collect();
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]];
    for order in orders {
        let mut guards: Vec<_> = runtimes.iter().map(|runtime| Some(runtime.enter())).collect();
        for place in order {
            let youngest = guards.iter().rposition(Option::is_some).map(|place| place + 1);
            assert_eq!(current(), youngest);
            guards[place] = None;
        }
        assert_eq!(current(), None);
    }
}

#[test]
fn guards_cross_the_borders_of_block_on() {
    let _alone = alone();
    let (one, two, three) = (runtime(1), runtime(2), runtime(3));
    for outer in [&one, &two] {
        // Made within, and dropped after it.
        let guard = outer.block_on(async {
            let guard = three.enter();
            assert_eq!(current(), Some(3));
            guard
        });
        assert_eq!(current(), Some(3));
        drop(guard);
        assert_eq!(current(), None);
        // Made before, and dropped within.
        let mut guard = Some(three.enter());
        outer.block_on(async {
            let own = current();
            guard = None;
            assert_eq!((own, current()), (Some(outer.metrics().workers), own));
        });
        assert_eq!(current(), None);
    }
}

/// A future that holds a guard over its waits takes the thread with it, but its worker goes on.
#[test]
fn a_worker_goes_on_below_a_guard() {
    let _alone = alone();
    let (own, other) = (runtime(1), runtime(2));
    let watch = Watch::over(own.handle().clone());
    own.block_on(async {
        let handle = Handle::current();
        let guard = other.enter();
        let task = handle.spawn(async {
            sleep(SOON).await; // time is tested
            echo().await;
            yield_now().await;
            5
        });
        assert_eq!(task.await.unwrap(), 5);
        sleep(SOON).await; // time is tested
        echo().await;
        assert_eq!(spawn(async { current() }).await.unwrap(), Some(2));
        drop(guard);
        assert_eq!(current(), Some(1));
        sleep(SOON).await; // time is tested
        echo().await;
    });
    let handles = [own.handle().clone(), other.handle().clone()];
    drop((own, other, watch));
    handles.iter().for_each(assert_nothing_left);
}

/// No thread drives the runtime: its descriptors are polled by the standby thread, and sleeps go elsewhere.
#[test]
fn a_runtime_that_is_only_entered_leaves_no_wait_behind() {
    let _alone = alone();
    let runtime = runtime(1);
    let handle = runtime.handle().clone();
    let watch = Watch::over(handle.clone());
    let guard = handle.enter();
    block_on(echo());
    let begin = Instant::now();
    block_on(sleep(SOON)); // time is tested
    assert!(begin.elapsed() >= SOON, "early");
    assert_timed_out(block_on(timeout(SOON, pending::<()>())));
    assert_eq!(handle.metrics().timers_armed, 0);
    // Armed while the thread runs the tasks, and polled again while it does not.
    let mut sleep = pin!(sleep(5 * SOON)); // time is tested
    let probe = Probe::new();
    runtime.block_on(async { assert!(probe.poll(sleep.as_mut()).is_pending()) });
    assert_eq!(handle.metrics().timers_armed, 1);
    block_on(sleep);
    drop((guard, runtime, watch));
    assert_nothing_left(&handle);
}

#[test]
fn a_guard_of_an_ended_runtime_says_so() {
    let _alone = alone();
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        let guard = handle.enter();
        drop(runtime);
        assert!(block_on(spawn(pending::<()>())).unwrap_err().is_cancelled());
        assert!(block_on(spawn_blocking(|| ())).unwrap_err().is_cancelled());
        assert!(runtime_ended(&UnixStream::pair().unwrap_err()));
        block_on(sleep(SOON)); // time is tested
        drop(guard);
        assert_nothing_left(&handle);
    }
}

thread_local! {
    static KEPT: RefCell<Vec<EnterGuard<'static>>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn a_thread_ends_with_its_guards() {
    let _alone = alone();
    let runtime = runtime(2);
    let handle: &'static Handle = Box::leak(Box::new(runtime.handle().clone()));
    let kept = thread::spawn(|| {
        KEPT.with_borrow_mut(|kept| kept.extend([handle.enter(), handle.enter()]));
        current()
    });
    assert_eq!(kept.join().unwrap(), Some(2));
    // A guard that is forgotten is in force until the thread ends.
    let forgotten = thread::spawn(|| {
        std::mem::forget(handle.enter());
        drop(handle.enter());
        current()
    });
    assert_eq!(forgotten.join().unwrap(), Some(2));
    drop(runtime);
    assert_nothing_left(handle);
}

/// Spawns a task when it is dropped.
struct SpawnsOnDrop(mpsc::Sender<Option<usize>>);

impl Drop for SpawnsOnDrop {
    fn drop(&mut self) {
        let to = self.0.clone();
        drop(spawn(async move { to.send(current()).unwrap() }));
    }
}

#[test]
fn a_wrapped_future_is_polled_and_dropped_within_its_runtime() {
    let _alone = alone();
    let runtime = runtime(2);
    let handle = runtime.handle().clone();
    let watch = Watch::over(handle.clone());
    let listener = block_on(handle.wrap(TcpListener::bind("127.0.0.1:0"))).unwrap();
    assert_eq!(handle.metrics().descriptors, 1);
    let (send, receive) = mpsc::channel();
    let (first, second) = (SpawnsOnDrop(send.clone()), SpawnsOnDrop(send));
    let value = handle.wrap(async move {
        let _first = first;
        echo().await;
        sleep(SOON).await; // time is tested
        current()
    });
    // Its executor belongs to another runtime.
    let other = self::runtime(3);
    assert_eq!(other.block_on(async { spawn(value).await.unwrap() }), Some(2));
    drop(handle.wrap(async move {
        let _second = second;
        pending::<()>().await;
    }));
    assert_eq!([receive.recv().unwrap(), receive.recv().unwrap()], [Some(2); 2]);
    drop((listener, other, runtime, watch));
    assert_nothing_left(&handle);
}

#[test]
fn block_on_of_a_handle_works_on_any_thread() {
    let _alone = alone();
    for workers in [2, 4] {
        let runtime = runtime(workers);
        let (handle, _watch) = (runtime.handle().clone(), Watch::over(runtime.handle().clone()));
        let all = |handle: Handle| {
            handle.block_on(async {
                echo().await;
                sleep(SOON).await; // time is tested
                (spawn(async { current() }).await.unwrap(), current())
            })
        };
        let expected = (Some(workers), Some(workers));
        assert_eq!(all(handle.clone()), expected);
        let (on_worker, on_pool) = (handle.clone(), handle.clone());
        assert_eq!(block_on(runtime.spawn(async move { all(on_worker) })).unwrap(), expected);
        assert_eq!(block_on(runtime.spawn_blocking(move || all(on_pool))).unwrap(), expected);
        assert_eq!(current(), None);
        drop(runtime);
        // Not driven any more, and no wait is left behind.
        handle.block_on(async {
            sleep(SOON).await; // time is tested
            assert!(spawn(async {}).await.unwrap_err().is_cancelled());
        });
        assert_nothing_left(&handle);
    }
}

#[test]
fn block_on_of_a_handle_leaves_a_runtime_without_threads_to_its_driver() {
    let _alone = alone();
    let runtime = runtime(1);
    let (handle, watch) = (runtime.handle().clone(), Watch::over(runtime.handle().clone()));
    // Not driven: a future that is no task works.
    handle.block_on(async {
        echo().await;
        sleep(SOON).await; // time is tested
        assert_eq!(current(), Some(1));
    });
    thread::scope(|scope| {
        let waits = scope.spawn(|| handle.block_on(async { spawn(async { current() }).await.unwrap() }));
        runtime.block_on(until("the task has run", || waits.is_finished()));
        assert_eq!(waits.join().unwrap(), Some(1));
    });
    // On the thread that runs the tasks, the call runs them.
    let within = runtime.block_on(async { handle.block_on(async { spawn(async { 1 }).await.unwrap() }) });
    assert_eq!(within, 1);
    drop((runtime, watch));
    assert_nothing_left(&handle);
}

/// The call parks, on a worker too, until what it waits for is cancelled.
#[test]
fn the_runtime_ends_during_block_on_of_its_handle() {
    let _alone = alone();
    for (workers, within_a_task) in [(1, false), (2, false), (2, true), (4, true)] {
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        let watch = Watch::over(handle.clone());
        let (send, receive) = mpsc::channel();
        let task = runtime.spawn(pending::<()>());
        let call = {
            let handle = handle.clone();
            move || {
                let cancelled = handle.block_on(async {
                    send.send(()).unwrap();
                    task.await.unwrap_err().is_cancelled()
                });
                send.send(()).unwrap();
                assert!(cancelled);
            }
        };
        let (thread, task) = if within_a_task {
            (None, Some(runtime.spawn(async { call() })))
        } else {
            (Some(thread::spawn(call)), None)
        };
        receive.recv().unwrap();
        drop(runtime);
        receive.recv().unwrap();
        thread.into_iter().for_each(|thread| thread.join().unwrap());
        // Its poll went on to its end, and gave the value.
        task.into_iter().for_each(|task| block_on(task).unwrap());
        drop(watch);
        assert_nothing_left(&handle);
    }
}

/// The runtime is dropped by the very future that the handle runs.
#[test]
fn the_runtime_is_dropped_within_block_on_of_its_handle() {
    let _alone = alone();
    for workers in [1, 2] {
        let runtime = Arc::new(runtime(workers));
        let handle = runtime.handle().clone();
        handle.block_on(async move {
            let task = runtime.spawn(pending::<()>());
            drop(Arc::into_inner(runtime).unwrap());
            assert!(task.await.unwrap_err().is_cancelled());
            sleep(SOON).await; // time is tested
        });
        assert_nothing_left(&handle);
    }
}

#[test]
fn the_current_runtime_outside_of_any_is_the_default_one() {
    let _alone = alone();
    let default = Handle::current();
    assert_eq!(current(), None);
    assert_eq!(
        default.metrics().workers,
        netpoll_rt::block_on(async { Handle::current().metrics().workers })
    );
    let runtime = Runtime::builder().workers(3).build().unwrap();
    let _entered = runtime.enter();
    assert_eq!(Handle::current().metrics().workers, 3);
}

/// A worker in the call, which no longer runs tasks, waits for events of the runtime that ends.
#[test]
fn waits_within_block_on_of_a_handle_end_while_the_runtime_ends() {
    let _alone = alone();
    for workers in [2, 4] {
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        let watch = Watch::over(handle.clone());
        let (send, receive) = mpsc::channel();
        let within = {
            let handle = handle.clone();
            runtime.spawn(async move {
                handle.clone().block_on(async {
                    send.send(()).unwrap();
                    until("the runtime is ending", || handle.spawn(async {}).is_finished()).await;
                    sleep(SOON).await; // time is tested
                });
            })
        };
        receive.recv().unwrap();
        drop(runtime);
        block_on(within).unwrap();
        drop(watch);
        assert_nothing_left(&handle);
    }
}
