//! Timeouts on their path to the kernel: never early, never negative, never refused, however long.
//!
//! No worker: the poller is driven by hand.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::alone;
use netpoll_rt::internal::sys::{Events, Poller, set_timer_slack};

const DAY: f64 = 24.0 * 3600.0;

/// Timeouts that end by themselves.
const SHORT: [Duration; 9] = [
    Duration::from_nanos(1),
    Duration::from_nanos(999),
    Duration::from_micros(1),
    Duration::from_micros(500),
    Duration::from_nanos(999_999),
    Duration::from_millis(1),
    Duration::from_nanos(1_000_001),
    Duration::from_micros(1_500),
    Duration::from_millis(12),
];

/// Timeouts at the limits that other pollers got wrong: `i32` and `u32` milliseconds, Go's clamp, `i32` seconds, the largest
/// of all.
fn long() -> Vec<Duration> {
    let mut all = vec![
        Duration::from_secs(1_000_000),
        Duration::from_secs_f64(24.8 * DAY),
        Duration::from_millis(i32::MAX as u64),
        Duration::from_millis(i32::MAX as u64 + 1),
        Duration::from_secs_f64(49.7 * DAY),
        Duration::from_millis(u32::MAX as u64),
        Duration::from_millis(u32::MAX as u64 + 1),
        Duration::from_secs(i32::MAX as u64),
        Duration::from_secs(i32::MAX as u64 + 1),
        Duration::from_secs(u32::MAX as u64 + 1),
        Duration::from_nanos(u64::MAX),
        Duration::from_millis(u64::MAX),
        Duration::from_secs(i64::MAX as u64),
        Duration::from_secs(i64::MAX as u64 + 1),
        Duration::MAX,
    ];
    // One nanosecond less than a whole second, at the largest number of seconds.
    all.push(Duration::MAX - Duration::from_nanos(1));
    all
}

// Case F14.
#[test]
fn short_timeouts_are_never_early() {
    let _alone = alone();
    let before = set_timer_slack(1).unwrap();
    for poller in [true, false].map(|probe| Poller::init(probe).unwrap()) {
        let mut events = Events::with_capacity(4);
        for timeout in SHORT {
            for _ in 0..5 {
                // time is tested
                let start = Instant::now();
                let mut left = timeout;
                // A signal may end a wait early; the caller looks at the clock, as here.
                while !left.is_zero() {
                    assert!(!poller.wait(&mut events, Some(left)).unwrap());
                    left = timeout.saturating_sub(start.elapsed());
                }
                assert!(events.is_empty());
            }
        }
    }
    set_timer_slack(before).unwrap();
}

// Case F14.
#[test]
fn no_time_at_all_does_not_sleep() {
    let _alone = alone();
    for poller in [true, false].map(|probe| Poller::init(probe).unwrap()) {
        let mut events = Events::with_capacity(4);
        // time is tested
        let start = Instant::now();
        for _ in 0..1000 {
            assert!(!poller.wait(&mut events, Some(Duration::ZERO)).unwrap());
        }
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

// Case F14.
#[test]
fn long_timeouts_sleep_until_the_break() {
    let _alone = alone();
    // Long enough for a timeout that has become short or negative to end, and to be seen.
    const LOOK: Duration = Duration::from_millis(2);
    for probe in [true, false] {
        for timeout in long().into_iter().map(Some).chain([None]) {
            let poller = Poller::init(probe).unwrap();
            let (tell, told) = mpsc::channel();
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mut events = Events::with_capacity(4);
                    let mut broken = poller.wait(&mut events, timeout);
                    // An empty-handed end is a signal's or a fault's, at most one at a time; more is a timeout gone wrong.
                    if matches!(broken, Ok(false)) {
                        broken = poller.wait(&mut events, timeout);
                    }
                    tell.send(broken).unwrap();
                });
                // time is tested
                let early = told.recv_timeout(LOOK);
                assert!(early.is_err(), "{timeout:?} ended by itself: {early:?}");
                poller.wake().unwrap();
                let broken = told.recv_timeout(Duration::from_secs(30)).expect("the break ends it");
                assert!(broken.unwrap(), "{timeout:?} did not end by the break");
            });
        }
    }
}
