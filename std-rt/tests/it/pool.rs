//! The pool for blocking work: the number of its threads, their lifetime, and the users that it serves.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

use crate::common::*;
use futures_lite::future;
use netpoll_core::sync::Counter;
use netpoll_rt::fs::File;
use netpoll_rt::internal::sys::timer_slack;
use netpoll_rt::net::ToSocketAddrs;
use netpoll_rt::time::timeout;
use netpoll_rt::{Builder, Handle, JoinHandle, Runtime, spawn, spawn_blocking, yield_now};

/// A named pipe. To open it for reading blocks until it is dropped.
struct Fifo(PathBuf);

impl Fifo {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("netpoll-{}-pool-{name}", std::process::id()));
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self(path)
    }

    /// Returns a task that opens it.
    fn open(&self) -> JoinHandle<std::io::Result<File>> {
        let path = self.0.clone();
        spawn(async move { File::open(path).await })
    }

    /// Lets all go on that wait, and all that come later.
    fn let_go(&self) -> std::fs::File {
        OpenOptions::new().read(true).write(true).open(&self.0).unwrap()
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

/// Returns a closure that blocks until the sender is dropped. Returns once a thread runs it.
async fn blocked() -> (mpsc::Sender<()>, JoinHandle<()>) {
    let (go_on, told) = mpsc::channel::<()>();
    let begun = Arc::new(Counter::new());
    let task = {
        let begun = begun.clone();
        spawn_blocking(move || {
            begun.inc();
            assert!(told.recv_timeout(LIMIT).is_err(), "nothing is sent");
        })
    };
    until("a thread has begun it", || begun.get() == 1).await;
    (go_on, task)
}

/// Runs `body` in runtimes with one worker and with four, otherwise as `settings` say.
fn each_built(settings: impl Fn(Builder) -> Builder, body: impl AsyncFn()) {
    let _alone = alone();
    for workers in [1, 4] {
        let runtime = settings(Runtime::builder().workers(workers)).build().unwrap();
        let _watch = Watch::over(runtime.handle().clone());
        runtime.block_on(body());
    }
}

fn metrics() -> netpoll_rt::Metrics {
    Handle::try_current().unwrap().metrics()
}

/// Returns the number of threads of the process with this name.
fn threads_called(name: &str) -> usize {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0 };
    let comm = |task: std::io::Result<std::fs::DirEntry>| {
        // A thread that ends while it is looked at has no name any more.
        std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
    };
    tasks.map(comm).filter(|comm| comm.starts_with(name)).count()
}

/// A worker's timer slack is the least. A thread that it starts would inherit that, and each of its sleeps would cost an
/// interrupt of its own.
#[test]
fn threads_have_the_timer_slack_of_the_thread_that_created_the_runtime() {
    let Ok(slack) = timer_slack() else { return };
    each_built(
        |builder| builder,
        async || {
            let started_by_a_worker = spawn(async { spawn_blocking(|| timer_slack().unwrap()).await });
            assert_eq!(started_by_a_worker.await.unwrap().unwrap(), slack);
        },
    );
}

/// They run in groups of three that wait for each other, so there are three at a time, and never four.
#[test]
fn closures_have_as_many_threads_as_max_blocking_threads_says() {
    each_built(
        |builder| builder.max_blocking_threads(3),
        async || {
            let (group, now) = (Arc::new(Barrier::new(3)), Arc::new(Mutex::new((0, 0))));
            let closure = || {
                let (group, now) = (group.clone(), now.clone());
                spawn_blocking(move || {
                    let mut count = now.lock().unwrap();
                    *count = (count.0 + 1, count.1.max(count.0 + 1));
                    drop(count);
                    group.wait();
                    now.lock().unwrap().0 -= 1;
                })
            };
            let tasks: Vec<_> = (0..60).map(|_| closure()).collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(now.lock().unwrap().1, 3, "at a time");
            let metrics = metrics();
            assert!(metrics.blocking_threads <= 3, "{metrics}");
            assert_eq!((metrics.blocking_jobs, metrics.blocking_queue_depth), (60, 0), "{metrics}");
        },
    );
}

/// The pool has the default bound, which 600 files that hang exceed.
#[test]
fn names_and_closures_are_served_while_every_thread_hangs_in_a_file() {
    each_built(
        |builder| builder,
        async || {
            let fifo = Fifo::new("names");
            let opening: Vec<_> = (0..600).map(|_| fifo.open()).collect();
            // A job that has just come waits for a moment, too.
            let all_hang = || metrics().blocking_jobs == 512 && metrics().blocking_queue_depth > 0;
            until("all threads hang", all_hang).await;
            for _ in 0..20 {
                let found = timeout(LIMIT / 4, "localhost:80".to_socket_addrs()).await;
                assert!(!found.expect("names do not wait for files").unwrap().is_empty());
                let closure = timeout(LIMIT / 4, spawn_blocking(|| 7)).await;
                assert_eq!(closure.expect("closures do not wait for files").unwrap(), 7);
            }
            assert!(metrics().blocking_queue_depth > 0, "they still hang");
            let _writer = fifo.let_go();
            for task in opening {
                task.await.unwrap().unwrap();
            }
        },
    );
}

