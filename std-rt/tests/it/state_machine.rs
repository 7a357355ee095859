//! 100,000 operations drawn at random on pairs of connected streams, each checked against a model of a pair: open, read,
//! write, deadlines, close, drop, cancel, duplicate, shutdown. A sequence that fails is shrunk to the shortest that does.

mod model;
mod pair;

use std::sync::OnceLock;

use self::model::World;
use crate::common::*;
use netpoll_core::sync::Counter;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// The next operation. Indices are taken modulo the number of objects.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A new pair; the oldest goes when there are too many.
    Open,
    /// A read of this number of bytes; it stays parked when there is nothing.
    Read { handle: usize, length: usize },
    /// A write of this number of bytes.
    Write { handle: usize, length: usize },
    /// Writes until the kernel takes no more, and one write that waits.
    Fill { handle: usize },
    /// Reads all there is.
    Drain { handle: usize },
    /// A deadline for reads: over, an hour away, or none.
    ReadDeadline { handle: usize, when: When },
    /// A deadline for writes.
    WriteDeadline { handle: usize, when: When },
    /// Another handle of the same end.
    Dup { handle: usize },
    /// The writing half of an end.
    Shutdown { handle: usize },
    /// Close, and wait for it.
    Close { handle: usize },
    /// Close, and drop the future that waits for it.
    CloseAndForget { handle: usize },
    /// Drop a parked operation.
    Cancel { parked: usize },
    /// Poll a parked operation that nothing has woken.
    PollInVain { parked: usize },
}

/// A deadline.
#[derive(Clone, Copy, Debug)]
enum When {
    Past,
    FarAway,
    Never,
}

/// Returns the bytes of a direction from a place on; at most 64 KiB at once.
fn payload(direction: usize, place: usize, length: usize) -> &'static [u8] {
    const PERIOD: usize = 65_521;
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| {
        let mut random = fastrand::Rng::with_seed(1);
        let period: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(PERIOD).collect();
        [&period[..], &period[..]].concat()
    });
    let start = (place + direction * 7919) % PERIOD;
    &bytes[start..start + length]
}

/// Half of them on one worker, half on four.
const OPERATIONS: usize = 100_000;
/// Sequences of 1 to 200 operations.
const CASES: u32 = 550;
const LONGEST: usize = 200;

fn step() -> impl Strategy<Value = Step> {
    let handle = 0..64_usize;
    let when = || prop_oneof![1 => Just(When::Past), 1 => Just(When::FarAway), 2 => Just(When::Never)];
    prop_oneof![
        2 => Just(Step::Open),
        30 => (handle.clone(), 0..700_usize).prop_map(|(handle, length)| Step::Read { handle, length }),
        30 => (handle.clone(), 0..700_usize).prop_map(|(handle, length)| Step::Write { handle, length }),
        1 => handle.clone().prop_map(|handle| Step::Fill { handle }),
        4 => handle.clone().prop_map(|handle| Step::Drain { handle }),
        6 => (handle.clone(), when()).prop_map(|(handle, when)| Step::ReadDeadline { handle, when }),
        4 => (handle.clone(), when()).prop_map(|(handle, when)| Step::WriteDeadline { handle, when }),
        3 => handle.clone().prop_map(|handle| Step::Dup { handle }),
        2 => handle.clone().prop_map(|handle| Step::Shutdown { handle }),
        3 => handle.clone().prop_map(|handle| Step::Close { handle }),
        1 => handle.clone().prop_map(|handle| Step::CloseAndForget { handle }),
        8 => handle.clone().prop_map(|parked| Step::Cancel { parked }),
        8 => handle.prop_map(|parked| Step::PollInVain { parked }),
    ]
}

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
