//! The pool for blocking work when the kernel creates no more threads.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use crate::common::kernel::ThreadLimit;
use crate::common::own_process::{assert_passed, rerun};
use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::fs::{self, File};
use netpoll_rt::net::ToSocketAddrs;
use netpoll_rt::time::{sleep, timeout};
use netpoll_rt::{Handle, JoinHandle, OpError, spawn, spawn_blocking};

const EAGAIN: i32 = 11;

/// Runs `body` with one worker and with four, in a process of its own whose threads have a limit.
fn each_limited(body: impl AsyncFn(&ThreadLimit)) {
    if let Some(ended) = rerun(&[], &body) {
        return assert_passed(&ended);
    }
    let limit = ThreadLimit::bind();
    for workers in [1, 4] {
        let runtime = runtime(workers);
        let _watch = Watch::over(runtime.handle().clone());
        runtime.block_on(body(&limit));
    }
}

/// Asserts that the operation failed because there was no thread for it.
#[track_caller]
fn assert_no_thread<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceBusy, "{error}");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<OpError>()).unwrap();
    assert_eq!(inner.raw_os_error(), Some(EAGAIN), "{error}");
    assert!(error.to_string().contains("RLIMIT_NPROC"), "it says what to do: {error}");
}

#[test]
fn work_for_which_there_is_no_thread_at_all_ends_with_an_error() {
    each_limited(async |limit| {
        let file = File::from_std(std::fs::File::open("/etc/passwd").unwrap());
        let mut buffer = [0; 4];
        limit.lower();
        for _ in 0..20 {
            assert_no_thread(fs::read("/etc/passwd").await);
            assert_no_thread(file.read(&mut buffer).await);
            assert_no_thread(file.read_at(&mut buffer, 0).await);
            assert_no_thread("localhost:80".to_socket_addrs().await);
            let error = spawn_blocking(|| ()).await.unwrap_err();
            assert!(error.is_refused() && !error.is_panic() && !error.is_cancelled(), "{error}");
            assert!(error.to_string().contains("RLIMIT_NPROC"), "{error}");
            assert_eq!(io::Error::from(error).kind(), ErrorKind::ResourceBusy);
            // time is tested: timers go on
            sleep(Duration::from_millis(1)).await;
        }
        limit.raise();
        assert_eq!(file.read(&mut buffer).await.unwrap(), 4);
        assert!(!"localhost:80".to_socket_addrs().await.unwrap().is_empty());
        spawn_blocking(|| ()).await.unwrap();
        drop(file.into_std().await);
    });
}

/// Starts twenty operations on files, look-ups and closures each. Returns the number of those done, and all tasks.
fn sixty() -> (Arc<Counter>, Vec<JoinHandle<()>>) {
    let done = Arc::new(Counter::new());
    let one = |i| {
        let done = done.clone();
        spawn(async move {
            match i % 3 {
                0 => drop(fs::read("/etc/passwd").await.unwrap()),
                1 => drop("localhost:80".to_socket_addrs().await.unwrap()),
                _ => spawn_blocking(|| ()).await.unwrap(),
            }
            done.inc();
        })
    };
    let tasks = (0..60).map(one).collect();
    (done, tasks)
}

#[test]
fn work_is_done_by_the_threads_that_there_are_when_the_kernel_makes_no_more() {
    each_limited(async |limit| {
        let metrics = || Handle::try_current().unwrap().metrics();
        let hang = || {
            let (go_on, told) = mpsc::channel::<()>();
            (go_on, spawn_blocking(move || assert!(told.recv_timeout(LIMIT).is_err())))
        };
        let hanging = [hang(), hang()];
        until("two threads hang", || metrics().blocking_jobs == 2).await;
        limit.lower();
        let lowered = Instant::now();
        let (done, tasks) = sixty();
        until("all wait", || metrics().blocking_queue_depth == 60).await;
        // Neither timers nor others wait for a caller that tries again and again.
        for _ in 0..20 {
            // time is tested: timers go on
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!((done.get(), metrics().blocking_threads), (0, 2), "{}", metrics());
        let refused = metrics().blocking_threads_refused;
        // One for each that came, and one in 10 ms.
        let most = 62 + lowered.elapsed().as_millis() as usize / 10;
        assert!((1..=most).contains(&refused), "{refused}, at most {most}");
        for (go_on, task) in hanging {
            drop(go_on);
            task.await.unwrap();
        }
        for task in tasks {
            task.await.unwrap();
        }
        limit.raise();
        let all = Arc::new(Barrier::new(8));
        let closure = |_| {
            let all = all.clone();
            spawn_blocking(move || all.wait().is_leader())
        };
        for task in (0..8).map(closure).collect::<Vec<_>>() {
            timeout(LIMIT / 2, task).await.expect("the pool grows again").unwrap();
        }
    });
}

/// The jobs that run wait for one that is queued, and nothing else comes that would ask the kernel for a thread.
#[test]
fn threads_are_asked_for_again_although_nothing_else_happens() {
    each_limited(async |limit| {
        let metrics = || Handle::try_current().unwrap().metrics();
        let (go_on, told) = mpsc::channel::<()>();
        let waits = spawn_blocking(move || told.recv_timeout(LIMIT).unwrap());
        until("a thread hangs", || metrics().blocking_jobs == 1).await;
        limit.lower();
        let awaited = spawn_blocking(move || go_on.send(()).unwrap());
        until("the kernel refused", || metrics().blocking_threads_refused > 0).await;
        limit.raise();
        awaited.await.unwrap();
        waits.await.unwrap();
    });
}
