//! A descriptor of the poller is closed by its number, as programs do that become a daemon: no task waits without an error.

use std::collections::BTreeMap;
use std::future::pending;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::common::fork::{close_number, exit, forked};
use crate::common::*;
use netpoll_rt::time::{sleep, timeout};
use netpoll_rt::{Runtime, spawn};

/// A part of every message.
pub const WHY: &str = "was a descriptor closed";

pub fn numbers_of(before: &BTreeMap<String, String>) -> Vec<i32> {
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
