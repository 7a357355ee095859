//! Objects of a runtime in thread-local variables are released when the thread ends.

use std::cell::{OnceCell, RefCell};
use std::env;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::common::own_process::{assert_passed, output_of};
use crate::common::*;
use netpoll_core::sync::Flag;
use netpoll_rt::io::copy;
use netpoll_rt::net::TcpStream;
use netpoll_rt::time::{Sleep, sleep, timeout};
use netpoll_rt::{Handle, JoinHandle, Runtime, spawn, spawn_local};

/// Tells the process of its own how many workers its runtime has.
const WORKERS: &str = "NETPOLL_TEST_WORKERS";
const HOUR: Duration = Duration::from_secs(3600);

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
            let mut slept = Box::pin(sleep(HOUR)); // time is tested
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
    for workers in ["1", "4"] {
        let before = ["env", &format!("{WORKERS}={workers}")];
        let use_one = || drop(use_runtime(env::var(WORKERS).unwrap().parse().unwrap()));
        match output_of(&before, use_one) {
            Some(ended) => assert_passed(&ended),
            None => return,
        }
    }
}

/// A closure that the destructor of its thread-local variable calls.
struct AtTheEnd(Box<dyn FnOnce()>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        std::mem::replace(&mut self.0, Box::new(|| ()))();
    }
}

thread_local! {
    static LAST: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
}

/// Sleeps, copies, waits and spawns, each for the first time on this thread.
fn use_all(runtime: &Runtime) {
    runtime.block_on(async {
        sleep(Duration::from_millis(1)).await; // time is tested
        assert!(timeout(Duration::from_millis(1), std::future::pending::<()>()).await.is_err());
        let (from, source) = pair().await;
        let (sink, to) = pair().await;
        source.write_all(b"bytes").await.unwrap();
        source.shutdown(Shutdown::Write).unwrap();
        assert_eq!(copy(&from, &sink).await.unwrap(), 5);
        drop(sink);
        assert_eq!(read_once(&to).await.unwrap(), b"bytes");
        spawn(sleep(Duration::from_millis(1))).await.unwrap(); // time is tested
    });
}

#[test]
fn the_destructor_of_a_variable_of_a_thread_may_use_a_runtime() {
    let _alone = alone();
    for workers in [1, 4] {
        let before = open_descriptors();
        let ended = Arc::new(Flag::new());
        let (mine, told) = (
            ended.clone(),
            thread::spawn(move || {
                // Used first, so its destructor is the last to run: those of the runtime's own variables have been.
                LAST.with_borrow(|last| assert!(last.is_none()));
                let runtime = runtime_of(workers);
                use_all(&runtime);
                let at_the_end = move || {
                    use_all(&runtime);
                    if workers == 1 {
                        runtime.block_on(async {
                            spawn_local(sleep(Duration::from_millis(1))).await.unwrap(); // time is tested
                            assert_eq!(runtime.block_on(async { 7 }), 7);
                        });
                    }
                    drop(runtime);
                    ended.set();
                };
                LAST.with_borrow_mut(|last| *last = Some(AtTheEnd(Box::new(at_the_end))));
            }),
        );
        told.join().unwrap();
        assert!(mine.is_set());
        assert_eq!(open_descriptors(), before, "{workers} workers");
    }
}
