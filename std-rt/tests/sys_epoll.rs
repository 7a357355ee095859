//! The epoll backend against the real kernel: translation, timeouts, the break, events, errors, descriptors.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use netpoll_core::poll_key::{Event, EventFlags, Mode, Modes, PollKey};
use netpoll_rt::sys::{Events, Poller, set_timer_slack, socket, translate};

const IN: u32 = 0x001;
const PRI: u32 = 0x002;
const OUT: u32 = 0x004;
const ERR: u32 = 0x008;
const HUP: u32 = 0x010;
const RDHUP: u32 = 0x2000;

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

/// One test at a time: one of them counts the descriptors of the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Both ways to wait: through `epoll_pwait2` and without it.
fn pollers() -> [Poller; 2] {
    [true, false].map(|probe| Poller::init_with(probe).unwrap())
}

/// Waits until an event satisfies `enough`; edges come one by one and some come twice.
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

/// Returns once the thread of `/proc/<path>` sleeps in the kernel.
fn await_asleep(path: &str) {
    let deadline = Instant::now() + LONG;
    let asleep = || fs::read_to_string(format!("/proc/{path}/stat")).unwrap().contains(") S ");
    while !asleep() {
        assert!(Instant::now() < deadline, "the thread never slept");
        thread::yield_now();
    }
}

fn open_descriptors() -> HashSet<String> {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Columns: bits, read side, write side, event_err, read_hup, hup, err.
type Row = (u32, bool, bool, bool, bool, bool, bool);

#[test]
fn translation_has_one_row_per_documented_combination() {
    const T: bool = true;
    const F: bool = false;
    let rows: [Row; 20] = [
        (0, F, F, F, F, F, F),
        (PRI, F, F, F, F, F, F),
        (IN, T, F, F, F, F, F),
        (OUT, F, T, F, F, F, F),
        (IN | OUT, T, T, F, F, F, F),
        (IN | PRI, T, F, F, F, F, F),
        (RDHUP, T, F, F, T, F, F),
        (IN | RDHUP, T, F, F, T, F, F),
        (OUT | RDHUP, T, T, F, T, F, F),
        (IN | OUT | RDHUP, T, T, F, T, F, F),
        (HUP, T, T, F, F, T, F),
        (IN | HUP, T, T, F, F, T, F),
        (OUT | HUP, T, T, F, F, T, F),
        (IN | RDHUP | HUP, T, T, F, T, T, F),
        (IN | OUT | RDHUP | HUP, T, T, F, T, T, F),
        (ERR, T, T, T, F, F, T),
        (IN | ERR, T, T, F, F, F, T),
        (OUT | ERR, T, T, F, F, F, T),
        (ERR | HUP, T, T, F, F, T, T),
        (IN | OUT | RDHUP | HUP | ERR, T, T, F, T, T, T),
    ];
    for (bits, read, write, event_err, read_hup, hup, err) in rows {
        let flags = EventFlags { event_err, read_hup, hup, err, urgent: bits & 0x2 != 0 };
        let expected = Event { key: KEY, modes: Modes { read, write }, flags };
        assert_eq!(translate(KEY.to_bits(), bits), expected, "bits {bits:#x}");
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
            assert!(!poller.wait(&mut events, Some(timeout)).unwrap());
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
        assert!(!poller.wait(&mut events, Some(Duration::ZERO)).unwrap());
        let huge = [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_millis(u64::MAX), LONG];
        for timeout in huge.map(Some).into_iter().chain([None]) {
            poller.wake().unwrap();
            assert!(poller.wait(&mut events, timeout).unwrap(), "{timeout:?}");
            assert!(events.is_empty());
        }
    }
}

#[test]
fn breaks_before_a_wait_count_as_one_and_only_a_blocking_wait_consumes_them() {
    let _turn = alone();
    let mut events = Events::with_capacity(8);
    for poller in pollers() {
        for _ in 0..3 {
            poller.wake().unwrap();
        }
        for _ in 0..3 {
            assert!(!poller.wait(&mut events, Some(Duration::ZERO)).unwrap());
            assert!(events.is_empty(), "the break never leaves the backend");
        }
        assert!(poller.wait(&mut events, Some(LONG)).unwrap());
        assert!(!poller.wait(&mut events, Some(Duration::from_nanos(1))).unwrap(), "consumed");
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
                    poller.wait(&mut Events::with_capacity(8), timeout)
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
    let poller = Poller::init().unwrap();
    let mut eventfd = File::from(poller.break_fd().try_clone_to_owned().unwrap());
    eventfd.write_all(&(u64::MAX - 1).to_ne_bytes()).unwrap();
    let full = eventfd.write_all(&1_u64.to_ne_bytes()).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    poller.wake().unwrap();
    let mut events = Events::with_capacity(8);
    assert!(poller.wait(&mut events, None).unwrap());
    assert!(!poller.wait(&mut events, Some(Duration::from_nanos(1))).unwrap());
}

#[test]
fn a_break_and_an_edge_come_in_one_wait() {
    let _turn = alone();
    let mut events = Events::with_capacity(8);
    for poller in pollers() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        poller.wake().unwrap();
        theirs.write_all(b"x").unwrap();
        poller.open(ours.as_fd(), KEY).unwrap();
        assert!(poller.wait(&mut events, Some(LONG)).unwrap());
        assert_eq!(events.len(), 1);
        assert_eq!(events.get(0), translate(KEY.to_bits(), IN | OUT));
    }
}

#[test]
fn an_edge_is_reported_once_until_the_next_one() {
    let _turn = alone();
    let mut events = Events::with_capacity(8);
    for poller in pollers() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        poller.open(ours.as_fd(), KEY).unwrap();
        let event = wait_until(&poller, |_| true);
        assert_eq!(event, translate(KEY.to_bits(), OUT), "writable from the start");
        poller.arm(ours.as_fd(), KEY, Mode::Read).unwrap();
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty(), "arm asks for nothing on an edge-triggered kernel");
        for _ in 0..2 {
            theirs.write_all(b"x").unwrap();
            assert!(wait_until(&poller, |_| true).modes.read);
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
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
        poller.open(ours.as_fd(), KEY).unwrap();

        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let event = wait_until(&poller, |event| event.flags.read_hup);
        assert!(event.key == KEY && event.modes.read && !event.flags.hup && !event.flags.err);

        socket::set_linger(theirs.as_fd(), Some(Duration::ZERO)).unwrap();
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
        poller.open(writer.as_fd(), KEY).unwrap();
        drop(reader);
        assert_eq!(wait_until(&poller, |_| true), translate(KEY.to_bits(), ERR));
    }
}

