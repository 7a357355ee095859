//! The functions that the threads of a runtime call, and the size of their stacks.

use std::future::poll_fn;
use std::hint::black_box;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::time::sleep;
use netpoll_rt::{Builder, Handle, Runtime, spawn, spawn_blocking, yield_now};

/// The number of calls of each hook.
#[derive(Default)]
struct Calls {
    start: Counter,
    stop: Counter,
    park: Counter,
    unpark: Counter,
}

impl Calls {
    fn builder(self: &Arc<Self>, workers: usize) -> Builder {
        let [start, stop, park, unpark] = std::array::from_fn(|_| self.clone());
        Runtime::builder()
            .workers(workers)
            .on_thread_start(move || start.start.inc())
            .on_thread_stop(move || stop.stop.inc())
            .on_thread_park(move || park.park.inc())
            .on_thread_unpark(move || unpark.unpark.inc())
    }
}

#[test]
fn workers_and_threads_of_the_pool_call_their_hooks() {
    let _alone = alone();
    for workers in [1, 2, 4] {
        let calls = Arc::<Calls>::default();
        let runtime = calls.builder(workers).build().unwrap();
        // A thread in `block_on` is the user's.
        let own = if workers == 1 { 0 } else { workers };
        until_blocking("the workers have started", || calls.start.get() == own);
        runtime.block_on(async {
            spawn_blocking(|| ()).await.unwrap();
            sleep(Duration::from_millis(2)).await; // time is tested
        });
        assert_eq!((calls.start.get(), calls.stop.get()), (own + 1, 0));
        assert!(calls.park.get() > 0);
        drop(runtime);
        until_blocking("the threads have ended", || calls.stop.get() == own + 1);
        assert_eq!(calls.park.get(), calls.unpark.get());
    }
}

#[test]
fn a_hook_that_panics_harms_nothing() {
    let _alone = alone();
    for workers in [1, 2] {
        let (stopped, told) = (Arc::new(Counter::new()), Arc::new(Counter::new()));
        let (stops, parks) = (stopped.clone(), told.clone());
        let runtime = Runtime::builder()
            .workers(workers)
            .on_thread_start(|| panic!("on purpose"))
            .on_thread_park(move || {
                parks.inc();
                assert!(parks.get() > 1, "on purpose");
            })
            .on_thread_stop(move || {
                stops.inc();
                panic!("on purpose")
            })
            .build()
            .unwrap();
        runtime.block_on(async {
            assert_eq!(spawn_blocking(|| 1).await.unwrap(), 1);
            sleep(Duration::from_millis(2)).await; // time is tested
            assert_eq!(spawn(async { 2 }).await.unwrap(), 2);
        });
        drop(runtime);
        let threads = if workers == 1 { 1 } else { workers + 1 };
        until_blocking("the threads have ended", || stopped.get() == threads);
        assert!(told.get() > 0);
    }
}

/// A task that the hook spawns is in the slot of a worker that is about to sleep.
#[test]
fn what_the_hook_of_a_park_makes_ready_runs_at_once() {
    let _alone = alone();
    for workers in [1, 2, 4] {
        let (parked, ran) = (Arc::new(Counter::new()), Arc::new(Counter::new()));
        let (hook, in_task) = (parked.clone(), ran.clone());
        let runtime = Runtime::builder()
            .workers(workers)
            .sysmon(false)
            .on_thread_park(move || {
                hook.inc();
                if hook.get() <= 100 {
                    let ran = in_task.clone();
                    drop(spawn(async move {
                        yield_now().await;
                        ran.inc();
                    }));
                }
            })
            .build()
            .unwrap();
        let watch = Watch::over(runtime.handle().clone());
        let gate = Gate::new();
        let opens = gate.clone();
        let all = ran.clone();
        // The future only waits, so that the workers go to sleep.
        let waiter = thread::spawn(move || {
            until_blocking("the tasks have run", || all.get() >= 90);
            opens.open();
        });
        runtime.block_on(gate.wait());
        waiter.join().unwrap();
        drop((runtime, watch));
        assert!(parked.get() >= 90);
    }
}

/// As a loop of another kind drives a runtime: each call of `block_on` lasts until the worker would sleep.
#[test]
fn timers_and_events_come_although_the_hook_of_a_park_ends_each_wait() {
    let _alone = alone();
    let waiting = Arc::new(Mutex::new(None::<Waker>));
    let hook = {
        let waiting = waiting.clone();
        move || {
            let waker = waiting.lock().unwrap().take();
            waker.into_iter().for_each(Waker::wake);
        }
    };
    let runtime = Runtime::builder().workers(1).on_thread_park(hook).build().unwrap();
    let task = runtime.spawn(async {
        let (a, b) = pair().await;
        sleep(Duration::from_millis(1)).await; // time is tested
        let reads = spawn(async move { a.read(&mut [0]).await });
        yield_now().await;
        b.write(b"x").await.unwrap();
        reads.await.unwrap().unwrap()
    });
    until_blocking("the task has ended", || {
        let mut turns = 0;
        runtime.block_on(poll_fn(|cx| {
            *waiting.lock().unwrap() = Some(cx.waker().clone());
            turns += 1;
            if turns == 2 { Poll::Ready(()) } else { Poll::Pending }
        }));
        task.is_finished()
    });
    assert_eq!(runtime.block_on(task).unwrap(), 1);
    // The runtime owns the hook, and a waker of the runtime in it would keep both.
    waiting.lock().unwrap().take();
}