#[test]
fn files_and_names_are_served_while_every_thread_hangs_in_a_closure() {
    each_built(
        |builder| builder.max_blocking_threads(2),
        async || {
            let hanging = [blocked().await, blocked().await];
            let waits = spawn_blocking(|| ());
            for _ in 0..20 {
                let file = timeout(LIMIT / 4, File::open("/etc/passwd")).await.expect("no wait").unwrap();
                let mut text = Vec::new();
                let read = timeout(LIMIT / 4, file.read_to_end(&mut text)).await;
                assert!(read.expect("files do not wait for closures").unwrap() > 0);
                let found = timeout(LIMIT / 4, "localhost:80".to_socket_addrs()).await;
                assert!(!found.expect("names do not wait for closures").unwrap().is_empty());
            }
            assert!(!waits.is_finished(), "closures have the two threads that they may have");
            for (go_on, task) in hanging {
                drop(go_on);
                task.await.unwrap();
            }
            waits.await.unwrap();
        },
    );
}

#[test]
fn every_thread_ends_when_it_was_idle_for_the_time_of_thread_keep_alive() {
    each_built(
        |builder| builder.thread_keep_alive(Duration::from_millis(20)).thread_name("keep"),
        async || {
            for _ in 0..3 {
                let all = Arc::new(Barrier::new(20));
                let closure = || {
                    let all = all.clone();
                    spawn_blocking(move || all.wait().is_leader())
                };
                let tasks: Vec<_> = (0..20).map(|_| closure()).collect();
                for task in tasks {
                    task.await.unwrap();
                }
                until("no thread is left", || metrics().blocking_threads == 0).await;
                until("the kernel says so too", || threads_called("keep-pool") == 0).await;
            }
        },
    );
}

/// The threads are used last come first served, so the others are idle although there is always something to do.
#[test]
fn a_pool_shrinks_under_a_load_that_needs_one_thread() {
    each_built(
        |builder| builder.thread_keep_alive(Duration::from_millis(200)),
        async || {
            let all = Arc::new(Barrier::new(20));
            let closure = || {
                let all = all.clone();
                spawn_blocking(move || all.wait().is_leader())
            };
            let tasks: Vec<_> = (0..20).map(|_| closure()).collect();
            for task in tasks {
                task.await.unwrap();
            }
            let limit = std::time::Instant::now() + LIMIT / 2;
            while metrics().blocking_threads > 2 {
                spawn_blocking(|| ()).await.unwrap();
                assert!(std::time::Instant::now() < limit, "{}", metrics());
            }
        },
    );
}

#[test]
fn a_closure_that_is_aborted_before_a_thread_began_it_is_dropped_at_once_and_never_runs() {
    each_built(
        |builder| builder.max_blocking_threads(1),
        async || {
            let (go_on, first) = blocked().await;
            let (ran, gate) = (Arc::new(Counter::new()), Gate::new());
            let second = {
                let (ran, dropped) = (ran.clone(), OpensOnDrop(gate.clone()));
                spawn_blocking(move || {
                    ran.inc();
                    drop(dropped);
                })
            };
            yield_now().await;
            second.abort();
            gate.wait().await;
            assert!(second.await.unwrap_err().is_cancelled());
            assert!(!first.is_finished(), "the thread was busy all the time");
            drop(go_on);
            first.await.unwrap();
            spawn_blocking(|| ()).await.unwrap();
            assert_eq!(ran.get(), 0);
        },
    );
}

/// A server whose requests have a time limit goes on to send work to a disk that hangs.
#[test]
fn work_that_is_given_up_does_not_pile_up_behind_threads_that_hang() {
    each_built(
        |builder| builder.max_blocking_threads(1),
        async || {
            let fifo = Fifo::new("given-up");
            let hangs = fifo.open();
            until("a thread hangs", || metrics().blocking_jobs == 1).await;
            for _ in 0..5000 {
                let open = std::pin::pin!(File::open("/etc/passwd"));
                assert!(Probe::new().poll(open).is_pending());
            }
            assert!(metrics().blocking_queue_depth < 100, "{}", metrics());
            let _writer = fifo.let_go();
            hangs.await.unwrap().unwrap();
        },
    );
}

