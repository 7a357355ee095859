//! 100,000 operations drawn at random on pairs of connected streams, each checked against a model of a pair: open, read,
//! write, deadlines, close, drop, cancel, duplicate, shutdown. A sequence that fails is shrunk to the shortest that does.

mod model;
mod pair;
mod steps;

use self::model::World;
use self::steps::{Step, When, payload, step};
use crate::common::*;
use netpoll_core::sync::Counter;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Half of them on one worker, half on four.
const OPERATIONS: usize = 100_000;
/// Sequences of 1 to 200 operations.
const CASES: u32 = 550;
const LONGEST: usize = 200;

fn fifty_thousand_operations(workers: usize) {
    let _alone = alone();
    let runtime = runtime(workers);
    let handle = runtime.handle().clone();
    let watch = Watch::over_for(handle.clone(), LIMIT * 3);
    // The pool of the runtime and its threads are there before anything is counted.
    runtime.block_on(async { drop(pair().await) });
    let before = open_descriptors();
    let done = Counter::new();
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let steps = prop::collection::vec(step(), 1..=LONGEST);
    let outcome = runner.run(&steps, |steps| {
        runtime.block_on(async {
            let mut world = World::new(&handle);
            for step in steps {
                world.take(step).await;
                done.inc();
            }
            world.end().await;
        });
        assert_eq!(open_descriptors(), before, "descriptors");
        let metrics = handle.metrics();
        assert_eq!((metrics.waiters, metrics.descriptors), (0, 0), "{metrics:?}");
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(done.get() >= OPERATIONS / 2, "{} operations", done.get());
    drop(runtime);
    drop(watch);
    assert_nothing_left(&handle);
}

#[test]
fn operations_at_random_on_one_worker() {
    fifty_thousand_operations(1);
}

#[test]
fn operations_at_random_on_four_workers() {
    fifty_thousand_operations(4);
}
