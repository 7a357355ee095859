//! `Netpoll` driven by hand: several in one process, breaks, generations, timers in one poll.
//!
//! No worker: there is no runtime.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Probe, alone, until_blocking};
use netpoll_core::sync::Flag;
use netpoll_core::{Mode, Modes, PollKey, Wait};
use netpoll_rt::internal::netpoll::{Netpoll, PollBuffer, PollRegistration, clock};

/// A descriptor of a poller, and the end that makes it readable.
struct DescriptorInfo {
    socket: UnixStream,
    peer: UnixStream,
    slot: Option<PollRegistration>,
}

impl DescriptorInfo {
    fn new(netpoll: &Arc<Netpoll>) -> Self {
        let (socket, peer) = UnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let slot = netpoll.open(socket.as_fd()).unwrap();
        Self { socket, peer, slot: Some(slot) }
    }

    fn registration(&self) -> &PollRegistration {
        self.slot.as_ref().unwrap()
    }

    fn key(&self) -> PollKey {
        self.registration().key()
    }

    fn wait(&self, mode: Mode, probe: &Arc<Probe>) -> Wait {
        let waker = Waker::from(probe.clone());
        let registration = self.registration();
        match registration.reset(mode) {
            Err(why) => Wait::Failed(why),
            Ok(true) => Wait::Ready,
            Ok(false) => {
                let (wait, displaced) = registration.park(mode, &waker);
                displaced.into_iter().for_each(Waker::wake);
                wait
            }
        }
    }
}

impl Drop for DescriptorInfo {
    fn drop(&mut self) {
        self.registration().evict();
        self.registration().deregister(self.socket.as_fd());
        self.slot = None;
    }
}

/// Polls once and wakes what was made ready; how many there were.
fn poll(netpoll: &Netpoll, until: Option<u64>) -> usize {
    let mut buffer = PollBuffer::new();
    netpoll.netpoll(until, &mut buffer).unwrap();
    let n = buffer.len();
    buffer.drain().for_each(Waker::wake);
    n
}

// Case F04.
#[test]
fn every_generation_of_a_slot_is_another_key() {
    let _alone = alone();
    let netpoll = Netpoll::new().unwrap();
    let mut last = DescriptorInfo::new(&netpoll).key();
    for _ in 0..1000 {
        let next = DescriptorInfo::new(&netpoll);
        assert_eq!((next.key().slot, next.key().fdseq), (last.slot, last.fdseq + 1));
        last = next.key();
    }
    assert_eq!(netpoll.descriptors(), 0);
}

// Case F10.
#[test]
fn breaks_are_coalesced_and_none_is_lost() {
    const THREADS: usize = 10;
    const BREAKS: usize = 5_000;
    let _alone = alone();
    let netpoll = Netpoll::new().unwrap();
    let done = netpoll_core::sync::Counter::new();
    let (blocking, told) = (netpoll_core::sync::Counter::new(), Flag::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..BREAKS {
                    told.set();
                    netpoll.wake();
                }
                done.inc();
            });
        }
        // A break that comes after the look ends the sleep without end that follows.
        while done.get() < THREADS || told.is_set() {
            told.clear();
            if done.get() < THREADS {
                blocking.inc();
                poll(&netpoll, Some(clock::now() + 1_000_000_000));
            }
        }
    });
    let (sent, coalesced) = (netpoll.counts().breaks_sent.get(), netpoll.counts().breaks_coalesced.get());
    assert_eq!(sent + coalesced, THREADS * BREAKS);
    assert!(sent <= blocking.get() + 1, "{sent} writes for {} sleeps", blocking.get());
}

// Case F10.
#[test]
fn every_break_ends_a_sleep() {
    let _alone = alone();
    let netpoll = Netpoll::new().unwrap();
    let start = Instant::now();
    for _ in 0..200 {
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| poll(&netpoll, Some(clock::now() + 20_000_000_000)));
            netpoll.wake();
            assert_eq!(sleeper.join().unwrap(), 0);
        });
        assert!(start.elapsed() < Duration::from_secs(15), "one was lost");
    }
    // A sleep that a signal has ended leaves its break to the next one.
    let (sent, coalesced) = (netpoll.counts().breaks_sent.get(), netpoll.counts().breaks_coalesced.get());
    assert_eq!(sent + coalesced, 200);
    let interrupted = std::env::var_os("NETPOLL_DOOR").is_some();
    assert!(sent >= if interrupted { 1 } else { 200 }, "{sent} of 200 were sent");
}

