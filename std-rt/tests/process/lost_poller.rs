//! A descriptor of the poller is closed by its number, as programs do that become a daemon: no task waits without an error.

use std::collections::BTreeMap;
use std::future::pending;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

#[cfg(target_os = "linux")]
use crate::common::fork::forget_number;
use crate::common::fork::{close_number, exit, forked};
use crate::common::*;
use netpoll_rt::dump::{WorkerDump, WorkerState};
use netpoll_rt::internal::sys::Poller;
use netpoll_rt::time::{sleep, timeout};
use netpoll_rt::{Runtime, spawn};

/// A part of every message.
const WHY: &str = "was a descriptor closed";

fn numbers_of(before: &BTreeMap<String, String>) -> Vec<i32> {
    let now = open_descriptors();
    now.keys().filter(|number| !before.contains_key(*number)).map(|number| number.parse().unwrap()).collect()
}

/// Closes the `n`th descriptor of the poller, or all, in a child with a runtime of its own, and waits.
fn without(workers: usize, which: Option<usize>, waits: impl Fn(&Runtime)) {
    let _alone = alone();
    let why = if workers == 1 { "netpoll: " } else { WHY };
    forked(|| {
        let before = open_descriptors();
        let runtime = runtime(workers);
        // Its threads have begun to sleep, or do so with the descriptors that are left.
        runtime.block_on(async { sleep(Duration::from_millis(2)).await }); // time is tested
        let numbers = numbers_of(&before);
        match which {
            Some(n) => close_number(numbers[n]),
            None => numbers.iter().for_each(|number| close_number(*number)),
        }
        // Before the runtime is dropped: std ends a process that closes a number twice.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waits(&runtime))) {
            exit(Err(payload));
        }
        let mut stderr = std::io::stderr();
        writeln!(stderr, "it goes on as if nothing were wrong").unwrap();
    })
    .told(why);
}

#[test]
fn a_sleep_without_the_poller_ends_with_a_message() {
    for workers in [1, 2, 4] {
        without(workers, Some(0), |runtime| {
            runtime.block_on(async { sleep(Duration::from_millis(50)).await }); // time is tested
            // A worker that slept for longer still has the open file; the next wait has not.
            runtime.block_on(async { sleep(Duration::from_millis(50)).await }); // time is tested
        });
    }
}

#[test]
fn a_wait_for_nothing_without_descriptors_ends_with_a_message() {
    for workers in [1, 2, 4] {
        without(workers, None, |runtime| runtime.block_on(pending()));
    }
}

#[test]
fn a_task_spawned_without_descriptors_ends_with_a_message_or_runs() {
    for workers in [2, 4] {
        without(workers, None, |runtime| {
            runtime.block_on(async {
                let _ = spawn(async {}).await;
                let _ = timeout(Duration::from_secs(3), pending::<()>()).await; // time is tested
                pending::<()>().await;
            });
        });
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_break_that_is_lost_with_its_descriptor_ends_with_a_message() {
    if Poller::NAME != "epoll" {
        return;
    }
    let _alone = alone();
    forked(|| {
        let before = open_descriptors();
        let runtime = runtime(2);
        let number_of = |kind: &str| {
            let now = open_descriptors();
            let is_new =
                |(number, name): &(&String, &String)| !before.contains_key(*number) && name.contains(kind);
            now.iter().find(is_new).unwrap().0.parse().unwrap()
        };
        let until_awake = |n| {
            until_blocking("workers are awake", || {
                let sleeps = |worker: &WorkerDump| {
                    matches!(worker.state, WorkerState::WaitsForEvents | WorkerState::Sleeps)
                };
                runtime.dump().workers.iter().filter(|worker| !sleeps(worker)).count() == n
            });
        };
        until_awake(0);
        forget_number(number_of("[eventpoll]"), number_of("[eventfd]"));
        // One worker sleeps in the poller. The other one is held by a task, so that the first is woken for the next one.
        let (send, recv) = mpsc::channel::<()>();
        let held = runtime.spawn(async move { recv.recv().unwrap_err() });
        until_awake(1);
        let next = runtime.spawn(async {});
        until_awake(2);
        drop(send);
        runtime.block_on(async {
            held.await.unwrap();
            next.await.unwrap();
        });
        numbers_of(&before).into_iter().for_each(close_number);
        runtime.block_on(pending())
    })
    .told(WHY);
}
