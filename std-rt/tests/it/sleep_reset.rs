//! Timers whose deadline moves: `Sleep::reset`, `timeout_at`, and the resets of an interval.

use std::future::ready;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_rt::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout, timeout_at};
use netpoll_rt::{Handle, Runtime};

const HOUR: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(2);

fn metrics() -> netpoll_rt::Metrics {
    Handle::try_current().unwrap().metrics()
}

#[test]
fn a_reset_moves_the_timer_and_keeps_its_waker() {
    each(async || {
        let probe = Probe::new();
        let mut sleep = pin!(sleep(HOUR)); // time is tested
        assert!(probe.poll(sleep.as_mut()).is_pending());
        let armed = metrics().timers_armed;
        for hours in 2..100 {
            sleep.as_mut().reset(Instant::now() + hours * HOUR);
        }
        assert_eq!((metrics().timers, metrics().timers_armed), (1, armed), "moved later: nothing is armed");
        let soon = Instant::now() + SOON;
        sleep.as_mut().reset(soon);
        assert_eq!((metrics().timers, sleep.deadline()), (1, soon));
        probe.woken(1).await;
        assert!(sleep.is_elapsed(), "it woke the task of the last poll, which was not polled again");
        assert!(probe.poll(sleep.as_mut()).is_ready());
    });
}

#[test]
fn a_reset_to_an_instant_that_has_passed_ends_it_at_once() {
    each(async || {
        for past in [Instant::now(), Instant::now() - SOON] {
            let mut sleep = pin!(sleep(HOUR)); // time is tested
            let probe = Probe::new();
            assert!(probe.poll(sleep.as_mut()).is_pending());
            sleep.as_mut().reset(past);
            assert_eq!((probe.wakes.get(), metrics().timers), (1, 0));
            assert!(probe.poll(sleep.as_mut()).is_ready());
        }
    });
}

#[test]
fn a_reset_to_later_is_not_early() {
    each(async || {
        let mut sleep = pin!(sleep(SOON)); // time is tested
        let probe = Probe::new();
        assert!(probe.poll(sleep.as_mut()).is_pending());
        let at = Instant::now() + 5 * SOON;
        sleep.as_mut().reset(at);
        sleep.as_mut().await;
        assert!(Instant::now() >= at, "early");
    });
}

#[test]
fn a_sleep_that_has_fired_unseen_waits_for_its_new_deadline() {
    each(async || {
        let probe = Probe::new();
        let mut sleep = pin!(sleep(SOON)); // time is tested
        assert!(probe.poll(sleep.as_mut()).is_pending());
        probe.woken(1).await;
        let at = Instant::now() + HOUR;
        sleep.as_mut().reset(at);
        assert!(!sleep.is_elapsed());
        assert!(probe.poll(sleep.as_mut()).is_pending(), "the first deadline does not count any more");
        assert_eq!((metrics().timers, sleep.deadline()), (1, at));
    });
}

#[test]
fn a_sleep_that_has_completed_can_be_reset() {
    each(async || {
        let mut sleep = pin!(sleep(Duration::ZERO)); // time is tested
        for _ in 0..3 {
            sleep.as_mut().await;
            assert!(sleep.is_elapsed());
            let at = Instant::now() + SOON;
            sleep.as_mut().reset(at);
            sleep.as_mut().await;
            assert!(Instant::now() >= at, "early");
        }
    });
}

#[test]
fn a_deadline_is_the_given_instant_to_the_nanosecond() {
    let _alone = alone();
    let now = Instant::now();
    for nanoseconds in [0, 1, 999_999_999, 1_000_000_001, 86_400_000_000_123] {
        let at = now + Duration::from_nanos(nanoseconds);
        assert_eq!(sleep_until(at).deadline(), at);
    }
    let never = sleep(Duration::MAX); // time is tested
    assert!(never.deadline() > now + 24 * 365 * 100 * HOUR && !never.is_elapsed());
    assert!(sleep_until(now).is_elapsed());
}

/// One that never ends is armed too, so that it has a waker.
#[test]
fn a_sleep_without_end_is_woken_after_a_reset() {
    each(async || {
        let probe = Probe::new();
        let mut sleep = pin!(sleep(Duration::MAX)); // time is tested
        assert!(probe.poll(sleep.as_mut()).is_pending());
        sleep.as_mut().reset(Instant::now() + SOON);
        probe.woken(1).await;
        assert!(probe.poll(sleep.as_mut()).is_ready());
    });
}

#[test]
fn a_reset_sleep_outlives_its_runtime() {
    let _alone = alone();
    let first = runtime(1);
    let probe = Probe::new();
    let mut sleep = pin!(sleep(HOUR)); // time is tested
    first.block_on(async { assert!(probe.poll(sleep.as_mut()).is_pending()) });
    drop(first);
    assert_eq!(probe.wakes.get(), 1);
    let at = Instant::now() + SOON;
    sleep.as_mut().reset(at);
    assert_eq!(sleep.deadline(), at);
    Runtime::builder().workers(1).build().unwrap().block_on(sleep.as_mut());
    assert!(Instant::now() >= at, "early");
}

#[test]
fn timeout_at_ends_at_its_instant_and_gives_its_future_back() {
    each(async || {
        let at = Instant::now() + SOON;
        assert_timed_out(timeout_at(at, std::future::pending::<()>()).await);
        assert!(Instant::now() >= at, "early");
        // A future that is ready comes before a deadline that has passed.
        assert_eq!(timeout_at(at, ready(7)).await.unwrap(), 7);
        let mut limited = timeout(HOUR, ready(8));
        assert_eq!(format!("{:?}", limited.get_ref()), format!("{:?}", ready(8)));
        *limited.get_mut() = ready(9);
        assert_eq!(limited.into_inner().await, 9);
    });
}

#[test]
fn an_interval_is_reset_to_any_time() {
    each(async || {
        let mut ticks = interval(HOUR);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        assert_eq!(ticks.missed_tick_behavior(), MissedTickBehavior::Delay);
        ticks.tick().await;
        let probe = Probe::new();
        assert!(probe.poll(pin!(ticks.tick())).is_pending());
        ticks.reset_immediately();
        ticks.tick().await;
        let at = Instant::now() + SOON;
        ticks.reset_at(at);
        assert_eq!(ticks.tick().await, at);
        assert!(Instant::now() >= at, "early");
        let before = Instant::now();
        ticks.reset_after(SOON);
        assert!(ticks.tick().await >= before + SOON);
        ticks.reset_at(before);
        assert_eq!(probe.poll(pin!(ticks.tick())), Poll::Ready(before), "an instant that has passed is due");
        assert_eq!(metrics().timers, 0);
        ticks.reset();
        assert!(probe.poll(pin!(ticks.tick())).is_pending());
        assert_eq!(metrics().timers, 1);
    });
}
