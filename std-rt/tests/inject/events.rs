//! Events that are false: too many, too few, late, for descriptors that are closed, and breaks that fail.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::common::*;
use crate::support::*;
use netpoll_core::{Mode, Modes};
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::internal::sys::inject::{Errno, EventFault, Rule, Table, send, send_error};
use netpoll_rt::internal::sys::{Call, Events, Poller};
use netpoll_rt::net::TcpStream;
use netpoll_rt::poll::Buffer;
use netpoll_rt::{Handle, spawn, time};

/// The delay of an event, and the smaller one that a deadline may have on a busy machine.
const DELAY: Duration = Duration::from_millis(1000);
const SLACK: Duration = Duration::from_millis(900);

fn events() -> usize {
    Handle::try_current().unwrap().metrics().events
}

#[test]
fn a_spurious_event_costs_one_call() {
    each(async || {
        let (a, b) = pair().await;
        let fd = number(&*a);
        let reader = reader(&a);
        parked(1).await;
        let installed = Table::new(0).log().install();
        for round in 1..=20 {
            let before = events();
            send(fd, Modes::BOTH);
            until("the event is there", || events() > before).await;
            until("the reader has looked", || count(&installed.log(), Call::Recv, fd) == round).await;
            parked(1).await;
        }
        b.write_all(b"at last").await.unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), b"at last");
        assert_eq!(count(&installed.log(), Call::Recv, fd), 21, "one for each, one for the bytes");
        drop(installed);
    });
}

#[test]
fn a_socket_with_an_error_alone_is_read_and_waited_for() {
    each(async || {
        let (a, b) = pair().await;
        let fd = number(&*a);
        // Parked before it comes; the calls are counted from there on.
        let before = reader(&a);
        parked(1).await;
        let installed = Table::new(0).log().install();
        send_error(fd);
        until("the reader has looked", || count(&installed.log(), Call::Recv, fd) == 1).await;
        parked(1).await;
        b.write_all(b"one").await.unwrap();
        assert_eq!(before.await.unwrap().unwrap(), b"one");
        // Started after it came.
        let known = events();
        send_error(fd);
        until("the event is there", || events() > known).await;
        let after = reader(&a);
        parked(1).await;
        b.write_all(b"two").await.unwrap();
        assert_eq!(after.await.unwrap().unwrap(), b"two");
        drop(installed);
    });
}

#[test]
fn duplicates_and_both_directions_cost_at_most_one_call_each() {
    const ROUNDS: usize = 50;
    for disturbance in [EventFault::Duplicate, EventFault::Both] {
        each(async || {
            let (a, b) = pair().await;
            let installed = Table::new(0).log().rule(Rule::events(disturbance)).install();
            let before = events();
            ping_pong(&a, &b, ROUNDS).await;
            let events = events() - before;
            let log = installed.log();
            for fd in [number(&*a), number(&*b)] {
                let calls = count(&log, Call::Recv, fd) + count(&log, Call::Send, fd);
                assert!(calls <= 2 * ROUNDS + events + 2, "{calls} calls, {events} events, {disturbance:?}");
            }
            drop(installed);
        });
    }
}

/// Makes many connections ready at once and asserts that each is served once.
async fn burst(rule: Rule) {
    let mut pairs = Vec::new();
    for _ in 0..40 {
        pairs.push(pair().await);
    }
    let installed = Table::new(11).rule(rule).install();
    for round in 0..5_u8 {
        let readers: Vec<_> = pairs.iter().map(|(a, _)| reader(a)).collect();
        parked(pairs.len()).await;
        for (place, (_, b)) in pairs.iter().enumerate() {
            b.write_all(&[round, place as u8]).await.unwrap();
        }
        for (place, reader) in readers.into_iter().enumerate() {
            assert_eq!(reader.await.unwrap().unwrap(), [round, place as u8]);
        }
    }
    assert!(installed.hits(0) > 0);
}

#[test]
fn a_reordered_batch_serves_every_connection() {
    each(async || burst(Rule::events(EventFault::Reorder)).await);
}

#[test]
fn one_event_at_a_time_serves_every_connection() {
    each(async || burst(Rule::events(EventFault::One)).await);
}

#[test]
fn delayed_events_are_served_when_they_come() {
    let delay = EventFault::Delay(Duration::from_millis(50));
    each(async || burst(Rule::events(delay).chance(0.5)).await);
}