// Case F11.
#[test]
fn a_poll_that_does_not_sleep_leaves_the_break() {
    let _alone = alone();
    let netpoll = Netpoll::new().unwrap();
    netpoll.wake();
    for _ in 0..3 {
        assert_eq!(poll(&netpoll, Some(0)), 0);
    }
    // If it had been consumed, this would not come back.
    assert_eq!(poll(&netpoll, None), 0);
    // One that is still pending would take this one in.
    netpoll.wake();
    assert_eq!(netpoll.counts().breaks_sent.get(), 2, "it was consumed by the one that slept");
}

// Case F17.
#[test]
fn a_second_waiter_at_the_descriptor_takes_the_parking_over() {
    let _alone = alone();
    let netpoll = Netpoll::new().unwrap();
    let watched = DescriptorInfo::new(&netpoll);
    poll(&netpoll, Some(0));
    let (first, second) = (Probe::new(), Probe::new());
    assert_eq!(watched.wait(Mode::Read, &first), Wait::Parked);
    assert_eq!(watched.wait(Mode::Read, &second), Wait::Parked);
    assert_eq!((first.wakes.get(), second.wakes.get(), netpoll.waiters()), (1, 0, 1));
    (&watched.peer).write_all(b"x").unwrap();
    assert_eq!(poll(&netpoll, None), 1);
    assert_eq!((first.wakes.get(), second.wakes.get(), netpoll.waiters()), (1, 1, 0));
}

// Case F27.
#[test]
fn one_poll_serves_a_break_an_edge_and_a_timer() {
    let _alone = alone();
    let netpoll = Netpoll::new().unwrap();
    let watched = DescriptorInfo::new(&netpoll);
    poll(&netpoll, Some(0));
    let (edge, timer, deadline) = (Probe::new(), Probe::new(), Probe::new());
    let other = DescriptorInfo::new(&netpoll);
    poll(&netpoll, Some(0));
    assert_eq!(watched.wait(Mode::Read, &edge), Wait::Parked);
    assert_eq!(other.wait(Mode::Read, &deadline), Wait::Parked);
    let at = Instant::now() + Duration::from_millis(1);
    netpoll.add_timer(clock::tick(at), Waker::from(timer.clone()));
    other.registration().set_deadline(Modes::READ, Some(at)).unwrap();
    (&watched.peer).write_all(b"x").unwrap();
    netpoll.wake();
    // A deadline is rounded up to the next millisecond on a 32-bit machine.
    until_blocking("the timers are due", || Instant::now() > at + Duration::from_millis(2));
    assert_eq!(poll(&netpoll, None), 3);
    assert_eq!([edge, timer, deadline].map(|probe| probe.wakes.get()), [1, 1, 1]);
    assert_eq!((netpoll.waiters(), netpoll.timers()), (0, 0));
}

// Case F31.
#[test]
fn several_pollers_do_not_know_of_each_other() {
    let _alone = alone();
    let (a, b) = (Netpoll::new().unwrap(), Netpoll::new().unwrap());
    let (in_a, in_b) = (DescriptorInfo::new(&a), DescriptorInfo::new(&b));
    poll(&a, Some(0));
    poll(&b, Some(0));
    let (probe_a, probe_b) = (Probe::new(), Probe::new());
    assert_eq!(in_a.wait(Mode::Read, &probe_a), Wait::Parked);
    assert_eq!(in_b.wait(Mode::Read, &probe_b), Wait::Parked);
    (&in_b.peer).write_all(b"x").unwrap();
    assert_eq!(poll(&a, Some(0)), 0);
    assert_eq!(poll(&b, None), 1);
    assert_eq!((probe_a.wakes.get(), probe_b.wakes.get()), (0, 1));
    drop(in_a.registration().retract(Mode::Read));
    assert_eq!((a.waiters(), Arc::strong_count(&probe_a)), (0, 1));
}

// Case F32.
#[test]
fn a_burst_of_timers_is_spread_over_polls_and_none_is_late_for_ever() {
    let _alone = alone();
    let netpoll = Netpoll::new().unwrap();
    let probe = Probe::new();
    for _ in 0..2_000 {
        netpoll.add_timer(1, Waker::from(probe.clone()));
    }
    let mut polls = 0;
    while netpoll.timers() > 0 {
        assert!(poll(&netpoll, Some(0)) > 0);
        polls += 1;
    }
    assert_eq!((probe.wakes.get(), Arc::strong_count(&probe)), (2_000, 1));
    assert!(polls > 1, "a burst does not stall the network");
}
