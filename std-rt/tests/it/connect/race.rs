//! The race with attempts that are not sockets.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::time::Instant;

use netpoll_rt::net::AddressErrors;
use netpoll_rt::net::connect::plan::{DELAY, Plan, SHARE};
use netpoll_rt::net::connect::race::race;

use super::{FOUR, addresses, ms};
use crate::common::*;

/// An attempt of a race without sockets.
type Try = Pin<Box<dyn Future<Output = io::Result<i32>>>>;

fn refused() -> Try {
    Box::pin(async { Err(ErrorKind::ConnectionRefused.into()) })
}

fn four(deadline: Option<Instant>) -> Plan {
    Plan::new(addresses(&FOUR), Instant::now(), deadline)
}

#[test]
fn attempts_that_fail_are_followed_at_once() {
    each(async || {
        // time is tested
        takes_less_than(DELAY, async || {
            let won = race(four(None), None, |address| match address.port() {
                4 => Box::pin(async { Ok(4) }) as Try,
                _ => refused(),
            });
            assert_eq!(won.await.unwrap(), 4);
        })
        .await;
    });
}

#[test]
fn an_earlier_attempt_may_win_and_the_others_are_dropped() {
    each(async || {
        let first = Gate::new();
        let (second_dropped, started) = (Gate::new(), Cell::new(0));
        let won = race(four(None), None, |address| {
            started.set(address.port());
            let first = first.clone();
            match address.port() {
                1 => Box::pin(async move {
                    first.wait().await;
                    Ok(1)
                }) as Try,
                _ => {
                    // Its start makes the first one answer.
                    first.open();
                    let guard = OpensOnDrop(second_dropped.clone());
                    Box::pin(async move {
                        let _guard = guard;
                        pending().await
                    })
                }
            }
        });
        assert_eq!(won.await.unwrap(), 1);
        assert_eq!(started.get(), 2, "the third never started");
        second_dropped.wait().await;
    });
}

#[test]
fn every_error_is_told_in_the_order_of_the_plan() {
    each(async || {
        let gate = Gate::new();
        let name = Some("example.org:80".to_owned());
        // The first one fails last.
        let raced = race(four(None), name, |address| {
            let gate = gate.clone();
            match address.port() {
                1 => Box::pin(async move {
                    gate.wait().await;
                    Err(ErrorKind::HostUnreachable.into())
                }) as Try,
                4 => {
                    gate.open();
                    refused()
                }
                _ => refused(),
            }
        });
        let error = raced.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostUnreachable, "that of the first");
        let told: Vec<_> = AddressErrors::of(&error).unwrap().iter().map(|(a, e)| (a, e.kind())).collect();
        let kinds = [ErrorKind::HostUnreachable, ErrorKind::ConnectionRefused];
        let expected = addresses(&FOUR).into_iter().zip([kinds[0], kinds[1], kinds[1], kinds[1]]);
        assert_eq!(told, expected.collect::<Vec<_>>());
        let text = error.to_string();
        assert_eq!(
            text,
            "connect: example.org:80: 4 addresses failed: 127.0.0.1:1: host unreachable; 127.0.0.1:2: connection \
             refused; 127.0.0.1:3: connection refused; 127.0.0.1:4: connection refused"
        );
    });
}

#[test]
fn the_deadline_ends_the_race_and_tells_of_each_address() {
    each(async || {
        let start = Instant::now();
        let dropped = RefCell::new(Vec::new());
        let raced = race(four(Some(start + ms(300))), None, |address| match address.port() {
            1 => refused(),
            _ => {
                let gate = Gate::new();
                dropped.borrow_mut().push(gate.clone());
                let guard = OpensOnDrop(gate);
                Box::pin(async move {
                    let _guard = guard;
                    pending().await
                })
            }
        });
        let error = raced.await.unwrap_err();
        // time is tested
        assert!(start.elapsed() >= ms(300) && start.elapsed() < LIMIT / 4, "{:?}", start.elapsed());
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let kinds: Vec<_> = AddressErrors::of(&error).unwrap().iter().map(|(_, e)| e.kind()).collect();
        let late = ErrorKind::TimedOut;
        assert_eq!(kinds, [ErrorKind::ConnectionRefused, late, late, late]);
        let dropped = dropped.take();
        // The third starts 50 ms before the end, which a busy machine may miss.
        assert!((1..=2).contains(&dropped.len()), "the fourth never started: {}", dropped.len());
        for gate in dropped {
            gate.wait().await;
        }
    });
}

#[test]
fn a_share_that_is_used_up_leaves_time_for_the_others() {
    each(async || {
        let start = Instant::now();
        let (two, hung) = (addresses(&FOUR[..2]), Gate::new());
        // Each has 2 s: the second waits for the end of the first.
        let won = race(Plan::new(two, start, Some(start + ms(4000))), None, |address| {
            let gate = hung.clone();
            match address.port() {
                1 => Box::pin(async move {
                    let _guard = OpensOnDrop(gate);
                    pending().await
                }) as Try,
                _ => Box::pin(async move {
                    gate.wait().await;
                    Ok(2)
                }),
            }
        });
        assert_eq!(won.await.unwrap(), 2);
        // time is tested
        assert!(start.elapsed() >= SHARE && start.elapsed() < ms(4000), "{:?}", start.elapsed());
    });
}