#[test]
fn a_deadline_is_exact_while_events_are_late() {
    const LATER: Duration = Duration::from_millis(10);
    let timed_out = Cell::new(0);
    each(async || {
        let installed = Table::new(1).rule(Rule::events(EventFault::Delay(DELAY))).install();
        let pairs: Vec<_> = (0..12).map(|_| spawn(pair())).collect();
        for (round, opened) in pairs.into_iter().enumerate() {
            let (a, b) = opened.await.unwrap();
            // The event of the open is late as well; it must not be the one that ends the read.
            let reader = reader(&a);
            parked(1).await;
            // time is tested
            let start = Instant::now();
            a.set_read_deadline(Some(start + LATER)).unwrap();
            // The last attempt at the deadline reads the bytes that came in time, though their event is late.
            if round % 2 == 0 {
                b.write_all(b"x").await.unwrap();
            }
            match reader.await.unwrap() {
                Ok(bytes) => assert_eq!(bytes, b"x"),
                result => {
                    assert_timed_out(result);
                    timed_out.set(timed_out.get() + 1);
                    assert!(start.elapsed() >= LATER, "early: {:?}", start.elapsed());
                }
            }
            let late = start.elapsed().saturating_sub(LATER);
            assert!(late < SLACK, "{late:?} late");
        }
        drop(installed);
    });
    assert!(timed_out.get() > 0, "no read was without a byte");
}

#[test]
fn timers_are_exact_while_events_are_late() {
    each(async || {
        let installed = Table::new(2).rule(Rule::events(EventFault::Delay(DELAY))).install();
        let (a, b) = pair().await;
        let reader = reader(&a);
        b.write_all(b"x").await.unwrap();
        for ms in [1, 3, 7, 12] {
            // time is tested
            let (start, asked) = (Instant::now(), Duration::from_millis(ms));
            time::sleep(asked).await; // time is tested
            let slept = start.elapsed();
            assert!(slept >= asked && slept < asked + SLACK, "{slept:?} for {asked:?}");
        }
        assert_eq!(reader.await.unwrap().unwrap(), b"x");
        drop(installed);
    });
}

// Case F01.
#[test]
fn stale_events_are_refused() {
    each(async || {
        let handle = Handle::try_current().unwrap();
        let rule = Rule::events(EventFault::Stale(Duration::from_millis(2)));
        let installed = Table::new(3).rule(rule).install();
        let before = handle.metrics().stale_events;
        for _ in 0..30 {
            drop(pair().await);
            // The slots are used again at once; an event of the old ones must not be theirs.
            let (a, b) = pair().await;
            let reader = reader(&a);
            parked(1).await;
            time::sleep(Duration::from_millis(3)).await; // time is tested
            assert_eq!(handle.waiters(), 1, "woken by an event of another");
            b.write_all(b"mine").await.unwrap();
            assert_eq!(reader.await.unwrap().unwrap(), b"mine");
        }
        let hits = installed.hits(0);
        // One that comes between close(2) and the return of the slot still has the same generation, and finds no waiter.
        let refused = hits - hits / 10;
        until("late events were refused", || handle.metrics().stale_events >= before + refused).await;
        drop(installed);
    });
}

#[test]
fn everything_at_once() {
    each(async || {
        let mut pairs = Vec::new();
        for _ in 0..16 {
            pairs.push(pair().await);
        }
        let table =
            netpoll_rt::internal::sys::inject::parse("events,seed=9").unwrap().rule(Rule::short(Call::Recv));
        let installed = table.install();
        let tasks: Vec<_> =
            pairs.into_iter().map(|(a, b)| spawn(async move { ping_pong(&a, &b, 30).await })).collect();
        for task in tasks {
            task.await.unwrap();
        }
        let hits = installed.end();
        let met = hits.iter().filter(|hits| **hits > 0).count();
        assert!(met >= 5, "{hits:?}");
    });
}

