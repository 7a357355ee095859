//! Waits on a runtime of `workers(1)` while no thread drives it: each ends, by its event or by an error.

use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::common::*;
use futures_lite::future;
use netpoll_rt::fs::{self, File};
use netpoll_rt::net::ToSocketAddrs;
use netpoll_rt::process::Command;
use netpoll_rt::task::{self, JoinSet};
use netpoll_rt::time::{sleep, timeout};
use netpoll_rt::{Handle, JoinHandle, Runtime, spawn_blocking};

/// Calls `body` on a thread of its own, and fails if that takes too long: the wait of a foreign executor has no other limit.
fn ends<T: Send + 'static>(what: &str, body: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    let waiting = thread::spawn(move || tell.send(body()).unwrap());
    let ended = told.recv_timeout(LIMIT).unwrap_or_else(|e| panic!("the wait for {what} has not ended: {e}"));
    waiting.join().unwrap();
    ended
}

/// Runs a future by `block_on` of a handle whose runtime no thread drives, and by a foreign executor in that runtime.
fn undriven<T: Send + 'static>(
    what: &str,
    future: impl AsyncFn() -> T + Clone + Send + 'static,
    check: impl Fn(T),
) {
    let _alone = alone();
    let runtime = runtime(1);
    let (of_handle, of_foreign) = (runtime.handle().clone(), runtime.handle().clone());
    let again = future.clone();
    check(ends(what, move || of_handle.block_on(future())));
    check(ends(what, move || {
        let _entered = of_foreign.enter();
        future::block_on(again())
    }));
}

#[test]
fn the_value_of_a_closure_arrives() {
    undriven("a closure", async || spawn_blocking(|| 7).await.unwrap(), |n| assert_eq!(n, 7));
}

#[test]
fn the_panic_of_a_closure_arrives() {
    let panics = async || spawn_blocking(|| panic!("on purpose")).await.map(|(): ()| ()).unwrap_err();
    undriven("a closure that panics", panics, |error| assert!(error.is_panic(), "{error}"));
}

#[test]
fn the_closures_of_a_set_arrive() {
    let all = async || {
        let mut set = JoinSet::new();
        (1..=10).for_each(|n| drop(set.spawn_blocking(move || n)));
        let mut sum = 0;
        while let Some(n) = set.join_next().await {
            sum += n.unwrap();
        }
        sum
    };
    undriven("a set", all, |sum| assert_eq!(sum, 55));
}

#[test]
fn files_names_children_sockets_and_sleeps_arrive() {
    let read = async || {
        let file = File::open("/etc/passwd").await.unwrap();
        let mut text = Vec::new();
        file.read_to_end(&mut text).await.unwrap();
        assert_eq!(text.len(), fs::read("/etc/passwd").await.unwrap().len());
        assert!(!"localhost:80".to_socket_addrs().await.unwrap().is_empty());
        assert!(Command::new("true").status().await.unwrap().success());
        let (a, b) = pair().await;
        // One after the other, as no thread runs a task.
        b.write_all(b"x").await.unwrap();
        assert_eq!(read_once(&a).await.unwrap(), b"x");
        sleep(Duration::from_millis(1)).await; // time is tested
        let nothing = timeout(Duration::from_millis(1), read_once(&a)).await; // time is tested
        nothing.is_err()
    };
    undriven("the kernel", read, |timed_out| assert!(timed_out));
}

/// Starts a closure that blocks until the sender is dropped or sends, on a runtime with one thread for closures.
fn blocked(handle: &Handle) -> (mpsc::Sender<()>, JoinHandle<bool>) {
    let (go_on, told) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    let task = handle.spawn_blocking(move || {
        begin.send(()).unwrap();
        told.recv_timeout(LIMIT).is_ok()
    });
    begun.recv_timeout(LIMIT).unwrap();
    (go_on, task)
}

fn one_closure_at_a_time() -> Runtime {
    Runtime::builder().workers(1).max_blocking_threads(1).build().unwrap()
}

#[test]
fn a_closure_that_was_aborted_says_so() {
    let _alone = alone();
    let runtime = one_closure_at_a_time();
    let (go_on, running) = blocked(runtime.handle());
    let (tell, told) = mpsc::channel::<()>();
    let queued = runtime.spawn_blocking(move || tell.send(()).unwrap());
    queued.abort();
    running.abort();
    assert!(ends("a closure in the queue", || future::block_on(queued)).unwrap_err().is_cancelled());
    assert!(ends("a closure that runs", || future::block_on(running)).unwrap_err().is_cancelled());
    assert!(told.recv_timeout(LIMIT).is_err(), "it was dropped and has not run");
    drop(go_on);
}

