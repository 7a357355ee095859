//! Metrics add up, and the settings of a builder take effect.

use std::io::ErrorKind;
use std::time::Duration;

use crate::common::*;
use netpoll_rt::time::sleep;
use netpoll_rt::{Builder, Handle, Metrics, Runtime, spawn, spawn_blocking};

fn metrics() -> Metrics {
    Handle::try_current().unwrap().metrics()
}

#[test]
fn each_counts_what_it_says() {
    each(async || {
        let (a, b) = pair().await;
        let before = metrics();
        // Later than any machine takes to come to the next.
        a.set_read_deadline(in_ms(500)).unwrap();
        let task = reader(&a);
        parked(1).await;
        assert_eq!(metrics().waiters, 1);
        assert!(metrics().timers_armed > before.timers_armed);
        // Moved later: no edit of the wheel now, but one when the timer comes due.
        a.set_read_deadline(in_ms(100_000)).unwrap();
        until("the timer has been put back", || metrics().timers_rearmed == before.timers_rearmed + 1).await;
        let fired = metrics().timers_fired;
        assert!(fired > before.timers_fired);
        b.write_all(b"x").await.unwrap();
        assert_eq!(task.await.unwrap().unwrap(), b"x");
        let after = metrics();
        assert!(after.events > before.events && after.polls > before.polls, "{after:?}");
        assert!(after.polls >= after.empty_polls);
        assert_eq!((after.stale_events, after.stuck_tasks, after.waiters), (0, 0, 0));
        sleep(Duration::from_millis(1)).await; // time is tested
        assert!(metrics().timers_fired > fired);
    });
}

#[test]
fn in_one_line() {
    on(&[1], async || {
        let text = metrics().to_string();
        assert_eq!(text.lines().count(), 1);
        for word in [
            "polls ",
            "events ",
            "breaks ",
            "timers ",
            "re-armed",
            "tasks 0 (0 waiting)",
            "steals ",
            "parks ",
        ] {
            assert!(text.contains(word), "{word} in {text}");
        }
    });
}

#[test]
fn no_more_events_at_a_time_than_asked_for() {
    let _alone = alone();
    for workers in [1, 4] {
        let runtime = Runtime::builder().workers(workers).events_per_poll(1).sysmon(false).build().unwrap();
        runtime.block_on(async {
            let mut pairs = Vec::new();
            for _ in 0..20 {
                pairs.push(pair().await);
            }
            let tasks: Vec<_> = pairs.iter().map(|(a, _)| reader(a)).collect();
            parked(20).await;
            let before = metrics().events;
            for (_, b) in &pairs {
                b.write_all(b"x").await.unwrap();
            }
            for task in tasks {
                task.await.unwrap().unwrap();
            }
            // One after the other, since others poll meanwhile: a poll is counted before its events.
            let events = metrics().events;
            let polls = metrics().polls;
            assert!(
                events >= before + 20 && events <= polls,
                "{before}, then {events} events in {polls} polls"
            );
        });
    }
}

#[test]
fn a_setting_out_of_its_range_is_named() {
    let _alone = alone();
    let refused = |builder: Builder, name: &str| {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with(&format!("Builder::{name}")), "{error}");
    };
    refused(Builder::new().events_per_poll(0), "events_per_poll(0)");
    refused(Builder::new().events_per_poll(257), "events_per_poll(257)");
    refused(Builder::new().max_blocking_threads(0), "max_blocking_threads(0)");
    refused(Builder::new().max_blocking_threads(10_001), "max_blocking_threads(10001)");
}

#[test]
fn closures_that_block_share_the_threads_that_there_may_be() {
    let _alone = alone();
    let before = open_descriptors();
    let most = std::sync::Arc::new(std::sync::Mutex::new((0, 0)));
    for workers in [1, 4] {
        let runtime = Runtime::builder().workers(workers).max_blocking_threads(2).build().unwrap();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..20)
                .map(|_| {
                    let most = most.clone();
                    spawn_blocking(move || {
                        let mut count = most.lock().unwrap();
                        count.0 += 1;
                        count.1 = count.1.max(count.0);
                        drop(count);
                        std::thread::yield_now();
                        most.lock().unwrap().0 -= 1;
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            spawn(async {}).await.unwrap();
        });
    }
    let most = most.lock().unwrap().1;
    assert!((1..=2).contains(&most), "{most} at a time");
    // A pool's thread that has just told a task that its closure has ended may still know of the runtime.
    until_blocking("the runtimes are gone", || open_descriptors() == before);
}