// Case F12.
#[test]
fn a_break_that_is_interrupted_or_full_still_wakes() {
    for errno in [Errno::INTR, Errno::AGAIN] {
        each(async || {
            let rule = match errno {
                Errno::INTR => Rule::error(Call::Break, errno).before_each(),
                _ => Rule::error(Call::Break, errno),
            };
            let installed = Table::new(0).rule(rule).install();
            let (stream, _peer) = pair_with_std().await;
            // A deadline from another thread ends the wait of the one that polls, if that sleeps already.
            while installed.hits(0) < 5 {
                let reader = reader(&stream);
                let handle = Handle::try_current().unwrap();
                let setter = {
                    let stream = stream.clone();
                    std::thread::spawn(move || {
                        until_blocking("the reader is parked", || handle.waiters() == 1);
                        stream.set_read_deadline(in_ms(1)).unwrap();
                    })
                };
                assert_timed_out(reader.await.unwrap());
                setter.join().unwrap();
                stream.set_read_deadline(None).unwrap();
            }
            drop(installed);
        });
    }
}

// Case F12.
#[test]
fn other_errors_of_the_break_are_fatal() {
    // no worker: the poller is driven by hand.
    let _alone = alone();
    let netpoll = Netpoll::new().unwrap();
    let installed = Table::new(0).rule(Rule::error(Call::Break, Errno::BADF)).install();
    let woken = catch_unwind(AssertUnwindSafe(|| netpoll.wake()));
    let told = woken.unwrap_err().downcast::<String>().unwrap();
    assert!(told.contains("break descriptor"), "{told}");
    drop(installed);
}

// Case F13.
#[test]
fn an_interrupted_wait() {
    // no worker: the poller is driven by hand.
    let _alone = alone();
    for probe in [true, false] {
        let poller = Poller::init(probe).unwrap();
        let mut events = Events::with_capacity(4);
        let rule = Rule::error(Call::PollerWait, Errno::INTR).first(5);
        let installed = Table::new(0).rule(rule.clone()).install();
        for _ in 0..5 {
            let timeout = Some(Duration::from_secs(30));
            assert!(!poller.wait(&mut events, timeout).unwrap(), "empty-handed, so that the clock is read");
            assert!(events.is_empty());
        }
        drop(installed);
        let installed = Table::new(0).rule(rule).install();
        poller.wake().unwrap();
        assert!(poller.wait(&mut events, None).unwrap(), "without an end it is made again");
        assert_eq!(installed.calls(Call::PollerWait), 6);
        drop(installed);
    }
}

#[test]
fn a_wait_that_fails_still_ends_what_has_timed_out() {
    let _alone = alone();
    let poller = netpoll_rt::poll::Poller::new().unwrap();
    let (ours, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let ours = poller.register(ours).unwrap();
    let probe = Probe::new();
    assert!(ours.park(Mode::Read, &Waker::from(probe.clone())).is_pending());
    let deadline = in_ms(5).unwrap();
    ours.set_deadline(Modes::READ, Some(deadline)).unwrap();
    until_blocking("the deadline is over", || Instant::now() > deadline);
    let installed = Table::new(0).rule(Rule::error(Call::PollerWait, Errno::BADF)).install();
    let mut buffer = Buffer::new();
    assert_errno(poller.poll(None, &mut buffer), Errno::BADF);
    drop(installed);
    assert_eq!((poller.parked(), buffer.len()), (0, 1));
    buffer.drain().for_each(Waker::wake);
    assert_eq!((poller.parked(), probe.wakes.get()), (0, 1));
}

// Case F13.
#[test]
fn interrupted_waits_do_not_add_up() {
    each(async || {
        let installed =
            Table::new(0).rule(Rule::error(Call::PollerWait, Errno::INTR).before_each()).install();
        for ms in [1, 5, 20] {
            // time is tested
            let (start, asked) = (Instant::now(), Duration::from_millis(ms));
            time::sleep(asked).await; // time is tested
            let slept = start.elapsed();
            assert!(slept >= asked && slept < asked + SLACK, "{slept:?} for {asked:?}");
        }
        drop(installed);
    });
}

#[test]
fn readiness_that_was_taken_away_comes_again_to_a_sleeper() {
    each(async || {
        let (a, b) = pair().await;
        let reader = reader(&a);
        parked(1).await;
        let rule = Rule::error(Call::Recv, Errno::AGAIN).on(number(&*a)).first(10);
        let installed = Table::new(0).rule(rule).install();
        b.write_all(b"once").await.unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), b"once");
        assert_eq!(installed.hits(0), 10);
        let unread: &TcpStream = &a;
        assert!(unread.try_read(&mut [0; 4]).is_err());
        drop(installed);
    });
}
