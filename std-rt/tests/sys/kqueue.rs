//! The kqueue backend against a real kqueue: timeouts, the break, events, errors. Other builds do not have this module;
//! `epoll.rs` and `poll.rs` test the same of theirs.
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::alone;
use netpoll_core::{Event, Mode, Modes, PollKey};
use netpoll_rt::internal::sys::{Events, Poller, Watch, signal, socket};

const KEY: PollKey = PollKey { slot: 7, fdseq: 41 };

/// Longer than any test may take: a wait that runs into it has failed.
const LONG: Duration = Duration::from_secs(30);

/// Waits until an event satisfies `enough`; each direction is an event of its own, and some come twice.
fn wait_until(poller: &Poller, enough: impl Fn(&Event) -> bool) -> Event {
    let mut events = Events::with_capacity(8);
    let deadline = Instant::now() + LONG;
    loop {
        assert!(!poller.wait(&mut events, Some(LONG)).unwrap(), "nobody has sent a break");
        if let Some(event) = events.iter().find(&enough) {
            return event;
        }
        assert!(Instant::now() < deadline, "the event did not come");
    }
}

/// Takes all that is there.
fn look(poller: &Poller) -> Vec<Event> {
    let mut events = Events::with_capacity(64);
    assert!(!poller.wait(&mut events, Some(Duration::ZERO)).unwrap());
    events.iter().collect()
}

#[test]
fn a_timed_wait_is_never_early_and_a_huge_one_is_accepted() {
    let _alone = alone();
    let poller = Poller::init(true).unwrap();
    let mut events = Events::with_capacity(8);
    for timeout in [1, 999, 50_000, 999_000, 1_000_001].map(Duration::from_nanos) {
        let start = Instant::now();
        assert!(!poller.wait(&mut events, Some(timeout)).unwrap());
        assert!(start.elapsed() >= timeout, "{timeout:?} ended after {:?}", start.elapsed());
        assert!(events.is_empty());
    }
    let huge = [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(1_000_001), LONG];
    for timeout in huge.map(Some).into_iter().chain([None]) {
        poller.wake().unwrap();
        assert!(poller.wait(&mut events, timeout).unwrap(), "{timeout:?}");
        assert!(events.is_empty());
    }
}

