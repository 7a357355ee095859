//! The coalescing of timers, over virtual time: how often the poller wakes, and how late the timers are.

use std::time::Duration;

use netpoll_rt::internal::netpoll::{Coalescer, FEW};
use netpoll_rt::internal::timer::{insert, new_wheel};

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// The wakes of a simulated poller, and the largest lateness of a timer in nanoseconds.
#[derive(Debug)]
struct Outcome {
    wakes: u64,
    late: u64,
}

/// The slack, and the time that the kernel takes to end a sleep.
#[derive(Clone, Copy)]
struct Delays {
    slack: Duration,
    kernel: u64,
}

/// Runs timers until `end`. Each payload is the period after which the timer is armed again, counted from its wake if it
/// `drifts`; 0 is never.
fn simulate(delays: Delays, timers: impl Iterator<Item = (u64, u64)>, drifts: bool, end: u64) -> Outcome {
    let (mut wheel, coalescer) = (new_wheel(0), Coalescer::new(delays.slack));
    for (at, period) in timers {
        insert(&mut wheel, at, (at, period));
    }
    let (mut wakes, mut late) = (0, 0);
    while let Some(next) = wheel.next().filter(|&next| next < end) {
        let now = delays.kernel + coalescer.deadline(next, |by| wheel.count_due(by, FEW + 1) > FEW);
        wakes += 1;
        coalescer.record_wake(now);
        while wheel.next().is_some_and(|next| next <= now) {
            let Some((_, (at, period))) = wheel.pop(now) else { continue };
            late = late.max(now - at);
            if period > 0 {
                let at = period + if drifts { now } else { at };
                insert(&mut wheel, at, (at, period));
            }
        }
    }
    Outcome { wakes, late }
}

fn default(timers: impl Iterator<Item = (u64, u64)>, drifts: bool, end: u64) -> Outcome {
    simulate(Delays { slack: Duration::from_millis(1), kernel: 0 }, timers, drifts, end)
}

/// Returns `n` timers that are evenly spread over a period, with which they come again.
fn spread(n: u64, period: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..n).map(move |i| (MILLISECOND + i * period / n, period))
}

#[test]
fn many_timers_wake_the_poller_once_in_a_slack() {
    for (n, period) in [(1_000, SECOND / 10), (5_000, SECOND), (100_000, SECOND), (10, MILLISECOND)] {
        let Outcome { wakes, late } = default(spread(n, period), false, SECOND);
        assert!(wakes <= 1_100, "{n} timers: {wakes} wakes");
        assert!(wakes >= 900, "{n} timers: {wakes} wakes");
        assert!((MILLISECOND / 2..=MILLISECOND).contains(&late), "{n} timers: {late} ns late");
    }
}

/// A wake that comes late is not followed by one that comes sooner.
#[test]
fn many_timers_wake_the_poller_no_more_than_once_in_a_slack_if_the_kernel_is_late() {
    let delays = Delays { slack: Duration::from_millis(1), kernel: 100 * MICROSECOND };
    let Outcome { wakes, late } = simulate(delays, spread(1_000, SECOND / 10), false, SECOND);
    assert!((880..=930).contains(&wakes), "{wakes} wakes");
    assert!(late <= MILLISECOND + 100 * MICROSECOND, "{late} ns late");
}

#[test]
fn timers_that_come_less_often_than_once_in_a_slack_are_exact() {
    for n in [1, 10, 100, 900] {
        assert_eq!(default(spread(n, SECOND), false, 3 * SECOND).late, 0, "{n} a second");
    }
}

#[test]
fn few_tasks_that_sleep_briefly_are_exact() {
    for n in 1..=FEW as u64 {
        let timers = (0..n).map(|i| (MILLISECOND + i * 17 * MICROSECOND, (50 + i) * MICROSECOND));
        let Outcome { wakes, late } = default(timers, true, SECOND);
        assert!(late == 0 && wakes > 10_000, "{n} tasks: {late} ns late, {wakes} wakes");
    }
}

#[test]
fn a_short_burst_after_a_pause_is_exact() {
    let burst = |start: u64| (0..16).map(move |i| (start + i * 20 * MICROSECOND, 0));
    assert_eq!(default(burst(SECOND).chain(burst(2 * SECOND)), false, 3 * SECOND).late, 0);
}

#[test]
fn no_timer_is_later_than_the_slack() {
    for slack in [0, 1, 50, 300, 5_000] {
        let slack = Duration::from_micros(slack);
        let Outcome { late, .. } =
            simulate(Delays { slack, kernel: 0 }, spread(2_000, SECOND / 10), false, SECOND);
        assert!(u128::from(late) <= slack.as_nanos(), "{slack:?}: {late} ns late");
    }
    let exact =
        simulate(Delays { slack: Duration::ZERO, kernel: 0 }, spread(2_000, SECOND / 10), false, SECOND);
    assert!(exact.late == 0 && exact.wakes > 19_000, "{exact:?}");
}
