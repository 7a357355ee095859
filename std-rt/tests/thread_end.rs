//! What a thread holds of a runtime in its variables goes when the thread ends.

mod common;

use std::cell::{OnceCell, RefCell};
use std::env;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::*;
use netpoll_rt::net::TcpStream;
use netpoll_rt::time::{Sleep, sleep};
use netpoll_rt::{Handle, JoinHandle, Runtime, spawn};

const HOUR: Duration = Duration::from_secs(3600);
const CHILD: &str = "NETPOLL_TEST_OF_THE_MAIN_THREAD";

#[derive(Default)]
struct Kept {
    streams: Vec<Arc<TcpStream>>,
    tasks: Vec<JoinHandle<()>>,
    sleeps: Vec<Pin<Box<Sleep>>>,
}

thread_local! {
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// Fills this thread's variables. The runtime has tasks that wait, and is of this thread alone.
fn use_runtime(workers: usize) -> Handle {
    let probe = Probe::new();
    RUNTIME.with(|runtime| {
        let runtime = runtime.get_or_init(|| runtime_of(workers));
        runtime.block_on(async {
            let (a, b) = pair().await;
            drop(reader(&a));
            parked(1).await;
            let mut slept = Box::pin(sleep(HOUR)); // time is what is tested
            assert!(probe.poll(slept.as_mut()).is_pending());
            KEPT.with_borrow_mut(|kept| {
                kept.streams.extend([a, b]);
                kept.tasks.push(spawn(std::future::pending()));
                kept.sleeps.push(slept);
            });
        });
        runtime.handle().clone()
    })
}

fn runtime_of(workers: usize) -> Runtime {
    runtime(workers)
}

#[test]
fn a_runtime_in_a_variable_of_a_thread_ends_with_the_thread() {
    let _alone = alone();
    for workers in [1, 4] {
        // In both orders of the destructors: that of a variable which is used first runs last.
        for kept_first in [false, true] {
            let before = open_descriptors();
            let user = thread::spawn(move || {
                if kept_first {
                    KEPT.with_borrow(|kept| assert!(kept.streams.is_empty()));
                }
                use_runtime(workers)
            });
            let handle = user.join().unwrap();
            assert_nothing_left(&handle);
            drop(handle);
            assert_eq!(open_descriptors(), before, "{workers} workers");
        }
    }
}

/// The tests of a process with one thread for them run on its main thread.
#[test]
fn a_runtime_in_a_variable_of_the_main_thread_ends_with_the_process() {
    if let Ok(workers) = env::var(CHILD) {
        use_runtime(workers.parse().unwrap());
        return;
    }
    let _alone = alone();
    for workers in ["1", "4"] {
        let name = "a_runtime_in_a_variable_of_the_main_thread_ends_with_the_process";
        let mut child = Command::new(env::current_exe().unwrap());
        let output = child.args(["--exact", name, "--test-threads=1"]).env(CHILD, workers).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{workers} workers: {}\n{told}", output.status);
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the child has run the test");
    }
}
