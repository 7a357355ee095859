//! The support of the tests of the poll(2) backend.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use netpoll_core::{Event, Modes, PollKey};
use netpoll_rt::internal::sys::{Events, Poller, Watch};

pub const KEY: PollKey = PollKey { slot: 7, fdseq: 41 };

/// Longer than any test may take: a wait that runs into it has failed.
pub const LONG: Duration = Duration::from_secs(30);

/// Returns the events of a poll that does not wait.
pub fn now(poller: &Poller) -> Vec<Event> {
    let mut events = Events::with_capacity(64);
    assert!(!poller.wait(&mut events, Some(Duration::ZERO)).unwrap());
    events.iter().collect()
}

/// Waits for exactly one event and returns it.
pub fn next(poller: &Poller) -> Event {
    let mut events = Events::with_capacity(64);
    assert!(!poller.wait(&mut events, Some(LONG)).unwrap(), "nobody has sent a break");
    assert_eq!(events.len(), 1, "{events:?}");
    events.get(0)
}

/// Returns a pair, one end of it watched and found writable.
pub fn watched(poller: &Poller) -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    poller.open(ours.as_fd(), KEY, Watch::Both).unwrap();
    assert_eq!(next(poller).modes, Modes::WRITE);
    (ours, theirs)
}

/// Runs `meanwhile` while another thread sleeps in a wait; returns that thread's result.
pub fn asleep(poller: &Poller, meanwhile: impl FnOnce()) -> (bool, Vec<Event>) {
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            let path = fs::read_link("/proc/thread-self").unwrap();
            tell.send(path.to_str().unwrap().to_owned()).unwrap();
            let mut events = Events::with_capacity(64);
            let broken = poller.wait(&mut events, None).unwrap();
            (broken, events.iter().collect())
        });
        let path = format!("/proc/{}/stat", told.recv().unwrap());
        let deadline = Instant::now() + LONG;
        while !fs::read_to_string(&path).unwrap().contains(") S ") {
            assert!(Instant::now() < deadline, "the thread never slept");
            thread::yield_now();
        }
        meanwhile();
        sleeper.join().unwrap()
    })
}
