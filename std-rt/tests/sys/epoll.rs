//! The epoll backend against the real kernel: timeouts, the break, events, errors, descriptors. Other builds do not have
//! this module; `poll.rs` and `kqueue.rs` test the same of theirs.
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{alone, open_descriptors};
use netpoll_core::poll::translate::epoll::{ERR, IN, OUT, translate};
use netpoll_core::{Event, Mode, Modes, PollKey};
use netpoll_rt::internal::sys::{Events, Poller, Watch, set_timer_slack, socket, sockopt};

const KEY: PollKey = PollKey { slot: 7, fdseq: 41 };

/// Longer than any test may take: a wait that runs into it has failed.
const LONG: Duration = Duration::from_secs(30);

const SHORT: [Duration; 5] = [
    Duration::from_nanos(1),
    Duration::from_nanos(999),
    Duration::from_micros(50),
    Duration::from_micros(999),
    Duration::from_millis(1),
];

/// Returns two pollers, one that waits with `epoll_pwait2` and one without it.
fn pollers() -> [Poller; 2] {
    [true, false].map(|probe| Poller::init(probe).unwrap())
}

/// Waits as [`Poller::wait`] does, again with the remaining time after a signal.
fn wait(poller: &Poller, events: &mut Events, timeout: Option<Duration>) -> io::Result<bool> {
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut left = timeout;
    loop {
        let broken = poller.wait(events, left)?;
        left = end.map_or(timeout, |end| Some(end.saturating_duration_since(Instant::now())));
        if broken || !events.is_empty() || left == Some(Duration::ZERO) {
            return Ok(broken);
        }
    }
}

/// Waits until an event satisfies `enough`; edges come one by one and some come twice.
fn wait_until(poller: &Poller, enough: impl Fn(&Event) -> bool) -> Event {
    let mut events = Events::with_capacity(8);
    let deadline = Instant::now() + LONG;
    loop {
        assert!(!wait(poller, &mut events, Some(LONG)).unwrap(), "nobody has sent a break");
        if let Some(event) = events.iter().find(&enough) {
            return event;
        }
        assert!(Instant::now() < deadline, "the event did not come");
    }
}

/// Returns once the thread of `/proc/<path>` sleeps in the kernel.
fn await_asleep(path: &str) {
    let deadline = Instant::now() + LONG;
    let asleep = || fs::read_to_string(format!("/proc/{path}/stat")).unwrap().contains(") S ");
    while !asleep() {
        assert!(Instant::now() < deadline, "the thread never slept");
        thread::yield_now();
    }
}

#[test]
fn a_timed_wait_is_never_early() {
    let _turn = alone();
    let before = set_timer_slack(1).unwrap();
    let mut events = Events::with_capacity(8);
    for poller in pollers() {
        for timeout in SHORT {
            let start = Instant::now();
            assert!(!wait(&poller, &mut events, Some(timeout)).unwrap());
            assert!(start.elapsed() >= timeout, "{timeout:?} ended after {:?}", start.elapsed());
            assert!(events.is_empty());
        }
    }
    assert_eq!(set_timer_slack(before).unwrap(), 1);
}

#[test]
fn a_zero_timeout_does_not_sleep_and_a_huge_one_is_accepted() {
    let _turn = alone();
    let mut events = Events::with_capacity(8);
    for poller in pollers() {
        assert!(!wait(&poller, &mut events, Some(Duration::ZERO)).unwrap());
        let huge = [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_millis(u64::MAX), LONG];
        for timeout in huge.map(Some).into_iter().chain([None]) {
            poller.wake().unwrap();
            assert!(wait(&poller, &mut events, timeout).unwrap(), "{timeout:?}");
            assert!(events.is_empty());
        }
    }
}

#[test]
fn breaks_before_a_wait_count_as_one_and_any_wait_consumes_them() {
    let _turn = alone();
    let mut events = Events::with_capacity(8);
    for poller in pollers() {
        for timeout in [Some(Duration::ZERO), Some(LONG), None] {
            for _ in 0..3 {
                poller.wake().unwrap();
            }
            assert!(wait(&poller, &mut events, timeout).unwrap());
            assert!(events.is_empty(), "the break never leaves the backend");
            assert!(!wait(&poller, &mut events, Some(Duration::ZERO)).unwrap(), "consumed");
            assert!(!wait(&poller, &mut events, Some(Duration::from_nanos(1))).unwrap(), "consumed");
        }
    }
}

#[test]
fn a_break_ends_a_sleeping_wait() {
    let _turn = alone();
    for poller in pollers() {
        for timeout in [None, Some(LONG)] {
            let (tell, told) = mpsc::channel();
            thread::scope(|scope| {
                let sleeper = scope.spawn(|| {
                    let path = fs::read_link("/proc/thread-self").unwrap();
                    tell.send(path.to_str().unwrap().to_owned()).unwrap();
                    wait(&poller, &mut Events::with_capacity(8), timeout)
                });
                await_asleep(&told.recv().unwrap());
                poller.wake().unwrap();
                assert!(sleeper.join().unwrap().unwrap());
            });
        }
    }
}

#[test]
fn a_break_on_a_full_counter_counts_as_delivered() {
    let _turn = alone();
    let poller = Poller::init(true).unwrap();
    let mut eventfd = File::from(poller.break_fd().try_clone_to_owned().unwrap());
    eventfd.write_all(&(u64::MAX - 1).to_ne_bytes()).unwrap();
    let full = eventfd.write_all(&1_u64.to_ne_bytes()).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    poller.wake().unwrap();
    let mut events = Events::with_capacity(8);
    assert!(wait(&poller, &mut events, None).unwrap());
    assert!(!wait(&poller, &mut events, Some(Duration::from_nanos(1))).unwrap());
}

