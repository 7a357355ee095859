//! Ticks, slack, and the cost of timers for an idle runtime.

use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_rt::internal::sys::Poller;
use netpoll_rt::time::{Interval, MissedTicks, interval, interval_at, sleep, sleep_until};
use netpoll_rt::{Handle, spawn};

const PERIOD: Duration = Duration::from_millis(4);

/// Lets the time of this number of periods pass, and a half, without yielding to another task.
fn busy(since: Instant, periods: u32) {
    while since.elapsed() < PERIOD * periods + PERIOD / 2 {
        std::hint::spin_loop();
    }
}

#[test]
fn the_first_tick_is_at_once_and_none_is_early() {
    each(async || {
        let start = Instant::now();
        let mut ticks = interval(PERIOD);
        assert_eq!(ticks.period(), PERIOD);
        let first = ticks.tick().await;
        assert!(first >= start && start.elapsed() < LIMIT / 4);
        for n in 1..=5 {
            assert_eq!(ticks.tick().await, first + PERIOD * n, "no drift");
            assert!(first.elapsed() >= PERIOD * n, "early");
        }
    });
}

/// Returns a start and an interval from it whose first tick came within its period, as on any machine that is not too busy.
async fn begun(on_missed: MissedTicks) -> (Instant, Interval) {
    loop {
        let start = Instant::now();
        let mut ticks = interval_at(start, PERIOD).on_missed(on_missed);
        ticks.tick().await;
        if start.elapsed() < PERIOD {
            return (start, ticks);
        }
    }
}

#[test]
fn missed_ticks_come_in_a_burst() {
    each(async || {
        let (start, mut ticks) = begun(MissedTicks::default()).await;
        busy(start, 3);
        for n in 1..=3 {
            let tick = Probe::new().poll(pin!(ticks.tick()));
            assert_eq!(tick, Poll::Ready(start + PERIOD * n), "what was missed is there at once");
        }
        assert_eq!(ticks.tick().await, start + PERIOD * 4);
    });
}

#[test]
fn missed_ticks_delay_those_to_come() {
    each(async || {
        let (start, mut ticks) = begun(MissedTicks::Delay).await;
        busy(start, 3);
        assert_eq!(ticks.tick().await, start + PERIOD, "the first that was missed");
        let given = Instant::now();
        let next = ticks.tick().await;
        assert!(next > start + PERIOD * 4 && next <= given + PERIOD, "a period after it was given");
    });
}

#[test]
fn missed_ticks_are_skipped_and_the_phase_is_kept() {
    each(async || {
        let (start, mut ticks) = begun(MissedTicks::Skip).await;
        busy(start, 3);
        assert_eq!(ticks.tick().await, start + PERIOD);
        let next = ticks.tick().await;
        let phase = (next - start).as_nanos() % PERIOD.as_nanos();
        assert!(phase == 0 && next >= start + PERIOD * 4, "{phase} ns off, {:?}", next - start);
    });
}

#[test]
fn a_tick_whose_wait_was_dropped_is_not_lost() {
    each(async || {
        // Later than any machine takes to come to the first poll.
        let start = Instant::now() + 50 * PERIOD;
        let mut ticks = interval_at(start, PERIOD);
        {
            let mut tick = pin!(ticks.tick());
            assert!(Probe::new().poll(tick.as_mut()).is_pending());
        }
        assert_eq!(ticks.tick().await, start);
        ticks.reset();
        let reset = Instant::now();
        let next = ticks.tick().await;
        assert!(next <= reset + PERIOD && next > start, "a period after the reset");
    });
}

#[test]
#[should_panic(expected = "longer than zero")]
fn a_period_of_nothing_is_refused() {
    // The report of a panic opens files.
    let _alone = alone();
    let _ = interval(Duration::ZERO);
}

#[test]
fn an_interval_beyond_the_clock_never_ticks_again() {
    on(&[1], async || {
        let mut ticks = interval(Duration::MAX);
        ticks.tick().await;
        assert!(Probe::new().poll(pin!(ticks.tick())).is_pending());
    });
}

/// No sleep is early and each ends, with and without slack.
#[test]
fn crowded_timers_share_wakes_and_are_not_early() {
    const TIMERS: usize = 400;
    const ROUNDS: usize = 100;
    on(&[1], async || {
        let handle = Handle::try_current().unwrap();
        let before = handle.metrics().polls;
        let start = Instant::now() + Duration::from_millis(5);
        let sleepers = (0..TIMERS).map(|timer| {
            spawn(async move {
                for round in 0..ROUNDS {
                    let at = start + Duration::from_micros((round * 1000 + timer * 1000 / TIMERS) as u64);
                    sleep_until(at).await;
                    assert!(Instant::now() >= at, "early");
                }
            })
        });
        for sleeper in sleepers.collect::<Vec<_>>() {
            sleeper.await.unwrap();
        }
        let polls = handle.metrics().polls - before;
        assert!(polls < TIMERS * ROUNDS, "{polls} polls for {} timers", TIMERS * ROUNDS);
    });
}

/// A deadline that is far away costs nothing: no thread wakes up for it or looks at it.
#[test]
fn ten_thousand_far_deadlines_wake_no_thread() {
    // poll(2) looks at every descriptor whenever one is ready.
    let wanted = if Poller::EDGES { 10_000 } else { 1_000 };
    let pairs = wanted.min(kernel::most_descriptors().saturating_sub(100) / 2);
    on(&[2], async || {
        let mut ends = Vec::with_capacity(pairs);
        for _ in 0..pairs {
            let (ours, theirs) = netpoll_rt::net::UnixStream::pair().unwrap();
            ours.set_read_deadline_after(Duration::from_secs(3600)).unwrap();
            let reader = spawn(async move { ours.read(&mut [0; 8]).await });
            ends.push((reader, theirs));
        }
        parked(pairs).await;
        let handle = Handle::try_current().unwrap();
        assert!(handle.metrics().timers >= pairs);
        // Each end is writable from the start.
        until("all have been reported", || handle.metrics().events >= 2 * pairs).await;
        let mut attempts = 0;
        loop {
            let (machine, before) = (Lateness::watch(), handle.metrics().polls);
            // time is tested
            sleep(Duration::from_secs(2)).await;
            let (polls, late) = (handle.metrics().polls - before, machine.end());
            // Each may be interrupted once.
            if polls <= 6 {
                break;
            }
            // A machine that is late itself has workers look on while another one is stopped.
            attempts += 1;
            let told = format!("{polls} polls in two seconds, one of them for the sleep");
            assert!(late > Duration::from_millis(5) && attempts < 8, "{told}; late by {late:?} at most");
        }
        for (reader, theirs) in ends {
            drop(theirs);
            assert_eq!(reader.await.unwrap().unwrap(), 0);
        }
    });
}
