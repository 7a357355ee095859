//! The poll(2) backend against the real kernel: arming, events, refusals. Other builds do not have
//! this module; `epoll.rs` and `kqueue.rs` test the same of theirs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::common::alone;
use crate::support::*;
use netpoll_core::{Mode, Modes, PollKey};
use netpoll_rt::internal::sys::{Events, Poller, Watch, socket, sockopt};

#[test]
fn an_event_disarms_and_arming_asks_again() {
    let _turn = alone();
    let poller = Poller::init(true).unwrap();
    let (ours, mut theirs) = watched(&poller);
    theirs.write_all(b"x").unwrap();
    assert_eq!(next(&poller).modes, Modes::READ, "armed since it was opened");
    for _ in 0..3 {
        assert!(now(&poller).is_empty(), "level-triggered, and nobody has asked");
    }
    for _ in 0..3 {
        poller.arm(ours.as_fd(), KEY, Mode::Read).unwrap();
        poller.arm(ours.as_fd(), KEY, Mode::Read).unwrap();
        assert_eq!(next(&poller).modes, Modes::READ, "it is there still");
        assert!(now(&poller).is_empty(), "once");
    }
    poller.arm(ours.as_fd(), KEY, Mode::Write).unwrap();
    assert_eq!(next(&poller).modes, Modes::WRITE, "the directions are armed one by one");
    assert!(now(&poller).is_empty());
}

#[test]
fn an_arm_without_a_waiter_is_one_event() {
    let _turn = alone();
    let poller = Poller::init(true).unwrap();
    let (ours, mut theirs) = watched(&poller);
    poller.arm(ours.as_fd(), KEY, Mode::Read).unwrap();
    for _ in 0..10 {
        theirs.write_all(b"forgotten").unwrap();
    }
    assert_eq!(next(&poller).modes, Modes::READ);
    assert!(now(&poller).is_empty());
}

#[test]
fn a_number_that_is_used_again_is_reported_under_its_new_key() {
    let _turn = alone();
    let poller = Poller::init(true).unwrap();
    for fdseq in 0..500 {
        let key = PollKey { slot: 3, fdseq };
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        poller.open(ours.as_fd(), key, Watch::Both).unwrap();
        theirs.write_all(b"x").unwrap();
        let event = next(&poller);
        assert_eq!((event.key, event.modes), (key, Modes::BOTH));
        let stale = PollKey { fdseq: fdseq.wrapping_sub(1), ..key };
        assert_eq!(poller.arm(ours.as_fd(), stale, Mode::Read).unwrap_err().kind(), io::ErrorKind::NotFound);
        poller.close(ours.as_fd()).unwrap();
    }
}

#[test]
fn actions_of_the_peer_show_in_the_flags_without_a_waiter() {
    let _turn = alone();
    let poller = Poller::init(true).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut theirs, _) = listener.accept().unwrap();
    poller.open(ours.as_fd(), KEY, Watch::Both).unwrap();
    assert_eq!(next(&poller).modes, Modes::WRITE);
    theirs.write_all(b"unread").unwrap();
    assert_eq!(next(&poller).modes, Modes::READ);

    theirs.shutdown(std::net::Shutdown::Write).unwrap();
    let event = next(&poller);
    assert!(event.key == KEY && event.modes.read && event.flags.read_hup && !event.flags.hup);
    assert!(now(&poller).is_empty(), "said once");

    sockopt::set_linger(theirs.as_fd(), Some(Duration::ZERO)).unwrap();
    drop(theirs);
    poller.arm(ours.as_fd(), KEY, Mode::Write).unwrap();
    let event = next(&poller);
    assert!(event.flags.hup && event.flags.err && event.modes == Modes::BOTH && !event.flags.event_err);
    assert!(now(&poller).is_empty(), "a hang-up is reported as long as anything is asked: nothing is");
}

#[test]
fn an_error_is_an_event_error_if_there_was_to_be_something_to_read() {
    let _turn = alone();
    let poller = Poller::init(true).unwrap();
    let (reader, writer) = io::pipe().unwrap();
    socket::set_nonblocking(writer.as_fd(), true).unwrap();
    while socket::write(writer.as_fd(), &[0; 4096]).is_ok() {}
    poller.open(writer.as_fd(), KEY, Watch::Both).unwrap();
    drop(reader);
    let event = next(&poller);
    assert!(event.flags.event_err && event.flags.err);
    // It is there for good, whichever direction asks: a reader must be told, or it would ask again and again.
    for (mode, event_err) in [(Mode::Write, false), (Mode::Read, true)] {
        poller.arm(writer.as_fd(), KEY, mode).unwrap();
        let event = next(&poller);
        assert!(event.flags.err && event.flags.event_err == event_err, "{mode:?}: {event:?}");
    }

    let refusing = UdpSocket::bind("127.0.0.1:0").unwrap();
    let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
    ours.connect(refusing.local_addr().unwrap()).unwrap();
    let key = PollKey { slot: 8, fdseq: 1 };
    poller.open(ours.as_fd(), key, Watch::Both).unwrap();
    assert_eq!(next(&poller).modes, Modes::WRITE);
    drop(refusing);
    ours.send(b"x").unwrap();
    let event = next(&poller);
    assert!(event.key == key && event.flags.err && event.flags.event_err, "{event:?}");
}

#[test]
fn refusals_are_returned_and_change_nothing() {
    let _turn = alone();
    let poller = Poller::init(true).unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let other = PollKey { slot: 8, fdseq: 1 };
    poller.open(ours.as_fd(), KEY, Watch::Both).unwrap();
    assert_eq!(
        poller.open(ours.as_fd(), other, Watch::Both).unwrap_err().kind(),
        io::ErrorKind::AlreadyExists
    );
    assert_eq!(next(&poller).key, KEY);
    poller.close(ours.as_fd()).unwrap();
    assert_eq!(poller.close(ours.as_fd()).unwrap_err().kind(), io::ErrorKind::NotFound);
    let arm = poller.arm(ours.as_fd(), KEY, Mode::Read).unwrap_err();
    assert_eq!(arm.kind(), io::ErrorKind::NotFound);
    poller.open(ours.as_fd(), other, Watch::Both).unwrap();
    assert_eq!(next(&poller).key, other);
    for path in ["/proc/self/exe", "/"] {
        let file = File::open(path).unwrap();
        let refused = poller.open(file.as_fd(), KEY, Watch::Both).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{path}");
    }
}

#[test]
fn a_limited_wait_leaves_the_rest_and_starves_no_descriptor() {
    let _turn = alone();
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
        seen.extend(events.iter().map(|event| event.key.slot));
    }
    assert_eq!(seen, (0..10).collect());
    // All are writable and armed again at once, and each has its turn.
    let mut turns = [0; 10];
    events.set_limit(1);
    for _ in 0..100 {
        for (slot, (ours, _)) in (0..).zip(&pairs) {
            poller.arm(ours.as_fd(), PollKey { slot, fdseq: 1 }, Mode::Write).unwrap();
        }
        poller.wait(&mut events, None).unwrap();
        turns[events.get(0).key.slot as usize] += 1;
    }
    assert_eq!(turns, [10; 10]);
}

#[test]
fn a_poller_takes_two_descriptors_and_gives_both_back() {
    let _turn = alone();
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for _ in 0..100 {
        let poller = Poller::init(true).unwrap();
        assert_eq!(open(), before + 2);
        poller.wake().unwrap();
        assert!(poller.wait(&mut Events::with_capacity(1), Some(LONG)).unwrap());
    }
    assert_eq!(open(), before);
}