#[test]
fn breaks_before_a_wait_count_as_one_and_any_wait_consumes_them() {
    let _alone = alone();
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
fn a_break_ends_a_sleeping_wait() {
    let _alone = alone();
    let poller = Poller::init(true).unwrap();
    for timeout in [None, Some(LONG)] {
        for _ in 0..100 {
            thread::scope(|scope| {
                let sleeper = scope.spawn(|| poller.wait(&mut Events::with_capacity(8), timeout));
                poller.wake().unwrap();
                assert!(sleeper.join().unwrap().unwrap());
            });
        }
    }
}

#[test]
fn a_break_and_edges_come_in_one_wait() {
    let _alone = alone();
    let poller = Poller::init(true).unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    poller.wake().unwrap();
    theirs.write_all(b"x").unwrap();
    poller.open(ours.as_fd(), KEY, Watch::Both).unwrap();
    let mut events = Events::with_capacity(8);
    assert!(poller.wait(&mut events, Some(LONG)).unwrap());
    assert!(events.iter().all(|event| event.key == KEY));
    let modes: BTreeSet<_> = events.iter().map(|event| (event.modes.read, event.modes.write)).collect();
    assert_eq!(modes, BTreeSet::from([(true, false), (false, true)]));
}

#[test]
fn an_edge_is_reported_once_until_the_next_one() {
    let _alone = alone();
    let poller = Poller::init(true).unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    poller.open(ours.as_fd(), KEY, Watch::Both).unwrap();
    let event = wait_until(&poller, |_| true);
    assert_eq!((event.key, event.modes), (KEY, Modes::WRITE), "writable from the start");
    poller.arm(ours.as_fd(), KEY, Mode::Read).unwrap();
    assert!(look(&poller).is_empty(), "arm asks for nothing on an edge-triggered kernel");
    for _ in 0..2 {
        theirs.write_all(b"x").unwrap();
        assert!(wait_until(&poller, |event| event.modes.read).key == KEY);
        assert!(look(&poller).iter().all(|event| !event.modes.read), "edge-triggered");
    }
}

#[test]
fn the_end_of_the_peer_wakes_both_directions() {
    let _alone = alone();
    let poller = Poller::init(true).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    poller.open(ours.as_fd(), KEY, Watch::Both).unwrap();
    theirs.shutdown(std::net::Shutdown::Write).unwrap();
    let event = wait_until(&poller, |event| event.flags.read_hup);
    assert_eq!((event.key, event.modes), (KEY, Modes::BOTH));
    assert!(!event.flags.hup && !event.flags.err);
}

#[test]
fn a_pipe_without_a_reader_is_no_refusal() {
    let _alone = alone();
    let poller = Poller::init(true).unwrap();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    poller.open(writer.as_fd(), KEY, Watch::Both).unwrap();
    poller.close(writer.as_fd()).unwrap();
    assert!(look(&poller).is_empty());
}

#[test]
fn refusals_are_returned_and_change_nothing() {
    let _alone = alone();
    let poller = Poller::init(true).unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let other = PollKey { slot: 8, fdseq: 1 };
    poller.open(ours.as_fd(), KEY, Watch::Both).unwrap();
    assert_eq!(
        poller.open(ours.as_fd(), other, Watch::Both).unwrap_err().kind(),
        io::ErrorKind::AlreadyExists
    );
    assert_eq!(wait_until(&poller, |_| true).key, KEY);
    poller.close(ours.as_fd()).unwrap();
    assert_eq!(poller.close(ours.as_fd()).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(look(&poller).is_empty(), "no wait names a key that was closed");
    poller.open(ours.as_fd(), other, Watch::Both).unwrap();
    assert_eq!(wait_until(&poller, |_| true).key, other);
    for path in [std::env::current_exe().unwrap(), "/".into()] {
        let file = File::open(&path).unwrap();
        let refused = poller.open(file.as_fd(), KEY, Watch::Both).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{path:?}");
    }
}

#[test]
fn a_limited_wait_leaves_the_rest_for_the_next() {
    let _alone = alone();
    let poller = Poller::init(true).unwrap();
    let pairs: Vec<_> = (0..10).map(|_| UnixStream::pair().unwrap()).collect();
    for (slot, (ours, _)) in (0..).zip(&pairs) {
        poller.open(ours.as_fd(), PollKey { slot, fdseq: 1 }, Watch::Both).unwrap();
    }
    let mut events = Events::with_capacity(4);
    let mut seen = BTreeSet::new();
    for (limit, expected) in [(3, 3), (0, 1), (100, 4), (4, 2)] {
        events.set_limit(limit);
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.len(), expected, "limit {limit}");
        assert_eq!(events.iter().len(), expected);
        seen.extend(events.iter().map(|event| event.key.slot));
    }
    assert_eq!(seen, (0..10).collect());
}

#[test]
fn a_number_that_is_used_again_is_reported_under_its_new_key() {
    let _alone = alone();
    let poller = Poller::init(true).unwrap();
    for fdseq in 0..200 {
        let key = PollKey { slot: 3, fdseq };
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        poller.open(ours.as_fd(), key, Watch::Both).unwrap();
        theirs.write_all(b"x").unwrap();
        assert_eq!(wait_until(&poller, |event| event.modes.read).key, key);
        poller.close(ours.as_fd()).unwrap();
    }
    // close(2) takes the filters along, and an open that follows finds none.
    let (ours, _theirs) = UnixStream::pair().unwrap();
    poller.open(ours.as_fd(), KEY, Watch::Both).unwrap();
    socket::set_nonblocking(ours.as_fd(), true).unwrap();
    poller.close(ours.as_fd()).unwrap();
    drop(ours);
    assert!(look(&poller).is_empty());
}

/// A kqueue is such a thing: it has no filter for writes.
#[test]
fn what_can_only_be_read_is_watched_for_that() {
    let _alone = alone();
    let poller = Poller::init(true).unwrap();
    let (source, _) = signal::new_source().unwrap();
    poller.open(source.as_fd(), KEY, Watch::Both).unwrap();
    assert!(look(&poller).is_empty(), "no signal is listened to, and there is no room to write");
    poller.close(source.as_fd()).unwrap();
    assert_eq!(poller.close(source.as_fd()).unwrap_err().kind(), io::ErrorKind::NotFound);
}