#[test]
fn refusals_of_the_kernel_are_returned_and_change_nothing() {
    let _turn = alone();
    let poller = Poller::init().unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let other = PollKey { slot: 8, fdseq: 1 };

    poller.open(ours.as_fd(), KEY).unwrap();
    let twice = poller.open(ours.as_fd(), other).unwrap_err();
    assert_eq!(twice.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(wait_until(&poller, |_| true).key, KEY);

    poller.close(ours.as_fd()).unwrap();
    assert_eq!(poller.close(ours.as_fd()).unwrap_err().kind(), io::ErrorKind::NotFound);
    poller.open(ours.as_fd(), other).unwrap();
    assert_eq!(wait_until(&poller, |_| true).key, other);

    let file = File::open("/proc/self/exe").unwrap();
    assert_eq!(poller.open(file.as_fd(), KEY).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn a_limited_wait_leaves_the_rest_for_the_next() {
    let _turn = alone();
    let poller = Poller::init().unwrap();
    let pairs: Vec<_> = (0..10).map(|_| UnixStream::pair().unwrap()).collect();
    for (slot, (ours, _)) in (0..).zip(&pairs) {
        poller.open(ours.as_fd(), PollKey { slot, fdseq: 1 }).unwrap();
    }
    let mut events = Events::with_capacity(4);
    let mut seen = HashSet::new();
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
fn a_poller_takes_two_descriptors_and_gives_both_back() {
    let _turn = alone();
    let before = open_descriptors();
    for probe in [true, false].into_iter().cycle().take(100) {
        let poller = Poller::init_with(probe).unwrap();
        assert_eq!(open_descriptors().len(), before.len() + 2);
        poller.wake().unwrap();
        assert!(poller.wait(&mut Events::with_capacity(1), Some(LONG)).unwrap());
    }
    assert_eq!(open_descriptors(), before);
}