#[test]
fn the_end_of_the_runtime_ends_the_wait_for_a_closure() {
    let _alone = alone();
    let runtime = one_closure_at_a_time();
    let (go_on, running) = blocked(runtime.handle());
    let queued = runtime.spawn_blocking(|| ());
    let handle = runtime.handle().clone();
    let waiting = thread::spawn(move || handle.block_on(async { (running.await, queued.await) }));
    drop(runtime);
    let (running, queued) = waiting.join().unwrap();
    assert!(running.unwrap_err().is_cancelled() && queued.unwrap_err().is_cancelled());
    drop(go_on);
}

#[test]
fn a_task_ends_with_its_runtime() {
    let _alone = alone();
    let runtime = runtime(1);
    let (handle, task) = (runtime.handle().clone(), runtime.spawn(async { 1 }));
    let (tell, told) = mpsc::channel();
    let waiting = thread::spawn(move || {
        handle.block_on(async {
            tell.send(()).unwrap();
            task.await
        })
    });
    told.recv_timeout(LIMIT).unwrap();
    drop(runtime);
    assert!(waiting.join().unwrap().unwrap_err().is_cancelled());
}

#[test]
fn a_runtime_that_waits_for_closures_gives_their_values_after_its_end() {
    let _alone = alone();
    for workers in [1, 4] {
        let builder = Runtime::builder().workers(workers).max_blocking_threads(1).wait_for_blocking(true);
        let runtime = builder.build().unwrap();
        let (go_on, running) = blocked(runtime.handle());
        running.abort();
        let queued = runtime.spawn_blocking(|| ());
        assert!(!runtime.shutdown_timeout(Duration::ZERO), "the closure goes on");
        assert!(ends("a closure in the queue", || future::block_on(queued)).unwrap_err().is_cancelled());
        assert!(!running.is_finished(), "what has begun is not given up");
        go_on.send(()).unwrap();
        assert!(ends("a closure that runs", || future::block_on(running)).unwrap());
    }
}

#[test]
fn a_closure_whose_thread_is_starting_runs_if_the_end_waits_for_closures() {
    let _alone = alone();
    for workers in [1, 4] {
        let (starting, started) = mpsc::channel();
        let (go_on, told) = mpsc::channel::<()>();
        let told = Mutex::new(told);
        // The hook keeps the one thread of the pool from the queue.
        let hook = move || {
            if thread::current().name().is_some_and(|name| name.contains("-pool")) {
                starting.send(()).unwrap();
                assert!(told.lock().unwrap().recv_timeout(LIMIT).is_err(), "nothing is sent");
            }
        };
        let builder = Runtime::builder().workers(workers).max_blocking_threads(1).thread_name("hook");
        let runtime = builder.wait_for_blocking(true).on_thread_start(hook).build().unwrap();
        let first = runtime.spawn_blocking(|| 1);
        let second = runtime.spawn_blocking(|| 2);
        started.recv_timeout(LIMIT).unwrap();
        assert!(!runtime.shutdown_timeout(Duration::ZERO), "the closure is not done");
        assert!(ends("a closure without a thread", || future::block_on(second)).unwrap_err().is_cancelled());
        assert!(!first.is_finished());
        drop(go_on);
        assert_eq!(ends("a closure whose thread starts", || future::block_on(first)).unwrap(), 1);
    }
}

/// Sends the id of the task in which it is dropped.
struct TellsId(mpsc::Sender<Option<task::Id>>);

impl Drop for TellsId {
    fn drop(&mut self) {
        // The test may have ended.
        let _ = self.0.send(task::try_id());
    }
}

#[test]
fn a_closure_has_the_id_of_its_task_and_so_has_the_drop_of_its_value() {
    on(&[1, 4], async || {
        let (tell, told) = mpsc::channel();
        let own = spawn_blocking(task::id);
        let id = own.id();
        assert_eq!(own.await.unwrap(), id);
        // The value is dropped with the handle, after the task has ended.
        let ended = spawn_blocking({
            let tell = tell.clone();
            move || TellsId(tell)
        });
        let id = ended.id();
        until("it has ended", || ended.is_finished()).await;
        drop(ended);
        assert_eq!(told.recv_timeout(LIMIT).unwrap(), Some(id));
        // The value is dropped by the thread of the pool.
        let (go_on, gone) = mpsc::channel::<()>();
        let detached = spawn_blocking(move || {
            assert!(gone.recv_timeout(LIMIT).is_err(), "nothing is sent");
            TellsId(tell)
        });
        let id = detached.id();
        drop(detached);
        drop(go_on);
        assert_eq!(told.recv_timeout(LIMIT).unwrap(), Some(id));
    });
}
