//! The poll(2) backend against the real kernel: the wakeups of a sleeper, and the wait of a close. Other builds do not have this
//! module.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::alone;
use crate::support::*;
use netpoll_core::sync::Counter;
use netpoll_core::{Event, Mode, Modes, PollKey};
use netpoll_rt::internal::sys::{Events, Poller, Watch};

#[test]
fn a_timed_wait_is_never_early_and_a_huge_one_is_accepted() {
    let _turn = alone();
    let poller = Poller::init(true).unwrap();
    let mut events = Events::with_capacity(8);
    for timeout in [1, 999, 50_000, 999_000, 1_000_001].map(Duration::from_nanos) {
        let start = Instant::now();
        assert!(!poller.wait(&mut events, Some(timeout)).unwrap());
        assert!(start.elapsed() >= timeout, "{timeout:?} ended after {:?}", start.elapsed());
        assert!(events.is_empty());
    }
    let huge = [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_millis(u64::MAX), LONG];
    for timeout in huge.map(Some).into_iter().chain([None]) {
        assert!(asleep_until_broken(&poller, timeout), "{timeout:?}");
    }
}

fn asleep_until_broken(poller: &Poller, timeout: Option<Duration>) -> bool {
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| poller.wait(&mut Events::with_capacity(1), timeout).unwrap());
        poller.wake().unwrap();
        sleeper.join().unwrap()
    })
}

#[test]
fn breaks_before_a_wait_count_as_one_and_any_wait_consumes_them() {
    let _turn = alone();
    let poller = Poller::init(true).unwrap();
    let mut events = Events::with_capacity(8);
    for timeout in [Some(Duration::ZERO), Some(LONG), None] {
        for _ in 0..3 {
            poller.wake().unwrap();
        }
        assert!(poller.wait(&mut events, timeout).unwrap());
        assert!(events.is_empty(), "the break never leaves the backend");
        assert!(!poller.wait(&mut events, Some(Duration::ZERO)).unwrap(), "consumed");
        assert!(!poller.wait(&mut events, Some(Duration::from_nanos(1))).unwrap(), "consumed");
    }
}

#[test]
fn a_break_ends_a_sleeping_wait_and_comes_with_what_is_there() {
    let _turn = alone();
    let poller = Poller::init(true).unwrap();
    for _ in 0..100 {
        assert_eq!(asleep(&poller, || poller.wake().unwrap()), (true, vec![]));
    }
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    poller.open(ours.as_fd(), KEY, Watch::Both).unwrap();
    poller.wake().unwrap();
    let mut events = Events::with_capacity(1);
    assert!(poller.wait(&mut events, None).unwrap());
    assert_eq!((events.len(), events.get(0).modes), (1, Modes::BOTH), "the break takes no place");
}

#[test]
fn a_sleeper_takes_new_interests_in() {
    let _turn = alone();
    let poller = Poller::init(true).unwrap();
    let (ours, mut theirs) = watched(&poller);
    theirs.write_all(b"x").unwrap();
    assert_eq!(next(&poller).modes, Modes::READ);
    for mode in [Mode::Read, Mode::Write] {
        let (broken, events) = asleep(&poller, || poller.arm(ours.as_fd(), KEY, mode).unwrap());
        assert_eq!((broken, events.len()), (false, 1), "no break, and no wait in vain");
        assert_eq!((events[0].key, events[0].modes), (KEY, mode.into()));
    }
    let (other, _theirs) = UnixStream::pair().unwrap();
    let key = PollKey { slot: 8, fdseq: 1 };
    let (broken, events) = asleep(&poller, || poller.open(other.as_fd(), key, Watch::Both).unwrap());
    assert_eq!((broken, events.len(), events[0].key), (false, 1, key));
}

#[test]
fn a_close_is_seen_by_the_peer_and_frees_the_port_while_a_thread_sleeps() {
    let _turn = alone();
    let poller = Poller::init(true).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    poller.open(accepted.as_fd(), KEY, Watch::Both).unwrap();
    poller.open(listener.as_fd(), PollKey { slot: 8, fdseq: 1 }, Watch::Both).unwrap();
    while !now(&poller).is_empty() {}
    let (broken, events) = asleep(&poller, || {
        poller.close(accepted.as_fd()).unwrap();
        drop(accepted);
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the sleeper does not hold the connection");
        poller.close(listener.as_fd()).unwrap();
        drop(listener);
        TcpStream::connect(address).unwrap_err();
        poller.wake().unwrap();
    });
    assert_eq!((broken, events), (true, vec![]), "and has been asleep all along");
}

/// Every thread waits for its own socket by arming, as tasks do; one thread polls for all.
#[test]
fn many_threads_arm_and_close_while_one_sleeps_and_no_event_is_lost() {
    const THREADS: u32 = 8;
    const ROUNDS: u32 = 400;
    let _turn = alone();
    let poller = Poller::init(true).unwrap();
    let (tells, tolds): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::channel::<Event>()).unzip();
    thread::scope(|scope| {
        let poller = &poller;
        let workers: Vec<_> = (0..THREADS)
            .zip(tolds)
            .map(|(slot, told)| {
                scope.spawn(move || {
                    for fdseq in 0..ROUNDS {
                        let key = PollKey { slot, fdseq };
                        let (ours, mut theirs) = UnixStream::pair().unwrap();
                        ours.set_nonblocking(true).unwrap();
                        poller.open(ours.as_fd(), key, Watch::Both).unwrap();
                        for byte in 0..4 {
                            theirs.write_all(&[byte]).unwrap();
                            poller.arm(ours.as_fd(), key, Mode::Read).unwrap();
                            while !told.recv_timeout(LONG).expect("an event was lost").modes.read {}
                            (&ours).read_exact(&mut [0]).unwrap();
                        }
                        poller.close(ours.as_fd()).unwrap();
                        while told.try_recv().is_ok() {}
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            for worker in workers {
                worker.join().unwrap();
            }
            poller.wake().unwrap();
        });
        let mut events = Events::with_capacity(3);
        while !poller.wait(&mut events, None).unwrap() {
            for event in events.iter() {
                // Its thread may have ended with the test failed.
                let _ = tells[event.key.slot as usize].send(event);
            }
        }
    });
}

#[test]
fn two_sleepers_share_the_events_and_a_break_is_for_one() {
    let _turn = alone();
    let poller = Poller::init(true).unwrap();
    let (ours, mut theirs) = watched(&poller);
    let seen = Counter::new();
    thread::scope(|scope| {
        let sleepers = [(); 2].map(|()| {
            scope.spawn(|| {
                let mut events = Events::with_capacity(8);
                while !poller.wait(&mut events, Some(LONG)).unwrap() {
                    assert_eq!(events.len(), 1, "no wait in vain");
                    seen.inc();
                }
            })
        });
        theirs.write_all(b"x").unwrap();
        until(|| seen.get() == 1);
        for armed in 2..200 {
            poller.arm(ours.as_fd(), KEY, Mode::Read).unwrap();
            until(|| seen.get() == armed);
        }
        for left in [1, 0] {
            poller.wake().unwrap();
            until(|| sleepers.iter().filter(|sleeper| !sleeper.is_finished()).count() == left);
        }
    });
    assert_eq!(seen.get(), 199);
}

/// Lets the others run until `reached`.
fn until(reached: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !reached() {
        assert!(Instant::now() < deadline, "waited in vain");
        thread::yield_now();
    }
}
