//! The break of the backend that was built: none is lost, and few are written.
//!
//! No worker: the poller is driven by hand.

use std::sync::Barrier;
use std::thread;

use crate::common::{LIMIT, alone, until_blocking};
use netpoll_core::sync::Counter;
use netpoll_core::sync::Flag;
use netpoll_rt::internal::netpoll::{Netpoll, PollBuffer, clock};

/// Sleeps in the kernel until a break ends it. One that does not, the one that runs when it is sent or else the next, is
/// a lost one.
fn wait_for_break(netpoll: &Netpoll, buffer: &mut PollBuffer) {
    let end = clock::now() + LIMIT.as_nanos() as u64;
    // An interruption ends a wait that has an end, and restarts one that has none.
    let interrupted = std::env::var_os("NETPOLL_DOOR").is_some();
    netpoll.netpoll((!interrupted).then_some(end), buffer).unwrap();
    assert!(buffer.is_empty());
    assert!(clock::now() < end, "a break was lost");
}

// Case F10.
#[test]
fn ten_threads_send_a_hundred_thousand_breaks_each() {
    const THREADS: usize = 10;
    const BREAKS: usize = 100_000;
    let _alone = alone();
    let netpoll = Netpoll::new().unwrap();
    let (done, mut blocking) = (Counter::new(), 0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                (1..BREAKS).for_each(|_| netpoll.wake());
                done.inc();
                netpoll.wake();
            });
        }
        let mut buffer = PollBuffer::new();
        while done.get() < THREADS {
            blocking += 1;
            wait_for_break(&netpoll, &mut buffer);
        }
    });
    let (sent, coalesced) = (netpoll.counts().breaks_sent.get(), netpoll.counts().breaks_coalesced.get());
    assert_eq!(sent + coalesced, THREADS * BREAKS);
    assert!(sent <= blocking + 1, "{sent} writes for {blocking} blocking polls");
    println!("{sent} writes for {blocking} blocking polls and {} breaks", THREADS * BREAKS);
}

/// A break is sent for each poll while it is about to sleep, asleep, or not yet there.
// Case F10.
#[test]
fn a_break_ends_the_poll_that_runs_or_the_next() {
    const ROUNDS: usize = 2_000;
    let _alone = alone();
    let netpoll = Netpoll::new().unwrap();
    let (start, end) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                start.wait();
                netpoll.wake();
                end.wait();
            }
        });
        let mut buffer = PollBuffer::new();
        for _ in 0..ROUNDS {
            start.wait();
            wait_for_break(&netpoll, &mut buffer);
            end.wait();
        }
    });
    assert_eq!(netpoll.counts().breaks_sent.get(), ROUNDS);
}

/// The polls that do not sleep run all the time and leave every break to the one that does.
// Case F11.
#[test]
fn polls_that_do_not_sleep_take_no_break_from_the_one_that_does() {
    const ROUNDS: usize = 1_000;
    let _alone = alone();
    let netpoll = Netpoll::new().unwrap();
    let (looks, ended) = (Counter::new(), Flag::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = PollBuffer::new();
            while !ended.is_set() {
                netpoll.netpoll(Some(0), &mut buffer).unwrap();
                looks.inc();
            }
        });
        scope.spawn(|| {
            let mut buffer = PollBuffer::new();
            until_blocking("the other one polls", || looks.get() > 0);
            for _ in 0..ROUNDS {
                wait_for_break(&netpoll, &mut buffer);
            }
            ended.set();
        });
        while !ended.is_set() {
            netpoll.wake();
            thread::yield_now();
        }
    });
    assert!(looks.get() > 0);
}
