//! Naps in place of wakes: the policy without a clock, then its effect in the runtime.

use crate::common::*;
use netpoll_rt::internal::moderation::{MANY, Moderation};
use netpoll_rt::{Runtime, spawn};

/// Nanoseconds below the length of a nap.
const SHORT: u64 = 99_999;

/// Records short waits of the worker until it would nap. Returns their number.
fn waits_until_nap(moderation: &mut Moderation) -> u32 {
    for waits in 1..10_000 {
        moderation.slept(SHORT);
        if moderation.is_nap_due() {
            return waits;
        }
    }
    panic!("it never naps: {moderation:?}");
}

#[test]
fn eight_short_waits_in_a_row_make_it_nap() {
    let mut moderation = Moderation::new();
    assert_eq!(waits_until_nap(&mut moderation), 8);
    let mut moderation = Moderation::new();
    for _ in 0..7 {
        moderation.slept(SHORT);
        assert!(!moderation.is_nap_due());
    }
    moderation.slept(SHORT + 1);
    assert!(!moderation.is_nap_due(), "the eighth was too long");
    assert_eq!(waits_until_nap(&mut moderation), 8);
}

#[test]
fn it_naps_as_long_as_many_tasks_come() {
    let mut moderation = Moderation::new();
    waits_until_nap(&mut moderation);
    for _ in 0..100 {
        moderation.napped(MANY);
        assert!(moderation.is_nap_due());
    }
    moderation.napped(MANY - 1);
    assert!(!moderation.is_nap_due());
}

#[test]
fn a_nap_for_few_tasks_makes_the_next_one_rarer() {
    let mut moderation = Moderation::new();
    for wanted in [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 8192] {
        assert_eq!(waits_until_nap(&mut moderation), wanted);
        moderation.napped(0);
        assert!(!moderation.is_nap_due());
    }
    assert_eq!(waits_until_nap(&mut moderation), 8192);
    for _ in 0..20 {
        moderation.napped(MANY);
        assert!(moderation.is_nap_due());
    }
    moderation.napped(0);
    assert!(!moderation.is_nap_due());
    assert_eq!(
        waits_until_nap(&mut moderation),
        16,
        "20 good naps have halved it to 8, and a bad one has doubled that"
    );
}

/// A thread that is no worker spawns task after task: workers that nap run all of them, and end with the runtime.
#[test]
fn every_task_of_a_storm_runs() {
    let _alone = alone();
    for workers in [2, 16] {
        let runtime = Runtime::builder().workers(workers).build().unwrap();
        let _watch = Watch::over(runtime.handle().clone());
        for spawned in [1, 100, 20_000, 1, 1] {
            let sum = runtime.block_on(async {
                let tasks: Vec<_> = (0..spawned).map(|_| spawn(async { 1 })).collect();
                let mut sum = 0;
                for task in tasks {
                    sum += task.await.unwrap();
                }
                sum
            });
            assert_eq!(sum, spawned);
        }
    }
}