#[test]
fn a_panic_in_a_closure_is_its_handles_error_and_the_thread_goes_on() {
    each_built(
        |builder| builder.max_blocking_threads(1),
        async || {
            for _ in 0..10 {
                let error = spawn_blocking(|| panic!("on purpose")).await.unwrap_err();
                assert!(error.is_panic() && !error.is_refused(), "{error}");
                assert_eq!(error.to_string(), "the task panicked: on purpose");
            }
            assert_eq!(metrics().blocking_threads, 1);
        },
    );
}

/// A value that is no longer awaited is dropped on the pool's thread, and so is the payload of a panic in that drop.
#[test]
fn a_drop_that_panics_on_a_thread_of_the_pool_does_not_end_it() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(Bomb);
        }
    }
    each_built(
        |builder| builder.max_blocking_threads(1),
        async || {
            let (go_on, told) = mpsc::channel::<()>();
            let begun = Arc::new(Counter::new());
            let begins = begun.clone();
            let given_up = spawn_blocking(move || {
                begins.inc();
                assert!(told.recv_timeout(LIMIT).is_err(), "nothing is sent");
                Bomb
            });
            // Until then an abort is a job of its own, for a second thread.
            until("a thread has begun it", || begun.get() == 1).await;
            given_up.abort();
            until("its task is gone", || given_up.is_finished()).await;
            drop(go_on);
            spawn_blocking(|| ()).await.unwrap();
            assert_eq!(metrics().blocking_threads, 1);
        },
    );
}

/// It runs for that runtime, but its thread is no worker: the runtime still ends, and has lost none of its own.
#[test]
fn a_closure_belongs_to_the_runtime_that_it_was_spawned_on() {
    each_built(
        |builder| builder,
        async || {
            let here = Handle::try_current().unwrap();
            let inside = async || {
                let spawned = spawn_blocking(|| spawn(async { Handle::try_current().unwrap() })).await;
                spawned.unwrap().await.unwrap()
            };
            let before = inside().await.metrics().blocking_jobs;
            // From a worker's task too, and while its worker goes on to run others.
            let tasks: Vec<_> = (0..50).map(|_| spawn(inside())).collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!((before, here.metrics().blocking_jobs), (1, 51));
        },
    );
}

#[test]
fn each_runtime_has_a_pool_of_its_own() {
    let _alone = alone();
    let one = Runtime::builder().workers(1).max_blocking_threads(1).build().unwrap();
    let two = Runtime::builder().workers(2).max_blocking_threads(2).build().unwrap();
    let _watch = Watch::over(one.handle().clone());
    one.block_on(async {
        let (go_on, hangs) = blocked().await;
        let waits = spawn_blocking(|| ());
        // It does not wait for the thread of the other one, and two closures of it run at a time.
        let both = Arc::new(Barrier::new(2));
        let [a, b] = [both.clone(), both].map(|both| two.spawn_blocking(move || both.wait().is_leader()));
        assert!(future::block_on(a).unwrap() != future::block_on(b).unwrap());
        assert!(!waits.is_finished());
        drop(go_on);
        hangs.await.unwrap();
        waits.await.unwrap();
    });
}

#[test]
fn the_end_of_a_runtime_drops_what_waits_and_lets_what_runs_go_on() {
    let _alone = alone();
    for workers in [1, 4] {
        let before = (open_descriptors(), threads_called("end-pool"));
        let builder = Runtime::builder().workers(workers).thread_name("end").max_blocking_threads(1);
        let runtime = builder.build().unwrap();
        let (ended, ran) = (Arc::new(Counter::new()), Arc::new(Counter::new()));
        let (go_on, told) = mpsc::channel::<()>();
        let first = {
            let ended = ended.clone();
            runtime.spawn_blocking(move || {
                assert!(told.recv_timeout(LIMIT).is_err(), "nothing is sent");
                ended.inc();
            })
        };
        until_blocking("a thread has begun it", || runtime.metrics().blocking_jobs == 1);
        let waits: Vec<_> = (0..10)
            .map(|_| {
                let ran = ran.clone();
                runtime.spawn_blocking(move || ran.inc())
            })
            .collect();
        let handle = runtime.handle().clone();
        drop(runtime);
        for task in waits {
            assert!(future::block_on(task).unwrap_err().is_cancelled());
        }
        assert!(future::block_on(first).unwrap_err().is_cancelled());
        assert!(
            future::block_on(handle.spawn_blocking(|| ())).unwrap_err().is_cancelled(),
            "none comes later"
        );
        assert_eq!(ended.get(), 0, "the drop has not waited");
        drop((go_on, handle));
        until_blocking("what ran has ended", || ended.get() == 1);
        until_blocking("the thread has ended", || (open_descriptors(), threads_called("end-pool")) == before);
        assert_eq!(ran.get(), 0);
    }
}