#[test]
fn a_worker_is_in_its_runtime_when_it_starts_and_ends() {
    let _alone = alone();
    let (send, receive) = std::sync::mpsc::channel();
    let at_end = send.clone();
    let workers = || Handle::try_current().map(|handle| handle.metrics().workers);
    let runtime = Runtime::builder()
        .workers(2)
        .on_thread_start(move || send.send(workers()).unwrap())
        .on_thread_stop(move || at_end.send(workers()).unwrap())
        .build()
        .unwrap();
    drop(runtime);
    assert_eq!(receive.iter().take(4).collect::<Vec<_>>(), [Some(2); 4]);
}

/// Uses at least this number of KiB of the stack.
fn use_stack(kib: usize) -> usize {
    let block = black_box([1_u8; 1024]);
    if kib == 0 { 0 } else { usize::from(block[kib % 1024]) + use_stack(kib - 1) }
}

#[test]
fn threads_have_the_stack_that_was_asked_for() {
    let _alone = alone();
    const KIB: usize = 6 * 1024;
    // Unoptimized code may need twice the bytes of its variables.
    let runtime = Runtime::builder().workers(2).thread_stack_size(32 << 20).build().unwrap();
    runtime.block_on(async {
        assert_eq!(spawn(async { use_stack(KIB) }).await.unwrap(), KIB);
        assert_eq!(spawn_blocking(|| use_stack(KIB)).await.unwrap(), KIB);
    });
    // The system raises a size that is too small for a thread.
    let small = Runtime::builder().workers(2).thread_stack_size(1 << 16).build().unwrap();
    assert_eq!(small.block_on(async { spawn(async { 1 }).await.unwrap() }), 1);
    for size in [0, usize::MAX] {
        let error = Runtime::builder().thread_stack_size(size).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains("thread_stack_size"), "{error}");
    }
}

/// A worker that ends polls no more, and neither does any other.
#[test]
fn a_hook_at_the_end_of_a_thread_may_sleep() {
    let _alone = alone();
    let stopped = Arc::new(Counter::new());
    let counted = stopped.clone();
    let stop = move || {
        Handle::current().block_on(sleep(Duration::from_millis(2))); // time is tested
        counted.inc();
    };
    let runtime = Runtime::builder().workers(2).on_thread_stop(stop).build().unwrap();
    drop(runtime);
    assert_eq!(stopped.get(), 2);
}

#[test]
fn a_worker_runs_within_the_function_around_it() {
    let _alone = alone();
    thread_local! {
        static INSIDE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    for workers in [1, 2] {
        let around = |run: &mut dyn FnMut()| {
            INSIDE.set(true);
            run();
            INSIDE.set(false);
        };
        let runtime = Runtime::builder().worker_threads(workers).around_worker(around).build().unwrap();
        let inside = runtime.spawn(async { (INSIDE.get(), thread::current().id()) });
        let (inside, thread) = runtime.block_on(inside).unwrap();
        assert!(inside && thread != thread::current().id());
        assert!(!runtime.block_on(runtime.spawn_blocking(|| INSIDE.get())).unwrap());
        assert!(!INSIDE.get());
    }
}

#[test]
fn a_worker_runs_although_the_function_around_it_does_not_call_it() {
    let _alone = alone();
    for panics in [false, true] {
        let around = move |_: &mut dyn FnMut()| assert!(!panics, "a panic in the function around a worker");
        let runtime = Runtime::builder().worker_threads(1).around_worker(around).build().unwrap();
        assert_eq!(runtime.block_on(runtime.spawn(async { 5 })).unwrap(), 5);
    }
}

#[test]
fn a_function_names_the_threads() {
    let _alone = alone();
    let runtime = Runtime::builder().worker_threads(1).thread_name_fn(|| "a\0b".to_owned()).build().unwrap();
    let name = || thread::current().name().map(str::to_owned);
    assert_eq!(runtime.block_on(runtime.spawn(async move { name() })).unwrap().as_deref(), Some("ab"));
    assert_eq!(runtime.block_on(runtime.spawn_blocking(name)).unwrap().as_deref(), Some("ab"));
}

#[test]
fn a_value_is_kept_with_the_runtime() {
    let _alone = alone();
    let runtime = Runtime::builder().workers(1).extension(Arc::new(7_u8)).build().unwrap();
    let other = Runtime::builder().workers(1).build().unwrap();
    assert_eq!(runtime.handle().extension::<u8>(), Some(&7));
    assert_eq!(runtime.handle().extension::<u16>(), None);
    assert_eq!(other.handle().extension::<u8>(), None);
    assert_ne!(runtime.handle().id(), other.handle().id());
    assert_eq!(runtime.block_on(async { Handle::current().id() }), runtime.handle().id());
}

#[test]
fn the_end_waits_for_closures_if_it_is_told_to() {
    let _alone = alone();
    let build = || Runtime::builder().workers(1).wait_for_blocking(true).build().unwrap();
    let ended = Arc::new(Counter::new());
    let (begin, begun) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let runtime = build();
    let closure = ended.clone();
    drop(runtime.spawn_blocking(move || {
        begin.send(()).unwrap();
        released.recv().unwrap();
        closure.inc();
    }));
    begun.recv().unwrap();
    assert!(!runtime.shutdown_timeout(Duration::from_millis(5)));
    release.send(()).unwrap();
    until_blocking("the closure has ended", || ended.get() == 1);

    let runtime = build();
    let closure = ended.clone();
    let (begin, begun) = std::sync::mpsc::channel();
    drop(runtime.spawn_blocking(move || {
        begin.send(()).unwrap();
        // time is tested
        thread::sleep(Duration::from_millis(5));
        closure.inc();
    }));
    begun.recv().unwrap();
    drop(runtime);
    assert_eq!(ended.get(), 2);

    // A closure that ends its own runtime does not wait for itself.
    let runtime = build();
    let handle = runtime.handle().clone();
    drop(handle.spawn_blocking(move || drop(runtime)));
    until_blocking("the closure has ended", || handle.metrics().blocking_threads == 0);
}