#[test]
fn a_break_and_an_edge_come_in_one_wait() {
    let _turn = alone();
    let mut events = Events::with_capacity(8);
    for poller in pollers() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        poller.wake().unwrap();
        theirs.write_all(b"x").unwrap();
        poller.open(ours.as_fd(), KEY, Watch::Both).unwrap();
        assert!(wait(&poller, &mut events, Some(LONG)).unwrap());
        assert_eq!(events.len(), 1);
        assert_eq!(events.get(0), translate(KEY, IN | OUT));
    }
}

#[test]
fn an_edge_is_reported_once_until_the_next_one() {
    let _turn = alone();
    let mut events = Events::with_capacity(8);
    for poller in pollers() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        poller.open(ours.as_fd(), KEY, Watch::Both).unwrap();
        let event = wait_until(&poller, |_| true);
        assert_eq!(event, translate(KEY, OUT), "writable from the start");
        poller.arm(ours.as_fd(), KEY, Mode::Read).unwrap();
        wait(&poller, &mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty(), "arm asks for nothing on an edge-triggered kernel");
        for _ in 0..2 {
            theirs.write_all(b"x").unwrap();
            assert!(wait_until(&poller, |_| true).modes.read);
            wait(&poller, &mut events, Some(Duration::ZERO)).unwrap();
            assert!(events.is_empty(), "edge-triggered");
        }
    }
}

#[test]
fn what_the_peer_does_shows_in_the_flags() {
    let _turn = alone();
    for poller in pollers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        poller.open(ours.as_fd(), KEY, Watch::Both).unwrap();

        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let event = wait_until(&poller, |event| event.flags.read_hup);
        assert!(event.key == KEY && event.modes.read && !event.flags.hup && !event.flags.err);

        sockopt::set_linger(theirs.as_fd(), Some(Duration::ZERO)).unwrap();
        drop(theirs);
        let event = wait_until(&poller, |event| event.flags.err);
        assert!(event.flags.hup && event.modes == Modes::BOTH && !event.flags.event_err);
    }
}

#[test]
fn a_full_pipe_without_a_reader_is_an_event_error() {
    let _turn = alone();
    for poller in pollers() {
        let (reader, writer) = io::pipe().unwrap();
        socket::set_nonblocking(writer.as_fd(), true).unwrap();
        // While there is room the pipe is writable as well, and ERR does not stand alone.
        while socket::write(writer.as_fd(), &[0; 4096]).is_ok() {}
        poller.open(writer.as_fd(), KEY, Watch::Both).unwrap();
        drop(reader);
        assert_eq!(wait_until(&poller, |_| true), translate(KEY, ERR));
    }
}

#[test]
fn refusals_of_the_kernel_are_returned_and_change_nothing() {
    let _turn = alone();
    let poller = Poller::init(true).unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let other = PollKey { slot: 8, fdseq: 1 };

    poller.open(ours.as_fd(), KEY, Watch::Both).unwrap();
    let twice = poller.open(ours.as_fd(), other, Watch::Both).unwrap_err();
    assert_eq!(twice.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(wait_until(&poller, |_| true).key, KEY);

    poller.close(ours.as_fd()).unwrap();
    assert_eq!(poller.close(ours.as_fd()).unwrap_err().kind(), io::ErrorKind::NotFound);
    poller.open(ours.as_fd(), other, Watch::Both).unwrap();
    assert_eq!(wait_until(&poller, |_| true).key, other);

    let file = File::open("/proc/self/exe").unwrap();
    assert_eq!(
        poller.open(file.as_fd(), KEY, Watch::Both).unwrap_err().kind(),
        io::ErrorKind::PermissionDenied
    );
}

#[test]
fn a_limited_wait_leaves_the_rest_for_the_next() {
    let _turn = alone();
    let poller = Poller::init(true).unwrap();
    let pairs: Vec<_> = (0..10).map(|_| UnixStream::pair().unwrap()).collect();
    for (slot, (ours, _)) in (0..).zip(&pairs) {
        poller.open(ours.as_fd(), PollKey { slot, fdseq: 1 }, Watch::Both).unwrap();
    }
    let mut events = Events::with_capacity(4);
    let mut seen = HashSet::new();
    for (limit, expected) in [(3, 3), (0, 1), (100, 4), (4, 2)] {
        events.set_limit(limit);
        wait(&poller, &mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.len(), expected, "limit {limit}");
        assert_eq!(events.iter().len(), expected);
        seen.extend(events.iter().map(|event| event.key.slot));
    }
    assert_eq!(seen, (0..10).collect());
}

#[test]
fn a_poller_takes_two_descriptors_and_gives_both_back() {
    let _turn = alone();
    let before = open_descriptors();
    for probe in [true, false].into_iter().cycle().take(100) {
        let poller = Poller::init(probe).unwrap();
        assert_eq!(open_descriptors().len(), before.len() + 2 + usize::from(cfg!(netpoll_door)));
        poller.wake().unwrap();
        assert!(wait(&poller, &mut Events::with_capacity(1), Some(LONG)).unwrap());
    }
    assert_eq!(open_descriptors(), before);
}
